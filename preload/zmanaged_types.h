/* The Python types of managed objects: zgc.Object and its metaclass, zgc.Array, zgc.List, zgc.Dict. */
#ifndef PRELOAD_ZMANAGED_TYPES_H
#define PRELOAD_ZMANAGED_TYPES_H

#include "preload/zmanaged_handle.h"

extern PyObject *zmanaged_helpers; /* namespace of zmanaged.py */

/* All create their types and put them under their names into `names`. False with an exception set. */
bool zmanaged_object_start(PyObject *names);
bool zmanaged_array_start(PyObject *names);
bool zmanaged_dict_start(PyObject *names);

/* A type `name` of our metaclass over the C type of `spec` (a handle type), whose bodies have this
 * kind; for FIXED with `size` bytes and the slots of `slot_map`. */
zclass_t *zmanaged_make_type(PyObject *names, const char *name, PyType_Spec *spec, zbody_kind_t kind,
                             uint32_t size, uint64_t slot_map);

/* An internal shape without handles. */
zshape_t *zmanaged_make_shape(zbody_kind_t kind);

/* Array bodies, for List and Dict. */
extern zshape_t *zmanaged_array_shape, *zmanaged_raw_shape, *zmanaged_entries_shape;
extern zclass_t *zmanaged_array_class;

#endif
