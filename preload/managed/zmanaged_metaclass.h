/* The metaclass of managed classes: reads the fields that a class statement declares, refuses what one body cannot be,
 * and notes what changes a class later. The records of classes are in zmanaged_class.h. GIL. */
#ifndef PRELOAD_MANAGED_ZMANAGED_METACLASS_H
#define PRELOAD_MANAGED_ZMANAGED_METACLASS_H

#include "preload/managed/zmanaged_class.h"

/* The class that a constructor is asked for, or NULL with an exception set. */
zclass_t *zmanaged_metaclass_to_make(PyTypeObject *type, zfamily_t family);

/* A type of our metaclass over the C type of `spec` (a handle type), whose bodies have this
 * family; with `size` bytes and the slots of `slot_map`, but for arrays. Put into `names`. */
zclass_t *zmanaged_metaclass_make(PyObject *names, zfamily_t family, PyType_Spec *spec, uint32_t size,
                              uint64_t slot_map);

/* Once all types are made: nobody can inherit from the C types themselves any more. */
void zmanaged_metaclass_close(void);

/* Is an instance made by zgc.Object's own constructor? That __init__, __new__ and __del__ may be assigned to
 * any base at any time is why this is asked at each call. */
bool zmanaged_metaclass_is_plain(const zclass_t *class);

/* Makes the metaclass and zgc.Object over the base of all handles. */
bool zmanaged_metaclass_start(PyObject *names);

#endif
