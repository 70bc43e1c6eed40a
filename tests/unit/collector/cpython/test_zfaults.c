#include "collector/cpython/zfaults.h"

#include "tests/support/ztest.h"

static int start(void **state) {
  (void)state;
  zfaults_forget();
  return 0;
}

/* Collections of CPython's until ours are tried again; 0: they are not. */
static unsigned rest(void) {
  for (unsigned i = 1; i < 1000000; i++) {
    if (zfaults_rest_is_over()) return i;
  }
  return 0;
}

static void test_three_in_a_row_begin_a_rest(void **state) {
  (void)state;
  assert_false(zfaults_note("a"));
  assert_false(zfaults_note("b"));
  zfaults_forget();
  assert_false(zfaults_note("a"));
  assert_false(zfaults_note("b"));
  assert_true(zfaults_note("c"));
  assert_true(rest() > 0);
}

static void test_each_further_failure_makes_the_rest_longer_up_to_a_limit(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) zfaults_note("a");
  unsigned before = 0, longest = 0;
  for (int i = 0; i < 20; i++) {
    assert_true(zfaults_note("a"));
    longest = rest();
    assert_true(longest == 2 * before || longest == before || before == 0);
    before = longest;
  }
  assert_in_range(longest, 10000, 100000);
}

static void test_a_success_ends_it(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) zfaults_note("a");
  unsigned first = rest();
  zfaults_note("a");
  zfaults_forget();
  assert_int_equal(rest(), 0);
  for (int i = 0; i < 3; i++) zfaults_note("a");
  assert_int_equal(rest(), first);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_three_in_a_row_begin_a_rest, start),
    cmocka_unit_test_setup(test_each_further_failure_makes_the_rest_longer_up_to_a_limit, start),
    cmocka_unit_test_setup(test_a_success_ends_it, start),
};
ZTEST_MAIN(tests, NULL)
