#include "collector/managed/zrelocation_set.h"

#include <stdlib.h>
#include <string.h>

#include "heap/base/zlog.h"
#include "heap/base/zos.h"

zrelocation_set_t zrelocation_sets[2];

/* Lists of page indexes, sized for the whole space; kept in one table. */
static struct {
  uint32_t *sparse[2];
  size_t sparse_count[2];
  uint32_t *promoted;
  size_t promoted_count;
  size_t bytes;
} lists;

static bool ensure_lists(void) {
  if (lists.promoted != NULL) return true;
  lists.bytes = zbody_space.unit_limit * sizeof(uint32_t) * 3;
  uint32_t *table = zos_table_map(lists.bytes);
  if (table == NULL) return false;
  lists.sparse[0] = table;
  lists.sparse[1] = table + zbody_space.unit_limit;
  lists.promoted = table + 2 * zbody_space.unit_limit;
  return true;
}

static uint8_t next_age(uint8_t age, bool tenure) {
  if (tenure || age >= ZAGE_SURVIVOR_LAST) return ZAGE_OLD;
  return (uint8_t)(age + 1);
}

static bool is_sparse(const zbody_page_t *page) {
  if (page->kind == ZBODY_PAGE_LARGE) return false;
  return page->live_bytes * 100 < zbody_page_size(page) * (100 - ZRELOCATION_GARBAGE_PERCENT);
}

static void flip_age(zbody_page_t *page, bool tenure) {
  if (page->age == ZAGE_OLD) return;
  uint8_t age = next_age(page->age, tenure);
  if (age != ZAGE_OLD) {
    zstore_release(&page->age, age);
    return;
  }
  zbody_page_set_old(page);
  lists.promoted[lists.promoted_count++] = (uint32_t)zbody_page_index(page);
}

static int by_live(const void *a, const void *b) {
  uint64_t x = zbody_space.pages[*(const uint32_t *)a].live_bytes;
  uint64_t y = zbody_space.pages[*(const uint32_t *)b].live_bytes;
  return x < y ? -1 : x > y;
}

/* One block of memory for the tables of all sparse pages of a generation; as many pages as get one. */
static void build(bool from_old, bool tenure) {
  zrelocation_set_t *set = &zrelocation_sets[from_old];
  uint32_t *pages = lists.sparse[from_old];
  size_t count = lists.sparse_count[from_old];
  if (count == 0) return;
  qsort(pages, count, sizeof *pages, by_live);
  size_t words = 0;
  for (size_t i = 0; i < count; i++) {
    words += zforwarding_length(zbody_space.pages[pages[i]].live_count);
  }
  size_t head = zalign_up(count * sizeof(zforwarding_t), 64);
  set->memory_size = head + words * 8;
  set->memory = zos_table_map(set->memory_size);
  if (set->memory == NULL) {
    zlog_warn("gc,managed", "no memory for forwarding tables: %zu pages stay", count);
    for (size_t i = 0; i < count; i++) flip_age(&zbody_space.pages[pages[i]], tenure);
    return;
  }
  set->forwardings = set->memory;
  set->count = count;
  set->next = 0;
  uint64_t *entries = (uint64_t *)((char *)set->memory + head);
  for (size_t i = 0; i < count; i++) {
    zbody_page_t *page = &zbody_space.pages[pages[i]];
    size_t length = zforwarding_length(page->live_count);
    set->forwardings[i] = (zforwarding_t){
        .page = page,
        .start = zbody_page_start(page),
        .entries = entries,
        .mask = (uint32_t)length - 1,
        .units = page->units,
        .to_age = next_age(page->age, tenure),
        .from_old = from_old,
    };
    entries += length;
  }
}

void zrelocation_set_select(zgeneration_t generation, bool tenure, zrelocation_counts_t *counts) {
  memset(counts, 0, sizeof *counts);
  lists.sparse_count[0] = lists.sparse_count[1] = lists.promoted_count = 0;
  bool listed = ensure_lists();
  size_t highest = zload_acquire(&zbody_space.highest);
  for (size_t i = 0; i < highest; i++) {
    zbody_page_t *page = &zbody_space.pages[i];
    uint8_t kind = zload_acquire(&page->kind);
    if (kind == ZBODY_PAGE_FREE || page->inner != 0 || !zbody_page_is_snapshot(page)) continue;
    bool old = page->age == ZAGE_OLD;
    if (old != (generation == ZGENERATION_OLD)) continue;
    counts->live_bytes += page->live_bytes;
    counts->garbage_bytes += page->top - page->live_bytes;
    if (page->live_count == 0) {
      counts->pages_freed += page->units;
      zbody_page_free(page);
    } else if (is_sparse(page) && listed) {
      lists.sparse[old][lists.sparse_count[old]++] = (uint32_t)i;
      counts->pages_selected += page->units;
    } else if (listed) {
      flip_age(page, tenure);
    }
  }
  build(generation == ZGENERATION_OLD, tenure);
  counts->pages_promoted = lists.promoted_count;
}

size_t zrelocation_set_promoted(size_t i) {
  return i < lists.promoted_count ? lists.promoted[i] : SIZE_MAX;
}

static void fill(zrelocation_set_t *set, bool publish) {
  for (size_t i = 0; i < set->count; i++) {
    zforwarding_t *forwarding = &set->forwardings[i];
    size_t unit = (forwarding->start - zbody_space.base) >> ZUNIT_SHIFT;
    for (size_t u = unit; u < unit + forwarding->units; u++) {
      zstore_release(&zforwarding_directory[forwarding->from_old][u], publish ? forwarding : NULL);
    }
  }
}

void zrelocation_set_install(zgeneration_t generation) { fill(&zrelocation_sets[generation], true); }

void zrelocation_set_release(zgeneration_t generation) {
  zrelocation_set_t *set = &zrelocation_sets[generation];
  if (set->memory == NULL) return;
  fill(set, false);
  zos_table_unmap(set->memory, set->memory_size);
  memset(set, 0, sizeof *set);
}
