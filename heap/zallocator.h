/* Blocks of any size for the interpreter's OBJ and MEM domains.
 *
 * Lock: the GIL. Python's contract for these domains is that the caller holds it, so the fast paths
 * are a pop and a push on a page's free list without lock or atomic. When a second GIL is about to
 * appear (a sub-interpreter with its own), zallocator_lock_forever() makes every call take the
 * allocator's lock instead: it empties the current pages and flags all others, so that the fast
 * paths fall through to the slow ones without testing anything more.
 *
 * What the heap cannot give (the range is exhausted, a commit fails) comes from zfallback.h. */
#ifndef HEAP_ZALLOCATOR_H
#define HEAP_ZALLOCATOR_H

#include "heap/zpage.h"
#include "heap/zsize_class.h"

typedef struct {
  zpage_t *current[ZCLASS_COUNT]; /* the page each class allocates from; never NULL */
  zpage_t *listed[ZCLASS_COUNT];  /* other pages of the class with free blocks, doubly linked */
} zallocator_t;

extern zallocator_t zallocator;

/* Sets up range and tables; false: use the fallback for everything. Once, before any allocation. */
bool zallocator_start(size_t range_size);

/* NULL when memory is short. size 0 gives a distinct block. The block is 16-byte aligned. */
void *zallocator_alloc(size_t size);
void *zallocator_alloc_zeroed(size_t size);
void *zallocator_realloc(void *block, size_t size);
void zallocator_free(void *block);

/* Called under the GIL before a second one exists; there is no way back. */
void zallocator_lock_forever(void);
bool zallocator_is_locked(void);

void zallocator_lock_for_fork(void);
void zallocator_unlock_after_fork(void);
void zallocator_reset_after_fork_in_child(void);

/* Called, if set, on the way through the slow path of an allocation, about once per page: the
 * caller holds the GIL, but nothing of Python may run. */
extern void (*zallocator_slow_hook)(void);

/* Called once, if set, when empty pages hold ZALLOCATOR_IDLE_MIN bytes: someone should see to
 * zgranules_uncommit_aged from now on. In the middle of a free; again after a fork in the child. */
extern void (*zallocator_idle_hook)(void);
#define ZALLOCATOR_IDLE_MIN (8 * ZM)

typedef struct {
  size_t used_blocks;
  size_t used_bytes;      /* in blocks handed out */
  size_t page_bytes;      /* in pages */
  size_t pages[4];        /* by zpage_kind_t */
  size_t fallback_blocks; /* blocks that the heap could not give, over all time */
} zallocator_stats_t;

/* Walks the page table (about 1 ms per 4 GiB). Allocator's lock for exact numbers; without it they
 * are approximate. */
void zallocator_stats(zallocator_stats_t *stats);

/* Checks every page against the equation in zpage.h; a message and false where one is broken.
 * Allocator's lock. */
bool zallocator_verify(char *message, size_t size);

#endif
