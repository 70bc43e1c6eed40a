#include "collector/cpython/zphase.h"

#include "heap/base/zstat.h"
#include "tests/support/ztest.h"

static void test_exactly_the_legal_moves(void **state) {
  (void)state;
  static const char *const legal[] = {
      [ZPHASE_IDLE] = ".x...",       /* to requested */
      [ZPHASE_REQUESTED] = "x.x..",  /* to idle, concurrent */
      [ZPHASE_CONCURRENT] = "x..xx", /* to idle, deferring, reclaiming */
      [ZPHASE_DEFERRING] = "x.x..",  /* to idle, concurrent */
      [ZPHASE_RECLAIMING] = "x....", /* to idle */
  };
  for (unsigned from = 0; from < ZARRAY_LENGTH(legal); from++) {
    for (unsigned to = 0; to < ZARRAY_LENGTH(legal); to++) {
      assert_int_equal(zphase_is_legal((zphase_t)from, (zphase_t)to), legal[from][to] == 'x');
    }
  }
  assert_false(zphase_is_legal((zphase_t)99, ZPHASE_IDLE));
}

static void test_every_cause_counts_itself_and_the_sum(void **state) {
  (void)state;
  unsigned causes = 0;
#define X(id, name, counter)                                 \
  if (ZCAUSE_##id != ZCAUSE_NONE) {                          \
    uint64_t before = zstat_get(counter);                    \
    zcause_count(ZCAUSE_##id);                               \
    assert_int_equal(zstat_get(counter), before + 1);        \
    assert_int_equal(zstat_get(collections), ++causes);      \
  }                                                          \
  assert_string_equal(zcause_name(ZCAUSE_##id), name);
  ZCAUSE_TABLE(X)
#undef X
  zcause_count(ZCAUSE_NONE); /* the sum alone */
  assert_int_equal(zstat_get(collections), causes + 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_exactly_the_legal_moves),
    cmocka_unit_test(test_every_cause_counts_itself_and_the_sum),
};
ZTEST_MAIN(tests, NULL)
