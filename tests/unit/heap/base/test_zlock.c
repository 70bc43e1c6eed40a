#include "heap/base/zlock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/ztest.h"

static void test_only_a_later_lock_may_be_taken(void **state) {
  (void)state;
  for (int held = 0; held < ZLOCK_COUNT; held++) {
    for (int lock = 0; lock < ZLOCK_COUNT; lock++) {
      assert_int_equal(zlock_is_legal(1u << held, (zlock_t)lock), lock > held);
    }
  }
  assert_true(zlock_is_legal(0, (zlock_t)0));
  assert_false(zlock_is_legal(1u << 0 | 1u << 3, (zlock_t)2));
}

static void *count_taken(void *result) {
  for (int i = 0; i < ZLOCK_COUNT; i++) {
    if (!zlock_try((zlock_t)i)) continue;
    zlock_drop((zlock_t)i);
    ++*(int *)result;
  }
  return NULL;
}

static int locks_that_another_thread_can_take(void) {
  pthread_t thread;
  int count = 0;
  pthread_create(&thread, NULL, count_taken, &count);
  pthread_join(thread, NULL);
  return count;
}

static void test_fork_takes_every_lock(void **state) {
  (void)state;
  zlock_take_all();
  assert_int_equal(locks_that_another_thread_can_take(), 0);
  pid_t child = fork();
  zlock_drop_all();
  if (child == 0) _exit(locks_that_another_thread_can_take());
  int status;
  waitpid(child, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), ZLOCK_COUNT);
  assert_int_equal(locks_that_another_thread_can_take(), ZLOCK_COUNT);
}

typedef struct {
  pthread_cond_t changed;
  bool is_set;
} flag_t;

static void *set_flag(void *argument) {
  flag_t *flag = argument;
  zlock_take(ZLOCK_GRANULES);
  flag->is_set = true;
  pthread_cond_signal(&flag->changed);
  zlock_drop(ZLOCK_GRANULES);
  return NULL;
}

static void test_a_wait_drops_the_lock_and_takes_it_again(void **state) {
  (void)state;
  flag_t flag = {PTHREAD_COND_INITIALIZER, false};
  pthread_t thread;
  zlock_take(ZLOCK_GRANULES);
  pthread_create(&thread, NULL, set_flag, &flag);
  while (!flag.is_set) zlock_wait(ZLOCK_GRANULES, &flag.changed);
  assert_int_equal(locks_that_another_thread_can_take(), ZLOCK_COUNT - 1);
  zlock_drop(ZLOCK_GRANULES);
  pthread_join(thread, NULL);
}

#if ZGC_DEBUG >= 1
static void take_out_of_order(void) {
  zlock_take(ZLOCK_GRANULES);
  zlock_take(ZLOCK_COMMON_HEAP);
}
static void take_twice(void) {
  zlock_take(ZLOCK_GRANULES);
  zlock_take(ZLOCK_GRANULES);
}
static void drop_what_is_free(void) { zlock_drop(ZLOCK_GRANULES); }
static void wait_with_a_later_lock(void) {
  pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
  zlock_take(ZLOCK_GRANULES);
  zlock_take(ZLOCK_PROFILE);
  zlock_wait(ZLOCK_GRANULES, &changed);
}

static void test_a_wrong_use_aborts_and_names_the_lock(void **state) {
  (void)state;
  static void (*const wrong[])(void) = {take_out_of_order, take_twice, drop_what_is_free, wait_with_a_later_lock};
  for (size_t i = 0; i < ZARRAY_LENGTH(wrong); i++) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
      dup2(ends[1], 2);
      signal(SIGABRT, SIG_DFL);
      alarm(20);
      wrong[i]();
      _exit(0);
    }
    close(ends[1]);
    char text[400] = "";
    ssize_t length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(length > 0);
    assert_non_null(strstr(text, i == 0 ? "interpreters share" : "granules"));
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
  }
}
#else
static void test_a_wrong_use_aborts_and_names_the_lock(void **state) {
  (void)state;
  skip(); /* the builds of sanitize.* check it */
}
#endif

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_only_a_later_lock_may_be_taken),
    cmocka_unit_test(test_fork_takes_every_lock),
    cmocka_unit_test(test_a_wait_drops_the_lock_and_takes_it_again),
    cmocka_unit_test(test_a_wrong_use_aborts_and_names_the_lock),
};
ZTEST_MAIN(tests, NULL)
