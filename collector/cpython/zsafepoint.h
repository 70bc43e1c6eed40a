/* Safepoints: what the collector does on the program's threads, with the GIL held.
 *
 * CPython calls gc.callbacks before ("start") and after ("stop") each collection, in the thread that
 * triggered it, at a point where arbitrary Python code may run. Our callable is alone in the
 * interpreter's list; the list that users see as gc.callbacks is another one, to which it forwards.
 *
 * At start: a plan is chosen (zplan.h says what one is) and opened: the young objects are left to CPython, or they
 * are set aside and garbage is fed, or an oversized generation 0 is taken over without a walk. At stop: the plan is
 * closed, and slices of other work follow (zslices.h). An idle program gets its safepoint by a pending call
 * (zrequest.h, zidle.h).
 *
 * `collecting` is set between start and stop, so nothing here nests: a gc.collect() in a finalizer
 * returns at once. The GIL may change hands there while finalizers run; then other threads see
 * complete lists (zfeed.h). */
#ifndef COLLECTOR_CPYTHON_ZSAFEPOINT_H
#define COLLECTOR_CPYTHON_ZSAFEPOINT_H

#include "collector/cpython/zphase.h"
#include "collector/python/zpyapi.h"

/* Takes the place of gc.callbacks. False when memory is short. */
bool zsafepoint_install(PyObject *gc_module);
/* Hands the callbacks back to CPython as the user left them. The module is NULL where nobody has it. */
void zsafepoint_remove(PyObject *gc_module);

/* The interpreter's own gc.collect(generation), with our part left out except that callbacks are
 * forwarded. -1 with an exception set, or the number of unreachable objects. */
Py_ssize_t zsafepoint_stock_collect(int generation);

/* One safepoint's work now: a young collection through gc.collect(0). False with an exception set. */
bool zsafepoint_now(void);

/* The world stopped: finds all garbage with exact passes and reclaims it in one collection of
 * CPython's, reported as generation 2. Number of unreachable objects, -1 with an exception set, or -2
 * when it could not be done so (memory was short) and nothing was changed. */
Py_ssize_t zsafepoint_full_collect(zcause_t cause);
/* The same, but where the objects are few (ZGC_SMALL) by CPython's own full collection, which is faster. */
Py_ssize_t zsafepoint_collect(zcause_t cause);

#endif
