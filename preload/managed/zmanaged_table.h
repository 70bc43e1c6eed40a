/* The hash table of zgc.Dict: insertion-ordered, over managed bodies, keys by Python's hash and equality.
 *
 *   body      [header][entries: slot][index: slot][live][filled][version][taken]
 *   entries   ENTRIES body: {hash, key, value} in insertion order; a deleted one has HASH_DELETED
 *   index     RAW body: int32 per place, 0 empty, -1 deleted, else entry + 1; open addressing
 *
 * live <= filled <= length of entries <= 2/3 of the places. taken counts the places that are not empty:
 * it ends at 2/3 too, so a search always comes to an empty one. How a search goes on is taken from all bits of the
 * hash, so that keys which differ in some bits only are as good as any.
 *
 * Most keys are compared by their words: numbers, strings, and objects that are equal to themselves only. Other
 * comparisons run Python code, which may change this very dict or move its bodies. So a lookup keeps no address
 * over them: it works with positions, and starts over when the table's version (raw word, changed by each
 * insertion, deletion and resize) is another afterwards. */
#ifndef PRELOAD_MANAGED_ZMANAGED_TABLE_H
#define PRELOAD_MANAGED_ZMANAGED_TABLE_H

#include "preload/managed/zmanaged_row.h"

enum { ZDICT_ENTRIES = 8, ZDICT_INDEX = 16, ZDICT_LIVE = 24, ZDICT_FILLED = 32, ZDICT_VERSION = 40, ZDICT_TAKEN = 48,
       ZDICT_SIZE = 56 };

typedef enum { ZTABLE_FOUND, ZTABLE_ABSENT, ZTABLE_CHANGED, ZTABLE_FAILED } ztable_outcome_t;

typedef struct {
  PyObject *key;
  int64_t hash;     /* as it is stored */
  int64_t position; /* of the entry, once found */
  size_t place;     /* of the index */
} ztable_search_t;

static inline int64_t *ztable_raw(PyObject *self, size_t offset) {
  return (int64_t *)(zmanaged_body(self).value + offset);
}

bool ztable_check(PyObject *self); /* false with TypeError: no dict */

/* Asks for the key's hash. May run Python code. False with an exception set. */
bool ztable_begin(ztable_search_t *search, PyObject *key);
/* May run Python code; afterwards the search's position is good until the next safepoint. */
ztable_outcome_t ztable_find(PyObject *self, ztable_search_t *search);
/* Adds an entry for a key that ztable_find has not found. CHANGED: find again. */
ztable_outcome_t ztable_add(PyObject *self, const ztable_search_t *search, PyObject *value);
/* Finds or adds. */
bool ztable_set(PyObject *self, PyObject *key, PyObject *value);

/* The value at the position; new reference. After zmanaged_enter. */
PyObject *ztable_value_at(PyObject *self, int64_t position);
PyObject *ztable_key_at(PyObject *self, int64_t position);
/* Replaces it. False with MemoryError. Runs Python code at its end. */
bool ztable_set_value(PyObject *self, int64_t position, PyObject *value);
/* Takes the entry out that was found. What it owned goes to `dropped` (two at most). */
void ztable_remove(PyObject *self, const ztable_search_t *search, zdropped_t *dropped);
/* Its place in the index, for ztable_remove. */
void ztable_locate(PyObject *self, ztable_search_t *search);

/* How far do the entries of two tables agree by their words, from `position` on, where they lie at the same places?
 * No safepoint. */
int64_t ztable_skip_equal(PyObject *self, PyObject *other, int64_t position);
/* The search for the key of an entry, whose hash need not be asked for. */
ztable_search_t ztable_search_of(PyObject *self, int64_t position, PyObject *key);

/* The entry at or after `position` (step 1), or before it (-1); -1 none. */
int64_t ztable_next(PyObject *self, int64_t position, int step);

/* All entries go. */
bool ztable_clear(PyObject *self);
/* An empty table takes over copies of all entries of another. False with an exception set. */
bool ztable_copy(PyObject *self, PyObject *from);

#endif
