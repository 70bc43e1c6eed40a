/* A heap made up of numbers: young collections after so many objects that bring so many bytes each. */
#include "collector/cpython/zpayload.h"

#include "tests/support/ztest.h"

#define YOUNG 350

static size_t bytes;
static uint64_t promoted;

static int start(void **state) {
  (void)state;
  zpayload_reset();
  bytes = 20 * ZM;
  promoted = 0;
  zpayload_note_end(bytes);
  zpayload_is_rising(bytes, promoted);
  return 0;
}

/* One young collection that frees all that was new. */
static void collect(size_t objects, size_t bytes_each) {
  zpayload_note_start(bytes + objects * bytes_each, objects);
  zpayload_note_end(bytes);
}

/* `objects` grow old, so many bytes with each. */
static bool promote(unsigned objects, size_t bytes_each) {
  bytes += objects * bytes_each;
  promoted += objects;
  zpayload_note_end(bytes);
  return zpayload_is_rising(bytes, promoted);
}

static void test_light_objects_are_not_limited(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) collect(YOUNG, 100);
  assert_true(zpayload_fits() > 20000);
}

static void test_heavy_objects_are_limited_by_what_they_bring(void **state) {
  (void)state;
  for (size_t each = 4096; each < ZM; each *= 4) {
    for (int i = 0; i < 10; i++) collect(YOUNG, each);
    assert_in_range(zpayload_fits() * each, 3 * ZM, 4 * ZM);
  }
}

static void test_a_large_heap_allows_a_share_of_it(void **state) {
  (void)state;
  bytes = 3200 * ZM;
  zpayload_note_end(bytes);
  for (int i = 0; i < 10; i++) collect(YOUNG, ZM / 4);
  assert_in_range(zpayload_fits(), 390, 400);
}

static void test_what_has_left_limits_nothing(void **state) {
  (void)state;
  zpayload_note_start(bytes / 2, YOUNG);
  assert_true(zpayload_fits() == SIZE_MAX);
}

static void test_few_objects_do_not_lift_the_limit_at_once(void **state) {
  (void)state;
  collect(YOUNG, 100000);
  size_t before = zpayload_fits();
  collect(3, 0);
  assert_int_equal(zpayload_fits(), 2 * before);
}

static void test_heavy_objects_that_grow_old_are_a_rise_of_a_share_each_time(void **state) {
  (void)state;
  unsigned rises = 0;
  for (int i = 0; i < 10000; i++) rises += promote(10, 10000);
  assert_in_range(rises, 20, 70); /* 20 MB to 1 GB, by a sixteenth each time */
}

static void test_light_objects_that_grow_old_are_none(void **state) {
  (void)state;
  for (int i = 0; i < 10000; i++) assert_false(promote(1000, 100));
}

static void test_what_rises_without_objects_is_none(void **state) {
  (void)state;
  for (int i = 0; i < 100; i++) assert_false(promote(0, ZM) || (bytes += ZM, promote(0, 0)));
}

static void test_after_a_fall_the_rise_counts_from_there(void **state) {
  (void)state;
  bytes = 100 * ZM;
  promote(1000, 0);
  bytes = 20 * ZM;
  assert_false(promote(0, 0));
  assert_false(promote(10, 100000));
  assert_true(promote(40, 100000));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_light_objects_are_not_limited, start),
    cmocka_unit_test_setup(test_heavy_objects_are_limited_by_what_they_bring, start),
    cmocka_unit_test_setup(test_a_large_heap_allows_a_share_of_it, start),
    cmocka_unit_test_setup(test_what_has_left_limits_nothing, start),
    cmocka_unit_test_setup(test_few_objects_do_not_lift_the_limit_at_once, start),
    cmocka_unit_test_setup(test_heavy_objects_that_grow_old_are_a_rise_of_a_share_each_time, start),
    cmocka_unit_test_setup(test_light_objects_that_grow_old_are_none, start),
    cmocka_unit_test_setup(test_what_rises_without_objects_is_none, start),
    cmocka_unit_test_setup(test_after_a_fall_the_rise_counts_from_there, start),
};
ZTEST_MAIN(tests, NULL)
