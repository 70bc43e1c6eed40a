#include "heap/zpage_pool.h"

#include "heap/base/zprobe.h"
#include "heap/zold_map.h"
#include "heap/zrecut.h"
#include "heap/zsparse.h"

#define CARVE_BYTES 4096     /* untouched memory stays untouched until it is needed */
#define TRIM_FROM (8 * ZM)   /* smaller heaps leave sparse pages alone */
#define GROWTH_LOOKS 16      /* for each granule of growth, look at 16 pages; a sparse one weighs 16 */
#define GROWTH_BLOCK_MIN 512 /* bytes; pymalloc's pools keep as much of smaller blocks */
#define DEBT_AT_ONCE 16      /* granules of growth that one allocation makes up for */
#define DEBT_MAX 256         /* growth that is remembered for the next ones */

static bool idle_is_known; /* zheap_hooks.idle has been called */

/* -- lists of pages with free blocks ------------------------------------------------------- */

static zpage_t **listed_of(zheap_t *heap, const zpage_t *page) {
  return &zheap_pages_of(heap, zpage_flags(page))->listed[page->size_class];
}

static void list_push(zheap_t *heap, zpage_t *page) {
  zpage_t **head = listed_of(heap, page);
  page->previous = NULL;
  page->next = *head;
  if (*head != NULL) (*head)->previous = page;
  *head = page;
}

static void list_remove(zheap_t *heap, zpage_t *page) {
  zpage_t **head = listed_of(heap, page);
  if (page->previous != NULL) {
    page->previous->next = page->next;
  } else {
    *head = page->next;
  }
  if (page->next != NULL) page->next->previous = page->previous;
}

/* -- pages that are made and freed ----------------------------------------------------------- */

void zpage_pool_point_inner(const zheap_t *heap, zpage_t *page, size_t from, size_t to) {
  uint32_t flags = ZPAGE_FLAG_SPECIAL | zheap_new_page_flags(heap);
  for (size_t i = from; i < to; i++) {
    zpage_set_flags(&page[i], flags);
    zstore_relaxed(&page[i].inner, (uint32_t)i);
  }
}

/* The collector's thread may be started, which takes locks: not with ours held. */
static void tell_if_idle(const zheap_t *heap) {
  if (zlikely(idle_is_known) || zgranules_idle_bytes() < ZHEAP_IDLE_MIN) return;
  if (zheap_hooks.idle == NULL || heap != &zheap_first) return;
  idle_is_known = true;
  zheap_hooks.idle();
}

/* The number of the heap stays until another heap takes the granules: zheap_report_verify asks whose a page is while
 * its owner may free it. */
void zpage_pool_free_page(zheap_t *heap, zpage_t *page) {
  size_t granules = zpage_granules(page);
  zprobe_page_free(zpage_kind_name(page), granules * ZGRANULE_SIZE);
  zsparse_forget(page);
  zstore_relaxed(&page->capacity, 0);
  zpage_set_flags(page, zpage_flags(page) & ZPAGE_HEAP_MASK);
  zstore_relaxed(&page->block_size, 0);
  zstore_relaxed(&page->next, NULL); /* a large size of 0: no page */
  for (size_t i = 1; i < granules; i++) zstore_relaxed(&page[i].inner, 0);
  zgranules_free(zpage_index(page), granules);
  tell_if_idle(heap);
}

void zpage_pool_free_kept(zheap_t *heap) {
  for (unsigned word = 0; word < ZARRAY_LENGTH(heap->kept); word++) {
    for (; heap->kept[word] != 0; heap->kept[word] &= heap->kept[word] - 1) {
      unsigned size_class = word * 64 + (unsigned)__builtin_ctzll(heap->kept[word]);
      zpage_t *page = heap->plain.current[size_class];
      if (page == &zheap_empty_page || page->used > 0) continue;
      zheap_set_current(heap, size_class, 0, &zheap_empty_page);
      zpage_pool_free_page(heap, page);
    }
  }
}

/* -- growth ---------------------------------------------------------------------------------- */

/* A batch counts on the free list being all that is free. */
static bool may_have_holes(zheap_t *heap, const zpage_t *page) {
  if (zheap_has_batches || !zheap_owns(heap, page)) return false;
  return page != zheap_current(heap, page->size_class, zpage_flags(page));
}

size_t zpage_pool_trim(zheap_t *heap, zpage_t *page) {
  return zsparse_bytes(page) != 0 && may_have_holes(heap, page) ? zsparse_give_back(page) : 0;
}

/* The heap grows: each new OS page costs the system a fault. In proportion to that, and so in proportion to what is
 * allocated, look at the next pages of the table and give back what lies free within sparse ones. So a program whose
 * blocks change in size does not grow by what its last phase has left, with or without a collector thread. */
void zpage_pool_grown(zheap_t *heap, size_t granules) {
  heap->debt = zmin(heap->debt + granules, DEBT_MAX);
  if (zheap_has_batches || zgranules_used_bytes() < TRIM_FROM) return;
  size_t end = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  size_t now = zmin(heap->debt, DEBT_AT_ONCE), bytes = 0;
  for (size_t work = now * GROWTH_LOOKS; work > 0 && bytes < now * ZGRANULE_SIZE; work--) {
    heap->next_look = heap->next_look + 1 < end ? heap->next_look + 1 : 0;
    zpage_t *page = &zpage_table[heap->next_look];
    if (zload_relaxed(&page->block_size) <= GROWTH_BLOCK_MIN || zsparse_bytes(page) == 0) continue;
    bytes += zpage_pool_trim(heap, page);
    work -= zmin(work, GROWTH_LOOKS) - 1;
  }
  heap->debt -= now;
}

/* A page of few blocks of another size, cut again for this one (zrecut.h); NULL where the next pages of the table
 * are none, or freed memory is idle. */
static zpage_t *recut_next(zheap_t *heap, unsigned size_class) {
  size_t block_size = zsize_class_block_size(size_class);
  if (zheap_has_batches || size_class >= ZCLASS_GC || block_size <= ZRECUT_BLOCK_MIN) return NULL;
  if (zpage_granules_of(block_size) != 1 || !zgranules_idle_are_few()) return NULL;
  if (zgranules_used_bytes() < TRIM_FROM) return NULL;
  size_t end = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t looks = GROWTH_LOOKS; looks > 0; looks--) {
    heap->next_recut = heap->next_recut + 1 < end ? heap->next_recut + 1 : 0;
    zpage_t *page = &zpage_table[heap->next_recut];
    zrecut_t plan;
    if (zload_relaxed(&page->block_size) <= ZRECUT_BLOCK_MIN) continue; /* a large page has 0, and no class */
    if (!zheap_owns(heap, page) || zload_relaxed(&page->inner) != 0 || !may_have_holes(heap, page)) continue;
    if (!zrecut_plan(page, size_class, &plan)) continue;
    list_remove(heap, page);
    zrecut_page(page, size_class, &plan);
    return page;
  }
  return NULL;
}

static bool gc_is_apart; /* GC objects have classes of their own: other small pages hold none */

static zpage_t *page_alloc(zheap_t *heap, unsigned size_class, uint32_t flags) {
  bool is_gc = size_class >= ZCLASS_GC;
  if (is_gc) zstore_relaxed(&gc_is_apart, true);
  size_t block_size = zsize_class_block_size(size_class);
  size_t granules = zpage_granules_of(block_size);
  size_t dirty;
  if (zgranules_idle_bytes() == 0) zpage_pool_free_kept(heap);
  size_t first = zgranules_alloc(granules, &dirty);
  if (first == SIZE_MAX) return NULL;
  if (dirty == 0) zpage_pool_grown(heap, granules);
  zpage_t *page = &zpage_table[first];
  page->free = NULL;
  page->used = page->carved = 0;
  page->holes = page->looked_at = 0;
  size_t lead = zpage_lead_of(block_size, is_gc || !zload_relaxed(&gc_is_apart));
  page->size_class = (uint16_t)size_class;
  zpage_set_flags(page, (granules > 1 ? ZPAGE_FLAG_SPECIAL : 0) | zheap_new_page_flags(heap) | flags);
  zstore_relaxed(&page->inner, 0);
  zstore_relaxed(&page->lead, (uint16_t)lead);
  zstore_relaxed(&page->reciprocal, zpage_reciprocal(block_size));
  zstore_relaxed(&page->block_size, (uint32_t)block_size);
  zstore_release(&page->capacity, (uint32_t)((granules * ZGRANULE_SIZE - lead) / block_size));
  zpage_pool_point_inner(heap, page, 1, granules);
  zprobe_page_alloc(zpage_kind_name(page), granules * ZGRANULE_SIZE);
  return page;
}

/* -- blocks that are handed out -------------------------------------------------------------- */

static zalways_inline char *link_next(char *block, size_t size) {
  ((zblock_t *)block)->next = (zblock_t *)(block + size);
  return block + size;
}

/* Links neighbours, four at a time: the start of an interpreter pays this for each block that it uses. */
static zalways_inline void chain(char *block, uint32_t count, size_t size) {
  for (; count > 4; count -= 4) {
    block = link_next(link_next(link_next(link_next(block, size), size), size), size);
  }
  for (; count > 1; count--) block = link_next(block, size);
  ((zblock_t *)block)->next = NULL;
}

bool zpage_pool_carve(zpage_t *page) {
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

bool zpage_pool_refill(zheap_t *heap, unsigned size_class, uint32_t flags) {
  if (zunlikely(zload_relaxed(&heap->returned) != NULL)) zpage_pool_take_returned(heap);
  zpage_t *page = zheap_current(heap, size_class, flags);
  if (page != &zheap_empty_page) {
    if (page->free != NULL || zpage_pool_carve(page)) return true;
    zpage_set_flags(page, zpage_flags(page) | ZPAGE_FLAG_FULL);
    zheap_set_current(heap, size_class, flags, &zheap_empty_page);
  }
  page = zheap_pages_of(heap, flags)->listed[size_class];
  if (page != NULL) {
    list_remove(heap, page);
  } else {
    page = flags == 0 ? recut_next(heap, size_class) : NULL;
    if (page == NULL) page = page_alloc(heap, size_class, flags);
    if (page == NULL) return false;
  }
  if (page->free == NULL && !zpage_pool_carve(page)) return false;
  zheap_set_current(heap, size_class, flags, page);
  return true;
}

/* -- blocks that come back ------------------------------------------------------------------- */

/* A page that was full has a free block: the next to be handed out, since it is warm (as pymalloc does
 * it). Where old objects are replaced at random, each would be written to a cold line otherwise. A
 * current page without used blocks stays: listed, it would never be given back. */
static void reopen(zheap_t *heap, zpage_t *page) {
  zpage_set_flags(page, zpage_flags(page) & ~(uint32_t)ZPAGE_FLAG_FULL);
  zpage_t *before = zheap_current(heap, page->size_class, zpage_flags(page));
  if (before != &zheap_empty_page && before->used == 0) {
    list_push(heap, page);
    return;
  }
  zheap_set_current(heap, page->size_class, zpage_flags(page), page);
  if (before == &zheap_empty_page) return;
  if (before->free == NULL && before->carved == before->capacity && before->holes == 0) {
    zpage_set_flags(before, zpage_flags(before) | ZPAGE_FLAG_FULL);
  } else {
    list_push(heap, before);
  }
}

/* The rest of a free, where the page has flags or the block was its last one in use. A class keeps its
 * current page when that is empty, but no more than a granule: the memory of larger ones is sooner wanted by other
 * classes than again by this one. */
static void after_free(zheap_t *heap, zpage_t *page) {
  zpage_t *current = zheap_current(heap, page->size_class, zpage_flags(page));
  if (page->used == 0 && (page != current || zpage_flags(page) & ZPAGE_FLAG_SPECIAL)) {
    if (page == current) {
      zheap_set_current(heap, page->size_class, zpage_flags(page), &zheap_empty_page);
    } else if (!(zpage_flags(page) & ZPAGE_FLAG_FULL)) {
      list_remove(heap, page);
    }
    zpage_pool_free_page(heap, page);
    return;
  }
  if (page->used == 0) heap->kept[page->size_class / 64] |= (uint64_t)1 << page->size_class % 64;
  if (zpage_flags(page) & ZPAGE_FLAG_FULL) reopen(heap, page);
}

static void free_leftover(zheap_t *heap, zpage_t *page, void *leftover, size_t size) {
  if (zpage_flags(page) & ZPAGE_FLAG_OLD) zold_map_forget_leftover(leftover, size);
  uint32_t count = zrecut_free(page, leftover);
  if (count != 0 && (page->used == 0 || zpage_flags(page) & ZPAGE_FLAG_FULL)) after_free(heap, page);
}

void zpage_pool_free(zheap_t *heap, zpage_t *page, void *block) {
  size_t leftover = zpage_flags(page) & ZPAGE_FLAG_RECUT ? zrecut_leftover_size(page, block) : 0;
  if (zunlikely(leftover != 0)) {
    free_leftover(heap, page, block, leftover);
    return;
  }
  if (zpage_flags(page) & ZPAGE_FLAG_OLD) zold_map_forget_block(page, block);
  if (page->block_size == 0) {
    zpage_pool_free_page(heap, page);
    return;
  }
  zpage_push(page, block);
  if (page->used == 0 || zpage_flags(page) & ZPAGE_FLAG_FULL) after_free(heap, page);
}

/* A block of another heap, which stays used there until that heap takes it. */
void zpage_pool_return(zheap_t *heap, void *block) {
  zblock_t *b = block, *before = zload_relaxed(&heap->returned);
  do {
    b->next = before;
  } while (!zcas_acq_rel(&heap->returned, &before, b));
}

void zpage_pool_take_returned(zheap_t *heap) {
  zblock_t *b = zexchange_acq_rel(&heap->returned, NULL);
  for (zblock_t *next; b != NULL; b = next) {
    next = b->next;
    zpage_pool_free(heap, zpage_find(b), b);
  }
}

void zpage_pool_reset_after_fork_in_child(void) { idle_is_known = false; }
