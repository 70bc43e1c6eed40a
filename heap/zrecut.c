#include "heap/zrecut.h"

#include "heap/zsparse.h"

#define USED_SHARE 2 /* of a page's blocks may be in use, and of the new ones covered */
#define REFUSED (ZPAGE_FLAG_OLD | ZPAGE_FLAG_FULL | ZPAGE_FLAG_SPECIAL | ZPAGE_FLAG_SAMPLED | ZPAGE_FLAG_SHIFTED)

_Static_assert(ZGRANULE_SIZE / (ZRECUT_BLOCK_MIN + ZBLOCK_ALIGNMENT) < 32, "a bit for each block");

/* `count` is at most 32. */
static uint32_t first_bits(size_t count) { return (uint32_t)(((uint64_t)1 << count) - 1); }

/* -- leftovers and blocks -------------------------------------------------------------------- */

static size_t leftover_end(uint32_t word) { return zpage_leftover_start(word) + zpage_leftover_size(word); }

/* The blocks from offset 0 on that a leftover lies in; one behind the last for what is behind them. */
static uint32_t covered_by(uint32_t word, size_t block_size) {
  if (word == 0) return 0;
  size_t first = zpage_leftover_start(word) / block_size, last = (leftover_end(word) - 1) / block_size;
  return first_bits(last + 1) & ~first_bits(first);
}

static uint32_t covered_by_all(const zpage_leftovers_t *leftovers, size_t block_size) {
  uint32_t covered = 0;
  for (size_t i = 0; i < ZPAGE_LEFTOVERS; i++) covered |= covered_by(leftovers->words[i], block_size);
  return covered;
}

/* Whether each starts in a block, which another one does not start in. One that lies behind the last block would
 * not count as used. */
static bool start_apart(const zpage_leftovers_t *leftovers, size_t block_size, uint32_t capacity) {
  uint32_t starts = 0;
  for (size_t i = 0; i < ZPAGE_LEFTOVERS && leftovers->words[i] != 0; i++) {
    size_t block = zpage_leftover_start(leftovers->words[i]) / block_size;
    if (block >= capacity || starts >> block & 1) return false;
    starts |= (uint32_t)1 << block;
  }
  return true;
}

/* -- plans ------------------------------------------------------------------------------------ */

static bool qualifies(const zpage_t *page) {
  if (page->block_size <= ZRECUT_BLOCK_MIN || page->capacity == 0 || zpage_flags(page) & REFUSED) return false;
  return page->size_class < ZCLASS_COUNT && page->used > 0 && page->used * USED_SHARE <= page->capacity;
}

/* A bit for each block that is handed out or covered. */
static uint32_t blocks_in_use(const zpage_t *page) {
  uint32_t in_use = first_bits(page->carved);
  const char *first = zpage_first_block(page);
  for (const zblock_t *b = page->free; b != NULL; b = b->next) {
    in_use &= ~((uint32_t)1 << zpage_block_index(page, (size_t)((const char *)b - first)));
  }
  for (size_t i = 0; i < page->carved; i++) {
    if (zsparse_is_away(page, i)) in_use &= ~((uint32_t)1 << i);
  }
  return in_use;
}

static size_t note_known(const zpage_t *page, zpage_leftovers_t *leftovers) {
  size_t count = 0;
  if (!(zpage_flags(page) & ZPAGE_FLAG_RECUT)) return 0;
  for (size_t i = 0; i < ZPAGE_LEFTOVERS; i++) {
    uint32_t word = zpage_leftovers(page)->words[i];
    if (word != 0) leftovers->words[count++] = word;
  }
  return count;
}

/* False when there are too many. */
static bool note_leftovers(const zpage_t *page, zpage_leftovers_t *leftovers) {
  size_t count = note_known(page, leftovers);
  uint32_t in_use = blocks_in_use(page) & ~covered_by_all(leftovers, page->block_size);
  for (; in_use != 0; in_use &= in_use - 1) {
    if (count == ZPAGE_LEFTOVERS) return false;
    size_t start = zpage_lead(page) + (size_t)__builtin_ctz(in_use) * page->block_size;
    leftovers->words[count++] = (uint32_t)(start << ZPAGE_LEFTOVER_SHIFT | page->block_size);
  }
  return true;
}

bool zrecut_plan(const zpage_t *page, unsigned size_class, zrecut_t *plan) {
  if (!qualifies(page)) return false;
  size_t block_size = zsize_class_block_size(size_class);
  *plan = (zrecut_t){.capacity = (uint32_t)(ZGRANULE_SIZE / block_size)};
  if (!note_leftovers(page, &plan->leftovers)) return false;
  if (!start_apart(&plan->leftovers, block_size, plan->capacity)) return false;
  plan->covered = covered_by_all(&plan->leftovers, block_size) & first_bits(plan->capacity);
  return (uint32_t)__builtin_popcount(plan->covered) * USED_SHARE <= plan->capacity * (USED_SHARE - 1);
}

/* -- cutting ---------------------------------------------------------------------------------- */

/* In the order of addresses. */
static void push_all(zpage_t *page, uint32_t blocks) {
  while (blocks != 0) {
    unsigned last = 31 - (unsigned)__builtin_clz(blocks);
    zblock_t *block = (zblock_t *)(zpage_start(page) + (size_t)last * page->block_size);
    block->next = page->free;
    page->free = block;
    blocks ^= (uint32_t)1 << last;
  }
}

static void set_leftovers(zpage_t *page, const zpage_leftovers_t *leftovers) {
  for (size_t i = 0; i < ZPAGE_LEFTOVERS; i++) {
    zstore_relaxed(&zpage_leftovers(page)->words[i], leftovers->words[i]);
  }
}

void zrecut_page(zpage_t *page, unsigned size_class, const zrecut_t *plan) {
  size_t block_size = zsize_class_block_size(size_class);
  zsparse_forget(page);
  set_leftovers(page, &plan->leftovers);
  zstore_relaxed(&page->lead, ZPAGE_LEAD_RECUT);
  zstore_relaxed(&page->reciprocal, zpage_reciprocal(block_size));
  zstore_relaxed(&page->block_size, (uint32_t)block_size);
  zstore_relaxed(&page->capacity, plan->capacity);
  zpage_set_flags(page, zpage_flags(page) | ZPAGE_FLAG_RECUT);
  page->size_class = (uint16_t)size_class;
  zstore_relaxed(&page->carved, plan->capacity);
  zstore_relaxed(&page->used, (uint32_t)__builtin_popcount(plan->covered));
  zstore_relaxed(&page->looked_at, 0);
  page->free = NULL;
  push_all(page, first_bits(plan->capacity) & ~plan->covered);
}

/* -- leftovers that go ------------------------------------------------------------------------ */

/* The word, or NULL. */
static uint32_t *leftover_at(const zpage_t *page, const void *block) {
  size_t start = (size_t)((const char *)block - zpage_start(page));
  for (size_t i = 0; i < ZPAGE_LEFTOVERS; i++) {
    uint32_t *word = &zpage_leftovers(page)->words[i];
    if (*word != 0 && zpage_leftover_start(*word) == start) return word;
  }
  return NULL;
}

size_t zrecut_leftover_size(const zpage_t *page, const void *block) {
  const uint32_t *word = leftover_at(page, block);
  return word != NULL ? zpage_leftover_size(*word) : 0;
}

static bool has_none(const zpage_leftovers_t *leftovers) {
  uint32_t any = 0;
  for (size_t i = 0; i < ZPAGE_LEFTOVERS; i++) any |= leftovers->words[i];
  return any == 0;
}

uint32_t zrecut_free(zpage_t *page, const void *leftover) {
  uint32_t *word = leftover_at(page, leftover);
  uint32_t blocks = covered_by(*word, page->block_size) & first_bits(page->capacity);
  zstore_relaxed(word, 0);
  blocks &= ~covered_by_all(zpage_leftovers(page), page->block_size);
  push_all(page, blocks);
  uint32_t count = (uint32_t)__builtin_popcount(blocks);
  page->used -= count;
  if (!has_none(zpage_leftovers(page))) return count;
  zpage_set_flags(page, zpage_flags(page) & ~(uint32_t)ZPAGE_FLAG_RECUT);
  zstore_relaxed(&page->lead, 0);
  return count;
}
