/* Fields of managed objects: raw numbers and references in a body, and the descriptors in the class.
 *
 * Attribute access on instances finds a field through the class's table by name first
 * (zmanaged_class_cached); that, and a read without a call, is what makes a field about as fast as a
 * slot. The descriptors serve whoever goes another way. GIL. */
#ifndef PRELOAD_MANAGED_ZMANAGED_FIELD_H
#define PRELOAD_MANAGED_ZMANAGED_FIELD_H

#include "preload/managed/zmanaged_handle.h"
#include "preload/managed/zmanaged_number.h"

extern const uint8_t zmanaged_field_sizes[ZFIELD_KINDS];

typedef struct {
  uint64_t number; /* of the class that declared the field, at this depth of its line */
  unsigned depth;
  uint16_t offset;
} zfield_origin_t;

/* The parts of zmanaged_field_read that are seldom needed. */
PyObject *zmanaged_field_read_cached_slow(PyObject *self, const zclass_cache_t *field);
PyObject *zmanaged_field_read_raw(const void *place, zfield_kind_t kind);

/* The value of the field that the class of the handle's type has under a name, new reference; NULL with an
 * exception. The body's shape is compared, so it does not matter how the handle came by its type. Every exit
 * is a jump, so nothing is saved on the stack. */
static inline PyObject *zmanaged_field_read_cached(PyObject *self, const zclass_cache_t *field) {
  zcolored_t entry = {zload_acquire(&((zhandle_t *)self)->entry->word)};
  bool ready = zload_relaxed(&zmanaged_poll_wanted) == 0 && zcolored_is_load_good(entry);
  if (zunlikely(!ready)) return zmanaged_field_read_cached_slow(self, field);
  zaddress_t body = zcolored_strip(entry);
  if (zunlikely(zload_relaxed(&zbody_header(body)->shape) != field->shape)) {
    return zmanaged_field_read_cached_slow(self, field);
  }
  uintptr_t place = body.value + field->offset;
  zfield_kind_t kind = (zfield_kind_t)field->kind;
  if (kind == ZFIELD_REFERENCE) {
    zcolored_t word = {zload_acquire((uint64_t *)place)};
    if (zunlikely(!zcolored_is_load_good(word))) return zmanaged_field_read_cached_slow(self, field);
    PyObject *known = zmanaged_known_value(word);
    if (zunlikely(known == NULL)) return zmanaged_field_read_cached_slow(self, field);
    return known;
  }
  if (kind == ZFIELD_I64) return zmanaged_new_int(*(const int64_t *)place);
  if (kind == ZFIELD_F64) return zmanaged_new_float(*(const double *)place);
  return zmanaged_field_read_raw((const void *)place, kind);
}

/* The bits of a number of this kind; may run Python code. name: of the field, for messages; NULL: of an element.
 * False with an exception set. */
bool zmanaged_field_convert(PyObject *value, uint8_t kind, PyObject *name, uint64_t *bits);

/* For handles whose body is known to have the field there. */
PyObject *zmanaged_field_read(PyObject *self, uint16_t offset, zfield_kind_t kind);
/* The same; false with an exception: not a value for this kind, or NULL, which would delete it. May run
 * Python code. */
bool zmanaged_field_write(PyObject *self, uint16_t offset, uint8_t kind, PyObject *name, PyObject *value);

/* The class that laid out the handle's body: whose fields it has, whatever type the handle has now. */
static inline zclass_t *zmanaged_field_owner(PyObject *self) { return zbody_shape(zmanaged_body(self))->owner; }

/* A descriptor for a field that `class` declares. */
PyObject *zmanaged_field_new(zclass_t *class, const zfield_t *field);
/* What it was made for, if the object is a descriptor of ours. */
bool zmanaged_field_origin(PyObject *object, zfield_origin_t *origin);

bool zmanaged_field_start(void);

#endif
