#include "heap/zallocator.h"

#include <string.h>

#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/zfallback.h"
#include "heap/zlarge.h"
#include "heap/zold_map.h"
#include "heap/zrecut.h"
#include "heap/zsampler.h"
#include "heap/zsparse.h"

#define TRIM_LOOKS 512 /* check the deadline every 512 pages; ... */
#define TRIM_SPARSE 64 /* ... a sparse page weighs 64 */
#define SLACK_MAX ZMEDIUM_MAX /* larger blocks grow in place */

/* -- fast paths, each with one exit ------------------------------------------------------------- */

/* MOVED: for a block that exists, and has been counted. */
typedef enum { PLAIN, ZEROED, MOVED } request_t;

static void *alloc_slow(size_t size, unsigned first_class, request_t request);
static void *alloc_small_slow(size_t size, unsigned size_class, request_t request);
static void free_slow(void *block, zpage_t *page, uint32_t flags);

static inline void *alloc(size_t size, unsigned first_class, request_t request) {
  if (zunlikely(size > ZSMALL_MAX)) return alloc_slow(size, first_class, request);
  unsigned size_class = first_class + zsize_class_small(size);
  void *block = zpage_pop(zload_relaxed(&zheap_open_page[size_class]));
  return zlikely(block != NULL) ? block : alloc_small_slow(size, size_class, request);
}

void *zallocator_alloc(size_t size) { return alloc(size, 0, PLAIN); }
void *zallocator_alloc_gc(size_t size) { return alloc(size, ZCLASS_GC, PLAIN); }

void zallocator_free(void *block) {
  if (zunlikely(!zgranules_contains(block))) {
    zfallback_free(block);
    return;
  }
  zpage_t *page = zpage_entry(block);
  uint32_t flags = zpage_flags(page);
  /* Flags first: with CLOSED, the other fields may be changed by another thread. */
  if (zunlikely((flags & ~(uint32_t)ZPAGE_FLAG_OLD) != 0 || page->used == 1 ||
                (flags != 0 && zold_map_may_start_in(block)))) {
    free_slow(block, page, flags);
    return;
  }
  zpage_push(page, block);
}

void *zallocator_alloc_zeroed(size_t size) {
  if (zunlikely(size > ZSMALL_MAX)) return alloc_slow(size, 0, ZEROED);
  void *block = zallocator_alloc(size);
  if (zlikely(block != NULL)) memset(block, 0, size);
  return block;
}

/* -- slow paths -------------------------------------------------------------------------------- */

static void *alloc_from_class(zheap_t *heap, unsigned size_class, uint32_t flags) {
  bool is_batched = zunlikely(zsampler_watcher != NULL) && flags == 0 && zsize_class_is_small(size_class);
  if (is_batched) return zsampler_take(heap, size_class);
  return zpage_pool_refill(heap, size_class, flags) ? zpage_pop(zheap_current(heap, size_class, flags)) : NULL;
}

static void *alloc_in_heap(zheap_t *heap, size_t size, unsigned first_class, uint32_t flags, bool *zeroed) {
  if (size <= ZMEDIUM_MAX) return alloc_from_class(heap, zsize_class_of(size, first_class), flags);
  void *block = zlarge_alloc(heap, size, *zeroed);
  if (block == NULL) return NULL;
  *zeroed = false;
  zpage_t *page = zpage_entry(block);
  zpage_set_flags(page, zpage_flags(page) | flags);
  return block;
}

/* In the calling thread's heap; *sample says whether the block is one. */
static void *alloc_entered(size_t size, unsigned first_class, bool *zeroed, request_t request, bool *sample) {
  zheap_t *heap = zheap_enter();
  void *block = size <= ZSMALL_MAX ? zpage_pop(heap->front[zsize_class_of(size, first_class)]) : NULL;
  if (zlikely(block == NULL)) {
    if (zheap_hooks.slow != NULL && heap == &zheap_first) zheap_hooks.slow();
    if (zunlikely(zsampler_watcher != NULL) && zsampler_is_due(heap, size, first_class, request == MOVED)) {
      block = alloc_in_heap(heap, size, first_class, ZPAGE_FLAG_SAMPLED, zeroed);
      *sample = block != NULL;
    }
    if (zlikely(block == NULL)) block = alloc_in_heap(heap, size, first_class, 0, zeroed);
  }
  zheap_leave(heap);
  return block;
}

static znoinline void *alloc_slow(size_t size, unsigned first_class, request_t request) {
  bool zeroed = request == ZEROED, sample = false;
  /* The kernel does not account for our mappings, so we refuse what the machine cannot have. */
  if (zunlikely(size > ZMEDIUM_MAX) && size > zos_memory_and_swap()) return NULL;
  void *block = alloc_entered(size, first_class, &zeroed, request, &sample);
  if (zunlikely(block == NULL)) {
    if (zfetch_add_relaxed(&zfallback_blocks, 1) == 0) {
      zlog_warn("gc,fault", "the heap cannot give %lu bytes: such blocks come from malloc",
                (unsigned long)size);
    }
    return zeroed ? zfallback_alloc_zeroed(1, size) : zfallback_alloc(size);
  }
  if (zeroed) memset(block, 0, size);
  if (zunlikely(sample)) zsampler_watcher->sampled(block, 0, zallocator_size_of(block));
  return block;
}

/* The fast path of a heap that no fast path leads to. */
static znoinline void *alloc_small_slow(size_t size, unsigned size_class, request_t request) {
  zheap_t *heap = zheap_known();
  void *block = heap != NULL ? zpage_pop(heap->front[size_class]) : NULL;
  return zlikely(block != NULL) ? block : alloc_slow(size, size_class >= ZCLASS_GC ? ZCLASS_GC : 0, request);
}

static void free_entered(zpage_t *page, void *block) {
  zheap_t *heap = zheap_enter();
  if (zlikely(zheap_owns(heap, page))) {
    zpage_pool_free(heap, page, block);
  } else {
    zpage_pool_return(zheap_of(zpage_heap(page)), block);
  }
  zheap_leave(heap);
}

static znoinline void free_anywhere(void *block) {
  zpage_t *page = zpage_find(block);
  if (zunlikely(zpage_flags(page) & ZPAGE_FLAG_SAMPLED)) zsampler_watcher->freed(block);
  free_entered(page, block);
}

/* Whether the heap has no more to do for a block than to push it, in a page of these flags. */
static bool is_plain_free(const zheap_t *heap, const zpage_t *page, uint32_t flags, const void *block) {
  if (((flags ^ heap->page_flags) & ~(uint32_t)(ZPAGE_FLAG_OLD | ZPAGE_FLAG_CLOSED)) != 0) return false;
  return page->used != 1 && (!(flags & ZPAGE_FLAG_OLD) || !zold_map_may_start_in(block));
}

static znoinline void free_slow(void *block, zpage_t *page, uint32_t flags) {
  zheap_t *heap = flags & ZPAGE_FLAG_CLOSED ? zheap_known() : NULL;
  if (heap != NULL && is_plain_free(heap, page, flags, block)) {
    zpage_push(page, block);
  } else {
    free_anywhere(block);
  }
}

/* -- realloc ------------------------------------------------------------------------------------ */

/* Of this block, which may be a leftover. */
static size_t block_bytes(const zpage_t *page, const void *block) {
  size_t leftover = zpage_flags(page) & ZPAGE_FLAG_RECUT ? zrecut_leftover_size(page, block) : 0;
  return zlikely(leftover == 0) ? zpage_block_bytes(page) : leftover;
}

size_t zallocator_size_for(size_t size) { return zsize_class_size_for(size); }

size_t zallocator_size_of(const void *block) {
  return zgranules_contains(block) ? block_bytes(zpage_find(block), block) : 0;
}

/* A block shrinks in place while at least three quarters of it stay in use. */
static bool fits_in_place(size_t have, size_t size) { return size <= have && size >= have - have / 4; }

/* An old object never moves (GC objects of this size are resized by copy): see zold_map.h. */
static void *resize_large(zheap_t *heap, zpage_t *page, size_t size) {
  void *result = zlarge_resize(heap, page, size);
  if (result == NULL && !(zpage_flags(page) & ZPAGE_FLAG_OLD)) result = zlarge_move(heap, page, size);
  return result;
}

static void *realloc_large(void *block, size_t size) {
  void *result = NULL;
  zheap_t *heap = zheap_enter();
  zpage_t *page = zpage_find(block);
  bool is_large = page->block_size == 0 && size > ZMEDIUM_MAX && size <= zos_memory_and_swap();
  if (is_large && zheap_owns(heap, page)) result = resize_large(heap, page, size);
  zheap_leave(heap);
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
  zheap_t *heap = zheap_enter();
  void *block = alloc_in_heap(heap, size, first_class, ZPAGE_FLAG_SAMPLED, &zeroed);
  zheap_leave(heap);
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

bool zallocator_is_sampled(const void *block) {
  return zgranules_contains(block) && zpage_flags(zpage_find(block)) & ZPAGE_FLAG_SAMPLED;
}

/* Moves a block to the watched ones, and returns its new place. NULL, and nothing has changed, where the heap has
 * none. */
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

/* The bytes that a block gains are an allocation of the code that makes it grow: sampled by themselves. */
static znoinline void *move_watched(void *block, size_t have, size_t size, unsigned first_class) {
  bool is_known = zallocator_is_sampled(block);
  void *known = is_known ? zsampler_watcher->moving(block) : NULL;
  void *result = move(block, have, size, first_class);
  if (is_known) zsampler_watcher->moved(known, result == NULL ? block : result);
  size_t got = zallocator_size_of(result); /* 0 when there is none */
  if (got <= have || !zsampler_watcher->is_sample(got - have)) return result;
  void *watched = watch(result);
  if (watched == NULL) return result;
  zsampler_watcher->sampled(watched, have, got);
  return watched;
}

static inline void *resize(void *block, size_t size, unsigned first_class) {
  if (zunlikely(!zgranules_contains(block))) return zfallback_realloc(block, size);
  zpage_t *page = zpage_find(block);
  size_t have = block_bytes(page, block);
  if (fits_in_place(have, size)) return block;
  if (holds_gc(page)) first_class = ZCLASS_GC;
  if (zunlikely(zsampler_watcher != NULL)) return move_watched(block, have, size, first_class);
  return move(block, have, size, first_class);
}

void *zallocator_realloc(void *block, size_t size) {
  return block == NULL ? zallocator_alloc(size) : resize(block, size, 0);
}

void *zallocator_realloc_gc(void *block, size_t size) {
  return block == NULL ? zallocator_alloc_gc(size) : resize(block, size, ZCLASS_GC);
}

/* -- sparse pages ------------------------------------------------------------------------------- */

size_t zallocator_sparse_bytes(void) {
  size_t bytes = 0, granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  if (zheap_has_batches) return 0;
  for (size_t i = 0; i < granules; i++) {
    if (zheap_owns(&zheap_first, &zpage_table[i])) bytes += zsparse_bytes(&zpage_table[i]);
  }
  return bytes;
}

static size_t trim_page(zpage_t *page) {
  zheap_t *heap = zheap_enter();
  size_t bytes = zpage_pool_trim(heap, page);
  zheap_leave(heap);
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

/* -- heaps -------------------------------------------------------------------------------------- */

bool zallocator_start(size_t range_size) {
  zheap_start();
  zgranules_add_table((void **)&zpage_table, 8 * sizeof(zpage_t));
  zgranules_add_table((void **)&zpage_leftover_table, 8 * sizeof(zpage_leftovers_t));
  zgranules_add_table((void **)&zold_map_bits, ZGRANULE_SIZE >> ZOLD_UNIT_SHIFT);
  return zgranules_start(range_size);
}

unsigned zallocator_new_heap(void) {
  zheap_t *heap = zheap_make();
  if (heap == NULL) return ZHEAP_COMMON;
  zsampler_start_heap(heap);
  return zheap_publish(heap);
}

void zallocator_leave_heap(unsigned number) {
  zheap_t *heap = zheap_of(number);
  zpage_pool_take_returned(heap);
  zpage_pool_free_kept(heap);
}

void zallocator_reset_after_fork_in_child(void) { zpage_pool_reset_after_fork_in_child(); }
