/* The lists of CPython's generations, with a collection made up in between. */
#include "collector/cpython/zsurvivors.h"

#include "collector/python/zpyabi.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zweight.h"
#include "tests/support/ztest.h"

#define FEW 32
#define OBJECTS 20000

typedef struct {
  zgc_head_t head;
  struct zpy_object object;
} object_t;

static object_t objects[OBJECTS];
static object_t marker;
static zgc_generation_t generations[ZGC_GENERATIONS];

size_t zweight_of(PyObject *object, size_t most) {
  return zmin((size_t)object->refcount, most < SIZE_MAX ? most + 1 : most); /* no further than to one more */
}

zweight_sum_t zweight_of_list(const zgc_head_t *list, const zgc_head_t *mark, size_t most) {
  zweight_sum_t sum = {0, 0, 0, 0};
  for (zgc_head_t *at = zgc_head_next(list); at != list; at = zgc_head_next(at)) {
    if (at == mark) {
      sum.members_before = sum.members;
      sum.weight_before = sum.weight;
    }
    sum.members++;
    sum.weight += zweight_of(zpyabi_object(at), most);
  }
  return sum;
}

static void empty(zgc_head_t *list) { *list = (zgc_head_t){(uintptr_t)list, (uintptr_t)list}; }
static zgc_head_t *list_of(int generation) { return &generations[generation].head; }

static void track(object_t *object) { zgc_list_insert_before(&object->head, list_of(0)); }

static PyObject *new_marker(Py_ssize_t size) {
  assert_int_equal(size, 0);
  track(&marker);
  return &marker.object;
}

static PyObject *no_memory(Py_ssize_t size) {
  (void)size;
  return NULL;
}

static void untrack(void *object) {
  zgc_head_t *head = zpyabi_head(object);
  if (head->next == 0) return;
  zgc_list_unlink(head);
  head->next = 0;
}

static void nothing(void) {}

static int start(void **state) {
  (void)state;
  zgc_state.generations = generations;
  for (int i = 0; i < ZGC_GENERATIONS; i++) empty(list_of(i));
  zpy.PyList_New = new_marker;
  zpy.PyObject_GC_UnTrack = untrack;
  zpy.PyErr_Clear = nothing;
  return 0;
}

static void allocate_heavy(size_t first, size_t count, size_t weight) {
  for (size_t i = first; i < first + count; i++) {
    objects[i].object.refcount = (Py_ssize_t)weight;
    track(&objects[i]);
  }
}

static void allocate(size_t first, size_t count) { allocate_heavy(first, count, 0); }

static void collect(void) { zgc_list_splice(list_of(0), list_of(1)); } /* all survive */

static void die(size_t first, size_t count) {
  for (size_t i = first; i < first + count; i++) untrack(&objects[i].object);
}

static size_t promoted;
static size_t settle(size_t aged, size_t collected) {
  return zsurvivors_settle(aged, collected, 0, &promoted);
}

/* The members are objects first, first + 1, ...; the marker not counted. */
static void assert_members(int generation, size_t first, size_t count) {
  zgc_head_t *at = zgc_head_next(list_of(generation));
  for (size_t i = 0; i < count; at = zgc_head_next(at)) {
    if (at == &marker.head) continue;
    assert_ptr_equal(at, &objects[first + i].head);
    assert_ptr_equal(zgc_head_next(zgc_head_prev(at)), at);
    i++;
  }
  if (at == &marker.head) at = zgc_head_next(at);
  assert_ptr_equal(at, list_of(generation));
}

static void test_the_youngest_few_stay(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, FEW - 1, FEW, FEW + 1, 2 * FEW, 350};
  for (size_t i = 0; i < ZARRAY_LENGTH(sizes); i++) {
    for (int g = 0; g < ZGC_GENERATIONS; g++) empty(list_of(g));
    allocate(0, sizes[i]);
    collect();
    allocate(sizes[i], 3); /* by a finalizer */
    assert_int_equal(settle(0, 5), 0);
    size_t kept = zmin(sizes[i], FEW), old = sizes[i] - kept;
    assert_int_equal(promoted, old);
    assert_members(2, 0, old);
    assert_members(1, 0, 0);
    assert_members(0, old, kept + 3);
  }
}

static void test_counts_up_to_a_limit(void **state) {
  (void)state;
  size_t aged = 99;
  allocate(0, 10);
  assert_int_equal(zsurvivors_count(100, &aged), 10);
  assert_int_equal(aged, 0);
  assert_int_equal(zsurvivors_count(10, &aged), 10);
  assert_int_equal(zsurvivors_count(9, &aged), 9);
}

static void keep_many(void) {
  ztenuring_note_fruitful();
  assert_true(ztenuring_kept() > 1000);
}

static void test_many_stay_while_tenuring_is_on_and_the_oldest_go_first(void **state) {
  (void)state;
  keep_many();
  size_t kept = ztenuring_kept();
  allocate(0, kept);
  collect();
  settle(0, 0);
  assert_members(0, 0, kept);
  assert_members(2, 0, 0);
  allocate(kept, 700);
  collect();
  settle(0, 0);
  /* The marker of the round before may take a place. */
  assert_in_range(zgc_list_size(list_of(2)), 699, 702);
  assert_ptr_equal(zgc_head_next(list_of(2)), &objects[0].head);
  assert_ptr_equal(zgc_head_prev(zgc_head_prev(list_of(0))), &objects[kept + 699].head);
}

static void test_aged_are_those_kept_and_garbage_is_what_is_missing_of_them(void **state) {
  (void)state;
  keep_many();
  size_t aged;
  allocate(0, 100);
  collect();
  settle(0, 0);
  die(0, 10); /* by reference count: not aged any more */
  allocate(100, 50);
  assert_int_equal(zsurvivors_count(1000, &aged), 100 - 10 + 50 + 1);
  assert_int_equal(aged, 90);
  die(10, 60);
  die(100, 20);
  collect();
  assert_int_equal(settle(aged, 80), 60);
  assert_int_equal(zsurvivors_count(1000, &aged), 30 + 30 + 1);
  assert_int_equal(aged, 60);
}

static void test_what_cpython_moves_to_the_end_is_no_garbage(void **state) {
  (void)state;
  keep_many();
  size_t aged;
  allocate(0, 100);
  collect();
  settle(0, 0);
  allocate(100, 50);
  zsurvivors_count(1000, &aged);
  collect();
  for (size_t i = 0; i < 100; i++) {
    zgc_list_unlink(&objects[i].head);
    zgc_list_insert_before(&objects[i].head, list_of(1));
  }
  assert_int_equal(settle(aged, 0), 0);
}

static void test_no_aged_where_the_program_moved_the_marker_away(void **state) {
  (void)state;
  keep_many();
  size_t aged;
  allocate(0, 100);
  collect();
  settle(0, 0);
  zgc_list_splice(list_of(0), list_of(2)); /* gc.freeze, gc.collect */
  allocate(100, 50);
  assert_int_equal(zsurvivors_count(1000, &aged), 50);
  assert_int_equal(aged, 0);
  collect();
  assert_int_equal(settle(aged, 50), 0);
  assert_int_equal(zsurvivors_count(1000, &aged), 51);
  assert_int_equal(aged, 50);
}

static void test_without_memory_for_the_marker_survivors_are_kept_uncounted(void **state) {
  (void)state;
  zpy.PyList_New = no_memory;
  keep_many();
  size_t aged;
  allocate(0, 100);
  collect();
  settle(0, 0);
  assert_members(0, 0, 100);
  assert_int_equal(zsurvivors_count(1000, &aged), 100);
  assert_int_equal(aged, 0);
}

static void test_the_marker_goes_when_tenuring_ends(void **state) {
  (void)state;
  keep_many();
  allocate(0, 10);
  collect();
  settle(0, 0);
  assert_int_equal(zgc_list_size(list_of(0)), 11);
  ztenuring_reset();
  collect();
  settle(0, 0);
  assert_int_equal(zgc_list_size(list_of(0)), 10);
  assert_members(0, 0, 10);
}

static size_t weight_of(int generation) {
  return zweight_of_list(list_of(generation), NULL, SIZE_MAX).weight;
}

static void test_what_weighs_too_much_grows_old_without_a_look(void **state) {
  (void)state;
  allocate_heavy(0, 99, 10);
  allocate_heavy(99, 1, 1000000);
  zsurvivors_look_t look = zsurvivors_weigh(2000);
  assert_int_equal(look.members, 100);
  zsurvivors_lighten(2000, &look);
  assert_int_equal(look.new_weight, 2001 + 990);
  assert_int_equal(look.weight, 990);
  assert_int_equal(look.members, 99);
  assert_members(0, 0, 99);
  assert_members(2, 99, 1);
}

static void test_what_is_left_weighs_no_more_than_allowed(void **state) {
  (void)state;
  for (size_t most = 1; most < 100000; most *= 3) {
    for (int g = 0; g < ZGC_GENERATIONS; g++) empty(list_of(g));
    size_t all = 0;
    for (size_t weight = 0; weight < 5000; weight = weight * 5 / 4 + 1) allocate_heavy(all++, 1, weight);
    zsurvivors_look_t look = zsurvivors_weigh(most);
    assert_int_equal(look.members, all);
    zsurvivors_lighten(most, &look);
    assert_true(weight_of(0) <= most);
    assert_int_equal(look.weight, weight_of(0));
    assert_int_equal(look.members, zgc_list_size(list_of(0)));
    assert_int_equal(all - look.members, zgc_list_size(list_of(2)));
  }
}

static void test_heavy_ones_that_have_aged_are_not_taken_for_garbage(void **state) {
  (void)state;
  keep_many();
  allocate_heavy(0, 30, 1);
  collect();
  settle(0, 0);
  objects[7].object.refcount = 100000;
  allocate_heavy(30, 30, 1);
  zsurvivors_look_t look = zsurvivors_weigh(5000);
  assert_int_equal(look.aged, 30);
  zsurvivors_lighten(5000, &look);
  assert_int_equal(look.aged_weight, 5001 + 29);
  assert_int_equal(look.aged, 29);
  collect();
  assert_int_equal(settle(look.aged, 5), 0);
}

/* Between the count and the look, a callback of the program's has frozen all, or collected it: the marker is elsewhere. */
static void test_the_look_is_at_what_is_there_now(void **state) {
  (void)state;
  keep_many();
  size_t aged;
  allocate(0, 100);
  collect();
  settle(0, 0);
  allocate(100, 50);
  assert_int_equal(zsurvivors_count(1000, &aged), 151);
  assert_int_equal(aged, 100);
  zgc_list_splice(list_of(0), list_of(2));
  zsurvivors_look_t look = zsurvivors_weigh(1);
  assert_int_equal(look.members + look.aged + look.weight, 0);
  zsurvivors_lighten(1, &look);
  allocate_heavy(150, 10, 7);
  look = zsurvivors_weigh(1000);
  assert_int_equal(look.members, 10);
  assert_int_equal(look.aged, 0);
  assert_int_equal(look.new_weight, 70);
}

static void test_what_is_kept_weighs_no_more_than_allowed(void **state) {
  (void)state;
  static const size_t weights[] = {1, ZTENURING_KEPT_WEIGHT, 100, 600, 1000000};
  for (size_t i = 0; i < ZARRAY_LENGTH(weights); i++) {
    for (int g = 0; g < ZGC_GENERATIONS; g++) empty(list_of(g));
    allocate_heavy(0, 300, weights[i]);
    allocate_heavy(300, 2, 1);
    collect();
    zsurvivors_settle(0, 0, SIZE_MAX, &promoted);
    assert_true(weight_of(0) <= FEW * ZTENURING_KEPT_WEIGHT);
    assert_in_range(zgc_list_size(list_of(0)), 2, FEW);
    assert_int_equal(promoted, zgc_list_size(list_of(2)));
    assert_int_equal(promoted + zgc_list_size(list_of(0)), 302);
  }
}

/* New objects that weigh nothing pay for no visit of a heavy one. */
static void test_a_heavy_one_is_not_kept_for_nothing(void **state) {
  (void)state;
  keep_many();
  allocate_heavy(0, 1, 5000);
  allocate_heavy(1, 20, 0);
  zsurvivors_look_t look = zsurvivors_weigh(100000);
  assert_int_equal(look.members, 21);
  zsurvivors_lighten(100000, &look);
  collect();
  zsurvivors_settle(0, 0, look.weight, &promoted);
  assert_members(0, 0, 21); /* it has come with its own weight */
  allocate_heavy(21, 20, 0);
  look = zsurvivors_weigh(100000);
  zsurvivors_lighten(100000, &look);
  assert_int_equal(look.new_weight, 0);
  collect();
  zsurvivors_settle(look.aged, 0, look.weight, &promoted);
  assert_members(0, 1, 40);
  assert_members(2, 0, 1);
}

static void test_nothing_stays_young_for_ever(void **state) {
  (void)state;
  for (int is_on = 0; is_on < 2; is_on++) {
    for (int g = 0; g < ZGC_GENERATIONS; g++) empty(list_of(g));
    if (is_on) ztenuring_note_fruitful();
    allocate(0, 1);
    unsigned collections = 0;
    for (; zgc_list_size(list_of(2)) == 0; collections++) {
      collect();
      settle(0, 0);
      ztenuring_note_young(1, 0, 0, 100);
    }
    assert_in_range(collections, 2, 100);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_youngest_few_stay),
    cmocka_unit_test(test_counts_up_to_a_limit),
    cmocka_unit_test(test_many_stay_while_tenuring_is_on_and_the_oldest_go_first),
    cmocka_unit_test(test_aged_are_those_kept_and_garbage_is_what_is_missing_of_them),
    cmocka_unit_test(test_what_cpython_moves_to_the_end_is_no_garbage),
    cmocka_unit_test(test_no_aged_where_the_program_moved_the_marker_away),
    cmocka_unit_test(test_without_memory_for_the_marker_survivors_are_kept_uncounted),
    cmocka_unit_test(test_the_marker_goes_when_tenuring_ends),
    cmocka_unit_test(test_what_weighs_too_much_grows_old_without_a_look),
    cmocka_unit_test(test_what_is_left_weighs_no_more_than_allowed),
    cmocka_unit_test(test_heavy_ones_that_have_aged_are_not_taken_for_garbage),
    cmocka_unit_test(test_the_look_is_at_what_is_there_now),
    cmocka_unit_test(test_what_is_kept_weighs_no_more_than_allowed),
    cmocka_unit_test(test_a_heavy_one_is_not_kept_for_nothing),
    cmocka_unit_test(test_nothing_stays_young_for_ever),
};
ZTEST_MAIN(tests, start)
