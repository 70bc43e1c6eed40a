/* An allocation profile, which is notified of a random sample of what is allocated.
 *
 * Small blocks are sampled without counting them one by one. Which of a class will be a sample is drawn
 * ahead, and up to there (and to a bound) the fast path gets its blocks in batches. A batch takes the place of
 * the current page, and both a sample and the next batch are due when it is empty: that is the exit which
 * the fast path has in any case. Larger blocks, and growth by realloc, are counted by the byte; neither is
 * ever on a fast path.
 *
 * Sampled blocks lie in flagged pages of their own: the test of page flags that every free makes anyway
 * leads their frees here.
 *
 * By a thread that works in the heap, if nothing else is said. */
#ifndef HEAP_ZSAMPLER_H
#define HEAP_ZSAMPLER_H

#include "heap/zpage_pool.h"

typedef struct {
  /* How many blocks of this size come before the next one that is a sample. */
  uint64_t (*blocks_before_sample)(size_t block_size);
  /* Whether these bytes, larger than a small block or gained by a realloc, are a sample. */
  bool (*is_sample)(size_t bytes);
  /* Bytes [from, to) of the block are. Not called if the heap cannot give a block to watch. */
  void (*sampled)(void *block, size_t from, size_t to);
  /* The block lies in a page of sampled blocks and is freed. */
  void (*freed)(void *block);
  /* ... is about to be moved or resized; `moved` is called with where it lies after that. It may have left
   * those pages, when memory is short. The result of the first is handed to the second. */
  void *(*moving)(void *block);
  void (*moved)(void *known, void *block);
} zsampler_watcher_t;

extern const zsampler_watcher_t *zsampler_watcher; /* NULL: nothing is sampled */

/* From now on, for good. Before the first allocation. All are called by a thread that has a GIL; the
 * first two may be called with the common heap's lock held, the others are not. */
void zsampler_start(const zsampler_watcher_t *watcher);

/* A heap that was made later. */
void zsampler_start_heap(zheap_t *heap);

/* Makes the next batch of a small class, and hands out its first block; NULL when memory is short. */
void *zsampler_take(zheap_t *heap, unsigned size_class);

/* Whether the block that is about to be allocated is a sample. A small block that moves may take a turn that was drawn
 * for a sample: then there is none, which leaves the others' chances as they are. */
bool zsampler_is_due(zheap_t *heap, size_t size, unsigned first_class, bool is_moved);

/* Blocks of the class that lie in batches, of all heaps. Any thread. */
size_t zsampler_waiting(unsigned size_class);

#endif
