/* The slices of the collector's work that follow CPython's own at a safepoint, within the rest of its time budget.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZSLICES_H
#define COLLECTOR_CPYTHON_ZSLICES_H

#include "heap/base/zbase.h"

/* All of them, and then the director's turn. `since` is when CPython's part ended (zos_now_ns). */
void zslices_work(uint64_t since);

/* Only what the collection under way waits for in phase DEFERRING. Runs no code of the program but tp_traverse. */
void zslices_serve_deferred(uint64_t deadline);

#endif
