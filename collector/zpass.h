/* Passes: trial deletion over a set of old objects, by a thread without the GIL, while the program
 * runs (or by several while it is stopped).
 *
 * What a pass does. For each member of the set: refcount, minus references from other members. A
 * member with a rest is held from outside; what is reachable from those is alive; the others are the
 * candidates. This is CPython's own algorithm (Modules/gcmodule.c, deduce_unreachable), and it is
 * right for any set whatever: what is outside counts as holding.
 *
 * Why racy reading is enough. The verdict is not ours: candidates are fed to CPython's own young
 * collection, which runs the same arithmetic exactly (zfeed.h). A pass has to satisfy only this:
 *   - garbage stays in. Unreachable objects cannot change: no one has a reference to do it with. So
 *     their refcounts and edges hold still, whenever they are read, and no pass drops them, except
 *     where a stray edge read from an object in motion marks one: the next collection finds it.
 *   - live objects drop out soon. A reference moved behind the pass's back can leave its target
 *     unaccounted for, once. In the next pass, over the candidates only, its holder is outside.
 *
 * Side tables. Counts live in 16-bit cells, one per block of each page that holds old objects, found
 * through a table made at the start of the collection; PyGC_Head is never written. A cell is
 *     0 not a member | 1 + references not accounted for | 0xFFFE marked | 0xFFFF see `big`
 * The page table is a snapshot, so that a page cut anew meanwhile cannot lead outside the cells.
 *
 * Threads: a zpass_t belongs to the thread that drives the collection, except `deferred` while it is
 * lent to a safepoint (zdeferred.h). */
#ifndef COLLECTOR_ZPASS_H
#define COLLECTOR_ZPASS_H

#include "collector/zdeferred.h"
#include "collector/zmap.h"
#include "collector/zpyabi.h"

typedef struct {
  uint32_t first;      /* first cell of the page, 0: none */
  uint32_t back;       /* granules back to the page's first one */
  uint64_t reciprocal; /* as in zpage_t */
} zcell_page_t;

typedef struct {
  zcell_page_t *pages; /* one per granule */
  size_t granules;
  uint16_t *cells;
  size_t cell_count;
  zmap_t big;          /* cell -> count, where it does not fit */
  uint64_t big_cell;   /* the one used last: a popular class gets a reference per instance */
  int64_t *big_count;
  PyObject **candidates; /* NULL: members are all old objects (the first pass) */
  size_t candidate_count, members;
  PyObject **stack;
  size_t stack_top, stack_size;
  size_t candidates_size;
  zdeferred_t deferred;
  const bool *stop; /* polled: abandon soon when it becomes true */
  bool failed;      /* memory for a table was short */
} zpass_t;

/* Snapshots the page table and maps the cells. False when memory is short. */
bool zpass_begin(zpass_t *pass, const bool *stop);

/* The steps of one pass, in this order. Each returns false when it was told to stop or failed.
 * After zpass_subtract, the driver has pass->deferred served before zpass_mark. */
bool zpass_count(zpass_t *pass);
bool zpass_subtract(zpass_t *pass);
bool zpass_mark(zpass_t *pass);
bool zpass_sweep(zpass_t *pass); /* leaves the members not reached in `candidates` */

/* Gives all tables back, also those of the candidates. */
void zpass_end(zpass_t *pass);

/* Cell of an address, or 0. */
static inline size_t zpass_cell(const zpass_t *pass, const void *address) {
  size_t offset = (size_t)((const char *)address - zgranules_range.base);
  size_t granule = offset >> ZGRANULE_SHIFT;
  if (granule >= pass->granules) return 0;
  const zcell_page_t *page = &pass->pages[granule];
  if (page->first == 0) return 0;
  size_t in_page = offset - ((granule - page->back) << ZGRANULE_SHIFT);
  return page->first + (size_t)((in_page * page->reciprocal) >> ZPAGE_RECIPROCAL_SHIFT);
}

#endif
