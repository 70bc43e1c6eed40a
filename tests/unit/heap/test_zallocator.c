#include "heap/zallocator.h"
#include "heap/zheap_report.h"

#include <pthread.h>
#include <sys/mman.h>

#include "heap/base/zos.h"
#include "heap/zold_map.h"
#include "tests/support/zheaptest.h"

#define LARGE (ZMEDIUM_MAX + 1)

/* Sizes around every kind of boundary: steps, small/medium, medium/large, granules. */
static const size_t sizes[] = {
    0, 1, 15, 16, 17, 31, 32, 33, 511, 512, 513, 1023, 1024, 1025, 1151, 1152, 1153, 2048, 2049,
    8191, 8192, 8193, 16384, 16385, 65535, 65536, 65537, 131072, 131073, 262143, 262144, 262145,
    327679, 327680, 327681, 1 << 20};

/* A pattern that no two blocks share, so that overlap shows. */
static void paint(void *block, size_t size, size_t key) {
  unsigned char *bytes = block;
  for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(i * 7 + key * 131 + 3);
}

static bool is_painted(const void *block, size_t size, size_t key) {
  const unsigned char *bytes = block;
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] != (unsigned char)(i * 7 + key * 131 + 3)) return false;
  }
  return true;
}

static void test_blocks_are_aligned_and_apart(void **state) {
  (void)state;
  char *blocks[ZARRAY_LENGTH(sizes)][3];
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    for (size_t j = 0; j < 3; j++) {
      blocks[i][j] = zallocator_alloc(sizes[i]);
      assert_non_null(blocks[i][j]);
      assert_int_equal((uintptr_t)blocks[i][j] % ZBLOCK_ALIGNMENT, 0);
      assert_true(zgranules_contains(blocks[i][j]));
      paint(blocks[i][j], sizes[i], 3 * i + j);
    }
    assert_ptr_not_equal(blocks[i][0], blocks[i][1]); /* size 0 too */
  }
  zheaptest_check();
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    for (size_t j = 0; j < 3; j++) {
      assert_true(is_painted(blocks[i][j], sizes[i], 3 * i + j));
      zallocator_free(blocks[i][j]);
    }
  }
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_bytes, 0);
  assert_int_equal(zheaptest_stats().pages[ZPAGE_LARGE], 0);
}

static void test_stats_count_pages_by_kind(void **state) {
  (void)state;
  zallocator_alloc(16);
  zallocator_alloc(2000);
  zallocator_alloc(LARGE);
  zheap_report_t now = zheaptest_stats();
  assert_int_equal(now.pages[ZPAGE_SMALL], 1);
  assert_int_equal(now.pages[ZPAGE_MEDIUM], 1);
  assert_int_equal(now.pages[ZPAGE_LARGE], 1);
  assert_int_equal(now.used_bytes, 16 + 2048 + zalign_up(LARGE, ZBLOCK_ALIGNMENT));
  assert_int_equal(now.page_bytes, zgranules_used_bytes());
}

/* -- filling and emptying pages ------------------------------------------------------------- */

enum order { FORWARDS, BACKWARDS, EVERY_OTHER, SHUFFLED, ORDERS };

/* The n-th of `count` blocks to be freed. */
static size_t nth(enum order order, size_t n, size_t count) {
  if (order == BACKWARDS) return count - 1 - n;
  if (order == EVERY_OTHER) return n < (count + 1) / 2 ? 2 * n : 2 * (n - (count + 1) / 2) + 1;
  if (order == SHUFFLED) return (n * 7919) % count; /* a prime that divides none of our counts */
  return n;
}

static void fill_and_empty(size_t size, size_t more_than_full) {
  const zpage_t *page = zpage_find(zallocator_alloc(size));
  size_t capacity = page->capacity, block_size = page->block_size;
  size_t count = 2 * capacity + more_than_full;
  char **blocks = malloc(count * sizeof *blocks);
  for (enum order order = FORWARDS; order < ORDERS; order++) {
    /* One block is held from above, so the first page has one place fewer. */
    for (size_t i = 0; i < count; i++) {
      blocks[i] = zallocator_alloc(size);
      paint(blocks[i], size, i);
    }
    zheaptest_check();
    for (size_t n = 0; n < count; n++) {
      size_t i = nth(order, n, count);
      assert_true(is_painted(blocks[i], size, i));
      zallocator_free(blocks[i]);
      if (n % 61 == 0) zheaptest_check();
    }
    zheaptest_check();
    zheap_report_t now = zheaptest_stats();
    /* The page with the block that is held, and the current one. */
    assert_in_range(now.pages[ZPAGE_SMALL] + now.pages[ZPAGE_MEDIUM], 1, 2);
    assert_int_equal(now.used_bytes, block_size);
  }
  free(blocks);
}

static void test_small_pages_fill_and_empty(void **state) {
  (void)state;
  fill_and_empty(64, 0);
}
static void test_small_pages_overflow_by_one(void **state) {
  (void)state;
  fill_and_empty(64, 1);
}
static void test_odd_small_pages_fill_and_empty(void **state) {
  (void)state;
  fill_and_empty(1008, 0);
}
static void test_medium_pages_fill_and_empty(void **state) {
  (void)state;
  fill_and_empty(9000, 1);
}

/* The block that was freed last is warm. */
static void test_page_full_then_one_free_reopens_it(void **state) {
  (void)state;
  char *first = zallocator_alloc(512);
  size_t capacity = zpage_find(first)->capacity;
  for (size_t i = 1; i < capacity; i++) zallocator_alloc(512);
  char *other = zallocator_alloc(512);
  assert_ptr_not_equal(zpage_find(first), zpage_find(other)); /* the first is full */
  zallocator_free(first);
  zheaptest_check();
  assert_ptr_equal(zallocator_alloc(512), first);
  for (size_t i = 1; i < capacity; i++) {
    assert_ptr_equal(zpage_find(zallocator_alloc(512)), zpage_find(other));
  }
  assert_int_equal(zheaptest_stats().pages[ZPAGE_SMALL], 2);
}

/* Three pages with one free block each; the middle one of their list leaves it. */
static void test_page_leaves_the_middle_of_the_list(void **state) {
  (void)state;
  char *pages[3];
  int capacity = 0;
  for (int i = 0; i < 3; i++) {
    pages[i] = zallocator_alloc(512);
    capacity = (int)zpage_find(pages[i])->capacity;
    for (int n = 1; n < capacity; n++) zallocator_alloc(512);
  }
  zallocator_alloc(512); /* a fourth page becomes the current one */
  for (int i = 0; i < 3; i++) zallocator_free(pages[i]);
  for (int n = 1; n < capacity; n++) zallocator_free(pages[1] + 512 * n);
  zheaptest_check();
  assert_int_equal(zheaptest_stats().pages[ZPAGE_SMALL], 3);
  for (int n = 1; n < capacity + 2; n++) zallocator_alloc(512);
  assert_int_equal(zheaptest_stats().pages[ZPAGE_SMALL], 3); /* neither of the other two was lost */
  assert_int_equal(zheaptest_stats().used_bytes, 3 * capacity * 512);
}

static void test_empty_page_serves_another_class(void **state) {
  (void)state;
  char *pages[2];
  size_t capacity = 0;
  for (int p = 0; p < 2; p++) {
    pages[p] = zallocator_alloc(64);
    capacity = zpage_find(pages[p])->capacity;
    for (size_t i = 1; i < capacity; i++) zallocator_alloc(64);
  }
  zallocator_alloc(64); /* a third page becomes the current one, and then the first, which stays that */
  for (int p = 0; p < 2; p++) {
    for (size_t i = 0; i < capacity; i++) zallocator_free(pages[p] + 64 * i);
  }
  assert_ptr_equal(zallocator_alloc(128), pages[1]);
  zheaptest_check();
}

/* -- zeroed --------------------------------------------------------------------------------- */

static void test_zeroed_after_reuse(void **state) {
  (void)state;
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    char *before = zallocator_alloc(sizes[i]);
    memset(before, 0xFF, sizes[i]);
    zallocator_free(before);
    char *block = zallocator_alloc_zeroed(sizes[i]);
    assert_ptr_equal(block, before);
    assert_true(ztest_all(block, 0, sizes[i]));
    zallocator_free(block);
  }
}

static void test_zeroed_when_fresh(void **state) {
  (void)state;
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    assert_true(ztest_all(zallocator_alloc_zeroed(sizes[i]), 0, sizes[i]));
  }
}

static void test_zeroed_where_pages_were_moved_away(void **state) {
  (void)state;
  size_t size = 8 * ZM;
  char *block = zallocator_alloc(size);
  zallocator_alloc(LARGE); /* in the way of growing */
  memset(block, 0xFF, size);
  assert_ptr_not_equal(zallocator_realloc(block, size + 1), block);
  assert_int_equal(zgranules_idle_bytes(), 0); /* nothing is left behind to give back */
  char *again = zallocator_alloc_zeroed(size);
  assert_ptr_equal(again, block);
  assert_true(ztest_all(again, 0, size));
}

/* -- realloc -------------------------------------------------------------------------------- */

static void test_realloc_between_all_sizes_keeps_the_content(void **state) {
  (void)state;
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    for (size_t j = 0; j < ZARRAY_LENGTH(sizes); j++) {
      char *block = zallocator_alloc(sizes[i]);
      paint(block, sizes[i], i);
      block = zallocator_realloc(block, sizes[j]);
      assert_true(is_painted(block, zmin(sizes[i], sizes[j]), i));
      paint(block, sizes[j], j); /* all of it is ours */
      zallocator_free(block);
    }
  }
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_bytes, 0);
}

static void test_realloc_stays_while_three_quarters_are_used(void **state) {
  (void)state;
  char *block = zallocator_alloc(64);
  assert_ptr_equal(zallocator_realloc(block, 48), block);
  assert_ptr_equal(zallocator_realloc(block, 64), block);
  char *smaller = zallocator_realloc(block, 47);
  assert_ptr_not_equal(smaller, block);
  assert_int_equal(zpage_find(smaller)->block_size, 48);
  char *larger = zallocator_realloc(smaller, 49);
  assert_ptr_not_equal(larger, smaller);
}

static void test_a_grown_medium_block_stays_for_the_same_size_and_often_for_more(void **state) {
  (void)state;
  for (size_t size = ZSMALL_MAX + 1; size < ZMEDIUM_MAX; size += 16) {
    char *block = zallocator_realloc(zallocator_alloc(size - 1), size);
    assert_ptr_equal(zallocator_realloc(block, size), block);
    zallocator_free(block);
  }
  unsigned steps = 0, copies = 0; /* as a list's items grow */
  char *block = zallocator_alloc(ZSMALL_MAX + 1);
  for (size_t size = ZSMALL_MAX; size < ZMEDIUM_MAX / 2; size += size / 8) {
    char *before = block;
    block = zallocator_realloc(block, size);
    steps++;
    copies += block != before;
  }
  zallocator_free(block);
  assert_true(steps > 20 && copies * 3 < steps * 2);
}

/* -- memory that is not wanted any more ------------------------------------------------------- */

static bool is_resident(const void *address) {
  unsigned char in_core;
  uintptr_t page = (uintptr_t)address & ~(uintptr_t)4095;
  assert_int_equal(mincore((void *)page, 4096, &in_core), 0);
  return in_core & 1;
}

static size_t resident_bytes(const char *from, size_t size) {
  size_t bytes = 0;
  for (size_t i = 0; i < size; i += 4096) bytes += is_resident(from + i) ? 4096 : 0;
  return bytes;
}

/* One block of each size in turn: none keeps more than a granule from the others. */
static void test_large_blocks_of_all_sizes_share_their_memory(void **state) {
  (void)state;
  for (size_t size = ZGRANULE_SIZE / 7 + 1; size <= 8 * ZGRANULE_SIZE; size += size / 8) {
    char *block = zallocator_alloc(size);
    memset(block, 1, size);
    zallocator_free(block);
  }
  zheap_report_t stats = zheaptest_stats();
  assert_int_equal(stats.page_bytes, stats.pages[ZPAGE_MEDIUM] * ZGRANULE_SIZE);
  assert_in_range(stats.pages[ZPAGE_MEDIUM], 0, 2);
  size_t resident = resident_bytes(zgranules_range.base, zgranules_range.committed_end);
  assert_true(resident - stats.page_bytes <= 9 * ZGRANULE_SIZE);
}

/* A list that grows and shrinks has its last block again without a search for memory. */
static void test_an_empty_page_of_one_granule_stays_at_hand(void **state) {
  (void)state;
  for (size_t size = ZSMALL_MAX + 1; size <= ZGRANULE_SIZE; size += 1000) {
    char *block = zallocator_alloc(size);
    bool is_one = zpage_granules_of(zallocator_size_of(block)) == 1;
    size_t used = zgranules_used_bytes();
    zallocator_free(block);
    assert_int_equal(zgranules_used_bytes() == used, is_one);
    if (is_one) assert_ptr_equal(zallocator_alloc(size), block);
    zheaptest_check();
  }
}

static void test_an_empty_page_kept_at_hand_goes_before_new_memory_is_taken(void **state) {
  (void)state;
  char *block = zallocator_alloc(64);
  zallocator_free(block);
  assert_int_equal(zheaptest_stats().pages[ZPAGE_SMALL], 1);
  char *other = zallocator_alloc(128);
  assert_ptr_equal(zpage_find(other), zpage_entry(block));
  assert_int_equal(zheaptest_stats().pages[ZPAGE_SMALL], 1);
  zheaptest_check();
}

static void test_realloc_null_is_alloc(void **state) {
  (void)state;
  assert_non_null(zallocator_realloc(NULL, 100));
}

static void test_large_block_grows_and_shrinks_in_place(void **state) {
  (void)state;
  size_t used = zgranules_used_bytes();
  char *block = zallocator_alloc(LARGE);
  paint(block, LARGE, 1);
  assert_ptr_equal(zallocator_realloc(block, 10 * LARGE), block);
  assert_true(is_painted(block, LARGE, 1));
  const char *from, *to;
  assert_true(zpage_block_of(block + 10 * LARGE - 1, &from, &to)); /* inner granules know */
  assert_ptr_equal(from, block);
  assert_ptr_equal(zallocator_realloc(block, LARGE), block);
  assert_int_equal(zgranules_used_bytes(), used + zalign_up(LARGE, ZGRANULE_SIZE));
  assert_false(zpage_block_of(block + 10 * LARGE - 1, &from, &to));
  zheaptest_check();
}

static void test_large_block_in_the_way_is_copied(void **state) {
  (void)state;
  char *block = zallocator_alloc(ZM);
  zallocator_alloc(LARGE);
  paint(block, ZM, 2);
  char *moved = zallocator_realloc(block, 2 * ZM);
  assert_ptr_not_equal(moved, block);
  assert_true(is_painted(moved, ZM, 2));
  zheaptest_check();
}

static void move_large(size_t size) {
  char *block = zallocator_alloc(size);
  zallocator_alloc(LARGE);
  paint(block, size, 3);
  size_t used = zgranules_used_bytes();
  char *moved = zallocator_realloc(block, size + ZM);
  assert_ptr_not_equal(moved, block);
  assert_true(is_painted(moved, size, 3));
  moved[size + ZM - 1] = 1;
  assert_int_equal(zgranules_used_bytes(), used + ZM);
  zheaptest_check();
  zallocator_free(moved);
}

static void test_large_block_moves_its_pages(void **state) {
  (void)state;
  move_large(4 * ZM);
  move_large(4 * ZM); /* the same memory again */
}

static void test_large_block_is_copied_when_pages_do_not_move(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_REMAP, 1, UINT64_MAX);
  move_large(4 * ZM);
}

static void test_old_large_block_does_not_move_its_pages(void **state) {
  (void)state;
  char *block = zallocator_alloc(8 * ZM);
  zallocator_alloc(LARGE);
  paint(block, 8 * ZM, 4);
  zold_map_add(block + ZOLD_HEADER_MIN);
  zos_fault_set(ZOS_FAULT_REMAP, 1, UINT64_MAX);
  char *moved = zallocator_realloc(block, 9 * ZM);
  assert_true(is_painted(moved, 8 * ZM, 4));
  assert_int_equal(zold_map_count, 0); /* the copy is not old, the original is gone */
  assert_false(zold_map_is_old(moved + ZOLD_HEADER_MIN));
}

/* -- shortage ------------------------------------------------------------------------------- */

static void test_impossible_sizes(void **state) {
  (void)state;
  assert_null(zallocator_alloc((size_t)PTRDIFF_MAX + 1));
  assert_null(zallocator_alloc(SIZE_MAX));
  assert_null(zallocator_alloc_zeroed(SIZE_MAX));
  size_t of[] = {16, 5000, LARGE};
  for (size_t i = 0; i < 3; i++) {
    char *block = zallocator_alloc(of[i]);
    paint(block, of[i], i);
    assert_null(zallocator_realloc(block, SIZE_MAX));
    assert_true(is_painted(block, of[i], i)); /* untouched */
    zallocator_free(block);
  }
  zheaptest_check();
}

static void test_failing_commit_is_served_by_the_fallback(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 4);
  size_t of[] = {16, 5000, LARGE};
  for (size_t i = 0; i < 3; i++) {
    if (i == 2) { /* what the fallback then reuses is not zero */
      void *used = zallocator_alloc(of[i]);
      memset(used, 0xFF, of[i]);
      zallocator_free(used);
    }
    char *block = i == 2 ? zallocator_alloc_zeroed(of[i]) : zallocator_alloc(of[i]);
    assert_non_null(block);
    assert_false(zgranules_contains(block));
    if (i == 2) assert_true(ztest_all(block, 0, of[i]));
    paint(block, of[i], i);
    block = zallocator_realloc(block, 2 * of[i]);
    assert_true(is_painted(block, of[i], i));
    zallocator_free(block);
  }
  assert_int_equal(zheaptest_stats().fallback_blocks, 4);
  assert_true(zgranules_contains(zallocator_alloc(16))); /* and then the heap gives again */
  zheaptest_check();
}

static void test_commits_refused_for_long_are_tried_less_often(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 40);
  void *blocks[3000];
  for (int i = 0; i < 1000; i++) {
    blocks[i] = zallocator_alloc(16);
    assert_false(zgranules_contains(blocks[i]));
  }
  uint64_t tried = zos_fault_calls(ZOS_FAULT_COMMIT);
  assert_true(tried > 20 && tried < 40); /* not a system call for each of them */
  for (int i = 1000; i < 3000; i++) blocks[i] = zallocator_alloc(16);
  assert_true(zgranules_contains(zallocator_alloc(16))); /* but it comes back */
  for (int i = 0; i < 3000; i++) zallocator_free(blocks[i]);
  zheaptest_check();
}

static void test_exhausted_range_is_served_by_the_fallback(void **state) {
  (void)state;
  char *all = zallocator_alloc(ZHEAPTEST_RANGE);
  assert_true(zgranules_contains(all));
  char *small = zallocator_alloc_zeroed(100), *medium = zallocator_alloc(5000);
  assert_false(zgranules_contains(small) || zgranules_contains(medium));
  assert_true(ztest_all(small, 0, 100));
  paint(all, 100, 1);
  char *larger = zallocator_realloc(all, ZHEAPTEST_RANGE + 1); /* leaves the heap */
  assert_false(zgranules_contains(larger));
  assert_true(is_painted(larger, 100, 1));
  assert_true(zgranules_contains(zallocator_alloc(100)));
  zallocator_free(larger);
  zallocator_free(small);
  zallocator_free(medium);
  zheaptest_check();
}

static void test_no_memory_at_all_but_shrinking_needs_none(void **state) {
  (void)state;
  char *block = zallocator_alloc(1000);
  char *rest = zallocator_alloc(ZHEAPTEST_RANGE - ZGRANULE_SIZE);
  assert_true(zgranules_contains(rest));
  zos_fault_set(ZOS_FAULT_FALLBACK, 1, UINT64_MAX);
  paint(block, 1000, 1);
  paint(rest, 10 * ZM, 2);
  assert_null(zallocator_alloc(10));
  assert_null(zallocator_alloc_zeroed(10));
  assert_null(zallocator_realloc(NULL, 10));
  assert_null(zallocator_realloc(block, 2000));
  assert_null(zallocator_realloc(rest, ZHEAPTEST_RANGE));
  assert_ptr_equal(zallocator_realloc(block, 10), block);
  assert_true(is_painted(block, 1000, 1));
  assert_true(is_painted(zallocator_realloc(rest, 10), 10, 2));
  zallocator_free(block);
  zheaptest_check();
}

static void test_no_heap_at_all(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_RESERVE, 1, UINT64_MAX);
  assert_false(zallocator_start(ZHEAPTEST_RANGE));
  char *block = zallocator_alloc(100);
  paint(block, 100, 1);
  block = zallocator_realloc(block, 1000);
  assert_true(is_painted(block, 100, 1));
  zallocator_free(block);
}

/* -- a second GIL --------------------------------------------------------------------------- */

#define ROUNDS 20000
static int rounds_done; /* by any thread, about */

static void *work(void *key) {
  char *blocks[64] = {NULL};
  size_t lengths[64];
  uint32_t seed = (uint32_t)(uintptr_t)key;
  for (int i = 0; i < ROUNDS; i++) {
    size_t at = ztest_random(&seed) % 64;
    zstore_relaxed(&rounds_done, i);
    if (blocks[at] != NULL) {
      if (!is_painted(blocks[at], lengths[at], (size_t)key + at)) return "damaged";
      zallocator_free(blocks[at]);
    }
    /* Mostly small; now and then a medium or a large one. */
    uint32_t dice = ztest_random(&seed) % 256;
    lengths[at] = dice == 0 ? LARGE : ztest_random(&seed) % (dice < 20 ? 9000 : 600);
    blocks[at] = zallocator_alloc(lengths[at]);
    if (blocks[at] == NULL) return "nothing";
    paint(blocks[at], lengths[at], (size_t)key + at);
  }
  for (size_t at = 0; at < 64; at++) {
    if (blocks[at] != NULL) zallocator_free(blocks[at]);
  }
  return NULL;
}

static void *work_apart(void *key) {
  zheaptest_heap = ZHEAP_COMMON;
  return work(key);
}

static void test_two_threads_once_closed(void **state) {
  (void)state;
  char *before[100]; /* born without the lock, freed with it */
  for (int i = 0; i < 100; i++) before[i] = zallocator_alloc(i * 40);
  assert_false(zheap_is_closed());
  zheap_close(zheaptest_holder);
  assert_true(zheap_is_closed());
  for (int i = 0; i < 100; i++) assert_true(zpage_find(before[i])->flags & ZPAGE_FLAG_CLOSED);
  char *after = zallocator_alloc(5000);
  assert_true(zpage_find(after)->flags & ZPAGE_FLAG_CLOSED);
  zallocator_free(after);
  pthread_t threads[2];
  for (size_t i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work_apart, (void *)(i * 1000 + 1));
  for (int i = 0; i < 100; i++) zallocator_free(before[i]);
  for (size_t i = 0; i < 2; i++) {
    void *wrong;
    pthread_join(threads[i], &wrong);
    if (wrong != NULL) fail_msg("%s", (char *)wrong);
  }
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_bytes, 0);
}

static void *work_in(void *heap) {
  zheaptest_heap = (unsigned)(uintptr_t)heap;
  return work((void *)((uintptr_t)heap * 1000));
}

/* One interpreter after the other in each, beside the main one: they need no lock, and leave nothing behind. */
static void test_interpreters_have_their_own_heaps(void **state) {
  (void)state;
  zheap_close(zheaptest_holder);
  unsigned heaps[2] = {zallocator_new_heap(), zallocator_new_heap()};
  assert_true(heaps[0] > ZHEAP_COMMON && heaps[1] > heaps[0]);
  for (int round = 0; round < 3; round++) {
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work_in, (void *)(uintptr_t)heaps[i]);
    assert_null(work((void *)1));
    for (size_t i = 0; i < 2; i++) {
      void *wrong;
      pthread_join(threads[i], &wrong);
      assert_null(wrong);
      zallocator_leave_heap(heaps[i]);
    }
    zheaptest_check();
  }
  assert_int_equal(zheaptest_stats().used_bytes, 0);
}

static void test_more_interpreters_than_heaps_share_one(void **state) {
  (void)state;
  zheap_close(zheaptest_holder);
  unsigned number = 0;
  for (unsigned i = 2; i < ZHEAP_COUNT; i++) number = zallocator_new_heap();
  assert_int_equal(number, ZHEAP_COUNT - 1);
  assert_int_equal(zallocator_new_heap(), ZHEAP_COMMON);
}

/* The thread with the first GIL is anywhere in the heap when another closes it, and goes on. */
static void test_closed_while_the_first_heap_works(void **state) {
  (void)state;
  zallocator_alloc(16);
  pthread_t first, second;
  pthread_create(&first, NULL, work, (void *)1);
  while (zload_relaxed(&rounds_done) < ROUNDS / 100) zspin_hint();
  zheap_close(zheaptest_holder);
  pthread_create(&second, NULL, work_apart, (void *)1001);
  void *wrong;
  pthread_join(first, &wrong);
  assert_null(wrong);
  pthread_join(second, &wrong);
  assert_null(wrong);
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_bytes, 16);
}

/* Blocks change hands in both directions, as buffers that one interpreter shows to another. */
static void *free_all(void *blocks) {
  zheaptest_heap = ZHEAP_COMMON;
  for (void **b = blocks; *b != NULL; b++) zallocator_free(*b);
  return NULL;
}

static void test_blocks_freed_outside_of_their_heap(void **state) {
  (void)state;
  zheap_close(zheaptest_holder);
  static const size_t lengths[] = {16, 100, 1024, 5000, 60000, LARGE};
  for (int round = 0; round < 50; round++) {
    void *blocks[601] = {NULL};
    for (size_t i = 0; i < 600; i++) blocks[i] = zallocator_alloc(lengths[i % 6]);
    pthread_t other;
    pthread_create(&other, NULL, free_all, blocks);
    for (size_t i = 0; i < 600; i++) zallocator_free(zallocator_alloc(lengths[i % 6]));
    pthread_join(other, NULL);
    zheaptest_heap = ZHEAP_COMMON;
    void *theirs[600];
    for (size_t i = 0; i < 600; i++) theirs[i] = zallocator_realloc(zallocator_alloc(lengths[i % 6]), 500);
    zheaptest_heap = ZHEAP_FIRST;
    for (size_t i = 0; i < 600; i++) zallocator_free(i % 2 ? theirs[i] : zallocator_realloc(theirs[i], 70000));
  }
  zheaptest_check();
  assert_true(zheaptest_stats().page_bytes < 40 * ZM); /* of 50 rounds' hundreds of megabytes */
}

static void test_closed_allocator_fills_and_empties_pages(void **state) {
  (void)state;
  zallocator_alloc(64);
  zheap_close(zheaptest_holder);
  zheap_close(zheaptest_holder); /* again is harmless */
  char *blocks[3000];
  for (int i = 0; i < 3000; i++) blocks[i] = zallocator_alloc(64);
  zheaptest_check();
  for (int i = 0; i < 3000; i++) zallocator_free(blocks[i]);
  zheaptest_check();
  assert_int_equal(zheaptest_stats().used_bytes, 64);
  assert_in_range(zheaptest_stats().pages[ZPAGE_SMALL], 1, 2);
}

/* -- the hook, the old map, verify ------------------------------------------------------------ */

static int slow_calls;
static void count_slow_call(void) { slow_calls++; }

static void test_slow_hook_is_called_about_once_per_page_filling(void **state) {
  (void)state;
  zheap_hooks.slow = count_slow_call;
  for (size_t i = 0; i < 4 * ((ZGRANULE_SIZE - ZPAGE_LEAD) / 64); i++) zallocator_alloc(64);
  assert_in_range(slow_calls, 4, 4 * ZGRANULE_SIZE / 4096);
}

static void test_freed_block_is_no_longer_old(void **state) {
  (void)state;
  char *block = zallocator_alloc(100);
  zold_map_add(block + ZOLD_HEADER_MIN);
  assert_int_equal(zold_map_count, 1);
  zallocator_free(block);
  assert_int_equal(zold_map_count, 0);
}

static void assert_broken(void) {
  char message[200] = "";
  assert_false(zheap_report_verify(message, sizeof message));
  assert_non_null(strstr(message, "free list broken"));
}

static void test_verify_sees_a_misaligned_link(void **state) {
  (void)state;
  char *block = zallocator_alloc(64);
  zallocator_alloc(64);
  zallocator_free(block);
  zheaptest_check();
  *(char **)block = block + 8;
  assert_broken();
}

static void test_verify_sees_a_link_out_of_the_page(void **state) {
  (void)state;
  char *block = zallocator_alloc(64);
  zallocator_alloc(64);
  zallocator_free(block);
  *(char **)block = block + ZGRANULE_SIZE;
  assert_broken();
}

static void test_verify_sees_a_block_freed_twice(void **state) {
  (void)state;
  char *block = zallocator_alloc(64);
  zallocator_alloc(64);
  zallocator_alloc(64);
  zallocator_free(block);
  zallocator_free(block);
  assert_broken(); /* the list is a ring */
}

static void test_verify_sees_a_lost_block(void **state) {
  (void)state;
  zpage_t *page = zpage_find(zallocator_alloc(64));
  page->free = page->free->next;
  assert_broken();
}

/* -- a watcher --------------------------------------------------------------------------------- */

static uint64_t before_sample = 6; /* small blocks: every seventh is a sample */
static bool bytes_are_sample;      /* of larger blocks, and of growth */

static struct {
  void *block;
  size_t from, to;
} last; /* sample that was told */
static size_t sampled_count, freed_count, moving_count;
static void *last_freed;

static uint64_t blocks_before_sample(size_t block_size) {
  assert_true(block_size <= ZSMALL_MAX);
  return before_sample;
}

static bool is_sample(size_t bytes) {
  (void)bytes;
  return bytes_are_sample;
}

static void sampled(void *block, size_t from, size_t to) {
  assert_true(zallocator_is_sampled(block));
  assert_int_equal(zallocator_size_of(block), to);
  zstore_relaxed(&last.block, block); /* two threads come by, without a lock */
  zstore_relaxed(&last.from, from);
  zstore_relaxed(&last.to, to);
  zfetch_add_relaxed(&sampled_count, 1);
}

static void freed(void *block) {
  assert_true(zallocator_is_sampled(block));
  zstore_relaxed(&last_freed, block);
  zfetch_add_relaxed(&freed_count, 1);
}

static void *moving(void *block) {
  assert_true(zallocator_is_sampled(block));
  moving_count++;
  return &moving_count;
}

static void moved(void *known, void *block) {
  assert_ptr_equal(known, &moving_count);
  assert_true(zallocator_is_sampled(block));
}

static const zsampler_watcher_t watcher = {blocks_before_sample, is_sample, sampled, freed, moving, moved};

static int start_watched(void **state) {
  if (zheaptest_start(state) != 0) return -1;
  zsampler_start(&watcher);
  return 0;
}

static void test_every_seventh_small_block_is_a_sample(void **state) {
  (void)state;
  for (size_t size = 1; size <= ZSMALL_MAX; size += 13) {
    bool first_class_is_new = zsize_class_small(size) != zsize_class_small(size - 1) || size == 1;
    if (!first_class_is_new) continue;
    char *blocks[100];
    sampled_count = freed_count = 0;
    for (size_t i = 0; i < ZARRAY_LENGTH(blocks); i++) {
      blocks[i] = i % 3 == 0 ? zallocator_alloc_zeroed(size) : zallocator_alloc(size);
      if (i % 3 == 0) assert_true(ztest_all(blocks[i], 0, size));
      paint(blocks[i], size, i);
      assert_int_equal(zallocator_is_sampled(blocks[i]), i % 7 == 6);
      assert_int_equal(sampled_count, (i + 1) / 7);
      assert_int_equal(zallocator_size_of(blocks[i]), zallocator_size_for(size));
    }
    assert_ptr_equal(last.block, blocks[97]);
    assert_int_equal(last.from, 0);
    for (size_t i = 0; i < ZARRAY_LENGTH(blocks); i++) {
      assert_true(is_painted(blocks[i], size, i));
      zallocator_free(blocks[i]);
      assert_int_equal(freed_count, (i + 1) / 7);
    }
    assert_ptr_equal(last_freed, blocks[97]);
    zheaptest_check();
  }
  assert_int_equal(zheaptest_stats().used_bytes, 0);
}

/* Turns are counted by what is handed out, freed or not: a program that makes and drops one object at
 * a time is seen as well as one that keeps them. */
static void test_a_block_reused_again_and_again_comes_to_its_turn(void **state) {
  (void)state;
  before_sample = 99;
  zsampler_start(&watcher);
  for (size_t i = 1; i <= 1000; i++) {
    zallocator_free(zallocator_alloc_gc(48));
    assert_int_equal(sampled_count, i / 100);
  }
  assert_int_equal(freed_count, 10);
  assert_int_equal(zheaptest_stats().used_blocks, 0);
  zheaptest_check();
}

/* A free list that a batch leaves behind is used before new memory is. */
static void test_batches_do_not_spread(void **state) {
  (void)state;
  enum { COUNT = 3000 };
  static void *blocks[COUNT];
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < COUNT; i++) blocks[i] = zallocator_alloc(64);
    assert_int_equal(zheaptest_stats().used_blocks, COUNT);
    assert_true(zheaptest_stats().page_bytes <= COUNT * 64 + 3 * ZGRANULE_SIZE);
    for (size_t i = 0; i < COUNT; i += 2) zallocator_free(blocks[i]);
    for (size_t i = 0; i < COUNT; i += 2) blocks[i] = zallocator_alloc(64);
    zheaptest_check();
    for (size_t i = 0; i < COUNT; i++) zallocator_free(blocks[(i * 7) % COUNT]);
    assert_int_equal(zheaptest_stats().used_blocks, 0);
    zheaptest_check();
  }
}

static void test_larger_blocks_and_growth_are_asked_for_by_the_byte(void **state) {
  (void)state;
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    if (sizes[i] <= ZSMALL_MAX) continue;
    bytes_are_sample = true;
    sampled_count = 0;
    void *block = zallocator_alloc_zeroed(sizes[i]);
    assert_true(ztest_all(block, 0, sizes[i]));
    assert_int_equal(sampled_count, 1);
    assert_ptr_equal(last.block, block);
    assert_int_equal(last.from, 0);
    bytes_are_sample = false;
    void *other = zallocator_alloc(sizes[i]);
    assert_int_equal(sampled_count, 1);
    assert_false(zallocator_is_sampled(other));
    bytes_are_sample = true;
    paint(other, sizes[i], i);
    size_t had = zallocator_size_of(other);
    other = zallocator_realloc(other, 2 * had);
    assert_int_equal(sampled_count, 2);
    assert_ptr_equal(last.block, other);
    assert_int_equal(last.from, had);
    assert_true(is_painted(other, sizes[i], i));
    freed_count = 0;
    zallocator_free(block);
    zallocator_free(other);
    assert_int_equal(freed_count, 2);
  }
  zheaptest_check();
}

static void test_a_block_that_moves_is_not_counted_again(void **state) {
  (void)state;
  before_sample = 0;
  zsampler_start(&watcher);
  void *block = zallocator_alloc(64);
  assert_int_equal(sampled_count, 1);
  before_sample = 1000;
  zallocator_free(zallocator_alloc(512)); /* its turn was drawn before */
  void *plain = zallocator_alloc(512);
  sampled_count = 0;
  for (size_t i = 0; i < 3000; i++) { /* many turns */
    plain = zallocator_realloc(plain, i % 2 == 0 ? 256 : 512);
    block = zallocator_realloc(block, i % 2 == 0 ? 700 : 64);
    assert_false(zallocator_is_sampled(plain));
    assert_true(zallocator_is_sampled(block));
  }
  assert_int_equal(sampled_count, 0);
  assert_int_equal(moving_count, 3000);
  zheaptest_check();
}

static void fill_and_empty_watched(void) {
  enum { COUNT = 20000 };
  size_t used = zheaptest_stats().used_blocks;
  void **blocks = calloc(COUNT, sizeof *blocks);
  sampled_count = freed_count = 0;
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < COUNT; i++) blocks[i] = zallocator_alloc(48);
    zheaptest_check();
    assert_int_equal(zheaptest_stats().used_blocks, used + COUNT);
    for (size_t i = 0; i < COUNT; i += 2) zallocator_free(blocks[i]);
    zheaptest_check();
    for (size_t i = 1; i < COUNT; i += 2) zallocator_free(blocks[i]);
    zheaptest_check();
    assert_int_equal(zheaptest_stats().used_blocks, used);
  }
  assert_in_range(sampled_count, 3 * COUNT / 7, 3 * COUNT / 7 + 1);
  assert_int_equal(freed_count, sampled_count);
  free(blocks);
}

static void test_watched_pages_fill_and_empty(void **state) {
  (void)state;
  fill_and_empty_watched();
}

static void test_watched_pages_once_closed(void **state) {
  (void)state;
  void *blocks[10];
  for (size_t i = 0; i < ZARRAY_LENGTH(blocks); i++) blocks[i] = zallocator_alloc(48);
  zheap_close(zheaptest_holder);
  assert_int_equal(zheaptest_stats().used_blocks, ZARRAY_LENGTH(blocks));
  zheaptest_check(); /* what was left of the batch is free again */
  for (size_t i = 0; i < ZARRAY_LENGTH(blocks); i++) zallocator_free(blocks[i]);
  assert_int_equal(freed_count, 1);
  fill_and_empty_watched();
}

static void test_realloc_keeps_blocks_sampled(void **state) {
  (void)state;
  before_sample = 0;
  bytes_are_sample = true;
  zsampler_start(&watcher);
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    for (size_t j = 0; j < ZARRAY_LENGTH(sizes); j++) {
      void *block = zallocator_alloc(sizes[i]);
      paint(block, sizes[i], j);
      assert_true(zallocator_is_sampled(block));
      void *result = zallocator_realloc(block, sizes[j]);
      assert_true(zallocator_is_sampled(result));
      assert_true(is_painted(result, zmin(sizes[i], sizes[j]), j));
      assert_true(zallocator_size_of(result) >= sizes[j]);
      freed_count = 0;
      zallocator_free(result);
      assert_int_equal(freed_count, 1);
      assert_ptr_equal(last_freed, result);
    }
  }
  zheaptest_check();
}

static void test_sampled_block_moves_its_pages(void **state) {
  (void)state;
  bytes_are_sample = true;
  char *block = zallocator_alloc(8 * ZM);
  bytes_are_sample = false;
  void *in_the_way = zallocator_alloc(LARGE);
  paint(block, 8 * ZM, 1);
  char *there = zallocator_realloc(block, 16 * ZM);
  assert_ptr_not_equal(there, block);
  assert_true(zallocator_is_sampled(there));
  assert_true(is_painted(there, 8 * ZM, 1));
  assert_int_equal(freed_count, 0);
  zallocator_free(there);
  assert_int_equal(freed_count, 1);
  zallocator_free(in_the_way);
}

static void test_large_block_is_watched_where_it_lies(void **state) {
  (void)state;
  void *block = zallocator_alloc(LARGE);
  bytes_are_sample = true;
  void *grown = zallocator_realloc(block, 4 * LARGE);
  assert_ptr_equal(grown, block);
  assert_true(zallocator_is_sampled((char *)grown + 4 * LARGE - 1));
  zallocator_free(grown);
  assert_int_equal(freed_count, 1);
  bytes_are_sample = false;
  block = zallocator_alloc(LARGE);
  assert_false(zallocator_is_sampled(block)); /* the flag went with the page */
  zallocator_free(block);
  assert_int_equal(freed_count, 1);
}

#define STARTED(test) cmocka_unit_test_setup(test, zheaptest_start)
#define WATCHED(test) {#test " (watched)", test, start_watched, NULL, NULL}
static const struct CMUnitTest tests[] = {
    STARTED(test_blocks_are_aligned_and_apart),
    STARTED(test_stats_count_pages_by_kind),
    STARTED(test_small_pages_fill_and_empty),
    STARTED(test_small_pages_overflow_by_one),
    STARTED(test_odd_small_pages_fill_and_empty),
    STARTED(test_medium_pages_fill_and_empty),
    STARTED(test_page_full_then_one_free_reopens_it),
    STARTED(test_page_leaves_the_middle_of_the_list),
    STARTED(test_empty_page_serves_another_class),
    STARTED(test_zeroed_after_reuse),
    STARTED(test_zeroed_when_fresh),
    STARTED(test_zeroed_where_pages_were_moved_away),
    STARTED(test_realloc_between_all_sizes_keeps_the_content),
    STARTED(test_realloc_stays_while_three_quarters_are_used),
    STARTED(test_a_grown_medium_block_stays_for_the_same_size_and_often_for_more),
    STARTED(test_large_blocks_of_all_sizes_share_their_memory),
    STARTED(test_an_empty_page_of_one_granule_stays_at_hand),
    STARTED(test_an_empty_page_kept_at_hand_goes_before_new_memory_is_taken),
    STARTED(test_realloc_null_is_alloc),
    STARTED(test_large_block_grows_and_shrinks_in_place),
    STARTED(test_large_block_in_the_way_is_copied),
    STARTED(test_large_block_moves_its_pages),
    STARTED(test_large_block_is_copied_when_pages_do_not_move),
    STARTED(test_old_large_block_does_not_move_its_pages),
    STARTED(test_impossible_sizes),
    STARTED(test_failing_commit_is_served_by_the_fallback),
    STARTED(test_commits_refused_for_long_are_tried_less_often),
    STARTED(test_exhausted_range_is_served_by_the_fallback),
    STARTED(test_no_memory_at_all_but_shrinking_needs_none),
    cmocka_unit_test(test_no_heap_at_all),
    STARTED(test_two_threads_once_closed),
    STARTED(test_interpreters_have_their_own_heaps),
    STARTED(test_more_interpreters_than_heaps_share_one),
    STARTED(test_closed_while_the_first_heap_works),
    STARTED(test_blocks_freed_outside_of_their_heap),
    STARTED(test_closed_allocator_fills_and_empties_pages),
    STARTED(test_slow_hook_is_called_about_once_per_page_filling),
    STARTED(test_freed_block_is_no_longer_old),
    STARTED(test_verify_sees_a_misaligned_link),
    STARTED(test_verify_sees_a_link_out_of_the_page),
    STARTED(test_verify_sees_a_block_freed_twice),
    STARTED(test_verify_sees_a_lost_block),
    WATCHED(test_every_seventh_small_block_is_a_sample),
    WATCHED(test_a_block_reused_again_and_again_comes_to_its_turn),
    WATCHED(test_batches_do_not_spread),
    WATCHED(test_larger_blocks_and_growth_are_asked_for_by_the_byte),
    WATCHED(test_a_block_that_moves_is_not_counted_again),
    WATCHED(test_watched_pages_fill_and_empty),
    WATCHED(test_watched_pages_once_closed),
    WATCHED(test_realloc_keeps_blocks_sampled),
    WATCHED(test_sampled_block_moves_its_pages),
    WATCHED(test_large_block_is_watched_where_it_lies),
    /* What holds without a watcher, holds with one. */
    WATCHED(test_blocks_are_aligned_and_apart),
    WATCHED(test_medium_pages_fill_and_empty),
    WATCHED(test_realloc_between_all_sizes_keeps_the_content),
    WATCHED(test_failing_commit_is_served_by_the_fallback),
    WATCHED(test_exhausted_range_is_served_by_the_fallback),
    WATCHED(test_no_memory_at_all_but_shrinking_needs_none),
    WATCHED(test_two_threads_once_closed),
    WATCHED(test_freed_block_is_no_longer_old),
};
ZTEST_MAIN(tests, NULL)
