/* zgc.Dict: insertion-ordered hash table over managed bodies, keys by Python's hash and equality.
 *
 *   body      [header][entries: slot][index: slot][live][filled][version][taken]
 *   entries   ENTRIES body: {hash, key, value} in insertion order; a deleted one has HASH_DELETED
 *   index     RAW body: int32 per place, 0 empty, -1 deleted, else entry + 1; open addressing
 *
 * live <= filled <= length of entries <= 2/3 of the places. taken counts the places that are not empty:
 * it ends at 2/3 too, so a search always comes to an empty one.
 *
 * A comparison of keys may run Python code, which may change this very dict or move its bodies. So a
 * lookup keeps no address over it: it works with positions, and starts over when the table's version
 * (raw word, changed by each insertion, deletion and resize) is another afterwards. */
#include "preload/zmanaged_types.h"

zshape_t *zmanaged_raw_shape, *zmanaged_entries_shape;

enum { ENTRIES = 8, INDEX = 16, LIVE = 24, FILLED = 32, VERSION = 40, TAKEN = 48, DICT_SIZE = 56 };
#define EMPTY 0
#define DELETED -1
#define HASH_DELETED INT64_MIN /* no hash of an entry in use: hashes are stored without the top bit */

static inline zslot_t slot_at(zaddress_t dict, size_t offset) {
  return zslot((uint64_t *)(dict.value + offset));
}
static inline int64_t *raw_at(zaddress_t dict, size_t offset) { return (int64_t *)(dict.value + offset); }
static inline zaddress_t part(zaddress_t dict, size_t offset) {
  return zcolored_strip(zbarrier_load(slot_at(dict, offset)));
}
static inline int64_t *entry_hash(zaddress_t entries, int64_t i) {
  return (int64_t *)&zbody_elements(entries)[i * ZBODY_ENTRY_WORDS];
}
static inline zslot_t entry_key(zaddress_t entries, int64_t i) {
  return zslot(&zbody_elements(entries)[i * ZBODY_ENTRY_WORDS + 1]);
}
static inline zslot_t entry_value(zaddress_t entries, int64_t i) {
  return zslot(&zbody_elements(entries)[i * ZBODY_ENTRY_WORDS + 2]);
}
static inline int32_t *places(zaddress_t index) { return (int32_t *)zbody_elements(index); }
static inline int64_t place_limit(zaddress_t index) { return (int64_t)zbody_length(index) / 4 / 3 * 2; }
static inline size_t place_mask(zaddress_t index) { return zbody_length(index) / 4 - 1; }
static inline int64_t stored_hash(Py_ssize_t hash) { return (int64_t)hash & INT64_MAX; }
static inline size_t mix(int64_t hash) { return (size_t)((uint64_t)hash * 0x9E3779B97F4A7C15u >> 20); }

typedef enum { FOUND, ABSENT, CHANGED, FAILED } outcome_t;

/* Position of the key's entry and of its place in the index. */
static outcome_t try_find(PyObject *self, PyObject *key, int64_t hash, int64_t *position, size_t *place) {
  zaddress_t dict = zmanaged_body(self);
  zaddress_t index = part(dict, INDEX);
  if (zaddress_is_null(index)) return ABSENT;
  int64_t version = *raw_at(dict, VERSION);
  for (size_t i = mix(hash);; i++) {
    size_t at = i & place_mask(index);
    int32_t found = places(index)[at];
    if (found == EMPTY) return ABSENT;
    if (found == DELETED) continue;
    zaddress_t entries = part(dict, ENTRIES);
    if (*entry_hash(entries, found - 1) != hash) continue;
    if (!zmanaged_enter()) return FAILED;
    /* enter was a safepoint, at which finalizers may have run: load again */
    dict = zmanaged_body(self);
    if (*raw_at(dict, VERSION) != version) return CHANGED;
    entries = part(dict, ENTRIES);
    PyObject *other = zmanaged_value(zbarrier_load(entry_key(entries, found - 1)));
    if (other == NULL) return FAILED;
    int same = other == key ? 1 : zma.PyObject_RichCompareBool(other, key, 2 /* == */);
    zpy.Py_DecRef(other);
    if (same < 0) return FAILED;
    dict = zmanaged_body(self);
    if (*raw_at(dict, VERSION) != version) return CHANGED;
    index = part(dict, INDEX);
    if (same) {
      *position = found - 1;
      *place = at;
      return FOUND;
    }
  }
}

static outcome_t find(PyObject *self, PyObject *key, int64_t *hash, int64_t *position, size_t *place) {
  Py_ssize_t computed = zma.PyObject_Hash(key);
  if (computed == -1) return FAILED;
  *hash = stored_hash(computed);
  outcome_t outcome;
  do {
    outcome = try_find(self, key, *hash, position, place);
  } while (outcome == CHANGED);
  return outcome;
}

/* New entries and index with room for `live` and half as many again. May run Python code (a stall). */
static outcome_t rebuild(PyObject *self, int64_t live) {
  int64_t room = live + live / 2 + 6;
  size_t length = 8;
  while ((int64_t)length / 3 * 2 < room) length *= 2;
  if (room >= INT32_MAX) {
    zma.PyErr_NoMemory();
    return FAILED;
  }
  int64_t version = *raw_at(zmanaged_body(self), VERSION);
  /* A handle of no class holds the first body over the second allocation. */
  zaddress_t entries = zmanaged_new_body(zmanaged_entries_shape, (uint64_t)room);
  if (zaddress_is_null(entries)) return FAILED;
  uint32_t id = zhandle_table_alloc();
  if (id == 0) {
    zma.PyErr_NoMemory();
    return FAILED;
  }
  zhandle_entry_t *root = &zhandle_table.entries[id];
  zstore_relaxed(&root->object, 0);
  zstore_release(&root->word, zcolored_store_good(entries).bits);
  zaddress_t index = zmanaged_new_body(zmanaged_raw_shape, length * 4);
  entries = zbarrier_load_entry(zslot(&root->word));
  zbarrier_drop_root(zslot(&root->word));
  zhandle_table_free(root);
  if (zaddress_is_null(index)) return FAILED;
  zaddress_t dict = zmanaged_body(self);
  if (*raw_at(dict, VERSION) != version) return CHANGED;

  zaddress_t before = part(dict, ENTRIES);
  int64_t filled = *raw_at(dict, FILLED), count = 0;
  for (int64_t i = 0; i < filled; i++) {
    int64_t hash = *entry_hash(before, i);
    if (hash == HASH_DELETED) continue;
    *entry_hash(entries, count) = hash;
    zbarrier_store(entry_key(entries, count), zmanaged_moved(zbarrier_load(entry_key(before, i))));
    zbarrier_store(entry_value(entries, count), zmanaged_moved(zbarrier_load(entry_value(before, i))));
    size_t at = mix(hash);
    while (places(index)[at & place_mask(index)] != EMPTY) at++;
    places(index)[at & place_mask(index)] = (int32_t)++count;
  }
  zbarrier_store(slot_at(dict, ENTRIES), zcolored_store_good(entries));
  zbarrier_store(slot_at(dict, INDEX), zcolored_store_good(index));
  *raw_at(dict, FILLED) = *raw_at(dict, TAKEN) = count;
  ++*raw_at(dict, VERSION);
  return FOUND;
}

/* Adds an entry for a key that is not there. */
static outcome_t add(PyObject *self, PyObject *key, int64_t hash, PyObject *value) {
  zaddress_t dict = zmanaged_body(self);
  zaddress_t entries = part(dict, ENTRIES);
  int64_t filled = *raw_at(dict, FILLED);
  bool has_room = !zaddress_is_null(entries) && filled < (int64_t)zbody_length(entries) &&
                  *raw_at(dict, TAKEN) < place_limit(part(dict, INDEX));
  if (!has_room) {
    outcome_t outcome = rebuild(self, *raw_at(dict, LIVE) + 1);
    return outcome == FOUND ? CHANGED : outcome;
  }
  zcolored_t key_word, value_word;
  if (!zmanaged_prepare(key, entries, &key_word)) return FAILED;
  if (!zmanaged_prepare(value, entries, &value_word)) {
    if (zcolored_kind(key_word) == ZKIND_PYTHON) {
      PyObject *owned = zpyref_free((uint32_t)zcolored_payload(key_word));
      zpy.Py_DecRef(owned);
    }
    return FAILED;
  }
  *entry_hash(entries, filled) = hash;
  zbarrier_store(entry_key(entries, filled), key_word);
  zbarrier_store(entry_value(entries, filled), value_word);
  zaddress_t index = part(dict, INDEX);
  size_t at = mix(hash);
  while (places(index)[at & place_mask(index)] > 0) at++;
  if (places(index)[at & place_mask(index)] == EMPTY) ++*raw_at(dict, TAKEN);
  places(index)[at & place_mask(index)] = (int32_t)(filled + 1);
  ++*raw_at(dict, FILLED);
  ++*raw_at(dict, LIVE);
  ++*raw_at(dict, VERSION);
  return FOUND;
}

static bool set_item(PyObject *self, PyObject *key, PyObject *value) {
  for (;;) {
    int64_t hash, position;
    size_t place;
    zmanaged_poll();
    outcome_t outcome = find(self, key, &hash, &position, &place);
    if (outcome == FAILED) return false;
    if (outcome == FOUND) {
      zaddress_t entries = part(zmanaged_body(self), ENTRIES);
      return zmanaged_set(entries, entry_value(entries, position), value);
    }
    outcome = add(self, key, hash, value);
    if (outcome != CHANGED) return outcome == FOUND;
  }
}

static bool key_error(PyObject *key) {
  PyObject *arguments = zma.PyTuple_Pack(1, key); /* a tuple as key must not become several arguments */
  if (arguments == NULL) return false;
  zma.PyErr_SetObject(*zma.PyExc_KeyError, arguments);
  zpy.Py_DecRef(arguments);
  return false;
}

static bool delete_item(PyObject *self, PyObject *key) {
  int64_t hash, position;
  size_t place;
  zmanaged_poll();
  outcome_t outcome = find(self, key, &hash, &position, &place);
  if (outcome != FOUND) return outcome == ABSENT ? key_error(key) : false;
  zaddress_t dict = zmanaged_body(self);
  zaddress_t entries = part(dict, ENTRIES);
  places(part(dict, INDEX))[place] = DELETED;
  *entry_hash(entries, position) = HASH_DELETED;
  PyObject *owned[2] = {zmanaged_replace(entry_key(entries, position), zcolored_none()),
                        zmanaged_replace(entry_value(entries, position), zcolored_none())};
  --*raw_at(dict, LIVE);
  ++*raw_at(dict, VERSION);
  /* So that popping from the end does not walk over what was popped before. */
  while (*raw_at(dict, FILLED) > 0 && *entry_hash(entries, *raw_at(dict, FILLED) - 1) == HASH_DELETED) {
    --*raw_at(dict, FILLED);
  }
  for (int i = 0; i < 2; i++) {
    if (owned[i] != NULL) zpy.Py_DecRef(owned[i]);
  }
  return true;
}

/* The value, new reference; NULL without an exception when absent. */
static PyObject *get_item(PyObject *self, PyObject *key) {
  for (;;) {
    int64_t hash, position;
    size_t place;
    zmanaged_poll();
    outcome_t outcome = find(self, key, &hash, &position, &place);
    if (outcome != FOUND) return NULL;
    int64_t version = *raw_at(zmanaged_body(self), VERSION);
    if (!zmanaged_enter()) return NULL;
    zaddress_t dict = zmanaged_body(self);
    if (*raw_at(dict, VERSION) != version) continue; /* finalizers ran, and changed it */
    return zmanaged_value(zbarrier_load(entry_value(part(dict, ENTRIES), position)));
  }
}

/* ---- methods ------------------------------------------------------------------------------------- */

static Py_ssize_t dict_length(PyObject *self) { return (Py_ssize_t)*raw_at(zmanaged_body(self), LIVE); }

static PyObject *dict_subscript(PyObject *self, PyObject *key) {
  PyObject *value = get_item(self, key);
  if (value == NULL && zpy.PyErr_Occurred() == NULL) {
    PyObject *missing = zpy.PyObject_GetAttrString((PyObject *)self->type, "__missing__");
    if (missing != NULL) {
      value = zpy.PyObject_CallFunction(missing, "OO", self, key);
      zpy.Py_DecRef(missing);
      return value;
    }
    zpy.PyErr_Clear();
    key_error(key);
  }
  return value;
}

static int dict_ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  return (value != NULL ? set_item(self, key, value) : delete_item(self, key)) ? 0 : -1;
}

static int dict_contains(PyObject *self, PyObject *key) {
  int64_t hash, position;
  size_t place;
  zmanaged_poll();
  outcome_t outcome = find(self, key, &hash, &position, &place);
  return outcome == FAILED ? -1 : outcome == FOUND;
}

static PyObject *dict_get(PyObject *self, PyObject *arguments) {
  Py_ssize_t count = zma.PyTuple_Size(arguments);
  if (count < 1 || count > 2) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "get expected at %s, got %zd",
                     count < 1 ? "least 1 argument" : "most 2 arguments", count);
    return NULL;
  }
  PyObject *value = get_item(self, zpy.PyTuple_GetItem(arguments, 0));
  if (value != NULL || zpy.PyErr_Occurred() != NULL) return value;
  return count == 2 ? zmanaged_incref(zpy.PyTuple_GetItem(arguments, 1)) : zpy_new_none();
}

/* The entry at or after `position`, or before it; -1 none. */
static int64_t next_entry(zaddress_t dict, int64_t position, int step) {
  zaddress_t entries = part(dict, ENTRIES);
  int64_t filled = *raw_at(dict, FILLED);
  while (position >= 0 && position < filled) {
    if (*entry_hash(entries, position) != HASH_DELETED) return position;
    position += step;
  }
  return -1;
}

static bool read_entry(PyObject *self, int64_t position, PyObject *pair[2]) {
  pair[0] = pair[1] = NULL;
  for (int i = 0; i < 2; i++) {
    if (!zmanaged_enter()) break;
    zaddress_t dict = zmanaged_body(self);
    if (next_entry(dict, position, 1) != position) { /* changed by a release slice */
      zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "dictionary changed during iteration");
      break;
    }
    zaddress_t entries = part(dict, ENTRIES);
    pair[i] = zmanaged_value(zbarrier_load(i == 0 ? entry_key(entries, position) : entry_value(entries, position)));
    if (pair[i] == NULL) break;
  }
  if (pair[1] != NULL) return true;
  if (pair[0] != NULL) zpy.Py_DecRef(pair[0]);
  return false;
}

/* _next(position) -> (next position, key, value) or None. */
static PyObject *dict_next(PyObject *self, PyObject *argument) {
  Py_ssize_t position = zma.PyNumber_AsSsize_t(argument, *zma.PyExc_IndexError);
  if (position == -1 && zpy.PyErr_Occurred()) return NULL;
  zmanaged_poll();
  int64_t found = next_entry(zmanaged_body(self), position, 1);
  if (found < 0) return zpy_new_none();
  PyObject *pair[2];
  if (!read_entry(self, found, pair)) return NULL;
  return zpy.Py_BuildValue("nNN", (Py_ssize_t)(found + 1), pair[0], pair[1]);
}

static PyObject *dict_last(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  zaddress_t dict = zmanaged_body(self);
  int64_t found = next_entry(dict, *raw_at(dict, FILLED) - 1, -1);
  if (found < 0) return zpy_new_none();
  PyObject *pair[2];
  if (!read_entry(self, found, pair)) return NULL;
  return zpy.Py_BuildValue("NN", pair[0], pair[1]);
}

/* What the entries own is released by the collection that finds their body dead. */
static PyObject *dict_clear(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  zaddress_t dict = zmanaged_body(self);
  zbarrier_store(slot_at(dict, ENTRIES), zcolored_none());
  zbarrier_store(slot_at(dict, INDEX), zcolored_none());
  *raw_at(dict, LIVE) = *raw_at(dict, FILLED) = *raw_at(dict, TAKEN) = 0;
  ++*raw_at(dict, VERSION);
  return zpy_new_none();
}

static PyObject *dict_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)arguments;
  (void)keywords;
  zclass_t *class = zmanaged_class_to_make(type, ZFAMILY_DICT);
  return class == NULL ? NULL : zmanaged_object_make(class);
}

static PyMethodDef dict_methods[] = {{"get", dict_get, METH_VARARGS, NULL},
                                     {"_next", dict_next, METH_O, NULL},
                                     {"_last", dict_last, METH_NOARGS, NULL},
                                     {"clear", dict_clear, METH_NOARGS, NULL},
                                     {NULL, NULL, 0, NULL}};
static PyType_Slot dict_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                   {Py_tp_traverse, zmanaged_handle_traverse},
                                   {Py_tp_clear, zmanaged_handle_clear},
                                   {Py_tp_new, dict_new},
                                   {Py_tp_methods, dict_methods},
                                   {Py_mp_length, dict_length},
                                   {Py_mp_subscript, dict_subscript},
                                   {Py_mp_ass_subscript, dict_ass_subscript},
                                   {Py_sq_length, dict_length},
                                   {Py_sq_contains, dict_contains},
                                   {0, NULL}};
static PyType_Spec dict_spec = {"zgc._Dict", sizeof(zhandle_t), 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                dict_slots};

bool zmanaged_dict_start(PyObject *names) {
  zmanaged_raw_shape = zmanaged_class_make_shape(ZBODY_RAW);
  zmanaged_entries_shape = zmanaged_class_make_shape(ZBODY_ENTRIES);
  uint64_t map = 1u << (ENTRIES / 8) | 1u << (INDEX / 8);
  return zmanaged_class_make(names, ZFAMILY_DICT, &dict_spec, DICT_SIZE, map) != NULL;
}
