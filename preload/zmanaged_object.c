/* zgc.Object, its metaclass and its fields.
 *
 * A class statement runs the metaclass's tp_new: zmanaged.py reads annotations and __fields__, the
 * type is made with empty __slots__ (so instances are plain handles, whatever the class), and the
 * generic deallocator and traversal that CPython installs are replaced by ours. The fields become
 * descriptors in the class; attribute access on instances finds them through a small table by interned
 * name first, which is what makes a field about as fast as a slot. A name whose descriptor is replaced
 * later leaves the table. */
#include <string.h>

#include "heap/base/zos.h"
#include "preload/zmanaged_types.h"

static PyTypeObject *meta_type;
static PyTypeObject *field_type;
static PyObject *object_type;
static PyObject *(*type_new)(PyTypeObject *, PyObject *, PyObject *);
static int (*type_setattro)(PyObject *, PyObject *, PyObject *);
static uint32_t shape_count = 1; /* 0 is no shape */

/* ---- fields -------------------------------------------------------------------------------------- */

static const uint8_t field_sizes[ZFIELD_KINDS] = {8, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 1};

static inline PyObject *read_raw(const void *place, zfield_kind_t kind) {
  switch (kind) {
    case ZFIELD_I8:
      return zma.PyLong_FromLongLong(*(const int8_t *)place);
    case ZFIELD_I16:
      return zma.PyLong_FromLongLong(*(const int16_t *)place);
    case ZFIELD_I32:
      return zma.PyLong_FromLongLong(*(const int32_t *)place);
    case ZFIELD_I64:
      return zma.PyLong_FromLongLong(*(const int64_t *)place);
    case ZFIELD_U8:
      return zma.PyLong_FromLongLong(*(const uint8_t *)place);
    case ZFIELD_U16:
      return zma.PyLong_FromLongLong(*(const uint16_t *)place);
    case ZFIELD_U32:
      return zma.PyLong_FromLongLong(*(const uint32_t *)place);
    case ZFIELD_U64:
      return zpy.PyLong_FromUnsignedLongLong(*(const uint64_t *)place);
    case ZFIELD_F32:
      return zma.PyFloat_FromDouble((double)*(const float *)place);
    case ZFIELD_F64:
      return zma.PyFloat_FromDouble(*(const double *)place);
    default:
      return zmanaged_incref(*(const uint8_t *)place ? zma._Py_TrueStruct : zma._Py_FalseStruct);
  }
}

static zcold znoinline PyObject *read_field_slow(PyObject *self, uint16_t offset, zfield_kind_t kind) {
  if (zunlikely(!zmanaged_enter())) return NULL;
  zaddress_t body = zmanaged_body(self);
  if (kind == ZFIELD_REFERENCE) {
    return zmanaged_value(zbarrier_load(zslot((uint64_t *)(body.value + offset))));
  }
  return read_raw((const void *)(body.value + offset), kind);
}

/* The same with everything out of the way that is seldom needed. Every exit is a jump, so nothing is saved
 * on the stack, which was 20 of 53 instructions. */
static inline PyObject *read_field(PyObject *self, uint16_t offset, zfield_kind_t kind) {
  zcolored_t entry = {zload_acquire(&((zhandle_t *)self)->entry->word)};
  bool ready = zload_relaxed(&zmanaged_poll_wanted) == 0 && zcolored_is_load_good(entry);
  if (zunlikely(!ready)) return read_field_slow(self, offset, kind);
  uintptr_t place = zcolored_strip(entry).value + offset;
  if (kind != ZFIELD_REFERENCE) return read_raw((const void *)place, kind);
  zcolored_t word = {zload_acquire((uint64_t *)place)};
  if (zunlikely(!zcolored_is_load_good(word) || zmanaged_spare_handles == NULL)) {
    return read_field_slow(self, offset, kind);
  }
  return zmanaged_value(word);
}

static bool range_error(const zfield_t *field) {
  zpy.PyErr_Format(*zma.PyExc_OverflowError, "value out of range for field '%U'", field->name);
  return false;
}

/* Converts to the bits of a raw field; may run Python code. */
static bool convert_raw(PyObject *value, uint8_t kind, PyObject *name, uint64_t *bits) {
  static const int64_t lowest[] = {0, INT8_MIN, INT16_MIN, INT32_MIN, INT64_MIN};
  static const int64_t highest[] = {0, INT8_MAX, INT16_MAX, INT32_MAX, INT64_MAX,
                                    UINT8_MAX, UINT16_MAX, UINT32_MAX};
  if (kind == ZFIELD_F64 || kind == ZFIELD_F32) {
    double number = zma.PyFloat_AsDouble(value);
    if (number == -1.0 && zpy.PyErr_Occurred()) return false;
    if (kind == ZFIELD_F32) {
      float narrow = (float)number;
      memcpy(bits, &narrow, sizeof narrow);
    } else {
      memcpy(bits, &number, sizeof number);
    }
    return true;
  }
  if (kind == ZFIELD_BOOL) {
    int truth = zpy.PyObject_IsTrue(value);
    *bits = truth > 0;
    return truth >= 0;
  }
  zfield_t field = {.name = name};
  PyObject *index = (PyObject *)value->type == zma.PyLong_Type ? zmanaged_incref(value)
                                                               : zma.PyNumber_Index(value);
  if (index == NULL) return false;
  bool ok;
  if (kind == ZFIELD_U64) {
    *bits = zma.PyLong_AsUnsignedLongLong(index);
    ok = !(*bits == UINT64_MAX && zpy.PyErr_Occurred());
    if (!ok) zpy.PyErr_Clear();
  } else {
    int overflow;
    int64_t number = zma.PyLong_AsLongLongAndOverflow(index, &overflow);
    int64_t low = kind <= ZFIELD_I64 ? lowest[kind] : 0;
    ok = overflow == 0 && number >= low && number <= highest[kind];
    *bits = (uint64_t)number;
  }
  zpy.Py_DecRef(index);
  return ok || range_error(&field);
}

static bool write_field(PyObject *self, uint16_t offset, uint8_t kind, PyObject *name, PyObject *value) {
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
  memcpy((void *)(body.value + offset), &bits, field_sizes[kind]);
  return true;
}

/* The descriptor in the class. */
typedef struct {
  PyObject base;
  zclass_t *class; /* the class that declared it */
  PyObject *name;
  uint16_t offset;
  uint8_t kind;
} field_t;

/* Does a body of this shape have the fields of `class`? Bodies keep their class for good, so this holds
 * whatever a program does to its types. */
static bool has_class(PyObject *object, const zclass_t *class) {
  if (!zmanaged_is_handle(object)) return false;
  const zclass_t *own = zbody_shape(zmanaged_body(object))->owner;
  return own == class || (own != NULL && zma.PyType_IsSubtype(own->type, class->type));
}

static bool check_owner(field_t *field, PyObject *object) {
  if (has_class(object, field->class)) return true;
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "field '%U' does not belong to this object", field->name);
  return false;
}

static PyObject *field_get(PyObject *self, PyObject *object, PyObject *type) {
  (void)type;
  field_t *field = (field_t *)self;
  if (object == NULL || object == zpy_None()) return zmanaged_incref(self);
  if (!check_owner(field, object)) return NULL;
  return read_field(object, field->offset, (zfield_kind_t)field->kind);
}

static int field_set(PyObject *self, PyObject *object, PyObject *value) {
  field_t *field = (field_t *)self;
  if (!check_owner(field, object)) return -1;
  return write_field(object, field->offset, field->kind, field->name, value) ? 0 : -1;
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

static PyObject *new_field(zclass_t *class, const zfield_t *field) {
  PyObject *(*alloc)(PyTypeObject *, Py_ssize_t) =
      (PyObject * (*)(PyTypeObject *, Py_ssize_t)) * zmanaged_type_word(field_type, ZMANAGED_TYPE_ALLOC);
  field_t *made = (field_t *)alloc(field_type, 0);
  if (made == NULL) return NULL;
  made->class = class;
  made->name = zmanaged_incref(field->name);
  made->offset = field->offset;
  made->kind = field->kind;
  return &made->base;
}

/* ---- attribute access ---------------------------------------------------------------------------- */

static inline const zclass_cache_t *cached(const zclass_t *class, PyObject *name) {
  const zclass_cache_t *entry = &class->cache[((uintptr_t)name >> 4) % ZCLASS_CACHE];
  return zlikely(entry->name == name) ? entry : NULL;
}

static PyObject *handle_getattro(PyObject *self, PyObject *name) {
  const zclass_cache_t *entry = cached(zclass_of(self->type), name);
  if (zlikely(entry != NULL)) return read_field(self, entry->offset, (zfield_kind_t)entry->kind);
  return zma.PyObject_GenericGetAttr(self, name);
}

static int handle_setattro(PyObject *self, PyObject *name, PyObject *value) {
  const zclass_cache_t *entry = cached(zclass_of(self->type), name);
  if (zlikely(entry != NULL)) {
    return write_field(self, entry->offset, entry->kind, name, value) ? 0 : -1;
  }
  return zma.PyObject_GenericSetAttr(self, name, value);
}

static void fill_cache(zclass_t *class) {
  memset(class->cache, 0, sizeof class->cache);
  for (unsigned i = 0; i < class->field_count; i++) {
    const zfield_t *field = &class->fields[i];
    zclass_cache_t *entry = &class->cache[((uintptr_t)field->name >> 4) % ZCLASS_CACHE];
    if (entry->name != NULL) continue; /* the other one goes through its descriptor */
    PyObject *found = zma.PyObject_GetAttr((PyObject *)class->type, field->name);
    if (found == NULL) {
      zpy.PyErr_Clear();
      continue;
    }
    bool ours = found->type == field_type && ((field_t *)found)->offset == field->offset;
    zpy.Py_DecRef(found);
    if (ours) *entry = (zclass_cache_t){field->name, field->offset, field->kind};
  }
}

/* ---- construction -------------------------------------------------------------------------------- */

static const zfield_t *find_field(const zclass_t *class, PyObject *name) {
  for (unsigned i = 0; i < class->field_count; i++) {
    if (class->fields[i].name == name) return &class->fields[i];
  }
  for (unsigned i = 0; i < class->field_count; i++) {
    if (zma.PyUnicode_Compare(class->fields[i].name, name) == 0) return &class->fields[i];
  }
  return NULL;
}

static inline bool set_field(PyObject *self, const zfield_t *field, PyObject *value) {
  return write_field(self, field->offset, field->kind, field->name, value);
}

static PyObject *new_instance(zclass_t *class) {
  if (zunlikely(!zmanaged_enter())) return NULL;
  PyObject *self = zmanaged_new_object(class, 0);
  if (zlikely(self != NULL) && zunlikely(class->has_initial)) {
    for (unsigned i = 0; i < class->field_count; i++) {
      const zfield_t *field = &class->fields[i];
      if (field->initial == NULL || set_field(self, field, field->initial)) continue;
      zpy.Py_DecRef(self);
      return NULL;
    }
  }
  return self;
}

static bool too_many(const zclass_t *class, size_t given) {
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s() takes at most %u positional arguments (%zd given)",
                   (const char *)*zmanaged_type_word(class->type, ZMANAGED_TYPE_NAME),
                   class->field_count, (Py_ssize_t)given);
  return false;
}

static bool no_such_field(const zclass_t *class, PyObject *name) {
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                   (const char *)*zmanaged_type_word(class->type, ZMANAGED_TYPE_NAME), name);
  return false;
}

/* Puts a value into a field of a body that was born since the last safepoint: its slots are empty and
 * it is young, so there is nothing for a store barrier to do. False where a conversion might run Python
 * code, or fail: the general way then. */
static inline bool set_newborn(zaddress_t body, const zfield_t *field, PyObject *value) {
  PyObject *type = (PyObject *)value->type;
  void *place = (void *)(body.value + field->offset);
  if (field->kind == ZFIELD_REFERENCE) {
    if (value == zpy_None()) return true;
    if (!zmanaged_is_handle(value)) return false;
    zstore_relaxed((uint64_t *)place, zcolored_store_good(zmanaged_body(value)).bits);
    return true;
  }
  if (field->kind == ZFIELD_F64 && type == zma.PyFloat_Type) {
    memcpy(place, (char *)value + ZMANAGED_FLOAT_VALUE, 8);
    return true;
  }
  if (field->kind == ZFIELD_I64 && type == zma.PyLong_Type) {
    int overflow;
    int64_t number = zma.PyLong_AsLongLongAndOverflow(value, &overflow);
    memcpy(place, &number, 8);
    return overflow == 0;
  }
  return false;
}

static bool set_positional(PyObject *self, zclass_t *class, PyObject *const *arguments, size_t count) {
  if (zunlikely(count > class->field_count)) return too_many(class, count);
  size_t i = 0;
  if (zlikely(!class->has_initial)) {
    zaddress_t body = zmanaged_body(self);
    while (i < count && set_newborn(body, &class->fields[i], arguments[i])) i++;
  }
  for (; i < count; i++) {
    if (zunlikely(!set_field(self, &class->fields[i], arguments[i]))) return false;
  }
  return true;
}

static PyObject *object_vectorcall(PyObject *type, PyObject *const *arguments, size_t flags,
                                   PyObject *keywords) {
  zclass_t *class = zclass_of((PyTypeObject *)type);
  size_t count = flags & ~PY_VECTORCALL_ARGUMENTS_OFFSET;
  PyObject *self = new_instance(class);
  if (zunlikely(self == NULL)) return NULL;
  bool ok = set_positional(self, class, arguments, count);
  Py_ssize_t named = keywords == NULL ? 0 : zma.PyTuple_Size(keywords);
  for (Py_ssize_t i = 0; ok && i < named; i++) {
    PyObject *name = zpy.PyTuple_GetItem(keywords, i);
    const zfield_t *field = find_field(class, name);
    ok = field != NULL ? set_field(self, field, arguments[count + (size_t)i])
                       : no_such_field(class, name);
  }
  if (zlikely(ok)) return self;
  zpy.Py_DecRef(self);
  return NULL;
}

/* object.__new__ for managed classes: arguments are __init__'s business. */
static PyObject *object_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)arguments;
  (void)keywords;
  zclass_t *class = zclass_of(type);
  if (class == NULL || class->shape.kind != ZBODY_FIXED) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "this type cannot be instantiated");
    return NULL;
  }
  return new_instance(class);
}

static int object_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
  zclass_t *class = zclass_of(self->type);
  Py_ssize_t count = zma.PyTuple_Size(arguments);
  if ((size_t)count > class->field_count) return too_many(class, (size_t)count) ? 0 : -1;
  for (Py_ssize_t i = 0; i < count; i++) {
    if (!set_field(self, &class->fields[i], zpy.PyTuple_GetItem(arguments, i))) return -1;
  }
  Py_ssize_t position = 0;
  PyObject *name, *value;
  while (keywords != NULL && zma.PyDict_Next(keywords, &position, &name, &value)) {
    const zfield_t *field = find_field(class, name);
    if (field == NULL) return no_such_field(class, name) ? 0 : -1;
    if (!set_field(self, field, value)) return -1;
  }
  return 0;
}

/* ---- classes ------------------------------------------------------------------------------------- */

static zclass_t *new_class(PyTypeObject *type, zbody_kind_t kind) {
  if (shape_count == ZSHAPE_MAX) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "zgc: too many managed classes");
    return NULL;
  }
  zclass_t *class = zos_table_map(sizeof *class);
  if (class == NULL) {
    zma.PyErr_NoMemory();
    return NULL;
  }
  class->type = type;
  class->shape.id = shape_count++;
  class->shape.kind = (uint8_t)kind;
  class->shape.size = ZBODY_SIZE_MIN;
  class->shape.owner = class;
  zshape_table[class->shape.id] = &class->shape;
  class->next = zclass_all;
  zclass_all = class;
  return class;
}

zshape_t *zmanaged_make_shape(zbody_kind_t kind) {
  static zshape_t shapes[4];
  static unsigned used;
  zshape_t *shape = &shapes[used++];
  shape->id = shape_count++;
  shape->kind = (uint8_t)kind;
  zshape_table[shape->id] = shape;
  return shape;
}

/* fields: list of (name, kind, default or the list itself) in order. */
static bool lay_out(zclass_t *class, const zclass_t *base, PyObject *fields) {
  Py_ssize_t added = zpy.PyList_Size(fields);
  size_t count = base->field_count + (size_t)added;
  class->fields = zos_table_map(zmax(count, 1) * sizeof *class->fields);
  if (class->fields == NULL) return zma.PyErr_NoMemory() != NULL;
  uint32_t end = base->shape.slot_count == 0 && base->field_count == 0 && base->shape.kind == ZBODY_FIXED &&
                         base->type == (PyTypeObject *)object_type
                     ? ZBODY_HEADER_SIZE
                     : base->shape.size;
  memcpy(class->shape.slot_map, base->shape.slot_map, sizeof class->shape.slot_map);
  class->shape.slot_count = base->shape.slot_count;
  class->has_initial = base->has_initial;
  for (unsigned i = 0; i < base->field_count; i++) {
    class->fields[i] = base->fields[i];
    zpy.Py_IncRef(class->fields[i].name);
    if (class->fields[i].initial != NULL) zpy.Py_IncRef(class->fields[i].initial);
  }
  for (Py_ssize_t i = 0; i < added; i++) {
    PyObject *row = zpy.PyList_GetItem(fields, i);
    zfield_t *field = &class->fields[base->field_count + (size_t)i];
    field->name = zmanaged_incref(zpy.PyTuple_GetItem(row, 0));
    zma.PyUnicode_InternInPlace(&field->name);
    field->kind = (uint8_t)zpy.PyLong_AsLong(zpy.PyTuple_GetItem(row, 1));
    PyObject *initial = zpy.PyTuple_GetItem(row, 2);
    if (initial != fields) {
      field->initial = zmanaged_incref(initial);
      class->has_initial = true;
    }
  }
  /* Wide ones first, so that nothing is wasted between them. */
  for (unsigned size = 8; size >= 1; size /= 2) {
    for (unsigned i = base->field_count; i < count; i++) {
      zfield_t *field = &class->fields[i];
      if (field_sizes[field->kind] != size) continue;
      end = (uint32_t)zalign_up(end, size);
      field->offset = (uint16_t)end;
      end += size;
      if (end > ZSHAPE_WORDS_MAX * 8) {
        zpy.PyErr_SetString(*zpy.PyExc_TypeError, "zgc: too many fields in one class");
        return false;
      }
      if (field->kind == ZFIELD_REFERENCE) {
        class->shape.slot_map[field->offset / 8 / 64] |= (uint64_t)1 << (field->offset / 8 % 64);
        class->shape.slot_count++;
      }
    }
  }
  class->field_count = (unsigned)count;
  class->shape.size = (uint32_t)zmax(zalign_up(end, 8), ZBODY_SIZE_MIN);
  return true;
}

static bool type_error(const char *message) {
  zpy.PyErr_SetString(*zpy.PyExc_TypeError, message);
  return false;
}

/* What type.__new__ made must be a plain handle. */
static bool check_type(PyTypeObject *type) {
  if ((Py_ssize_t)*zmanaged_type_word(type, ZMANAGED_TYPE_BASICSIZE) != (Py_ssize_t)sizeof(zhandle_t) ||
      *zmanaged_type_word(type, ZMANAGED_TYPE_DICTOFFSET) != NULL ||
      (zpy.PyType_GetFlags(type) & ZPYABI_FLAG_MANAGED_DICT)) {
    return type_error("bases of a managed class must be managed classes or have __slots__ = ()");
  }
  PyObject *finalizer = zpy.PyObject_GetAttrString((PyObject *)type, "__del__");
  if (finalizer != NULL) {
    zpy.Py_DecRef(finalizer);
    return type_error("a managed class cannot have __del__: bodies end without running code");
  }
  zpy.PyErr_Clear();
  return true;
}

/* The nearest managed class among the bases; they must form one line. */
static zclass_t *base_class(PyTypeObject *type) {
  PyObject *base = zpy.PyObject_GetAttrString((PyObject *)type, "__base__");
  if (base == NULL) return NULL;
  zpy.Py_DecRef(base); /* the type holds it */
  zclass_t *class = zma.PyType_IsSubtype(base->type, meta_type) ? zclass_of((PyTypeObject *)base) : NULL;
  if (class == NULL) type_error("a managed class must inherit from zgc.Object");
  return class;
}

static void install(PyTypeObject *type, zclass_t *class) {
  *zmanaged_type_word(type, ZMANAGED_TYPE_DEALLOC) = (void *)zmanaged_handle_dealloc;
  *zmanaged_type_word(type, ZMANAGED_TYPE_TRAVERSE) = (void *)zmanaged_handle_traverse;
  *zmanaged_type_word(type, ZMANAGED_TYPE_CLEAR) = (void *)zmanaged_handle_clear;
  class->is_plain = class->shape.kind == ZBODY_FIXED &&
                    *zmanaged_type_word(type, ZMANAGED_TYPE_INIT) == (void *)object_init &&
                    *zmanaged_type_word(type, ZMANAGED_TYPE_NEW) == (void *)object_new;
  *zmanaged_type_word(type, ZMANAGED_TYPE_VECTORCALL) = class->is_plain ? (void *)object_vectorcall : NULL;
}

static bool add_descriptors(zclass_t *class, unsigned from) {
  for (unsigned i = from; i < class->field_count; i++) {
    PyObject *descriptor = new_field(class, &class->fields[i]);
    if (descriptor == NULL) return false;
    int error = type_setattro((PyObject *)class->type, class->fields[i].name, descriptor);
    zpy.Py_DecRef(descriptor);
    if (error) return false;
  }
  return true;
}

static PyObject *make_type(PyTypeObject *metatype, PyObject *name, PyObject *bases, PyObject *names,
                           PyObject *keywords) {
  PyObject *arguments = zma.PyTuple_Pack(3, name, bases, names);
  if (arguments == NULL) return NULL;
  PyObject *type = type_new(metatype, arguments, keywords);
  zpy.Py_DecRef(arguments);
  return type;
}

static PyObject *meta_new(PyTypeObject *metatype, PyObject *arguments, PyObject *keywords) {
  if (zma.PyTuple_Size(arguments) != 3) {
    type_error("a managed class is made by a class statement");
    return NULL;
  }
  PyObject *read = zpy.PyDict_GetItemString(zmanaged_helpers, "read_fields");
  PyObject *plan = zpy.PyObject_CallObject(read, arguments);
  if (plan == NULL) return NULL;
  PyObject *names = zpy.PyTuple_GetItem(plan, 0), *fields = zpy.PyTuple_GetItem(plan, 1);
  PyObject *type = make_type(metatype, zpy.PyTuple_GetItem(arguments, 0), zpy.PyTuple_GetItem(arguments, 1),
                             names, keywords);
  zclass_t *base = type == NULL ? NULL : base_class((PyTypeObject *)type);
  zclass_t *class = NULL;
  if (base != NULL && check_type((PyTypeObject *)type)) {
    class = new_class((PyTypeObject *)type, (zbody_kind_t)base->shape.kind);
  }
  bool ok = class != NULL && lay_out(class, base, fields) && add_descriptors(class, base->field_count);
  if (ok && class->shape.kind == ZBODY_ARRAY && class->field_count > 0) {
    ok = type_error("a subclass of zgc.Array cannot have fields");
  }
  zpy.Py_DecRef(plan);
  if (!ok) {
    if (type != NULL) zpy.Py_DecRef(type);
    return NULL;
  }
  *(zclass_t **)((char *)type + zclass_offset) = class;
  install((PyTypeObject *)type, class);
  fill_cache(class);
  return type;
}

/* A field's name may get another meaning: every class forgets what it knew by name. */
static int meta_setattro(PyObject *type, PyObject *name, PyObject *value) {
  int error = type_setattro(type, name, value);
  if (error) return error;
  for (zclass_t *class = zclass_all; class != NULL; class = class->next) {
    if (class->type != NULL && class->cache[((uintptr_t)name >> 4) % ZCLASS_CACHE].name == name &&
        zma.PyType_IsSubtype(class->type, (PyTypeObject *)type)) {
      class->cache[((uintptr_t)name >> 4) % ZCLASS_CACHE].name = NULL;
    }
  }
  zclass_t *class = zclass_of((PyTypeObject *)type);
  if (class != NULL) install((PyTypeObject *)type, class); /* __init__ may have been assigned */
  return 0;
}

/* No body of the class is left: its shape stays, because dead bodies may still lie about. */
static void meta_dealloc(PyObject *type) {
  zclass_t *class = zclass_of((PyTypeObject *)type);
  PyObject *meta = (PyObject *)type->type;
  if (class != NULL) {
    class->type = NULL;
    for (unsigned i = 0; i < class->field_count; i++) {
      zpy.Py_DecRef(class->fields[i].name);
      if (class->fields[i].initial != NULL) zpy.Py_DecRef(class->fields[i].initial);
    }
    class->field_count = 0;
    memset(class->cache, 0, sizeof class->cache);
  }
  ((void (*)(PyObject *))*zmanaged_type_word((PyTypeObject *)zpy.PyType_Type, ZMANAGED_TYPE_DEALLOC))(type);
  zpy.Py_DecRef(meta);
}

static PyType_Slot meta_slots[] = {{Py_tp_dealloc, meta_dealloc}, {Py_tp_new, meta_new}, {Py_tp_setattro, meta_setattro}, {0, NULL}};
/* Immutable, because only such types inherit the vectorcall of `type` on 3.11. */
static PyType_Spec meta_spec = {"zgc.ObjectType", 0, 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
                                meta_slots};

/* ---- the base of all handles --------------------------------------------------------------------- */

static PyObject *get_class(PyObject *self, void *closure) {
  (void)closure;
  return zmanaged_incref((PyObject *)self->type);
}

static int set_class(PyObject *self, PyObject *value, void *closure) {
  (void)self;
  (void)value;
  (void)closure;
  return type_error("the class of a managed object cannot be changed") ? 0 : -1;
}

static PyObject *get_state(PyObject *self, PyObject *unused) {
  (void)unused;
  zclass_t *class = zclass_of(self->type);
  PyObject *state = zpy.PyDict_New();
  for (unsigned i = 0; state != NULL && i < class->field_count; i++) {
    PyObject *value = read_field(self, class->fields[i].offset, (zfield_kind_t)class->fields[i].kind);
    int error = value == NULL ? -1 : zma.PyDict_SetItem(state, class->fields[i].name, value);
    if (value != NULL) zpy.Py_DecRef(value);
    if (error == 0) continue;
    zpy.Py_DecRef(state);
    state = NULL;
  }
  return state;
}

static PyObject *set_state(PyObject *self, PyObject *state) {
  zclass_t *class = zclass_of(self->type);
  Py_ssize_t position = 0;
  PyObject *name, *value;
  if ((PyObject *)state->type != zpy.PyDict_Type) {
    zmanaged_type_error("state must be a dict", state);
    return NULL;
  }
  while (zma.PyDict_Next(state, &position, &name, &value)) {
    const zfield_t *field = find_field(class, name);
    if (field == NULL) {
      no_such_field(class, name);
      return NULL;
    }
    if (!set_field(self, field, value)) return NULL;
  }
  return zpy_new_none();
}

static PyMethodDef handle_methods[] = {
    {"__getstate__", get_state, METH_NOARGS, NULL}, {"__setstate__", set_state, METH_O, NULL},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef handle_getset[] = {{"__class__", get_class, set_class, NULL, NULL},
                                      {NULL, NULL, NULL, NULL, NULL}};
static PyMemberDef handle_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(zhandle_t, weak_list), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyType_Slot handle_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                     {Py_tp_traverse, zmanaged_handle_traverse},
                                     {Py_tp_clear, zmanaged_handle_clear},
                                     {Py_tp_getattro, handle_getattro},
                                     {Py_tp_setattro, handle_setattro},
                                     {Py_tp_new, object_new},
                                     {Py_tp_init, object_init},
                                     {Py_tp_methods, handle_methods},
                                     {Py_tp_getset, handle_getset},
                                     {Py_tp_members, handle_members},
                                     {0, NULL}};
static PyType_Spec handle_spec = {"zgc._Handle", sizeof(zhandle_t), 0,
                                  Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, handle_slots};

static zclass_t *wrap(PyObject *names, const char *name, PyObject *base, zbody_kind_t kind, uint32_t size,
                      uint64_t slot_map) {
  PyObject *space = zpy.PyObject_CallFunction(
      zpy.PyDict_GetItemString(zmanaged_helpers, "namespace_of"), "s", name);
  PyObject *bases = zma.PyTuple_Pack(1, base);
  PyObject *text = zpy.PyUnicode_FromString(name);
  if (space == NULL || bases == NULL || text == NULL) return NULL;
  PyObject *type = make_type(meta_type, text, bases, space, NULL);
  zpy.Py_DecRef(space);
  zpy.Py_DecRef(bases);
  zpy.Py_DecRef(text);
  zclass_t *class = type == NULL ? NULL : new_class((PyTypeObject *)type, kind);
  if (class == NULL) return NULL;
  class->shape.size = size;
  class->shape.slot_map[0] = slot_map;
  class->shape.slot_count = (uint32_t)__builtin_popcountll(slot_map);
  *(zclass_t **)((char *)type + zclass_offset) = class;
  install((PyTypeObject *)type, class);
  class->is_held = true; /* ours for good */
  class->alloc_seq = UINT32_MAX;
  if (zpy.PyDict_SetItemString(names, name, type) != 0) return NULL;
  return class;
}

zclass_t *zmanaged_make_type(PyObject *names, const char *name, PyType_Spec *spec, zbody_kind_t kind,
                             uint32_t size, uint64_t slot_map) {
  PyObject *bases = zma.PyTuple_Pack(1, (PyObject *)zmanaged_handle_type);
  PyObject *base = bases == NULL ? NULL : zma.PyType_FromSpecWithBases(spec, bases);
  if (base == NULL) return NULL;
  zpy.Py_DecRef(bases);
  zclass_t *class = wrap(names, name, base, kind, size, slot_map);
  zpy.Py_DecRef(base);
  return class;
}

bool zmanaged_object_start(PyObject *names) {
  PyTypeObject *type = (PyTypeObject *)zpy.PyType_Type;
  zclass_offset = (size_t)*zmanaged_type_word(type, ZMANAGED_TYPE_BASICSIZE);
  meta_spec.basicsize = (int)(zclass_offset + sizeof(zclass_t *));
  meta_spec.itemsize = (int)zpyabi_read_type(type).item_size;
  type_new = (PyObject * (*)(PyTypeObject *, PyObject *, PyObject *)) * zmanaged_type_word(type, ZMANAGED_TYPE_NEW);
  type_setattro = (int (*)(PyObject *, PyObject *, PyObject *)) *
                  zmanaged_type_word(type, ZMANAGED_TYPE_SETATTRO);
  PyObject *bases = zma.PyTuple_Pack(1, zpy.PyType_Type);
  meta_type = bases == NULL ? NULL : (PyTypeObject *)zma.PyType_FromSpecWithBases(&meta_spec, bases);
  field_type = (PyTypeObject *)zma.PyType_FromSpecWithBases(&field_spec, NULL);
  zmanaged_handle_type = (PyTypeObject *)zma.PyType_FromSpecWithBases(&handle_spec, NULL);
  if (meta_type == NULL || field_type == NULL || zmanaged_handle_type == NULL) return false;
  zpy.Py_DecRef(bases);
  zclass_t *class = wrap(names, "Object", (PyObject *)zmanaged_handle_type, ZBODY_FIXED, ZBODY_SIZE_MIN, 0);
  if (class == NULL) return false;
  object_type = (PyObject *)class->type;
  return zpy.PyDict_SetItemString(names, "ObjectType", (PyObject *)meta_type) == 0;
}
