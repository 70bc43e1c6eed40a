/* Managed pages, their side maps, and forwarding tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka needs those first */
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "collector/managed/zforwarding.h"
#include "heap/base/zos.h"
#include "heap/managed/zhandle_table.h"
#include "heap/managed/zpyref_table.h"

static zshape_t shape = {.id = 1, .kind = ZBODY_FIXED, .size = 32};

static int set_up(void **state) {
  (void)state;
  zshape_table[1] = &shape;
  return zbody_space_start(64 * ZM) && zforwarding_start() ? 0 : -1;
}
static int tear_down(void **state) {
  (void)state;
  zforwarding_stop();
  zbody_space_stop();
  return 0;
}

static void do_nothing(void) {}

static void test_page_reads_as_zeros_after_use(void **state) {
  (void)state;
  for (int round = 0; round < 3; round++) {
    zbody_page_t *page = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
    char *bytes = (char *)zbody_page_start(page);
    for (size_t i = 0; i < ZUNIT_SIZE; i += 61) assert_int_equal(bytes[i], 0);
    memset(bytes, 0x55, ZUNIT_SIZE);
    zbody_page_free(page);
    if (round == 1) assert_in_range(zbody_space_uncommit(0, do_nothing), ZUNIT_SIZE, ZUNIT_SIZE * 64);
  }
}

static void test_limit_leaves_a_reserve_to_relocation(void **state) {
  (void)state;
  size_t count = 0;
  while (zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false) != NULL) count++;
  assert_int_equal(count, zbody_space.capacity_units);
  size_t more = 0;
  while (zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_OLD, true) != NULL) more++;
  assert_int_equal(more, zbody_space.reserve_units);
}

static void test_runs_are_taken_at_the_lowest_place(void **state) {
  (void)state;
  zbody_page_t *first = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
  zbody_page_t *medium = zbody_page_alloc(ZBODY_PAGE_MEDIUM, ZBODY_PAGE_MEDIUM_UNITS, ZAGE_EDEN, false);
  zbody_page_t *last = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
  assert_ptr_equal(zbody_page_of(zaddress(zbody_page_start(medium) + ZUNIT_SIZE * 7 + 8)), medium);
  zbody_page_free(medium);
  zbody_page_t *again = zbody_page_alloc(ZBODY_PAGE_LARGE, ZBODY_PAGE_MEDIUM_UNITS, ZAGE_EDEN, false);
  assert_ptr_equal(again, medium);
  zbody_page_free(again);
  zbody_page_t *larger = zbody_page_alloc(ZBODY_PAGE_LARGE, ZBODY_PAGE_MEDIUM_UNITS + 1, ZAGE_EDEN, false);
  assert_true(larger > last);
  assert_true(first < last);
}

static void test_failing_commit_is_no_page(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 1);
  assert_null(zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false));
  assert_int_equal(zbody_space.used_units, 0);
  assert_non_null(zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false));
  zos_fault_set(ZOS_FAULT_COMMIT, 0, 0);
}

static void test_live_map_walks_what_was_marked(void **state) {
  (void)state;
  zbody_page_t *page = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
  size_t total = ZUNIT_SIZE / 32;
  for (size_t i = 0; i < total; i++) zbody_header(zbody_page_bump(page, 32))->shape = 1;
  assert_true(zaddress_is_null(zbody_page_bump(page, 32)));
  uintptr_t start = zbody_page_start(page);
  size_t marked[] = {0, 1, 2, 63, 64, 65, total - 1};
  for (size_t i = 0; i < ZARRAY_LENGTH(marked); i++) {
    assert_true(zbody_mark(zaddress(start + marked[i] * 32), page, 32));
    assert_false(zbody_mark(zaddress(start + marked[i] * 32), page, 32));
  }
  assert_int_equal(page->live_count, ZARRAY_LENGTH(marked));
  zaddress_t body = zbody_page_next_live(page, start);
  for (size_t i = 0; i < ZARRAY_LENGTH(marked); i++) {
    assert_int_equal(body.value, start + marked[i] * 32);
    body = zbody_page_next_live(page, body.value + 32);
  }
  assert_true(zaddress_is_null(body));
  zbody_page_clear_live(page);
  assert_true(zaddress_is_null(zbody_page_next_live(page, start)));
}

static void collect_slot(uint64_t *slot, void *context) { ((uint64_t **)context)[0]++, *slot = 99; }

static void test_remembered_map_visits_each_slot_once(void **state) {
  (void)state;
  zbody_page_t *page = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_OLD, false);
  uint64_t *words = (uint64_t *)zbody_page_bump(page, 4096).value;
  size_t slots[] = {0, 1, 63, 64, 511};
  for (int twice = 0; twice < 2; twice++) {
    for (size_t i = 0; i < ZARRAY_LENGTH(slots); i++) zbody_remember(&words[slots[i]], page);
  }
  uint64_t *count = NULL;
  zbody_page_visit_remembered(page, zbody_space.current, collect_slot, &count);
  assert_int_equal((uintptr_t)count / sizeof(uint64_t), ZARRAY_LENGTH(slots));
  for (size_t i = 0; i < ZARRAY_LENGTH(slots); i++) assert_int_equal(words[slots[i]], 99);
  zbody_page_clear_remembered(page, zbody_space.current);
  assert_false(zbody_bit_test(zbody_space.remembered[zbody_space.current], (uintptr_t)&words[511]));
}

/* ---- forwarding ---------------------------------------------------------------------------------- */

static uint64_t entries[8192];

static zforwarding_t forwarding_for(zbody_page_t *page, size_t live) {
  memset(entries, 0, sizeof entries);
  return (zforwarding_t){.page = page, .start = zbody_page_start(page), .entries = entries,
                         .mask = (uint32_t)zforwarding_length(live) - 1, .units = page->units};
}

static void test_forwarding_finds_what_was_inserted(void **state) {
  (void)state;
  zbody_page_t *from = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
  zbody_page_t *to = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_SURVIVOR_LAST, true);
  size_t counts[] = {1, 2, 3, 4, 7, 8, 1023, 1024, 1025};
  for (size_t k = 0; k < ZARRAY_LENGTH(counts); k++) {
    zforwarding_t forwarding = forwarding_for(from, counts[k]);
    size_t step = ZUNIT_SIZE / 8 / counts[k];
    for (size_t i = 0; i < counts[k]; i++) {
      zaddress_t place = zaddress(zbody_page_start(to) + i * 8);
      assert_true(zaddress_is_null(zforwarding_find(&forwarding, i * step)));
      assert_int_equal(zforwarding_insert(&forwarding, i * step, place).value, place.value);
      /* A second mover learns where the first one put it. */
      assert_int_equal(zforwarding_insert(&forwarding, i * step, zaddress(place.value + 8)).value,
                       place.value);
    }
    for (size_t i = 0; i < counts[k]; i++) {
      assert_int_equal(zforwarding_find(&forwarding, i * step).value, zbody_page_start(to) + i * 8);
    }
  }
}

static zforwarding_t shared;
static uintptr_t winners[4][1024];

static void *race(void *argument) {
  uintptr_t own = (uintptr_t)argument;
  for (size_t i = 0; i < 1024; i++) {
    zaddress_t mine = zaddress(zbody_space.base + (own * 1024 + i) * 8);
    winners[own][i] = zforwarding_insert(&shared, i, mine).value;
  }
  return NULL;
}

static void test_forwarding_has_one_winner(void **state) {
  (void)state;
  shared = forwarding_for(zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false), 1024);
  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, race, (void *)i);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < 1024; i++) {
    for (int t = 1; t < 4; t++) assert_int_equal(winners[t][i], winners[0][i]);
  }
}

static void test_forwarding_states(void **state) {
  (void)state;
  assert_true(zforwarding_is_legal(ZFORWARDING_WAITING, ZFORWARDING_IN_PLACE));
  assert_true(zforwarding_is_legal(ZFORWARDING_WAITING, ZFORWARDING_DONE));
  assert_true(zforwarding_is_legal(ZFORWARDING_IN_PLACE, ZFORWARDING_DONE));
  assert_false(zforwarding_is_legal(ZFORWARDING_DONE, ZFORWARDING_WAITING));
  assert_false(zforwarding_is_legal(ZFORWARDING_DONE, ZFORWARDING_IN_PLACE));
  assert_false(zforwarding_is_legal(ZFORWARDING_IN_PLACE, ZFORWARDING_WAITING));
}

/* ---- tables -------------------------------------------------------------------------------------- */

static void test_handle_ids_are_reused(void **state) {
  (void)state;
  assert_true(zhandle_table_start());
  uint32_t ids[70000];
  for (unsigned i = 0; i < ZARRAY_LENGTH(ids); i++) {
    ids[i] = zhandle_table_alloc();
    assert_int_equal(ids[i], i + 1);
    zhandle_table.entries[ids[i]].word = 16;
    zhandle_table.entries[ids[i]].object = (uintptr_t)&ids[i] & ~(uintptr_t)7;
  }
  zhandle_table_free(&zhandle_table.entries[500]);
  zhandle_table_free(&zhandle_table.entries[7]);
  assert_int_equal(zhandle_table.entries[7].word, 0);
  assert_int_equal(zhandle_table_alloc(), 7);
  assert_int_equal(zhandle_table_alloc(), 500);
  assert_int_equal(zhandle_table.live, 70000);
  zos_fault_set(ZOS_FAULT_COMMIT, 1, UINT64_MAX);
  uint32_t id;
  do {
    id = zhandle_table_alloc();
  } while (id != 0);
  zos_fault_set(ZOS_FAULT_COMMIT, 0, 0);
  assert_int_not_equal(zhandle_table_alloc(), 0);
  zhandle_table_stop();
}

static void test_references_are_owned_once(void **state) {
  (void)state;
  static int objects[3];
  assert_true(zpyref_table_start());
  uint32_t a = zpyref_alloc(&objects[0], false), b = zpyref_alloc(&objects[1], true);
  assert_int_not_equal(a, b);
  assert_int_equal(zpyref_table.entries[b].old, 1);
  assert_ptr_equal(zpyref_free(a), &objects[0]);
  assert_true(zpyref_is_free(&zpyref_table.entries[a]));
  assert_int_equal(zpyref_alloc(&objects[2], false), a);
  assert_false(zpyref_is_free(&zpyref_table.entries[a]));
  zpyref_table_stop();
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_page_reads_as_zeros_after_use),
      TEST(test_limit_leaves_a_reserve_to_relocation),
      TEST(test_runs_are_taken_at_the_lowest_place),
      TEST(test_failing_commit_is_no_page),
      TEST(test_live_map_walks_what_was_marked),
      TEST(test_remembered_map_visits_each_slot_once),
      TEST(test_forwarding_finds_what_was_inserted),
      TEST(test_forwarding_has_one_winner),
      TEST(test_forwarding_states),
      TEST(test_handle_ids_are_reused),
      TEST(test_references_are_owned_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
