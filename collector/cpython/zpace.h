/* The pacer: while promotion is ahead of the collection under way, safepoints lend it their thread, up to some pause
 * targets (zdirector_behind), or wait for it.
 *
 * While the collector thread gets no processor nobody waits for it, and after some safepoints the collection is done
 * without it: a heap that outgrows its collections costs more than a stop.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZPACE_H
#define COLLECTOR_CPYTHON_ZPACE_H

#include "heap/base/zbase.h"

/* Helps, or waits. `since` is the start of this safepoint (zos_now_ns). */
void zpace_keep(uint64_t since);

/* The collector thread has got no processor for so many safepoints that the collection is to be done without it. */
bool zpace_is_thread_lost(void);

#endif
