/* Python references held by bodies: one entry per slot that holds a Python object which is not a
 * body, a small number or None.
 *
 * The slot holds the entry's index, the entry owns one strong reference. Because owners find their
 * dead through this table, a body that dies costs nothing unless it holds such references, and
 * bodies move without anything of Python being touched.
 *
 * An entry belongs to one slot. seq is the collection that last found that slot's body alive (or in
 * which the entry was made): an entry with another seq after a mark belongs to a dead body, and its
 * reference is dropped later, under the GIL, in slices. old: the body is in the old generation, which
 * young collections do not mark; they leave such entries alone.
 *
 * GIL: alloc, free, object. Any thread: seq and old (relaxed stores), reading object. A thread that
 * looks for dead entries reads object first (acquire) and seq after it: alloc stores seq first. */
#ifndef HEAP_ZPYREF_TABLE_H
#define HEAP_ZPYREF_TABLE_H

#include "heap/zbody.h"

typedef struct {
  uintptr_t object; /* PyObject *; next free index << 1 | 1; or 0: released, the slot reads as None */
  uint32_t seq;
  uint32_t old;
} zpyref_t;

typedef struct {
  zpyref_t *entries; /* entry 0 is never used */
  uint32_t limit, top, committed, free_list;
  uint32_t live;
} zpyref_table_t;

extern zpyref_table_t zpyref_table;

bool zpyref_table_start(void);
void zpyref_table_stop(void); /* when a later part of the start fails; tests */

/* Index of an entry that owns `object`, or 0 (the reference stays the caller's). */
uint32_t zpyref_alloc(void *object, bool old);
/* Frees the entry; what it owned, NULL when it was released before, is now the caller's. */
void *zpyref_free(uint32_t index);

static inline bool zpyref_is_free(const zpyref_t *entry) {
  return (zload_acquire(&entry->object) & 1) != 0;
}

#endif
