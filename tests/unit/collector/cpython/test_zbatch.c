#include "collector/cpython/zbatch.h"

#include "tests/support/ztest.h"

#define BUDGET 500000u /* ns */

/* One batch of the size wanted, at so many nanoseconds an object. */
static size_t feed(uint64_t ns_per_object) {
  zbatch_note(zbatch_size(), zbatch_size() * ns_per_object, BUDGET);
  return zbatch_size();
}

static size_t settle(uint64_t ns_per_object) {
  for (int i = 0; i < 100; i++) feed(ns_per_object);
  return zbatch_size();
}

static void test_size_settles_at_what_fits(void **state) {
  (void)state;
  assert_in_range(settle(50), 9900, 10000);
  assert_in_range(settle(500), 990, 1000);
}

static void test_growth_is_by_quarters_and_shrinking_at_once(void **state) {
  (void)state;
  size_t before = settle(500);
  assert_in_range(feed(50), before * 3, before * 4); /* 3/4 + 10/4 */
  settle(50);
  assert_in_range(feed(500), 990, 1000);
}

static void test_a_collection_begins_short(void **state) {
  (void)state;
  settle(50);
  zbatch_begin();
  assert_int_equal(zbatch_size(), ZBATCH_FIRST);
  settle(5000);
  zbatch_begin();
  assert_in_range(zbatch_size(), 90, 100);
}

static void test_size_stays_in_its_range(void **state) {
  (void)state;
  assert_int_equal(settle(1000000), ZBATCH_MIN);
  assert_int_equal(settle(0), ZBATCH_MAX);
  zbatch_note(1000, UINT64_MAX - 1, BUDGET);
  assert_int_equal(zbatch_size(), ZBATCH_MIN);
}

static void test_a_tiny_batch_says_nothing(void **state) {
  (void)state;
  size_t before = settle(50);
  zbatch_note(ZBATCH_TELLING - 1, 100 * BUDGET, BUDGET);
  assert_int_equal(zbatch_size(), before);
}

/* A thread that lost its processor in a batch has seen it take a hundred times too long. Components of 3 objects fill
 * 48 of the 50 that the next one may hold. */
static void test_one_lost_processor_is_forgotten(void **state) {
  (void)state;
  for (size_t component = 1; component <= ZBATCH_MIN; component++) {
    settle(50);
    zbatch_note(zbatch_size(), 1000 * BUDGET, BUDGET);
    assert_int_equal(zbatch_size(), ZBATCH_MIN);
    for (int i = 0; i < 10; i++) {
      size_t objects = zbatch_size() / component * component;
      zbatch_note(objects, objects * 50, BUDGET);
    }
    assert_true(zbatch_size() > 5000);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_size_settles_at_what_fits),
    cmocka_unit_test(test_growth_is_by_quarters_and_shrinking_at_once),
    cmocka_unit_test(test_a_collection_begins_short),
    cmocka_unit_test(test_size_stays_in_its_range),
    cmocka_unit_test(test_a_tiny_batch_says_nothing),
    cmocka_unit_test(test_one_lost_processor_is_forgotten),
};
ZTEST_MAIN(tests, NULL)
