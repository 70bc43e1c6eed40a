#include "preload/zmanaged_class.h"

#include <string.h>

#include "heap/base/zos.h"
#include "preload/zmanaged_field.h"
#include "preload/zmanaged_types.h"

zclass_t *zmanaged_class_all;
size_t zmanaged_class_offset;

static PyTypeObject *meta_type;
static PyObject *object_type;
static PyObject *(*type_new)(PyTypeObject *, PyObject *, PyObject *);
static int (*type_setattro)(PyObject *, PyObject *, PyObject *);
static uint32_t shape_count = 1; /* 0 is no shape */

/* ---- shapes and fields --------------------------------------------------------------------------- */

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
  class->next = zmanaged_class_all;
  zmanaged_class_all = class;
  return class;
}

zshape_t *zmanaged_class_make_shape(zbody_kind_t kind) {
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
      if (zmanaged_field_sizes[field->kind] != size) continue;
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

/* ---- the metaclass ------------------------------------------------------------------------------- */

static const char no_finalizers[] = "a managed class cannot have __del__: bodies end without running code";

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
    return type_error(no_finalizers);
  }
  zpy.PyErr_Clear();
  return true;
}

/* The nearest managed class among the bases; they must form one line. */
static zclass_t *base_class(PyTypeObject *type) {
  PyObject *base = zpy.PyObject_GetAttrString((PyObject *)type, "__base__");
  if (base == NULL) return NULL;
  zpy.Py_DecRef(base); /* the type holds it */
  bool is_ours = zma.PyType_IsSubtype(base->type, meta_type) != 0;
  zclass_t *class = is_ours ? zmanaged_class_of((PyTypeObject *)base) : NULL;
  if (class == NULL) type_error("a managed class must inherit from zgc.Object");
  return class;
}

static void install(PyTypeObject *type, zclass_t *class) {
  *zmanaged_type_word(type, ZMANAGED_TYPE_DEALLOC) = (void *)zmanaged_handle_dealloc;
  *zmanaged_type_word(type, ZMANAGED_TYPE_TRAVERSE) = (void *)zmanaged_handle_traverse;
  *zmanaged_type_word(type, ZMANAGED_TYPE_CLEAR) = (void *)zmanaged_handle_clear;
  class->is_plain = class->shape.kind == ZBODY_FIXED &&
                    *zmanaged_type_word(type, ZMANAGED_TYPE_INIT) == (void *)zmanaged_object_init &&
                    *zmanaged_type_word(type, ZMANAGED_TYPE_NEW) == (void *)zmanaged_object_new;
  *zmanaged_type_word(type, ZMANAGED_TYPE_VECTORCALL) =
      class->is_plain ? (void *)zmanaged_object_vectorcall : NULL;
}

static bool add_descriptors(zclass_t *class, unsigned from) {
  for (unsigned i = from; i < class->field_count; i++) {
    PyObject *descriptor = zmanaged_field_new(class, &class->fields[i]);
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

/* May a field that `declared` declares be known by name? Not where a class that is none of ours comes
 * before it: that class can get an attribute of this name later, and nobody would tell us. */
static bool is_stable(const zclass_t *class, const zclass_t *declared) {
  PyObject *order = zpy.PyObject_GetAttrString((PyObject *)class->type, "__mro__");
  if (order == NULL) return false;
  bool stable = true;
  for (Py_ssize_t i = 0; stable && i < zma.PyTuple_Size(order); i++) {
    PyTypeObject *type = (PyTypeObject *)zpy.PyTuple_GetItem(order, i);
    if (type == declared->type) break;
    stable = zma.PyType_IsSubtype(type->type, meta_type) != 0;
  }
  zpy.Py_DecRef(order);
  return stable;
}

static void add_to_cache(zclass_t *class, const zfield_t *field) {
  zclass_cache_t *entry = &class->cache[((uintptr_t)field->name >> 4) % ZCLASS_CACHE];
  while (entry->name != NULL) {
    entry = entry == &class->cache[ZCLASS_CACHE - 1] ? class->cache : entry + 1;
  }
  *entry = (zclass_cache_t){field->name, field->offset, field->kind};
}

static void fill_cache(zclass_t *class) {
  memset(class->cache, 0, sizeof class->cache);
  for (unsigned i = 0; i < class->field_count && i < ZCLASS_CACHE / 2; i++) { /* the rest: by descriptor */
    const zfield_t *field = &class->fields[i];
    PyObject *found = zma.PyObject_GetAttr((PyObject *)class->type, field->name);
    if (found == NULL) {
      zpy.PyErr_Clear();
      continue;
    }
    uint16_t offset;
    const zclass_t *declared = zmanaged_field_class(found, &offset);
    zpy.Py_DecRef(found);
    if (declared != NULL && offset == field->offset && is_stable(class, declared)) add_to_cache(class, field);
  }
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
  *(zclass_t **)((char *)type + zmanaged_class_offset) = class;
  install((PyTypeObject *)type, class);
  fill_cache(class);
  return type;
}

/* A field's name may get another meaning: the classes below forget what they knew by name. */
static int meta_setattro(PyObject *type, PyObject *name, PyObject *value) {
  bool is_text = (PyObject *)name->type == zma.PyUnicode_Type;
  const char *text = is_text ? zpy.PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
  if (text == NULL) zpy.PyErr_Clear(); /* a lone surrogate */
  if (text != NULL && value != NULL && strcmp(text, "__del__") == 0) {
    type_error(no_finalizers);
    return -1;
  }
  int error = type_setattro(type, name, value);
  if (error) return error;
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type == NULL || zmanaged_class_cached(class, name) == NULL) continue;
    if (zma.PyType_IsSubtype(class->type, (PyTypeObject *)type)) fill_cache(class);
  }
  zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
  if (class != NULL) install((PyTypeObject *)type, class); /* __init__ may have been assigned */
  return 0;
}

/* No body of the class is left: its shape stays, because dead bodies may still lie about. */
static void meta_dealloc(PyObject *type) {
  zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
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

/* [(name, kind)] or, of a field that has a default, [(name, kind, default)]. */
static PyObject *field_rows(const zclass_t *class) {
  PyObject *rows = zpy.PyList_New(0);
  for (unsigned i = 0; rows != NULL && i < class->field_count; i++) {
    const zfield_t *field = &class->fields[i];
    PyObject *row = field->initial == NULL
                        ? zpy.Py_BuildValue("(Oi)", field->name, (int)field->kind)
                        : zpy.Py_BuildValue("(OiO)", field->name, (int)field->kind, field->initial);
    bool kept = row != NULL && zpy.PyList_Append(rows, row) == 0;
    if (row != NULL) zpy.Py_DecRef(row);
    if (kept) continue;
    zpy.Py_DecRef(rows);
    rows = NULL;
  }
  return rows;
}

/* For inspect.signature and help(). A class with an __init__ of its own is left to them. */
static PyObject *meta_get_signature(PyObject *type, void *unused) {
  (void)unused;
  const zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
  if (class == NULL || !class->is_plain) {
    zpy.PyErr_SetString(*zma.PyExc_AttributeError, "__signature__");
    return NULL;
  }
  PyObject *rows = field_rows(class);
  if (rows == NULL) return NULL;
  PyObject *signature =
      zpy.PyObject_CallFunction(zpy.PyDict_GetItemString(zmanaged_helpers, "signature_of"), "O", rows);
  zpy.Py_DecRef(rows);
  return signature;
}

static PyGetSetDef meta_getset[] = {{"__signature__", meta_get_signature, NULL, NULL, NULL}, {0}};
static PyType_Slot meta_slots[] = {{Py_tp_dealloc, meta_dealloc},
                                   {Py_tp_new, meta_new},
                                   {Py_tp_setattro, meta_setattro},
                                   {Py_tp_getset, meta_getset},
                                   {0, NULL}};
/* Immutable, because only such types inherit the vectorcall of `type` on 3.11. */
static PyType_Spec meta_spec = {"zgc.ObjectType", 0, 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
                                meta_slots};

/* ---- life of a class ----------------------------------------------------------------------------- */

void zmanaged_class_note_use(zclass_t *class) {
  class->alloc_seq = zbody_space.number;
  if (!class->is_held) {
    class->is_held = true;
    zpy.Py_IncRef((PyObject *)class->type);
  }
}

void zmanaged_class_release_unused(void) {
  /* A class whose bodies all died before the last full mark. seen_seq is stored by marking. */
  static uint64_t done;
  static uint32_t last_full_seq;
  uint64_t full = zload_relaxed(&zmanaged_stat_values.full_collections);
  if (full == done || zmanaged_phase() != ZMANAGED_IDLE) return;
  done = full;
  last_full_seq = zmanaged_last_full_seq();
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type == NULL || !class->is_held || class->alloc_seq >= last_full_seq) continue;
    if (zload_relaxed(&class->shape.seen_seq) >= last_full_seq) continue;
    class->is_held = false;
    zpy.Py_DecRef((PyObject *)class->type);
  }
}

const zfield_t *zmanaged_class_find(const zclass_t *class, PyObject *name) {
  for (unsigned i = 0; i < class->field_count; i++) {
    if (class->fields[i].name == name) return &class->fields[i];
  }
  if ((PyObject *)name->type != zma.PyUnicode_Type) return NULL;
  for (unsigned i = 0; i < class->field_count; i++) {
    if (zma.PyUnicode_Compare(class->fields[i].name, name) == 0) return &class->fields[i];
  }
  return NULL;
}

/* ---- start --------------------------------------------------------------------------------------- */

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
  *(zclass_t **)((char *)type + zmanaged_class_offset) = class;
  install((PyTypeObject *)type, class);
  class->is_held = true; /* ours for good */
  class->alloc_seq = UINT32_MAX;
  if (zpy.PyDict_SetItemString(names, name, type) != 0) return NULL;
  return class;
}

zclass_t *zmanaged_class_make(PyObject *names, const char *name, PyType_Spec *spec, zbody_kind_t kind,
                              uint32_t size, uint64_t slot_map) {
  PyObject *bases = zma.PyTuple_Pack(1, (PyObject *)zmanaged_handle_type);
  PyObject *base = bases == NULL ? NULL : zma.PyType_FromSpecWithBases(spec, bases);
  if (base == NULL) return NULL;
  zpy.Py_DecRef(bases);
  zclass_t *class = wrap(names, name, base, kind, size, slot_map);
  zpy.Py_DecRef(base);
  return class;
}

bool zmanaged_class_start(PyObject *names) {
  PyTypeObject *type = (PyTypeObject *)zpy.PyType_Type;
  zmanaged_class_offset = (size_t)*zmanaged_type_word(type, ZMANAGED_TYPE_BASICSIZE);
  meta_spec.basicsize = (int)(zmanaged_class_offset + sizeof(zclass_t *));
  meta_spec.itemsize = (int)zpyabi_read_type(type).item_size;
  type_new = (PyObject * (*)(PyTypeObject *, PyObject *, PyObject *)) *
             zmanaged_type_word(type, ZMANAGED_TYPE_NEW);
  type_setattro = (int (*)(PyObject *, PyObject *, PyObject *)) *
                  zmanaged_type_word(type, ZMANAGED_TYPE_SETATTRO);
  PyObject *bases = zma.PyTuple_Pack(1, zpy.PyType_Type);
  meta_type = bases == NULL ? NULL : (PyTypeObject *)zma.PyType_FromSpecWithBases(&meta_spec, bases);
  if (meta_type == NULL) return false;
  zpy.Py_DecRef(bases);
  zclass_t *class = wrap(names, "Object", (PyObject *)zmanaged_handle_type, ZBODY_FIXED, ZBODY_SIZE_MIN, 0);
  if (class == NULL) return false;
  object_type = (PyObject *)class->type;
  return zpy.PyDict_SetItemString(names, "ObjectType", (PyObject *)meta_type) == 0;
}
