/* ZPage: a run of granules cut into blocks of one size.
 *
 *   small    1 granule, blocks of 16..1024 bytes
 *   medium   as few granules as waste little at the end, blocks up to 64 KiB
 *   large    as many granules as its only block needs
 *
 * Metadata lies in a side table with one entry per granule, so block memory is dense and a free
 * touches the block, its zpage_t and nothing else. Entries of the inner granules of a run point back
 * to the first one.
 *
 * Who may touch what: a page belongs to a heap, and the thread that works in that heap owns every
 * field (zheap.h says which thread). Any thread may read the fields marked shared
 * through zpage_find and zpage_block_of: a page can be freed and divided differently meanwhile, so what they
 * answer may be out of date, but it always lies in readable memory. zsparse_bytes reads the counts, too,
 * for a guess.
 *
 * used + length of the free list + blocks on holes + capacity - carved == capacity. */
#ifndef HEAP_ZPAGE_H
#define HEAP_ZPAGE_H

#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"
#include "heap/zgranules.h"
#include "heap/zsize_class.h"

typedef struct zblock {
  struct zblock *next;
} zblock_t;

typedef enum { ZPAGE_NONE, ZPAGE_SMALL, ZPAGE_MEDIUM, ZPAGE_LARGE } zpage_kind_t;

/* Any flag but OLD sends a free through the slow path; OLD does if an old object is in the block where one
 * is expected (zold_map.h). Above them stands the number of the heap that the page belongs to. */
enum {
  ZPAGE_FLAG_OLD = 1,     /* holds, or held, objects of the old set */
  ZPAGE_FLAG_FULL = 2,    /* no free block: in no list */
  ZPAGE_FLAG_SPECIAL = 4, /* medium, large, or an inner granule */
  ZPAGE_FLAG_CLOSED = 8,  /* a second GIL may exist: look first whose page it is */
  ZPAGE_FLAG_SAMPLED = 16, /* holds blocks that the watcher is notified of (zsampler.h) */
  ZPAGE_FLAG_SHIFTED = 32, /* holds, or held, old objects that start elsewhere in their blocks */
  ZPAGE_FLAG_RECUT = 64   /* holds blocks of a size that it was cut into before (zrecut.h) */
};

#define ZPAGE_HEAP_SHIFT 8
#define ZPAGE_HEAP_MASK (~(((uint32_t)1 << ZPAGE_HEAP_SHIFT) - 1))

typedef struct zpage {
  zblock_t *free;      /* blocks that were freed, or carved ahead */
  uint32_t used;       /* blocks handed out */
  uint32_t flags;      /* zpage_set_flags, zpage_close; every free reads them */
  uint32_t carved;     /* blocks that have been put on the free list at least once */
  uint32_t capacity;
  uint16_t size_class;
  uint16_t holes;      /* OS pages that were given back: no block on one is on the free list */
  /* shared: written when the run is handed out, read by anyone */
  uint32_t block_size; /* 0 for large */
  uint32_t inner;      /* granules back to the first one of the run; 0 there */
  uint16_t lead;       /* bytes before the first block, or ZPAGE_LEAD_RECUT */
  /* the allocator's again (zsparse.h) */
  uint16_t looked_at;  /* `used` when holes were last looked for; 0: never */
  uint64_t reciprocal; /* ceil(2^40 / block_size) */
  struct zpage *next, *previous; /* pages of one class with free blocks */
} zpage_t;

_Static_assert(sizeof(zpage_t) == ZCACHE_LINE, "a free should touch one line of metadata");

static inline uint32_t zpage_flags(const zpage_t *page) { return zload_relaxed(&page->flags); }

/* By the page's owner. CLOSED stays once it is set, which any thread may do meanwhile. */
static inline void zpage_set_flags(zpage_t *page, uint32_t flags) {
  uint32_t before = zload_relaxed(&page->flags);
  while (!zcas_relaxed(&page->flags, &before, (before & ZPAGE_FLAG_CLOSED) | flags)) continue;
}

/* Any thread. */
static inline void zpage_close(zpage_t *page) { zfetch_or_relaxed(&page->flags, ZPAGE_FLAG_CLOSED); }

static inline unsigned zpage_heap(const zpage_t *page) { return zpage_flags(page) >> ZPAGE_HEAP_SHIFT; }

extern zpage_t *zpage_table; /* one entry per granule; fixed at start-up */

/* A leftover is a block of a size that a page was cut into before, still in use: its offset in the page above
 * ZPAGE_LEFTOVER_SHIFT, its size below; 0: none. Each is one word, so that any thread reads a whole one. */
#define ZPAGE_LEFTOVERS 8
#define ZPAGE_LEFTOVER_SHIFT 16
typedef struct {
  uint32_t words[ZPAGE_LEFTOVERS];
} zpage_leftovers_t;

extern zpage_leftovers_t *zpage_leftover_table; /* one entry per granule; holds for pages with ZPAGE_FLAG_RECUT */

static inline size_t zpage_leftover_start(uint32_t word) { return word >> ZPAGE_LEFTOVER_SHIFT; }
static inline size_t zpage_leftover_size(uint32_t word) { return word & (((uint32_t)1 << ZPAGE_LEFTOVER_SHIFT) - 1); }

/* A lead longer than a page of one granule: every address lies before the first block, so zpage_block_of takes its slow
 * path, which looks at leftovers. */
#define ZPAGE_LEAD_RECUT UINT16_MAX
_Static_assert(ZPAGE_LEAD_RECUT >= ZGRANULE_SIZE, "no address in the page is behind it");

/* The two fields that only large pages need share the list links' place. */
static inline size_t zpage_large_size(const zpage_t *page) { return (size_t)zload_relaxed(&page->next); }

static inline size_t zpage_index(const zpage_t *page) { return (size_t)(page - zpage_table); }

static inline char *zpage_start(const zpage_t *page) {
  return zgranules_range.base + (zpage_index(page) << ZGRANULE_SHIFT);
}

/* Entry of the granule that holds `address`, which must lie in the range. */
static inline zpage_t *zpage_entry(const void *address) {
  return &zpage_table[(size_t)((const char *)address - zgranules_range.base) >> ZGRANULE_SHIFT];
}

static inline zpage_leftovers_t *zpage_leftovers(const zpage_t *page) {
  return &zpage_leftover_table[zpage_index(page)];
}

static inline size_t zpage_lead(const zpage_t *page) { return page->lead == ZPAGE_LEAD_RECUT ? 0 : page->lead; }

static inline char *zpage_first_block(const zpage_t *page) { return zpage_start(page) + zpage_lead(page); }

/* The page that holds `address`. */
static inline zpage_t *zpage_find(const void *address) {
  zpage_t *page = zpage_entry(address);
  return page - zload_relaxed(&page->inner);
}

#define ZPAGE_WASTE_SHARE 5 /* of a page may be too short for a block */

/* Granules of a small or medium page. Few, so that its place can be any that another page leaves. */
static inline size_t zpage_granules_of(size_t block_size) {
  size_t bytes = ZGRANULE_SIZE;
  while (bytes % block_size > bytes / ZPAGE_WASTE_SHARE) bytes += ZGRANULE_SIZE;
  return bytes >> ZGRANULE_SHIFT;
}

static inline zpage_kind_t zpage_kind(const zpage_t *page) {
  if (page->capacity == 0) return ZPAGE_NONE;
  if (page->block_size == 0) return ZPAGE_LARGE;
  return page->block_size <= ZSMALL_MAX ? ZPAGE_SMALL : ZPAGE_MEDIUM;
}

static inline size_t zpage_granules(const zpage_t *page) {
  if (page->block_size == 0) return zgranules_for(zpage_large_size(page));
  return zpage_granules_of(page->block_size);
}

/* Bytes before the first block of a small page. Blocks of whole cache lines begin 48 bytes into a line: then the
 * object behind a PyGC_Head has its line to itself, and a walk along a list of such objects (CPython's collections)
 * touches line after line. With head and object in one line, the walk would leave out every other line, and
 * hardware does not read ahead for that: measured, it takes twice as long. */
#define ZPAGE_LEAD 48

static inline size_t zpage_lead_of(size_t block_size, bool may_hold_gc) {
  return may_hold_gc && block_size <= ZSMALL_MAX && block_size % ZCACHE_LINE == 0 ? ZPAGE_LEAD : 0;
}

static inline zblock_t *zpage_pop(zpage_t *page) {
  zblock_t *block = page->free;
  if (zunlikely(block == NULL)) return NULL;
  page->free = block->next;
  page->used++;
  return block;
}

static inline void zpage_push(zpage_t *page, void *block) {
  zblock_t *b = block;
  b->next = page->free;
  page->free = b;
  page->used--;
}

/* The size of the page's blocks; a leftover has its own. */
static inline size_t zpage_block_bytes(const zpage_t *page) {
  return page->block_size != 0 ? page->block_size : zpage_large_size(page);
}

const char *zpage_kind_name(const zpage_t *page);

#define ZPAGE_RECIPROCAL_SHIFT 40

static inline uint64_t zpage_reciprocal(size_t block_size) {
  return (((uint64_t)1 << ZPAGE_RECIPROCAL_SHIFT) + block_size - 1) / block_size;
}

/* Which block of the page holds the byte at `offset` from the first one; exact while offset * block_size < 2^40. */
static inline size_t zpage_block_index(const zpage_t *page, size_t offset) {
  return (size_t)((offset * zload_relaxed(&page->reciprocal)) >> ZPAGE_RECIPROCAL_SHIFT);
}

/* Bounds of the block of this size that holds `address`, at or behind `first`; false where it is not committed. */
static inline bool zpage_grid_block(const zpage_t *page, const void *address, const char *first, size_t block_size,
                                    const char **start, const char **end) {
  const char *limit = zgranules_range.base + zload_acquire(&zgranules_range.committed_end);
  size_t index = zpage_block_index(page, (size_t)((const char *)address - first));
  const char *block = first + index * block_size;
  if (block > (const char *)address || (size_t)(limit - block) < block_size) return false;
  *start = block;
  *end = block + block_size;
  return true;
}

/* The slow path of zpage_block_of, for an address before the first block: false, unless the page was cut again. */
bool zpage_block_of_recut(const zpage_t *page, const void *address, const char **start, const char **end);

/* Bounds of the block that holds `address`; false when the address is not in a page. Safe on any
 * thread: [*start, *end) is readable whatever happens meanwhile. */
static inline bool zpage_block_of(const void *address, const char **start, const char **end) {
  if (!zgranules_is_readable(address)) return false;
  const zpage_t *page = zpage_find(address);
  size_t block_size = zload_relaxed(&page->block_size);
  const char *page_start = zpage_start(page);
  if (block_size == 0) { /* large, or no page at all (then the size reads as 0) */
    const char *limit = zgranules_range.base + zload_acquire(&zgranules_range.committed_end);
    size_t size = zpage_large_size(page);
    if (size == 0 || size > (size_t)(limit - page_start)) return false;
    *start = page_start;
    *end = page_start + size;
    return true;
  }
  const char *first = page_start + zload_relaxed(&page->lead);
  if (zunlikely((const char *)address < first)) return zpage_block_of_recut(page, address, start, end);
  return zpage_grid_block(page, address, first, block_size, start, end);
}

#endif
