#include "heap/zheap_report.h"

#include <stdio.h>
#include <string.h>

#include "heap/zfallback.h"
#include "heap/zsampler.h"
#include "heap/zsparse.h"

/* -- counts ------------------------------------------------------------------------------------- */

/* The first entry of a page that holds blocks; the other heaps' may change meanwhile. */
static bool is_page(const zpage_t *page) {
  return zload_acquire(&page->capacity) != 0 && zload_relaxed(&page->inner) == 0;
}

void zheap_report(zheap_report_t *stats) {
  memset(stats, 0, sizeof *stats);
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    const zpage_t *page = &zpage_table[i];
    if (!is_page(page)) continue;
    stats->pages[zpage_kind(page)]++;
    stats->page_bytes += zpage_granules(page) * ZGRANULE_SIZE;
    stats->used_blocks += zload_relaxed(&page->used);
    stats->used_bytes += (size_t)page->used * zpage_block_bytes(page);
  }
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    size_t waiting = zsampler_waiting(i);
    stats->used_blocks -= waiting;
    stats->used_bytes -= waiting * zsize_class_block_size(i);
  }
  stats->fallback_blocks = zload_relaxed(&zfallback_blocks);
}

void zheap_report_classes(zheap_report_class_t classes[ZCLASS_COUNT]) {
  memset(classes, 0, ZCLASS_COUNT * sizeof *classes);
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    const zpage_t *page = &zpage_table[i];
    size_t size = zload_relaxed(&page->block_size);
    if (!is_page(page) || size == 0 || size > ZMEDIUM_MAX) continue;
    zheap_report_class_t *c = &classes[zsize_class_of(size, 0)];
    c->pages++;
    c->capacity += page->capacity;
    c->used += page->used;
  }
  for (unsigned i = 0; i < ZCLASS_ALL; i++) classes[i < ZCLASS_GC ? i : i - ZCLASS_GC].used -= zsampler_waiting(i);
}

/* -- the check ---------------------------------------------------------------------------------- */

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
static bool heap_is_valid(const zheap_t *heap, char *message, size_t size) {
  size_t granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  for (size_t i = 0; i < granules; i++) {
    const zpage_t *page = &zpage_table[i];
    if (!is_page(page) || !zheap_owns(heap, page) || page_is_valid(page)) continue;
    snprintf(message, size, "page %zu (block size %u, used %u, carved %u of %u): free list broken", i,
             page->block_size, page->used, page->carved, page->capacity);
    return false;
  }
  return true;
}

bool zheap_report_verify(char *message, size_t size) {
  zheap_t *heap = zheap_enter();
  bool is_valid = heap_is_valid(heap, message, size);
  zheap_leave(heap);
  if (!is_valid || heap == &zheap_common) return is_valid;
  zlock_take(ZLOCK_COMMON_HEAP);
  is_valid = heap_is_valid(&zheap_common, message, size);
  zlock_drop(ZLOCK_COMMON_HEAP);
  return is_valid;
}
