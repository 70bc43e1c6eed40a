#include "heap/zallocator.h"

#include <stdio.h>
#include <string.h>

#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/zfallback.h"
#include "heap/zold_map.h"
#include "heap/zrecut.h"
#include "heap/zsparse.h"
#include "heap/zthread_heap.h"

#define CARVE_BYTES 4096              /* untouched memory stays untouched until it is needed */
#define TRIM_LOOKS 512                /* pages between two looks at the clock, ... */
#define TRIM_SPARSE 64                /* ... of which a sparse one counts as so many */
#define TRIM_FROM (8 * ZM)            /* in smaller heaps, sparse pages are left alone */
#define GROWTH_LOOKS 16               /* pages looked at per granule of growth; a sparse one counts as so many */
#define GROWTH_BLOCK_MIN 512          /* bytes; smaller ones keep no more than they do with pymalloc */
#define DEBT_AT_ONCE 16               /* granules of growth that one allocation makes up for; of the others ... */
#define DEBT_MAX 256                  /* ... so many are remembered */
#define SLACK_MAX ZMEDIUM_MAX         /* larger blocks grow in place */
#define MOVE_PAGES_MIN (4 * ZM)       /* below, copying is as fast and costs no mapping */
#define MOVED_RUNS_MAX 4096           /* each may split a mapping, of which a process has 65530 */

void (*zallocator_slow_hook)(void);
void (*zallocator_idle_hook)(void);

/* Where a class has no page: nothing is free in it, so the fast path takes its exit. */
static zpage_t empty_page;

/* Of a class that blocks come from. */
typedef struct {
  zpage_t *current[ZCLASS_ALL]; /* the page that it allocates from; never NULL */
  zpage_t *listed[ZCLASS_ALL];  /* other pages of the class with free blocks, doubly linked */
} pages_t;

/* `front` is what the fast path pops from. Only its list and two numbers are used: `carved` blocks were
 * put on the list, `used` of them have been handed out. All blocks of a batch count as used in their
 * page, and go back there when they are freed. */
typedef struct {
  zpage_t front;
  zblock_t *reserve;
  uint32_t reserve_count;
  uint64_t before_sample; /* blocks to go */
} batch_t;

/* Who may touch a heap and its pages, and why no lock is needed, says zallocator.h. */
typedef struct {
  zpage_t *front[ZCLASS_ALL];  /* what blocks are popped from: the current pages, with a watcher the batches' */
  pages_t plain, sampled;      /* sampled: those with ZPAGE_FLAG_SAMPLED */
  batch_t batches[ZCLASS_ALL]; /* with a watcher */
  zblock_t *returned;          /* freed by others; any thread pushes, who works in the heap takes all */
  uint32_t page_flags;         /* its number, above ZPAGE_HEAP_SHIFT */
  size_t debt, next_look;      /* granules of growth to make up for; where to look for sparse pages ... */
  size_t next_recut;           /* ... and for those to cut again */
  uint64_t kept[ZCLASS_ALL / 64 + 1]; /* classes that may keep an empty page at hand */
} heap_t;

static heap_t first_heap;
static heap_t common_heap = {.page_flags = ZALLOCATOR_COMMON << ZPAGE_HEAP_SHIFT};
static heap_t *heaps[ZALLOCATOR_HEAPS] = {&first_heap, &common_heap};
static unsigned heap_count = 2; /* grows only; a heap stands there before it has a page that others can meet */

static size_t moved_runs, fallback_blocks;
static bool idle_is_known; /* zallocator_idle_hook has been called */
static const zallocator_watcher_t *watcher;

/* -- open and closed ----------------------------------------------------------------------- */

/* What the fast path pops from: the first heap's `front`. Closed, it is closed_page for good. Written by who works in
 * the first heap, in one step from what stood there before, and by the closer: so what the closer wrote stays. */
static zpage_t *open_page[ZCLASS_ALL];
static zpage_t closed_page;

/* Set before a second GIL exists; who works in the first heap may see it later. `holder` comes with it. */
static bool is_closed;
static unsigned (*holder)(void);

static heap_t *heap_of(unsigned number) { return zload_acquire(&heaps[number]); }

void *zallocator_heap(unsigned number) { return heap_of(number); }

/* The calling thread's heap where no question and no lock is needed for it, or NULL. */
static inline heap_t *known_heap(void) { return zthread_heap_is_known() ? zthread_heap.heap : NULL; }

static znoinline heap_t *enter_closed(void) {
  heap_t *known = known_heap();
  if (zlikely(known != NULL)) return known;
  unsigned number = holder();
  if (zunlikely(number == ZALLOCATOR_COMMON)) zlock_take(ZLOCK_COMMON_HEAP);
  return heap_of(number);
}

/* The heap that the calling thread works in, until it leaves. */
static inline heap_t *enter(void) { return zlikely(!zload_acquire(&is_closed)) ? &first_heap : enter_closed(); }

static inline void leave(heap_t *heap) {
  if (zunlikely(heap == &common_heap)) zlock_drop(ZLOCK_COMMON_HEAP);
}

static bool is_own(const heap_t *heap, const zpage_t *page) {
  return ((zpage_flags(page) ^ heap->page_flags) & ZPAGE_HEAP_MASK) == 0;
}

/* Flags of a page that is made. The granules' lock has been taken since the closer looked for pages, or will
 * be before it does: one of the two sets CLOSED. */
static uint32_t new_page_flags(const heap_t *heap) {
  return heap->page_flags | (zload_relaxed(&is_closed) ? ZPAGE_FLAG_CLOSED : 0);
}

static pages_t *pages_of(heap_t *heap, uint32_t page_flags) {
  return page_flags & ZPAGE_FLAG_SAMPLED ? &heap->sampled : &heap->plain;
}

static zpage_t *current_of(heap_t *heap, unsigned size_class, uint32_t page_flags) {
  return pages_of(heap, page_flags)->current[size_class];
}

static void set_front(heap_t *heap, unsigned size_class, zpage_t *page) {
  zpage_t *before = heap->front[size_class];
  heap->front[size_class] = page;
  if (heap == &first_heap) zcas_relaxed(&open_page[size_class], &before, page);
}

static void set_current(heap_t *heap, unsigned size_class, uint32_t page_flags, zpage_t *page) {
  pages_t *pages = pages_of(heap, page_flags);
  pages->current[size_class] = page;
  if (pages == &heap->plain && watcher == NULL) set_front(heap, size_class, page);
}

static void start_heap(heap_t *heap) {
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    heap->front[i] = heap->plain.current[i] = heap->sampled.current[i] = &empty_page;
  }
}

bool zallocator_start(size_t range_size) {
  start_heap(&first_heap);
  start_heap(&common_heap);
  for (unsigned i = 0; i < ZCLASS_ALL; i++) open_page[i] = &empty_page;
  zgranules_add_table((void **)&zpage_table, 8 * sizeof(zpage_t));
  zgranules_add_table((void **)&zpage_leftover_table, 8 * sizeof(zpage_leftovers_t));
  zgranules_add_table((void **)&zold_map_bits, ZGRANULE_SIZE >> ZOLD_UNIT_SHIFT);
  return zgranules_start(range_size);
}

/* -- lists of pages with free blocks ------------------------------------------------------- */

static zpage_t **listed_of(heap_t *heap, const zpage_t *page) {
  return &pages_of(heap, zpage_flags(page))->listed[page->size_class];
}

static void list_push(heap_t *heap, zpage_t *page) {
  zpage_t **head = listed_of(heap, page);
  page->previous = NULL;
  page->next = *head;
  if (*head != NULL) (*head)->previous = page;
  *head = page;
}

static void list_remove(heap_t *heap, zpage_t *page) {
  zpage_t **head = listed_of(heap, page);
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

static void point_inner_entries(const heap_t *heap, zpage_t *page, size_t from, size_t to) {
  uint32_t flags = ZPAGE_FLAG_SPECIAL | new_page_flags(heap);
  for (size_t i = from; i < to; i++) {
    zpage_set_flags(&page[i], flags);
    zstore_relaxed(&page[i].inner, (uint32_t)i);
  }
}

/* The collector's thread may be started, which takes locks: not with ours held. */
static void tell_if_idle(const heap_t *heap) {
  if (zlikely(idle_is_known) || zgranules_idle_bytes() < ZALLOCATOR_IDLE_MIN) return;
  if (zallocator_idle_hook == NULL || heap != &first_heap) return;
  idle_is_known = true;
  zallocator_idle_hook();
}

/* The number of the heap stays until the next one takes the place: zallocator_verify looks at what another
 * heap's pages are. */
static void page_free(heap_t *heap, zpage_t *page) {
  size_t granules = page_granules(page);
  zprobe_page_free(kind_name(page), granules * ZGRANULE_SIZE);
  zsparse_forget(page);
  zstore_relaxed(&page->capacity, 0);
  zpage_set_flags(page, zpage_flags(page) & ZPAGE_HEAP_MASK);
  zstore_relaxed(&page->block_size, 0);
  zstore_relaxed(&page->next, NULL); /* a large size of 0: no page */
  for (size_t i = 1; i < granules; i++) zstore_relaxed(&page[i].inner, 0);
  zgranules_free(zpage_index(page), granules);
  tell_if_idle(heap);
}

/* The empty pages that classes keep at hand, before the heap takes memory that was never touched. */
static void free_kept_pages(heap_t *heap) {
  for (unsigned word = 0; word < ZARRAY_LENGTH(heap->kept); word++) {
    for (; heap->kept[word] != 0; heap->kept[word] &= heap->kept[word] - 1) {
      unsigned size_class = word * 64 + (unsigned)__builtin_ctzll(heap->kept[word]);
      zpage_t *page = heap->plain.current[size_class];
      if (page == &empty_page || page->used > 0) continue;
      set_current(heap, size_class, 0, &empty_page);
      page_free(heap, page);
    }
  }
}

/* A batch counts on the free list being all that is free. */
static bool may_have_holes(heap_t *heap, const zpage_t *page) {
  return watcher == NULL && is_own(heap, page) && page != current_of(heap, page->size_class, zpage_flags(page));
}

static size_t give_back(heap_t *heap, zpage_t *page) {
  return zsparse_bytes(page) != 0 && may_have_holes(heap, page) ? zsparse_give_back(page) : 0;
}

/* The heap has grown by memory that it did not have, which costs the system a fault for each OS page. In
 * proportion to that, and so in proportion to what is allocated, the next pages of the table are looked at,
 * and what lies free within sparse ones goes back: a program whose blocks change in size does not grow by
 * what its last phase has left, with or without a collector's thread. */
static void trim_for_growth(heap_t *heap, size_t granules) {
  heap->debt = zmin(heap->debt + granules, DEBT_MAX);
  if (watcher != NULL || zgranules_used_bytes() < TRIM_FROM) return;
  size_t end = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  size_t now = zmin(heap->debt, DEBT_AT_ONCE), bytes = 0;
  for (size_t work = now * GROWTH_LOOKS; work > 0 && bytes < now * ZGRANULE_SIZE; work--) {
    heap->next_look = heap->next_look + 1 < end ? heap->next_look + 1 : 0;
    zpage_t *page = &zpage_table[heap->next_look];
    if (zload_relaxed(&page->block_size) <= GROWTH_BLOCK_MIN || zsparse_bytes(page) == 0) continue;
    bytes += give_back(heap, page);
    work -= zmin(work, GROWTH_LOOKS) - 1;
  }
  heap->debt -= now;
}

/* A page of few blocks of another size, cut again for this one (zrecut.h); NULL where the next pages of the table
 * are none, or freed memory is idle. */
static zpage_t *recut_next(heap_t *heap, unsigned size_class) {
  size_t block_size = zsize_class_block_size(size_class);
  if (watcher != NULL || size_class >= ZCLASS_GC || block_size <= ZRECUT_BLOCK_MIN) return NULL;
  if (zpage_granules_of(block_size) != 1 || !zgranules_idle_are_few()) return NULL;
  if (zgranules_used_bytes() < TRIM_FROM) return NULL;
  size_t end = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t looks = GROWTH_LOOKS; looks > 0; looks--) {
    heap->next_recut = heap->next_recut + 1 < end ? heap->next_recut + 1 : 0;
    zpage_t *page = &zpage_table[heap->next_recut];
    zrecut_t plan;
    if (!is_own(heap, page) || zload_relaxed(&page->inner) != 0 || !may_have_holes(heap, page)) continue;
    if (!zrecut_plan(page, size_class, &plan)) continue;
    list_remove(heap, page);
    zrecut_page(page, size_class, &plan);
    return page;
  }
  return NULL;
}

static bool gc_is_apart; /* so the other small pages hold no GC objects */

static zpage_t *page_alloc(heap_t *heap, unsigned size_class, uint32_t flags) {
  bool is_gc = size_class >= ZCLASS_GC;
  if (is_gc) zstore_relaxed(&gc_is_apart, true);
  size_t block_size = zsize_class_block_size(size_class);
  size_t granules = zpage_granules_of(block_size);
  size_t dirty;
  if (zgranules_idle_bytes() == 0) free_kept_pages(heap);
  size_t first = zgranules_alloc(granules, &dirty);
  if (first == SIZE_MAX) return NULL;
  if (dirty == 0) trim_for_growth(heap, granules);
  zpage_t *page = &zpage_table[first];
  page->free = NULL;
  page->used = page->carved = 0;
  page->holes = page->looked_at = 0;
  size_t lead = zpage_lead_of(block_size, is_gc || !zload_relaxed(&gc_is_apart));
  page->size_class = (uint16_t)size_class;
  zpage_set_flags(page, (granules > 1 ? ZPAGE_FLAG_SPECIAL : 0) | new_page_flags(heap) | flags);
  zstore_relaxed(&page->inner, 0);
  zstore_relaxed(&page->lead, (uint16_t)lead);
  zstore_relaxed(&page->reciprocal, zpage_reciprocal(block_size));
  zstore_relaxed(&page->block_size, (uint32_t)block_size);
  zstore_release(&page->capacity, (uint32_t)((granules * ZGRANULE_SIZE - lead) / block_size));
  point_inner_entries(heap, page, 1, granules);
  zprobe_page_alloc(kind_name(page), granules * ZGRANULE_SIZE);
  return page;
}

static zalways_inline char *link_next(char *block, size_t size) {
  ((zblock_t *)block)->next = (zblock_t *)(block + size);
  return block + size;
}

/* Of neighbours, in groups: a start of the interpreter does it for as many blocks as it uses. */
static zalways_inline void chain(char *block, uint32_t count, size_t size) {
  for (; count > 4; count -= 4) {
    block = link_next(link_next(link_next(link_next(block, size), size), size), size);
  }
  for (; count > 1; count--) block = link_next(block, size);
  ((zblock_t *)block)->next = NULL;
}

/* Puts the next few blocks of memory that is not in use on the empty free list, or of holes; false when
 * none is left. */
static bool carve(zpage_t *page) {
  uint32_t block_size = page->block_size, count = CARVE_BYTES / block_size;
  if (count == 0) count = 1;
  if (count > page->capacity - page->carved) count = page->capacity - page->carved;
  if (count == 0) return zsparse_take_back(page);
  char *first = zpage_first_block(page) + (size_t)page->carved * block_size;
  page->free = (zblock_t *)first;
  chain(first, count, block_size);
  page->carved += count;
  return true;
}

static void take_returned(heap_t *heap);

/* Makes the class's current page, of those with `flags`, one with a free block; false when memory is
 * short. */
static bool refill(heap_t *heap, unsigned size_class, uint32_t flags) {
  if (zunlikely(zload_relaxed(&heap->returned) != NULL)) take_returned(heap);
  zpage_t *page = current_of(heap, size_class, flags);
  if (page != &empty_page) {
    if (page->free != NULL || carve(page)) return true;
    zpage_set_flags(page, zpage_flags(page) | ZPAGE_FLAG_FULL);
    set_current(heap, size_class, flags, &empty_page);
  }
  page = pages_of(heap, flags)->listed[size_class];
  if (page != NULL) {
    list_remove(heap, page);
  } else {
    page = flags == 0 ? recut_next(heap, size_class) : NULL;
    if (page == NULL) page = page_alloc(heap, size_class, flags);
    if (page == NULL) return false;
  }
  if (page->free == NULL && !carve(page)) return false;
  set_current(heap, size_class, flags, page);
  return true;
}

/* -- large blocks -------------------------------------------------------------------------- */

static void set_large_size(zpage_t *page, size_t size) {
  zstore_relaxed(&page->next, (zpage_t *)size);
}

static zpage_t *large_page(heap_t *heap, size_t first, size_t size) {
  zpage_t *page = &zpage_table[first];
  size_t granules = granules_for(size);
  page->used = page->carved = 1;
  page->size_class = ZCLASS_ALL;
  zpage_set_flags(page, ZPAGE_FLAG_SPECIAL | new_page_flags(heap));
  zstore_relaxed(&page->inner, 0);
  zstore_relaxed(&page->reciprocal, 0); /* block index 0 for every address */
  zstore_relaxed(&page->block_size, 0);
  set_large_size(page, zalign_up(size, ZBLOCK_ALIGNMENT));
  zstore_release(&page->capacity, 1);
  point_inner_entries(heap, page, 1, granules);
  zprobe_page_alloc(kind_name(page), granules * ZGRANULE_SIZE);
  return page;
}

static void *large_alloc(heap_t *heap, size_t size, bool want_zeroed) {
  size_t dirty;
  size_t first = zgranules_alloc(granules_for(size), &dirty);
  if (first == SIZE_MAX) return NULL;
  if (dirty == 0) trim_for_growth(heap, granules_for(size));
  char *block = zpage_start(large_page(heap, first, size));
  if (want_zeroed) memset(block, 0, zmin(size, dirty * ZGRANULE_SIZE)); /* what is never written needs no memory */
  return block;
}

/* The block at its old address with another number of granules, or NULL. */
static void *large_resize_in_place(heap_t *heap, zpage_t *page, size_t size) {
  size_t before = page_granules(page), after = granules_for(size), index = zpage_index(page);
  if (after > before) {
    if (!zgranules_extend(index + before, after - before)) return NULL;
    trim_for_growth(heap, after - before);
    point_inner_entries(heap, page, before, after);
    zprobe_page_alloc(kind_name(page), (after - before) * ZGRANULE_SIZE);
  } else if (after < before) {
    zold_map_forget_tail(page, after, before);
    for (size_t i = after; i < before; i++) zstore_relaxed(&page[i].inner, 0);
    zgranules_free(index + after, before - after);
    zprobe_page_free(kind_name(page), (before - after) * ZGRANULE_SIZE);
  }
  set_large_size(page, zalign_up(size, ZBLOCK_ALIGNMENT));
  return zpage_start(page);
}

/* Fills a run with what another holds: with its OS pages, or with a copy. No page stands there as yet, so that
 * no collector thread reads it. False: the run is lost, and the other is as it was. */
static bool move_contents(const zpage_t *from, char *to) {
  size_t bytes = page_granules(from) * ZGRANULE_SIZE;
  bool may_move = zos_page_size() <= ZGRANULE_SIZE && zload_relaxed(&moved_runs) < MOVED_RUNS_MAX;
  if (bytes >= MOVE_PAGES_MIN && may_move) {
    int error = zos_move_pages(zpage_start(from), to, bytes);
    if (error == 0) {
      zfetch_add_relaxed(&moved_runs, 1);
      zgranules_note_zeroed(zpage_index(from), bytes / ZGRANULE_SIZE);
      return true;
    }
    zlog_warn("gc,fault", "moving %lu bytes of pages failed: %d; copied instead", (unsigned long)bytes, error);
    if (error > 0) return false;
  }
  memcpy(to, zpage_start(from), zpage_large_size(from));
  return true;
}

/* A block that grows and has no room: to where there is some. It will grow again, and then needs neither a
 * copy nor a system call. NULL: it stays. */
static void *large_move(heap_t *heap, zpage_t *page, size_t size) {
  size_t dirty;
  size_t first = zgranules_alloc_growing(granules_for(size), &dirty);
  if (first == SIZE_MAX || !move_contents(page, zpage_start(&zpage_table[first]))) return NULL;
  zpage_t *to = large_page(heap, first, size);
  zpage_set_flags(to, zpage_flags(to) | (zpage_flags(page) & ZPAGE_FLAG_SAMPLED));
  page_free(heap, page);
  return zpage_start(to);
}

/* -- blocks that come back -------------------------------------------------------------------- */

/* A page that was full has a free block: the next to be handed out, since it is warm (as pymalloc does
 * it). Where old objects are replaced at random, each would be written to a cold line otherwise. A
 * current page without used blocks stays: listed, it would never be given back. */
static void reopen(heap_t *heap, zpage_t *page) {
  zpage_set_flags(page, zpage_flags(page) & ~(uint32_t)ZPAGE_FLAG_FULL);
  zpage_t *before = current_of(heap, page->size_class, zpage_flags(page));
  if (before != &empty_page && before->used == 0) {
    list_push(heap, page);
    return;
  }
  set_current(heap, page->size_class, zpage_flags(page), page);
  if (before == &empty_page) return;
  if (before->free == NULL && before->carved == before->capacity && before->holes == 0) {
    zpage_set_flags(before, zpage_flags(before) | ZPAGE_FLAG_FULL);
  } else {
    list_push(heap, before);
  }
}

/* What is left to do when a block went back to a page with flags, or when it was the last one. A class keeps its
 * current page when that is empty, but no more than a granule: the memory of larger ones is sooner wanted by other
 * classes than again by this one. */
static void after_free(heap_t *heap, zpage_t *page) {
  zpage_t *current = current_of(heap, page->size_class, zpage_flags(page));
  if (page->used == 0 && (page != current || zpage_flags(page) & ZPAGE_FLAG_SPECIAL)) {
    if (page == current) {
      set_current(heap, page->size_class, zpage_flags(page), &empty_page);
    } else if (!(zpage_flags(page) & ZPAGE_FLAG_FULL)) {
      list_remove(heap, page);
    }
    page_free(heap, page);
    return;
  }
  if (page->used == 0) heap->kept[page->size_class / 64] |= (uint64_t)1 << page->size_class % 64;
  if (zpage_flags(page) & ZPAGE_FLAG_FULL) reopen(heap, page);
}

static void free_leftover(heap_t *heap, zpage_t *page, void *leftover, size_t size) {
  if (zpage_flags(page) & ZPAGE_FLAG_OLD) zold_map_forget_leftover(leftover, size);
  uint32_t count = zrecut_free(page, leftover);
  if (count != 0 && (page->used == 0 || zpage_flags(page) & ZPAGE_FLAG_FULL)) after_free(heap, page);
}

static void free_in_page(heap_t *heap, zpage_t *page, void *block) {
  size_t leftover = zpage_flags(page) & ZPAGE_FLAG_RECUT ? zrecut_leftover_size(page, block) : 0;
  if (zunlikely(leftover != 0)) {
    free_leftover(heap, page, block, leftover);
    return;
  }
  if (zpage_flags(page) & ZPAGE_FLAG_OLD) zold_map_forget_block(page, block);
  if (page->block_size == 0) {
    page_free(heap, page);
    return;
  }
  zblock_t *b = block;
  b->next = page->free;
  page->free = b;
  page->used--;
  if (page->used == 0 || zpage_flags(page) & ZPAGE_FLAG_FULL) after_free(heap, page);
}

/* A block of another heap, which stays used there until that heap takes it. */
static void return_to(heap_t *heap, void *block) {
  zblock_t *b = block, *before = zload_relaxed(&heap->returned);
  do {
    b->next = before;
  } while (!zcas_acq_rel(&heap->returned, &before, b));
}

static void take_returned(heap_t *heap) {
  zblock_t *b = zexchange_acq_rel(&heap->returned, NULL);
  for (zblock_t *next; b != NULL; b = next) {
    next = b->next;
    free_in_page(heap, zpage_find(b), b);
  }
}

/* -- batches of small blocks, with a watcher ------------------------------------------------ */

#define BATCH_MIN 16
#define BATCH_MAX 32 /* of more, the rest waits in reserve: blocks that are freed meanwhile are warm */

static size_t batch_waiting(const heap_t *heap, unsigned size_class) {
  const batch_t *batch = &heap->batches[size_class];
  uint32_t carved = zload_relaxed(&batch->front.carved), used = zload_relaxed(&batch->front.used);
  return zload_relaxed(&batch->reserve_count) + (carved > used ? carved - used : 0);
}

static bool is_small(unsigned size_class) { return size_class < ZSMALL_CLASSES || size_class >= ZCLASS_GC; }

/* The reserve, unless the page has enough; then all that is free there. As a whole: how long such a list
 * is, is known, and to walk it would be a cache miss for each block. */
static zblock_t *batch_source(heap_t *heap, batch_t *batch, unsigned size_class, uint32_t *count) {
  zpage_t *page = heap->plain.current[size_class];
  zblock_t *list = batch->reserve;
  if (list != NULL && page->carved - page->used < BATCH_MIN) {
    *count = batch->reserve_count;
    batch->reserve = NULL;
    zstore_relaxed(&batch->reserve_count, 0);
    return list;
  }
  if (!refill(heap, size_class, 0)) return NULL;
  page = heap->plain.current[size_class];
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
static void *batch_take(heap_t *heap, unsigned size_class) {
  batch_t *batch = &heap->batches[size_class];
  bool was_reserve = batch->reserve != NULL;
  uint32_t count;
  zblock_t *first = batch_source(heap, batch, size_class, &count);
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

/* -- slow paths ---------------------------------------------------------------------------- */

/* MOVED: for a block that exists, and has been counted. */
typedef enum { PLAIN, ZEROED, MOVED } request_t;

static unsigned class_of(size_t size, unsigned first_class) {
  return size <= ZSMALL_MAX ? first_class + zsize_class_small(size) : zsize_class_medium(size);
}

static inline void *pop(zpage_t *page) {
  zblock_t *block = page->free;
  if (zunlikely(block == NULL)) return NULL;
  page->free = block->next;
  page->used++;
  return block;
}

static void *alloc_from_class(heap_t *heap, unsigned size_class, uint32_t flags) {
  if (zunlikely(watcher != NULL) && flags == 0 && is_small(size_class)) return batch_take(heap, size_class);
  return refill(heap, size_class, flags) ? pop(current_of(heap, size_class, flags)) : NULL;
}

static void *alloc_in_heap(heap_t *heap, size_t size, unsigned first_class, uint32_t flags, bool *zeroed) {
  if (size <= ZMEDIUM_MAX) return alloc_from_class(heap, class_of(size, first_class), flags);
  void *block = large_alloc(heap, size, *zeroed);
  if (block == NULL) return NULL;
  *zeroed = false;
  zpage_t *page = zpage_entry(block);
  zpage_set_flags(page, zpage_flags(page) | flags);
  return block;
}

/* A small block that moves may take a turn that was drawn for a sample: then there is none, which
 * leaves the others' chances as they are. */
static bool is_sample(heap_t *heap, size_t size, unsigned first_class, request_t request) {
  if (size > ZSMALL_MAX) return request != MOVED && watcher->is_sample(zallocator_size_for(size));
  unsigned size_class = class_of(size, first_class);
  uint64_t *before_sample = &heap->batches[size_class].before_sample;
  if (*before_sample > 0) return false;
  *before_sample = watcher->blocks_before_sample(zsize_class_block_size(size_class));
  if (request != MOVED) return true;
  ++*before_sample; /* the batch counts it */
  return false;
}

/* In the calling thread's heap; *sample says whether the block is one. */
static void *alloc_entered(size_t size, unsigned first_class, bool *zeroed, request_t request, bool *sample) {
  heap_t *heap = enter();
  void *block = size <= ZSMALL_MAX ? pop(heap->front[class_of(size, first_class)]) : NULL;
  if (zlikely(block == NULL)) {
    if (zallocator_slow_hook != NULL && heap == &first_heap) zallocator_slow_hook();
    if (zunlikely(watcher != NULL) && is_sample(heap, size, first_class, request)) {
      block = alloc_in_heap(heap, size, first_class, ZPAGE_FLAG_SAMPLED, zeroed);
      *sample = block != NULL;
    }
    if (zlikely(block == NULL)) block = alloc_in_heap(heap, size, first_class, 0, zeroed);
  }
  leave(heap);
  return block;
}

static znoinline void *alloc_slow(size_t size, unsigned first_class, request_t request) {
  bool zeroed = request == ZEROED, sample = false;
  /* Our mappings are not accounted, so nobody else would refuse what cannot be had. */
  if (zunlikely(size > ZMEDIUM_MAX) && size > zos_memory_and_swap()) return NULL;
  void *block = alloc_entered(size, first_class, &zeroed, request, &sample);
  if (zunlikely(block == NULL)) {
    if (zfetch_add_relaxed(&fallback_blocks, 1) == 0) {
      zlog_warn("gc,fault", "the heap cannot give %lu bytes: such blocks come from malloc",
                (unsigned long)size);
    }
    return zeroed ? zfallback_alloc_zeroed(1, size) : zfallback_alloc(size);
  }
  if (zeroed) memset(block, 0, size);
  if (zunlikely(sample)) watcher->sampled(block, 0, zallocator_size_of(block));
  return block;
}

static void free_entered(zpage_t *page, void *block) {
  heap_t *heap = enter();
  if (zlikely(is_own(heap, page))) {
    free_in_page(heap, page, block);
  } else {
    return_to(heap_of(zpage_heap(page)), block);
  }
  leave(heap);
}

static znoinline void free_anywhere(void *block) {
  zpage_t *page = zpage_find(block);
  if (zunlikely(zpage_flags(page) & ZPAGE_FLAG_SAMPLED)) watcher->freed(block);
  free_entered(page, block);
}

/* Whether the heap has no more to do for a block than to push it, in a page of these flags. */
static bool is_plain_free(const heap_t *heap, const zpage_t *page, uint32_t flags, const void *block) {
  if (((flags ^ heap->page_flags) & ~(uint32_t)(ZPAGE_FLAG_OLD | ZPAGE_FLAG_CLOSED)) != 0) return false;
  return page->used != 1 && (!(flags & ZPAGE_FLAG_OLD) || !zold_map_may_start_in(block));
}

static inline void push(zpage_t *page, void *block) {
  zblock_t *b = block;
  b->next = page->free;
  page->free = b;
  page->used--;
}

/* The fast paths of a heap that no fast path leads to. */

static znoinline void *alloc_small_slow(size_t size, unsigned size_class, request_t request) {
  heap_t *heap = known_heap();
  void *block = heap != NULL ? pop(heap->front[size_class]) : NULL;
  return zlikely(block != NULL) ? block : alloc_slow(size, size_class >= ZCLASS_GC ? ZCLASS_GC : 0, request);
}

static znoinline void free_slow(void *block, zpage_t *page, uint32_t flags) {
  heap_t *heap = flags & ZPAGE_FLAG_CLOSED ? known_heap() : NULL;
  if (heap != NULL && is_plain_free(heap, page, flags, block)) {
    push(page, block);
  } else {
    free_anywhere(block);
  }
}

/* -- fast paths ---------------------------------------------------------------------------- */

static inline void *alloc(size_t size, unsigned first_class, request_t request) {
  if (zunlikely(size > ZSMALL_MAX)) return alloc_slow(size, first_class, request);
  unsigned size_class = first_class + zsize_class_small(size);
  void *block = pop(zload_relaxed(&open_page[size_class]));
  return zlikely(block != NULL) ? block : alloc_small_slow(size, size_class, request);
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
  uint32_t flags = zpage_flags(page);
  /* Flags first: CLOSED says that the rest may be another's. */
  if (zunlikely((flags & ~(uint32_t)ZPAGE_FLAG_OLD) != 0 || page->used == 1 ||
                (flags != 0 && zold_map_may_start_in(block)))) {
    free_slow(block, page, flags);
    return;
  }
  push(page, block);
}

/* -- realloc ------------------------------------------------------------------------------- */

/* Of the blocks of a page, ... */
static size_t blocks_bytes(const zpage_t *page) {
  return page->block_size != 0 ? page->block_size : zpage_large_size(page);
}

/* ... and of this one. */
static size_t block_bytes(const zpage_t *page, const void *block) {
  size_t leftover = zpage_flags(page) & ZPAGE_FLAG_RECUT ? zrecut_leftover_size(page, block) : 0;
  return zlikely(leftover == 0) ? blocks_bytes(page) : leftover;
}

size_t zallocator_size_for(size_t size) {
  if (size <= ZMEDIUM_MAX) return zsize_class_block_size(class_of(size, 0));
  return size > SIZE_MAX - ZGRANULE_SIZE ? size : zalign_up(size, ZBLOCK_ALIGNMENT);
}

size_t zallocator_size_of(const void *block) {
  return zgranules_contains(block) ? block_bytes(zpage_find(block), block) : 0;
}

/* A block shrinks in place while at least three quarters of it stay in use. */
static bool fits_in_place(size_t have, size_t size) { return size <= have && size >= have - have / 4; }

/* An old object never moves (GC objects of this size are resized by copy): see zold_map.h. */
static void *resize_large(heap_t *heap, zpage_t *page, size_t size) {
  void *result = large_resize_in_place(heap, page, size);
  if (result == NULL && !(zpage_flags(page) & ZPAGE_FLAG_OLD)) result = large_move(heap, page, size);
  return result;
}

static void *realloc_large(void *block, size_t size) {
  void *result = NULL;
  heap_t *heap = enter();
  zpage_t *page = zpage_find(block);
  bool is_large = page->block_size == 0 && size > ZMEDIUM_MAX && size <= zos_memory_and_swap();
  if (is_large && is_own(heap, page)) result = resize_large(heap, page, size);
  leave(heap);
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
  heap_t *heap = enter();
  void *block = alloc_in_heap(heap, size, first_class, ZPAGE_FLAG_SAMPLED, &zeroed);
  leave(heap);
  return block;
}

static void *realloc_by_copy(void *block, size_t have, size_t size, unsigned first_class) {
  size_t wanted = with_slack(have, size);
  void *result = NULL;
  if (zunlikely(zpage_flags(zpage_find(block)) & ZPAGE_FLAG_SAMPLED)) result = alloc_watched(wanted, first_class);
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
  if (zpage_flags(page) & ZPAGE_FLAG_SAMPLED) return block;
  if (page->block_size == 0) {
    zpage_set_flags(page, zpage_flags(page) | ZPAGE_FLAG_SAMPLED); /* of its only block, which is ours */
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
  size_t have = block_bytes(page, block);
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

static void start_batches(heap_t *heap) {
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    if (!is_small(i)) continue;
    heap->batches[i].before_sample = watcher->blocks_before_sample(zsize_class_block_size(i));
    set_front(heap, i, &heap->batches[i].front);
  }
}

void zallocator_start_watch(const zallocator_watcher_t *with) {
  watcher = with;
  start_batches(&first_heap);
  start_batches(&common_heap);
}

bool zallocator_is_sampled(const void *block) {
  return zgranules_contains(block) && zpage_flags(zpage_find(block)) & ZPAGE_FLAG_SAMPLED;
}

/* -- sparse pages ---------------------------------------------------------------------------- */

size_t zallocator_sparse_bytes(void) {
  size_t bytes = 0, granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  if (watcher != NULL) return 0;
  for (size_t i = 0; i < granules; i++) {
    if (is_own(&first_heap, &zpage_table[i])) bytes += zsparse_bytes(&zpage_table[i]);
  }
  return bytes;
}

static size_t trim_page(zpage_t *page) {
  heap_t *heap = enter();
  size_t bytes = give_back(heap, page);
  leave(heap);
  return bytes;
}

bool zallocator_trim(size_t *at, uint64_t deadline_ns, size_t *bytes) {
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT, looks = 0;
  while (*at < granules) {
    zpage_t *page = &zpage_table[(*at)++];
    looks++;
    if (zsparse_bytes(page) != 0) {
      *bytes += trim_page(page);
      looks += TRIM_SPARSE - 1;
    }
    if (looks < TRIM_LOOKS) continue;
    if (zos_now_ns() >= deadline_ns) break;
    looks = 0;
  }
  return *at >= granules;
}

/* -- the second GIL, fork, statistics ------------------------------------------------------- */

static size_t committed_granules(void) {
  zlock_take(ZLOCK_GRANULES);
  size_t bytes = zgranules_range.committed_end;
  zlock_drop(ZLOCK_GRANULES);
  return bytes >> ZGRANULE_SHIFT;
}

/* Frees of every page that there is look at the owner from now on, and new_page_flags sees to later ones. */
static void close_pages(void) {
  size_t granules = committed_granules();
  for (size_t i = 0; i < granules; i++) zpage_close(&zpage_table[i]);
}

void zallocator_close(unsigned (*who)(void)) {
  zlock_take(ZLOCK_COMMON_HEAP); /* another closer comes back once the pages are closed, not before */
  if (!is_closed) {
    holder = who;
    zstore_release(&is_closed, true);
    for (unsigned i = 0; i < ZCLASS_ALL; i++) zstore_relaxed(&open_page[i], &closed_page);
    close_pages();
  }
  zlock_drop(ZLOCK_COMMON_HEAP);
}

bool zallocator_is_closed(void) { return zload_relaxed(&is_closed); }

unsigned zallocator_new_heap(void) {
  unsigned number = heap_count;
  heap_t *heap = number < ZALLOCATOR_HEAPS ? zos_table_map(sizeof *heap) : NULL;
  if (heap == NULL) return ZALLOCATOR_COMMON;
  start_heap(heap);
  heap->page_flags = number << ZPAGE_HEAP_SHIFT;
  if (watcher != NULL) start_batches(heap);
  zstore_release(&heaps[number], heap);
  zstore_release(&heap_count, number + 1);
  return number;
}

void zallocator_leave_heap(unsigned number) {
  heap_t *heap = heap_of(number);
  take_returned(heap);
  free_kept_pages(heap);
}

void zallocator_reset_after_fork_in_child(void) { idle_is_known = false; }

/* The first entry of a page that holds blocks; the other heaps' may change meanwhile. */
static bool is_page(const zpage_t *page) {
  return zload_acquire(&page->capacity) != 0 && zload_relaxed(&page->inner) == 0;
}

static size_t waiting_in_batches(unsigned size_class) {
  size_t count = 0;
  for (unsigned i = 0; i < zload_acquire(&heap_count); i++) count += batch_waiting(heap_of(i), size_class);
  return count;
}

void zallocator_stats(zallocator_stats_t *stats) {
  memset(stats, 0, sizeof *stats);
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    const zpage_t *page = &zpage_table[i];
    if (!is_page(page)) continue;
    stats->pages[kind_of(page)]++;
    stats->page_bytes += page_granules(page) * ZGRANULE_SIZE;
    stats->used_blocks += zload_relaxed(&page->used);
    stats->used_bytes += (size_t)page->used * blocks_bytes(page);
  }
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    stats->used_blocks -= waiting_in_batches(i);
    stats->used_bytes -= waiting_in_batches(i) * zsize_class_block_size(i);
  }
  stats->fallback_blocks = zload_relaxed(&fallback_blocks);
}

void zallocator_class_stats(zallocator_class_t classes[ZCLASS_COUNT]) {
  memset(classes, 0, ZCLASS_COUNT * sizeof *classes);
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    const zpage_t *page = &zpage_table[i];
    size_t size = zload_relaxed(&page->block_size);
    if (!is_page(page) || size == 0 || size > ZMEDIUM_MAX) continue;
    zallocator_class_t *c = &classes[class_of(size, 0)];
    c->pages++;
    c->capacity += page->capacity;
    c->used += page->used;
  }
  for (unsigned i = 0; i < ZCLASS_ALL; i++) classes[i < ZCLASS_GC ? i : i - ZCLASS_GC].used -= waiting_in_batches(i);
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

/* A page of another heap keeps that heap's number from before it has a capacity until long after, so it is not
 * taken for one of these. */
static bool heap_is_valid(const heap_t *heap, char *message, size_t size) {
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    const zpage_t *page = &zpage_table[i];
    if (!is_page(page) || !is_own(heap, page) || page_is_valid(page)) continue;
    snprintf(message, size, "page %zu (block size %u, used %u, carved %u of %u): free list broken", i,
             page->block_size, page->used, page->carved, page->capacity);
    return false;
  }
  return true;
}

bool zallocator_verify(char *message, size_t size) {
  heap_t *heap = enter();
  bool is_valid = heap_is_valid(heap, message, size);
  leave(heap);
  if (!is_valid || heap == &common_heap) return is_valid;
  zlock_take(ZLOCK_COMMON_HEAP);
  is_valid = heap_is_valid(&common_heap, message, size);
  zlock_drop(ZLOCK_COMMON_HEAP);
  return is_valid;
}
