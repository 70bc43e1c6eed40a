#include "heap/zsparse.h"

#include <sys/mman.h>

#include "heap/base/zos.h"
#include "tests/support/zheaptest.h"

#define OS_PAGE 4096
#define PAGES ((int)(6 * 64 * ZK / ZGRANULE_SIZE)) /* of as much memory, however small a granule is */

/* Several to an OS page, about one, several OS pages to one, with and without a lead. */
static const size_t sizes[] = {48, 64, 512, 1008, 1024, 2000, 4096, 5000, ZGRANULE_SIZE / 7};

static size_t resident_bytes(void) {
  static unsigned char in_core[ZHEAPTEST_RANGE / OS_PAGE];
  size_t bytes = zgranules_range.committed_end, resident = 0;
  assert_int_equal(mincore(zgranules_range.base, bytes, in_core), 0);
  for (size_t i = 0; i < bytes / OS_PAGE; i++) resident += in_core[i] & 1 ? OS_PAGE : 0;
  return resident;
}

typedef struct {
  size_t size, count;
  unsigned char **blocks; /* NULL: freed */
} heap_t;

static void fill(heap_t *heap, size_t i) {
  heap->blocks[i] = zallocator_alloc(heap->size);
  assert_non_null(heap->blocks[i]);
  memset(heap->blocks[i], 1 + (int)(i % 251), heap->size);
}

/* A random share is left, `kept` blocks for each 1000. */
static void thin_out(heap_t *heap, uint32_t kept_of_1000) {
  uint32_t random = 7;
  for (size_t i = 0; i < heap->count; i++) {
    if (ztest_random(&random) % 1000 < kept_of_1000) continue;
    zallocator_free(heap->blocks[i]);
    heap->blocks[i] = NULL;
  }
}

/* Several pages of which such a share is left. */
static heap_t sparse_heap(size_t size, uint32_t kept_of_1000) {
  void *one = zallocator_alloc(size);
  size_t capacity = zpage_find(one)->capacity;
  zallocator_free(one);
  heap_t heap = {.size = size, .count = PAGES * capacity};
  heap.blocks = calloc(heap.count, sizeof *heap.blocks);
  for (size_t i = 0; i < heap.count; i++) fill(&heap, i);
  thin_out(&heap, kept_of_1000);
  return heap;
}

static size_t trim(void) {
  size_t at = 0, bytes = 0;
  assert_true(zallocator_trim(&at, UINT64_MAX, &bytes));
  zheaptest_check();
  return bytes;
}

static void is_intact(const heap_t *heap) {
  for (size_t i = 0; i < heap->count; i++) {
    if (heap->blocks[i] != NULL) assert_true(ztest_all(heap->blocks[i], 1 + (int)(i % 251), heap->size));
  }
}

static void come_and_go(size_t size, uint32_t kept_of_1000) {
  size_t pages = zheaptest_stats().page_bytes;
  heap_t heap = sparse_heap(size, kept_of_1000);
  size_t before = resident_bytes(), holes = zsparse_hole_bytes(), given = trim();
  assert_true(given > 0);
  assert_int_equal(resident_bytes(), before - given);
  assert_int_equal(zsparse_hole_bytes(), holes + given);
  is_intact(&heap);
  assert_int_equal(trim(), 0); /* nothing died since */
  for (size_t i = 0; i < heap.count; i++) { /* all can be allocated again, and no block twice */
    if (heap.blocks[i] == NULL) fill(&heap, i);
    if (i % 64 == 0) zheaptest_check();
  }
  zheaptest_check();
  is_intact(&heap);
  assert_true(zsparse_hole_bytes() < holes + ZGRANULE_SIZE); /* the last page has place for others */
  assert_true(zheaptest_stats().page_bytes <= pages + (PAGES + 1) * ZGRANULE_SIZE);
  for (size_t i = 0; i < heap.count; i++) zallocator_free(heap.blocks[i]);
  zheaptest_check();
  assert_true(zheaptest_stats().page_bytes <= pages + ZGRANULE_SIZE);
  free(heap.blocks);
}

/* Without a safepoint or a thread: memory that one size left goes back while another grows, and no more of it
 * than that. */
static void test_growth_gives_back_what_lies_free(void **state) {
  (void)state;
  enum { SIZE = 528, COUNT = (int)(16 * ZM) / SIZE, KEPT = 100, GROWING = 256 /* no page is cut again for these */ };
  static void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) memset(blocks[i] = zallocator_alloc(SIZE), 1, SIZE);
  for (int i = 0; i < COUNT; i++) {
    if (i % KEPT != 0) zallocator_free(blocks[i]);
  }
  assert_int_equal(zsparse_hole_bytes(), 0);
  size_t used = zgranules_used_bytes();
  while (zgranules_idle_bytes() > 0) zallocator_alloc(GROWING);
  assert_in_range(zsparse_hole_bytes(), 0, 2 * ZGRANULE_SIZE); /* nothing has grown so far */
  for (size_t grown = 0; grown < 4 * ZM; grown += GROWING) zallocator_alloc(GROWING);
  assert_in_range(zsparse_hole_bytes(), used / 2, 4 * ZM);
  zheaptest_check();
}

static void test_memory_between_live_blocks_goes_back_and_comes_again(void **state) {
  (void)state;
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) come_and_go(sizes[i], sizes[i] < 256 ? 5 : 100);
}

static void test_the_same_with_a_second_gil(void **state) {
  (void)state;
  zheap_close(zheaptest_holder);
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) come_and_go(sizes[i], sizes[i] < 256 ? 5 : 100);
}

static void test_holes_go_with_their_page(void **state) {
  (void)state;
  heap_t heap = sparse_heap(2000, 100);
  assert_true(trim() > 0);
  for (size_t i = 0; i < heap.count; i++) {
    if (heap.blocks[i] != NULL) zallocator_free(heap.blocks[i]);
  }
  zheaptest_check();
  trim();
  assert_int_equal(zsparse_hole_bytes(), 0);
  char *other = zallocator_alloc(ZGRANULE_SIZE / 4); /* the same memory, cut again */
  memset(other, 1, ZGRANULE_SIZE / 4);
  zheaptest_check();
  free(heap.blocks);
}

static void test_looked_at_again_when_more_has_died(void **state) {
  (void)state;
  heap_t heap = sparse_heap(512, 300);
  trim();
  size_t n = 0;
  for (size_t i = 0; i < heap.count; i++) {
    if (heap.blocks[i] == NULL || n++ % 3 == 0) continue;
    zallocator_free(heap.blocks[i]);
    heap.blocks[i] = NULL;
  }
  assert_true(trim() > 0);
  is_intact(&heap);
  free(heap.blocks);
}

static void test_looked_at_again_when_it_was_full_in_between(void **state) {
  (void)state;
  heap_t heap = sparse_heap(2000, 100);
  size_t given = trim();
  for (size_t i = 0; i < heap.count; i++) {
    if (heap.blocks[i] == NULL) fill(&heap, i);
  }
  thin_out(&heap, 100); /* as many in each page as when holes were looked for, and no holes */
  assert_true(trim() > given / 2);
  is_intact(&heap);
  free(heap.blocks);
}

static void test_pages_with_many_live_blocks_are_let_be(void **state) {
  (void)state;
  heap_t heap = sparse_heap(64, 500);
  assert_true(zallocator_sparse_bytes() < OS_PAGE);
  assert_int_equal(trim(), 0);
  free(heap.blocks);
}

static void test_stops_at_the_deadline_and_goes_on(void **state) {
  (void)state;
  size_t count = 40 * (ZGRANULE_SIZE / 2048), at = 0, bytes = 0, slices = 1;
  char **blocks = calloc(count, sizeof *blocks);
  for (size_t i = 0; i < count; i++) blocks[i] = memset(zallocator_alloc(2000), 1, 2000);
  for (size_t i = 0; i < count; i++) {
    if (i % 16 != 0) zallocator_free(blocks[i]);
  }
  for (size_t before = 0; !zallocator_trim(&at, 0, &bytes); before = at, slices++) assert_true(at > before);
  assert_in_range(slices, 2, 10);
  assert_true(bytes > 0);
  zheaptest_check();
  free(blocks);
}

/* A walk over the page table takes time, too. */
static void test_stops_at_the_deadline_where_there_is_nothing_to_give(void **state) {
  (void)state;
  for (size_t i = 0; i < 1400; i++) assert_non_null(zallocator_alloc(ZGRANULE_SIZE / 2));
  size_t at = 0, bytes = 0, slices = 1;
  while (!zallocator_trim(&at, 0, &bytes)) slices++;
  assert_in_range(slices, 2, 4);
  assert_int_equal(bytes, 0);
}

static void test_failing_uncommit_changes_nothing_else(void **state) {
  (void)state;
  heap_t heap = sparse_heap(2000, 100);
  size_t before = resident_bytes();
  zos_fault_set(ZOS_FAULT_UNCOMMIT, 1, UINT64_MAX);
  assert_int_equal(trim(), 0);
  assert_int_equal(resident_bytes(), before);
  is_intact(&heap);
  for (size_t i = 0; i < heap.count; i++) {
    if (heap.blocks[i] == NULL) fill(&heap, i);
  }
  zheaptest_check();
  is_intact(&heap);
  free(heap.blocks);
}

#define STARTED(test) cmocka_unit_test_setup(test, zheaptest_start)
static const struct CMUnitTest tests[] = {
    STARTED(test_memory_between_live_blocks_goes_back_and_comes_again),
    STARTED(test_the_same_with_a_second_gil),
    STARTED(test_growth_gives_back_what_lies_free),
    STARTED(test_holes_go_with_their_page),
    STARTED(test_looked_at_again_when_more_has_died),
    STARTED(test_looked_at_again_when_it_was_full_in_between),
    STARTED(test_pages_with_many_live_blocks_are_let_be),
    STARTED(test_stops_at_the_deadline_and_goes_on),
    STARTED(test_stops_at_the_deadline_where_there_is_nothing_to_give),
    STARTED(test_failing_uncommit_changes_nothing_else),
};
ZTEST_MAIN(tests, NULL)
