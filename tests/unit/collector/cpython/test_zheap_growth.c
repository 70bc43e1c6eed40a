/* A heap made up of numbers: how often it would be collected for its bytes. */
#include "collector/cpython/zheap_growth.h"

#include "tests/support/ztest.h"

#define STEP_NS 100000 /* CPU time of the program between two decisions */
#define PRICE_NS 20000000

static uint64_t program_ns;
static uint64_t read_program_ns(void) { return program_ns; }

static zgrowth_record_t now;
static unsigned collections;
static uint64_t most; /* bytes */

static int start(void **state) {
  (void)state;
  zgrowth_reset();
  zheap_growth_reset();
  program_ns = 0;
  now = (zgrowth_record_t){.program_ns = read_program_ns, .bytes = 400 * ZM, .old = 2000000, .promoted = 2000000};
  collections = 0;
  most = 0;
  return 0;
}

static void collect(uint64_t bytes_freed) {
  zgrowth_note_start(&now);
  zheap_growth_note_start(&now);
  now.price_ns += PRICE_NS;
  now.time_ns += PRICE_NS;
  now.bytes -= bytes_freed;
  zgrowth_note_end(&now, 0, 0);
  zheap_growth_note_end(&now);
  collections++;
}

/* So many objects grow old and bring so many bytes. */
static void run(unsigned objects, uint64_t bytes) {
  now.promoted += objects;
  now.bytes += bytes;
  now.time_ns += STEP_NS;
  program_ns += STEP_NS;
  most = zmax(most, now.bytes);
}

static void test_garbage_of_few_objects_stays_a_share_of_the_heap(void **state) {
  (void)state;
  collect(0);
  collect(0);
  collections = 0;
  uint64_t garbage = 0;
  for (int i = 0; i < 20000; i++) {
    run(10, 100000);
    garbage += 100000;
    if (!zheap_growth_is_due(&now)) continue;
    collect(garbage);
    garbage = 0;
    if (collections == 1) most = 0; /* it was not known that there is any */
  }
  assert_true(collections > 5);
  assert_true(most < 500 * ZM + ZM);
}

/* A heap that is loaded: each collection in vain makes the next one wait. */
static void test_live_bytes_bring_few_collections(void **state) {
  (void)state;
  collect(0);
  collections = 0;
  for (int i = 0; i < 40000; i++) {
    run(10, 100000); /* 4 GB in all */
    if (zheap_growth_is_due(&now)) collect(0);
  }
  assert_in_range(collections, 1, 6);
}

static void test_bytes_without_objects_bring_none(void **state) {
  (void)state;
  collect(0);
  for (int i = 0; i < 999; i++) {
    run(1, ZM);
    assert_false(zheap_growth_is_due(&now));
  }
}

static void test_a_small_heap_is_left_alone(void **state) {
  (void)state;
  now.bytes = ZM;
  collect(0);
  for (int i = 0; i < 300; i++) {
    run(100, 100000);
    assert_false(zheap_growth_is_due(&now));
  }
}

/* A large buffer that comes and goes, with objects that live. */
static void test_a_buffer_that_comes_and_goes_brings_few_collections(void **state) {
  (void)state;
  collect(0);
  collections = 0;
  for (int i = 0; i < 1000; i++) {
    run(2000, 150 * ZM);
    if (zheap_growth_is_due(&now)) collect(0);
    run(0, 0);
    now.bytes -= 150 * ZM;
    if (zheap_growth_is_due(&now)) collect(0);
  }
  assert_in_range(collections, 0, 2);
}

static void test_collections_leave_most_of_the_time_to_the_program(void **state) {
  (void)state;
  collect(0);
  now.bytes += 200 * ZM;
  collect(200 * ZM);
  collections = 0;
  uint64_t before = program_ns;
  for (int i = 0; i < 10000; i++) {
    run(1000, 10 * ZM);
    if (zheap_growth_is_due(&now)) collect(now.bytes - 400 * ZM);
  }
  assert_true(collections > 10);
  assert_true(collections * (uint64_t)PRICE_NS <= program_ns - before);
}

static void test_behind_when_bytes_come_faster_than_the_collection_goes_on(void **state) {
  (void)state;
  collect(0);
  now.bytes += 200 * ZM;
  collect(200 * ZM);
  run(1000, 50 * ZM);
  zgrowth_note_start(&now);
  zheap_growth_note_start(&now);
  assert_int_equal(zheap_growth_behind(&now, 0), 0);
  now.bytes += 40 * ZM;
  assert_int_equal(zheap_growth_behind(&now, 0), 1);
  assert_int_equal(zheap_growth_behind(&now, 900), 0);
  now.bytes += 400 * ZM;
  assert_true(zheap_growth_behind(&now, 1000) > 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_garbage_of_few_objects_stays_a_share_of_the_heap, start),
    cmocka_unit_test_setup(test_live_bytes_bring_few_collections, start),
    cmocka_unit_test_setup(test_bytes_without_objects_bring_none, start),
    cmocka_unit_test_setup(test_a_small_heap_is_left_alone, start),
    cmocka_unit_test_setup(test_a_buffer_that_comes_and_goes_brings_few_collections, start),
    cmocka_unit_test_setup(test_collections_leave_most_of_the_time_to_the_program, start),
    cmocka_unit_test_setup(test_behind_when_bytes_come_faster_than_the_collection_goes_on, start),
};
ZTEST_MAIN(tests, NULL)
