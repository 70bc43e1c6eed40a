/* Endings: what happens to an instance of a type when it is garbage. Asking CPython takes three calls, so the answers
 * for the types of a component are kept while no code of the program can run: a class may get a finalizer by any.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZENDINGS_H
#define COLLECTOR_CPYTHON_ZENDINGS_H

#include "collector/python/ztype_registry.h"

typedef struct {
  PyTypeObject *type;
  const ztype_t *entry; /* its walker; NULL: it has none, or one that was learned from instances */
  zpy_clear_t clear;    /* tp_clear, or NULL */
  Py_ssize_t weaklist_offset; /* 0: no weak references */
  bool has_finalizer;
  bool is_plain; /* see zendings_of */
} zending_t;

/* Forgets all: code of the program may have run since. */
void zendings_reset(void);

/* An instance is plain when CPython's own code says all that its end may do. Not plain are those with a legacy
 * finalizer, classes, which other objects need until the very end, weak references, whose callbacks are called for as
 * long as they are not cleared, and generators where frames borrow references. */
const zending_t *zendings_of(PyTypeObject *type);

#endif
