/* Memory within a page of which few blocks are left.
 *
 * Objects that die at random leave hardly any page empty, but many OS pages (4 KiB) on which no live block
 * lies. Those go back to the system: they are the page's holes, and the blocks that touch one are in no
 * free list until the page has nothing else to give.
 *
 * Pages of few granules only. The caller works in the page's heap, where nothing else is said. */
#ifndef HEAP_ZSPARSE_H
#define HEAP_ZSPARSE_H

#include "heap/zpage.h"

/* About how many bytes zsparse_give_back could give back; 0 if it is not worth its time, or if not much
 * has been freed since the last time. Any thread: outside of the page's heap it is a guess. */
size_t zsparse_bytes(const zpage_t *page);

/* Bytes given back. The page is neither empty nor one that blocks are being taken from. */
size_t zsparse_give_back(zpage_t *page);

/* Puts blocks of holes on the page's empty free list; false when there are none. */
bool zsparse_take_back(zpage_t *page);

/* The page is being freed. */
void zsparse_forget(zpage_t *page);

/* Bytes of all holes. Any thread. */
size_t zsparse_hole_bytes(void);

/* Whether block i is in no free list because it touches a hole; how many are. */
bool zsparse_is_away(const zpage_t *page, size_t i);
uint32_t zsparse_blocks(const zpage_t *page);

#endif
