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
  zpage_t *current[ZCLASS_ALL]; /* the page each class allocates from; never NULL */
  zpage_t *listed[ZCLASS_ALL];  /* other pages of the class with free blocks, doubly linked */
} zallocator_t;

extern zallocator_t zallocator;

/* Sets up range and tables; false: use the fallback for everything. Once, before any allocation. */
bool zallocator_start(size_t range_size);

/* NULL when memory is short. size 0 gives a distinct block. The block is 16-byte aligned. */
void *zallocator_alloc(size_t size);
void *zallocator_alloc_zeroed(size_t size);
void *zallocator_realloc(void *block, size_t size);
/* The same for a block that will hold a GC object: up to ZSMALL_MAX from pages of their own. Only
 * where it lies differs; realloc keeps the kind of the block, and free takes either. */
void *zallocator_alloc_gc(size_t size);
void *zallocator_realloc_gc(void *block, size_t size);
void zallocator_free(void *block);

/* Blocks that an allocation profile watches lie in pages of their own, flagged: what leads their
 * frees through zallocator_sampled_free_hook is the test of page flags that every free makes anyway,
 * so watching a few blocks costs the others nothing. */

/* As zallocator_alloc or _alloc_zeroed, but NULL also where the heap itself cannot give the block. */
void *zallocator_alloc_sampled(size_t size, bool zeroed);
bool zallocator_is_sampled(const void *block);
/* Makes a block of ours, allocated before, such a block: its place from now on; NULL, and nothing has
 * changed, where the heap has no other. A realloc keeps what a block is. */
void *zallocator_watch(void *block);
/* Called with each block that is freed in such a page, the allocator's lock not held. Not called
 * where a realloc moves a block's OS pages. Set before the first sampled block. */
extern void (*zallocator_sampled_free_hook)(void *block);

/* Bytes of the block that a request for `size` gets, and of a block that exists; 0: not ours. */
size_t zallocator_size_for(size_t size);
size_t zallocator_size_of(const void *block);

/* Called under the GIL before a second one exists; there is no way back. */
void zallocator_lock_forever(void);
bool zallocator_is_locked(void);
/* The allocator's lock, for those who change page flags: nothing is done while one GIL is all there
 * is. The caller holds a GIL and does not allocate between the two. */
void zallocator_lock(void);
void zallocator_unlock(void);

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

typedef struct {
  size_t pages, capacity, used; /* blocks there is room for, and those handed out */
} zallocator_class_t;

/* The same by size class; GC objects' own pages count with the others of the size. */
void zallocator_class_stats(zallocator_class_t classes[ZCLASS_COUNT]);

/* Checks every page against the equation in zpage.h; a message and false where one is broken.
 * Allocator's lock. */
bool zallocator_verify(char *message, size_t size);

#endif
