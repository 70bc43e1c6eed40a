/* zgc.RawArray: a row of numbers of one kind, of a length that stays, which numpy and memoryview see in place.
 *
 *   body   [header][data: slot][length][exports]      data: a RAW body, or None when there is nothing in it
 *
 * Bodies move, but what a buffer shows must not. So the first export puts the numbers into a body of a shape
 * that gets a large page for itself, and large pages are never moved (collector/managed/zrelocation_set.c). When the last
 * export ends, a short one goes back among the others, so that a page is taken only meanwhile. Under the GIL
 * nobody else holds the address of the body that is left behind. There is a shape for each kind of number, and
 * one type for all. GIL; but the numbers themselves may be read and written by anyone who has a buffer. */
#include <stdlib.h>
#include <string.h>

#include "preload/managed/zmanaged_field.h"
#include "preload/managed/zmanaged_metaclass.h"
#include "preload/managed/zmanaged_row.h"

enum { RAW_DATA = 8, RAW_LENGTH = 16, RAW_EXPORTS = 24, RAW_SIZE = 32 };
#define SHORT (64 * ZK) /* bytes; more are not copied back */

static zclass_t *classes[ZFIELD_KINDS];
static zshape_t *pinned_shape;

static inline zslot_t data_slot(zaddress_t body) { return zslot((uint64_t *)(body.value + RAW_DATA)); }
static inline Py_ssize_t *raw_length(zaddress_t body) { return (Py_ssize_t *)(body.value + RAW_LENGTH); }
static inline Py_ssize_t *raw_exports(zaddress_t body) { return (Py_ssize_t *)(body.value + RAW_EXPORTS); }

typedef struct {
  char *data;
  Py_ssize_t length;
  uint8_t kind, size; /* zfield_kind_t; bytes of a number */
} numbers_t;

/* Good until the next safepoint. False with an exception set. */
static bool numbers_of(PyObject *self, numbers_t *numbers) {
  zaddress_t body = zmanaged_body(self);
  const zshape_t *shape = zbody_shape(body);
  if (shape->use != ZFAMILY_RAW) return zmanaged_type_error("this needs a managed array of numbers", self);
  zaddress_t data = zcolored_strip(zbarrier_load(data_slot(body)));
  static uint64_t nothing;
  numbers->data = zaddress_is_null(data) ? (char *)&nothing : (char *)zbody_elements(data);
  numbers->length = *raw_length(body);
  numbers->kind = ((const zclass_t *)shape->owner)->element;
  numbers->size = zmanaged_field_sizes[numbers->kind];
  return true;
}

/* ---- making -------------------------------------------------------------------------------------- */

PyObject *zmanaged_raw_new(unsigned kind, Py_ssize_t length) {
  if (kind == ZFIELD_REFERENCE || kind >= ZFIELD_KINDS) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "this needs the type of a number, such as zgc.f64");
    return NULL;
  }
  if (length < 0) {
    zpy.PyErr_SetString(*zpy.PyExc_ValueError, "length must not be negative");
    return NULL;
  }
  size_t size = zmanaged_field_sizes[kind];
  if ((size_t)length > zbody_space.size / size) return zma.PyErr_NoMemory();
  if (!zmanaged_enter()) return NULL;
  PyObject *self = zmanaged_new_object(classes[kind], 0);
  if (self == NULL || length == 0) return self;
  zaddress_t data = zmanaged_new_body(zmanaged_raw_shape, (uint64_t)length * size);
  if (zaddress_is_null(data)) {
    zpy.Py_DecRef(self);
    return NULL;
  }
  zaddress_t body = zmanaged_body(self);
  zbarrier_store(data_slot(body), zcolored_store_good(data));
  *raw_length(body) = length;
  return self;
}

/* ---- elements ------------------------------------------------------------------------------------ */

static bool set_number(PyObject *self, Py_ssize_t i, PyObject *value) {
  numbers_t numbers = {0};
  uint64_t bits = 0;
  if (!numbers_of(self, &numbers) || !zmanaged_field_convert(value, numbers.kind, NULL, &bits)) return false;
  if (!numbers_of(self, &numbers)) return false; /* a conversion may have run Python code */
  memcpy(numbers.data + i * numbers.size, &bits, numbers.size);
  return true;
}

static PyObject *raw_item(PyObject *self, Py_ssize_t i) {
  numbers_t numbers = {0};
  zmanaged_poll();
  if (!numbers_of(self, &numbers)) return NULL;
  if ((size_t)i >= (size_t)numbers.length) {
    zpy.PyErr_SetString(*zma.PyExc_IndexError, "array index out of range");
    return NULL;
  }
  return zmanaged_field_read_raw(numbers.data + i * numbers.size, (zfield_kind_t)numbers.kind);
}

static Py_ssize_t raw_len(PyObject *self) {
  numbers_t numbers = {0};
  return numbers_of(self, &numbers) ? numbers.length : -1;
}

static inline bool is_slice(PyObject *key) { return (PyObject *)key->type == zma.PySlice_Type; }

/* An index within bounds. False with an exception set. */
static bool index_of(PyObject *self, PyObject *key, const char *what, Py_ssize_t *index) {
  Py_ssize_t i = zma.PyNumber_AsSsize_t(key, *zma.PyExc_IndexError);
  if (i == -1 && zpy.PyErr_Occurred() != NULL) return false;
  Py_ssize_t length = raw_len(self);
  if (length < 0) return false;
  if (i < 0) i += length;
  *index = i;
  if ((size_t)i < (size_t)length) return true;
  zpy.PyErr_Format(*zma.PyExc_IndexError, "array %sindex out of range", what);
  return false;
}

static bool key_error(PyObject *key) {
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "array indices must be integers or slices, not %s",
                   (const char *)*zmanaged_type_word(key->type, ZMANAGED_TYPE_NAME));
  return false;
}

static Py_ssize_t read_slice(PyObject *self, PyObject *key, Py_ssize_t *start, Py_ssize_t *step) {
  Py_ssize_t stop, length;
  if (zma.PySlice_Unpack(key, start, &stop, step) < 0) return -1;
  length = raw_len(self);
  return length < 0 ? -1 : zma.PySlice_AdjustIndices(length, start, &stop, *step);
}

static PyObject *slice_of(PyObject *self, PyObject *key) {
  Py_ssize_t start, step, count = read_slice(self, key, &start, &step);
  numbers_t from, to;
  if (count < 0 || !numbers_of(self, &from)) return NULL;
  PyObject *made = zmanaged_raw_new(from.kind, count);
  if (made == NULL || !numbers_of(self, &from) || !numbers_of(made, &to)) return made;
  for (Py_ssize_t i = 0; i < count; i++) {
    memcpy(to.data + i * to.size, from.data + (start + i * step) * from.size, from.size);
  }
  return made;
}

static PyObject *raw_subscript(PyObject *self, PyObject *key) {
  Py_ssize_t i;
  if (zma.PyIndex_Check(key)) return index_of(self, key, "", &i) ? raw_item(self, i) : NULL;
  if (is_slice(key)) return slice_of(self, key);
  key_error(key);
  return NULL;
}

static bool assign_slice(PyObject *self, PyObject *key, PyObject *values) {
  PyObject *list = zma.PySequence_List(values);
  Py_ssize_t start, step, count = list == NULL ? -1 : read_slice(self, key, &start, &step);
  bool ok = count >= 0;
  if (ok && zpy.PyList_Size(list) != count) {
    zpy.PyErr_Format(*zpy.PyExc_ValueError, "cannot assign %zd values to %zd elements of an array", zpy.PyList_Size(list),
                     count);
    ok = false;
  }
  for (Py_ssize_t i = 0; ok && i < count; i++) ok = set_number(self, start + i * step, zpy.PyList_GetItem(list, i));
  if (list != NULL) zpy.Py_DecRef(list);
  return ok;
}

static bool assign(PyObject *self, PyObject *key, PyObject *value) {
  Py_ssize_t i;
  if (value == NULL) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "elements of an array cannot be deleted");
    return false;
  }
  if (zma.PyIndex_Check(key)) return index_of(self, key, "assignment ", &i) && set_number(self, i, value);
  return is_slice(key) ? assign_slice(self, key, value) : key_error(key);
}

static int raw_ass_subscript(PyObject *self, PyObject *key, PyObject *value) { return assign(self, key, value) ? 0 : -1; }

static PyObject *raw_tolist(PyObject *self, PyObject *unused) {
  (void)unused;
  Py_ssize_t length = raw_len(self);
  PyObject *list = length < 0 ? NULL : zpy.PyList_New(length);
  for (Py_ssize_t i = 0; list != NULL && i < length; i++) {
    PyObject *number = raw_item(self, i);
    if (number != NULL && zma.PyList_SetItem(list, i, number) == 0) continue;
    zpy.Py_DecRef(list);
    list = NULL;
  }
  return list;
}

/* _kind(): its number, as in zmanaged.py. */
static PyObject *raw_kind(PyObject *self, PyObject *unused) {
  (void)unused;
  numbers_t numbers = {0};
  return numbers_of(self, &numbers) ? zpy.PyLong_FromLong(numbers.kind) : NULL;
}

static PyObject *raw_iter(PyObject *self) { return zma.PySeqIter_New(self); }

/* ---- buffers ------------------------------------------------------------------------------------- */

/* CPython's Py_buffer, in the stable ABI since 3.11. */
typedef struct {
  void *buf;
  PyObject *obj;
  Py_ssize_t len, itemsize;
  int readonly, ndim;
  char *format;
  Py_ssize_t *shape, *strides, *suboffsets;
  void *internal;
} Py_buffer;
enum { PyBUF_FORMAT = 4, PyBUF_ND = 8, PyBUF_STRIDES = 0x10 };

/* Puts the numbers into a body of another shape. Does nothing where it is there already, or has none. False
 * with an exception set. */
static bool rehouse(PyObject *self, const zshape_t *shape, zaddress_t (*alloc)(const zshape_t *, uint64_t)) {
  zaddress_t data = zcolored_strip(zbarrier_load(data_slot(zmanaged_body(self))));
  if (zaddress_is_null(data) || zbody_shape(data) == shape) return true;
  zaddress_t other = alloc(shape, zbody_length(data));
  if (zaddress_is_null(other)) return false;
  zaddress_t body = zmanaged_body(self);
  data = zcolored_strip(zbarrier_load(data_slot(body)));
  if (zbody_shape(data) == shape) return true; /* another thread did it during the wait: its buffers stay */
  memcpy(zbody_elements(other), zbody_elements(data), zbody_length(data));
  zbarrier_store(data_slot(body), zcolored_store_good(other));
  return true;
}

static int raw_get_buffer(PyObject *self, Py_buffer *view, int flags) {
  static const char *const formats[ZFIELD_KINDS] = {"", "b", "h", "i", "q", "B", "H", "I", "Q", "f", "d", "?"};
  view->obj = NULL;
  numbers_t numbers = {0};
  zmanaged_poll();
  if (!numbers_of(self, &numbers)) return -1;
  ++*raw_exports(zmanaged_body(self)); /* before a wait for memory lets others in */
  Py_ssize_t *extent = malloc(2 * sizeof *extent);
  if (extent == NULL || !rehouse(self, pinned_shape, zmanaged_new_body)) {
    --*raw_exports(zmanaged_body(self));
    if (extent == NULL) zma.PyErr_NoMemory();
    free(extent);
    return -1;
  }
  numbers_of(self, &numbers);
  extent[0] = numbers.length;
  extent[1] = numbers.size;
  *view = (Py_buffer){.buf = numbers.data,
                      .obj = zmanaged_incref(self),
                      .len = numbers.length * numbers.size,
                      .itemsize = numbers.size,
                      .ndim = 1,
                      .format = flags & PyBUF_FORMAT ? (char *)formats[numbers.kind] : NULL,
                      .shape = flags & PyBUF_ND ? &extent[0] : NULL,
                      .strides = flags & PyBUF_STRIDES ? &extent[1] : NULL,
                      .internal = extent};
  return 0;
}

static void raw_release_buffer(PyObject *self, Py_buffer *view) {
  free(view->internal);
  zaddress_t body = zmanaged_body(self);
  if (--*raw_exports(body) > 0) return;
  zaddress_t data = zcolored_strip(zbarrier_load(data_slot(body)));
  if (!zaddress_is_null(data) && zbody_length(data) < SHORT) rehouse(self, zmanaged_raw_shape, zmanaged_alloc);
}

/* ---- the type ------------------------------------------------------------------------------------ */

static PyObject *raw_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)type;
  (void)arguments;
  (void)keywords;
  zpy.PyErr_SetString(*zpy.PyExc_TypeError, "an array of numbers is made by zgc.allocate(n, kind) or zgc.Array(values, kind)");
  return NULL;
}

static PyMethodDef raw_methods[] = {{"tolist", raw_tolist, METH_NOARGS, "tolist()\n--\n\nThe numbers as a list."},
                                    {"_kind", raw_kind, METH_NOARGS, NULL},
                                    {NULL, NULL, 0, NULL}};
static PyType_Slot raw_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                  {Py_tp_traverse, zmanaged_handle_traverse},
                                  {Py_tp_clear, zmanaged_handle_clear},
                                  {Py_tp_getattro, NULL},
                                  {Py_tp_setattro, NULL},
                                  {Py_tp_new, raw_new},
                                  {Py_tp_methods, raw_methods},
                                  {Py_tp_iter, raw_iter},
                                  {Py_mp_length, raw_len},
                                  {Py_mp_subscript, raw_subscript},
                                  {Py_mp_ass_subscript, raw_ass_subscript},
                                  {Py_sq_length, raw_len},
                                  {Py_sq_item, raw_item},
                                  {Py_bf_getbuffer, raw_get_buffer},
                                  {Py_bf_releasebuffer, raw_release_buffer},
                                  {0, NULL}};
static PyType_Spec raw_spec = {"zgc.RawArray", sizeof(zhandle_t), 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, raw_slots};

bool zmanaged_raw_start(PyObject *names) {
  pinned_shape = zmanaged_class_make_shape(ZBODY_RAW);
  pinned_shape->is_pinned = true;
  zclass_t *first = zmanaged_metaclass_make(names, ZFAMILY_RAW, &raw_spec, RAW_SIZE, 1u << (RAW_DATA / 8));
  if (first == NULL) return false;
  for (unsigned kind = 1; kind < ZFIELD_KINDS; kind++) {
    classes[kind] = kind == 1 ? first : zmanaged_class_twin(first);
    if (classes[kind] == NULL) return false;
    classes[kind]->element = (uint8_t)kind;
  }
  return true;
}
