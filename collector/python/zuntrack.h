/* Untracking: a tuple or dict that cannot be part of a cycle leaves the collector's lists, as in
 * CPython's own collections (Objects/tupleobject.c and, until 3.13, dictobject.c, MaybeUntrack).
 * What is fed to CPython is untracked there; this is for what CPython has not looked at.
 *
 * Tuples are asked when they enter the old set, in the order they were made in: those that a tuple
 * holds are mostly older, and have been untracked already. Both are asked again by gc.collect. */
#ifndef COLLECTOR_PYTHON_ZUNTRACK_H
#define COLLECTOR_PYTHON_ZUNTRACK_H

#include "collector/python/zpyabi.h"

/* Whether the object is a tracked plain tuple or dict that holds nothing that could be tracked. Reads
 * types: GIL held. */
bool zuntrack_is_due(PyObject *object);
/* No, or perhaps. By a thread that helps while the world is stopped, but may go on, unawares, when it no longer
 * is: follows no pointer out of our heap. */
bool zuntrack_may_be_due(PyObject *object);

/* The same of a tracked object, only if it is a tuple. */
bool zuntrack_is_tuple_due(PyObject *object);

#endif
