/* Safepoints: what the collector does on the program's threads, with the GIL held.
 *
 * CPython calls gc.callbacks before ("start") and after ("stop") each collection, in the thread that
 * triggered it, at a point where arbitrary Python code may run. Our callable is alone in the
 * interpreter's list; the list that users see as gc.callbacks is another one, to which it forwards.
 *
 * At start: leave the young objects to CPython, or set them aside and feed garbage, or take over an
 * oversized generation 0 without a walk. At stop: put back what stood aside, promote, enumerate,
 * serve deferred objects, ask the director. An idle program gets its safepoint by Py_AddPendingCall.
 *
 * `collecting` is set between start and stop, so nothing here nests: a gc.collect() in a finalizer
 * returns at once. The GIL may change hands there while finalizers run; then other threads see
 * complete lists (zfeed.h). */
#ifndef COLLECTOR_CPYTHON_ZSAFEPOINT_H
#define COLLECTOR_CPYTHON_ZSAFEPOINT_H

#include "collector/cpython/zphase.h"
#include "collector/python/zpyabi.h"

/* Takes the place of gc.callbacks; `user_callbacks` is the new list that gc.callbacks shall be.
 * False when memory is short. */
bool zsafepoint_install(PyObject *gc_module);
/* Hands the callbacks back to CPython as the user left them. The module is NULL where nobody has it. */
void zsafepoint_remove(PyObject *gc_module);

/* While off, the callable only forwards. */
void zsafepoint_switch(bool on);
bool zsafepoint_is_on(void);
/* The calling thread's stack has no room for our part: all collections are CPython's own while it is there. */
bool zsafepoint_is_cramped(void);
/* Proves the walkers, if that has not been done: before the first promotion. False where that cannot be
 * done now: memory or the stack is short. */
bool zsafepoint_warm_up(void);
/* The program has become large enough for our collections; before, all is as in CPython. */
bool zsafepoint_is_warm(void);

/* The interpreter's own gc.collect(generation), with our part left out except that callbacks are
 * forwarded. -1 with an exception set, or the number of unreachable objects. */
Py_ssize_t zsafepoint_stock_collect(int generation);

/* All that is young is old, as soon as it has been enumerated. GIL held, not during a collection of CPython's, or
 * at its end. */
void zsafepoint_promote_young(void);

/* The collection under way will be given up: callbacks of weak references that it has cleared are called, and until
 * then all are cleared that it would clear. GIL held, not in a collection of CPython's. */
void zsafepoint_settle_weakrefs(void);

/* Starts a concurrent collection; false when one is under way or it cannot be started. */
bool zsafepoint_begin(zcause_t cause);

/* One safepoint's work now: a young collection through gc.collect(0). False with an exception set. */
bool zsafepoint_now(void);

/* After a collection of a younger generation that the program asked for: the collection under way, if it waits
 * for one, gets the safepoint that would have come by itself without that. */
void zsafepoint_follow(void);

/* The world stopped: finds all garbage with exact passes and reclaims it in one collection of
 * CPython's, reported as generation 2. Number of unreachable objects, -1 with an exception set, or -2
 * when it could not be done so (memory was short) and nothing was changed. */
Py_ssize_t zsafepoint_full_collect(zcause_t cause);
/* The same, but where the objects are few (ZGC_SMALL) by CPython's own full collection, which is faster. */
Py_ssize_t zsafepoint_collect(zcause_t cause);
/* This process is a forked child: from now on no heap is small. */
void zsafepoint_fork_child(void);

/* Queues zsafepoint work for an idle program. Any thread, no GIL needed. */
void zsafepoint_request(void);

#endif
