/* The handle table: one entry per Python object that stands for a body. Its entries are the roots.
 *
 * The entry holds a coloured word, the Python object holds a pointer to the entry. So marking walks
 * memory that is never unmapped and never touches a Python object, however fast handles come and go.
 *
 * The hash of a body is a number that its first use draws. While the body has a handle the number is in
 * `hashes`, at the entry's place; when the handle ends it goes into the body's header (heap/managed/zbody.h). So it
 * costs nothing but a word of a side table per handle, and a body that is never hashed pays nothing.
 *
 * GIL: alloc, free, object, state, hashes. Any thread: word (through barriers, healing by CAS), and reading
 * the state. A free entry has word 0. Entries are never moved; the table only grows. */
#ifndef HEAP_MANAGED_ZHANDLE_TABLE_H
#define HEAP_MANAGED_ZHANDLE_TABLE_H

#include "heap/managed/zbody.h"

typedef struct {
  uint64_t word;    /* zcolored_t */
  uintptr_t object; /* the handle | ZHANDLE_WEAK; or next free id << 1 | ZHANDLE_FREE */
} zhandle_entry_t;

/* WEAK: no reference from the program is left, the handle lives on (with one count, ours) because
 * weak references to it exist and its body may still be reachable. Not a root. Its word has the
 * suspect bit, so that a use of the handle, found again through a weak reference while a mark runs,
 * is heard of: its body need not be in the snapshot. */
enum {
  ZHANDLE_FREE = 1,
  ZHANDLE_WEAK = 2,
  ZHANDLE_SUSPECT = 4, /* not a root of a full mark: zsuspects.h */
  ZHANDLE_HASHED = 8   /* the body has a hash: hashes[id] */
};
/* SOLE: nothing refers to the body but the handle; HOLDS: then, and the body refers to Python objects, or may
 * (preload/managed/zmanaged_sole.h). Above every address of a program. */
#define ZHANDLE_SOLE ((uintptr_t)1 << 63)
#define ZHANDLE_HOLDS ((uintptr_t)1 << 62)
#define ZHANDLE_FLAGS ((uintptr_t)15 | ZHANDLE_SOLE | ZHANDLE_HOLDS)

typedef struct {
  zhandle_entry_t *entries; /* fixed once started; entry 0 is never used */
  uint32_t *hashes;         /* fixed once started; read where the entry is HASHED */
  uint32_t limit;
  uint32_t top; /* entries below have been used; grows, release/acquire */
  uint32_t committed;
  uint32_t free_list;
  uint32_t live;
  uint32_t weak;
} zhandle_table_t;

extern zhidden zhandle_table_t zhandle_table;

bool zhandle_table_start(void);
void zhandle_table_stop(void); /* when a later part of the start fails; tests */
uint32_t zhandle_table_grow(void); /* 0: no memory */

/* A new entry's id with word 0, or 0. */
static inline uint32_t zhandle_table_alloc(void) {
  uint32_t id = zhandle_table.free_list;
  if (zunlikely(id == 0)) {
    id = zhandle_table_grow();
    if (id == 0) return 0;
  } else {
    zhandle_table.free_list = (uint32_t)(zhandle_table.entries[id].object >> 1);
  }
  zhandle_table.live++;
  return id;
}

static inline void zhandle_table_free(zhandle_entry_t *entry) {
  zstore_release(&entry->word, 0);
  zstore_relaxed(&entry->object, (uintptr_t)zhandle_table.free_list << 1 | ZHANDLE_FREE);
  zhandle_table.free_list = (uint32_t)(entry - zhandle_table.entries);
  zhandle_table.live--;
}

static inline uint32_t zhandle_id(const zhandle_entry_t *entry) {
  return (uint32_t)(entry - zhandle_table.entries);
}

static inline void *zhandle_object(const zhandle_entry_t *entry) {
  return (void *)(entry->object & ~ZHANDLE_FLAGS);
}

static inline bool zhandle_is_weak(const zhandle_entry_t *entry) {
  return (zload_relaxed(&entry->object) & (ZHANDLE_WEAK | ZHANDLE_FREE)) == ZHANDLE_WEAK;
}

#endif
