#include "collector/cpython/zcells.h"

#include <string.h>

#include "heap/base/zos.h"

typedef struct {
  size_t granules, cells, shift;
  uint64_t reciprocal;
} shape_t;

/* Of the page that starts at granule g, from one racy read of its block size. */
static bool page_shape(size_t g, size_t limit, shape_t *shape) {
  const zpage_t *page = &zpage_table[g];
  if (zload_relaxed(&page->inner) != 0 || !(zload_relaxed(&page->flags) & ZPAGE_FLAG_OLD)) {
    return false;
  }
  size_t block_size = zload_relaxed(&page->block_size), lead = zload_relaxed(&page->lead);
  if (block_size != 0) {
    shape->granules = zpage_granules_of(block_size);
    shape->shift = lead < block_size ? block_size - lead : 0;
    shape->reciprocal = zpage_reciprocal(block_size);
    /* One for each block, and for what is before the first and behind the last. */
    shape->cells = (shape->granules * ZGRANULE_SIZE + shape->shift) / block_size + 1;
  } else {
    *shape = (shape_t){zalign_up(zpage_large_size(page), ZGRANULE_SIZE) >> ZGRANULE_SHIFT, 1, 0, 0};
  }
  return shape->granules > 0 && shape->granules <= limit - g;
}

static size_t pages_bytes(const zcells_t *cells) {
  return cells->granules * sizeof(zcells_page_t) + 1;
}

bool zcells_map(zcells_t *cells) {
  memset(cells, 0, sizeof *cells);
  cells->granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  cells->pages = zos_scratch_map(pages_bytes(cells));
  if (cells->pages == NULL) return false;
  size_t next = 1; /* cell 0 means "none" */
  for (size_t g = 0; g < cells->granules;) {
    shape_t shape;
    if (!page_shape(g, cells->granules, &shape)) {
      g++;
      continue;
    }
    for (size_t i = 0; i < shape.granules; i++) {
      size_t shift = shape.reciprocal == 0 ? 0 : (i << ZGRANULE_SHIFT) + shape.shift;
      cells->pages[g + i] = (zcells_page_t){(uint32_t)next, (uint32_t)shift, shape.reciprocal};
    }
    next += shape.cells;
    g += shape.granules;
  }
  cells->count = next;
  cells->values = zos_scratch_map(next);
  return cells->values != NULL;
}

void zcells_unmap(zcells_t *cells) {
  zos_table_unmap(cells->pages, pages_bytes(cells));
  zos_table_unmap(cells->values, cells->count);
  memset(cells, 0, sizeof *cells);
}
