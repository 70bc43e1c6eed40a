#include "collector/cpython/zmap.h"

#include "heap/base/zos.h"
#include "tests/support/ztest.h"

static void test_empty(void **state) {
  (void)state;
  zmap_t map = {0};
  assert_null(zmap_find(&map, 1));
  zmap_free(&map); /* harmless */
}

static void test_many_keys_keep_their_values(void **state) {
  (void)state;
  zmap_t map = {0};
  for (uint64_t key = 1; key <= 10000; key++) {
    int64_t *value = zmap_insert(&map, key * 16); /* addresses, as in use */
    assert_int_equal(*value, 0);
    *value = (int64_t)key - 5000;
  }
  assert_int_equal(map.count, 10000);
  for (uint64_t key = 1; key <= 10000; key++) {
    assert_int_equal(*zmap_find(&map, key * 16), (int64_t)key - 5000);
    assert_null(zmap_find(&map, key * 16 + 8));
  }
  zmap_free(&map);
  assert_null(zmap_find(&map, 16));
}

static void test_second_insertion_finds_the_first(void **state) {
  (void)state;
  zmap_t map = {0};
  *zmap_insert(&map, UINT64_MAX) = -1;
  assert_int_equal(*zmap_insert(&map, UINT64_MAX), -1);
  assert_int_equal(map.count, 1);
}

static void test_keys_that_share_a_slot(void **state) {
  (void)state;
  zmap_t map = {0};
  /* The slot comes from the middle bits of a product, so these differ in what it leaves out too. */
  for (uint64_t i = 0; i < 100; i++) *zmap_insert(&map, (i + 1) << 56) = (int64_t)i;
  for (uint64_t i = 0; i < 100; i++) {
    assert_int_equal(*zmap_find(&map, (i + 1) << 56), (int64_t)i);
  }
}

static void test_failing_memory_loses_nothing(void **state) {
  (void)state;
  zmap_t map = {0};
  zos_fault_set(ZOS_FAULT_TABLE, 1, 1);
  assert_null(zmap_insert(&map, 1));
  uint64_t key = 0;
  while (map.count < 10 || map.count * 2 <= map.mask) {
    key++;
    *zmap_insert(&map, key) = (int64_t)key;
  }
  zos_fault_set(ZOS_FAULT_TABLE, 1, 1);
  assert_null(zmap_insert(&map, key + 1)); /* it would have to grow */
  for (uint64_t i = 1; i <= key; i++) assert_int_equal(*zmap_find(&map, i), (int64_t)i);
  assert_non_null(zmap_insert(&map, key + 1));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_empty),
    cmocka_unit_test(test_many_keys_keep_their_values),
    cmocka_unit_test(test_second_insertion_finds_the_first),
    cmocka_unit_test(test_keys_that_share_a_slot),
    cmocka_unit_test(test_failing_memory_loses_nothing),
};
ZTEST_MAIN(tests, NULL)
