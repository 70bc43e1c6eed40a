/* Fields of managed objects: raw numbers and references in a body, and the descriptors in the class.
 *
 * Attribute access on instances finds a field through the class's table by name first
 * (zmanaged_class_cached); that, and a read without a call, is what makes a field about as fast as a
 * slot. The descriptors serve whoever goes another way. GIL. */
#ifndef PRELOAD_ZMANAGED_FIELD_H
#define PRELOAD_ZMANAGED_FIELD_H

#include "preload/zmanaged_handle.h"
#include "preload/zmanaged_number.h"

extern const uint8_t zmanaged_field_sizes[ZFIELD_KINDS];

/* The parts of zmanaged_field_read that are seldom needed. */
PyObject *zmanaged_field_read_slow(PyObject *self, uint16_t offset, zfield_kind_t kind);
PyObject *zmanaged_field_read_raw(const void *place, zfield_kind_t kind);

/* The value, new reference; NULL with an exception. Every exit is a jump, so nothing is saved on the
 * stack. */
static inline PyObject *zmanaged_field_read(PyObject *self, uint16_t offset, zfield_kind_t kind) {
  zcolored_t entry = {zload_acquire(&((zhandle_t *)self)->entry->word)};
  bool ready = zload_relaxed(&zmanaged_poll_wanted) == 0 && zcolored_is_load_good(entry);
  if (zunlikely(!ready)) return zmanaged_field_read_slow(self, offset, kind);
  uintptr_t place = zcolored_strip(entry).value + offset;
  if (kind == ZFIELD_REFERENCE) {
    zcolored_t word = {zload_acquire((uint64_t *)place)};
    if (zunlikely(!zcolored_is_load_good(word))) return zmanaged_field_read_slow(self, offset, kind);
    PyObject *known = zmanaged_known_value(word);
    if (zunlikely(known == NULL)) return zmanaged_field_read_slow(self, offset, kind);
    return known;
  }
  if (kind == ZFIELD_I64) return zmanaged_new_int(*(const int64_t *)place);
  if (kind == ZFIELD_F64) return zmanaged_new_float(*(const double *)place);
  return zmanaged_field_read_raw((const void *)place, kind);
}

/* False with an exception: not a value for this kind, or NULL, which would delete it. May run Python code. */
bool zmanaged_field_write(PyObject *self, uint16_t offset, uint8_t kind, PyObject *name, PyObject *value);

/* A descriptor for a field that `class` declares. */
PyObject *zmanaged_field_new(zclass_t *class, const zfield_t *field);
/* The class that declared it, if the object is a descriptor of ours. */
const zclass_t *zmanaged_field_class(PyObject *object, uint16_t *offset);

bool zmanaged_field_start(void);

#endif
