#include "heap/zrecut.h"

#include "heap/zold_map.h"
#include "heap/zsparse.h"
#include "tests/support/zheaptest.h"

enum { SIZE = 528, KEPT = 100, COUNT = (int)(16 * ZM) / SIZE };

static unsigned char *blocks[COUNT]; /* NULL: freed */

static int paint_of(size_t i) { return 1 + (int)(i % 251); }

static unsigned char *make(size_t size, size_t i) {
  unsigned char *block = zallocator_alloc(size);
  assert_non_null(block);
  return memset(block, paint_of(i), size);
}

/* One block in KEPT is left of 16 MiB. */
static void leave_few(void) {
  for (size_t i = 0; i < COUNT; i++) blocks[i] = make(SIZE, i);
  for (size_t i = 0; i < COUNT; i++) {
    if (i % KEPT == 0) continue;
    zallocator_free(blocks[i]);
    blocks[i] = NULL;
  }
}

static void are_intact(void) {
  for (size_t i = 0; i < COUNT; i++) {
    if (blocks[i] != NULL) assert_true(ztest_all(blocks[i], paint_of(i), SIZE));
  }
}

/* Takes what is free, and then so many bytes more: in how many blocks. They are in a list. */
static zblock_t *grow(size_t size, size_t bytes) {
  zblock_t *list = NULL;
  for (size_t grown = 0; grown < bytes;) {
    if (zgranules_idle_are_few()) grown += size;
    zblock_t *block = (zblock_t *)make(size, size);
    block->next = list;
    list = block;
  }
  return list;
}

static void free_list(zblock_t *list) {
  for (zblock_t *next; list != NULL; list = next) {
    next = list->next;
    zallocator_free(list);
  }
}

static unsigned char *find_leftover(void) {
  for (size_t i = 0; i < COUNT; i++) {
    if (blocks[i] == NULL) continue;
    const zpage_t *page = zpage_find(blocks[i]);
    if (zpage_flags(page) & ZPAGE_FLAG_RECUT && zrecut_leftover_size(page, blocks[i]) != 0) return blocks[i];
  }
  fail_msg("no page was cut again");
  return NULL;
}

static size_t count_leftovers(void) {
  size_t count = 0;
  for (size_t i = 0; i < COUNT; i++) {
    count += blocks[i] != NULL && zpage_flags(zpage_find(blocks[i])) & ZPAGE_FLAG_RECUT;
  }
  return count;
}

static void test_another_size_takes_what_is_free(void **state) {
  (void)state;
  leave_few();
  size_t pages = zheaptest_stats().page_bytes, before = zgranules_resident_bytes();
  zblock_t *others = grow(1100, pages / 2);
  assert_true(zgranules_resident_bytes() <= before + ZM);
  assert_true(count_leftovers() > COUNT / KEPT / 4);
  are_intact();
  zheaptest_check();
  free_list(others);
  are_intact();
  zheaptest_check();
  for (size_t i = 0; i < COUNT; i++) {
    if (blocks[i] != NULL) zallocator_free(blocks[i]);
  }
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_blocks, 0);
}

static void test_bounds_and_size_of_leftovers(void **state) {
  (void)state;
  leave_few();
  grow(700, 2 * ZM);
  unsigned char *leftover = find_leftover();
  zpage_t *page = zpage_find(leftover);
  assert_int_equal(zallocator_size_of(leftover), SIZE);
  for (size_t offset = 0; offset < SIZE; offset++) {
    const char *start, *end;
    assert_true(zpage_block_of(leftover + offset, &start, &end));
    assert_ptr_equal(start, leftover);
    assert_ptr_equal(end, leftover + SIZE);
  }
  size_t others = 0;
  for (size_t i = 0; i < page->capacity; i++) {
    const char *block = zpage_start(page) + i * page->block_size, *start, *end;
    assert_true(zpage_block_of(block, &start, &end));
    if (start != block || end != block + page->block_size) continue; /* a leftover's */
    assert_int_equal(zallocator_size_of(block), page->block_size);
    others++;
  }
  assert_true(others >= page->capacity / 2);
}

static void test_a_leftover_is_resized_as_what_it_is(void **state) {
  (void)state;
  leave_few();
  grow(1100, 2 * ZM);
  unsigned char *leftover = find_leftover();
  size_t i = 0;
  while (blocks[i] != leftover) i++;
  assert_ptr_equal(zallocator_realloc(leftover, SIZE - 10), leftover);
  unsigned char *moved = zallocator_realloc(leftover, 2 * SIZE);
  assert_ptr_not_equal(moved, leftover);
  assert_true(ztest_all(moved, paint_of(i), SIZE));
  blocks[i] = NULL;
  are_intact();
  zheaptest_check();
}

static void test_a_leftover_may_become_old(void **state) {
  (void)state;
  leave_few();
  grow(1100, 2 * ZM);
  unsigned char *leftover = find_leftover();
  void *object = leftover + ZOLD_HEADER_MIN;
  assert_true(zold_map_admit(object));
  assert_true(zold_map_add(object));
  assert_int_equal(zold_map_count, 1);
  zallocator_free(leftover);
  assert_false(zold_map_has(object));
  assert_int_equal(zold_map_count, 0);
  zheaptest_check();
}

static void test_a_page_with_old_objects_is_not_cut(void **state) {
  (void)state;
  leave_few();
  for (size_t i = 0; i < COUNT; i += KEPT) {
    assert_true(zold_map_admit(blocks[i] + ZOLD_HEADER_MIN));
    assert_true(zold_map_add(blocks[i] + ZOLD_HEADER_MIN));
  }
  grow(1100, 2 * ZM);
  assert_int_equal(count_leftovers(), 0);
}

static void test_a_leftover_comes_back_from_another_heap(void **state) {
  (void)state;
  leave_few();
  zblock_t *others = grow(1100, 2 * ZM);
  unsigned char *leftover = find_leftover();
  size_t leftovers = count_leftovers(), i = 0;
  while (blocks[i] != leftover) i++;
  zheap_close(zheaptest_holder);
  zheaptest_heap = ZHEAP_COMMON;
  zallocator_free(leftover);
  zheaptest_heap = ZHEAP_FIRST;
  blocks[i] = NULL;
  zallocator_leave_heap(ZHEAP_FIRST); /* takes what was returned */
  assert_int_equal(count_leftovers(), leftovers - 1);
  zheaptest_check();
  free_list(others);
  are_intact();
  zheaptest_check();
}

/* Phases of many sizes, a few blocks of each stay: pages are cut again and again. */
static void test_many_sizes_one_after_the_other(void **state) {
  (void)state;
  enum { PHASES = 40, BYTES = (int)(12 * ZM), LIVE = 64 * 1024 };
  static struct {
    unsigned char *block;
    size_t size;
  } live[LIVE];
  uint32_t random = 11;
  size_t used = 0;
  for (size_t phase = 0; phase < PHASES; phase++) {
    size_t size = 513 + ztest_random(&random) % (phase % 3 == 0 ? 5000 : 1000), first = used;
    for (size_t bytes = 0; bytes < BYTES && used < LIVE; bytes += size, used++) {
      live[used].block = make(size, used);
      live[used].size = size;
    }
    uint32_t kept = 4 + ztest_random(&random) % 200;
    for (size_t i = 0; i < used; i++) { /* of this phase most, of earlier ones some */
      if (live[i].block == NULL || ztest_random(&random) % kept < (i < first ? kept - 2 : 1)) continue;
      assert_true(ztest_all(live[i].block, paint_of(i), live[i].size));
      zallocator_free(live[i].block);
      live[i].block = NULL;
    }
    zheaptest_check();
    while (used > 0 && live[used - 1].block == NULL) used--;
  }
  for (size_t i = 0; i < used; i++) {
    if (live[i].block == NULL) continue;
    assert_true(ztest_all(live[i].block, paint_of(i), live[i].size));
    zallocator_free(live[i].block);
  }
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_blocks, 0);
}

#define STARTED(test) cmocka_unit_test_setup(test, zheaptest_start)
static const struct CMUnitTest tests[] = {
    STARTED(test_another_size_takes_what_is_free),
    STARTED(test_bounds_and_size_of_leftovers),
    STARTED(test_a_leftover_is_resized_as_what_it_is),
    STARTED(test_a_leftover_may_become_old),
    STARTED(test_a_page_with_old_objects_is_not_cut),
    STARTED(test_a_leftover_comes_back_from_another_heap),
    STARTED(test_many_sizes_one_after_the_other),
};
ZTEST_MAIN(tests, NULL)
