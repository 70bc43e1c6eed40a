/* The row of a list in its storage: a gap opens where elements come, and closes where they go (zmanaged_list.c). GIL
 * held. */
#ifndef PRELOAD_MANAGED_ZMANAGED_GAP_H
#define PRELOAD_MANAGED_ZMANAGED_GAP_H

#include "preload/managed/zmanaged_row.h"

static inline Py_ssize_t zmanaged_gap_capacity(zaddress_t storage) {
  return zaddress_is_null(storage) ? 0 : (Py_ssize_t)zbody_length(storage);
}

/* Opens a gap of `count` slots before `at`: they are None, and count as elements. The list's length must be
 * what it was when `at` was chosen; where waiting for memory has changed it `at` is clipped. */
bool zmanaged_gap_open(PyObject *self, Py_ssize_t *at, Py_ssize_t count);
/* Room for one more at the end. May run Python code, which may change the list: the caller looks again. */
bool zmanaged_gap_make_room(PyObject *self);
/* Removes `count` elements from `at` on; what they owned goes to `dropped`. */
void zmanaged_gap_close(zaddress_t list, Py_ssize_t at, Py_ssize_t count, zdropped_t *dropped);

#endif
