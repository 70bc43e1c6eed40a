/* Edges: the references of one instance, as tp_traverse reports them or as a walker finds them, to be
 * compared. A reference may be there several times. GIL held: there is one place for each side. */
#ifndef COLLECTOR_PYTHON_ZEDGES_H
#define COLLECTOR_PYTHON_ZEDGES_H

#include "collector/python/ztype_table.h"

#define ZEDGES_MAX 512 /* an instance with more proves nothing: a walk to its end would be a pause */

typedef struct {
  size_t count;
  bool overflow;
  void *edge[ZEDGES_MAX];
} zedges_t;

/* What the instance's own tp_traverse reports. False when it is too much. */
bool zedges_from_traverse(PyObject *instance, zedges_t *edges);
/* What a walker by this description finds. False when it is too much, or the instance cannot be read so. */
bool zedges_from_walker(PyObject *instance, const ztype_t *type, zedges_t *edges);

/* Sorts both. */
bool zedges_equal(zedges_t *a, zedges_t *b);
/* Takes one occurrence of `reference` out; false when there is none. */
bool zedges_take(zedges_t *edges, const void *reference);
/* Takes all of `some` out of `edges`; false when one is not there. Sorts both. */
bool zedges_take_all(zedges_t *edges, zedges_t *some);

/* Does the instance's own tp_traverse report this reference? */
bool zedges_have(PyObject *instance, const void *reference);

#endif
