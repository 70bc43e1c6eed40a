/* Pages of managed bodies, and the side maps that go with them.
 *
 *   small    1 unit (256 KiB), bodies up to 32 KiB
 *   medium   16 units (4 MiB), bodies up to 512 KiB
 *   large    as many units as its only body needs
 *
 * The managed space is a reservation of its own, not runs of zgranules. The reasons: "does this word
 * lie in the managed space" must never be true for a Python object, so that the walkers of the main
 * collector pass bodies by; an offset into it fits a forwarding entry; side maps need one shift; and
 * managed objects work in a process whose Python heap had to stay stock.
 *
 * Three side maps have one bit per 8-byte word of the space, touched only where used: live (set by
 * marking, read by relocation) and two remembered maps (slots of old bodies that may point to young
 * ones: the one that barriers set now, and the one that the young mark is working off).
 *
 * A page notes the number of the collection that its generation had under way, or behind it, when the
 * page entered that generation, by birth or by promotion in place. Bodies in pages as new as the running
 * mark count as live and are not moved by it, so marking ignores them.
 *
 * Who may touch what: zbody_page_alloc and zbody_page_free take ZLOCK_BODIES. `top` belongs to
 * the page's one allocator (the mutator under the GIL, or a relocating thread). age changes in
 * relocation-set selection only, before the pause that starts relocation; see
 * collector/managed/zrelocation_set.h for why a mutator that reads the old value does no harm. */
#ifndef HEAP_MANAGED_ZBODY_PAGE_H
#define HEAP_MANAGED_ZBODY_PAGE_H

#include "heap/managed/zbody.h"

#ifdef ZGC_TINY
#define ZUNIT_SHIFT 14
#else
#define ZUNIT_SHIFT 18
#endif
#define ZUNIT_SIZE ((size_t)1 << ZUNIT_SHIFT)
#define ZBODY_PAGE_MEDIUM_UNITS 16
#define ZBODY_SMALL_MAX (ZUNIT_SIZE / 8)
#define ZBODY_MEDIUM_MAX (ZUNIT_SIZE * ZBODY_PAGE_MEDIUM_UNITS / 8)

typedef enum { ZBODY_PAGE_FREE, ZBODY_PAGE_SMALL, ZBODY_PAGE_MEDIUM, ZBODY_PAGE_LARGE } zbody_page_kind_t;

/* Eden, survivors, old. A body enters the old generation when it would become older than the last
 * survivor age. */
enum { ZAGE_EDEN = 0, ZAGE_SURVIVOR_LAST = 2, ZAGE_OLD = 3, ZAGE_COUNT = 4 };

typedef struct zbody_page {
  /* fixed while the page is in use */
  uint32_t units;
  uint32_t inner;     /* units back to the page's first one; 0 there */
  uint8_t kind;       /* zbody_page_kind_t */

  /* changed by the collector at selection, read by anyone: since_seq first, then age with release */
  uint32_t since_seq[2]; /* zbody_space.seq of each generation when the page entered it */
  uint8_t age;
  uint8_t has_remembered[2]; /* some bit of that map is set */

  /* the page's allocator; read relaxed by others */
  uint64_t top; /* bytes in use */

  /* marking: relaxed adds by any marking thread */
  uint64_t live_bytes;
  uint32_t live_count;
  uint32_t in_set; /* in the relocation set: mark and verify must not meet it */
} zbody_page_t;

typedef struct {
  /* fixed once zbody_space_start has returned true; base is 0 before */
  uintptr_t base;
  size_t size;
  size_t unit_limit;         /* of the reservation */
  size_t capacity_units;     /* the mutator's share: ZGC_MANAGED_MAX */
  size_t reserve_units;      /* more that relocation may use on top of it */
  zbody_page_t *pages;       /* one per unit */
  uint64_t *live;
  uint64_t *remembered[2];

  /* pauses (GIL, collector threads idle) */
  uint32_t number;     /* of marks started */
  uint32_t seq[2];     /* by generation: number of the running or the last mark */
  uint32_t current;    /* which remembered map barriers set */

  /* ZLOCK_BODIES; read relaxed for statistics */
  size_t used_units;
  size_t resident_units; /* used + free ones whose memory has not been given back */
  size_t committed_units;
  size_t highest;        /* no page at or above this unit */
} zbody_space_t;

extern zbody_space_t zbody_space;

/* max: bytes that bodies may use. False when the system refuses; nothing is held then. */
bool zbody_space_start(size_t max);
void zbody_space_stop(void); /* when a later part of the start fails; tests */

/* A page with a clean live map and zeroed memory, or NULL: over the limit (relocation has the reserve
 * on top), no run of free units, or the system refuses. Any thread. */
zbody_page_t *zbody_page_alloc(zbody_page_kind_t kind, size_t units, uint8_t age, bool relocating);
void zbody_page_free(zbody_page_t *page);
/* Gives back free memory beyond `keep` bytes, 16 MiB between two calls of `yield`. Bytes given back. Any thread. */
size_t zbody_space_uncommit(size_t keep, void (*yield)(void));

static inline bool zbody_space_contains(uintptr_t value) {
  return value - zbody_space.base < zbody_space.size;
}
static inline size_t zbody_unit(zaddress_t body) {
  return (body.value - zbody_space.base) >> ZUNIT_SHIFT;
}
static inline zbody_page_t *zbody_page_of(zaddress_t body) {
  zbody_page_t *page = &zbody_space.pages[zbody_unit(body)];
  return page - page->inner;
}
static inline size_t zbody_page_index(const zbody_page_t *page) {
  return (size_t)(page - zbody_space.pages);
}
static inline uintptr_t zbody_page_start(const zbody_page_t *page) {
  return zbody_space.base + (zbody_page_index(page) << ZUNIT_SHIFT);
}
static inline size_t zbody_page_size(const zbody_page_t *page) {
  return (size_t)page->units << ZUNIT_SHIFT;
}
/* acquire: who sees the age sees since_seq. */
static inline bool zbody_page_is_old(const zbody_page_t *page) {
  return zload_acquire(&page->age) == ZAGE_OLD;
}
/* Takes part in its generation's running, or last, mark: existed when it started. */
static inline bool zbody_page_is_snapshot(const zbody_page_t *page) {
  bool old = zbody_page_is_old(page);
  return zload_relaxed(&page->since_seq[old]) != zbody_space.seq[old];
}
/* Into the old generation, where it is; its bodies count as live for a running old mark. */
static inline void zbody_page_set_old(zbody_page_t *page) {
  zstore_relaxed(&page->since_seq[1], zbody_space.seq[1]);
  zstore_release(&page->age, ZAGE_OLD);
}

/* Bump allocation by the page's owner; 0 when full. */
static inline zaddress_t zbody_page_bump(zbody_page_t *page, size_t size) {
  uint64_t top = page->top;
  if (zunlikely(size > zbody_page_size(page) - top)) return zaddress(0);
  zstore_relaxed(&page->top, top + size);
  return zaddress(zbody_page_start(page) + top);
}

static inline size_t zbody_bit(uintptr_t value) { return (value - zbody_space.base) >> 3; }

static inline bool zbody_bit_test(const uint64_t *map, uintptr_t value) {
  size_t bit = zbody_bit(value);
  return zload_relaxed(&map[bit / 64]) >> (bit % 64) & 1;
}
/* True for the one caller that changed the bit from 0 to 1. */
static inline bool zbody_bit_set(uint64_t *map, uintptr_t value) {
  size_t bit = zbody_bit(value);
  uint64_t mask = (uint64_t)1 << (bit % 64);
  if (zload_relaxed(&map[bit / 64]) & mask) return false;
  return (zfetch_or_relaxed(&map[bit / 64], mask) & mask) == 0;
}

static inline bool zbody_is_marked(zaddress_t body) {
  return zbody_bit_test(zbody_space.live, body.value);
}

/* True when the body is new to this collection's live map. Any thread. */
static inline bool zbody_mark(zaddress_t body, zbody_page_t *page, size_t size) {
  if (!zbody_bit_set(zbody_space.live, body.value)) return false;
  zfetch_add_relaxed(&page->live_bytes, size);
  zfetch_add_relaxed(&page->live_count, 1);
  return true;
}

/* The slot of an old body may point to a young one. Any thread. */
static inline void zbody_remember(const uint64_t *slot, zbody_page_t *page) {
  if (zbody_bit_set(zbody_space.remembered[zbody_space.current], (uintptr_t)slot) &&
      !zload_relaxed(&page->has_remembered[zbody_space.current])) {
    zstore_relaxed(&page->has_remembered[zbody_space.current], 1);
  }
}

/* The first marked body at or after `from` in the page, 0 past the last. */
zaddress_t zbody_page_next_live(const zbody_page_t *page, uintptr_t from);

/* Forgets the marks (before a collection) or one remembered map (after its scan) of a page. */
void zbody_page_clear_live(zbody_page_t *page);
void zbody_page_clear_remembered(zbody_page_t *page, unsigned which);

/* Calls visit for each set bit of a remembered map, clearing nothing. */
void zbody_page_visit_remembered(zbody_page_t *page, unsigned which, zbody_visit_t visit,
                                 void *context);

#endif
