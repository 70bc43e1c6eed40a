#include "heap/zlarge.h"

#include <string.h>

#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/zold_map.h"

#define MOVE_PAGES_MIN (4 * ZM)       /* below, copying is as fast and costs no mapping */
#define MOVED_RUNS_MAX 4096           /* each may split a mapping, of which a process has 65530 */

static size_t moved_runs;

static void set_large_size(zpage_t *page, size_t size) {
  zstore_relaxed(&page->next, (zpage_t *)size);
}

static zpage_t *large_page(zheap_t *heap, size_t first, size_t size) {
  zpage_t *page = &zpage_table[first];
  size_t granules = zgranules_for(size);
  page->used = page->carved = 1;
  page->size_class = ZCLASS_ALL;
  zpage_set_flags(page, ZPAGE_FLAG_SPECIAL | zheap_new_page_flags(heap));
  zstore_relaxed(&page->inner, 0);
  zstore_relaxed(&page->reciprocal, 0); /* block index 0 for every address */
  zstore_relaxed(&page->block_size, 0);
  set_large_size(page, zalign_up(size, ZBLOCK_ALIGNMENT));
  zstore_release(&page->capacity, 1);
  zpage_pool_point_inner(heap, page, 1, granules);
  zprobe_page_alloc(zpage_kind_name(page), granules * ZGRANULE_SIZE);
  return page;
}

void *zlarge_alloc(zheap_t *heap, size_t size, bool want_zeroed) {
  size_t dirty;
  size_t first = zgranules_alloc(zgranules_for(size), &dirty);
  if (first == SIZE_MAX) return NULL;
  if (dirty == 0) zpage_pool_grown(heap, zgranules_for(size));
  char *block = zpage_start(large_page(heap, first, size));
  if (want_zeroed) memset(block, 0, zmin(size, dirty * ZGRANULE_SIZE)); /* what is never written needs no memory */
  return block;
}

void *zlarge_resize(zheap_t *heap, zpage_t *page, size_t size) {
  size_t before = zpage_granules(page), after = zgranules_for(size), index = zpage_index(page);
  if (after > before) {
    if (!zgranules_extend(index + before, after - before)) return NULL;
    zpage_pool_grown(heap, after - before);
    zpage_pool_point_inner(heap, page, before, after);
    zprobe_page_alloc(zpage_kind_name(page), (after - before) * ZGRANULE_SIZE);
  } else if (after < before) {
    zold_map_forget_tail(page, after, before);
    for (size_t i = after; i < before; i++) zstore_relaxed(&page[i].inner, 0);
    zgranules_free(index + after, before - after);
    zprobe_page_free(zpage_kind_name(page), (before - after) * ZGRANULE_SIZE);
  }
  set_large_size(page, zalign_up(size, ZBLOCK_ALIGNMENT));
  return zpage_start(page);
}

/* Fills a run with the content of a page: moves its OS pages, or copies. The run is no page so far, so no collector
 * thread reads it. False: the run is lost, and the page is unchanged. */
static bool move_contents(const zpage_t *from, char *to) {
  size_t bytes = zpage_granules(from) * ZGRANULE_SIZE;
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

void *zlarge_move(zheap_t *heap, zpage_t *page, size_t size) {
  size_t dirty;
  size_t first = zgranules_alloc_growing(zgranules_for(size), &dirty);
  if (first == SIZE_MAX || !move_contents(page, zpage_start(&zpage_table[first]))) return NULL;
  zpage_t *to = large_page(heap, first, size);
  zpage_set_flags(to, zpage_flags(to) | (zpage_flags(page) & ZPAGE_FLAG_SAMPLED));
  zpage_pool_free_page(heap, page);
  return zpage_start(to);
}
