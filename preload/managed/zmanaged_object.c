/* zgc.Object: attribute access, construction, and the base of all handles. */
#include <string.h>

#include "collector/python/ztype_registry.h"
#include "preload/managed/zmanaged_field.h"
#include "preload/managed/zmanaged_metaclass.h"
#include "preload/managed/zmanaged_sole.h"
#include "preload/managed/zmanaged_types.h"

/* ---- attribute access ---------------------------------------------------------------------------- */

static PyObject *handle_getattro(PyObject *self, PyObject *name) {
  const zclass_t *class = zmanaged_class_of(self->type);
  const zclass_cache_t *field = zlikely(class != NULL) ? zmanaged_class_cached(class, name) : NULL;
  if (zlikely(field != NULL)) return zmanaged_field_read_cached(self, field);
  return zma.PyObject_GenericGetAttr(self, name);
}

static inline bool may_overwrite(zcolored_t word) {
  return zcolored_is_store_good(word) && zcolored_kind(word) != ZKIND_PYTHON;
}

/* The usual values of the usual fields. False: the general way. */
static inline bool write_common(zaddress_t body, const zclass_cache_t *field, PyObject *value) {
  uint64_t *place = (uint64_t *)(body.value + field->offset);
  PyObject *type = (PyObject *)value->type;
  int64_t number;
  if (field->kind == ZFIELD_I64) {
    if (type != zma.PyLong_Type || !zmanaged_int_value(value, &number)) return false;
    *(int64_t *)place = number;
    return true;
  }
  if (field->kind == ZFIELD_F64) {
    if (type != zma.PyFloat_Type) return false;
    *(double *)place = zmanaged_float_value(value);
    return true;
  }
  if (field->kind != ZFIELD_REFERENCE || zload_relaxed(&zmanaged_poll_wanted) != 0) return false;
  zcolored_t word = zcolored_none(), overwritten = {zload_acquire(place)};
  if (!may_overwrite(overwritten)) return false;
  if (zmanaged_is_handle(value)) {
    zhandle_entry_t *handle = ((zhandle_t *)value)->entry;
    zcolored_t entry = {zload_acquire(&handle->word)};
    if (zmanaged_is_sole(handle) || !zcolored_is_load_good(entry)) return false;
    word = zcolored_store_good(zcolored_strip(entry));
  } else if (value != zpy_None()) {
    return false;
  }
  zstore_release(place, word.bits);
  return true;
}

static int handle_setattro(PyObject *self, PyObject *name, PyObject *value) {
  const zclass_t *class = zmanaged_class_of(self->type);
  const zclass_cache_t *field = zlikely(class != NULL) ? zmanaged_class_cached(class, name) : NULL;
  if (zlikely(field != NULL)) {
    zaddress_t body = zmanaged_body(self);
    if (zlikely(zbody_header(body)->shape == field->shape)) {
      if (zlikely(value != NULL && write_common(body, field, value))) return 0;
      return zmanaged_field_write(self, field->offset, field->kind, name, value) ? 0 : -1;
    }
  }
  return zma.PyObject_GenericSetAttr(self, name, value);
}

/* ---- construction -------------------------------------------------------------------------------- */

static inline bool set_field(PyObject *self, const zfield_t *field, PyObject *value) {
  return zmanaged_field_write(self, field->offset, field->kind, field->name, value);
}

PyObject *zmanaged_object_make(zclass_t *class) {
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

static bool bad_keyword(const zclass_t *class, const char *what, PyObject *name) {
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s() got %s '%S'",
                   (const char *)*zmanaged_type_word(class->type, ZMANAGED_TYPE_NAME), what, name);
  return false;
}

/* A field given by name, after `count` were given by position. */
static bool set_named(PyObject *self, const zclass_t *class, size_t count, PyObject *name, PyObject *value) {
  const zfield_t *field = zmanaged_class_find(class, name);
  if (field == NULL) return bad_keyword(class, "an unexpected keyword argument", name);
  if ((size_t)(field - class->fields) < count) return bad_keyword(class, "multiple values for argument", name);
  return set_field(self, field, value);
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
    zmanaged_sole_share(((zhandle_t *)value)->entry);
    zstore_relaxed((uint64_t *)place, zcolored_store_good(zmanaged_body(value)).bits);
    return true;
  }
  if (field->kind == ZFIELD_F64 && type == zma.PyFloat_Type) {
    double number = zmanaged_float_value(value);
    memcpy(place, &number, 8);
    return true;
  }
  int64_t number;
  if (field->kind == ZFIELD_I64 && type == zma.PyLong_Type && zmanaged_int_value(value, &number)) {
    memcpy(place, &number, 8);
    return true;
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

static PyObject *tuple_of(PyObject *const *objects, size_t count) {
  PyObject *tuple = zpy.PyTuple_New((Py_ssize_t)count);
  for (size_t i = 0; tuple != NULL && i < count; i++) {
    zpy.PyTuple_SetItem(tuple, (Py_ssize_t)i, zmanaged_incref(objects[i]));
  }
  return tuple;
}

static PyObject *dict_of(PyObject *names, PyObject *const *values) {
  PyObject *dict = zpy.PyDict_New();
  for (Py_ssize_t i = 0; dict != NULL && i < zma.PyTuple_Size(names); i++) {
    if (zma.PyDict_SetItem(dict, zpy.PyTuple_GetItem(names, i), values[i]) == 0) continue;
    zpy.Py_DecRef(dict);
    dict = NULL;
  }
  return dict;
}

/* As a class without a vectorcall is called: its __new__, then its __init__. */
static zcold PyObject *call_type(PyObject *type, PyObject *const *arguments, size_t count, PyObject *keywords) {
  PyObject *tuple = tuple_of(arguments, count);
  PyObject *dict = keywords == NULL ? NULL : dict_of(keywords, arguments + count);
  PyObject *made = NULL;
  if (tuple != NULL && (dict != NULL || keywords == NULL)) {
    void *call = *zmanaged_type_word((PyTypeObject *)zpy.PyType_Type, ZMANAGED_TYPE_CALL);
    made = ((PyObject * (*)(PyObject *, PyObject *, PyObject *)) call)(type, tuple, dict);
  }
  if (tuple != NULL) zpy.Py_DecRef(tuple);
  if (dict != NULL) zpy.Py_DecRef(dict);
  return made;
}

PyObject *zmanaged_object_vectorcall(PyObject *type, PyObject *const *arguments, size_t flags,
                                   PyObject *keywords) {
  zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
  size_t count = flags & ~PY_VECTORCALL_ARGUMENTS_OFFSET;
  if (zunlikely(!zmanaged_metaclass_is_plain(class))) return call_type(type, arguments, count, keywords);
  PyObject *self = zmanaged_object_make(class);
  if (zunlikely(self == NULL)) return NULL;
  bool ok = set_positional(self, class, arguments, count);
  Py_ssize_t named = keywords == NULL ? 0 : zma.PyTuple_Size(keywords);
  for (Py_ssize_t i = 0; ok && i < named; i++) {
    ok = set_named(self, class, count, zpy.PyTuple_GetItem(keywords, i), arguments[count + (size_t)i]);
  }
  if (zlikely(ok)) return self;
  zpy.Py_DecRef(self);
  return NULL;
}

/* __new__ of zgc.Object: arguments are __init__'s business. */
PyObject *zmanaged_object_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)arguments;
  (void)keywords;
  zclass_t *class = zmanaged_metaclass_to_make(type, ZFAMILY_OBJECT);
  return class == NULL ? NULL : zmanaged_object_make(class);
}

int zmanaged_object_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
  zclass_t *class = zmanaged_field_owner(self);
  Py_ssize_t count = zma.PyTuple_Size(arguments);
  if ((size_t)count > class->field_count) return too_many(class, (size_t)count) ? 0 : -1;
  for (Py_ssize_t i = 0; i < count; i++) {
    if (!set_field(self, &class->fields[i], zpy.PyTuple_GetItem(arguments, i))) return -1;
  }
  Py_ssize_t position = 0;
  PyObject *name, *value;
  while (keywords != NULL && zma.PyDict_Next(keywords, &position, &name, &value)) {
    if (!set_named(self, class, (size_t)count, name, value)) return -1;
  }
  return 0;
}

/* ---- the base of all handles --------------------------------------------------------------------- */

static PyObject *get_class(PyObject *self, void *closure) {
  (void)closure;
  return zmanaged_incref((PyObject *)self->type);
}

static int set_class(PyObject *self, PyObject *value, void *closure) {
  (void)self;
  (void)value;
  (void)closure;
  zpy.PyErr_SetString(*zpy.PyExc_TypeError, "the class of a managed object cannot be changed");
  return -1;
}

static PyObject *get_state(PyObject *self, PyObject *unused) {
  (void)unused;
  zclass_t *class = zmanaged_field_owner(self);
  PyObject *state = zpy.PyDict_New();
  for (unsigned i = 0; state != NULL && i < class->field_count; i++) {
    PyObject *value = zmanaged_field_read(self, class->fields[i].offset, (zfield_kind_t)class->fields[i].kind);
    int error = value == NULL ? -1 : zma.PyDict_SetItem(state, class->fields[i].name, value);
    if (value != NULL) zpy.Py_DecRef(value);
    if (error == 0) continue;
    zpy.Py_DecRef(state);
    state = NULL;
  }
  return state;
}

static PyObject *set_state(PyObject *self, PyObject *state) {
  zclass_t *class = zmanaged_field_owner(self);
  Py_ssize_t position = 0;
  PyObject *name, *value;
  if ((PyObject *)state->type != zpy.PyDict_Type) {
    zmanaged_type_error("state must be a dict", state);
    return NULL;
  }
  while (zma.PyDict_Next(state, &position, &name, &value)) {
    if (!set_named(self, class, 0, name, value)) return NULL;
  }
  return zpy_new_none();
}

static void add_part(uint64_t *slot, void *total) {
  zcolored_t word = zbarrier_load(zslot(slot));
  if (!zcolored_is_body(word)) return;
  zaddress_t part = zcolored_strip(word);
  if (zbody_shape(part)->owner == NULL) *(size_t *)total += zbody_size(part);
}

/* The handle, the body, and the bodies without a class that only this one refers to: rows and tables. */
static PyObject *handle_sizeof(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  zaddress_t body = zmanaged_body(self);
  const zshape_t *shape = zbody_shape(body);
  size_t total = sizeof(zhandle_t) + zbody_size(body);
  if (shape->kind == ZBODY_FIXED) zbody_visit_slots(body, shape, 0, 1, add_part, &total);
  return zma.PyLong_FromSsize_t((Py_ssize_t)total);
}

static PyMethodDef handle_methods[] = {
    {"__sizeof__", handle_sizeof, METH_NOARGS, NULL},
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
                                     {Py_tp_hash, zmanaged_handle_hash},
                                     {Py_tp_richcompare, NULL}, /* object's, so that this is the identity */
                                     {Py_tp_new, zmanaged_object_new},
                                     {Py_tp_init, zmanaged_object_init},
                                     {Py_tp_methods, handle_methods},
                                     {Py_tp_getset, handle_getset},
                                     {Py_tp_members, handle_members},
                                     {0, NULL}};
static PyType_Spec handle_spec = {"zgc._Handle", sizeof(zhandle_t), 0,
                                  Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, handle_slots};

void *zmanaged_identity_compare;

bool zmanaged_object_start(PyObject *names) {
  zmanaged_identity_compare = zpy.PyType_GetSlot((PyTypeObject *)zma.PyBaseObject_Type, Py_tp_richcompare);
  for (PyType_Slot *slot = handle_slots; slot->slot != 0; slot++) {
    if (slot->slot == Py_tp_richcompare) slot->pfunc = zmanaged_identity_compare;
  }
  ztype_not_learned = zmanaged_handle_traverse;
  zmanaged_handle_type = (PyTypeObject *)zma.PyType_FromSpecWithBases(&handle_spec, NULL);
  return zmanaged_handle_type != NULL && zmanaged_field_start() && zmanaged_metaclass_start(names);
}
