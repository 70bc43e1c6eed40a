/* Publishing: the counters that are not kept up to date all the time, and the statistics page (zstatpage.h). */
#ifndef COLLECTOR_CPYTHON_ZPUBLISH_H
#define COLLECTOR_CPYTHON_ZPUBLISH_H

#include "heap/base/zbase.h"

/* Brings the counters up to date. GIL held. */
void zpublish_refresh(void);

/* Brings the statistics page up to date: at each safepoint, with the GIL, and by the collector
 * thread, without it. `now_ns` may be a little old. */
void zpublish_at_safepoint(uint64_t now_ns);
void zpublish_by_thread(void);

#endif
