/* Pages that are cut again, into blocks of another size, around the few blocks that are still in use.
 *
 * A program whose objects change in size from phase to phase, and which keeps a few of each, leaves a block here
 * and there: each keeps an OS page from all other sizes, for as long as it lives. malloc, from which CPython takes
 * blocks of more than 512 bytes, joins what is free between two such blocks. So do we, where the heap would take
 * new memory: what is in use becomes a leftover (zpage.h), and the blocks of the new size that no leftover lies in
 * are handed out. The others count as used until the leftovers in them are freed.
 *
 * Frees in such a page take the slow path, for which there is no way to tell a leftover from a block but to look.
 *
 * Collector threads read a page's shape at any time, and may see a mixture of the two. That a walk's bounds are too
 * narrow for a moment costs time, never correctness, as where a page is freed and made again (zpage.h). But what a
 * collection knows of an object it knows by block: so a page with old objects is not cut again, and no two leftovers
 * start in one block of the new size.
 *
 * By a thread that works in the page's heap. Pages of one granule, and of blocks larger than ZRECUT_BLOCK_MIN. */
#ifndef HEAP_ZRECUT_H
#define HEAP_ZRECUT_H

#include "heap/zpage.h"

#define ZRECUT_BLOCK_MIN ((size_t)512) /* bytes, not included: pymalloc keeps its pools of smaller ones apart, too */

/* How a page would be cut. */
typedef struct {
  zpage_leftovers_t leftovers;
  uint32_t covered; /* blocks of the new size that a leftover lies in */
  uint32_t capacity;
} zrecut_t;

/* False: the page does not qualify, or too little would come of it. Not for the current page of
 * a class, nor for a full one. */
bool zrecut_plan(const zpage_t *page, unsigned size_class, zrecut_t *plan);

/* The page, in no list by now, has blocks of this class on its free list. */
void zrecut_page(zpage_t *page, unsigned size_class, const zrecut_t *plan);

/* Bytes of a leftover that starts here, in a page with ZPAGE_FLAG_RECUT; 0: it is a block of the page's size. */
size_t zrecut_leftover_size(const zpage_t *page, const void *block);

/* The leftover that starts here is freed. How many blocks came on the page's free list. */
uint32_t zrecut_free(zpage_t *page, const void *leftover);

#endif
