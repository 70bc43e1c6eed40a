#include "heap/zold_map.h"

#include <string.h>

#include "heap/base/zos.h"
#include "heap/zheap.h"

size_t zold_map_block_header;
uint64_t *zold_map_bits;
size_t zold_map_count;
uint64_t *zold_map_frozen_bits;
size_t zold_map_frozen_words, zold_map_frozen_count;

#define FLAGS (ZPAGE_FLAG_OLD | ZPAGE_FLAG_SHIFTED)

/* Plain load and store suffice: there is one writer at a time, and readers take either value. */
static bool change(const void *object, bool value) {
  size_t unit = zold_map_unit(object);
  uint64_t *word = &zold_map_bits[unit / 64], mask = (uint64_t)1 << (unit % 64);
  uint64_t before = zload_relaxed(word);
  if (((before & mask) != 0) == value) return false;
  zstore_relaxed(word, before ^ mask);
  return true;
}

/* The bits of units [from, to) that lie in this word of the map. */
static uint64_t bits_of_word(size_t word, size_t from, size_t to) {
  uint64_t bits = zload_relaxed(&zold_map_bits[word]);
  if (word == from / 64) bits &= ~(uint64_t)0 << (from % 64);
  if (word == (to - 1) / 64) bits &= ~(uint64_t)0 >> (63 - (to - 1) % 64);
  return bits;
}

/* -- where objects start ---------------------------------------------------------------------- */

/* The page is of the object's block, which stays. */
static zalways_inline bool is_expected(const zpage_t *page, const void *object) {
  size_t offset = (size_t)((const char *)object - zpage_first_block(page));
  offset -= zpage_block_index(page, offset) * page->block_size + zold_map_block_header;
  return offset == ZOLD_HEADER_MIN || offset == ZOLD_HEADER_MAX;
}

static bool has_other(const char *start, const char *end, const void *object) {
  size_t from = zold_map_unit(start), to = zold_map_unit(end + 15), own = zold_map_unit(object);
  for (size_t word = from / 64; word <= (to - 1) / 64; word++) {
    uint64_t bits = bits_of_word(word, from, to);
    if (word == own / 64) bits &= ~((uint64_t)1 << (own % 64));
    if (bits != 0) return true;
  }
  return false;
}

static zcold bool admit_shifted(zpage_t *page, const void *object) {
  const char *start, *end;
  bool is_alone = zpage_block_of(object, &start, &end) && !has_other(start, end, object);
  if (is_alone) zpage_set_flags(page, zpage_flags(page) | ZPAGE_FLAG_SHIFTED);
  return is_alone;
}

bool zold_map_admit(const void *object) {
  if (!zgranules_is_readable(object) || ((uintptr_t)object & 15) != 0) return false;
  zpage_t *page = zpage_find(object);
  if (zpage_heap(page) != ZHEAP_FIRST) return false;
  /* Objects are larger than the distance of the two places: no other stands at the second one. */
  bool is_shifted = (zpage_flags(page) & (ZPAGE_FLAG_SHIFTED | ZPAGE_FLAG_RECUT)) != 0;
  return zlikely(!is_shifted && is_expected(page, object)) || admit_shifted(page, object);
}

bool zold_map_add(void *object) {
  zpage_t *page = zpage_find(object);
  if (zunlikely(zpage_heap(page) != ZHEAP_FIRST) || !change(object, true)) return false;
  zold_map_count++;
  if (!(zpage_flags(page) & ZPAGE_FLAG_OLD)) zpage_set_flags(page, zpage_flags(page) | ZPAGE_FLAG_OLD);
  return true;
}

/* True when it was frozen. */
static bool thaw(const void *object) {
  size_t unit = zold_map_unit(object), w = unit / 64;
  uint64_t mask = (uint64_t)1 << (unit % 64);
  if (w >= zold_map_frozen_words || !(zold_map_frozen_bits[w] & mask)) return false;
  zstore_relaxed(&zold_map_frozen_bits[w], zold_map_frozen_bits[w] ^ mask);
  zold_map_frozen_count--;
  return true;
}

void zold_map_thaw_object(const void *object) {
  if (thaw(object)) zold_map_count++;
}

/* Its bit is gone. */
static void uncount(const void *object) {
  if (zlikely(!thaw(object))) zold_map_count--;
}

void zold_map_remove(void *object) {
  if (change(object, false)) uncount(object);
}

/* -- blocks that go --------------------------------------------------------------------------- */

static void forget_object(void *object, size_t block_size) {
  if (!change(object, false)) return;
  uncount(object);
  if (zunlikely(block_size >= ZOLD_HOOK_SIZE) && zheap_hooks.old_freed != NULL) zheap_hooks.old_freed(object);
}

static zcold void forget_all(const char *start, size_t size) {
  size_t from = zold_map_unit(start), to = from + (size >> ZOLD_UNIT_SHIFT);
  for (size_t word = from / 64; word <= (to - 1) / 64; word++) {
    for (uint64_t bits = bits_of_word(word, from, to); bits != 0; bits &= bits - 1) {
      size_t unit = word * 64 + (size_t)__builtin_ctzll(bits);
      forget_object(zgranules_range.base + (unit << ZOLD_UNIT_SHIFT), size);
    }
  }
}

void zold_map_forget_block(zpage_t *page, void *block) {
  /* To the end of its last granule, where a large block has become smaller. */
  size_t size = page->block_size != 0 ? page->block_size : zalign_up(zpage_large_size(page), ZGRANULE_SIZE);
  if (zunlikely(zpage_flags(page) & ZPAGE_FLAG_SHIFTED)) {
    forget_all(block, size);
    return;
  }
  char *behind = (char *)block + zold_map_block_header;
  for (size_t header = ZOLD_HEADER_MIN; header <= ZOLD_HEADER_MAX && header < size;
       header += ZOLD_HEADER_MAX - ZOLD_HEADER_MIN) {
    forget_object(behind + header, size);
  }
}

void zold_map_forget_leftover(const void *leftover, size_t size) { forget_all(leftover, size); }

void zold_map_forget_tail(zpage_t *page, size_t from_granule, size_t to_granule) {
  if (zlikely(!(zpage_flags(page) & ZPAGE_FLAG_SHIFTED))) return;
  forget_all(zpage_start(page) + (from_granule << ZGRANULE_SHIFT), (to_granule - from_granule) << ZGRANULE_SHIFT);
}

void zold_map_clear(void) {
  size_t bytes = zgranules_range.committed_end >> ZOLD_UNIT_SHIFT >> 3;
  memset(zold_map_bits, 0, zalign_up(bytes, sizeof(uint64_t)));
  zold_map_count = zold_map_frozen_count = 0;
  zstore_relaxed(&zold_map_frozen_words, 0);
  /* Frees are fast again, which an interpreter at its end has millions of. */
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    zpage_t *page = &zpage_table[i];
    if (zpage_flags(page) & FLAGS) zpage_set_flags(page, zpage_flags(page) & ~(uint32_t)FLAGS);
  }
}

/* -- freezing ---------------------------------------------------------------------------------- */

static size_t committed_words(void) {
  return zalign_up(zgranules_range.committed_end >> ZOLD_UNIT_SHIFT, zos_page_size() * 8) / 64;
}

/* The map of a range that is committed by and by: what is never frozen takes no memory, and counts nowhere. */
static bool has_frozen_map(size_t words) {
  static size_t committed; /* bytes */
  size_t bytes = zalign_up(words * sizeof(uint64_t), zos_page_size());
  if (zold_map_frozen_bits == NULL) {
    size_t most = zgranules_range.size >> ZOLD_UNIT_SHIFT >> 3;
    zold_map_frozen_bits = zos_reserve(zalign_up(most, zos_page_size()), zos_page_size());
    if (zold_map_frozen_bits == NULL) return false;
  }
  if (bytes <= committed) return true;
  if (zos_commit((char *)zold_map_frozen_bits + committed, bytes - committed) != 0) return false;
  committed = bytes;
  return true;
}

#define WORDS_AT_ONCE 64 /* of a granule */

/* Words that are equal already, mostly because they are empty, are not written to. */
static void copy_words(size_t w) {
  uint64_t *to = zold_map_frozen_bits + w;
  const uint64_t *from = zold_map_bits + w;
  if (memcmp(to, from, WORDS_AT_ONCE * sizeof *to) == 0) return;
  for (size_t i = 0; i < WORDS_AT_ONCE; i++) zstore_relaxed(&to[i], from[i]);
}

/* Objects that are frozen already are old, too; bits of an earlier freeze go. */
bool zold_map_freeze(void) {
  size_t words = committed_words();
  if (!has_frozen_map(words)) return false;
  for (size_t w = 0; w < words; w += WORDS_AT_ONCE) copy_words(w);
  zold_map_frozen_count += zold_map_count;
  zold_map_count = 0;
  zstore_release(&zold_map_frozen_words, words);
  return true;
}

void zold_map_thaw(void) {
  zold_map_count += zold_map_frozen_count;
  zold_map_frozen_count = 0;
  zstore_relaxed(&zold_map_frozen_words, 0);
}
