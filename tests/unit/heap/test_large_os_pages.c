/* The heap on a kernel with larger pages than it cuts its own memory into: such a kernel refuses an address
 * inside of one, and rounds a length up. */
#include <errno.h>
#include <sys/mman.h>

#include "heap/base/zos.h"
#include "heap/zsparse.h"
#include "tests/support/zheaptest.h"

static size_t page;

static int madvise_by_page(void *start, size_t size, int advice) {
  if (((uintptr_t)start & (page - 1)) == 0) return madvise(start, zalign_up(size, page), advice);
  errno = EINVAL;
  return -1;
}

static int start(size_t size) {
  page = size;
  zos_calls.madvise = madvise_by_page;
  zos_calls.page_size = 0;
  return zallocator_start(ZHEAPTEST_RANGE) ? 0 : -1;
}

static int start_16k(void **state) { (void)state; return start(16 * ZK); }
static int start_64k(void **state) { (void)state; return start(64 * ZK); }

#define BLOCKS 60000

static size_t size_of(size_t i) { return i % 500 == 0 ? 100000 + i : i % 50 == 0 ? 5000 : 16 + i % 300; }

static void test_nothing_alive_is_given_back(void **state) {
  (void)state;
  static char *blocks[BLOCKS];
  assert_int_equal(zos_page_size(), page);
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = zallocator_alloc(size_of(i));
    memset(blocks[i], (int)(i % 251 + 1), size_of(i));
  }
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < BLOCKS; i++) { /* long runs die */
      if (blocks[i] == NULL || (i / 600 + (size_t)round) % 3 == 0) continue;
      zallocator_free(blocks[i]);
      blocks[i] = NULL;
    }
    for (int i = 0; i < 3; i++) zgranules_uncommit_aged();
    size_t at = 0, bytes = 0;
    while (!zallocator_trim(&at, UINT64_MAX, &bytes)) continue;
    for (size_t i = 0; i < BLOCKS; i++) {
      if (blocks[i] != NULL) assert_true(ztest_all(blocks[i], (int)(i % 251 + 1), size_of(i)));
    }
    zheaptest_check();
    for (size_t i = 0; i < BLOCKS; i++) { /* what reads as zeros must */
      if (blocks[i] != NULL) continue;
      blocks[i] = zallocator_alloc_zeroed(size_of(i));
      assert_true(ztest_all(blocks[i], 0, size_of(i)));
      memset(blocks[i], (int)(i % 251 + 1), size_of(i));
    }
  }
}

static void test_some_of_it_goes_back(void **state) {
  (void)state;
  char *block = zallocator_alloc(4 * ZM);
  memset(block, 1, 4 * ZM);
  size_t before = zgranules_resident_bytes();
  zallocator_free(block);
  zgranules_uncommit_aged();
  zgranules_uncommit_aged();
  assert_true(zgranules_resident_bytes() + 4 * ZM <= before + 2 * page);
}

#define ON(test) cmocka_unit_test_setup(test, start_16k), cmocka_unit_test_setup(test, start_64k)
static const struct CMUnitTest tests[] = {ON(test_nothing_alive_is_given_back), ON(test_some_of_it_goes_back)};
ZTEST_MAIN(tests, NULL)
