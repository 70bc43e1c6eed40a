#include "preload/start/zstage.h"

#include <string.h>

#include "tests/support/ztest.h"

static void test_exactly_the_legal_moves(void **state) {
  (void)state;
  static const struct {
    zstage_t from, to;
  } legal[] = {
      {ZSTAGE_ASLEEP, ZSTAGE_PASSIVE},  {ZSTAGE_PASSIVE, ZSTAGE_PASSIVE}, {ZSTAGE_PASSIVE, ZSTAGE_WAITING},
      {ZSTAGE_WAITING, ZSTAGE_PASSIVE}, {ZSTAGE_WAITING, ZSTAGE_ACTIVE},  {ZSTAGE_ACTIVE, ZSTAGE_ENDING},
      {ZSTAGE_ENDING, ZSTAGE_WAITING},
  };
  unsigned found = 0;
  for (unsigned from = 0; from < ZSTAGE_COUNT; from++) {
    for (unsigned to = 0; to < ZSTAGE_COUNT; to++) {
      bool expected = false;
      for (size_t i = 0; i < ZARRAY_LENGTH(legal); i++) expected |= legal[i].from == from && legal[i].to == to;
      assert_int_equal(zstage_is_legal((zstage_t)from, (zstage_t)to), expected);
      found += expected;
    }
  }
  assert_int_equal(found, ZARRAY_LENGTH(legal));
}

static void test_two_interpreters_in_a_row(void **state) {
  (void)state;
  assert_int_equal(zstage(), ZSTAGE_ASLEEP);
  assert_string_equal(zstage_reason(), "");
  zstage_enter(ZSTAGE_PASSIVE);
  for (int i = 0; i < 2; i++) {
    zstage_enter(ZSTAGE_WAITING);
    assert_non_null(strstr(zstage_reason(), "has not come yet"));
    zstage_enter(ZSTAGE_ACTIVE);
    zstage_enter(ZSTAGE_ENDING);
    assert_non_null(strstr(zstage_reason(), "finalised"));
  }
  zstage_enter(ZSTAGE_WAITING);
  zstage_become_passive("there is no atexit module");
  assert_string_equal(zstage_reason(), "there is no atexit module");
  assert_int_equal(zstage(), ZSTAGE_PASSIVE);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_exactly_the_legal_moves),
    cmocka_unit_test(test_two_interpreters_in_a_row),
};
ZTEST_MAIN(tests, NULL)
