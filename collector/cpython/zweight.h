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

typedef struct {
  size_t members, weight;               /* of the whole list */
  size_t members_before, weight_before; /* of those before the mark; 0 where that is not in the list */
} zweight_sum_t;

/* Of one of CPython's lists. `mark` may be in it, in another one, in none, or NULL. */
zweight_sum_t zweight_of_list(const zgc_head_t *list, const zgc_head_t *mark, size_t most);

#endif
