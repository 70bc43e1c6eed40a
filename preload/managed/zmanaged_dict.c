/* zgc.Dict: the Python type over a table (zmanaged_table.h), and the iterator of its entries. What is not here
 * is in zmanaged.py, on top of these. Each method is one step for other threads, as it is with dict: where
 * Python code has run between the look and the change, the look is repeated. */
#include "preload/managed/zmanaged_iterator.h"
#include "preload/managed/zmanaged_metaclass.h"
#include "preload/managed/zmanaged_table.h"

/* The number of arguments. False with the words that dict has for it. */
static bool check_count(const char *name, Py_ssize_t least, Py_ssize_t most, Py_ssize_t got) {
  if (got >= least && got <= most) return true;
  Py_ssize_t limit = got < least ? least : most;
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s expected at %s %zd argument%s, got %zd", name,
                   got < least ? "least" : "most", limit, limit == 1 ? "" : "s", got);
  return false;
}

static void key_error(PyObject *key) {
  PyObject *arguments = zma.PyTuple_Pack(1, key); /* a tuple as key must not become several arguments */
  if (arguments == NULL) return;
  zma.PyErr_SetObject(*zma.PyExc_KeyError, arguments);
  zpy.Py_DecRef(arguments);
}

static bool begin(PyObject *self, ztable_search_t *search, PyObject *key) {
  return ztable_check(self) && ztable_begin(search, key);
}

/* ---- one key ------------------------------------------------------------------------------------- */

/* The value, new reference; NULL without an exception when absent. */
static PyObject *get_found(PyObject *self, ztable_search_t *search) {
  for (;;) {
    if (ztable_find(self, search) != ZTABLE_FOUND) return NULL;
    int64_t version = *ztable_raw(self, ZDICT_VERSION);
    if (!zmanaged_enter()) return NULL;
    if (zlikely(*ztable_raw(self, ZDICT_VERSION) == version)) return ztable_value_at(self, search->position);
  }
}

static PyObject *get_item(PyObject *self, PyObject *key) {
  ztable_search_t search;
  return zlikely(begin(self, &search, key)) ? get_found(self, &search) : NULL;
}

static Py_ssize_t dict_length(PyObject *self) {
  return ztable_check(self) ? (Py_ssize_t)*ztable_raw(self, ZDICT_LIVE) : -1;
}

/* A subclass may have __missing__. */
static zcold PyObject *missing(PyObject *self, PyObject *key) {
  PyObject *method = zpy.PyObject_GetAttrString((PyObject *)self->type, "__missing__");
  if (method == NULL) {
    zpy.PyErr_Clear();
    key_error(key);
    return NULL;
  }
  PyObject *result = zpy.PyObject_CallFunction(method, "OO", self, key);
  zpy.Py_DecRef(method);
  return result;
}

static PyObject *dict_subscript(PyObject *self, PyObject *key) {
  PyObject *value = get_item(self, key);
  return zlikely(value != NULL) || zpy.PyErr_Occurred() != NULL ? value : missing(self, key);
}

static bool delete_item(PyObject *self, PyObject *key) {
  ztable_search_t search;
  if (!begin(self, &search, key)) return false;
  ztable_outcome_t outcome = ztable_find(self, &search);
  if (outcome == ZTABLE_ABSENT) key_error(key);
  if (outcome != ZTABLE_FOUND) return false;
  zdropped_t dropped = {.count = 0};
  ztable_remove(self, &search, &dropped);
  zmanaged_drop_finish(&dropped);
  return true;
}

static int dict_ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  return (value != NULL ? ztable_set(self, key, value) : delete_item(self, key)) ? 0 : -1;
}

static int dict_contains(PyObject *self, PyObject *key) {
  ztable_search_t search;
  if (!begin(self, &search, key)) return -1;
  ztable_outcome_t outcome = ztable_find(self, &search);
  return outcome == ZTABLE_FAILED ? -1 : outcome == ZTABLE_FOUND;
}

static PyObject *dict_get(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  if (!check_count("get", 1, 2, count)) return NULL;
  PyObject *value = get_item(self, arguments[0]);
  if (value != NULL || zpy.PyErr_Occurred() != NULL) return value;
  return count == 2 ? zmanaged_incref(arguments[1]) : zmanaged_none();
}

static PyObject *dict_setdefault(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  if (!check_count("setdefault", 1, 2, count)) return NULL;
  PyObject *value = count == 2 ? arguments[1] : zpy_None();
  ztable_search_t search;
  if (!begin(self, &search, arguments[0])) return NULL;
  for (;;) {
    ztable_outcome_t outcome = ztable_find(self, &search);
    if (outcome == ZTABLE_ABSENT) {
      outcome = ztable_add(self, &search, value);
      if (outcome == ZTABLE_FOUND) return zmanaged_incref(value);
    } else if (outcome == ZTABLE_FOUND) {
      int64_t version = *ztable_raw(self, ZDICT_VERSION);
      if (!zmanaged_enter()) return NULL;
      if (*ztable_raw(self, ZDICT_VERSION) == version) return ztable_value_at(self, search.position);
    }
    if (outcome == ZTABLE_FAILED) return NULL;
  }
}

/* Takes the entry out that was found, and gives its value. After zmanaged_enter. */
static PyObject *take(PyObject *self, const ztable_search_t *search) {
  PyObject *value = ztable_value_at(self, search->position);
  if (value == NULL) return NULL;
  zdropped_t dropped = {.count = 0}; /* making the value was no safepoint */
  ztable_remove(self, search, &dropped);
  zmanaged_drop_finish(&dropped);
  return value;
}

static PyObject *dict_pop(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  if (!check_count("pop", 1, 2, count) || !ztable_check(self)) return NULL;
  ztable_search_t search;
  /* An empty dict does not ask for the hash, as it is with dict. */
  bool is_empty = *ztable_raw(self, ZDICT_LIVE) == 0;
  if (!is_empty && !ztable_begin(&search, arguments[0])) return NULL;
  for (;;) {
    ztable_outcome_t outcome = is_empty ? ZTABLE_ABSENT : ztable_find(self, &search);
    if (outcome == ZTABLE_FAILED) return NULL;
    if (outcome == ZTABLE_ABSENT) {
      if (count == 2) return zmanaged_incref(arguments[1]);
      key_error(arguments[0]);
      return NULL;
    }
    int64_t version = *ztable_raw(self, ZDICT_VERSION);
    if (!zmanaged_enter()) return NULL;
    if (*ztable_raw(self, ZDICT_VERSION) == version) return take(self, &search);
  }
}

/* The key and the value of an entry. NULL with an exception set; RuntimeError where the entry is another one
 * by then. */
static bool read_entry(PyObject *self, int64_t position, PyObject *pair[2]) {
  int64_t version = *ztable_raw(self, ZDICT_VERSION);
  pair[0] = pair[1] = NULL;
  for (int i = 0; i < 2; i++) {
    if (!zmanaged_enter()) break;
    if (*ztable_raw(self, ZDICT_VERSION) != version) {
      zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "dictionary changed size during iteration");
      break;
    }
    pair[i] = i == 0 ? ztable_key_at(self, position) : ztable_value_at(self, position);
    if (pair[i] == NULL) break;
  }
  if (pair[1] != NULL) return true;
  if (pair[0] != NULL) zpy.Py_DecRef(pair[0]);
  return false;
}

static PyObject *tuple_of(PyObject *pair[2]) {
  PyObject *tuple = zpy.PyTuple_New(2);
  for (int i = 0; i < 2; i++) {
    if (tuple != NULL) {
      zpy.PyTuple_SetItem(tuple, i, pair[i]);
    } else {
      zpy.Py_DecRef(pair[i]);
    }
  }
  return tuple;
}

static PyObject *dict_popitem(PyObject *self, PyObject *unused) {
  (void)unused;
  if (!ztable_check(self)) return NULL;
  for (;;) {
    zmanaged_poll();
    ztable_search_t search = {.position = ztable_next(self, *ztable_raw(self, ZDICT_FILLED) - 1, -1)};
    if (search.position < 0) {
      zpy.PyErr_SetString(*zma.PyExc_KeyError, "popitem(): dictionary is empty");
      return NULL;
    }
    int64_t version = *ztable_raw(self, ZDICT_VERSION);
    PyObject *pair[2];
    if (!read_entry(self, search.position, pair)) return NULL;
    PyObject *tuple = tuple_of(pair);
    if (tuple == NULL || *ztable_raw(self, ZDICT_VERSION) == version) {
      zdropped_t dropped = {.count = 0};
      if (tuple != NULL) {
        ztable_locate(self, &search);
        ztable_remove(self, &search, &dropped);
        zmanaged_drop_finish(&dropped);
      }
      return tuple;
    }
    zpy.Py_DecRef(tuple); /* making it ran code that changed the dict */
  }
}

/* ---- all keys ------------------------------------------------------------------------------------ */

static PyObject *dict_clear(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  return ztable_clear(self) ? zmanaged_none() : NULL;
}

static bool update_from_dict(PyObject *self, PyObject *other) {
  Py_ssize_t position = 0, size = zpy.PyObject_Size(other);
  PyObject *key, *value;
  while (zma.PyDict_Next(other, &position, &key, &value)) {
    zpy.Py_IncRef(key);
    zpy.Py_IncRef(value);
    bool ok = ztable_set(self, key, value);
    zpy.Py_DecRef(key);
    zpy.Py_DecRef(value);
    if (!ok) return false;
    if (zpy.PyObject_Size(other) != size) {
      zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "dict mutated during update");
      return false;
    }
  }
  return true;
}

static bool update_from_table(PyObject *self, PyObject *other) {
  if (self == other) return true;
  if (*ztable_raw(self, ZDICT_LIVE) == 0) return ztable_clear(self) && ztable_copy(self, other);
  int64_t size = *ztable_raw(other, ZDICT_LIVE);
  for (int64_t at = 0; (at = ztable_next(other, at, 1)) >= 0; at++) {
    PyObject *pair[2];
    if (!read_entry(other, at, pair)) return false;
    bool ok = ztable_set(self, pair[0], pair[1]);
    zpy.Py_DecRef(pair[0]);
    zpy.Py_DecRef(pair[1]);
    if (!ok) return false;
    if (*ztable_raw(other, ZDICT_LIVE) != size) {
      zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "dict mutated during update");
      return false;
    }
  }
  return true;
}

static inline bool is_table(PyObject *object) {
  return zmanaged_is_handle(object) && zbody_shape(zmanaged_body(object))->use == ZFAMILY_DICT;
}
static PyTypeObject *base_type;

static inline void *iteration_of(const PyTypeObject *type) {
  return *zmanaged_type_word((PyTypeObject *)type, ZMANAGED_TYPE_ITER);
}

/* _merge(other): True where `other` was a dict of either kind, which iterates as they do, and has been merged. */
static PyObject *dict_merge(PyObject *self, PyObject *other) {
  zmanaged_poll();
  if (!ztable_check(self)) return NULL;
  bool plain = zma.PyType_IsSubtype(other->type, (PyTypeObject *)zpy.PyDict_Type) &&
               iteration_of(other->type) == iteration_of((PyTypeObject *)zpy.PyDict_Type);
  bool ours = !plain && is_table(other) && iteration_of(other->type) == iteration_of(base_type);
  if (!plain && !ours) return zpy.PyBool_FromLong(0);
  return (plain ? update_from_dict(self, other) : update_from_table(self, other)) ? zpy.PyBool_FromLong(1) : NULL;
}

static PyObject *dict_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  if (!ztable_check(self) || !zmanaged_enter()) return NULL;
  PyObject *made = zmanaged_object_make(zmanaged_class_of(base_type));
  if (made == NULL || ztable_copy(made, self)) return made;
  zpy.Py_DecRef(made);
  return NULL;
}

/* Has the other dict an equal value under the key of this entry? -1 exception. */
static int has_equal(PyObject *other, ztable_search_t *search, PyObject *value) {
  PyObject *found;
  if (is_table(other)) {
    found = get_found(other, search);
  } else {
    found = zma.PyDict_GetItemWithError(other, search->key);
    if (found != NULL) zpy.Py_IncRef(found);
  }
  if (found == NULL) return zpy.PyErr_Occurred() != NULL ? -1 : 0;
  int same = zma.PyObject_RichCompareBool(value, found, 2 /* == */);
  zpy.Py_DecRef(found);
  return same;
}

/* 1, 0, -1 exception. Tables with the same history have equal entries at the same places. */
static int is_equal(PyObject *self, PyObject *other) {
  bool both = is_table(other);
  if (dict_length(self) != (both ? dict_length(other) : zpy.PyObject_Size(other))) {
    return zpy.PyErr_Occurred() != NULL ? -1 : 0;
  }
  for (int64_t at = 0;; at++) {
    zmanaged_poll();
    if (both) at = ztable_skip_equal(self, other, at);
    if ((at = ztable_next(self, at, 1)) < 0) return 1;
    PyObject *pair[2];
    if (!read_entry(self, at, pair)) return -1;
    ztable_search_t search = ztable_search_of(self, at, pair[0]);
    int same = has_equal(other, &search, pair[1]);
    zpy.Py_DecRef(pair[0]);
    zpy.Py_DecRef(pair[1]);
    if (same <= 0) return same;
  }
}

static PyObject *dict_compare(PyObject *self, PyObject *other, int op) {
  enum { EQUAL = 2, DIFFERENT = 3 };
  bool is_dict = zma.PyType_IsSubtype(other->type, (PyTypeObject *)zpy.PyDict_Type) || is_table(other);
  if ((op != EQUAL && op != DIFFERENT) || !is_dict) return zmanaged_incref(zma._Py_NotImplementedStruct);
  zmanaged_poll();
  int same = ztable_check(self) ? is_equal(self, other) : -1;
  return same < 0 ? NULL : zpy.PyBool_FromLong(same == (op == EQUAL));
}

/* ---- iterator ------------------------------------------------------------------------------------ */

typedef enum { OF_KEYS, OF_VALUES, OF_ITEMS } what_t;

static PyTypeObject *iterator_type;

static PyObject *fail_iteration(const char *message) {
  zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, message);
  return NULL;
}

static PyObject *entry_of(PyObject *dict, int64_t at, what_t what) {
  PyObject *pair[2];
  if (what == OF_KEYS) return ztable_key_at(dict, at);
  if (what == OF_VALUES) return ztable_value_at(dict, at);
  return read_entry(dict, at, pair) ? tuple_of(pair) : NULL;
}

static PyObject *iterator_next(PyObject *self) {
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  PyObject *dict = iterator->source;
  if (dict == NULL || !zmanaged_enter()) return NULL;
  if (!ztable_check(dict)) return NULL;
  if (*ztable_raw(dict, ZDICT_LIVE) != iterator->size) {
    iterator->size = -1; /* this is said each time */
    return fail_iteration("dictionary changed size during iteration");
  }
  int64_t at = ztable_next(dict, iterator->next, iterator->step);
  if (at < 0) return zmanaged_iterator_end(iterator);
  if (iterator->left == 0) {
    zmanaged_iterator_end(iterator);
    return fail_iteration("dictionary keys changed during iteration");
  }
  iterator->next = at + iterator->step;
  iterator->left--;
  return entry_of(dict, at, iterator->what);
}

static PyObject *iterator_length(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  bool counts = iterator->source != NULL && dict_length(iterator->source) == iterator->size;
  return zma.PyLong_FromSsize_t(counts ? (Py_ssize_t)iterator->left : 0);
}

static PyObject *iterate(PyObject *self, what_t what, int step) {
  if (!ztable_check(self)) return NULL;
  int64_t from = step > 0 ? 0 : *ztable_raw(self, ZDICT_FILLED) - 1;
  zmanaged_iterator_t *iterator = zmanaged_iterator_new(iterator_type, self, from, step);
  if (iterator == NULL) return NULL;
  iterator->left = iterator->size = *ztable_raw(self, ZDICT_LIVE);
  iterator->what = (uint8_t)what;
  return &iterator->base;
}

/* As dict's: what is left, as a list. This one does not move. */
static PyObject *iterator_reduce(PyObject *self, PyObject *unused) {
  (void)unused;
  const zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  if (iterator->source == NULL) return zmanaged_iterator_reduce_ended();
  zmanaged_iterator_t *twin = zmanaged_iterator_new(iterator_type, iterator->source, iterator->next, iterator->step);
  if (twin == NULL) return NULL;
  twin->left = iterator->left;
  twin->size = iterator->size;
  twin->what = iterator->what;
  PyObject *rest = zma.PySequence_List(&twin->base);
  zpy.Py_DecRef(&twin->base);
  return rest == NULL ? NULL : zpy.Py_BuildValue("O(N)", zmanaged_iterator_function("iter"), rest);
}

static PyMethodDef iterator_methods[] = {{"__length_hint__", iterator_length, METH_NOARGS, NULL},
                                         {"__reduce__", iterator_reduce, METH_NOARGS, NULL},
                                         {NULL, NULL, 0, NULL}};

static PyObject *dict_iter(PyObject *self) { return iterate(self, OF_KEYS, 1); }

/* _iterate(what, step): for the views. */
static PyObject *dict_iterate(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  if (!check_count("_iterate", 2, 2, count)) return NULL;
  long what = zpy.PyLong_AsLong(arguments[0]), step = zpy.PyLong_AsLong(arguments[1]);
  if (zpy.PyErr_Occurred() != NULL) return NULL;
  return iterate(self, what == OF_ITEMS ? OF_ITEMS : what == OF_VALUES ? OF_VALUES : OF_KEYS, step < 0 ? -1 : 1);
}

static PyObject *dict_reversed(PyObject *self, PyObject *unused) {
  (void)unused;
  return iterate(self, OF_KEYS, -1);
}

static PyObject *view(PyObject *self, const char *name) {
  if (!ztable_check(self)) return NULL;
  return zpy.PyObject_CallFunction(zpy.PyDict_GetItemString(zmanaged_helpers, name), "O", self);
}
static PyObject *dict_keys(PyObject *self, PyObject *unused) { return unused == NULL ? view(self, "DictKeys") : NULL; }
static PyObject *dict_values(PyObject *self, PyObject *unused) { return unused == NULL ? view(self, "DictValues") : NULL; }
static PyObject *dict_items(PyObject *self, PyObject *unused) { return unused == NULL ? view(self, "DictItems") : NULL; }

/* ---- the type ------------------------------------------------------------------------------------ */

static PyObject *dict_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)arguments;
  (void)keywords;
  zclass_t *class = zmanaged_metaclass_to_make(type, ZFAMILY_DICT);
  return class == NULL ? NULL : zmanaged_object_make(class);
}

#define FAST(function) (PyCFunction)(void (*)(void))function
static PyMethodDef dict_methods[] = {
    {"get", FAST(dict_get), METH_FASTCALL, "get(key, default=None, /)\n--\n\nThe value, or the default."},
    {"setdefault", FAST(dict_setdefault), METH_FASTCALL,
     "setdefault(key, default=None, /)\n--\n\nThe value, after the default was put where there was none."},
    {"pop", FAST(dict_pop), METH_FASTCALL, "pop(key, default=<unrepresentable>, /)\n--\n\nTakes a key out and returns its value."},
    {"popitem", dict_popitem, METH_NOARGS, "popitem()\n--\n\nTakes the last key out and returns (key, value)."},
    {"clear", dict_clear, METH_NOARGS, "clear()\n--\n\nTakes all keys out."},
    {"copy", dict_copy, METH_NOARGS, "copy()\n--\n\nA zgc.Dict of the same keys and values."},
    {"keys", dict_keys, METH_NOARGS, "keys()\n--\n\nA set-like view of the keys."},
    {"values", dict_values, METH_NOARGS, "values()\n--\n\nA view of the values."},
    {"items", dict_items, METH_NOARGS, "items()\n--\n\nA set-like view of the items."},
    {"__reversed__", dict_reversed, METH_NOARGS, "An iterator of the keys from the last to the first."},
    {"_merge", dict_merge, METH_O, NULL},
    {"_iterate", FAST(dict_iterate), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL}};
static PyType_Slot dict_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                   {Py_tp_traverse, zmanaged_handle_traverse},
                                   {Py_tp_clear, zmanaged_handle_clear},
                                   {Py_tp_getattro, NULL},
                                   {Py_tp_setattro, NULL},
                                   {Py_tp_new, dict_new},
                                   {Py_tp_methods, dict_methods},
                                   {Py_tp_richcompare, dict_compare},
                                   {Py_tp_iter, dict_iter},
                                   {Py_mp_length, dict_length},
                                   {Py_mp_subscript, dict_subscript},
                                   {Py_mp_ass_subscript, dict_ass_subscript},
                                   {Py_sq_length, dict_length},
                                   {Py_sq_contains, dict_contains},
                                   {0, NULL}};
static PyType_Spec dict_spec = {"zgc.Dict", sizeof(zhandle_t), 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, dict_slots};

bool zmanaged_dict_start(PyObject *names) {
  zmanaged_raw_shape = zmanaged_class_make_shape(ZBODY_RAW);
  zmanaged_entries_shape = zmanaged_class_make_shape(ZBODY_ENTRIES);
  iterator_type = zmanaged_iterator_type("zgc.dict_iterator", iterator_next, iterator_methods);
  uint64_t map = 1u << (ZDICT_ENTRIES / 8) | 1u << (ZDICT_INDEX / 8);
  const zclass_t *class = zmanaged_metaclass_make(names, ZFAMILY_DICT, &dict_spec, ZDICT_SIZE, map);
  base_type = class == NULL ? NULL : class->type;
  return iterator_type != NULL && base_type != NULL;
}
