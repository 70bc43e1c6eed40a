#include "heap/zpage.h"

zpage_t *zpage_table;
zpage_leftovers_t *zpage_leftover_table;

bool zpage_block_of_recut(const zpage_t *page, const void *address, const char **start, const char **end) {
  const char *first = zpage_start(page);
  size_t block_size = zload_relaxed(&page->block_size), offset = (size_t)((const char *)address - first);
  if (zload_relaxed(&page->lead) != ZPAGE_LEAD_RECUT || block_size == 0) return false;
  for (size_t i = 0; i < ZPAGE_LEFTOVERS; i++) {
    uint32_t word = zload_relaxed(&zpage_leftovers(page)->words[i]);
    if (offset - zpage_leftover_start(word) >= zpage_leftover_size(word)) continue;
    *start = first + zpage_leftover_start(word);
    *end = *start + zpage_leftover_size(word);
    return true;
  }
  return zpage_grid_block(page, address, first, block_size, start, end);
}

const char *zpage_kind_name(const zpage_t *page) {
  static const char *const names[] = {"none", "small", "medium", "large"};
  return names[zpage_kind(page)];
}
