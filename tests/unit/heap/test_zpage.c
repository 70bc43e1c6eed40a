#include "heap/zpage.h"

#include <pthread.h>

#include "heap/zallocator.h"
#include "tests/support/ztest.h"

static int start(void **state) {
  (void)state;
  return zallocator_start(64 * ZM) ? 0 : -1;
}

/* Every 16th address, and the first and last byte, of a block lead to its bounds. */
static void check_bounds(char *block, size_t block_size) {
  const char *from, *to;
  for (size_t offset = 0; offset < block_size; offset += 16) {
    assert_true(zpage_block_of(block + offset, &from, &to));
    assert_ptr_equal(from, block);
    assert_ptr_equal(to, block + block_size);
  }
  assert_true(zpage_block_of(block + block_size - 1, &from, &to));
  assert_ptr_equal(from, block);
}

static void test_block_of_every_class(void **state) {
  (void)state;
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    size_t block_size = zsize_class_block_size(i);
    zpage_t *page = zpage_find(zallocator_alloc(block_size));
    assert_int_equal(page->block_size, block_size);
    for (size_t n = 0; n < page->capacity; n++) { /* the last ones lie in inner granules */
      char *block = zpage_first_block(page) + n * block_size;
      const char *from, *to;
      assert_ptr_equal(zpage_find(block), page);
      assert_true(zpage_block_of(block + block_size - 1, &from, &to));
      assert_ptr_equal(from, block);
      assert_ptr_equal(to, block + block_size);
    }
    check_bounds(zpage_first_block(page) + (page->capacity - 1) * block_size, block_size);
  }
}

static void test_pages_have_few_granules_and_a_short_tail(void **state) {
  (void)state;
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    size_t block_size = zsize_class_block_size(i);
    size_t granules = zpage_granules_of(block_size), bytes = granules * ZGRANULE_SIZE;
    assert_true(bytes / block_size >= 1);
    assert_true(bytes % block_size * ZPAGE_WASTE_SHARE <= bytes); /* the tail that no block fits in */
    assert_true(granules <= 1 || block_size > ZGRANULE_SIZE / 4);
    assert_true(granules <= 3 * zalign_up(block_size, ZGRANULE_SIZE) / ZGRANULE_SIZE);
  }
}

static void test_block_of_large(void **state) {
  (void)state;
  zallocator_alloc(16); /* so that it is not granule 0 */
  size_t size = ZMEDIUM_MAX + 3 * ZGRANULE_SIZE + 1;
  char *block = zallocator_alloc(size);
  check_bounds(block, zalign_up(size, ZBLOCK_ALIGNMENT));
  for (size_t offset = 0; offset < size; offset += ZGRANULE_SIZE) {
    assert_ptr_equal(zpage_find(block + offset), zpage_entry(block));
  }
}

/* The block behind a PyGC_Head begins a cache line where blocks are made of whole ones. Where objects
 * have pages of their own, others need nothing of the kind. */
static void test_where_blocks_begin(void **state) {
  (void)state;
  assert_int_equal((uintptr_t)zallocator_alloc(64) % 64, 48);
  assert_int_equal((uintptr_t)zallocator_alloc(1024) % 64, 48);
  assert_int_equal((uintptr_t)zallocator_alloc(80) % ZGRANULE_SIZE, 0);
  assert_int_equal((uintptr_t)zallocator_alloc(1025) % ZGRANULE_SIZE, 0);
  char *objects = zallocator_alloc_gc(128);
  assert_int_equal((uintptr_t)objects % 64, 48);
  assert_int_equal((uintptr_t)zallocator_alloc(128) % 64, 0);
  const char *from, *to;
  assert_false(zpage_block_of(zpage_start(zpage_find(objects)) + 47, &from, &to));
}

static void test_no_block_outside(void **state) {
  (void)state;
  const char *from, *to;
  int here = 0;
  assert_false(zpage_block_of(&here, &from, &to));
  assert_false(zpage_block_of(NULL, &from, &to));
  assert_false(zpage_block_of(zgranules_range.base, &from, &to)); /* nothing is committed yet */
  char *block = zallocator_alloc(16);
  assert_false(zpage_block_of(block - 1, &from, &to));
  const char *end = zgranules_range.base + zgranules_range.committed_end;
  assert_false(zpage_block_of(end - 1, &from, &to)); /* committed, but in no page */
  assert_false(zpage_block_of(end, &from, &to));
}

static void test_no_block_once_the_page_is_free(void **state) {
  (void)state;
  const char *from, *to;
  size_t size = ZMEDIUM_MAX + 1;
  char *block = zallocator_alloc(size);
  zallocator_free(block);
  for (size_t offset = 0; offset < size; offset += ZGRANULE_SIZE) {
    assert_false(zpage_block_of(block + offset, &from, &to));
  }
  char *small = zallocator_alloc(16); /* the same memory, cut again */
  assert_ptr_equal(small, block);
  check_bounds(small, 16);
  assert_false(zpage_block_of(block + ZGRANULE_SIZE, &from, &to));
}

static void test_reciprocal_is_exact(void **state) {
  (void)state;
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    size_t block_size = zsize_class_block_size(i);
    zpage_t page = {.reciprocal = zpage_reciprocal(block_size)};
    size_t bytes = zpage_granules_of(block_size) * ZGRANULE_SIZE;
    for (size_t n = 0; n <= bytes / block_size; n++) {
      size_t offset = n * block_size;
      assert_int_equal(zpage_block_index(&page, offset), n);
      if (n > 0) assert_int_equal(zpage_block_index(&page, offset - 1), n - 1);
    }
  }
}

/* -- a reader without any lock ----------------------------------------------------------------- */

static int stop;
static char *hunted;

static void *read_blocks(void *unused) {
  (void)unused;
  uint32_t seed = 3;
  while (!zload_relaxed(&stop)) {
    const char *from, *to;
    const char *address = hunted + ztest_random(&seed) % (4 * ZM);
    if (!zpage_block_of(address, &from, &to)) continue;
    if (from > address || !zgranules_is_readable(from) || !zgranules_is_readable(to - 1)) {
      return "bounds outside of the readable range";
    }
  }
  return NULL;
}

static void test_block_of_while_pages_are_cut_again(void **state) {
  (void)state;
  hunted = zgranules_range.base;
  pthread_t reader;
  pthread_create(&reader, NULL, read_blocks, NULL);
  uint32_t seed = 5;
  for (int i = 0; i < 20000; i++) {
    void *a = zallocator_alloc(ztest_random(&seed) % (2 * ZM));
    void *b = zallocator_alloc(ztest_random(&seed) % 3000);
    zallocator_free(a);
    zallocator_free(b);
  }
  zstore_relaxed(&stop, 1);
  void *wrong;
  pthread_join(reader, &wrong);
  if (wrong != NULL) fail_msg("%s", (char *)wrong);
}

#define STARTED(test) cmocka_unit_test_setup(test, start)
static const struct CMUnitTest tests[] = {
    STARTED(test_block_of_every_class),
    cmocka_unit_test(test_pages_have_few_granules_and_a_short_tail),
    STARTED(test_block_of_large),
    STARTED(test_where_blocks_begin),
    STARTED(test_no_block_outside),
    STARTED(test_no_block_once_the_page_is_free),
    cmocka_unit_test(test_reciprocal_is_exact),
    STARTED(test_block_of_while_pages_are_cut_again),
};
ZTEST_MAIN(tests, NULL)
