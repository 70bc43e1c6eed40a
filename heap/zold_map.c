#include "heap/zold_map.h"

#include <string.h>

#include "heap/zallocator.h"

size_t zold_map_block_header;
uint64_t *zold_map_bits;
size_t zold_map_count;
void (*zold_map_free_hook)(void *object);

/* Plain load and store suffice: there is one writer at a time, and readers take either value. */
static bool change(const void *object, bool value) {
  size_t unit = zold_map_unit(object);
  uint64_t *word = &zold_map_bits[unit / 64], mask = (uint64_t)1 << (unit % 64);
  uint64_t before = zload_relaxed(word);
  if (((before & mask) != 0) == value) return false;
  zstore_relaxed(word, before ^ mask);
  return true;
}

bool zold_map_add(void *object) {
  zpage_t *page = zpage_find(object);
  if (zunlikely(zpage_heap(page) != ZALLOCATOR_FIRST) || !change(object, true)) return false;
  zold_map_count++;
  if (!(page->flags & ZPAGE_FLAG_OLD)) zpage_set_flags(page, page->flags | ZPAGE_FLAG_OLD);
  return true;
}

void zold_map_remove(void *object) {
  if (change(object, false)) zold_map_count--;
}

void zold_map_forget_block(zpage_t *page, void *block) {
  size_t size = page->block_size != 0 ? page->block_size : zpage_large_size(page);
  char *behind = (char *)block + zold_map_block_header;
  for (size_t header = ZOLD_HEADER_MIN; header <= ZOLD_HEADER_MAX && header < size;
       header += ZOLD_HEADER_MAX - ZOLD_HEADER_MIN) {
    char *object = behind + header;
    if (!change(object, false)) continue;
    zold_map_count--;
    if (zunlikely(size >= ZOLD_HOOK_SIZE) && zold_map_free_hook != NULL) zold_map_free_hook(object);
  }
}

void zold_map_clear(void) {
  size_t bytes = zgranules_range.committed_end >> ZOLD_UNIT_SHIFT >> 3;
  memset(zold_map_bits, 0, zalign_up(bytes, sizeof(uint64_t)));
  zold_map_count = 0;
  /* Frees are fast again, which an interpreter at its end has millions of. */
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    zpage_t *page = &zpage_table[i];
    if (page->flags & ZPAGE_FLAG_OLD) zpage_set_flags(page, page->flags & ~(uint32_t)ZPAGE_FLAG_OLD);
  }
}
