/* Blocks of any size for the interpreter's OBJ and MEM domains.
 *
 * Lock: the GIL. Python's contract for these domains is that the caller holds it, so the fast paths
 * are a pop and a push on a page's free list without lock or atomic. While one GIL is all there is, all
 * pages belong to one heap, the first.
 *
 * Before there is a second GIL (a sub-interpreter with its own), zallocator_close() is called, by any
 * thread, while the one that holds the first GIL may be anywhere in here. From then on
 *   - the fast paths lead nowhere: what they pop from is an empty page, and every page has a flag that sends
 *     frees to the slow path; there the thread asks whose heap is its own;
 *   - the first heap and its pages go on being touched only by who holds the first GIL. Each other interpreter
 *     has a heap of its own, with pages of its own, which is touched by the threads of that interpreter: one
 *     at a time, whichever GIL it has. Who is not known to be of one, and interpreters for which there is no
 *     heap left, work in the common heap, under its lock.
 *   - a block that is freed outside of its heap is returned: pushed on an atomic list, which the heap takes.
 * So no handshake is needed, and it does not matter when the holder of the first GIL notices: what it was
 * doing, or still does as if nothing had happened, touches nothing but pages that nobody else ever touches. What
 * both touch are the granules (their own lock), the flags of pages and open_page[], which change by atomic
 * steps that lose neither side's part.
 * Others see the closed state, on any processor, because the second GIL's first holder comes after the closer:
 * in the same thread, or by a lock or thread start that orders the two.
 *
 * What the heap cannot give (the range is exhausted, a commit fails) comes from zfallback.h. */
#ifndef HEAP_ZALLOCATOR_H
#define HEAP_ZALLOCATOR_H

#include "heap/zpage.h"
#include "heap/zsize_class.h"

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

/* An allocation profile, which is notified of a random sample of what is allocated.
 *
 * Small blocks are sampled without counting them one by one. Which of a class will be a sample is drawn
 * ahead, and up to there (and to a bound) the fast path gets its blocks in batches: a batch stands where
 * the current page does otherwise, and both a sample and the next batch are due when it is empty, which
 * is the exit that the fast path has in any case. What is larger, and growth by realloc, is counted by
 * the byte; neither is ever on a fast path.
 *
 * Sampled blocks lie in pages of their own, flagged: what leads their frees here is the test of page
 * flags that every free makes anyway. */
typedef struct {
  /* How many blocks of this size come before the next one that is a sample. */
  uint64_t (*blocks_before_sample)(size_t block_size);
  /* Whether these bytes, larger than a small block or gained by a realloc, are a sample. */
  bool (*is_sample)(size_t bytes);
  /* Bytes [from, to) of the block are. Not called if the heap cannot give a block to watch. */
  void (*sampled)(void *block, size_t from, size_t to);
  /* The block lies in a page of sampled blocks and is freed. */
  void (*freed)(void *block);
  /* ... is about to be moved or resized; *_moved tells where it lies after that. It may have left
   * those pages, when memory is short. The result of the first is handed to the second. */
  void *(*moving)(void *block);
  void (*moved)(void *known, void *block);
} zallocator_watcher_t;

/* From now on, for good. Before the first allocation. All are called by a thread that has a GIL; the
 * first two may be called with the common heap's lock held, the others are not. */
void zallocator_start_watch(const zallocator_watcher_t *watcher);
bool zallocator_is_sampled(const void *block);

/* Bytes of the block that a request for `size` gets, and of a block that exists; 0: not ours. */
size_t zallocator_size_for(size_t size);
size_t zallocator_size_of(const void *block);

/* Gives back what lies free within sparse pages (zsparse.h) of the caller's heap, from granule *at on, until
 * the deadline; adds to *bytes, and is true when all pages have been looked at. Under a GIL. */
bool zallocator_trim(size_t *at, uint64_t deadline_ns, size_t *bytes);
/* About how much that would be in the first heap. Any thread; walks the page table. */
size_t zallocator_sparse_bytes(void);

enum { ZALLOCATOR_FIRST, ZALLOCATOR_COMMON, ZALLOCATOR_HEAPS = 256 };

/* Any thread, before a second GIL exists; there is no way back. `holder` tells in which heap the calling
 * thread works. Of no heap but ZALLOCATOR_COMMON is it the answer for two threads at a time, and
 * ZALLOCATOR_FIRST for none that does not hold the first GIL. Called from all sides of the heap: must not
 * allocate. */
void zallocator_close(unsigned (*holder)(void));
bool zallocator_is_closed(void);

/* A heap for one more interpreter; ZALLOCATOR_COMMON when there is none. The caller sees to it that only one
 * thread is here at a time. */
unsigned zallocator_new_heap(void);

/* What zthread_heap.h remembers of a heap. */
void *zallocator_heap(unsigned number);

/* The interpreter has ended: nobody works in its heap until the caller gives it to another, with what lives in
 * it still. */
void zallocator_leave_heap(unsigned number);

void zallocator_reset_after_fork_in_child(void);

/* Called, if set, on the way through the slow path of an allocation in the first heap, about once per page:
 * the caller holds the first GIL, but nothing of Python may run. */
extern void (*zallocator_slow_hook)(void);

/* Called once, if set, when empty pages hold ZALLOCATOR_IDLE_MIN bytes: someone should see to
 * zgranules_uncommit_aged from now on. In the middle of a free in the first heap; again after a fork in the
 * child. */
extern void (*zallocator_idle_hook)(void);
#define ZALLOCATOR_IDLE_MIN (8 * ZM)

typedef struct {
  size_t used_blocks;
  size_t used_bytes;      /* in blocks handed out */
  size_t page_bytes;      /* in pages */
  size_t pages[4];        /* by zpage_kind_t */
  size_t fallback_blocks; /* blocks that the heap could not give, over all time */
} zallocator_stats_t;

/* Walks the page table (about 1 ms per 4 GiB). The first GIL for exact numbers of the first heap; any others
 * are approximate. */
void zallocator_stats(zallocator_stats_t *stats);

typedef struct {
  size_t pages, capacity, used; /* blocks there is room for, and those handed out */
} zallocator_class_t;

/* The same by size class; GC objects' own pages count with the others of the size. */
void zallocator_class_stats(zallocator_class_t classes[ZCLASS_COUNT]);

/* Checks every page of the caller's heap, and of the common one, against the equation in zpage.h; a message and
 * false where one is broken. Under a GIL. */
bool zallocator_verify(char *message, size_t size);

#endif
