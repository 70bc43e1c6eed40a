/* The metaclass of managed classes: the essay is in zmanaged_class.h. */
#include "preload/managed/zmanaged_metaclass.h"

#include <string.h>

#include "preload/managed/zmanaged_field.h"
#include "preload/managed/zmanaged_types.h"

size_t zmanaged_class_offset;

PyTypeObject *zmanaged_meta_type;

static PyObject *(*type_new)(PyTypeObject *, PyObject *, PyObject *);
static int (*type_setattro)(PyObject *, PyObject *, PyObject *);
static zpy_traverse_t type_traverse;
static int (*type_clear)(PyObject *);

static bool type_error(const char *message) {
  zpy.PyErr_SetString(*zpy.PyExc_TypeError, message);
  return false;
}

/* ---- the metaclass ------------------------------------------------------------------------------- */

static const char no_finalizers[] = "a managed class cannot have __del__: bodies end without running code";

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

static inline const char *type_name(const zclass_t *class) {
  return (const char *)*zmanaged_type_word(class->type, ZMANAGED_TYPE_NAME);
}

static zclass_t *finished_class(PyTypeObject *type) {
  zclass_t *class = zmanaged_class_of(type);
  if (class == NULL) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "class %s is still being made, or could not be made",
                     (const char *)*zmanaged_type_word(type, ZMANAGED_TYPE_NAME));
  }
  return class;
}

zclass_t *zmanaged_metaclass_to_make(PyTypeObject *type, zfamily_t family) {
  if (!zma.PyType_IsSubtype(type->type, zmanaged_meta_type)) {
    type_error("this type cannot be instantiated");
    return NULL;
  }
  zclass_t *class = finished_class(type);
  if (class == NULL) return NULL;
  if (class->family != family) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s cannot be made by the __new__ of another kind of class", type_name(class));
    return NULL;
  }
  if (*zmanaged_type_word(type, ZMANAGED_TYPE_FINALIZE) != NULL) { /* a base has got it since */
    type_error(no_finalizers);
    return NULL;
  }
  return class;
}

/* Which of two classes has all that the other one has? NULL with an exception set where neither does. */
static zclass_t *wider(PyObject *name, zclass_t *a, zclass_t *b) {
  if (zmanaged_class_has(a, b->depth, b->line[b->depth])) return a;
  if (zmanaged_class_has(b, a->depth, a->line[a->depth])) return b;
  zpy.PyErr_Format(*zpy.PyExc_TypeError,
                   "class %S: a body cannot have the fields of both %s and %s; only one line of the bases may "
                   "declare fields, and zgc.Object, Array, List and Dict do not mix",
                   name, type_name(a), type_name(b));
  return NULL;
}

/* The class among those that `type` inherits from whose bodies have everything that the others rely on. */
static zclass_t *base_class(PyTypeObject *type, PyObject *name) {
  PyObject *order = zpy.PyObject_GetAttrString((PyObject *)type, "__mro__");
  if (order == NULL) return NULL;
  zclass_t *widest = NULL;
  for (Py_ssize_t i = 0; i < zma.PyTuple_Size(order); i++) {
    PyTypeObject *base = (PyTypeObject *)zpy.PyTuple_GetItem(order, i);
    if (base == type || !zma.PyType_IsSubtype(base->type, zmanaged_meta_type)) continue;
    zclass_t *class = finished_class(base);
    widest = class == NULL || widest == NULL ? class : wider(name, widest, class);
    if (widest == NULL) break;
  }
  zpy.Py_DecRef(order);
  if (widest == NULL && zpy.PyErr_Occurred() == NULL) type_error("a managed class must inherit from zgc.Object");
  return widest;
}

static void install(PyTypeObject *type, zclass_t *class) {
  *zmanaged_type_word(type, ZMANAGED_TYPE_DEALLOC) = (void *)zmanaged_handle_dealloc;
  *zmanaged_type_word(type, ZMANAGED_TYPE_TRAVERSE) = (void *)zmanaged_handle_traverse;
  *zmanaged_type_word(type, ZMANAGED_TYPE_CLEAR) = (void *)zmanaged_handle_clear;
  *zmanaged_type_word(type, ZMANAGED_TYPE_VECTORCALL) =
      class->family == ZFAMILY_OBJECT ? (void *)zmanaged_object_vectorcall : NULL;
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

/* May a field that `origin` declares be known by name? Not where a class that is none of ours comes
 * before it: that class can get an attribute of this name later, and nobody would tell us. */
static bool is_stable(const zclass_t *class, const zfield_origin_t *origin) {
  PyObject *order = zpy.PyObject_GetAttrString((PyObject *)class->type, "__mro__");
  if (order == NULL) return false;
  bool stable = true;
  for (Py_ssize_t i = 0; stable && i < zma.PyTuple_Size(order); i++) {
    PyTypeObject *type = (PyTypeObject *)zpy.PyTuple_GetItem(order, i);
    stable = zma.PyType_IsSubtype(type->type, zmanaged_meta_type) != 0;
    const zclass_t *own = stable ? zmanaged_class_of(type) : NULL;
    if (own != NULL && own->number == origin->number) break;
  }
  zpy.Py_DecRef(order);
  return stable;
}

static void add_to_cache(zclass_t *class, const zfield_t *field) {
  zclass_cache_t *entry = &class->cache[((uintptr_t)field->name >> 4) % ZCLASS_CACHE];
  while (entry->name != NULL) {
    entry = entry == &class->cache[ZCLASS_CACHE - 1] ? class->cache : entry + 1;
  }
  *entry = (zclass_cache_t){field->name, field->offset, field->kind, class->shape.id};
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
    zfield_origin_t origin;
    bool is_field = zmanaged_field_origin(found, &origin);
    zpy.Py_DecRef(found);
    if (is_field && origin.offset == field->offset && zmanaged_class_has(class, origin.depth, origin.number) &&
        is_stable(class, &origin)) {
      add_to_cache(class, field);
    }
  }
}

bool zmanaged_metaclass_is_plain(const zclass_t *class) {
  PyTypeObject *type = class->type;
  return class->family == ZFAMILY_OBJECT &&
         *zmanaged_type_word(type, ZMANAGED_TYPE_INIT) == (void *)zmanaged_object_init &&
         *zmanaged_type_word(type, ZMANAGED_TYPE_NEW) == (void *)zmanaged_object_new &&
         *zmanaged_type_word(type, ZMANAGED_TYPE_FINALIZE) == NULL;
}

static inline void set_class(PyTypeObject *type, zclass_t *class) {
  *(zclass_t **)((char *)type + zmanaged_class_offset) = class;
}

/* For match statements: the fields in order, unless the class says otherwise. */
static bool add_match_args(zclass_t *class, PyObject *names) {
  if (zpy.PyDict_GetItemString(names, "__match_args__") != NULL) return true;
  PyObject *tuple = zpy.PyTuple_New((Py_ssize_t)class->field_count);
  for (unsigned i = 0; tuple != NULL && i < class->field_count; i++) {
    zpy.PyTuple_SetItem(tuple, (Py_ssize_t)i, zmanaged_incref(class->fields[i].name));
  }
  PyObject *name = zpy.PyUnicode_FromString("__match_args__");
  bool ok = tuple != NULL && name != NULL && type_setattro((PyObject *)class->type, name, tuple) == 0;
  if (tuple != NULL) zpy.Py_DecRef(tuple);
  if (name != NULL) zpy.Py_DecRef(name);
  return ok;
}

/* What only the fields of this class need. */
static bool add_fields(zclass_t *class, const zclass_t *base, PyObject *names) {
  if (class->field_count == base->field_count) return true;
  if (class->family == ZFAMILY_ARRAY) return type_error("a subclass of zgc.Array cannot have fields");
  return add_descriptors(class, base->field_count) && add_match_args(class, names);
}

static bool make_class(PyTypeObject *type, const zclass_t *base, PyObject *names, PyObject *fields) {
  zclass_t *class = zmanaged_class_new(type, (zfamily_t)base->family);
  if (class == NULL) return false;
  if (!zmanaged_class_lay_out(class, base, fields)) {
    zmanaged_class_free(class);
    return false;
  }
  class = zmanaged_class_enter(class);
  if (class == NULL) return false;
  set_class(type, class); /* so that the end of the type is noted */
  if (!add_fields(class, base, names)) {
    set_class(type, NULL);
    zmanaged_class_end(class);
    return false;
  }
  install(type, class);
  fill_cache(class);
  return true;
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
  zclass_t *base = type == NULL ? NULL : base_class((PyTypeObject *)type, zpy.PyTuple_GetItem(arguments, 0));
  bool ok = base != NULL && check_type((PyTypeObject *)type) && make_class((PyTypeObject *)type, base, names, fields);
  zpy.Py_DecRef(plan);
  if (!ok) {
    if (type != NULL) zpy.Py_DecRef(type);
    return NULL;
  }
  return type;
}

/* Names may mean something else in this class now, and in those below: they forget what they knew by name.
 * name: NULL for all. */
static void refill_caches(PyTypeObject *type, PyObject *name) {
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type == NULL || (name != NULL && zmanaged_class_cached(class, name) == NULL)) continue;
    if (zma.PyType_IsSubtype(class->type, type)) fill_cache(class);
  }
}

/* May an attribute of a class be set to something? False with an exception set. */
static bool check_attribute(const char *name, PyObject *value) {
  if (value == NULL) return true;
  if (strcmp(name, "__del__") == 0) return type_error(no_finalizers);
  if (strcmp(name, "__dataclass_fields__") == 0) {
    return type_error("a managed class is no dataclass: it has __init__, __repr__, __match_args__ and defaults by "
                      "itself; leave the decorator out, and write __eq__ or __lt__ where they are wanted");
  }
  return true;
}

/* A field's name may get another meaning. */
static int meta_setattro(PyObject *type, PyObject *name, PyObject *value) {
  bool is_text = (PyObject *)name->type == zma.PyUnicode_Type;
  const char *text = is_text ? zpy.PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
  if (text == NULL) zpy.PyErr_Clear(); /* a lone surrogate */
  if (text != NULL && !check_attribute(text, value)) return -1;
  int error = type_setattro(type, name, value);
  if (error) return error;
  bool is_order = text != NULL && strcmp(text, "__bases__") == 0;
  refill_caches((PyTypeObject *)type, is_order ? NULL : name);
  return 0;
}

/* No body of the class is left: its shape stays, because dead bodies may still lie about. */
static void meta_dealloc(PyObject *type) {
  zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
  PyObject *meta = (PyObject *)type->type;
  if (class != NULL) zmanaged_class_end(class);
  ((void (*)(PyObject *))*zmanaged_type_word((PyTypeObject *)zpy.PyType_Type, ZMANAGED_TYPE_DEALLOC))(type);
  zpy.Py_DecRef(meta);
}

/* The defaults of fields are not in the class's dict, where `type` would visit them. */
static int meta_traverse(PyObject *type, zpy_visit_t visit, void *argument) {
  const zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
  for (unsigned i = 0; class != NULL && i < class->field_count; i++) {
    PyObject *initial = class->fields[i].initial;
    int result = initial == NULL ? 0 : visit(initial, argument);
    if (result != 0) return result;
  }
  return type_traverse(type, visit, argument);
}

/* Garbage: fields of bodies that finalizers still make start as None. */
static int meta_clear(PyObject *type) {
  zclass_t *class = zmanaged_class_of((PyTypeObject *)type);
  for (unsigned i = 0; class != NULL && i < class->field_count; i++) {
    PyObject *initial = class->fields[i].initial;
    class->fields[i].initial = NULL;
    if (initial != NULL) zpy.Py_DecRef(initial);
  }
  return type_clear(type);
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
  if (class == NULL || !zmanaged_metaclass_is_plain(class)) {
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
                                   {Py_tp_traverse, meta_traverse},
                                   {Py_tp_clear, meta_clear},
                                   {Py_tp_new, meta_new},
                                   {Py_tp_setattro, meta_setattro},
                                   {Py_tp_getset, meta_getset},
                                   {0, NULL}};
/* Immutable, because only such types inherit the vectorcall of `type` on 3.11. */
static PyType_Spec meta_spec = {"zgc.ObjectType", 0, 0,
                                Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC, meta_slots};

/* ---- start --------------------------------------------------------------------------------------- */

static const char *const family_names[] = {"", "Object", "Array", "List", "Dict", "RawArray"};

/* The C types below ours are for us alone: a type that inherits from one of them must be one of ours. */
static void close_type(PyObject *type) {
  *(unsigned long *)zmanaged_type_word((PyTypeObject *)type, ZMANAGED_TYPE_FLAGS) &= ~(unsigned long)Py_TPFLAGS_BASETYPE;
}

static zclass_t *wrap(PyObject *names, zfamily_t family, PyObject *base, uint32_t size, uint64_t slot_map) {
  const char *name = family_names[family];
  PyObject *space = zpy.PyObject_CallFunction(
      zpy.PyDict_GetItemString(zmanaged_helpers, "namespace_of"), "s", name);
  PyObject *bases = zma.PyTuple_Pack(1, base);
  PyObject *text = zpy.PyUnicode_FromString(name);
  if (space == NULL || bases == NULL || text == NULL) return NULL;
  PyObject *type = make_type(zmanaged_meta_type, text, bases, space, NULL);
  zpy.Py_DecRef(space);
  zpy.Py_DecRef(bases);
  zpy.Py_DecRef(text);
  zclass_t *class = type == NULL ? NULL : zmanaged_class_new((PyTypeObject *)type, family);
  if (class == NULL) return NULL;
  class->shape.size = (uint32_t)zmax(size, ZBODY_SIZE_MIN);
  class->end = size;
  class->line[0] = class->number;
  class->shape.slot_map[0] = slot_map;
  class->shape.slot_count = (uint32_t)__builtin_popcountll(slot_map);
  class = zmanaged_class_enter(class);
  if (class == NULL) return NULL;
  set_class((PyTypeObject *)type, class);
  install((PyTypeObject *)type, class);
  class->is_held = true; /* ours for good */
  class->alloc_seq = UINT32_MAX;
  if (zpy.PyDict_SetItemString(names, name, type) != 0) return NULL;
  return class;
}

zclass_t *zmanaged_metaclass_make(PyObject *names, zfamily_t family, PyType_Spec *spec, uint32_t size,
                              uint64_t slot_map) {
  PyObject *bases = zma.PyTuple_Pack(1, (PyObject *)zmanaged_handle_type);
  /* What is called is a method, mostly: the interpreter makes no object for one of a type that finds its
   * attributes in the general way. Fields of subclasses are found by their descriptors. */
  for (PyType_Slot *slot = spec->slots; slot->slot != 0; slot++) {
    if (slot->slot == Py_tp_getattro) slot->pfunc = (void *)zma.PyObject_GenericGetAttr;
    if (slot->slot == Py_tp_setattro) slot->pfunc = (void *)zma.PyObject_GenericSetAttr;
  }
  PyObject *base = bases == NULL ? NULL : zma.PyType_FromSpecWithBases(spec, bases);
  if (base == NULL) return NULL;
  zpy.Py_DecRef(bases);
  zclass_t *class = wrap(names, family, base, size, slot_map);
  close_type(base);
  zpy.Py_DecRef(base);
  return class;
}

void zmanaged_metaclass_close(void) { close_type((PyObject *)zmanaged_handle_type); }

bool zmanaged_metaclass_start(PyObject *names) {
  PyTypeObject *type = (PyTypeObject *)zpy.PyType_Type;
  zmanaged_class_offset = (size_t)*zmanaged_type_word(type, ZMANAGED_TYPE_BASICSIZE);
  meta_spec.basicsize = (int)(zmanaged_class_offset + sizeof(zclass_t *));
  meta_spec.itemsize = (int)zpyabi_read_type(type).item_size;
  type_new = (PyObject * (*)(PyTypeObject *, PyObject *, PyObject *)) *
             zmanaged_type_word(type, ZMANAGED_TYPE_NEW);
  type_setattro = (int (*)(PyObject *, PyObject *, PyObject *)) *
                  zmanaged_type_word(type, ZMANAGED_TYPE_SETATTRO);
  type_traverse = (zpy_traverse_t)*zmanaged_type_word(type, ZMANAGED_TYPE_TRAVERSE);
  type_clear = (int (*)(PyObject *))*zmanaged_type_word(type, ZMANAGED_TYPE_CLEAR);
  PyObject *bases = zma.PyTuple_Pack(1, zpy.PyType_Type);
  zmanaged_meta_type = bases == NULL ? NULL : (PyTypeObject *)zma.PyType_FromSpecWithBases(&meta_spec, bases);
  if (zmanaged_meta_type == NULL) return false;
  zpy.Py_DecRef(bases);
  return wrap(names, ZFAMILY_OBJECT, (PyObject *)zmanaged_handle_type, ZBODY_HEADER_SIZE, 0) != NULL &&
         zpy.PyDict_SetItemString(names, "ObjectType", (PyObject *)zmanaged_meta_type) == 0;
}
