#include "preload/managed/zmanaged_field.h"

static PyTypeObject *field_type;

const uint8_t zmanaged_field_sizes[ZFIELD_KINDS] = {8, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 1};

PyObject *zmanaged_field_read_raw(const void *place, zfield_kind_t kind) {
  switch (kind) {
    case ZFIELD_I8:
      return zmanaged_new_int(*(const int8_t *)place);
    case ZFIELD_I16:
      return zmanaged_new_int(*(const int16_t *)place);
    case ZFIELD_I32:
      return zmanaged_new_int(*(const int32_t *)place);
    case ZFIELD_I64:
      return zmanaged_new_int(*(const int64_t *)place);
    case ZFIELD_U8:
      return zmanaged_new_int(*(const uint8_t *)place);
    case ZFIELD_U16:
      return zmanaged_new_int(*(const uint16_t *)place);
    case ZFIELD_U32:
      return zmanaged_new_int(*(const uint32_t *)place);
    case ZFIELD_U64:
      return zpy.PyLong_FromUnsignedLongLong(*(const uint64_t *)place);
    case ZFIELD_F32:
      return zmanaged_new_float((double)*(const float *)place);
    case ZFIELD_F64:
      return zmanaged_new_float(*(const double *)place);
    default:
      return zmanaged_incref(*(const uint8_t *)place ? zma._Py_TrueStruct : zma._Py_FalseStruct);
  }
}

PyObject *zmanaged_field_read(PyObject *self, uint16_t offset, zfield_kind_t kind) {
  if (zunlikely(!zmanaged_enter())) return NULL;
  zaddress_t body = zmanaged_body(self);
  if (kind == ZFIELD_REFERENCE) {
    return zmanaged_value(zbarrier_load(zslot((uint64_t *)(body.value + offset))));
  }
  return zmanaged_field_read_raw((const void *)(body.value + offset), kind);
}

zcold PyObject *zmanaged_field_read_cached_slow(PyObject *self, const zclass_cache_t *field) {
  uint32_t shape = zload_relaxed(&zbody_header(zmanaged_body(self))->shape);
  if (shape != field->shape) return zma.PyObject_GenericGetAttr(self, field->name);
  return zmanaged_field_read(self, field->offset, (zfield_kind_t)field->kind);
}

static bool range_error(PyObject *name) {
  if (name == NULL) {
    zpy.PyErr_SetString(*zma.PyExc_OverflowError, "value out of range for the numbers of this array");
  } else {
    zpy.PyErr_Format(*zma.PyExc_OverflowError, "value out of range for field '%U'", name);
  }
  return false;
}

static const int64_t lowest[ZFIELD_KINDS] = {0, INT8_MIN, INT16_MIN, INT32_MIN, INT64_MIN};
static const int64_t highest[ZFIELD_KINDS] = {0,         INT8_MAX,   INT16_MAX,  INT32_MAX, INT64_MAX,
                                              UINT8_MAX, UINT16_MAX, UINT32_MAX, INT64_MAX};

static bool convert_float(PyObject *value, uint8_t kind, PyObject *name, uint64_t *bits) {
  double number = (PyObject *)value->type == zma.PyFloat_Type ? zmanaged_float_value(value)
                                                              : zma.PyFloat_AsDouble(value);
  if (number == -1.0 && zpy.PyErr_Occurred()) return false;
  if (kind == ZFIELD_F32) {
    float narrow = (float)number;
    if (__builtin_isinf(narrow) && !__builtin_isinf(number)) return range_error(name);
    memcpy(bits, &narrow, sizeof narrow);
  } else {
    memcpy(bits, &number, sizeof number);
  }
  return true;
}

static znoinline bool convert_int(PyObject *value, uint8_t kind, PyObject *name, uint64_t *bits) {
  PyObject *index = zma.PyNumber_Index(value);
  if (index == NULL) return false;
  int overflow;
  int64_t number = zma.PyLong_AsLongLongAndOverflow(index, &overflow);
  bool ok = overflow == 0 && number >= lowest[kind] && number <= highest[kind];
  *bits = (uint64_t)number;
  if (overflow > 0 && kind == ZFIELD_U64) {
    *bits = zma.PyLong_AsUnsignedLongLong(index);
    ok = !(*bits == UINT64_MAX && zpy.PyErr_Occurred());
    if (!ok) zpy.PyErr_Clear();
  }
  zpy.Py_DecRef(index);
  return ok || range_error(name);
}

/* Converts to the bits of a raw field; may run Python code. */
static inline bool convert_raw(PyObject *value, uint8_t kind, PyObject *name, uint64_t *bits) {
  if (kind == ZFIELD_F64 || kind == ZFIELD_F32) return convert_float(value, kind, name, bits);
  if (kind == ZFIELD_BOOL) {
    int truth = zpy.PyObject_IsTrue(value);
    *bits = truth > 0;
    return truth >= 0;
  }
  int64_t number;
  if ((PyObject *)value->type == zma.PyLong_Type && zmanaged_int_value(value, &number) &&
      number >= lowest[kind] && number <= highest[kind]) {
    *bits = (uint64_t)number;
    return true;
  }
  return convert_int(value, kind, name, bits);
}

bool zmanaged_field_convert(PyObject *value, uint8_t kind, PyObject *name, uint64_t *bits) {
  return convert_raw(value, kind, name, bits);
}

bool zmanaged_field_write(PyObject *self, uint16_t offset, uint8_t kind, PyObject *name, PyObject *value) {
  if (zunlikely(value == NULL)) {
    zpy.PyErr_Format(*zma.PyExc_AttributeError, "field '%U' cannot be deleted", name);
    return false;
  }
  if (kind == ZFIELD_REFERENCE) {
    zmanaged_poll();
    zaddress_t body = zmanaged_body(self);
    return zmanaged_set(body, zslot((uint64_t *)(body.value + offset)), value);
  }
  uint64_t bits = 0;
  if (!convert_raw(value, kind, name, &bits)) return false;
  zaddress_t body = zmanaged_body(self);
  memcpy((void *)(body.value + offset), &bits, zmanaged_field_sizes[kind]);
  return true;
}

/* ---- the descriptor in the class ----------------------------------------------------------------- */

typedef struct {
  PyObject base;
  zfield_origin_t origin;
  PyObject *name;
  uint8_t kind;
} field_t;

static bool check_owner(field_t *field, PyObject *object) {
  const zfield_origin_t *origin = &field->origin;
  if (zmanaged_is_handle(object) &&
      zmanaged_class_has(zmanaged_field_owner(object), origin->depth, origin->number)) {
    return true;
  }
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "field '%U' does not belong to this object", field->name);
  return false;
}

static PyObject *field_get(PyObject *self, PyObject *object, PyObject *type) {
  (void)type;
  field_t *field = (field_t *)self;
  if (object == NULL || object == zpy_None()) return zmanaged_incref(self);
  if (!check_owner(field, object)) return NULL;
  return zmanaged_field_read(object, field->origin.offset, (zfield_kind_t)field->kind);
}

static int field_set(PyObject *self, PyObject *object, PyObject *value) {
  field_t *field = (field_t *)self;
  if (!check_owner(field, object)) return -1;
  return zmanaged_field_write(object, field->origin.offset, field->kind, field->name, value) ? 0 : -1;
}

static PyObject *field_repr(PyObject *self) {
  return zpy.PyUnicode_FromFormat("<zgc field '%U'>", ((field_t *)self)->name);
}

static void field_dealloc(PyObject *self) {
  PyObject *type = (PyObject *)self->type;
  zpy.Py_DecRef(((field_t *)self)->name);
  ((void (*)(void *))zpy.PyType_GetSlot((PyTypeObject *)type, Py_tp_free))(self);
  zpy.Py_DecRef(type);
}

static PyType_Slot field_slots[] = {
    {Py_tp_descr_get, field_get}, {Py_tp_descr_set, field_set}, {Py_tp_repr, field_repr},
    {Py_tp_dealloc, field_dealloc}, {0, NULL}};
static PyType_Spec field_spec = {"zgc.Field", sizeof(field_t), 0, Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 field_slots};

PyObject *zmanaged_field_new(zclass_t *class, const zfield_t *field) {
  PyObject *(*alloc)(PyTypeObject *, Py_ssize_t) =
      (PyObject * (*)(PyTypeObject *, Py_ssize_t)) * zmanaged_type_word(field_type, ZMANAGED_TYPE_ALLOC);
  field_t *made = (field_t *)alloc(field_type, 0);
  if (made == NULL) return NULL;
  made->origin = (zfield_origin_t){class->line[class->depth], class->depth, field->offset};
  made->name = zmanaged_incref(field->name);
  made->kind = field->kind;
  return &made->base;
}

bool zmanaged_field_origin(PyObject *object, zfield_origin_t *origin) {
  if (object->type != field_type) return false;
  *origin = ((field_t *)object)->origin;
  return true;
}

bool zmanaged_field_start(void) {
  field_type = (PyTypeObject *)zma.PyType_FromSpecWithBases(&field_spec, NULL);
  return field_type != NULL;
}
