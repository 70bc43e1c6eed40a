#include "collector/cpython/ztenuring.h"

#include "heap/base/zoption.h"
#include "tests/support/ztest.h"

#define FEW 32
#define YOUNG 350
#define WINDOW 80000 /* so many objects are looked at before it is asked whether that paid, where one costs 50 ns */

/* Young collections of `looked` objects until their cost is known, whatever it was taken for before. */
static void learn_cost(size_t looked, uint64_t ns_per_object) {
  for (int i = 0; i < 200; i++) ztenuring_note_young(looked, 0, 0, looked * ns_per_object);
}

/* A window's worth of young collections, of whose objects a half had survived one before. */
static void look(unsigned garbage_of_1000) {
  for (size_t looked = 0; looked < WINDOW; looked += 5000) {
    ztenuring_note_young(5000, 2500, 2500 * garbage_of_1000 / 1000, 5000 * 50);
  }
}

static void test_a_few_are_kept_as_a_rule(void **state) {
  (void)state;
  look(1000);
  assert_int_equal(ztenuring_kept(), FEW);
  assert_int_equal(ztenuring_threshold(), YOUNG);
  assert_false(ztenuring_is_on());
}

static void test_a_fruitful_collection_begins_a_trial(void **state) {
  (void)state;
  learn_cost(1000, 100);
  assert_true(ztenuring_note_fruitful());
  assert_true(ztenuring_is_on());
  size_t threshold = ztenuring_threshold();
  assert_in_range(ztenuring_kept() + threshold, 8000, 11000); /* 1 ms at 100 ns */
  assert_in_range(threshold, ztenuring_kept() / 4, ztenuring_kept() / 2);
  assert_false(ztenuring_note_fruitful()); /* it is on already */
}

static void test_no_more_than_fit_the_pause_target(void **state) {
  (void)state;
  size_t before = SIZE_MAX;
  for (uint64_t ns = 10; ns < 20000; ns *= 2) {
    learn_cost(1000, ns);
    size_t fits = ztenuring_fits();
    if (ns > 100) assert_in_range(fits * ns, 400000, 600000);
    assert_true(fits <= before && fits <= 24000);
    before = fits;
  }
  assert_true(zoption_set(ZOPTION_ID_pause_target, "5000"));
  assert_in_range(ztenuring_fits(), before * 9, before * 11);
}

static void test_costly_objects_leave_the_smallest_generation(void **state) {
  (void)state;
  learn_cost(1000, 10000);
  assert_false(ztenuring_note_fruitful()); /* on, with the threshold that it was */
  assert_int_equal(ztenuring_threshold(), YOUNG);
  assert_in_range(ztenuring_kept(), FEW, 150);
}

static void test_a_pause_drawn_out_by_the_machine_counts_as_one(void **state) {
  (void)state;
  learn_cost(1000, 100);
  size_t fits = ztenuring_fits();
  ztenuring_note_young(1000, 0, 0, 50000000);
  assert_in_range(ztenuring_fits(), fits * 8 / 10, fits);
  ztenuring_note_young(10, 0, 0, 50000000); /* not of the objects' doing */
  assert_in_range(ztenuring_fits(), fits * 8 / 10, fits);
}

static void test_many_objects_that_cost_more_are_believed_at_once(void **state) {
  (void)state;
  learn_cost(1000, 50);
  size_t before = ztenuring_fits();
  ztenuring_note_young(4000, 0, 0, 4000 * 240); /* within twice the target */
  assert_in_range(ztenuring_fits(), before * 9 / 10, before);
  before = ztenuring_fits();
  ztenuring_note_young(16000, 0, 0, 16000 * 80);
  assert_in_range(ztenuring_fits(), before * 5 / 9, before * 5 / 7);
  ztenuring_note_young(4000, 0, 0, 4000 * 8000); /* not as much as that */
  assert_in_range(ztenuring_fits(), before * 5 / 14, before * 5 / 10);
}

static void test_what_is_kept_is_less_when_it_costs_more(void **state) {
  (void)state;
  learn_cost(1000, 80);
  ztenuring_note_fruitful();
  size_t kept = ztenuring_kept(), threshold = ztenuring_threshold();
  assert_true(ztenuring_note_young(8000, 4000, 4000, 8000 * 160));
  assert_true(ztenuring_is_on());
  assert_in_range(ztenuring_threshold(), threshold / 2, threshold * 4 / 5);
  for (int i = 0; i < 5; i++) ztenuring_note_young(5000, 2000, 2000, 5000 * 160);
  assert_in_range(ztenuring_kept(), kept / 3, kept * 4 / 5);
}

static void test_a_large_generation_is_looked_at_while_that_pays(void **state) {
  (void)state;
  assert_in_range(ztenuring_reach(), 0, 1000);
  ztenuring_note_fruitful();
  assert_in_range(ztenuring_reach(), 6000, 6500); /* 1 ms at 160 ns */
  for (int i = 0; i < 50; i++) {
    ztenuring_note_large(3000, 3000, 3000 * 100);
    ztenuring_note_large(3000, 3000, 3000 * 100);
    ztenuring_note_large(3000, 0, 3000 * 20);
  }
  size_t reach = ztenuring_reach();
  assert_in_range(reach, 8000, 12000); /* 1 ms at 100 ns */
  ztenuring_note_large(16000, 16000, 16000 * 150); /* far too long */
  assert_in_range(ztenuring_reach(), reach / 2, reach * 4 / 5);
  for (int i = 0; i < 100; i++) ztenuring_note_large(4000, 999, 4000 * 20);
  assert_in_range(ztenuring_reach(), 0, 1000);
  ztenuring_note_fruitful(); /* also while survivors are kept */
  assert_in_range(ztenuring_reach(), 6000, 6500);
}

static void test_a_trial_that_pays_goes_on(void **state) {
  (void)state;
  ztenuring_note_fruitful();
  for (int i = 0; i < 10; i++) {
    look(500);
    assert_true(ztenuring_is_on());
  }
  look(130);
  assert_true(ztenuring_is_on());
}

static void test_a_trial_in_vain_ends(void **state) {
  (void)state;
  ztenuring_note_fruitful();
  look(100); /* the first window does not count */
  assert_true(ztenuring_is_on());
  look(100);
  assert_false(ztenuring_is_on());
  assert_int_equal(ztenuring_threshold(), YOUNG);
}

static void test_what_was_kept_is_not_promoted_all_at_once(void **state) {
  (void)state;
  ztenuring_note_fruitful();
  look(0);
  look(0);
  assert_false(ztenuring_is_on());
  size_t before = ztenuring_kept();
  assert_true(before > 1000);
  while (before > FEW) {
    ztenuring_note_young(1000, 500, 0, 50000);
    assert_in_range(ztenuring_kept(), before - before / 4, before - 1);
    before = ztenuring_kept();
  }
  ztenuring_note_young(1000, 500, 0, 50000);
  assert_int_equal(ztenuring_kept(), FEW);
}

static void test_it_ends_when_hardly_anything_survives(void **state) {
  (void)state;
  ztenuring_note_fruitful();
  for (size_t looked = 0; looked < 3 * WINDOW; looked += 4000) {
    ztenuring_note_young(4000, 10, 10, 4000 * 50);
  }
  assert_false(ztenuring_is_on());
}

/* Fruitful collections until the next trial begins. */
static unsigned waits(void) {
  unsigned collections = 1;
  for (ztenuring_note_fruitful(); !ztenuring_is_on(); collections++) ztenuring_note_fruitful();
  return collections;
}

static void test_after_trials_in_vain_it_waits_longer_up_to_a_limit(void **state) {
  (void)state;
  static const unsigned expected[] = {1, 2, 3, 5, 9, 17, 17};
  for (size_t i = 0; i < ZARRAY_LENGTH(expected); i++) {
    assert_int_equal(waits(), expected[i]);
    look(0);
    look(0);
  }
  assert_int_equal(waits(), 17);
  look(1000);
  look(1000); /* pays: the next one in vain is the first */
  look(0);
  assert_int_equal(waits(), 2);
}

static unsigned left_out_of(unsigned collections) {
  unsigned out = 0;
  for (unsigned i = 0; i < collections; i++) {
    if (ztenuring_leaves_out()) {
      out++;
    } else {
      ztenuring_note_found(0);
    }
  }
  return out;
}

static void test_most_looks_in_vain_are_left_out_until_one_finds_something(void **state) {
  (void)state;
  assert_int_equal(left_out_of(8), 0);
  assert_in_range(left_out_of(80), 60, 79);
  ztenuring_note_found(1);
  assert_int_equal(left_out_of(8), 0);
  assert_in_range(left_out_of(8), 1, 8);
  ztenuring_note_fruitful(); /* survivors are kept: these are worth a look */
  assert_int_equal(left_out_of(80), 0);
}

static void test_heavy_objects_are_collected_after_fewer_of_them(void **state) {
  (void)state;
  size_t most = ztenuring_weight(YOUNG);
  assert_false(ztenuring_note_weight(YOUNG, YOUNG * 3, 0));
  assert_true(ztenuring_note_weight(YOUNG, 10 * most, 0));
  assert_in_range(ztenuring_threshold(), YOUNG / 20 - 1, YOUNG / 20 + 1);
  assert_false(ztenuring_note_weight(YOUNG / 20, most / 2, 0)); /* as heavy as before */
  ztenuring_note_weight(YOUNG, SIZE_MAX / 4, 0);
  assert_in_range(ztenuring_threshold(), 1, 10);
}

static void test_the_threshold_comes_back_by_doubling(void **state) {
  (void)state;
  ztenuring_note_weight(YOUNG, SIZE_MAX / 4, 0);
  size_t before = ztenuring_threshold();
  for (int i = 0; i < 20 && before < YOUNG; i++) {
    assert_true(ztenuring_note_weight(6, 0, 0));
    assert_true(ztenuring_threshold() <= 2 * before);
    before = ztenuring_threshold();
  }
  assert_int_equal(before, YOUNG);
}

/* As a batch of garbage is. */
static void test_a_collection_without_new_objects_says_nothing(void **state) {
  (void)state;
  size_t before = ztenuring_threshold();
  assert_false(ztenuring_note_weight(0, 0, 0));
  assert_false(ztenuring_note_weight(0, 0, 100 * ztenuring_weight(YOUNG)));
  assert_int_equal(ztenuring_threshold(), before);
}

/* New objects pay for the visits of what is kept. */
static void test_what_is_kept_leaves_less_room_but_never_none(void **state) {
  (void)state;
  size_t most = ztenuring_weight(YOUNG), each = most / YOUNG;
  ztenuring_note_weight(YOUNG, YOUNG * each, most * 3 / 4);
  assert_in_range(ztenuring_threshold(), YOUNG / 4 - 2, YOUNG / 4 + 2);
  ztenuring_note_weight(YOUNG, YOUNG * each, most * 100);
  assert_in_range(ztenuring_threshold(), YOUNG / 4 - 2, YOUNG / 4 + 2);
}

static void look_at_references(size_t weight, uint64_t took_ns) {
  ztenuring_note_look(weight);
  ztenuring_note_young(1000, 0, 0, took_ns);
}

/* A list of a million references to one object is read faster than a million objects. */
static void test_references_cost_what_they_have_cost_so_far(void **state) {
  (void)state;
  size_t first = ztenuring_weight(0), fits = ztenuring_fits();
  for (int i = 0; i < 100; i++) look_at_references(100000, 50000);
  assert_in_range(ztenuring_weight(0), first * 4 - 10, first * 4 + 10);
  assert_int_equal(ztenuring_fits(), fits);  /* the objects are not what took so long */
  look_at_references(100000, 50000000); /* drawn out by the machine */
  assert_in_range(ztenuring_weight(0), first * 8 / 3 - 10, first * 8 / 3 + 10);
  for (int i = 0; i < 5; i++) look_at_references(100000, 1600000);
  assert_int_equal(ztenuring_weight(0), first);
}

static void test_many_objects_may_weigh_more(void **state) {
  (void)state;
  assert_in_range(ztenuring_weight(1000000), 32000000, 100000000);
}

/* Requests that hold buffers: however few survive, what they hold would be garbage among old objects. */
static void test_a_trial_for_heavy_objects_pays_with_few_survivors(void **state) {
  (void)state;
  ztenuring_note_rising();
  for (size_t looked = 0; looked < 4 * WINDOW; looked += 4000) ztenuring_note_young(4000, 10, 10, 4000 * 50);
  assert_true(ztenuring_is_on());
}

static void test_a_trial_for_heavy_objects_pays_with_many_survivors_that_die_late(void **state) {
  (void)state;
  ztenuring_note_rising();
  for (size_t looked = 0; looked < 4 * WINDOW; looked += 7000) ztenuring_note_young(7000, 6000, 500, 7000 * 50);
  assert_true(ztenuring_is_on());
}

static void test_a_trial_for_heavy_objects_that_live_ends(void **state) {
  (void)state;
  ztenuring_note_rising();
  for (size_t looked = 0; looked < 4 * WINDOW; looked += 7000) ztenuring_note_young(7000, 6000, 100, 7000 * 50);
  assert_false(ztenuring_is_on());
}

static void test_reset_forgets_all(void **state) {
  (void)state;
  learn_cost(1000, 1000);
  ztenuring_note_fruitful();
  ztenuring_reset();
  assert_false(ztenuring_is_on());
  assert_int_equal(ztenuring_kept(), FEW);
  assert_int_equal(ztenuring_threshold(), YOUNG);
  assert_true(ztenuring_fits() > 5000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_few_are_kept_as_a_rule),
    cmocka_unit_test(test_a_fruitful_collection_begins_a_trial),
    cmocka_unit_test(test_no_more_than_fit_the_pause_target),
    cmocka_unit_test(test_costly_objects_leave_the_smallest_generation),
    cmocka_unit_test(test_a_pause_drawn_out_by_the_machine_counts_as_one),
    cmocka_unit_test(test_many_objects_that_cost_more_are_believed_at_once),
    cmocka_unit_test(test_what_is_kept_is_less_when_it_costs_more),
    cmocka_unit_test(test_a_large_generation_is_looked_at_while_that_pays),
    cmocka_unit_test(test_a_trial_that_pays_goes_on),
    cmocka_unit_test(test_a_trial_in_vain_ends),
    cmocka_unit_test(test_what_was_kept_is_not_promoted_all_at_once),
    cmocka_unit_test(test_it_ends_when_hardly_anything_survives),
    cmocka_unit_test(test_after_trials_in_vain_it_waits_longer_up_to_a_limit),
    cmocka_unit_test(test_most_looks_in_vain_are_left_out_until_one_finds_something),
    cmocka_unit_test(test_heavy_objects_are_collected_after_fewer_of_them),
    cmocka_unit_test(test_many_objects_may_weigh_more),
    cmocka_unit_test(test_the_threshold_comes_back_by_doubling),
    cmocka_unit_test(test_a_collection_without_new_objects_says_nothing),
    cmocka_unit_test(test_what_is_kept_leaves_less_room_but_never_none),
    cmocka_unit_test(test_references_cost_what_they_have_cost_so_far),
    cmocka_unit_test(test_a_trial_for_heavy_objects_pays_with_few_survivors),
    cmocka_unit_test(test_a_trial_for_heavy_objects_pays_with_many_survivors_that_die_late),
    cmocka_unit_test(test_a_trial_for_heavy_objects_that_live_ends),
    cmocka_unit_test(test_reset_forgets_all),
};
ZTEST_MAIN(tests, NULL)
