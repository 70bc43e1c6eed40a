#include "heap/zold_map.h"

#include <pthread.h>

#include "heap/base/zos.h"
#include "heap/zallocator.h"
#include "heap/zheap_report.h"
#include "tests/support/zheaptest.h"

static int hooked;
static void *hooked_object;

static void note_freed(void *object) {
  hooked++;
  hooked_object = object;
}

static int start(void **state) {
  (void)state;
  zheap_hooks.old_freed = note_freed;
  return zallocator_start(64 * ZM) ? 0 : -1;
}

static void make_old(void *object) {
  assert_true(zold_map_admit(object));
  assert_true(zold_map_add(object));
}

static void test_added_once(void **state) {
  (void)state;
  char *object = (char *)zallocator_alloc(100) + ZOLD_HEADER_MIN;
  assert_false(zold_map_is_old(object));
  assert_true(zold_map_add(object));
  assert_false(zold_map_add(object));
  assert_true(zold_map_is_old(object));
  assert_int_equal(zold_map_count, 1);
  zold_map_remove(object);
  zold_map_remove(object);
  assert_false(zold_map_is_old(object));
  assert_int_equal(zold_map_count, 0);
}

static void test_neighbours_do_not_matter(void **state) {
  (void)state;
  char *objects[200]; /* over several words of the map */
  for (int i = 0; i < 200; i++) objects[i] = (char *)zallocator_alloc(32) + ZOLD_HEADER_MIN;
  for (int i = 0; i < 200; i += 3) zold_map_add(objects[i]);
  for (int i = 0; i < 200; i++) assert_int_equal(zold_map_is_old(objects[i]), i % 3 == 0);
  for (int i = 0; i < 200; i += 6) zold_map_remove(objects[i]);
  for (int i = 0; i < 200; i++) assert_int_equal(zold_map_is_old(objects[i]), i % 6 == 3);
}

static void test_is_old_of_any_address(void **state) {
  (void)state;
  int here;
  char *object = (char *)zallocator_alloc(100) + ZOLD_HEADER_MIN;
  zold_map_add(object);
  assert_false(zold_map_is_old(NULL));
  assert_false(zold_map_is_old(&here));
  assert_false(zold_map_is_old((void *)UINTPTR_MAX));
  for (int i = 1; i < 16; i++) assert_false(zold_map_is_old(object + i));
  assert_false(zold_map_is_old(object + 16));
  assert_false(zold_map_is_old(object - 16));
  assert_false(zold_map_is_old(zgranules_range.base + zgranules_range.size));
  assert_false(zold_map_is_old(zgranules_range.base + zgranules_range.size - 16));
}

static void forget(size_t size, size_t header) {
  char *block = zallocator_alloc(size);
  zallocator_alloc(size); /* keeps the page */
  make_old(block + header);
  zallocator_free(block);
  assert_false(zold_map_is_old(block + header));
  assert_int_equal(zold_map_count, 0);
}

static void test_free_forgets_behind_either_header(void **state) {
  (void)state;
  size_t sizes[] = {48, 400, 3000, ZMEDIUM_MAX + 1};
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    forget(sizes[i], ZOLD_HEADER_MIN);
    forget(sizes[i], ZOLD_HEADER_MAX);
  }
}

static void test_free_forgets_behind_a_block_header(void **state) {
  (void)state;
  zold_map_block_header = 16;
  size_t sizes[] = {64, 400, 3000, ZMEDIUM_MAX + 1};
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    forget(sizes[i], 16 + ZOLD_HEADER_MIN);
    forget(sizes[i], 16 + ZOLD_HEADER_MAX);
  }
  zold_map_block_header = 0;
}

static void test_free_forgets_whatever_place_in_the_block(void **state) {
  (void)state;
  size_t sizes[] = {64, 400, 1024, 3000, 60000, ZMEDIUM_MAX + 1};
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    for (size_t offset = 0; offset < sizes[i]; offset += sizes[i] < 4000 ? 16 : 4096) forget(sizes[i], offset);
  }
}

static void test_free_leaves_what_lies_around_the_block(void **state) {
  (void)state;
  char *before = zallocator_alloc(64), *block = before + 64, *behind = block + 64;
  assert_ptr_equal(zallocator_alloc(64), block);
  assert_ptr_equal(zallocator_alloc(64), behind);
  make_old(before + 48);
  make_old(block + 48);
  make_old(behind);
  zallocator_free(block);
  assert_true(zold_map_is_old(before + 48));
  assert_false(zold_map_is_old(block + 48));
  assert_true(zold_map_is_old(behind));
  assert_int_equal(zold_map_count, 2);
}

static void test_only_one_object_of_a_block_is_accepted(void **state) {
  (void)state;
  size_t sizes[] = {400, 3008, 60000, 3 * ZGRANULE_SIZE};
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    size_t places[] = {16, 32, 48, 64, 128, sizes[i] - 32};
    for (size_t one = 0; one < ZARRAY_LENGTH(places); one++) {
      char *block = zallocator_alloc(sizes[i]), *neighbour = zallocator_alloc(sizes[i]);
      make_old(block + places[one]);
      for (size_t other = 0; other < ZARRAY_LENGTH(places); other++) {
        bool is_expected = places[one] + places[other] == 48; /* a PyGC_Head is longer than the distance */
        if (!is_expected) assert_int_equal(zold_map_admit(block + places[other]), one == other);
      }
      assert_true(zold_map_admit(neighbour + 16));
      zallocator_free(block);
      zallocator_free(neighbour);
      assert_int_equal(zold_map_count, 0);
    }
  }
}

static void test_what_has_no_bit_is_not_accepted(void **state) {
  (void)state;
  int here;
  char *block = zallocator_alloc(400);
  for (int i = 1; i < 16; i++) assert_false(zold_map_admit(block + 16 + i));
  assert_false(zold_map_admit(NULL));
  assert_false(zold_map_admit(&here));
  assert_false(zold_map_admit(zgranules_range.base + zgranules_range.size));
}

static void test_a_large_block_that_shrinks_forgets_its_end(void **state) {
  (void)state;
  char *block = zallocator_alloc(40 * ZGRANULE_SIZE);
  make_old(block + 38 * ZGRANULE_SIZE + 160);
  assert_ptr_equal(zallocator_realloc(block, 9 * ZGRANULE_SIZE + 100), block);
  assert_int_equal(zold_map_count, 0);
  make_old(block + 9 * ZGRANULE_SIZE + 160); /* behind its last byte, as after a smaller step */
  zallocator_free(block);
  assert_int_equal(zold_map_count, 0);
  char *page = zallocator_alloc(400);
  make_old(page + 16); /* the granule's next life knows nothing of it */
  zallocator_free(page);
  assert_int_equal(zold_map_count, 0);
}

static void test_free_leaves_the_neighbour_old(void **state) {
  (void)state;
  char *block = zallocator_alloc(32); /* ends where the larger header would */
  char *next = block + 32;
  assert_ptr_equal(zallocator_alloc(32), next);
  zold_map_add(block + ZOLD_HEADER_MIN);
  zold_map_add(next + ZOLD_HEADER_MIN);
  zallocator_free(block);
  assert_true(zold_map_is_old(next + ZOLD_HEADER_MIN));
  assert_int_equal(zold_map_count, 1);
}

static void test_hook_hears_of_large_enough_old_objects_only(void **state) {
  (void)state;
  forget(ZOLD_HOOK_SIZE - 16, ZOLD_HEADER_MIN);
  assert_int_equal(hooked, 0);
  char *block = zallocator_alloc(ZOLD_HOOK_SIZE);
  zold_map_add(block + ZOLD_HEADER_MAX);
  zallocator_free(block);
  assert_int_equal(hooked, 1);
  assert_ptr_equal(hooked_object, block + ZOLD_HEADER_MAX);
  zallocator_free(zallocator_alloc(ZOLD_HOOK_SIZE)); /* in the same page, but not old */
  assert_int_equal(hooked, 1);
}

static void test_clear(void **state) {
  (void)state;
  char *objects[1000];
  for (int i = 0; i < 1000; i++) {
    objects[i] = (char *)zallocator_alloc(200 * (i % 30 + 1)) + ZOLD_HEADER_MIN;
    zold_map_add(objects[i]);
  }
  assert_int_equal(zold_map_count, 1000);
  zold_map_clear();
  assert_int_equal(zold_map_count, 0);
  for (int i = 0; i < 1000; i++) assert_false(zold_map_is_old(objects[i]));
  assert_true(zold_map_add(objects[0]));
}

static void test_frozen_objects_are_no_members(void **state) {
  (void)state;
  char *objects[1000];
  for (int i = 0; i < 1000; i++) objects[i] = (char *)zallocator_alloc(100) + ZOLD_HEADER_MIN;
  for (int i = 0; i < 900; i++) zold_map_add(objects[i]);
  assert_true(zold_map_freeze());
  assert_int_equal(zold_map_count, 0);
  assert_int_equal(zold_map_frozen_count, 900);
  for (int i = 900; i < 1000; i++) zold_map_add(objects[i]); /* becomes old while the others are frozen */
  for (int i = 0; i < 1000; i++) {
    assert_true(zold_map_is_old(objects[i]));
    assert_int_equal(zold_map_is_member(objects[i]), i >= 900);
  }
  assert_int_equal(zold_map_count, 100);
  zallocator_free(objects[0] - ZOLD_HEADER_MIN); /* dies frozen, and lives again */
  assert_int_equal(zold_map_frozen_count, 899);
  char *again = (char *)zallocator_alloc(100) + ZOLD_HEADER_MIN;
  assert_ptr_equal(again, objects[0]);
  assert_true(zold_map_add(again));
  assert_true(zold_map_is_member(again));
  zold_map_thaw_object(objects[1]);
  assert_true(zold_map_is_member(objects[1]));
  assert_int_equal(zold_map_count, 102);
  assert_true(zold_map_freeze()); /* the rest, too */
  assert_int_equal(zold_map_frozen_count, 1000);
  zold_map_thaw();
  assert_int_equal(zold_map_count, 1000);
  assert_int_equal(zold_map_frozen_count, 0);
  for (int i = 0; i < 1000; i++) assert_true(zold_map_is_member(objects[i]));
  for (int i = 0; i < 500; i++) zold_map_remove(objects[i]);
  assert_true(zold_map_freeze()); /* what was frozen the last time and is not old any more is not frozen */
  for (int i = 0; i < 500; i++) zold_map_add(objects[i]);
  for (int i = 0; i < 1000; i++) assert_int_equal(zold_map_is_member(objects[i]), i < 500);
}

static void test_freezing_without_memory(void **state) {
  (void)state;
  char *object = (char *)zallocator_alloc(100) + ZOLD_HEADER_MIN;
  zold_map_add(object);
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 1);
  assert_false(zold_map_freeze());
  assert_true(zold_map_is_member(object));
  assert_int_equal(zold_map_count, 1);
}

/* An interpreter: some of its objects become old where it is the main one, and all die. */
static void *live_and_die(void *heap) {
  zheaptest_heap = (unsigned)(uintptr_t)heap;
  char *blocks[1200]; /* more than a page holds: pages become full, and no longer */
  for (int round = 0; round < 1500; round++) {
    for (int i = 0; i < 1200; i++) {
      blocks[i] = zallocator_alloc(64);
      if (heap == ZHEAP_FIRST && i % 3 != 0 && !zold_map_add(blocks[i] + ZOLD_HEADER_MIN)) return "not old";
    }
    for (int i = 1; i < 1200; i += 6) {
      if (heap == ZHEAP_FIRST) zold_map_remove(blocks[i] + ZOLD_HEADER_MIN);
    }
    for (int i = 0; i < 1200; i++) zallocator_free(blocks[i]);
  }
  return NULL;
}

static void test_two_interpreters(void **state) {
  (void)state;
  zheap_close(zheaptest_holder);
  pthread_t threads[2];
  void *const heaps[] = {(void *)ZHEAP_FIRST, (void *)ZHEAP_COMMON};
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, live_and_die, heaps[i]), 0);
  for (int i = 0; i < 2; i++) {
    void *wrong;
    pthread_join(threads[i], &wrong);
    assert_null(wrong);
  }
  assert_int_equal(zold_map_count, 0);
  size_t words = (zgranules_range.committed_end >> ZOLD_UNIT_SHIFT) / 64;
  for (size_t i = 0; i < words; i++) assert_int_equal(zold_map_bits[i], 0);
  char why[200];
  if (!zheap_report_verify(why, sizeof why)) fail_msg("%s", why);
  zheap_report_t stats;
  zheap_report(&stats);
  assert_int_equal(stats.used_blocks, 0);
}

static void test_objects_of_other_heaps_do_not_become_old(void **state) {
  (void)state;
  char *mine = zallocator_alloc(64);
  zheap_close(zheaptest_holder);
  zheaptest_heap = ZHEAP_COMMON;
  char *other = zallocator_alloc(64);
  zheaptest_heap = ZHEAP_FIRST;
  assert_true(zold_map_add(mine + ZOLD_HEADER_MIN));
  assert_false(zold_map_add(other + ZOLD_HEADER_MIN));
  assert_int_equal(zold_map_count, 1);
  /* Freed outside of its heap, it stays old until its heap takes the block: nobody uses it meanwhile. */
  zheaptest_heap = ZHEAP_COMMON;
  zallocator_free(mine);
  zheaptest_heap = ZHEAP_FIRST;
  for (int i = 0; zold_map_count > 0 && i < 2000; i++) {
    assert_false(zold_map_has((char *)zallocator_alloc(64) + ZOLD_HEADER_MIN));
  }
  assert_int_equal(zold_map_count, 0);
}

#define STARTED(test) cmocka_unit_test_setup(test, start)
static const struct CMUnitTest tests[] = {
    STARTED(test_added_once),
    STARTED(test_neighbours_do_not_matter),
    STARTED(test_is_old_of_any_address),
    STARTED(test_free_forgets_behind_either_header),
    STARTED(test_free_forgets_behind_a_block_header),
    STARTED(test_free_forgets_whatever_place_in_the_block),
    STARTED(test_free_leaves_what_lies_around_the_block),
    STARTED(test_only_one_object_of_a_block_is_accepted),
    STARTED(test_what_has_no_bit_is_not_accepted),
    STARTED(test_a_large_block_that_shrinks_forgets_its_end),
    STARTED(test_free_leaves_the_neighbour_old),
    STARTED(test_hook_hears_of_large_enough_old_objects_only),
    STARTED(test_clear),
    STARTED(test_frozen_objects_are_no_members),
    STARTED(test_freezing_without_memory),
    STARTED(test_two_interpreters),
    STARTED(test_objects_of_other_heaps_do_not_become_old),
};
ZTEST_MAIN(tests, NULL)
