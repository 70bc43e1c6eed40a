/* What the iterators of rows and of tables have in common: they hold what they go through until they have come to
 * its end, either way. */
#ifndef PRELOAD_MANAGED_ZMANAGED_ITERATOR_H
#define PRELOAD_MANAGED_ZMANAGED_ITERATOR_H

#include "preload/managed/zmanaged_types.h"

typedef struct {
  PyObject base;
  PyObject *source; /* NULL once it has come to the end */
  int64_t next;
  int64_t left, size; /* of a table */
  int8_t step;        /* 1, or -1: from the end */
  uint8_t what;       /* of a table's entries */
} zmanaged_iterator_t;

/* A type with this tp_iternext and these methods. NULL with an exception set. */
PyTypeObject *zmanaged_iterator_type(const char *name, PyObject *(*next)(PyObject *), PyMethodDef *methods);
zmanaged_iterator_t *zmanaged_iterator_new(PyTypeObject *type, PyObject *source, int64_t next, int step);
/* It is at the end. NULL, without an exception. */
PyObject *zmanaged_iterator_end(zmanaged_iterator_t *iterator);

/* What __reduce__ returns for one that is at the end, and the functions' names in it: as list's and dict's. */
PyObject *zmanaged_iterator_function(const char *name); /* borrowed */
PyObject *zmanaged_iterator_reduce_ended(void);

#endif
