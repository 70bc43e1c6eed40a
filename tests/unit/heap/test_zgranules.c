#include "heap/zgranules.h"

#include "heap/base/zos.h"
#include "tests/support/ztest.h"

#define RANGE (64 * ZM)
#define LIMIT (RANGE / ZGRANULE_SIZE)
#define SMALLEST (16 * ZM)
#define NONE SIZE_MAX

static int start(void **state) {
  (void)state;
  return zgranules_start(RANGE) ? 0 : -1;
}

static char *at(size_t granule) { return zgranules_range.base + granule * ZGRANULE_SIZE; }

static size_t take(size_t count) {
  size_t dirty_first;
  return zgranules_alloc(count, &dirty_first);
}

/* How many granules of the run, from its start, may hold something. */
static size_t take_dirty(size_t count, size_t expected) {
  size_t dirty_first;
  assert_int_equal(zgranules_alloc(count, &dirty_first), expected);
  assert_true(ztest_all(at(expected + dirty_first), 0, (count - dirty_first) * ZGRANULE_SIZE));
  return dirty_first;
}

static bool take_is_zeroed(size_t count, size_t expected) { return take_dirty(count, expected) == 0; }

static void dirty(size_t first, size_t count) { memset(at(first), 0xA5, count * ZGRANULE_SIZE); }

static void test_runs_lie_at_the_lowest_place_that_fits(void **state) {
  (void)state;
  assert_int_equal(take(1), 0);
  assert_int_equal(take(2), 1);
  assert_int_equal(take(1), 3);
  zgranules_free(0, 1);
  assert_int_equal(take(2), 4); /* the hole of one is too small */
  assert_int_equal(take(1), 0);
  zgranules_free(0, 1);
  zgranules_free(1, 2); /* neighbours become one hole */
  assert_int_equal(take(3), 0);
}

static void test_run_over_the_edge_of_what_was_ever_used(void **state) {
  (void)state;
  assert_int_equal(take(3), 0);
  zgranules_free(2, 1);
  assert_int_equal(take(5), 2); /* begins in a hole, ends in new memory */
  assert_int_equal(zgranules_used_bytes(), 7 * ZGRANULE_SIZE);
}

static void test_fresh_memory_is_zeroed_and_reused_memory_is_not(void **state) {
  (void)state;
  assert_true(take_is_zeroed(2, 0));
  dirty(0, 2);
  zgranules_free(0, 2);
  assert_false(take_is_zeroed(1, 0));
  zgranules_free(0, 1);
  assert_int_equal(take_dirty(3, 0), 2); /* the third one is new */
}

static void test_a_run_is_dirty_up_to_its_last_dirty_granule(void **state) {
  (void)state;
  take(4);
  zgranules_note_zeroed(0, 4);
  zgranules_free(0, 4);
  take(1), take(1); /* handed out, and so dirty */
  zgranules_free(0, 1);
  zgranules_free(1, 1);
  assert_int_equal(take_dirty(4, 0), 2);
}

static void test_zeroed_once_noted(void **state) {
  (void)state;
  take(1);
  zgranules_note_zeroed(0, 1);
  zgranules_free(0, 1);
  assert_true(take_is_zeroed(1, 0));
}

static void test_extend(void **state) {
  (void)state;
  assert_int_equal(take(1), 0);
  assert_true(zgranules_extend(1, 3));
  assert_int_equal(take(1), 4);
  assert_false(zgranules_extend(4, 1)); /* taken */
  zgranules_free(2, 2);
  assert_false(zgranules_extend(2, 3)); /* the last of the three is taken */
  assert_true(zgranules_extend(2, 2));
  assert_int_equal(zgranules_used_bytes(), 5 * ZGRANULE_SIZE);
}

static void test_extend_to_the_end_of_the_range_and_not_beyond(void **state) {
  (void)state;
  assert_int_equal(take(1), 0);
  assert_false(zgranules_extend(1, LIMIT));
  assert_int_equal(zgranules_used_bytes(), ZGRANULE_SIZE);
  assert_true(zgranules_extend(1, LIMIT - 1));
  assert_int_equal(take(1), NONE);
}

static void test_exhaustion(void **state) {
  (void)state;
  assert_int_equal(take(LIMIT + 1), NONE);
  assert_int_equal(take(LIMIT), 0);
  at(LIMIT)[-1] = 1; /* the last byte is writable */
  assert_int_equal(take(1), NONE);
  zgranules_free(LIMIT - 1, 1);
  assert_int_equal(take(2), NONE);
  assert_int_equal(take(1), LIMIT - 1);
  assert_int_equal(zgranules_used_bytes(), RANGE);
}

static void test_memory_goes_back_at_the_second_call(void **state) {
  (void)state;
  take(8);
  dirty(0, 8);
  assert_int_equal(zgranules_idle_bytes(), 0);
  zgranules_free(0, 8);
  assert_int_equal(zgranules_idle_bytes(), 8 * ZGRANULE_SIZE);
  assert_int_equal(zgranules_resident_bytes(), 8 * ZGRANULE_SIZE);
  assert_int_equal(zgranules_uncommit_aged(), 0);
  assert_int_equal(zgranules_uncommit_aged(), 8 * ZGRANULE_SIZE);
  assert_int_equal(zgranules_resident_bytes(), 0);
  assert_int_equal(zgranules_idle_bytes(), 0);
  assert_true(take_is_zeroed(8, 0));
}

static void test_memory_in_use_never_goes_back(void **state) {
  (void)state;
  take(3);
  dirty(0, 3);
  zgranules_free(0, 1);
  zgranules_free(2, 1);
  for (int i = 0; i < 3; i++) zgranules_uncommit_aged();
  assert_true(ztest_all(at(1), 0xA5, ZGRANULE_SIZE));
  assert_true(ztest_all(at(0), 0, ZGRANULE_SIZE));
  assert_true(ztest_all(at(2), 0, ZGRANULE_SIZE));
}

static void test_reuse_between_the_calls_starts_the_delay_again(void **state) {
  (void)state;
  take(1);
  zgranules_free(0, 1);
  assert_int_equal(zgranules_uncommit_aged(), 0);
  take(1);
  zgranules_free(0, 1);
  assert_int_equal(zgranules_uncommit_aged(), 0);
  assert_int_equal(zgranules_uncommit_aged(), ZGRANULE_SIZE);
}

static void test_large_runs_go_back_in_steps(void **state) {
  (void)state;
  size_t count = 20 * ZM / ZGRANULE_SIZE + 1;
  take(count);
  zgranules_free(0, count);
  zgranules_uncommit_aged();
  assert_int_equal(zgranules_uncommit_aged(), count * ZGRANULE_SIZE);
}

static void test_growth_into_new_memory_gives_idle_memory_back(void **state) {
  (void)state;
  size_t hole = 24 * ZM / ZGRANULE_SIZE;
  assert_int_equal(take(hole), 0);
  assert_int_equal(take(1), hole);
  dirty(0, hole + 1);
  zgranules_free(0, hole);
  assert_int_equal(zgranules_idle_bytes(), 24 * ZM);
  assert_int_equal(take(hole + 1), hole + 1); /* does not fit into the hole */
  assert_in_range(zgranules_idle_bytes(), 1, 24 * ZM / 16 + ZGRANULE_SIZE); /* a share of what is in use */
  assert_true(ztest_all(at(hole - 1), 0, ZGRANULE_SIZE)); /* from the top */
  assert_true(ztest_all(at(0), 0xA5, ZGRANULE_SIZE));
  assert_true(ztest_all(at(hole), 0xA5, ZGRANULE_SIZE)); /* in use */
  assert_false(take_is_zeroed(1, 0));
}

static void test_failing_uncommit_keeps_the_memory(void **state) {
  (void)state;
  take(2);
  dirty(0, 2);
  zgranules_free(0, 2);
  zgranules_uncommit_aged();
  zos_fault_set(ZOS_FAULT_UNCOMMIT, 1, 1);
  assert_int_equal(zgranules_uncommit_aged(), 0);
  assert_int_equal(zgranules_resident_bytes(), 2 * ZGRANULE_SIZE);
  assert_int_equal(zgranules_uncommit_aged(), 2 * ZGRANULE_SIZE);
}

static void test_failing_commit_changes_nothing(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 1);
  assert_int_equal(take(1), NONE);
  assert_int_equal(zgranules_used_bytes(), 0);
  assert_false(zgranules_is_readable(at(0)));
  assert_int_equal(take(1), 0);
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 1);
  size_t committed = zgranules_range.committed_end / ZGRANULE_SIZE;
  assert_false(zgranules_extend(1, committed)); /* one more than is committed */
  assert_int_equal(zgranules_used_bytes(), ZGRANULE_SIZE);
  assert_true(zgranules_extend(1, committed));
}

static void test_readable_up_to_what_is_committed(void **state) {
  (void)state;
  assert_false(zgranules_is_readable(at(0)));
  take(1);
  char *end = zgranules_range.base + zgranules_range.committed_end;
  assert_true(zgranules_is_readable(at(0)));
  assert_true(zgranules_is_readable(end - 1));
  assert_false(zgranules_is_readable(end));
  assert_false(zgranules_is_readable(at(0) - 1));
  assert_int_equal(end[ZGRANULES_GUARD - 1], 0); /* the guard may be read too */
  assert_true(zgranules_contains(end - 1));
  assert_false(zgranules_contains(end)); /* whatever else may lie there */
  assert_false(zgranules_contains(NULL));
}

static void test_smaller_range_when_the_system_refuses(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_RESERVE, 1, 2);
  assert_true(zgranules_start(4 * RANGE));
  assert_int_equal(zgranules_range.size, RANGE);
}

static void test_smallest_range(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_RESERVE, 1, 1);
  assert_true(zgranules_start(2 * SMALLEST));
  assert_int_equal(zgranules_range.size, SMALLEST);
}

static void test_no_start_below_the_smallest_range(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_RESERVE, 1, 2);
  assert_false(zgranules_start(2 * SMALLEST));
  assert_null(zgranules_range.base);
  assert_false(zgranules_contains(&state));
}

static void test_no_start_without_tables(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_TABLE, 1, 1);
  assert_false(zgranules_start(RANGE));
  assert_null(zgranules_range.base);
}

static void test_a_hole_that_fits_exactly_comes_before_a_larger_one(void **state) {
  (void)state;
  take(20);
  zgranules_free(2, 6);
  zgranules_free(12, 3);
  zgranules_free(17, 1);
  assert_int_equal(take(3), 12);
  assert_int_equal(take(1), 17);
  assert_int_equal(take(1), 2);
  assert_int_equal(take(5), 3); /* what is left of the larger one */
}

/* Memory that does not fit together: nearly all runs of a program that replaces some of random sizes find a
 * place in what others left. */
static void test_random_runs_fill_the_holes(void **state) {
  (void)state;
  enum { RUNS = 600 };
  size_t first[RUNS] = {0}, count[RUNS] = {0}, highest = 0, used = 0;
  uint32_t seed = 5;
  for (int step = 0; step < 60000; step++) {
    unsigned i = ztest_random(&seed) % RUNS;
    if (count[i] != 0) zgranules_free(first[i], count[i]);
    used -= count[i];
    count[i] = 1 + ztest_random(&seed) % 5;
    first[i] = take(count[i]);
    used += count[i];
    assert_true(first[i] != NONE);
    highest = zmax(highest, first[i] + count[i]);
  }
  assert_int_equal(zgranules_used_bytes(), used * ZGRANULE_SIZE);
  assert_true(highest <= used + used / 8);
}

static bool is_free_run(const unsigned char *taken, size_t first, size_t count) {
  for (size_t i = first; i < first + count; i++) {
    if (taken[i]) return false;
  }
  return true;
}

static bool is_exact_hole(const unsigned char *taken, size_t first, size_t count) {
  return is_free_run(taken, first, count) && first + count < LIMIT && taken[first + count] &&
         (first == 0 || taken[first - 1]);
}

/* Counts around the words of the bitmaps, against an array of bytes. */
static void test_model(void **state) {
  (void)state;
  static const size_t counts[] = {1, 1, 1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129};
  static unsigned char taken[LIMIT];
  struct {
    size_t first, count;
  } runs[64] = {{0, 0}};
  uint32_t seed = 1;
  size_t used = 0;
  for (int step = 0; step < 20000; step++) {
    unsigned i = ztest_random(&seed) % ZARRAY_LENGTH(runs);
    if (runs[i].count != 0) {
      zgranules_free(runs[i].first, runs[i].count);
      memset(taken + runs[i].first, 0, runs[i].count);
      used -= runs[i].count;
      runs[i].count = 0;
    } else {
      size_t count = counts[ztest_random(&seed) % ZARRAY_LENGTH(counts)];
      size_t expected = 0, length = 0;
      while (expected + length < LIMIT && length < count) {
        if (taken[expected + length]) {
          expected += length + 1;
          length = 0;
        } else {
          length++;
        }
      }
      if (length < count) expected = NONE;
      size_t got = take(count);
      if (got != expected) assert_true(expected != NONE && is_exact_hole(taken, got, count));
      expected = got;
      if (expected == NONE) continue;
      memset(taken + expected, 1, count);
      runs[i].first = expected;
      runs[i].count = count;
      used += count;
    }
    assert_int_equal(zgranules_used_bytes(), used * ZGRANULE_SIZE);
    if (step % 100 == 0) zgranules_uncommit_aged();
  }
}

/* -- population ahead ---------------------------------------------------------------------------------- */

#define CHUNK (ZGRANULES_CHUNK / ZGRANULE_SIZE)
#define FROM (ZGRANULES_POPULATE_FROM / ZGRANULE_SIZE) /* more than that is populated ahead */

static int times_low;
static void count_low(void) { times_low++; }

static char *claim_above(size_t used) {
  assert_int_equal(take(used), 0);
  char *chunk = zgranules_claim_chunk();
  assert_ptr_equal(chunk, at(zalign_up(used, CHUNK)));
  return chunk;
}

static void test_small_heaps_ask_for_nothing_and_larger_ones_once_they_run_low(void **state) {
  (void)state;
  times_low = 0;
  zgranules_low_hook = count_low;
  take(FROM / 2);
  assert_int_equal(times_low, 0);
  take(FROM / 2);
  assert_int_equal(times_low, 1);
  zgranules_claim_chunk();
  zgranules_offer_chunk(true);
  assert_null(zgranules_claim_chunk()); /* one is enough for a heap of this size */
  take(1);
  assert_int_equal(times_low, 1);
  take(CHUNK / 2);
  assert_int_equal(times_low, 2);
  zgranules_low_hook = NULL;
}

static void test_allocations_go_round_a_chunk_at_work_and_take_it_when_it_is_offered(void **state) {
  (void)state;
  claim_above(FROM + 1);
  size_t gap = CHUNK - 1; /* up to where the chunk starts */
  assert_int_equal(take(gap), FROM + 1);
  assert_int_equal(take(1), FROM + 2 * CHUNK);
  zgranules_offer_chunk(true);
  assert_true(take_is_zeroed(3, FROM + CHUNK));
  assert_int_equal(take(CHUNK - 3), FROM + CHUNK + 3);
  assert_int_equal(take(1), FROM + 2 * CHUNK + 1);
}

static void test_what_is_populated_counts_as_resident_until_it_is_handed_out(void **state) {
  (void)state;
  claim_above(FROM);
  assert_int_equal(zgranules_resident_bytes(), FROM * ZGRANULE_SIZE);
  zgranules_offer_chunk(true);
  assert_int_equal(zgranules_resident_bytes(), FROM * ZGRANULE_SIZE + ZGRANULES_CHUNK);
  assert_int_equal(zgranules_used_bytes(), FROM * ZGRANULE_SIZE);
  take(5);
  assert_int_equal(zgranules_resident_bytes(), FROM * ZGRANULE_SIZE + ZGRANULES_CHUNK);
  assert_int_equal(zgranules_idle_bytes(), 0);
}

static void test_a_chunk_that_was_not_populated_is_ordinary_memory(void **state) {
  (void)state;
  claim_above(FROM);
  zgranules_offer_chunk(false);
  assert_int_equal(zgranules_resident_bytes(), FROM * ZGRANULE_SIZE);
  assert_true(take_is_zeroed(CHUNK, FROM));
}

static void test_a_forked_child_gets_the_chunk_at_work_back(void **state) {
  (void)state;
  claim_above(FROM);
  zgranules_reset_after_fork_in_child();
  assert_int_equal(take(CHUNK), FROM);
  zgranules_reset_after_fork_in_child(); /* with none at work: nothing */
  assert_int_equal(take(1), FROM + CHUNK);
}

static void test_no_chunk_beyond_the_range_or_without_commit(void **state) {
  (void)state;
  take(FROM);
  zos_fault_set(ZOS_FAULT_COMMIT, 1, UINT64_MAX);
  take(4 * ZM / ZGRANULE_SIZE); /* up to what is committed already, if at all */
  assert_null(zgranules_claim_chunk());
  zos_fault_set(ZOS_FAULT_COMMIT, 0, 0);
  while (take(CHUNK) != NONE) {
  }
  assert_null(zgranules_claim_chunk());
}

#define STARTED(test) cmocka_unit_test_setup(test, start)
static const struct CMUnitTest tests[] = {
    STARTED(test_runs_lie_at_the_lowest_place_that_fits),
    STARTED(test_run_over_the_edge_of_what_was_ever_used),
    STARTED(test_fresh_memory_is_zeroed_and_reused_memory_is_not),
    STARTED(test_zeroed_once_noted),
    STARTED(test_a_run_is_dirty_up_to_its_last_dirty_granule),
    STARTED(test_a_hole_that_fits_exactly_comes_before_a_larger_one),
    STARTED(test_random_runs_fill_the_holes),
    STARTED(test_extend),
    STARTED(test_extend_to_the_end_of_the_range_and_not_beyond),
    STARTED(test_exhaustion),
    STARTED(test_memory_goes_back_at_the_second_call),
    STARTED(test_memory_in_use_never_goes_back),
    STARTED(test_reuse_between_the_calls_starts_the_delay_again),
    STARTED(test_large_runs_go_back_in_steps),
    STARTED(test_growth_into_new_memory_gives_idle_memory_back),
    STARTED(test_failing_uncommit_keeps_the_memory),
    STARTED(test_failing_commit_changes_nothing),
    STARTED(test_readable_up_to_what_is_committed),
    STARTED(test_small_heaps_ask_for_nothing_and_larger_ones_once_they_run_low),
    STARTED(test_allocations_go_round_a_chunk_at_work_and_take_it_when_it_is_offered),
    STARTED(test_what_is_populated_counts_as_resident_until_it_is_handed_out),
    STARTED(test_a_chunk_that_was_not_populated_is_ordinary_memory),
    STARTED(test_a_forked_child_gets_the_chunk_at_work_back),
    STARTED(test_no_chunk_beyond_the_range_or_without_commit),
    cmocka_unit_test(test_smaller_range_when_the_system_refuses),
    cmocka_unit_test(test_smallest_range),
    cmocka_unit_test(test_no_start_below_the_smallest_range),
    cmocka_unit_test(test_no_start_without_tables),
    STARTED(test_model),
};
ZTEST_MAIN(tests, NULL)
