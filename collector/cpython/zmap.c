#include "collector/cpython/zmap.h"

#include "heap/base/zos.h"

#define FIRST_SIZE 256

static size_t slot_of(uint64_t key, size_t mask) {
  return (size_t)(key * 0x9E3779B97F4A7C15u >> 24) & mask;
}

int64_t *zmap_find(const zmap_t *map, uint64_t key) {
  if (map->entries == NULL) return NULL;
  for (size_t i = slot_of(key, map->mask);; i = (i + 1) & map->mask) {
    if (map->entries[i].key == key) return &map->entries[i].value;
    if (map->entries[i].key == 0) return NULL;
  }
}

static int64_t *put(zmap_t *map, uint64_t key) {
  size_t i = slot_of(key, map->mask);
  while (map->entries[i].key != 0) i = (i + 1) & map->mask;
  map->entries[i].key = key;
  map->count++;
  return &map->entries[i].value;
}

static size_t bytes(size_t mask) { return (mask + 1) * sizeof(zmap_entry_t); }

static bool grow(zmap_t *map) {
  zmap_t larger = {.mask = map->entries == NULL ? FIRST_SIZE - 1 : map->mask * 2 + 1};
  larger.entries = zos_scratch_map(bytes(larger.mask));
  if (larger.entries == NULL) return false;
  for (size_t i = 0; map->entries != NULL && i <= map->mask; i++) {
    if (map->entries[i].key != 0) *put(&larger, map->entries[i].key) = map->entries[i].value;
  }
  zmap_free(map);
  *map = larger;
  return true;
}

int64_t *zmap_insert(zmap_t *map, uint64_t key) {
  int64_t *found = zmap_find(map, key);
  if (found != NULL) return found;
  if ((map->entries == NULL || map->count * 2 > map->mask) && !grow(map)) return NULL;
  return put(map, key);
}

void zmap_free(zmap_t *map) {
  if (map->entries != NULL) zos_table_unmap(map->entries, bytes(map->mask));
  *map = (zmap_t){0};
}
