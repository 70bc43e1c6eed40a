/* The pages of a heap: for each size class a current one, from which blocks come, and a list of others with free ones.
 *
 * By a thread that works in the heap (zheap.h). A page that has no free block is in no list, until one comes back.
 * An empty page goes back to the granules; but a class keeps its current page of one granule when that is empty,
 * until the heap would take memory that was never touched.
 *
 * Where the heap grows, it pays in proportion: pages of few blocks are cut again for the size that is wanted
 * (zrecut.h), and what lies free within sparse pages goes back (zsparse.h). */
#ifndef HEAP_ZPAGE_POOL_H
#define HEAP_ZPAGE_POOL_H

#include "heap/zheap.h"

/* Makes the class's current page, of those with `flags`, one with a free block; false when memory is short. */
bool zpage_pool_refill(zheap_t *heap, unsigned size_class, uint32_t flags);

/* Puts the next blocks of memory that is not in use on the page's empty free list, or those of holes; false when
 * none is left. */
bool zpage_pool_carve(zpage_t *page);

/* A block of one of the heap's pages is freed. */
void zpage_pool_free(zheap_t *heap, zpage_t *page, void *block);

/* A block of another heap is freed: it stays used there until that heap takes what was returned. Any thread. */
void zpage_pool_return(zheap_t *owner, void *block);
void zpage_pool_take_returned(zheap_t *heap);

void zpage_pool_free_page(zheap_t *heap, zpage_t *page);
void zpage_pool_free_kept(zheap_t *heap);

/* Marks entries [from, to) of a run as granules of its page. */
void zpage_pool_point_inner(const zheap_t *heap, zpage_t *page, size_t from, size_t to);

/* The heap has taken so many granules that were never touched. */
void zpage_pool_grown(zheap_t *heap, size_t granules);

/* Gives back what lies free within a sparse page, if it is this heap's and may have holes. Bytes. */
size_t zpage_pool_trim(zheap_t *heap, zpage_t *page);

void zpage_pool_reset_after_fork_in_child(void);

#endif
