/* The driver with its thread, over passes that follow a script: no objects and no interpreter. */
#include "collector/cpython/zdriver.h"

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zconcurrent.h"
#include "collector/python/ztype_learning.h"
#include "heap/base/zatomic.h"
#include "heap/base/zos.h"
#include "tests/support/ztest.h"

/* -- passes by script ------------------------------------------------------------------------------------ */

static size_t outcomes[20]; /* candidates that pass k leaves */
static unsigned passes;     /* made in this collection; written by the thread, read once it has handed over */
static bool is_short;       /* of memory */
static bool is_held;        /* atomic: the first step goes on until it is told to stop */
static bool is_in_step;     /* atomic */
static size_t queued;       /* objects that the first pass defers */
static unsigned counts;     /* zpass_count */
static unsigned ended;      /* atomic; zpass_end with tables */

bool zpass_begin(zpass_t *pass, const bool *stop, bool exact) {
  *pass = (zpass_t){.stop = stop, .exact = exact, .cells.count = 1};
  passes = 0;
  return !is_short;
}
bool zpass_count(zpass_t *pass) {
  (void)pass;
  counts++;
  return true;
}
bool zpass_subtract(zpass_t *pass) {
  zstore_release(&is_in_step, true);
  while (zload_acquire(&is_held) && !zload_relaxed(pass->stop)) zos_sleep_ns(100000);
  bool is_told_to_stop = zload_relaxed(pass->stop);
  if (passes == 0) pass->deferred.queue.count = queued;
  zstore_release(&is_in_step, false);
  return !is_told_to_stop;
}
bool zpass_mark(zpass_t *pass) { return !zload_relaxed(pass->stop); }
bool zpass_sweep(zpass_t *pass) {
  pass->deferred.queue.count = 0;
  pass->candidate_count = outcomes[passes++];
  return true;
}
void zpass_trim(zpass_t *pass) { (void)pass; }
void zpass_end(zpass_t *pass) {
  if (pass->cells.count != 0) zfetch_add_relaxed(&ended, 1);
  pass->cells.count = 0;
}
zpass_help_t zpass_help(zpass_t *pass, uint64_t deadline) {
  (void)pass;
  (void)deadline;
  return ZPASS_HELP_NONE;
}
unsigned zpass_progress(const zpass_t *pass) {
  (void)pass;
  return 500;
}
bool zcomponents_make(zcomponents_t *components, zpass_t *pass) {
  components->object_count = pass->candidate_count;
  return true;
}
void zcomponents_free(zcomponents_t *components) { *components = (zcomponents_t){0}; }
void ztype_adapt_audits(void) {}

static unsigned requests; /* atomic */
void zrequest_safepoint(void);
void zrequest_safepoint(void) { zfetch_add_relaxed(&requests, 1); }

/* -- helpers ----------------------------------------------------------------------------------------------- */

static void await_phase(zphase_t phase) {
  for (int i = 0; i < 20000 && zdriver_phase() != phase; i++) zos_sleep_ns(1000000);
  assert_int_equal(zdriver_phase(), phase);
}

static void script(size_t first, size_t second, size_t third) {
  outcomes[0] = first;
  outcomes[1] = second;
  outcomes[2] = third;
  queued = 0;
}

/* What safepoints do with the garbage: so much of it is reclaimed. */
static void reclaim(uint64_t reclaimed) {
  await_phase(ZPHASE_RECLAIMING);
  zdriver_collection.fed = zdriver_garbage()->object_count;
  zdriver_collection.reclaimed = reclaimed;
  zdriver_finish();
  assert_int_equal(zdriver_phase(), ZPHASE_IDLE);
}

static void forget_trust(void) {
  script(100, 50, 50);
  assert_true(zdriver_request(ZCAUSE_EXPLICIT, false));
  reclaim(50);
}

/* -- tests ------------------------------------------------------------------------------------------------- */

static void test_a_collection_without_garbage_ends_at_a_safepoint(void **state) {
  (void)state;
  script(0, 0, 0);
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  assert_false(zdriver_request(ZCAUSE_GROWTH, false)); /* one at a time */
  await_phase(ZPHASE_RECLAIMING);
  assert_int_equal(passes, 1);
  assert_int_equal(zdriver_garbage()->object_count, 0);
  zdriver_finish();
  assert_int_equal(zdriver_phase(), ZPHASE_IDLE);
  assert_int_equal(zdriver_collection.cause, ZCAUSE_GROWTH);
}

static void test_passes_end_when_the_set_is_stable(void **state) {
  (void)state;
  forget_trust();
  script(1000, 500, 499);
  assert_true(zdriver_request(ZCAUSE_GROWTH, true));
  await_phase(ZPHASE_RECLAIMING);
  assert_int_equal(passes, 3);
  assert_int_equal(zdriver_garbage()->object_count, 499);
  assert_int_equal(zdriver_collection.found, 499);
  assert_int_equal(counts, 1);
  zdriver_leave(9); /* for the next collection */
  zdriver_garbage();
  assert_int_equal(zdriver_collection.found, 490);
  reclaim(490);
}

static void test_a_first_pass_that_was_right_twice_is_trusted(void **state) {
  (void)state;
  forget_trust();
  for (int i = 0; i < 4; i++) {
    script(1000, 1000, 1000);
    assert_true(zdriver_request(ZCAUSE_GROWTH, false));
    await_phase(ZPHASE_RECLAIMING);
    assert_int_equal(passes, i < 2 ? 2 : 1);
    reclaim(i < 3 ? 1000 : 900); /* the last one finds that some of it was alive */
  }
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  await_phase(ZPHASE_RECLAIMING);
  assert_int_equal(passes, 2);
  reclaim(1000);
}

static void test_deferred_objects_are_waited_for(void **state) {
  (void)state;
  forget_trust();
  script(10, 10, 10);
  queued = 5;
  unsigned before = zload_relaxed(&requests);
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  await_phase(ZPHASE_DEFERRING);
  while (zload_relaxed(&requests) == before) zos_sleep_ns(1000000); /* no safepoint comes: one is asked for */
  assert_int_equal(zdriver_deferred()->queue.count, 5);
  zdriver_deferred()->served = 5;
  zdriver_deferred_done(false);
  reclaim(10);
}

static void test_a_shortage_gives_the_collection_up(void **state) {
  (void)state;
  is_short = true;
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  await_phase(ZPHASE_IDLE);
  is_short = false;
  for (int i = 0; i < 20000 && !zconcurrent_take_fault(); i++) zos_sleep_ns(1000000);
  assert_false(zconcurrent_take_fault()); /* told once */
  script(10, 10, 10);
  queued = 5;
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  await_phase(ZPHASE_DEFERRING);
  zdriver_deferred_done(true);
  await_phase(ZPHASE_IDLE);
  queued = 0;
}

static void abandon_and_collect_again(zphase_t phase) {
  unsigned abandoned = zdriver_abandoned;
  zdriver_abandon("a test");
  assert_int_equal(zdriver_phase(), ZPHASE_IDLE);
  assert_int_equal(zdriver_abandoned, abandoned + (phase != ZPHASE_IDLE));
  assert_int_equal(zdriver_garbage()->object_count, 0);
  zstore_release(&is_held, false);
  while (zload_acquire(&is_in_step)) zos_sleep_ns(100000); /* the script is the thread's until then */
  script(7, 7, 7);
  assert_true(zdriver_request(ZCAUSE_EXPLICIT, false));
  reclaim(7);
  assert_int_equal(zdriver_abandoned, 0);
}

static void test_giving_up_in_each_phase(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    script(10, 10, 10);
    abandon_and_collect_again(ZPHASE_IDLE);
    zstore_release(&is_held, true);
    assert_true(zdriver_request(ZCAUSE_GROWTH, false));
    while (!zload_acquire(&is_in_step)) zos_sleep_ns(100000);
    assert_int_equal(zdriver_phase(), ZPHASE_CONCURRENT);
    abandon_and_collect_again(ZPHASE_CONCURRENT);
    script(10, 10, 10);
    queued = 5;
    assert_true(zdriver_request(ZCAUSE_GROWTH, false));
    await_phase(ZPHASE_DEFERRING);
    abandon_and_collect_again(ZPHASE_DEFERRING);
    script(10, 10, 10);
    assert_true(zdriver_request(ZCAUSE_GROWTH, false));
    await_phase(ZPHASE_RECLAIMING);
    abandon_and_collect_again(ZPHASE_RECLAIMING);
  }
}

static void test_a_stopped_collection_has_the_record(void **state) {
  (void)state;
  zdriver_begin_stopped(ZCAUSE_SYSTEM_GC);
  uint64_t sequence = zdriver_collection.sequence;
  assert_false(zdriver_request(ZCAUSE_GROWTH, false));
  zpass_t *pass = zdriver_begin_pass(true);
  assert_non_null(pass);
  assert_true(pass->exact);
  zdriver_end_pass(pass);
  zdriver_end_stopped();
  script(0, 0, 0);
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  assert_int_equal(zdriver_collection.sequence, sequence + 1);
  reclaim(0);
}

/* The thread sanitizer has a thread of its own: then ours is not alone, and stays. */
static void need_no_other_thread(void) {
  if (zos_threads() - zos_own_threads() != 1) skip();
}

static void test_the_thread_ends_before_a_fork(void **state) {
  (void)state;
  need_no_other_thread();
  assert_true(zcollector_thread_ensure());
  while (!zcollector_thread_runs()) zos_sleep_ns(100000);
  zdriver_fork_prepare();
  assert_int_equal(zos_own_threads(), 0);
  assert_true(zcollector_thread_is_resting());
  assert_false(zcollector_thread_ensure());
  script(3, 3, 3);
  assert_true(zdriver_request(ZCAUSE_EXPLICIT, false)); /* it is asked for */
  reclaim(3);
  assert_int_equal(zos_own_threads(), 1);
}

static void test_a_fork_gives_up_what_the_thread_is_at(void **state) {
  (void)state;
  need_no_other_thread();
  zstore_release(&is_held, true);
  assert_true(zdriver_request(ZCAUSE_GROWTH, false));
  while (!zload_acquire(&is_in_step)) zos_sleep_ns(100000);
  zdriver_fork_prepare();
  zstore_release(&is_held, false);
  assert_int_equal(zdriver_phase(), ZPHASE_IDLE);
  assert_int_equal(zos_own_threads(), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_collection_without_garbage_ends_at_a_safepoint),
    cmocka_unit_test(test_passes_end_when_the_set_is_stable),
    cmocka_unit_test(test_a_first_pass_that_was_right_twice_is_trusted),
    cmocka_unit_test(test_deferred_objects_are_waited_for),
    cmocka_unit_test(test_a_shortage_gives_the_collection_up),
    cmocka_unit_test(test_giving_up_in_each_phase),
    cmocka_unit_test(test_a_stopped_collection_has_the_record),
    cmocka_unit_test(test_the_thread_ends_before_a_fork),
    cmocka_unit_test(test_a_fork_gives_up_what_the_thread_is_at),
};
ZTEST_MAIN(tests, NULL)
