#include "collector/zcells.h"

#include <string.h>

#include "heap/base/zos.h"

/* Granules and blocks of the page that starts at granule g, from one racy read of its block size. */
static bool page_shape(size_t g, size_t limit, size_t *granules, size_t *blocks,
                       uint64_t *reciprocal) {
  const zpage_t *page = &zpage_table[g];
  if (zload_relaxed(&page->inner) != 0 || !(zload_relaxed(&page->flags) & ZPAGE_FLAG_OLD)) {
    return false;
  }
  size_t block_size = zload_relaxed(&page->block_size);
  if (block_size != 0) {
    *granules = zpage_granules_of(block_size);
    *blocks = *granules * ZGRANULE_SIZE / block_size;
    *reciprocal = zpage_reciprocal(block_size);
  } else {
    *granules = zpage_large_size(page) >> ZGRANULE_SHIFT;
    *blocks = 1;
    *reciprocal = 0;
  }
  return *granules > 0 && *granules <= limit - g;
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
    size_t granules, blocks;
    uint64_t reciprocal;
    if (!page_shape(g, cells->granules, &granules, &blocks, &reciprocal)) {
      g++;
      continue;
    }
    for (size_t i = 0; i < granules; i++) {
      cells->pages[g + i] = (zcells_page_t){(uint32_t)next, (uint32_t)i, reciprocal};
    }
    next += blocks + 1; /* rounding of the reciprocal may name one past the last */
    g += granules;
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
