/* Cells: the side table of a collection, one byte per block of each page that holds old objects.
 *
 * The page table is a snapshot taken at the start, so that a page that is divided differently meanwhile cannot lead
 * outside the cells; an address that has moved into another page shares a cell with a stranger,
 * which costs time and nothing else (zpass.h).
 *
 * Threads: mapped and unmapped by the thread that drives the collection; read by both lanes. */
#ifndef COLLECTOR_CPYTHON_ZCELLS_H
#define COLLECTOR_CPYTHON_ZCELLS_H

#include "heap/zpage.h"

typedef struct {
  uint32_t first;      /* first cell of the page, 0: none */
  uint32_t shift;      /* bytes from before the first block, a block's size at most, to the granule */
  uint64_t reciprocal; /* as in zpage_t */
} zcells_page_t;

typedef struct {
  zcells_page_t *pages; /* one per granule */
  size_t granules;
  uint8_t *values;
  size_t count;
} zcells_t;

/* Snapshots the page table and maps a zeroed cell per block. False when memory is short. */
bool zcells_map(zcells_t *cells);
void zcells_unmap(zcells_t *cells);

/* The part that a loop over many addresses keeps in registers. */
typedef struct {
  const char *base;
  const zcells_page_t *pages;
  size_t granules;
} zcells_view_t;

static inline zcells_view_t zcells_view(const zcells_t *cells) {
  return (zcells_view_t){zgranules_range.base, cells->pages, cells->granules};
}

/* Number of an address's cell, or 0. */
static zalways_inline size_t zcells_view_index(zcells_view_t view, const void *address) {
  size_t offset = (size_t)((const char *)address - view.base);
  size_t granule = offset >> ZGRANULE_SHIFT;
  if (granule >= view.granules) return 0;
  const zcells_page_t *page = &view.pages[granule];
  if (page->first == 0) return 0;
  size_t in_page = (offset & (ZGRANULE_SIZE - 1)) + page->shift;
  return page->first + (size_t)((in_page * page->reciprocal) >> ZPAGE_RECIPROCAL_SHIFT);
}

static inline size_t zcells_index(const zcells_t *cells, const void *address) {
  return zcells_view_index(zcells_view(cells), address);
}

#endif
