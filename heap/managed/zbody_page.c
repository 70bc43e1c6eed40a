#include "heap/managed/zbody_page.h"

#include <string.h>

#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"

zshape_t *zshape_table[ZSHAPE_MAX];
zbody_space_t zbody_space;

#define COMMIT_UNITS 16

/* Per unit, under ZLOCK_BODIES. */
enum { UNIT_CLEAN = 0, UNIT_USED = 1, UNIT_DIRTY = 2 };

static struct {
  uint8_t *state;
  size_t lowest_free; /* no free unit below */
} units;

static size_t map_bytes(void) { return zbody_space.size / 64; }

void zbody_space_stop(void) {
  zos_table_unmap(zbody_space.pages, zbody_space.unit_limit * sizeof(zbody_page_t));
  zos_table_unmap(zbody_space.live, map_bytes());
  zos_table_unmap(zbody_space.remembered[0], map_bytes());
  zos_table_unmap(zbody_space.remembered[1], map_bytes());
  zos_table_unmap(units.state, zbody_space.unit_limit);
  zos_table_unmap((void *)zbody_space.base, zbody_space.size);
  memset(&zbody_space, 0, sizeof zbody_space);
  units.state = NULL;
  units.lowest_free = 0;
}

bool zbody_space_start(size_t max) {
  size_t capacity = zmax(zalign_up(max, ZUNIT_SIZE) >> ZUNIT_SHIFT, 4);
  /* Twice the capacity, so that fragmentation of the address space is no concern. */
  size_t limit = zalign_up(capacity * 2 + 64, COMMIT_UNITS);
  zbody_space.size = limit << ZUNIT_SHIFT;
  zbody_space.base = (uintptr_t)zos_reserve(zbody_space.size, ZUNIT_SIZE);
  zbody_space.unit_limit = limit;
  zbody_space.capacity_units = capacity;
  zbody_space.reserve_units = zmax(capacity / 16, 4);
  zbody_space.pages = zos_table_map(limit * sizeof(zbody_page_t));
  zbody_space.live = zos_table_map(map_bytes());
  zbody_space.remembered[0] = zos_table_map(map_bytes());
  zbody_space.remembered[1] = zos_table_map(map_bytes());
  units.state = zos_table_map(limit);
  zbody_space.number = zbody_space.seq[0] = zbody_space.seq[1] = 1;
  if (zbody_space.base == 0 || zbody_space.pages == NULL || zbody_space.live == NULL ||
      zbody_space.remembered[0] == NULL || zbody_space.remembered[1] == NULL ||
      units.state == NULL) {
    zbody_space_stop();
    return false;
  }
  return true;
}

static bool commit_to(size_t unit) {
  if (unit <= zbody_space.committed_units) return true;
  size_t target = zmin(zalign_up(unit, COMMIT_UNITS), zbody_space.unit_limit);
  char *start = (char *)zbody_space.base + (zbody_space.committed_units << ZUNIT_SHIFT);
  size_t size = (target - zbody_space.committed_units) << ZUNIT_SHIFT;
  int error = zos_commit(start, size);
  if (error != 0) {
    zlog_warn("gc,managed", "commit of %luM refused (%d)", zlog_mb(size), -error);
    return false;
  }
  zstore_release(&zbody_space.committed_units, target);
  return true;
}

/* First fit. SIZE_MAX when there is none. */
static size_t find_run_locked(size_t count) {
  size_t start = units.lowest_free;
  while (start < zbody_space.unit_limit && units.state[start] == UNIT_USED) start++;
  units.lowest_free = start;
  while (start + count <= zbody_space.unit_limit) {
    size_t length = 0;
    while (length < count && units.state[start + length] != UNIT_USED) length++;
    if (length == count) return start;
    start += length + 1;
  }
  return SIZE_MAX;
}

static const char *kind_name(zbody_page_kind_t kind) {
  static const char *const names[] = {"none", "managed small", "managed medium", "managed large"};
  return names[kind];
}

static void reset_page(zbody_page_t *page, zbody_page_kind_t kind, size_t count, uint8_t age) {
  size_t first = zbody_page_index(page);
  for (size_t i = 1; i < count; i++) {
    zbody_space.pages[first + i].inner = (uint32_t)i;
    zbody_space.pages[first + i].kind = (uint8_t)kind;
  }
  page->units = (uint32_t)count;
  page->inner = 0;
  page->since_seq[0] = zbody_space.seq[0];
  page->since_seq[1] = zbody_space.seq[1];
  page->age = age;
  page->has_remembered[0] = page->has_remembered[1] = 0;
  page->top = 0;
  page->live_bytes = 0;
  page->live_count = 0;
  page->in_set = 0;
  zstore_release(&page->kind, (uint8_t)kind);
}

zbody_page_t *zbody_page_alloc(zbody_page_kind_t kind, size_t count, uint8_t age, bool relocating) {
  size_t limit = zbody_space.capacity_units + (relocating ? zbody_space.reserve_units : 0);
  zlock_take(ZLOCK_BODIES);
  size_t first = SIZE_MAX;
  if (zbody_space.used_units + count <= limit) first = find_run_locked(count);
  if (first == SIZE_MAX || !commit_to(first + count)) {
    zlock_drop(ZLOCK_BODIES);
    return NULL;
  }
  size_t clean = 0;
  bool dirty_seen = false;
  for (size_t i = first; i < first + count; i++) {
    if (units.state[i] == UNIT_CLEAN) clean++;
    dirty_seen |= units.state[i] == UNIT_DIRTY;
  }
  /* The run is ours from here on: what was dirty is zeroed outside the lock. */
  uint8_t before[ZBODY_PAGE_MEDIUM_UNITS];
  if (count <= ZARRAY_LENGTH(before)) memcpy(before, &units.state[first], count);
  memset(&units.state[first], UNIT_USED, count);
  zstore_relaxed(&zbody_space.used_units, zbody_space.used_units + count);
  zstore_relaxed(&zbody_space.resident_units, zbody_space.resident_units + clean);
  if (first + count > zbody_space.highest) zstore_release(&zbody_space.highest, first + count);
  zlock_drop(ZLOCK_BODIES);

  zbody_page_t *page = &zbody_space.pages[first];
  char *start = (char *)zbody_space.base + (first << ZUNIT_SHIFT);
  if (dirty_seen) {
    if (count > ZARRAY_LENGTH(before)) {
      if (zos_uncommit(start, count << ZUNIT_SHIFT) != 0) memset(start, 0, count << ZUNIT_SHIFT);
    } else {
      for (size_t i = 0; i < count; i++) {
        if (before[i] == UNIT_DIRTY) memset(start + (i << ZUNIT_SHIFT), 0, ZUNIT_SIZE);
      }
    }
  }
  reset_page(page, kind, count, age);
  zprobe_page_alloc(kind_name(kind), count << ZUNIT_SHIFT);
  return page;
}

void zbody_page_free(zbody_page_t *page) {
  if (page->has_remembered[0]) zbody_page_clear_remembered(page, 0);
  if (page->has_remembered[1]) zbody_page_clear_remembered(page, 1);
  /* A page always hands its successor a clean live map. */
  zbody_page_clear_live(page);
  size_t first = zbody_page_index(page), count = page->units;
  zprobe_page_free(kind_name((zbody_page_kind_t)page->kind), count << ZUNIT_SHIFT);
  bool given_back = false;
  if (page->kind == ZBODY_PAGE_LARGE) {
    given_back = zos_uncommit((void *)zbody_page_start(page), zbody_page_size(page)) == 0;
  }
  zlock_take(ZLOCK_BODIES);
  for (size_t i = 0; i < count; i++) {
    zstore_release(&zbody_space.pages[first + i].kind, (uint8_t)ZBODY_PAGE_FREE);
    zbody_space.pages[first + i].inner = 0;
  }
  memset(&units.state[first], given_back ? UNIT_CLEAN : UNIT_DIRTY, count);
  zstore_relaxed(&zbody_space.used_units, zbody_space.used_units - count);
  if (given_back) zstore_relaxed(&zbody_space.resident_units, zbody_space.resident_units - count);
  units.lowest_free = zmin(units.lowest_free, first);
  zlock_drop(ZLOCK_BODIES);
}

size_t zbody_space_uncommit(size_t keep, void (*yield)(void)) {
  size_t given = 0;
  size_t keep_units = keep >> ZUNIT_SHIFT;
  /* From the top, a run at a time, so that the lock is never held over a long scan. */
  size_t end = zload_acquire(&zbody_space.highest);
  while (end > 0) {
    zlock_take(ZLOCK_BODIES);
    size_t spare = zbody_space.resident_units - zbody_space.used_units;
    size_t stop = end > 4096 ? end - 4096 : 0;
    while (end > stop && units.state[end - 1] != UNIT_DIRTY) end--;
    size_t count = 0;
    while (end - count > stop && units.state[end - count - 1] == UNIT_DIRTY && count < 64 &&
           spare > keep_units + count) {
      count++;
    }
    bool enough = spare <= keep_units;
    if (count > 0) memset(&units.state[end - count], UNIT_USED, count);
    zlock_drop(ZLOCK_BODIES);
    if (enough) break;
    if (count == 0) continue;
    size_t first = end - count;
    bool ok = zos_uncommit((char *)zbody_space.base + (first << ZUNIT_SHIFT), count << ZUNIT_SHIFT) == 0;
    zlock_take(ZLOCK_BODIES);
    memset(&units.state[first], ok ? UNIT_CLEAN : UNIT_DIRTY, count);
    if (ok) zstore_relaxed(&zbody_space.resident_units, zbody_space.resident_units - count);
    units.lowest_free = zmin(units.lowest_free, first);
    zlock_drop(ZLOCK_BODIES);
    yield();
    if (!ok) break;
    given += count << ZUNIT_SHIFT;
    end = first;
  }
  return given;
}

/* ---- side maps ------------------------------------------------------------------------------- */

static size_t used_words(const zbody_page_t *page) {
  if (page->kind == ZBODY_PAGE_LARGE) return 1;
  return (zload_relaxed(&page->top) / 8 + 63) / 64;
}

zaddress_t zbody_page_next_live(const zbody_page_t *page, uintptr_t from) {
  size_t first = zbody_bit(zbody_page_start(page));
  size_t end = first / 64 + used_words(page);
  size_t bit = zbody_bit(from);
  size_t word = bit / 64;
  if (word >= end) return zaddress(0);
  uint64_t bits = zload_relaxed(&zbody_space.live[word]) & (~(uint64_t)0 << (bit % 64));
  while (bits == 0) {
    if (++word >= end) return zaddress(0);
    bits = zload_relaxed(&zbody_space.live[word]);
  }
  return zaddress(zbody_space.base + ((word * 64 + (size_t)__builtin_ctzll(bits)) << 3));
}

void zbody_page_clear_live(zbody_page_t *page) {
  size_t first = zbody_bit(zbody_page_start(page)) / 64;
  if (page->live_count != 0) memset(&zbody_space.live[first], 0, used_words(page) * 8);
  page->live_bytes = 0;
  page->live_count = 0;
}

/* Remembered bits of a large page cover all of it. */
static size_t slot_words(const zbody_page_t *page) { return (zload_relaxed(&page->top) / 8 + 63) / 64; }

void zbody_page_clear_remembered(zbody_page_t *page, unsigned which) {
  size_t first = zbody_bit(zbody_page_start(page)) / 64;
  memset(&zbody_space.remembered[which][first], 0, slot_words(page) * 8);
  page->has_remembered[which] = 0;
}

void zbody_page_visit_remembered(zbody_page_t *page, unsigned which, zbody_visit_t visit,
                                 void *context) {
  size_t first = zbody_bit(zbody_page_start(page)) / 64;
  size_t words = slot_words(page);
  for (size_t i = 0; i < words; i++) {
    for (uint64_t bits = zload_relaxed(&zbody_space.remembered[which][first + i]); bits != 0;
         bits &= bits - 1) {
      size_t bit = (first + i) * 64 + (size_t)__builtin_ctzll(bits);
      visit((uint64_t *)(zbody_space.base + (bit << 3)), context);
    }
  }
}
