#include "collector/python/ztype_samples.h"

#include <string.h>

#include "collector/python/zedges.h"
#include "collector/python/zwalker.h"

static bool is_short; /* something could not be made since this was set to false; GIL */

/* -- making objects: what fails is noted, and NULL is taken ---------------------------------------------- */

static PyObject *made(PyObject *object) {
  if (object == NULL) is_short = true;
  return object;
}

/* By the type's own functions, not by a call: that would count against the recursion limit. Takes over the
 * arguments. */
static PyObject *make(PyTypeObject *type, PyObject *arguments) {
  zpy_new_t new = (zpy_new_t)zpy.PyType_GetSlot(type, ZPYABI_SLOT_NEW);
  zpy_init_t init = (zpy_init_t)zpy.PyType_GetSlot(type, ZPYABI_SLOT_INIT);
  PyObject *object = arguments == NULL || new == NULL ? NULL : new (type, arguments, NULL);
  if (object != NULL && init != NULL && init(object, arguments, NULL) != 0) {
    zpy_release(object);
    object = NULL;
  }
  zpy_release(arguments);
  return made(object);
}

static PyObject *make_empty(PyTypeObject *type) { return make(type, zpy.PyTuple_New(0)); }

/* An object that occurs nowhere else. */
static PyObject *thing(void) { return make_empty(zpy.PyBaseObject_Type); }

static PyObject *text(unsigned number) { return made(zpy.PyUnicode_FromFormat("a%u", number)); }

/* These take over what is put. */
static void put_item(PyObject *list, PyObject *item) {
  if (list != NULL && item != NULL) is_short |= zpy.PyList_Append(list, item) != 0;
  zpy_release(item);
}

static void put_entry(PyObject *dict, PyObject *key, PyObject *value) {
  if (dict != NULL && key != NULL && value != NULL) is_short |= zpy.PyDict_SetItem(dict, key, value) != 0;
  zpy_release(key);
  zpy_release(value);
}

static void put_attribute(PyObject *object, const char *name) {
  PyObject *value = thing();
  if (object != NULL && value != NULL) is_short |= zpy.PyObject_SetAttrString(object, name, value) != 0;
  zpy_release(value);
}

static PyObject *dict_of(PyObject *object) {
  return object == NULL ? NULL : made(zpy.PyObject_GetAttrString(object, "__dict__"));
}

static ztype_learn_t learn; /* the caller's */

static void prove(PyObject *sample, ztype_kind_t kind) {
  if (sample != NULL && !is_short) learn(sample, kind);
}

static void prove_and_drop(PyObject *sample, ztype_kind_t kind) {
  prove(sample, kind);
  zpy_release(sample);
}

/* -- lists, tuples, sets, dicts -------------------------------------------------------------------------------- */

static PyObject *list_of(unsigned count) {
  PyObject *list = made(zpy.PyList_New(0));
  for (unsigned i = 0; i < count; i++) put_item(list, thing());
  return list;
}

static PyObject *tuple_of(unsigned count) {
  PyObject *tuple = made(zpy.PyTuple_New(count));
  for (unsigned i = 0; tuple != NULL && i < count; i++) {
    PyObject *item = thing();
    if (item != NULL) is_short |= zpy.PyTuple_SetItem(tuple, i, item) != 0;
  }
  return tuple;
}

static void prove_sequences(void) {
  prove_and_drop(list_of(0), ZTYPE_LIST);
  prove_and_drop(list_of(2), ZTYPE_LIST);
  prove_and_drop(tuple_of(2), ZTYPE_TUPLE);
}

/* So many, of which the first are taken out again. */
static PyObject *set_of(unsigned count, unsigned gone) {
  PyObject *set = made(zpy.PySet_New(NULL)), *members = list_of(count);
  for (unsigned i = 0; i < count && !is_short; i++) {
    is_short |= zpy.PySet_Add(set, zpy.PyList_GetItem(members, i)) != 0;
  }
  for (unsigned i = 0; i < gone && !is_short; i++) {
    is_short |= zpy.PySet_Discard(set, zpy.PyList_GetItem(members, i)) != 1;
  }
  zpy_release(members);
  return set;
}

/* A set whose only member was discarded holds the dummy and nothing else. */
static void find_set_dummy(void) {
  PyObject *set = set_of(1, 1);
  if (!is_short) {
    const char *entries = zpyabi_word(set, ZPYABI_SET_TABLE);
    size_t mask = (size_t)zpyabi_word(set, ZPYABI_SET_MASK);
    for (size_t i = 0; mask <= 64 && i <= mask; i++) {
      const void *key = zpyabi_word(entries, (ptrdiff_t)(i * 16));
      if (key != NULL) ztype_set_dummy = key;
    }
  }
  zpy_release(set);
}

static void prove_sets(void) {
  find_set_dummy();
  prove_and_drop(set_of(1, 0), ZTYPE_SET);
  prove_and_drop(set_of(100, 40), ZTYPE_SET);
  prove_and_drop(set_of(9, 6), ZTYPE_SET); /* the table lies in the set */
  PyObject *set = set_of(2, 0);
  prove_and_drop(set == NULL ? NULL : made(zpy.PyFrozenSet_New(set)), ZTYPE_SET);
  zpy_release(set);
}

static PyObject *dict_by_text(unsigned count) {
  PyObject *dict = made(zpy.PyDict_New());
  for (unsigned i = 0; i < count; i++) put_entry(dict, text(i), thing());
  return dict;
}

static PyObject *dict_by_things(unsigned count) {
  PyObject *dict = made(zpy.PyDict_New());
  for (unsigned i = 0; i < count; i++) put_entry(dict, thing(), thing());
  return dict;
}

/* Every other entry is deleted. */
static PyObject *dict_with_holes(void) {
  PyObject *dict = made(zpy.PyDict_New());
  for (unsigned i = 0; i < 40; i++) {
    PyObject *key = thing(), *value = thing();
    if (!is_short) is_short |= zpy.PyDict_SetItem(dict, key, value) != 0;
    if (!is_short && i % 2 == 0) is_short |= zpy.PyDict_DelItem(dict, key) != 0;
    zpy_release(key);
    zpy_release(value);
  }
  return dict;
}

static void prove_dicts(void) {
  PyObject *empty = made(zpy.PyDict_New());
  if (empty != NULL) zwalker_empty_keys[0] = zpyabi_word(empty, ZPYABI_DICT_KEYS);
  prove_and_drop(empty, ZTYPE_DICT);
  prove_and_drop(dict_by_text(2), ZTYPE_DICT);
  prove_and_drop(dict_by_text(10), ZTYPE_DICT);
  prove_and_drop(dict_by_text(300), ZTYPE_DICT); /* wider indices */
  prove_and_drop(dict_by_things(1), ZTYPE_DICT);
  prove_and_drop(dict_by_things(20), ZTYPE_DICT);
  prove_and_drop(dict_with_holes(), ZTYPE_DICT);
}

/* -- classes ---------------------------------------------------------------------------------------------------- */

/* As a class statement does it. `slots` is the value of __slots__, or NULL; it is taken over. __module__ is
 * given: else it would be looked up in the program's frame. */
static PyTypeObject *make_class(PyTypeObject *base, PyObject *slots) {
  PyObject *members = made(zpy.Py_BuildValue("{s:s}", "__module__", "zgc"));
  if (members != NULL && slots != NULL) {
    is_short |= zpy.PyDict_SetItemString(members, "__slots__", slots) != 0;
  }
  zpy_release(slots);
  zpy_new_t new_type = (zpy_new_t)zpy.PyType_GetSlot(zpy.PyType_Type, ZPYABI_SLOT_NEW);
  PyObject *arguments = is_short ? NULL : zpy.Py_BuildValue("(s(O)O)", "sample", base, members);
  PyObject *class = arguments == NULL ? NULL : new_type(zpy.PyType_Type, arguments, NULL);
  zpy_release(arguments);
  zpy_release(members);
  return made(class);
}

/* A class is part of cycles (its __mro__, its descriptors): they are taken apart as by a collection. */
static void drop_class(PyTypeObject *class) {
  if (class == NULL) return;
  zpy_clear_t clear = (zpy_clear_t)zpy.PyType_GetSlot(zpy.PyType_Type, ZPYABI_SLOT_CLEAR);
  if (clear != NULL) clear(class);
  zpy.Py_DecRef(class);
}

static PyObject *instance_with(PyTypeObject *class, unsigned attributes) {
  PyObject *instance = class == NULL ? NULL : make_empty(class);
  for (unsigned i = 0; i < attributes; i++) {
    char name[] = {'a', (char)('a' + i / 26), (char)('a' + i % 26), '\0'};
    put_attribute(instance, name);
  }
  return instance;
}

/* The instance's __dict__ has been asked for, and its first attribute occurs nowhere else. */
static void find_shared_values(PyObject *instance, PyObject *dict) {
  if (is_short || zpyabi_layout->attributes != ZPYABI_ATTRIBUTES_313) return;
  zpyabi_type_t t = zpyabi_read_type(zpyabi_type(instance));
  const void *value = zpyabi_word(instance, t.basic_size + zpyabi_layout->values_header);
  if (zpyabi_word(instance, ZPYABI_MANAGED_DICT) != dict || value == NULL) return;
  zwalker_shared_values.instance_visits_dict = zedges_have(instance, dict);
  zwalker_shared_values.instance_visits_values = zedges_have(instance, value);
  zwalker_shared_values.dict_visits_values = zedges_have(dict, value);
}

/* In each of the places where attributes can be. */
static void prove_attributes(PyTypeObject *class) {
  PyObject *seen = instance_with(class, 3), *values = dict_of(seen);
  find_shared_values(seen, values);
  prove(seen, ZTYPE_PLAIN);
  prove(values, ZTYPE_DICT); /* shares the instance's values */
  PyObject *late = instance_with(class, 3), *dict = dict_of(late);
  put_entry(dict, text(0), thing()); /* no key of the class's: the dict has all to itself */
  prove(late, ZTYPE_PLAIN);
  prove(dict, ZTYPE_DICT);
  PyObject *orphan = instance_with(class, 4), *left = dict_of(orphan);
  zpy_release(orphan);
  prove(left, ZTYPE_DICT); /* split, and the instance has gone */
  prove_and_drop(instance_with(class, 0), ZTYPE_PLAIN);
  prove_and_drop(instance_with(class, 5), ZTYPE_PLAIN);
  PyObject *crowded = instance_with(class, 40), *all = dict_of(crowded); /* too many for values */
  prove(crowded, ZTYPE_PLAIN);
  prove(all, ZTYPE_DICT);
  zpy_release(crowded);
  zpy_release(all);
  zpy_release(seen);
  zpy_release(values);
  zpy_release(late);
  zpy_release(dict);
  zpy_release(left);
}

static void prove_slots(PyTypeObject *class) {
  PyObject *instance = class == NULL ? NULL : make_empty(class);
  put_attribute(instance, "a");
  put_attribute(instance, "b");
  prove_and_drop(instance, ZTYPE_PLAIN);
  PyTypeObject *more = make_class(class, zpy.Py_BuildValue("(ss)", "c", "__dict__"));
  instance = more == NULL ? NULL : make_empty(more);
  put_attribute(instance, "a");
  put_attribute(instance, "c");
  put_attribute(instance, "d");
  prove_and_drop(instance, ZTYPE_PLAIN);
  drop_class(more);
}

static void prove_subclass(PyTypeObject *base, PyObject *arguments, PyObject *slots, ztype_kind_t kind) {
  PyTypeObject *class = make_class(base, slots);
  PyObject *instance = NULL;
  if (class == NULL) {
    zpy_release(arguments);
  } else {
    instance = make(class, arguments);
  }
  put_attribute(instance, "x");
  prove_and_drop(instance, kind);
  drop_class(class);
}

static void prove_classes(void) {
  PyTypeObject *class = make_class(zpy.PyBaseObject_Type, NULL);
  if (class != NULL) ztype_class_traverse = zpyabi_read_type(class).traverse;
  if (class != NULL) prove_attributes(class);
  drop_class(class);
  class = make_class(zpy.PyBaseObject_Type, zpy.Py_BuildValue("(sss)", "a", "b", "__weakref__"));
  if (class != NULL) prove_slots(class);
  drop_class(class);
  prove_subclass(zpy.PyTuple_Type, zpy.Py_BuildValue("(N)", tuple_of(3)), NULL, ZTYPE_TUPLE);
  prove_subclass(zpy.PyList_Type, zpy.Py_BuildValue("(N)", list_of(1)), zpy.Py_BuildValue("(s)", "x"),
                 ZTYPE_LIST);
  prove_subclass(zpy.PyDict_Type, zpy.Py_BuildValue("(N)", dict_by_text(1)), NULL, ZTYPE_DICT);
}

bool ztype_samples_prove_core(ztype_learn_t take) {
  learn = take;
  static void (*const groups[])(void) = {prove_sets, prove_dicts, prove_sequences, prove_classes};
  is_short = false;
  for (size_t i = 0; i < ZARRAY_LENGTH(groups) && !is_short; i++) groups[i]();
  if (is_short) zpy.PyErr_Clear();
  return !is_short;
}

/* -- types that are proven at the first meeting -------------------------------------------------------------------- */

#define TEMPLATE_WORDS 64

/* Stands for an object of a type whose tp_traverse does no more than visit words of the instance: each word
 * leads to memory of its own, which is all zero, and nobody writes to it. */
static void prove_template(PyTypeObject *type) {
  static uintptr_t leads_to[TEMPLATE_WORDS][32], words[2 + TEMPLATE_WORDS];
  zpyabi_type_t t = zpyabi_read_type(type);
  if (t.item_size != 0 || (size_t)t.basic_size > TEMPLATE_WORDS * sizeof(void *)) return;
  for (size_t i = 0; i < TEMPLATE_WORDS; i++) words[2 + i] = (uintptr_t)leads_to[i];
  PyObject *template = (PyObject *)&words[2]; /* behind a head that no list knows */
  template->refcount = 1;
  template->type = type;
  learn(template, ZTYPE_PLAIN);
}

static PyObject *no_method(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  return zpy_new_none();
}

static PyObject *factory(void) { /* defaultdict wants something that can be called */
  static PyMethodDef definition = {"sample", no_method, METH_NOARGS, NULL};
  return made(zpy.PyCFunction_NewEx(&definition, NULL, NULL));
}

static void prove_deque(PyTypeObject *type) {
  prove_and_drop(make_empty(type), ZTYPE_DEQUE);
  prove_and_drop(make(type, zpy.Py_BuildValue("(N)", list_of(1))), ZTYPE_DEQUE);
  prove_and_drop(make(type, zpy.Py_BuildValue("(N)", list_of(200))), ZTYPE_DEQUE);
  /* The first seventy leave it again at its left end. */
  prove_and_drop(make(type, zpy.Py_BuildValue("(Ni)", list_of(200), 130)), ZTYPE_DEQUE);
}

static PyObject *mixed_dict(void) {
  PyObject *dict = dict_by_things(2);
  put_entry(dict, text(0), thing());
  return dict;
}

static void prove_ordered_dict(PyTypeObject *type) {
  PyObject *full = make(type, zpy.Py_BuildValue("(N)", mixed_dict()));
  put_attribute(full, "x");
  prove_and_drop(full, ZTYPE_ODICT); /* first, for it has every field set */
  prove_and_drop(make_empty(type), ZTYPE_ODICT);
}

static void prove_default_dict(PyTypeObject *type) {
  prove_and_drop(make(type, zpy.Py_BuildValue("(NN)", factory(), mixed_dict())), ZTYPE_DICT);
}

static void prove_frozen_dict(PyTypeObject *type) {
  prove_and_drop(make(type, zpy.Py_BuildValue("(N)", mixed_dict())), ZTYPE_DICT);
  prove_and_drop(make(type, zpy.Py_BuildValue("(N)", dict_by_text(2))), ZTYPE_DICT);
}

static const struct {
  const char *name;
  void (*prove)(PyTypeObject *type);
} known[] = {
    {"function", prove_template},
    {"cell", prove_template},
    {"method", prove_template},
    {"builtin_function_or_method", prove_template},
    {"method_descriptor", prove_template},
    {"wrapper_descriptor", prove_template},
    {"getset_descriptor", prove_template},
    {"member_descriptor", prove_template},
    {"classmethod_descriptor", prove_template},
    {"property", prove_template},
    {"classmethod", prove_template},
    {"staticmethod", prove_template},
    {"functools.partial", prove_template},
    {"weakref", prove_template},              /* until 3.11, then ... */
    {"weakref.ReferenceType", prove_template},
    {"types.SimpleNamespace", prove_template},
    {"collections.deque", prove_deque},
    {"collections.OrderedDict", prove_ordered_dict},
    {"collections.defaultdict", prove_default_dict},
    {"frozendict", prove_frozen_dict},
};

static int row_of(const zpyabi_type_t *type) {
  /* Another type of the same name has another tp_traverse. */
  if (type->traverse == ztype_class_traverse || !zpy_is_code((const void *)type->traverse)) return -1;
  for (size_t i = 0; i < ZARRAY_LENGTH(known); i++) {
    if (strcmp(type->name, known[i].name) == 0) return (int)i;
  }
  return -1;
}

bool ztype_samples_know(const zpyabi_type_t *type) { return row_of(type) >= 0; }

bool ztype_samples_prove(PyTypeObject *type, ztype_learn_t take) {
  learn = take;
  zpyabi_type_t t = zpyabi_read_type(type);
  int row = row_of(&t);
  is_short = false;
  if (row >= 0) known[row].prove(type);
  if (is_short) zpy.PyErr_Clear();
  return !is_short;
}
