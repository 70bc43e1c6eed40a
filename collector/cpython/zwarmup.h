/* Warm-up: when a program has become large enough for our collections. Before, everything is CPython's: its
 * collections of a small heap cost less than a thread.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZWARMUP_H
#define COLLECTOR_CPYTHON_ZWARMUP_H

#include "heap/base/zbase.h"

/* Proves the walkers, if that has not been done: before the first promotion. False where that cannot be
 * done now: memory or the stack is short. */
bool zwarmup_try(void);

/* A young collection of CPython's own has left so many survivors. */
void zwarmup_note_survivors(size_t survivors);

/* Before we are warm CPython walks older generations, too, which may have become large without our having seen
 * it: by gc.collect(0), gc.unfreeze. */
bool zwarmup_is_oversized(long generation);

/* For the next interpreter. */
void zwarmup_reset(void);

#endif
