/* Python references held by bodies: one entry per slot that holds a Python object which is not a
 * body, a small number or None.
 *
 * The slot holds the entry's index, the entry owns one strong reference. Because owners find their
 * dead through this table, a body that dies costs nothing unless it holds such references, and
 * bodies move without anything of Python being touched.
 *
 * An entry belongs to one slot. old says which generation judges it: that of the slot's body. seq is the
 * number of that generation's mark that last found the body alive (or in which the entry was made, or
 * promoted): an entry with another seq after such a mark belongs to a dead body, and its reference is
 * dropped later, under the GIL, in slices. (An entry marked old may be in a young body for a while, when
 * a list's or a dict's storage was replaced; the young mark that begins an old one sees it there.)
 *
 * GIL: alloc, free, object. Any thread: seq and old (relaxed stores), reading object. A thread that
 * looks for dead entries reads object first (acquire) and seq after it: alloc stores seq first. */
#ifndef HEAP_MANAGED_ZPYREF_TABLE_H
#define HEAP_MANAGED_ZPYREF_TABLE_H

#include "heap/managed/zbody_page.h"

typedef struct {
  uintptr_t object; /* PyObject *; next free index << 1 | 1; or 0: released, the slot reads as None */
  uint32_t seq;
  uint32_t old; /* 0 young, 1 old, 2 found dead and listed */
} zpyref_t;

typedef struct {
  zpyref_t *entries; /* entry 0 is never used */
  uint32_t limit, top, committed, free_list;
  uint32_t live;
  uint32_t emptied; /* of them, released early */
  size_t ever_emptied;
} zpyref_table_t;

extern zpyref_table_t zpyref_table;

bool zpyref_table_start(void);
void zpyref_table_stop(void); /* when a later part of the start fails; tests */

uint32_t zpyref_table_grow(void); /* 0: no memory */
/* Index of an entry that owns `object`, or 0 (the reference stays the caller's). */
static inline uint32_t zpyref_alloc(void *object, bool old) {
  uint32_t index = zpyref_table.free_list;
  if (zlikely(index != 0)) {
    zpyref_table.free_list = (uint32_t)(zpyref_table.entries[index].object >> 1);
  } else {
    index = zpyref_table_grow();
    if (zunlikely(index == 0)) return 0;
  }
  zpyref_t *entry = &zpyref_table.entries[index];
  zstore_relaxed(&entry->seq, zbody_space.seq[old]);
  zstore_relaxed(&entry->old, old);
  zstore_release(&entry->object, (uintptr_t)object);
  zpyref_table.live++;
  return index;
}
/* Frees the entry; what it owned, NULL when it was released before, is now the caller's. */
void *zpyref_free(uint32_t index);

/* What the entry owns, NULL when it was released before, is now the caller's: the slot reads as None. */
static inline void *zpyref_empty(zpyref_t *entry) {
  void *object = (void *)entry->object;
  if (object != NULL) {
    zpyref_table.emptied++;
    zpyref_table.ever_emptied++;
  }
  zstore_release(&entry->object, 0);
  return object;
}
/* References to objects. */
static inline size_t zpyref_held(void) { return zpyref_table.live - zpyref_table.emptied; }

/* Its body is alive, says the mark of the entry's generation. Any thread. */
static inline void zpyref_set_seen(zpyref_t *entry) {
  uint32_t seq = zbody_space.seq[zload_relaxed(&entry->old) != 0];
  if (zload_relaxed(&entry->seq) != seq) zstore_relaxed(&entry->seq, seq);
}
/* Its body becomes old. */
static inline void zpyref_set_old(zpyref_t *entry) {
  zstore_relaxed(&entry->seq, zbody_space.seq[1]);
  zstore_release(&entry->old, 1);
}

static inline bool zpyref_is_free(const zpyref_t *entry) {
  return (zload_acquire(&entry->object) & 1) != 0;
}

#endif
