/* The table of plans: that its rows agree with each other, and with what the collector promises the program. */
#include "collector/cpython/zplan_table.h"

#include "tests/support/ztest.h"

/* The table names these; here it is not opened. */
static bool is_on, is_garbage_waiting;
bool zmode_is_on(void);
bool zmode_is_on(void) { return is_on; }
bool zreclaim_is_due(void);
bool zreclaim_is_due(void) { return is_on && is_garbage_waiting; }

#define STUB_OPEN(name) \
  void name(void);      \
  void name(void) {}
#define STUB_CLOSE(name)      \
  void name(PyObject * info); \
  void name(PyObject *info) { (void)info; }
STUB_OPEN(zyoung_open)
STUB_OPEN(zyoung_open_take_over)
STUB_OPEN(zreclaim_open)
STUB_OPEN(zreclaim_open_last)
STUB_OPEN(zfull_open)
STUB_OPEN(zfull_open_whole)
STUB_OPEN(zfull_open_small)
STUB_OPEN(zforward_open_silent)
STUB_CLOSE(zyoung_close)
STUB_CLOSE(zyoung_close_take_over)
STUB_CLOSE(zreclaim_close)
STUB_CLOSE(zfull_close)
STUB_CLOSE(zfull_close_whole)
STUB_CLOSE(zfull_close_small)
STUB_CLOSE(zforward_close)
STUB_CLOSE(zforward_close_silent)

#define PLAN(id) (&zplan_table[ZPLAN_##id])

static void test_every_row_is_complete(void **state) {
  (void)state;
  for (int i = 0; i < ZPLAN_COUNT; i++) {
    const zplan_t *plan = &zplan_table[i];
    assert_non_null(plan->name);
    assert_non_null(plan->close);
    assert_in_range(plan->pause + 1, 0, ZPAUSE_KINDS);
    assert_in_range(plan->generation + 1, 0, ZGC_GENERATIONS);
    assert_int_equal(plan->is_due == NULL, plan->otherwise == NULL);
    for (int k = 0; k < i; k++) assert_string_not_equal(plan->name, zplan_table[k].name);
  }
}

static void test_a_turn_is_a_pause_of_its_own_kind(void **state) {
  (void)state;
  for (int i = 0; i < ZPLAN_COUNT; i++) {
    const zplan_t *plan = &zplan_table[i];
    bool is_short = plan->pause == ZPAUSE_YOUNG || plan->pause == ZPAUSE_RECLAIM;
    assert_int_equal(plan->is_turn, is_short);
  }
}

/* A full collection is told once, as one of the oldest generation. */
static void test_what_the_program_is_told(void **state) {
  (void)state;
  for (int i = 0; i < ZPLAN_COUNT; i++) {
    const zplan_t *plan = &zplan_table[i];
    bool ends_full = plan->pause == ZPAUSE_FULL || plan == PLAN(LAST_BATCH);
    assert_int_equal(plan->generation == ZGC_GENERATIONS - 1, ends_full);
    assert_int_equal(plan->is_silent, plan == PLAN(SILENT));
  }
  assert_int_equal(PLAN(BATCH)->generation, 1);
}

/* Whatever callbacks of the program do, a plan is settled within three steps, and one of a stopped world is kept. */
static void test_what_replaces_a_plan(void **state) {
  (void)state;
  static const zplan_id_t settled[ZPLAN_COUNT][3] = {
      /* off,                             on,              on and garbage waiting */
      [ZPLAN_FORWARD] = {ZPLAN_FORWARD, ZPLAN_FORWARD, ZPLAN_FORWARD},
      [ZPLAN_YOUNG] = {ZPLAN_FORWARD, ZPLAN_YOUNG, ZPLAN_YOUNG},
      [ZPLAN_TAKE_OVER] = {ZPLAN_FORWARD, ZPLAN_TAKE_OVER, ZPLAN_TAKE_OVER},
      [ZPLAN_BATCH] = {ZPLAN_FORWARD, ZPLAN_YOUNG, ZPLAN_BATCH},
      [ZPLAN_LAST_BATCH] = {ZPLAN_FORWARD, ZPLAN_YOUNG, ZPLAN_LAST_BATCH},
      [ZPLAN_FULL] = {ZPLAN_FULL, ZPLAN_FULL, ZPLAN_FULL},
      [ZPLAN_WHOLE] = {ZPLAN_WHOLE, ZPLAN_WHOLE, ZPLAN_WHOLE},
      [ZPLAN_SMALL] = {ZPLAN_SMALL, ZPLAN_SMALL, ZPLAN_SMALL},
      [ZPLAN_SILENT] = {ZPLAN_SILENT, ZPLAN_SILENT, ZPLAN_SILENT},
  };
  for (int i = 0; i < ZPLAN_COUNT; i++) {
    for (int k = 0; k < 3; k++) {
      is_on = k > 0;
      is_garbage_waiting = k != 1;
      assert_ptr_equal(zplan_settled(&zplan_table[i]), &zplan_table[settled[i][k]]);
    }
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_row_is_complete),
    cmocka_unit_test(test_a_turn_is_a_pause_of_its_own_kind),
    cmocka_unit_test(test_what_the_program_is_told),
    cmocka_unit_test(test_what_replaces_a_plan),
};
ZTEST_MAIN(tests, NULL)
