/* The Python types of managed objects: zgc.Object, zgc.Array, zgc.List, zgc.Dict. */
#ifndef PRELOAD_MANAGED_ZMANAGED_TYPES_H
#define PRELOAD_MANAGED_ZMANAGED_TYPES_H

#include "preload/managed/zmanaged_handle.h"

extern PyObject *zmanaged_helpers; /* namespace of zmanaged.py */

/* All create their types and put them under their names into `names`. False with an exception set. */
bool zmanaged_object_start(PyObject *names);
bool zmanaged_array_start(PyObject *names);
bool zmanaged_list_start(PyObject *names);
bool zmanaged_raw_start(PyObject *names);
bool zmanaged_dict_start(PyObject *names);

/* A new body of a class that has fields or none, with their defaults, and its handle. */
PyObject *zmanaged_object_make(zclass_t *class);

extern void *zmanaged_identity_compare; /* tp_richcompare of object */

/* zgc.Object's slots. The vectorcall is that of all its classes: one that constructs in a way of its own is
 * called as any class. */
PyObject *zmanaged_object_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords);
int zmanaged_object_init(PyObject *self, PyObject *arguments, PyObject *keywords);
PyObject *zmanaged_object_vectorcall(PyObject *type, PyObject *const *arguments, size_t flags,
                                     PyObject *keywords);

/* n times None. NULL with an exception set. */
PyObject *zmanaged_array_new(zclass_t *class, Py_ssize_t length);

/* n times zero, of a zfield_kind_t. NULL with an exception set. */
PyObject *zmanaged_raw_new(unsigned kind, Py_ssize_t length);

/* Array bodies, for List and Dict. */
extern zshape_t *zmanaged_array_shape, *zmanaged_raw_shape, *zmanaged_entries_shape;
extern zclass_t *zmanaged_array_class;

#endif
