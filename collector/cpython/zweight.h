/* Weight: how many references a look at an object visits. CPython's young collection visits each reference
 * of each of its objects twice, so weight, not the number of objects, is what it costs.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZWEIGHT_H
#define COLLECTOR_CPYTHON_ZWEIGHT_H

#include "collector/python/zpyabi.h"

/* Of a tracked object. Where its type has a walker that is one look at its length; else its references are
 * counted by tp_traverse, and no further than to `most` + 1. */
size_t zweight_of(PyObject *object, size_t most);

/* Of the members of one of CPython's lists from `first` until `end`. */
size_t zweight_of_members(const zgc_head_t *first, const zgc_head_t *end, size_t most);

#endif
