#include "preload/managed/zmanaged_table.h"

#include <string.h>

#include "preload/managed/zmanaged_number.h"

zshape_t *zmanaged_raw_shape, *zmanaged_entries_shape;

#define EMPTY 0
#define DELETED -1
#define HASH_DELETED INT64_MIN /* no hash of an entry in use: hashes are stored without the top bit */

static inline zslot_t slot_at(zaddress_t dict, size_t offset) { return zslot((uint64_t *)(dict.value + offset)); }
static inline int64_t *raw_at(zaddress_t dict, size_t offset) { return (int64_t *)(dict.value + offset); }
static inline zaddress_t part(zaddress_t dict, size_t offset) {
  return zcolored_strip(zbarrier_load(slot_at(dict, offset)));
}
static inline uint64_t *entry_at(zaddress_t entries, int64_t i) {
  return &zbody_elements(entries)[i * ZBODY_ENTRY_WORDS];
}
static inline int64_t *entry_hash(zaddress_t entries, int64_t i) { return (int64_t *)entry_at(entries, i); }
static inline zslot_t entry_key(zaddress_t entries, int64_t i) { return zslot(entry_at(entries, i) + 1); }
static inline zslot_t entry_value(zaddress_t entries, int64_t i) { return zslot(entry_at(entries, i) + 2); }
static inline int32_t *places(zaddress_t index) { return (int32_t *)zbody_elements(index); }
static inline size_t place_count(zaddress_t index) { return zbody_length(index) / 4; }

bool ztable_check(PyObject *self) {
  bool ok = zmanaged_is_handle(self) && zbody_shape(zmanaged_body(self))->use == ZFAMILY_DICT;
  return zlikely(ok) || zmanaged_type_error("this needs a managed dict", self);
}

/* ---- where a hash leads to ----------------------------------------------------------------------- */

/* A search begins at the low bits of the hash, as in dict: keys that follow one another lie in one stretch of the
 * index. Where another key is in the way it goes on with all bits of the hash mixed, of which more come in with
 * each step: so keys that differ in some bits only part at the second place. */
typedef struct {
  size_t at, mask;
  uint64_t hash, rest;
  bool has_parted;
} probe_t;

static inline uint64_t mix(uint64_t hash) {
  hash = (hash ^ hash >> 32) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ hash >> 29) * 0xBF58476D1CE4E5B9u;
  return hash ^ hash >> 32;
}
static inline probe_t probe_start(int64_t hash, size_t count) {
  return (probe_t){(uint64_t)hash & (count - 1), count - 1, (uint64_t)hash, 0, false};
}
static inline void probe_on(probe_t *probe) {
  probe->rest = probe->has_parted ? probe->rest >> 5 : mix(probe->hash);
  probe->has_parted = true;
  probe->at = (probe->at * 5 + probe->rest + 1) & probe->mask; /* visits every place once rest is 0 */
}

/* The place of an entry that is there. */
static size_t place_of(zaddress_t index, int64_t hash, int32_t entry) {
  probe_t probe = probe_start(hash, place_count(index));
  while (places(index)[probe.at] != entry) probe_on(&probe);
  return probe.at;
}

/* The first place that a new entry may take. */
static inline size_t free_place(zaddress_t index, int64_t hash) {
  probe_t probe = probe_start(hash, place_count(index));
  while (places(index)[probe.at] > 0) probe_on(&probe);
  return probe.at;
}

/* ---- searching ----------------------------------------------------------------------------------- */

/* 3.14 and later say more of a key that has no hash: as the interpreter does. */
static zcold bool explain_unhashable(PyObject *key) {
  PyObject *type, *value, *traceback;
  zpy.PyErr_Fetch(&type, &value, &traceback);
  if (type == *zpy.PyExc_TypeError && value != NULL) {
    PyObject *said = zpy.PyObject_CallFunction(zpy.PyDict_GetItemString(zmanaged_helpers, "text_of_unhashable"), "OO",
                                               key, value);
    if (said != NULL) {
      zpy.Py_DecRef(value);
      value = said;
    } else {
      zpy.PyErr_Clear();
    }
  }
  zpy.PyErr_Restore(type, value, traceback);
  return false;
}

bool ztable_begin(ztable_search_t *search, PyObject *key) {
  Py_ssize_t hash = zma.PyObject_Hash(key);
  if (zunlikely(hash == -1)) return explain_unhashable(key);
  search->key = key;
  search->hash = (int64_t)hash & INT64_MAX;
  return true;
}

/* Are objects of this type equal to themselves only, so that their words say all? */
static inline bool is_identity(PyTypeObject *type) {
  return *zmanaged_type_word(type, ZMANAGED_TYPE_HASH) == (void *)zmanaged_handle_hash &&
         *zmanaged_type_word(type, ZMANAGED_TYPE_RICHCOMPARE) == zmanaged_identity_compare;
}

/* 1, 0, or -1: Python has to be asked. No safepoint. */
static inline int is_same_key(zcolored_t word, const ztable_search_t *search) {
  int same = zmanaged_word_is(word, search->key);
  if (same >= 0 || zcolored_kind(word) != ZKIND_MANAGED) return same;
  /* Another managed object: unequal, if neither of the two has its own idea of what is equal. */
  const zclass_t *class = zbody_shape(zcolored_strip(word))->owner;
  bool plain = class != NULL && class->type != NULL && is_identity(class->type);
  return plain && zmanaged_is_handle(search->key) && is_identity(search->key->type) ? 0 : -1;
}

/* Asks Python. The entry's hash is the key's. CHANGED: the table is another now. */
static znoinline ztable_outcome_t compare_by_python(PyObject *self, int64_t position, PyObject *key) {
  int64_t version = *ztable_raw(self, ZDICT_VERSION);
  if (!zmanaged_enter()) return ZTABLE_FAILED;
  /* enter was a safepoint, at which finalizers may have run */
  if (*ztable_raw(self, ZDICT_VERSION) != version) return ZTABLE_CHANGED;
  PyObject *other = ztable_key_at(self, position);
  if (other == NULL) return ZTABLE_FAILED;
  int same = other == key ? 1 : zma.PyObject_RichCompareBool(other, key, 2 /* == */);
  zpy.Py_DecRef(other);
  if (same < 0) return ZTABLE_FAILED;
  if (*ztable_raw(self, ZDICT_VERSION) != version) return ZTABLE_CHANGED;
  return same ? ZTABLE_FOUND : ZTABLE_ABSENT;
}

static ztable_outcome_t try_find(PyObject *self, ztable_search_t *search) {
  zaddress_t dict = zmanaged_body(self), index = part(dict, ZDICT_INDEX);
  if (zaddress_is_null(index)) return ZTABLE_ABSENT;
  zaddress_t entries = part(dict, ZDICT_ENTRIES);
  for (probe_t probe = probe_start(search->hash, place_count(index));; probe_on(&probe)) {
    int32_t found = places(index)[probe.at];
    if (found == EMPTY) return ZTABLE_ABSENT;
    if (found == DELETED || *entry_hash(entries, found - 1) != search->hash) continue;
    int same = is_same_key(zbarrier_load(entry_key(entries, found - 1)), search);
    if (zunlikely(same < 0)) {
      ztable_outcome_t outcome = compare_by_python(self, found - 1, search->key);
      if (outcome == ZTABLE_FAILED || outcome == ZTABLE_CHANGED) return outcome;
      same = outcome == ZTABLE_FOUND;
      dict = zmanaged_body(self);
      index = part(dict, ZDICT_INDEX);
      entries = part(dict, ZDICT_ENTRIES);
    }
    if (same == 0) continue;
    search->position = found - 1;
    search->place = probe.at;
    return ZTABLE_FOUND;
  }
}

ztable_outcome_t ztable_find(PyObject *self, ztable_search_t *search) {
  ztable_outcome_t outcome;
  zmanaged_poll();
  do {
    outcome = try_find(self, search);
  } while (outcome == ZTABLE_CHANGED);
  return outcome;
}

/* ---- room ---------------------------------------------------------------------------------------- */

typedef struct {
  zaddress_t entries, index;
} table_parts_t;

/* Two new bodies; none has been seen by anyone, and no safepoint follows. May run Python code before (a stall). */
static bool new_parts(int64_t room, size_t length, table_parts_t *parts) {
  parts->entries = zmanaged_new_body(zmanaged_entries_shape, (uint64_t)room);
  if (zaddress_is_null(parts->entries)) return false;
  /* A handle of no class holds the first body over the second allocation. */
  uint32_t id = zhandle_table_alloc();
  if (id == 0) return zma.PyErr_NoMemory() != NULL;
  zhandle_entry_t *root = &zhandle_table.entries[id];
  zstore_relaxed(&root->object, 0);
  zstore_release(&root->word, zcolored_store_good(parts->entries).bits);
  parts->index = zmanaged_new_body(zmanaged_raw_shape, length * 4);
  parts->entries = zbarrier_load_entry(zslot(&root->word));
  zbarrier_drop_root(zslot(&root->word));
  zhandle_table_free(root);
  return !zaddress_is_null(parts->index);
}

static void install(zaddress_t dict, table_parts_t parts, int64_t count) {
  zbarrier_store(slot_at(dict, ZDICT_ENTRIES), zcolored_store_good(parts.entries));
  zbarrier_store(slot_at(dict, ZDICT_INDEX), zcolored_store_good(parts.index));
  *raw_at(dict, ZDICT_FILLED) = *raw_at(dict, ZDICT_TAKEN) = count;
  ++*raw_at(dict, ZDICT_VERSION);
}

/* A place for an entry of a new index. */
static inline void put_place(zaddress_t index, int64_t hash, int64_t entry) {
  places(index)[free_place(index, hash)] = (int32_t)(entry + 1);
}

/* How many places an index for so many entries has, and how many entries fit such an index. */
static size_t places_for(int64_t entries) {
  size_t length = 8;
  while ((int64_t)length / 3 * 2 < entries) length *= 2;
  return length;
}
static int64_t entries_for(size_t length) { return (int64_t)length / 3 * 2; }

/* Colours entries that are not used yet, so that the first store into each is a cheap one. */
static void color_entries(zaddress_t entries, int64_t from) {
  int64_t length = (int64_t)zbody_length(entries);
  for (int64_t i = from; i < length; i++) {
    zstore_relaxed(entry_key(entries, i).word, zcolored_none().bits);
    zstore_relaxed(entry_value(entries, i).word, zcolored_none().bits);
  }
}

/* New entries and index, with room for as many again. */
static ztable_outcome_t rebuild(PyObject *self, int64_t live) {
  size_t length = places_for(live + live / 2 + 1);
  int64_t room = entries_for(length);
  if (room >= INT32_MAX / 2) {
    zma.PyErr_NoMemory();
    return ZTABLE_FAILED;
  }
  int64_t version = *ztable_raw(self, ZDICT_VERSION);
  table_parts_t parts;
  if (!new_parts(room, length, &parts)) return ZTABLE_FAILED;
  zaddress_t dict = zmanaged_body(self);
  if (*raw_at(dict, ZDICT_VERSION) != version) return ZTABLE_CHANGED;
  zaddress_t before = part(dict, ZDICT_ENTRIES);
  int64_t filled = *raw_at(dict, ZDICT_FILLED), count = 0;
  for (int64_t i = 0; i < filled; i++) {
    int64_t hash = *entry_hash(before, i);
    if (hash == HASH_DELETED) continue;
    *entry_hash(parts.entries, count) = hash;
    zmanaged_row_move_newborn(entry_key(parts.entries, count).word, entry_key(before, i).word, 2);
    put_place(parts.index, hash, count++);
  }
  color_entries(parts.entries, count);
  install(dict, parts, count);
  return ZTABLE_FOUND;
}

static inline bool has_room(zaddress_t dict, zaddress_t entries) {
  return !zaddress_is_null(entries) && *raw_at(dict, ZDICT_FILLED) < (int64_t)zbody_length(entries) &&
         *raw_at(dict, ZDICT_TAKEN) < (int64_t)place_count(part(dict, ZDICT_INDEX)) / 3 * 2;
}

static zcold bool give_up(zcolored_t key_word) {
  if (zcolored_kind(key_word) != ZKIND_PYTHON) return false;
  PyObject *owned = zpyref_free((uint32_t)zcolored_payload(key_word));
  if (owned != NULL) zpy.Py_DecRef(owned);
  return false;
}

static bool prepare_both(zaddress_t entries, PyObject *key, PyObject *value, zcolored_t words[2]) {
  return zmanaged_prepare(key, entries, &words[0]) &&
         (zmanaged_prepare(value, entries, &words[1]) || give_up(words[0]));
}

ztable_outcome_t ztable_add(PyObject *self, const ztable_search_t *search, PyObject *value) {
  zaddress_t dict = zmanaged_body(self), entries = part(dict, ZDICT_ENTRIES);
  if (zunlikely(!has_room(dict, entries))) {
    ztable_outcome_t outcome = rebuild(self, *raw_at(dict, ZDICT_LIVE) + 1);
    return outcome == ZTABLE_FOUND ? ZTABLE_CHANGED : outcome;
  }
  zcolored_t words[2];
  if (!prepare_both(entries, search->key, value, words)) return ZTABLE_FAILED;
  int64_t filled = *raw_at(dict, ZDICT_FILLED);
  *entry_hash(entries, filled) = search->hash;
  zbarrier_store(entry_key(entries, filled), words[0]);
  zbarrier_store(entry_value(entries, filled), words[1]);
  zaddress_t index = part(dict, ZDICT_INDEX);
  size_t at = free_place(index, search->hash);
  if (places(index)[at] == EMPTY) ++*raw_at(dict, ZDICT_TAKEN);
  places(index)[at] = (int32_t)(filled + 1);
  ++*raw_at(dict, ZDICT_FILLED);
  ++*raw_at(dict, ZDICT_LIVE);
  ++*raw_at(dict, ZDICT_VERSION);
  return ZTABLE_FOUND;
}

bool ztable_set(PyObject *self, PyObject *key, PyObject *value) {
  ztable_search_t search;
  if (!ztable_check(self) || !ztable_begin(&search, key)) return false;
  for (;;) {
    ztable_outcome_t outcome = ztable_find(self, &search);
    if (outcome == ZTABLE_FOUND) return ztable_set_value(self, search.position, value);
    if (outcome == ZTABLE_ABSENT) outcome = ztable_add(self, &search, value);
    if (outcome != ZTABLE_CHANGED) return outcome == ZTABLE_FOUND;
  }
}

/* ---- entries ------------------------------------------------------------------------------------- */

PyObject *ztable_value_at(PyObject *self, int64_t position) {
  return zmanaged_value(zbarrier_load(entry_value(part(zmanaged_body(self), ZDICT_ENTRIES), position)));
}

PyObject *ztable_key_at(PyObject *self, int64_t position) {
  return zmanaged_value(zbarrier_load(entry_key(part(zmanaged_body(self), ZDICT_ENTRIES), position)));
}

bool ztable_set_value(PyObject *self, int64_t position, PyObject *value) {
  zaddress_t entries = part(zmanaged_body(self), ZDICT_ENTRIES);
  return zmanaged_set(entries, entry_value(entries, position), value);
}

void ztable_locate(PyObject *self, ztable_search_t *search) {
  zaddress_t dict = zmanaged_body(self);
  search->hash = *entry_hash(part(dict, ZDICT_ENTRIES), search->position);
  search->place = place_of(part(dict, ZDICT_INDEX), search->hash, (int32_t)(search->position + 1));
}

void ztable_remove(PyObject *self, const ztable_search_t *search, zdropped_t *dropped) {
  zaddress_t dict = zmanaged_body(self), entries = part(dict, ZDICT_ENTRIES);
  places(part(dict, ZDICT_INDEX))[search->place] = DELETED;
  *entry_hash(entries, search->position) = HASH_DELETED;
  zmanaged_drop_replace(dropped, entry_key(entries, search->position).word, zcolored_none());
  zmanaged_drop_replace(dropped, entry_value(entries, search->position).word, zcolored_none());
  --*raw_at(dict, ZDICT_LIVE);
  ++*raw_at(dict, ZDICT_VERSION);
  /* So that popping from the end does not walk over what was popped before. */
  int64_t *filled = raw_at(dict, ZDICT_FILLED);
  while (*filled > 0 && *entry_hash(entries, *filled - 1) == HASH_DELETED) --*filled;
}

int64_t ztable_next(PyObject *self, int64_t position, int step) {
  zaddress_t dict = zmanaged_body(self), entries = part(dict, ZDICT_ENTRIES);
  int64_t filled = *raw_at(dict, ZDICT_FILLED);
  while (position >= 0 && position < filled) {
    if (*entry_hash(entries, position) != HASH_DELETED) return position;
    position += step;
  }
  return -1;
}

static inline bool entries_are_equal(zaddress_t a, zaddress_t b, int64_t i) {
  if (*entry_hash(a, i) != *entry_hash(b, i)) return false;
  if (*entry_hash(a, i) == HASH_DELETED) return true;
  return zmanaged_words_are_equal(zbarrier_load(entry_key(a, i)), zbarrier_load(entry_key(b, i))) == 1 &&
         zmanaged_words_are_equal(zbarrier_load(entry_value(a, i)), zbarrier_load(entry_value(b, i))) == 1;
}

int64_t ztable_skip_equal(PyObject *self, PyObject *other, int64_t position) {
  zaddress_t first = zmanaged_body(self), second = zmanaged_body(other);
  zaddress_t a = part(first, ZDICT_ENTRIES), b = part(second, ZDICT_ENTRIES);
  int64_t end = zmin(*raw_at(first, ZDICT_FILLED), *raw_at(second, ZDICT_FILLED));
  while (position < end && entries_are_equal(a, b, position)) position++;
  return position;
}

ztable_search_t ztable_search_of(PyObject *self, int64_t position, PyObject *key) {
  int64_t hash = *entry_hash(part(zmanaged_body(self), ZDICT_ENTRIES), position);
  return (ztable_search_t){.key = key, .hash = hash};
}

/* ---- whole tables -------------------------------------------------------------------------------- */

static void forget_all(zaddress_t dict) {
  zbarrier_store(slot_at(dict, ZDICT_ENTRIES), zcolored_none());
  zbarrier_store(slot_at(dict, ZDICT_INDEX), zcolored_none());
  *raw_at(dict, ZDICT_LIVE) = *raw_at(dict, ZDICT_FILLED) = *raw_at(dict, ZDICT_TAKEN) = 0;
  ++*raw_at(dict, ZDICT_VERSION);
}

bool ztable_clear(PyObject *self) {
  if (!ztable_check(self)) return false;
  zdropped_t dropped;
  if (!zmanaged_drop_begin(&dropped, 2 * (Py_ssize_t)*ztable_raw(self, ZDICT_FILLED))) return false;
  zaddress_t dict = zmanaged_body(self), entries = part(dict, ZDICT_ENTRIES);
  int64_t filled = *raw_at(dict, ZDICT_FILLED);
  forget_all(dict);
  for (int64_t i = 0; i < filled; i++) {
    zmanaged_drop_replace(&dropped, entry_key(entries, i).word, zcolored_none());
    zmanaged_drop_replace(&dropped, entry_value(entries, i).word, zcolored_none());
  }
  zmanaged_drop_finish(&dropped);
  return true;
}

/* Entries that follow one another without a gap are found by the same index. */
static bool is_dense(zaddress_t dict) {
  int64_t filled = *raw_at(dict, ZDICT_FILLED);
  return filled == *raw_at(dict, ZDICT_LIVE) && filled == *raw_at(dict, ZDICT_TAKEN);
}

static bool copy_entry(zaddress_t to, int64_t at, zaddress_t from, int64_t i) {
  zcolored_t key, value;
  if (!zmanaged_copy_word(zbarrier_load(entry_key(from, i)), to, &key)) return false;
  if (!zmanaged_copy_word(zbarrier_load(entry_value(from, i)), to, &value)) return give_up(key);
  *entry_hash(to, at) = *entry_hash(from, i);
  zstore_relaxed(entry_key(to, at).word, key.bits);
  zstore_relaxed(entry_value(to, at).word, value.bits);
  return true;
}

bool ztable_copy(PyObject *self, PyObject *from) {
  for (;;) {
    int64_t live = *ztable_raw(from, ZDICT_LIVE);
    if (live == 0) return true;
    bool dense = is_dense(zmanaged_body(from));
    size_t length = dense ? place_count(part(zmanaged_body(from), ZDICT_INDEX)) : places_for(live);
    int64_t room = entries_for(length), version = *ztable_raw(from, ZDICT_VERSION);
    table_parts_t parts;
    if (!new_parts(room, length, &parts)) return false;
    zaddress_t source = zmanaged_body(from), before = part(source, ZDICT_ENTRIES);
    if (*raw_at(source, ZDICT_VERSION) != version) continue; /* waiting for memory ran code */
    int64_t filled = *raw_at(source, ZDICT_FILLED), count = 0;
    bool ok = true;
    if (dense) memcpy(places(parts.index), places(part(source, ZDICT_INDEX)), length * 4);
    for (int64_t i = 0; ok && i < filled; i++) {
      if (*entry_hash(before, i) == HASH_DELETED) continue;
      ok = copy_entry(parts.entries, count, before, i);
      if (ok && !dense) put_place(parts.index, *entry_hash(before, i), count);
      count += ok;
    }
    color_entries(parts.entries, count);
    zaddress_t dict = zmanaged_body(self);
    install(dict, parts, count);
    *raw_at(dict, ZDICT_LIVE) = count;
    return ok;
  }
}
