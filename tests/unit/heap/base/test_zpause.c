#include "heap/base/zpause.h"

#include "heap/base/zstat.h"
#include "tests/support/ztest.h"

static void test_bounds_grow(void **state) {
  (void)state;
  for (unsigned i = 1; i < ZPAUSE_BUCKETS - 1; i++) {
    assert_true(zpause_bounds_ns[i] > zpause_bounds_ns[i - 1]);
  }
}

/* A bound belongs to its own bucket, one nanosecond more to the next. */
static void test_edges(void **state) {
  (void)state;
  for (unsigned i = 0; i < ZPAUSE_BUCKETS - 1; i++) {
    zpause_histogram_t before = zpause_read(ZPAUSE_FULL);
    zpause_note(ZPAUSE_FULL, zpause_bounds_ns[i]);
    zpause_note(ZPAUSE_FULL, zpause_bounds_ns[i] + 1);
    zpause_histogram_t after = zpause_read(ZPAUSE_FULL);
    assert_int_equal(after.counts[i], before.counts[i] + 1);
    assert_int_equal(after.counts[i + 1], before.counts[i + 1] + 1);
    assert_int_equal(after.total_ns, before.total_ns + 2 * zpause_bounds_ns[i] + 1);
  }
  zpause_note(ZPAUSE_FULL, UINT64_MAX / 2);
  assert_int_equal(zpause_read(ZPAUSE_FULL).counts[ZPAUSE_BUCKETS - 1], 2);
}

static void test_counters_are_the_sum_over_kinds(void **state) {
  (void)state;
  zpause_note(ZPAUSE_YOUNG, 0);
  zpause_note(ZPAUSE_YOUNG, 300);
  zpause_note(ZPAUSE_RECLAIM, 50000);
  uint64_t count = 0, total = 0;
  for (int kind = 0; kind < ZPAUSE_KINDS; kind++) {
    zpause_histogram_t histogram = zpause_read((zpause_kind_t)kind);
    for (unsigned i = 0; i < ZPAUSE_BUCKETS; i++) count += histogram.counts[i];
    total += histogram.total_ns;
  }
  assert_int_equal(count, zstat_get(pauses));
  assert_int_equal(total, zstat_get(pause_total_ns));
  assert_int_equal(zstat_get(pause_max_ns), 50000);
  assert_int_equal(zpause_read(ZPAUSE_YOUNG).counts[0], 2);
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(zpause_name(ZPAUSE_YOUNG), "young");
  assert_string_equal(zpause_name(ZPAUSE_RECLAIM), "reclaim");
  assert_string_equal(zpause_name(ZPAUSE_FULL), "full");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_bounds_grow),
    cmocka_unit_test(test_edges),
    cmocka_unit_test(test_counters_are_the_sum_over_kinds),
    cmocka_unit_test(test_names),
};
ZTEST_MAIN(tests, NULL)
