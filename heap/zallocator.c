#include "heap/zallocator.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/zfallback.h"
#include "heap/zold_map.h"
#include "heap/zsparse.h"

#define CARVE_BYTES 4096              /* untouched memory stays untouched until it is needed */
#define KEPT_CAPACITY 8               /* an empty page is kept at hand if it has so many blocks */
#define TRIM_LOOKS 512                /* pages between two looks at the clock, ... */
#define TRIM_SPARSE 64                /* ... of which a sparse one counts as so many */
#define TAIL_MIN (ZGRANULE_SIZE / 4)  /* unused, behind a large block: worth a system call */
#define SLACK_MAX (256 * ZK)          /* larger blocks grow in steps of a granule anyway */
#define MOVE_PAGES_MIN (4 * ZM)       /* below, copying is as fast and costs no mapping */
#define MOVED_RUNS_MAX 4096           /* each may split a mapping, of which a process has 65530 */

zpage_t *zpage_table;
zallocator_t zallocator;
void (*zallocator_slow_hook)(void);
void (*zallocator_idle_hook)(void);

/* Stands in where a class has no page: nothing is free in it, so the fast path takes its exit. */
static zpage_t empty_page;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* used once is_locked */
static bool is_locked;
static uint32_t new_page_flags; /* ZPAGE_FLAG_LOCKED once is_locked */
static size_t moved_runs, fallback_blocks;
static bool idle_is_known; /* zallocator_idle_hook has been called */
/* The pages to allocate from where `current` does not hold them: once is_locked it has only empty_page,
 * and with a watcher batches. */
static zpage_t *current_behind[ZCLASS_ALL];
static const zallocator_watcher_t *watcher;
/* The pages with ZPAGE_FLAG_SAMPLED, which only slow paths touch. */
static zallocator_t sampled;

void zallocator_lock(void) {
  if (zunlikely(is_locked)) pthread_mutex_lock(&lock);
}

void zallocator_unlock(void) {
  if (zunlikely(is_locked)) pthread_mutex_unlock(&lock);
}

static zpage_t **current_of(unsigned size_class, uint32_t page_flags) {
  if (page_flags & ZPAGE_FLAG_SAMPLED) return &sampled.current[size_class];
  return is_locked || watcher != NULL ? &current_behind[size_class] : &zallocator.current[size_class];
}

static zpage_t **listed_of(unsigned size_class, uint32_t page_flags) {
  return &(page_flags & ZPAGE_FLAG_SAMPLED ? &sampled : &zallocator)->listed[size_class];
}

bool zallocator_start(size_t range_size) {
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    zallocator.current[i] = current_behind[i] = sampled.current[i] = &empty_page;
  }
  if (!zgranules_start(range_size)) return false;
  size_t granules = zgranules_range.size / ZGRANULE_SIZE;
  zpage_table = zos_table_map(granules * sizeof(zpage_t));
  zold_map_bits = zos_table_map((zgranules_range.size >> ZOLD_UNIT_SHIFT) / 8 + sizeof(uint64_t));
  return zpage_table != NULL && zold_map_bits != NULL;
}

/* -- lists of pages with free blocks ------------------------------------------------------- */

static void list_push(zpage_t *page) {
  zpage_t **head = listed_of(page->size_class, page->flags);
  page->previous = NULL;
  page->next = *head;
  if (*head != NULL) (*head)->previous = page;
  *head = page;
}

static void list_remove(zpage_t *page) {
  zpage_t **head = listed_of(page->size_class, page->flags);
  if (page->previous != NULL) {
    page->previous->next = page->next;
  } else {
    *head = page->next;
  }
  if (page->next != NULL) page->next->previous = page->previous;
}

/* -- pages --------------------------------------------------------------------------------- */

static zpage_kind_t kind_of(const zpage_t *page) {
  if (page->capacity == 0) return ZPAGE_NONE;
  if (page->block_size == 0) return ZPAGE_LARGE;
  return page->block_size <= ZSMALL_MAX ? ZPAGE_SMALL : ZPAGE_MEDIUM;
}

static size_t granules_for(size_t bytes) {
  return zalign_up(bytes, ZGRANULE_SIZE) >> ZGRANULE_SHIFT;
}

static size_t page_granules(const zpage_t *page) {
  if (page->block_size == 0) return granules_for(zpage_large_size(page));
  return zpage_granules_of(page->block_size);
}

static const char *kind_name(const zpage_t *page) {
  static const char *const names[] = {"none", "small", "medium", "large"};
  return names[kind_of(page)];
}

static void point_inner_entries(zpage_t *page, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    zpage_set_flags(&page[i], ZPAGE_FLAG_SPECIAL | new_page_flags);
    zstore_relaxed(&page[i].inner, (uint32_t)i);
  }
}

static void page_free(zpage_t *page) {
  size_t granules = page_granules(page);
  zprobe_page_free(kind_name(page), granules * ZGRANULE_SIZE);
  zsparse_forget(page);
  page->capacity = 0;
  zpage_set_flags(page, 0);
  zstore_relaxed(&page->block_size, 0);
  zstore_relaxed(&page->next, NULL); /* a large size of 0: no page */
  for (size_t i = 1; i < granules; i++) zstore_relaxed(&page[i].inner, 0);
  zgranules_free(zpage_index(page), granules);
  if (zlikely(idle_is_known) || zgranules_idle_bytes() < ZALLOCATOR_IDLE_MIN) return;
  if (zallocator_idle_hook == NULL) return;
  idle_is_known = true;
  zallocator_idle_hook();
}

/* The empty pages that classes keep at hand, before the heap takes memory that was never touched. */
static void free_kept_pages(void) {
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    zpage_t **current = current_of(i, 0), *page = *current;
    if (page == &empty_page || page->used > 0) continue;
    *current = &empty_page;
    page_free(page);
  }
}

/* Granules whose rest may still go back. */
static size_t drops_left = ZALLOCATOR_DROPS_FIRST;

/* A page in memory that was somebody else's has all of it from the start, of which its class may never need
 * more than a few blocks: in a small program that is a twentieth of the heap. So what lies behind the first
 * ones goes back. But after a start that costs a millisecond at most, no more often than pages are made in new
 * memory: a program that goes on in what it has does not pay for it. */
static void drop_rest(zpage_t *page, size_t granules) {
  if (drops_left < granules) return;
  drops_left -= granules;
  char *start = zpage_start(page);
  size_t kept = zalign_up(page->lead + zmax(CARVE_BYTES, page->block_size), ZOS_PAGE);
  if (kept < granules * ZGRANULE_SIZE) zos_uncommit(start + kept, granules * ZGRANULE_SIZE - kept);
}

static bool gc_is_apart; /* so the other small pages hold no GC objects */

static zpage_t *page_alloc(unsigned size_class, uint32_t flags) {
  bool is_gc = size_class >= ZCLASS_GC;
  gc_is_apart = gc_is_apart || is_gc;
  size_t block_size = zsize_class_block_size(size_class);
  size_t granules = zpage_granules_of(block_size);
  bool zeroed;
  if (zgranules_idle_bytes() == 0) free_kept_pages();
  size_t first = zgranules_alloc(granules, &zeroed);
  if (first == SIZE_MAX) return NULL;
  zpage_t *page = &zpage_table[first];
  page->free = NULL;
  page->used = page->carved = 0;
  page->holes = page->looked_at = 0;
  size_t lead = zpage_lead_of(block_size, is_gc || !gc_is_apart);
  page->capacity = (uint32_t)((granules * ZGRANULE_SIZE - lead) / block_size);
  page->size_class = (uint16_t)size_class;
  zpage_set_flags(page, (granules > 1 ? ZPAGE_FLAG_SPECIAL : 0) | new_page_flags | flags);
  zstore_relaxed(&page->inner, 0);
  zstore_relaxed(&page->lead, (uint16_t)lead);
  zstore_relaxed(&page->reciprocal, zpage_reciprocal(block_size));
  zstore_relaxed(&page->block_size, (uint32_t)block_size);
  point_inner_entries(page, 1, granules);
  zprobe_page_alloc(kind_name(page), granules * ZGRANULE_SIZE);
  if (zeroed) {
    drops_left += granules;
  } else {
    drop_rest(page, granules);
  }
  return page;
}

/* Puts the next few blocks of memory that is not in use on the empty free list, or of holes; false when
 * none is left. */
static bool carve(zpage_t *page) {
  uint32_t block_size = page->block_size, count = CARVE_BYTES / block_size;
  if (count == 0) count = 1;
  if (count > page->capacity - page->carved) count = page->capacity - page->carved;
  if (count == 0) return zsparse_take_back(page);
  char *block = zpage_first_block(page) + (size_t)page->carved * block_size;
  zblock_t *last = NULL;
  for (uint32_t i = count; i-- > 0;) {
    zblock_t *b = (zblock_t *)(block + (size_t)i * block_size);
    b->next = last;
    last = b;
  }
  page->free = last;
  page->carved += count;
  return true;
}

/* Makes the class's current page, of those with `flags`, one with a free block; false when memory is
 * short. */
static bool refill(unsigned size_class, uint32_t flags) {
  zpage_t **current = current_of(size_class, flags);
  zpage_t *page = *current;
  if (page != &empty_page) {
    if (page->free != NULL || carve(page)) return true;
    zpage_set_flags(page, page->flags | ZPAGE_FLAG_FULL);
    *current = &empty_page;
  }
  page = *listed_of(size_class, flags);
  if (page != NULL) {
    list_remove(page);
  } else {
    page = page_alloc(size_class, flags);
    if (page == NULL) return false;
  }
  if (page->free == NULL && !carve(page)) return false;
  *current = page;
  return true;
}

/* -- large blocks -------------------------------------------------------------------------- */

static void set_large_size(zpage_t *page, size_t size) {
  zstore_relaxed(&page->next, (zpage_t *)size);
}

/* What lies behind a block in its last granule was somebody else's: its memory goes back, or blocks that
 * are a little larger than a granule would take twice their size. */
static void drop_tail(char *from, char *to) {
  from = (char *)zalign_up((uintptr_t)from, ZOS_PAGE);
  if (to - from >= (ptrdiff_t)TAIL_MIN) zos_uncommit(from, (size_t)(to - from));
}

static void *large_alloc(size_t size, bool want_zeroed) {
  size_t granules = granules_for(size);
  bool zeroed;
  size_t first = zgranules_alloc(granules, &zeroed);
  if (first == SIZE_MAX) return NULL;
  zpage_t *page = &zpage_table[first];
  page->used = page->capacity = page->carved = 1;
  page->size_class = ZCLASS_ALL;
  zpage_set_flags(page, ZPAGE_FLAG_SPECIAL | new_page_flags);
  zstore_relaxed(&page->inner, 0);
  zstore_relaxed(&page->reciprocal, 0); /* block index 0 for every address */
  zstore_relaxed(&page->block_size, 0);
  set_large_size(page, zalign_up(size, ZBLOCK_ALIGNMENT));
  point_inner_entries(page, 1, granules);
  zprobe_page_alloc(kind_name(page), granules * ZGRANULE_SIZE);
  char *block = zpage_start(page);
  if (!zeroed) drop_tail(block + size, block + granules * ZGRANULE_SIZE);
  if (want_zeroed && !zeroed) memset(block, 0, size);
  return block;
}

/* The block at its old address with another number of granules, or NULL. */
static void *large_resize_in_place(zpage_t *page, size_t size) {
  size_t before = page_granules(page), after = granules_for(size), index = zpage_index(page);
  if (after > before) {
    if (!zgranules_extend(index + before, after - before)) return NULL;
    point_inner_entries(page, before, after);
    zprobe_page_alloc(kind_name(page), (after - before) * ZGRANULE_SIZE);
  } else if (after < before) {
    for (size_t i = after; i < before; i++) zstore_relaxed(&page[i].inner, 0);
    zgranules_free(index + after, before - after);
    zprobe_page_free(kind_name(page), (before - after) * ZGRANULE_SIZE);
  }
  set_large_size(page, zalign_up(size, ZBLOCK_ALIGNMENT));
  char *block = zpage_start(page);
  if (after != before) drop_tail(block + size, block + after * ZGRANULE_SIZE);
  return block;
}

/* Moves OS pages to a larger run instead of copying bytes; NULL when that is not to be had. */
static void *large_move(zpage_t *page, size_t size) {
  size_t bytes = page_granules(page) * ZGRANULE_SIZE;
  if (bytes < MOVE_PAGES_MIN || moved_runs >= MOVED_RUNS_MAX) return NULL;
  char *to = large_alloc(size, false);
  if (to == NULL) return NULL;
  zpage_t *entry = zpage_entry(to);
  zpage_set_flags(entry, entry->flags | (page->flags & ZPAGE_FLAG_SAMPLED));
  int error = zos_move_pages(zpage_start(page), to, bytes);
  if (error != 0) {
    zlog_warn("gc,fault", "moving %lu bytes of pages failed: %d; copied instead",
              (unsigned long)bytes, error);
    memcpy(to, zpage_start(page), bytes);
    page_free(page);
    return to;
  }
  moved_runs++;
  zgranules_note_zeroed(zpage_index(page), bytes / ZGRANULE_SIZE);
  page_free(page);
  return to;
}

/* -- blocks that come back -------------------------------------------------------------------- */

/* A page that was full has a free block: the next to be handed out, since it is warm (as pymalloc does
 * it). Where old objects are replaced at random, each would be written to a cold line otherwise. A
 * current page without used blocks stays: listed, it would never be given back. */
static void reopen(zpage_t *page) {
  zpage_set_flags(page, page->flags & ~(uint32_t)ZPAGE_FLAG_FULL);
  zpage_t **current = current_of(page->size_class, page->flags), *before = *current;
  if (before != &empty_page && before->used == 0) {
    list_push(page);
    return;
  }
  *current = page;
  if (before == &empty_page) return;
  if (before->free == NULL && before->carved == before->capacity && before->holes == 0) {
    zpage_set_flags(before, before->flags | ZPAGE_FLAG_FULL);
  } else {
    list_push(before);
  }
}

/* What is left to do when a block went back to a page with flags, or when it was the last one. A class
 * keeps its current page when that is empty, unless it is one of large blocks: those pages' memory is
 * sooner wanted by other classes than again by this one. */
static void after_free_locked(zpage_t *page) {
  zpage_t **current = current_of(page->size_class, page->flags);
  if (page->used == 0 && (page != *current || page->capacity < KEPT_CAPACITY)) {
    if (page == *current) {
      *current = &empty_page;
    } else if (!(page->flags & ZPAGE_FLAG_FULL)) {
      list_remove(page);
    }
    page_free(page);
    return;
  }
  if (page->flags & ZPAGE_FLAG_FULL) reopen(page);
}

static void free_in_page(zpage_t *page, void *block) {
  if (page->flags & ZPAGE_FLAG_OLD) zold_map_forget_block(page, block);
  if (page->block_size == 0) {
    page_free(page);
    return;
  }
  zblock_t *b = block;
  b->next = page->free;
  page->free = b;
  page->used--;
  if (page->used == 0 || page->flags & ZPAGE_FLAG_FULL) after_free_locked(page);
}

/* -- batches of small blocks, with a watcher ------------------------------------------------ */

#define BATCH_MIN 16
#define BATCH_MAX 32 /* of more, the rest waits in reserve: blocks that are freed meanwhile are warm */

/* `front` is what the fast path pops from. Only its list and two numbers are used: `carved` blocks were
 * put on the list, `used` of them have been handed out. All blocks of a batch count as used in their
 * page, and go back there when they are freed. */
typedef struct {
  zpage_t front;
  zblock_t *reserve;
  uint32_t reserve_count;
  uint64_t before_sample; /* blocks to go */
} batch_t;

static batch_t batches[ZCLASS_ALL];

static bool is_small(unsigned size_class) { return size_class < ZSMALL_CLASSES || size_class >= ZCLASS_GC; }

static size_t batch_waiting(unsigned size_class) {
  const batch_t *batch = &batches[size_class];
  uint32_t carved = zload_relaxed(&batch->front.carved), used = zload_relaxed(&batch->front.used);
  return zload_relaxed(&batch->reserve_count) + (carved > used ? carved - used : 0);
}

/* The reserve, unless the page has enough; then all that is free there. As a whole: how long such a list
 * is, is known, and to walk it would be a cache miss for each block. */
static zblock_t *batch_source(batch_t *batch, unsigned size_class, uint32_t *count) {
  zpage_t *page = *current_of(size_class, 0);
  zblock_t *list = batch->reserve;
  if (list != NULL && page->carved - page->used < BATCH_MIN) {
    *count = batch->reserve_count;
    batch->reserve = NULL;
    zstore_relaxed(&batch->reserve_count, 0);
    return list;
  }
  if (!refill(size_class, 0)) return NULL;
  page = *current_of(size_class, 0);
  list = page->free;
  *count = page->carved - page->used;
  page->free = NULL;
  page->used = page->carved;
  if (*count < BATCH_MIN) carve(page); /* so that there are more the next time */
  return list;
}

/* Keeps `length` of `count` blocks in the list; the others become the reserve, or go back. */
static void batch_cut(batch_t *batch, zblock_t *list, uint32_t count, uint32_t length) {
  for (uint32_t i = 1; i < length; i++) list = list->next;
  zblock_t *rest = list->next;
  list->next = NULL;
  if (batch->reserve == NULL) {
    batch->reserve = rest;
    zstore_relaxed(&batch->reserve_count, count - length);
  } else { /* the page had enough, so nothing was carved and nothing is free there */
    zpage_t *page = zpage_find(rest);
    page->free = rest;
    page->used -= count - length;
  }
}

/* Makes the next batch, and hands out its first block; NULL when memory is short. */
static void *batch_take(unsigned size_class) {
  batch_t *batch = &batches[size_class];
  bool was_reserve = batch->reserve != NULL;
  uint32_t count;
  zblock_t *first = batch_source(batch, size_class, &count);
  if (first == NULL) return NULL;
  uint64_t limit = was_reserve ? count : zmin(count, BATCH_MAX);
  limit = zmax(zmin(limit, batch->before_sample), 1);
  if (limit < count) batch_cut(batch, first, count, (uint32_t)limit);
  batch->before_sample -= zmin(batch->before_sample, limit);
  batch->front.free = first->next;
  batch->front.carved = (uint32_t)limit;
  batch->front.used = 1;
  return first;
}

static void batch_give_back(batch_t *batch) {
  zblock_t *lists[] = {batch->front.free, batch->reserve};
  for (size_t i = 0; i < ZARRAY_LENGTH(lists); i++) {
    for (zblock_t *b = lists[i], *next; b != NULL; b = next) {
      next = b->next;
      free_in_page(zpage_find(b), b);
    }
  }
  batch->front = empty_page;
  batch->reserve = NULL;
  batch->reserve_count = 0;
}

/* -- slow paths ---------------------------------------------------------------------------- */

/* MOVED: for a block that exists, and has been counted. */
typedef enum { PLAIN, ZEROED, MOVED } request_t;

static unsigned class_of(size_t size, unsigned first_class) {
  return size <= ZSMALL_MAX ? first_class + zsize_class_small(size) : zsize_class_medium(size);
}

static void *alloc_from_class(unsigned size_class, uint32_t flags) {
  if (zunlikely(watcher != NULL) && flags == 0 && !is_locked && is_small(size_class)) {
    return batch_take(size_class);
  }
  if (!refill(size_class, flags)) return NULL;
  zpage_t *page = *current_of(size_class, flags);
  zblock_t *block = page->free;
  page->free = block->next;
  page->used++;
  return block;
}

static void *alloc_in_heap(size_t size, unsigned first_class, uint32_t flags, bool *zeroed) {
  if (size <= ZMEDIUM_MAX) return alloc_from_class(class_of(size, first_class), flags);
  void *block = large_alloc(size, *zeroed);
  if (block == NULL) return NULL;
  *zeroed = false;
  zpage_t *page = zpage_entry(block);
  zpage_set_flags(page, page->flags | flags);
  return block;
}

/* A small block that moves may take a turn that was drawn for a sample: then there is none, which
 * leaves the others' chances as they are. */
static bool is_sample(size_t size, unsigned first_class, request_t request) {
  if (size > ZSMALL_MAX) return request != MOVED && watcher->is_sample(zallocator_size_for(size));
  unsigned size_class = class_of(size, first_class);
  uint64_t *before_sample = &batches[size_class].before_sample;
  if (*before_sample > 0) {
    if (is_locked) --*before_sample; /* there are no batches */
    return false;
  }
  *before_sample = watcher->blocks_before_sample(zsize_class_block_size(size_class));
  if (request != MOVED) return true;
  if (!is_locked) ++*before_sample; /* the batch counts it */
  return false;
}

static znoinline void *alloc_slow(size_t size, unsigned first_class, request_t request) {
  bool zeroed = request == ZEROED, sample = false;
  if (zallocator_slow_hook != NULL) zallocator_slow_hook();
  /* Our mappings are not accounted, so nobody else would refuse what cannot be had. */
  if (zunlikely(size > ZMEDIUM_MAX) && size > zos_memory_and_swap()) return NULL;
  void *block = NULL;
  zallocator_lock();
  if (zunlikely(watcher != NULL) && is_sample(size, first_class, request)) {
    block = alloc_in_heap(size, first_class, ZPAGE_FLAG_SAMPLED, &zeroed);
    sample = block != NULL;
  }
  if (zlikely(block == NULL)) block = alloc_in_heap(size, first_class, 0, &zeroed);
  zallocator_unlock();
  if (zunlikely(block == NULL)) {
    if (zfetch_add_relaxed(&fallback_blocks, 1) == 0) {
      zlog_warn("gc,fault", "the heap cannot give %lu bytes: such blocks come from jemalloc",
                (unsigned long)size);
    }
    return zeroed ? zfallback_alloc_zeroed(1, size) : zfallback_alloc(size);
  }
  if (zeroed) memset(block, 0, size);
  if (zunlikely(sample)) watcher->sampled(block, 0, zallocator_size_of(block));
  return block;
}

static znoinline void free_slow(void *block) {
  zpage_t *page = zpage_find(block);
  if (zunlikely(zload_relaxed(&page->flags) & ZPAGE_FLAG_SAMPLED)) watcher->freed(block);
  zallocator_lock();
  free_in_page(page, block);
  zallocator_unlock();
}

/* -- fast paths ---------------------------------------------------------------------------- */

static inline void *alloc(size_t size, unsigned first_class, request_t request) {
  if (zlikely(size <= ZSMALL_MAX)) {
    zpage_t *page = zallocator.current[first_class + zsize_class_small(size)];
    zblock_t *block = page->free;
    if (zlikely(block != NULL)) {
      page->free = block->next;
      page->used++;
      return block;
    }
  }
  return alloc_slow(size, first_class, request);
}

void *zallocator_alloc(size_t size) { return alloc(size, 0, PLAIN); }
void *zallocator_alloc_gc(size_t size) { return alloc(size, ZCLASS_GC, PLAIN); }

void *zallocator_alloc_zeroed(size_t size) {
  if (zunlikely(size > ZSMALL_MAX)) return alloc_slow(size, 0, ZEROED);
  void *block = zallocator_alloc(size);
  if (zlikely(block != NULL)) memset(block, 0, size);
  return block;
}

void zallocator_free(void *block) {
  if (zunlikely(!zgranules_contains(block))) {
    zfallback_free(block);
    return;
  }
  zpage_t *page = zpage_entry(block);
  uint32_t flags = zload_relaxed(&page->flags);
  /* Flags first: LOCKED says that the rest is not to be looked at without the lock. */
  if (zunlikely((flags & ~(uint32_t)ZPAGE_FLAG_OLD) != 0 || page->used == 1 ||
                (flags != 0 && zold_map_may_start_in(block)))) {
    free_slow(block);
    return;
  }
  zblock_t *b = block;
  b->next = page->free;
  page->free = b;
  page->used--;
}

/* -- realloc ------------------------------------------------------------------------------- */

static size_t block_bytes(const zpage_t *page) {
  return page->block_size != 0 ? page->block_size : zpage_large_size(page);
}

size_t zallocator_size_for(size_t size) {
  if (size <= ZMEDIUM_MAX) return zsize_class_block_size(class_of(size, 0));
  return size > SIZE_MAX - ZGRANULE_SIZE ? size : zalign_up(size, ZBLOCK_ALIGNMENT);
}

size_t zallocator_size_of(const void *block) {
  return zgranules_contains(block) ? block_bytes(zpage_find(block)) : 0;
}

/* A block shrinks in place while at least three quarters of it stay in use. */
static bool fits_in_place(size_t have, size_t size) { return size <= have && size >= have - have / 4; }

static void *realloc_large(void *block, size_t size) {
  void *result = NULL;
  zallocator_lock();
  zpage_t *page = zpage_find(block);
  /* An old object never moves (GC objects of this size are resized by copy): see zold_map.h. */
  if (page->block_size == 0 && size > ZMEDIUM_MAX && size <= zos_memory_and_swap()) {
    result = large_resize_in_place(page, size);
    if (result == NULL && !(page->flags & ZPAGE_FLAG_OLD)) result = large_move(page, size);
  }
  zallocator_unlock();
  return result;
}

static bool holds_gc(const zpage_t *page) {
  return page->size_class >= ZCLASS_GC && page->size_class < ZCLASS_ALL;
}

/* A block that grows will grow again (a list that is appended to): with a sixth more, and what rounding
 * up adds, every other step of a list's growth is no copy. Still fits_in_place. */
static size_t with_slack(size_t have, size_t size) {
  return size > have && size > ZSMALL_MAX && size <= SLACK_MAX / 7 * 6 ? size + size / 6 : size;
}

/* A block among those that are watched; NULL where the heap has none. */
static void *alloc_watched(size_t size, unsigned first_class) {
  bool zeroed = false;
  if (size > ZMEDIUM_MAX && size > zos_memory_and_swap()) return NULL;
  zallocator_lock();
  void *block = alloc_in_heap(size, first_class, ZPAGE_FLAG_SAMPLED, &zeroed);
  zallocator_unlock();
  return block;
}

static void *realloc_by_copy(void *block, size_t have, size_t size, unsigned first_class) {
  size_t wanted = with_slack(have, size);
  void *result = NULL;
  if (zunlikely(zload_relaxed(&zpage_find(block)->flags) & ZPAGE_FLAG_SAMPLED)) result = alloc_watched(wanted, first_class);
  if (result == NULL) result = alloc(wanted, first_class, MOVED);
  if (result == NULL) return size <= have ? block : NULL; /* a block can always become smaller */
  memcpy(result, block, zmin(have, size));
  zallocator_free(block);
  return result;
}

static void *move(void *block, size_t have, size_t size, unsigned first_class) {
  void *result = zpage_find(block)->block_size == 0 ? realloc_large(block, size) : NULL;
  return result != NULL ? result : realloc_by_copy(block, have, size, first_class);
}

/* Makes a block one of those that are watched: its place from now on; NULL, and nothing has changed,
 * where the heap has no other. */
static void *watch(void *block) {
  zpage_t *page = zpage_find(block);
  if (page->flags & ZPAGE_FLAG_SAMPLED) return block;
  if (page->block_size == 0) {
    zallocator_lock();
    zpage_set_flags(page, page->flags | ZPAGE_FLAG_SAMPLED);
    zallocator_unlock();
    return block;
  }
  size_t bytes = page->block_size;
  void *result = alloc_watched(bytes, holds_gc(page) ? ZCLASS_GC : 0);
  if (result == NULL) return NULL;
  memcpy(result, block, bytes);
  zallocator_free(block);
  return result;
}

/* What the block gains is an allocation by whoever makes it grow: sampled by itself, a part of the block. */
static znoinline void *move_watched(void *block, size_t have, size_t size, unsigned first_class) {
  bool is_known = zallocator_is_sampled(block);
  void *known = is_known ? watcher->moving(block) : NULL;
  void *result = move(block, have, size, first_class);
  if (is_known) watcher->moved(known, result == NULL ? block : result);
  size_t got = zallocator_size_of(result); /* 0 when there is none */
  if (got <= have || !watcher->is_sample(got - have)) return result;
  void *watched = watch(result);
  if (watched == NULL) return result;
  watcher->sampled(watched, have, got);
  return watched;
}

static inline void *resize(void *block, size_t size, unsigned first_class) {
  if (zunlikely(!zgranules_contains(block))) return zfallback_realloc(block, size);
  zpage_t *page = zpage_find(block);
  size_t have = block_bytes(page);
  if (fits_in_place(have, size)) return block;
  if (holds_gc(page)) first_class = ZCLASS_GC;
  return zunlikely(watcher != NULL) ? move_watched(block, have, size, first_class)
                                    : move(block, have, size, first_class);
}

void *zallocator_realloc(void *block, size_t size) {
  return block == NULL ? zallocator_alloc(size) : resize(block, size, 0);
}

void *zallocator_realloc_gc(void *block, size_t size) {
  return block == NULL ? zallocator_alloc_gc(size) : resize(block, size, ZCLASS_GC);
}

/* -- a watcher ------------------------------------------------------------------------------ */

void zallocator_start_watch(const zallocator_watcher_t *with) {
  watcher = with;
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    if (!is_small(i)) continue;
    zallocator.current[i] = &batches[i].front;
    batches[i].before_sample = watcher->blocks_before_sample(zsize_class_block_size(i));
  }
}

bool zallocator_is_sampled(const void *block) {
  return zgranules_contains(block) && zload_relaxed(&zpage_find(block)->flags) & ZPAGE_FLAG_SAMPLED;
}

/* -- sparse pages ---------------------------------------------------------------------------- */

/* A batch counts on the free list being all that is free. */
static bool may_have_holes(const zpage_t *page) {
  return watcher == NULL && page != *current_of(page->size_class, page->flags);
}

size_t zallocator_sparse_bytes(void) {
  size_t bytes = 0, granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  if (watcher != NULL) return 0;
  for (size_t i = 0; i < granules; i++) bytes += zsparse_bytes(&zpage_table[i]);
  return bytes;
}

bool zallocator_trim(size_t *at, uint64_t deadline_ns, size_t *bytes) {
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT, looks = 0;
  while (*at < granules) {
    zpage_t *page = &zpage_table[(*at)++];
    looks++;
    if (zsparse_bytes(page) != 0) {
      zallocator_lock();
      if (zsparse_bytes(page) != 0 && may_have_holes(page)) *bytes += zsparse_give_back(page);
      zallocator_unlock();
      looks += TRIM_SPARSE - 1;
    }
    if (looks < TRIM_LOOKS) continue;
    if (zos_now_ns() >= deadline_ns) break;
    looks = 0;
  }
  return *at >= granules;
}

/* -- the second GIL, fork, statistics ------------------------------------------------------- */

void zallocator_lock_forever(void) {
  if (is_locked) return;
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    batch_give_back(&batches[i]);
    if (watcher == NULL) current_behind[i] = zallocator.current[i];
    zallocator.current[i] = &empty_page;
  }
  is_locked = true;
  new_page_flags = ZPAGE_FLAG_LOCKED;
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) zpage_set_flags(&zpage_table[i], zpage_table[i].flags | ZPAGE_FLAG_LOCKED);
}

bool zallocator_is_locked(void) { return is_locked; }

void zallocator_lock_for_fork(void) {
  pthread_mutex_lock(&lock);
  zgranules_lock_for_fork();
}

void zallocator_unlock_after_fork(void) {
  zgranules_unlock_after_fork();
  pthread_mutex_unlock(&lock);
}

void zallocator_reset_after_fork_in_child(void) { idle_is_known = false; }

void zallocator_stats(zallocator_stats_t *stats) {
  memset(stats, 0, sizeof *stats);
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules;) {
    const zpage_t *page = &zpage_table[i];
    zpage_kind_t kind = kind_of(page);
    if (kind == ZPAGE_NONE || page->inner != 0) {
      i++;
      continue;
    }
    size_t run = page_granules(page);
    stats->pages[kind]++;
    stats->page_bytes += run * ZGRANULE_SIZE;
    stats->used_blocks += page->used;
    stats->used_bytes += (size_t)page->used * block_bytes(page);
    i += zmax(run, 1);
  }
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    stats->used_blocks -= batch_waiting(i);
    stats->used_bytes -= batch_waiting(i) * zsize_class_block_size(i);
  }
  stats->fallback_blocks = zload_relaxed(&fallback_blocks);
}

void zallocator_class_stats(zallocator_class_t classes[ZCLASS_COUNT]) {
  memset(classes, 0, ZCLASS_COUNT * sizeof *classes);
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules;) {
    const zpage_t *page = &zpage_table[i];
    if (kind_of(page) == ZPAGE_NONE || page->inner != 0) {
      i++;
      continue;
    }
    size_t size = page->block_size;
    if (size != 0 && size <= ZMEDIUM_MAX) {
      zallocator_class_t *c =
          &classes[size <= ZSMALL_MAX ? zsize_class_small(size) : zsize_class_medium(size)];
      c->pages++;
      c->capacity += page->capacity;
      c->used += page->used;
    }
    i += zmax(page_granules(page), 1);
  }
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    classes[i < ZCLASS_GC ? i : i - ZCLASS_GC].used -= batch_waiting(i);
  }
}

static bool page_is_valid(const zpage_t *page) {
  if (page->block_size == 0) return page->used == 1;
  size_t free = 0;
  const char *start = zpage_first_block(page);
  for (const zblock_t *b = page->free; b != NULL; b = b->next) {
    size_t offset = (size_t)((const char *)b - start);
    if (offset >= (size_t)page->carved * page->block_size || offset % page->block_size != 0) {
      return false;
    }
    if (++free > page->carved) return false;
  }
  free += zsparse_blocks(page);
  return page->used + free == page->carved && page->carved <= page->capacity;
}

bool zallocator_verify(char *message, size_t size) {
  size_t granules = zgranules_range.committed_end >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules;) {
    const zpage_t *page = &zpage_table[i];
    if (kind_of(page) == ZPAGE_NONE || page->inner != 0) {
      i++;
      continue;
    }
    if (!page_is_valid(page)) {
      snprintf(message, size, "page %zu (block size %u, used %u, carved %u of %u): free list broken",
               i, page->block_size, page->used, page->carved, page->capacity);
      return false;
    }
    i += zmax(page_granules(page), 1);
  }
  return true;
}
