/* The registry: how a type gets its entry (ztype_table.h), at the first meeting with one of its instances.
 *
 * Containers and classes are described as CPython's code says, and the descriptions are compared with tp_traverse, on
 * samples (ztype_samples.h) and on the program's first instances. C types of which no sample can be made are learned
 * from the program's own instances (ztype_learning.h).
 *
 * A class enters the old set with its entry, so that its death is noticed; one that cannot, stays deferred. */
#ifndef COLLECTOR_PYTHON_ZTYPE_REGISTRY_H
#define COLLECTOR_PYTHON_ZTYPE_REGISTRY_H

#include "collector/python/ztype_table.h"

/* Entry for the type of `instance`, made at the first meeting, and compared with tp_traverse on the
 * first few instances: a walker that is not exact makes its type deferred. GIL held. NULL when memory
 * is short. */
ztype_t *ztype_of(PyObject *instance);

/* Compares the walker with tp_traverse on this instance, once more. False: they differ; *why tells. GIL
 * held, for ZGC_VERIFY. */
bool ztype_verify(PyObject *instance, char *why, size_t size);

/* Types that have another tp_traverse than when they were registered are deferred. GIL held, no pass under way. */
void ztype_recheck(void);

/* Proves the walkers of containers and classes (ztype_samples.h). GIL held. False when that could not be
 * done now: nothing is lost, try again later. */
bool ztype_registry_start(void);

/* This tp_traverse reports what lies outside of the instance: its types are always deferred. Set before the first
 * of them is met. GIL. */
extern zpy_traverse_t ztype_not_learned;

#endif
