/* CPython's own gc.collect(), and for which purpose of ours it is called.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZSTOCK_H
#define COLLECTOR_CPYTHON_ZSTOCK_H

#include "collector/cpython/zplan.h"

/* Takes the function from the module. False with an exception set. */
bool zstock_start(PyObject *gc_module);

/* A collection of this generation. `plan` is the row that zsafepoint.c shall choose; NULL: as for a collection that
 * CPython starts by itself. Objects unreachable; -1 with an exception set; 0 within another collection. */
Py_ssize_t zstock_collect(int generation, const zplan_t *plan);

/* The plan that a call under way asks for, or NULL. */
const zplan_t *zstock_asked(void);

#endif
