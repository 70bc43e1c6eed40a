/* A heap made up of numbers: how often it would be collected. */
#include "collector/cpython/zgrowth.h"

#include "tests/support/ztest.h"

#define STOCK_SMALL 84700 /* objects that CPython 3.11 lets grow old before a full collection, by 700, 10, 10 */
#define STEP 350          /* objects allocated between two decisions */
#define OBJECT_NS 100     /* CPU time of the program for one of them */

static uint64_t program_ns;
static uint64_t read_program_ns(void) { return program_ns; }

static zgrowth_record_t now;
static unsigned collections, fruitless;
static uint64_t most_grown, lowest;
static uint64_t price_each; /* ns of a collection, for each object that it looks at */

static int start(void **state) {
  (void)state;
  zgrowth_reset();
  program_ns = 0;
  now = (zgrowth_record_t){.program_ns = read_program_ns};
  collections = fruitless = 0;
  most_grown = lowest = 0;
  price_each = 100;
  return 0;
}

/* Ends at once. */
static void collect(uint64_t garbage) {
  zgrowth_note_start(&now);
  now.price_ns += now.old * price_each;
  now.time_ns += now.old * price_each;
  now.old -= garbage;
  zgrowth_note_end(&now, garbage, garbage);
  collections++;
  if (garbage == 0) fruitless++;
  lowest = now.old;
}

static void run(uint64_t promoted, uint64_t died) {
  now.promoted += promoted;
  now.old += promoted;
  now.old -= zmin(now.old, died);
  now.time_ns += STEP * OBJECT_NS;
  program_ns += STEP * OBJECT_NS;
  lowest = zmin(lowest, now.old);
  most_grown = zmax(most_grown, now.old - lowest);
}

/* A heap of `live` objects that `garbage_of_100` of what grows old is added to as garbage; the rest dies by
 * reference count. */
static void run_garbage(uint64_t live, unsigned steps, unsigned garbage_of_100) {
  now.old = now.promoted = live;
  collect(0);
  collections = fruitless = 0;
  most_grown = 0;
  uint64_t garbage = 0;
  for (unsigned i = 0; i < steps; i++) {
    garbage += STEP * garbage_of_100 / 100;
    run(STEP, STEP - STEP * garbage_of_100 / 100);
    if (!zgrowth_is_due(&now)) continue;
    collect(garbage);
    garbage = 0;
  }
}

static void test_no_more_garbage_than_with_cpython(void **state) {
  static const uint64_t lives[] = {0, 10000, 100000, 1000000, 4000000};
  for (size_t i = 0; i < ZARRAY_LENGTH(lives); i++) {
    start(state);
    run_garbage(lives[i], 20000, 100);
    assert_true(collections > 0);
    assert_true(most_grown <= zmax(STOCK_SMALL, lives[i] / 4 + STEP));
  }
}

static void test_a_collection_is_not_begun_for_little(void **state) {
  (void)state;
  run_garbage(10000, 10000, 100);
  assert_in_range(collections, 10000 * STEP / STOCK_SMALL, 10000 * STEP / (STOCK_SMALL / 4));
}

/* Lists that are made and dropped, one after the other. */
static void test_what_dies_by_reference_count_brings_no_collection(void **state) {
  (void)state;
  for (unsigned lap = 0; lap < 200; lap++) {
    for (unsigned i = 0; i < 40000 / STEP; i++) {
      run(STEP, 0);
      if (zgrowth_is_due(&now)) collect(0);
    }
    now.old = 0;
  }
  assert_in_range(collections, 0, 10);
}

/* A program that is given objects for ever, and drops the oldest by reference count. */
static void test_a_queue_brings_few_collections(void **state) {
  (void)state;
  run_garbage(20000, 20000, 0);
  assert_in_range(collections, 0, 20000u * STEP / 500000);
  assert_int_equal(collections, fruitless);
}

static void test_garbage_in_the_place_of_live_objects_is_found(void **state) {
  (void)state;
  now.old = now.promoted = 1000000;
  collect(0);
  uint64_t garbage = 0;
  for (unsigned i = 0; i < 40000 && collections < 2; i++) {
    run(STEP, STEP); /* live ones die, as many become garbage */
    garbage += STEP;
    if (zgrowth_is_due(&now)) collect(garbage);
  }
  assert_int_equal(collections, 2);
}

static void test_what_has_left_makes_no_room_for_garbage(void **state) {
  (void)state;
  now.old = now.promoted = 2000000;
  collect(0);
  now.old = 50000;
  assert_false(zgrowth_is_due(&now));
  collections = 0;
  unsigned steps = 0;
  for (; collections == 0; steps++) {
    run(STEP, 0);
    if (zgrowth_is_due(&now)) collect(steps * STEP);
  }
  assert_true(steps * STEP <= STOCK_SMALL);
}

static void test_one_that_found_nothing_has_to_pay_before_the_next(void **state) {
  (void)state;
  price_each = 20000;
  now.old = now.promoted = 100000;
  collect(0);
  uint64_t price = 100000 * price_each, before = program_ns;
  while (collections < 2) {
    run(STEP, STEP);
    if (zgrowth_is_due(&now)) collect(0);
  }
  assert_true(program_ns - before >= price * 10);
}

static void test_the_longer_it_takes_the_sooner_it_begins(void **state) {
  static const uint64_t prices[] = {1, 5, 15};
  uint64_t before = UINT64_MAX;
  for (size_t i = 0; i < ZARRAY_LENGTH(prices); i++) {
    start(state);
    price_each = prices[i];
    run_garbage(1000000, 20000, 100);
    assert_true(most_grown < before);
    before = most_grown;
  }
}

static void test_behind_when_it_grows_faster_than_the_collection_goes_on(void **state) {
  (void)state;
  run_garbage(1000000, 5000, 100);
  zgrowth_note_start(&now);
  assert_int_equal(zgrowth_behind(&now, 0), 0);
  now.old += 200000;
  assert_true(zgrowth_behind(&now, 0) > 0);
  assert_int_equal(zgrowth_behind(&now, 1000), 0);
  now.old += 1000000;
  assert_true(zgrowth_behind(&now, 1000) > 1);
  assert_int_equal(zgrowth_pressure(&now, 0), (now.old - lowest) / (lowest / 4));
  assert_int_equal(zgrowth_pressure(&now, now.old), 0);
}

static void test_what_is_frozen_is_no_base_and_its_return_no_growth(void **state) {
  (void)state;
  now.old = now.promoted = 1000000;
  collect(0);
  zgrowth_note_frozen(1000000);
  now.old = 0;
  run(60000, 0);
  assert_true(zgrowth_is_due(&now));
  zgrowth_note_unfrozen(1000000);
  now.old += 1000000;
  collect(0);
  assert_false(zgrowth_is_due(&now));
}

/* A program that freezes and unfreezes all the time: its growth counts all the same. */
static void test_freezing_hides_no_growth(void **state) {
  (void)state;
  now.old = now.promoted = 1000000;
  collect(0);
  for (int i = 0; i < 300 && !zgrowth_is_due(&now); i++) {
    now.old += 1000;
    zgrowth_note_frozen(now.old);
    zgrowth_note_unfrozen(now.old);
  }
  assert_true(zgrowth_is_due(&now));
}

/* What became old before the collection began has been looked at, wherever it was when the collection ended. */
static void test_freezing_while_a_collection_runs_makes_no_growth(void **state) {
  (void)state;
  now.old = now.promoted = 1000000;
  collect(0);
  run(300000, 0);
  zgrowth_note_start(&now);
  uint64_t frozen = now.old;
  zgrowth_note_frozen(frozen);
  zgrowth_note_unfrozen(frozen);
  zgrowth_note_end(&now, 0, 0);
  assert_false(zgrowth_is_due(&now));
  run(300000, 0);
  zgrowth_note_start(&now);
  zgrowth_note_frozen(now.old);
  frozen = now.old;
  now.old = 0;
  zgrowth_note_end(&now, 0, 0);
  assert_false(zgrowth_is_due(&now));
  zgrowth_note_unfrozen(frozen);
  now.old = frozen;
  assert_false(zgrowth_is_due(&now));
}

/* A collection of what has grown beside a frozen heap says nothing of that heap's own growth. */
static void test_what_was_frozen_before_a_collection_stays_growth(void **state) {
  (void)state;
  now.old = now.promoted = 1000000;
  collect(0);
  run(300000, 0);
  uint64_t frozen = now.old;
  zgrowth_note_frozen(frozen);
  now.old = 0;
  run(60000, 0);
  collect(0);
  assert_false(zgrowth_is_due(&now));
  zgrowth_note_unfrozen(frozen);
  now.old += frozen;
  assert_true(zgrowth_is_due(&now));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_freezing_while_a_collection_runs_makes_no_growth, start),
    cmocka_unit_test_setup(test_what_was_frozen_before_a_collection_stays_growth, start),
    cmocka_unit_test_setup(test_no_more_garbage_than_with_cpython, start),
    cmocka_unit_test_setup(test_a_collection_is_not_begun_for_little, start),
    cmocka_unit_test_setup(test_what_dies_by_reference_count_brings_no_collection, start),
    cmocka_unit_test_setup(test_a_queue_brings_few_collections, start),
    cmocka_unit_test_setup(test_garbage_in_the_place_of_live_objects_is_found, start),
    cmocka_unit_test_setup(test_what_has_left_makes_no_room_for_garbage, start),
    cmocka_unit_test_setup(test_freezing_hides_no_growth, start),
    cmocka_unit_test_setup(test_one_that_found_nothing_has_to_pay_before_the_next, start),
    cmocka_unit_test_setup(test_the_longer_it_takes_the_sooner_it_begins, start),
    cmocka_unit_test_setup(test_what_is_frozen_is_no_base_and_its_return_no_growth, start),
    cmocka_unit_test_setup(test_behind_when_it_grows_faster_than_the_collection_goes_on, start),
};
ZTEST_MAIN(tests, NULL)
