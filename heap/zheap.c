#include "heap/zheap.h"

#include "heap/base/zos.h"

zheap_hooks_t zheap_hooks;
zheap_t zheap_first, zheap_common = {.page_flags = ZHEAP_COMMON << ZPAGE_HEAP_SHIFT};
zpage_t zheap_empty_page;
zpage_t *zheap_open_page[ZCLASS_ALL];
bool zheap_has_batches;

static zheap_t *heaps[ZHEAP_COUNT] = {&zheap_first, &zheap_common};
static unsigned heap_count = 2; /* grows only; a heap is in its place before it has a page that others can meet */

/* Set before a second GIL exists; a thread that works in the first heap may see it later. `holder` comes with it. */
bool zheap_closed;
static unsigned (*holder)(void);
static zpage_t closed_page; /* what the fast path pops from once closed */

zheap_t *zheap_of(unsigned number) { return zload_acquire(&heaps[number]); }

unsigned zheap_count(void) { return zload_acquire(&heap_count); }

znoinline zheap_t *zheap_enter_closed(void) {
  zheap_t *known = zheap_known();
  if (zlikely(known != NULL)) return known;
  unsigned number = holder();
  if (zunlikely(number == ZHEAP_COMMON)) zlock_take(ZLOCK_COMMON_HEAP);
  return zheap_of(number);
}

static void start(zheap_t *heap) {
  for (unsigned i = 0; i < ZCLASS_ALL; i++) {
    heap->front[i] = heap->plain.current[i] = heap->sampled.current[i] = &zheap_empty_page;
  }
}

void zheap_start(void) {
  start(&zheap_first);
  start(&zheap_common);
  for (unsigned i = 0; i < ZCLASS_ALL; i++) zheap_open_page[i] = &zheap_empty_page;
}

/* -- the second GIL ------------------------------------------------------------------------------ */

static size_t committed_granules(void) {
  zlock_take(ZLOCK_GRANULES);
  size_t bytes = zgranules_range.committed_end;
  zlock_drop(ZLOCK_GRANULES);
  return bytes >> ZGRANULE_SHIFT;
}

/* From now on frees look first whose page it is; zheap_new_page_flags does the same for later pages. */
static void close_pages(void) {
  size_t granules = committed_granules();
  for (size_t i = 0; i < granules; i++) zpage_close(&zpage_table[i]);
}

void zheap_close(unsigned (*who)(void)) {
  zlock_take(ZLOCK_COMMON_HEAP); /* another closer comes back once the pages are closed, not before */
  if (!zheap_closed) {
    holder = who;
    zstore_release(&zheap_closed, true);
    for (unsigned i = 0; i < ZCLASS_ALL; i++) zstore_relaxed(&zheap_open_page[i], &closed_page);
    close_pages();
  }
  zlock_drop(ZLOCK_COMMON_HEAP);
}

zheap_t *zheap_make(void) {
  zheap_t *heap = heap_count < ZHEAP_COUNT ? zos_table_map(sizeof *heap) : NULL;
  if (heap == NULL) return NULL;
  start(heap);
  heap->page_flags = heap_count << ZPAGE_HEAP_SHIFT;
  return heap;
}

unsigned zheap_publish(zheap_t *heap) {
  unsigned number = heap_count;
  zstore_release(&heaps[number], heap);
  zstore_release(&heap_count, number + 1);
  return number;
}
