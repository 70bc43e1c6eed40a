#include "heap/zsampler.h"

const zsampler_watcher_t *zsampler_watcher;

#define BATCH_MIN 16
#define BATCH_MAX 32 /* of more, the rest waits in reserve: blocks that are freed meanwhile are warm */

static size_t batch_waiting(const zheap_t *heap, unsigned size_class) {
  const zheap_batch_t *batch = &heap->batches[size_class];
  uint32_t carved = zload_relaxed(&batch->front.carved), used = zload_relaxed(&batch->front.used);
  return zload_relaxed(&batch->reserve_count) + (carved > used ? carved - used : 0);
}

size_t zsampler_waiting(unsigned size_class) {
  size_t count = 0;
  for (unsigned i = 0; i < zheap_count(); i++) count += batch_waiting(zheap_of(i), size_class);
  return count;
}

/* The reserve, unless the page has enough; then all that is free there. As a whole: how long such a list
 * is, is known, and to walk it would be a cache miss for each block. */
static zblock_t *batch_source(zheap_t *heap, zheap_batch_t *batch, unsigned size_class, uint32_t *count) {
  zpage_t *page = heap->plain.current[size_class];
  zblock_t *list = batch->reserve;
  if (list != NULL && page->carved - page->used < BATCH_MIN) {
    *count = batch->reserve_count;
    batch->reserve = NULL;
    zstore_relaxed(&batch->reserve_count, 0);
    return list;
  }
  if (!zpage_pool_refill(heap, size_class, 0)) return NULL;
  page = heap->plain.current[size_class];
  list = page->free;
  *count = page->carved - page->used;
  page->free = NULL;
  page->used = page->carved;
  if (*count < BATCH_MIN) zpage_pool_carve(page); /* so that there are more the next time */
  return list;
}

/* Keeps `length` of `count` blocks in the list; the others become the reserve, or go back. */
static void batch_cut(zheap_batch_t *batch, zblock_t *list, uint32_t count, uint32_t length) {
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

void *zsampler_take(zheap_t *heap, unsigned size_class) {
  zheap_batch_t *batch = &heap->batches[size_class];
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

bool zsampler_is_due(zheap_t *heap, size_t size, unsigned first_class, bool is_moved) {
  if (size > ZSMALL_MAX) return !is_moved && zsampler_watcher->is_sample(zsize_class_size_for(size));
  unsigned size_class = zsize_class_of(size, first_class);
  uint64_t *before_sample = &heap->batches[size_class].before_sample;
  if (*before_sample > 0) return false;
  *before_sample = zsampler_watcher->blocks_before_sample(zsize_class_block_size(size_class));
  if (!is_moved) return true;
  ++*before_sample; /* the batch counts it */
  return false;
}

/* -- start ------------------------------------------------------------------------------------- */

void zsampler_start_heap(zheap_t *heap) {
  for (unsigned i = 0; zsampler_watcher != NULL && i < ZCLASS_ALL; i++) {
    if (!zsize_class_is_small(i)) continue;
    heap->batches[i].before_sample = zsampler_watcher->blocks_before_sample(zsize_class_block_size(i));
    zheap_set_front(heap, i, &heap->batches[i].front);
  }
}

void zsampler_start(const zsampler_watcher_t *watcher) {
  zsampler_watcher = watcher;
  zheap_has_batches = true;
  zsampler_start_heap(&zheap_first);
  zsampler_start_heap(&zheap_common);
}
