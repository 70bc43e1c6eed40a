/* Large blocks: each has a page to itself, a run of as many granules as it needs.
 *
 * Such a block grows in place where the granules behind it are free. Else it moves to a place with room, by moving its
 * OS pages instead of copying where it is long enough: it will grow again, and then needs neither.
 *
 * By a thread that works in the heap. */
#ifndef HEAP_ZLARGE_H
#define HEAP_ZLARGE_H

#include "heap/zpage_pool.h"

/* NULL when memory is short. */
void *zlarge_alloc(zheap_t *heap, size_t size, bool want_zeroed);

/* The block at its old address with another size, or NULL: it stays as it is. */
void *zlarge_resize(zheap_t *heap, zpage_t *page, size_t size);

/* The block at another address, with another size, or NULL: it stays as it is. */
void *zlarge_move(zheap_t *heap, zpage_t *page, size_t size);

#endif
