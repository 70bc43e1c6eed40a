#include "heap/zsparse.h"

#include "heap/base/zos.h"

#define OS_PAGES 16u /* bits of zpage_t.holes */
#define GRANULES_MAX (OS_PAGES * ZOS_PAGE_MIN / ZGRANULE_SIZE)
#define HOPE 3 /* the share of OS pages without a live block that is worth a look: e^-3, 5 % */
#define CAPACITY_MAX (ZGRANULE_SIZE / ZBLOCK_ALIGNMENT)

_Static_assert(OS_PAGES == 8 * sizeof((zpage_t){0}.holes), "a bit for each");

static size_t hole_bytes; /* of all pages; relaxed */

static inline unsigned os_shift(void) { return zlog2(zos_page_size()); }

/* OS pages that block i lies on, as bits. */
static uint32_t pages_of_block(const zpage_t *page, size_t i) {
  size_t start = zpage_lead(page) + i * page->block_size, end = start + page->block_size - 1;
  uint32_t up_to_last = (2u << (end >> os_shift())) - 1;
  return up_to_last & ~(uint32_t)((1u << (start >> os_shift())) - 1);
}

/* If live blocks lie at random, an OS page has none with a chance of e^-(share of blocks in use * blocks
 * that touch it). Blocks that died since the last time make it worth to look again. */
size_t zsparse_bytes(const zpage_t *page) {
  uint32_t block_size = zload_relaxed(&page->block_size), capacity = zload_relaxed(&page->capacity);
  uint32_t used = zload_relaxed(&page->used), looked_at = zload_relaxed(&page->looked_at);
  if (block_size == 0 || capacity == 0 || used == 0 || zload_relaxed(&page->inner) != 0) return 0;
  if (zpage_flags(page) & (ZPAGE_FLAG_FULL | ZPAGE_FLAG_SAMPLED)) return 0;
  if (used > looked_at - (looked_at + 3) / 4 && looked_at != 0) return 0;
  size_t touching = ((size_t)1 << os_shift()) / block_size + 2;
  if (used >= capacity || used * touching >= (size_t)HOPE * capacity) return 0;
  if (zpage_granules_of(block_size) > GRANULES_MAX || zos_page_size() > ZGRANULE_SIZE) return 0;
  return (size_t)(zload_relaxed(&page->carved) - zmin(used, zload_relaxed(&page->carved))) * block_size / HOPE;
}

static void push(zpage_t *page, size_t i) {
  zblock_t *block = (zblock_t *)(zpage_first_block(page) + i * page->block_size);
  block->next = page->free;
  page->free = block;
}

/* Gives these OS pages back; a bit for each that the kernel took. */
static uint32_t uncommit(const zpage_t *page, uint32_t pages) {
  uint32_t gone = 0;
  for (size_t from = 0, to; from < OS_PAGES; from = to + 1) {
    for (to = from; to < OS_PAGES && pages >> to & 1; to++) continue;
    char *start = zpage_start(page) + (from << os_shift());
    if (to > from && zos_uncommit(start, (to - from) << os_shift()) == 0) {
      gone |= ((1u << to) - 1) & ~((1u << from) - 1);
    }
  }
  return gone;
}

bool zsparse_is_away(const zpage_t *page, size_t i) {
  return page->holes != 0 && i < page->carved && (pages_of_block(page, i) & page->holes) != 0;
}

size_t zsparse_give_back(zpage_t *page) {
  uint32_t live = 0; /* OS pages with a block that is in use, or was never handed out */
  uint64_t is_free[CAPACITY_MAX / 64] = {0};
  const char *first = zpage_first_block(page);
  for (const zblock_t *b = page->free; b != NULL; b = b->next) {
    size_t i = zpage_block_index(page, (size_t)((const char *)b - first));
    is_free[i / 64] |= (uint64_t)1 << (i % 64);
  }
  uint32_t touched = 0;
  for (size_t i = 0; i < page->capacity; i++) {
    uint32_t pages = pages_of_block(page, i);
    touched |= pages;
    if (!zsparse_is_away(page, i) && !(is_free[i / 64] >> (i % 64) & 1)) live |= pages;
  }
  zstore_relaxed(&page->looked_at, (uint16_t)page->used);
  uint32_t holes = uncommit(page, touched & ~live & ~(uint32_t)page->holes);
  if (holes == 0) return 0;
  page->holes |= (uint16_t)holes;
  page->free = NULL; /* what is left goes on it in the order of addresses */
  for (size_t i = page->carved; i-- > 0;) {
    if (is_free[i / 64] >> (i % 64) & 1 && (pages_of_block(page, i) & page->holes) == 0) push(page, i);
  }
  size_t bytes = (size_t)__builtin_popcount(holes) << os_shift();
  zfetch_add_relaxed(&hole_bytes, bytes);
  return bytes;
}

bool zsparse_take_back(zpage_t *page) {
  while (page->holes != 0 && page->free == NULL) {
    uint32_t hole = page->holes & -(uint32_t)page->holes; /* the lowest */
    page->holes &= (uint16_t)~hole;
    zfetch_add_relaxed(&hole_bytes, -((size_t)1 << os_shift()));
    zstore_relaxed(&page->looked_at, 0); /* what dies from now on can leave this one free again */
    for (size_t i = page->carved; i-- > 0;) {
      uint32_t pages = pages_of_block(page, i);
      if (pages & hole && (pages & page->holes) == 0) push(page, i);
    }
  }
  return page->free != NULL;
}

void zsparse_forget(zpage_t *page) {
  if (page->holes == 0) return;
  zfetch_add_relaxed(&hole_bytes, -((size_t)__builtin_popcount(page->holes) << os_shift()));
  page->holes = 0;
}

size_t zsparse_hole_bytes(void) { return zload_relaxed(&hole_bytes); }

uint32_t zsparse_blocks(const zpage_t *page) {
  uint32_t count = 0;
  if (page->holes == 0) return 0;
  for (size_t i = 0; i < page->carved; i++) count += zsparse_is_away(page, i);
  return count;
}
