#include "collector/cpython/zoutside.h"

#include <stdlib.h>

#include "tests/support/ztest.h"

#define BLOCKS 1000
#define BLOCK 50000

static void *blocks[BLOCKS];

static size_t look(void) {
  for (int i = 0; i < 10000; i++) zoutside_note_young();
  return zoutside_bytes();
}

static void test_what_malloc_has_handed_out_is_known_after_a_while(void **state) {
  (void)state;
  assert_int_equal(look(), 0); /* not started: not known */
  zoutside_start();
  size_t before = look();
  if (before == 0) skip(); /* another malloc, or an older C library */
  for (int i = 0; i < BLOCKS; i++) blocks[i] = malloc(BLOCK);
  assert_in_range(look() - before, BLOCKS * BLOCK, BLOCKS * BLOCK * 5 / 4);
  for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
  assert_true(look() < before + BLOCKS * BLOCK / 4);
}

static void test_it_is_not_looked_at_each_time(void **state) {
  (void)state;
  zoutside_start();
  if (look() == 0) skip();
  size_t known = zoutside_bytes(), changes = 0;
  for (int i = 0; i < 160; i++) {
    blocks[i] = malloc(BLOCK);
    zoutside_note_young();
    if (zoutside_bytes() != known) changes++;
    known = zoutside_bytes();
  }
  for (int i = 0; i < 160; i++) free(blocks[i]);
  assert_in_range(changes, 0, 10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_what_malloc_has_handed_out_is_known_after_a_while),
    cmocka_unit_test(test_it_is_not_looked_at_each_time),
};
ZTEST_MAIN(tests, NULL)
