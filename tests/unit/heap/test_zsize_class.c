#include "heap/zsize_class.h"

#include "tests/support/ztest.h"

static unsigned class_of(size_t size) {
  return size <= ZSMALL_MAX ? zsize_class_small(size) : zsize_class_medium(size);
}

static void test_every_size_gets_the_smallest_block_that_holds_it(void **state) {
  (void)state;
  for (size_t size = 0; size <= ZMEDIUM_MAX; size++) {
    unsigned size_class = class_of(size);
    assert_in_range(size_class, 0, ZCLASS_COUNT - 1);
    size_t block = zsize_class_block_size(size_class);
    assert_true(block >= size && block > 0);
    if (size_class > 0) assert_true(zsize_class_block_size(size_class - 1) < zmax(size, 1));
  }
}

static void test_classes_grow_and_are_aligned(void **state) {
  (void)state;
  size_t before = 0;
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    size_t block = zsize_class_block_size(i);
    assert_true(block > before);
    assert_int_equal(block % ZBLOCK_ALIGNMENT, 0);
    before = block;
  }
  assert_int_equal(before, ZMEDIUM_MAX);
}

static void test_boundaries(void **state) {
  (void)state;
  for (unsigned i = 0; i + 1 < ZCLASS_COUNT; i++) {
    size_t n = zsize_class_block_size(i);
    assert_int_equal(class_of(n - 1), i);
    assert_int_equal(class_of(n), i);
    assert_int_equal(class_of(n + 1), i + 1);
  }
  assert_int_equal(class_of(0), 0);
  assert_int_equal(class_of(1), 0);
  assert_int_equal(class_of(ZSMALL_MAX), ZSMALL_CLASSES - 1);
  assert_int_equal(class_of(ZSMALL_MAX + 1), ZSMALL_CLASSES);
  assert_int_equal(class_of(ZMEDIUM_MAX), ZCLASS_COUNT - 1);
}

static void test_rounding_up_wastes_little(void **state) {
  (void)state;
  for (size_t size = 1; size <= ZMEDIUM_MAX; size++) {
    size_t waste = zsize_class_block_size(class_of(size)) - size;
    if (size <= ZSMALL_MAX) {
      assert_true(waste < ZBLOCK_ALIGNMENT);
    } else {
      assert_true(waste * 8 < size); /* less than 12.5 % */
    }
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_size_gets_the_smallest_block_that_holds_it),
    cmocka_unit_test(test_classes_grow_and_are_aligned),
    cmocka_unit_test(test_boundaries),
    cmocka_unit_test(test_rounding_up_wastes_little),
};
ZTEST_MAIN(tests, NULL)
