#define _GNU_SOURCE
#include "heap/base/zos.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/base/zatomic.h"
#include "tests/support/ztest.h"

static const zos_fault_t all[] = {
#define X(id, name) ZOS_FAULT_##id,
    ZOS_FAULT_TABLE(X)
#undef X
};

/* Which of the next eight calls fail, as text: "..x....." */
static const char *hits(zos_fault_t fault) {
  static char text[9];
  for (int i = 0; i < 8; i++) text[i] = zos_fault_hit(fault) ? 'x' : '.';
  return text;
}

static void test_ranges(void **state) {
  (void)state;
  static const struct {
    const char *text, *hits;
  } cases[] = {
      {"commit=1", "x......."},   {"commit=3", "..x....."},   {"commit=1+", "xxxxxxxx"},
      {"commit=3+", "..xxxxxx"},  {"commit=2-4", ".xxx...."}, {"commit=2-2", ".x......"},
      {"commit=4-2", "........"}, {"commit=9", "........"},
  };
  for (size_t i = 0; i < ZARRAY_LENGTH(cases); i++) {
    assert_true(zos_fault_parse(cases[i].text));
    assert_string_equal(hits(ZOS_FAULT_COMMIT), cases[i].hits);
  }
}

static void test_every_name_and_several_at_once(void **state) {
  (void)state;
#define X(id, name)                              \
  assert_true(zos_fault_parse(name "=2"));       \
  assert_string_equal(hits(ZOS_FAULT_##id), ".x......");
  ZOS_FAULT_TABLE(X)
#undef X
  assert_true(zos_fault_parse("commit=3,thread=1+,table=2-4"));
  assert_string_equal(hits(ZOS_FAULT_COMMIT), "..x.....");
  assert_string_equal(hits(ZOS_FAULT_THREAD), "xxxxxxxx");
  assert_string_equal(hits(ZOS_FAULT_TABLE), ".xxx....");
}

static void test_what_is_not_understood_sets_nothing(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",        "commit",     "commit=",   "commit=0",  "commit=-1",  "commit=+1", "commit= 1",
      "commit=x", "commit=1x", "commit=1-", "commit=1-x", "commit=1++", "=1",        "Commit=1",
      "commi=1", "commits=1",  "commit=1 ", "commit=1;thread=1", "commit=1,nothing=1",
      "commit=1,thread", ",commit=1", "commit=99999999999999999999",
  };
  for (size_t i = 0; i < ZARRAY_LENGTH(bad); i++) {
    if (zos_fault_parse(bad[i])) fail_msg("\"%s\" was understood", bad[i]);
    for (size_t f = 0; f < ZARRAY_LENGTH(all); f++) assert_string_equal(hits(all[f]), "........");
  }
}

static void test_faults_make_their_calls_fail(void **state) {
  (void)state;
  char *range = zos_reserve(4 * ZM, 2 * ZM);
  assert_non_null(range);
  assert_int_equal((uintptr_t)range % (2 * ZM), 0);
  for (size_t f = 0; f < ZARRAY_LENGTH(all); f++) zos_fault_set(all[f], 1, 1);
  assert_null(zos_reserve(ZM, ZM));
  assert_int_equal(zos_commit(range, ZM), -ENOMEM);
  assert_int_equal(zos_commit(range, 2 * ZM), 0);
  memset(range, 1, ZM);
  assert_true(zos_uncommit(range, ZM) < 0);
  assert_true(zos_move_pages(range, range + ZM, ZM) < 0);
  assert_true(ztest_all(range, 1, ZM));
  assert_int_equal(zos_move_pages(range, range + ZM, ZM), 0);
  assert_true(ztest_all(range + ZM, 1, ZM));
  assert_true(ztest_all(range, 0, ZM));
  assert_int_equal(zos_uncommit(range + ZM, ZM), 0);
  assert_true(ztest_all(range + ZM, 0, ZM));
  assert_null(zos_table_map(4096));
  assert_non_null(zos_table_map(4096));
  assert_true(zos_thread_start(NULL, NULL, "x") < 0);
  assert_int_equal(zos_at_fork(NULL, NULL, NULL), -ENOMEM);
}

/* What was moved and then extended is two mappings. The new place is there afterwards, moved or not. */
static void test_pages_of_two_mappings(void **state) {
  (void)state;
  char *range = zos_reserve(8 * ZM, 2 * ZM);
  assert_int_equal(zos_commit(range, 8 * ZM), 0);
  memset(range, 1, ZM);
  memset(range + 3 * ZM, 2, ZM);
  assert_int_equal(zos_move_pages(range, range + 2 * ZM, ZM), 0);
  if (zos_move_pages(range + 2 * ZM, range + 5 * ZM, 2 * ZM) == 0) {
    assert_int_equal(range[5 * ZM], 1);
  } else {
    assert_int_equal(range[2 * ZM], 1);
  }
  memset(range + 5 * ZM, 3, 2 * ZM);
}

static void test_calls_and_faults_are_counted(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_TABLE, 2, 3);
  for (int i = 0; i < 5; i++) zos_table_unmap(zos_table_map(4096), 4096);
  assert_int_equal(zos_fault_calls(ZOS_FAULT_TABLE), 5);
  assert_int_equal(zos_fault_injected(ZOS_FAULT_TABLE), 2);
  assert_string_equal(zos_fault_name(ZOS_FAULT_TABLE), "table");
  zos_fault_set(ZOS_FAULT_TABLE, 1000, 1000);
  assert_int_equal(zos_fault_calls(ZOS_FAULT_TABLE), 0);
  assert_int_equal(zos_fault_injected(ZOS_FAULT_TABLE), 0);
}

static void test_scratch_is_not_inherited(void **state) {
  (void)state;
  char *scratch = zos_scratch_map(4096), *table = zos_table_map(4096);
  scratch[0] = table[0] = 1;
  pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL); /* cmocka's handler would report a failure */
    if (table[0] != 1) _exit(2);
    _exit(scratch[0] == 1);
  }
  int status;
  waitpid(child, &status, 0);
#ifdef __SANITIZE_ADDRESS__
  assert_true(status != 0 && status != 0x200);
#else
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
}

/* With CONSTANT failing, the old value stays. */
static void test_constants_are_written_and_stay_constant(void **state) {
  (void)state;
  static const int first = 1, second = 2, third = 3;
  int *page = mmap(NULL, 2 * zos_page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *across = (char *)page + zos_page_size() - sizeof first / 2;
  assert_int_equal(zos_write_constant(page, &first, sizeof first), 0);
  assert_int_equal(zos_write_constant(across, &second, sizeof second), 0);
  zos_fault_set(ZOS_FAULT_CONSTANT, 1, 1);
  assert_int_equal(zos_write_constant(page, &third, sizeof third), -EACCES);
  assert_int_equal(*page, 1);
  assert_memory_equal(across, &second, sizeof second);
  int fd = open("/dev/zero", O_RDONLY);
  for (int i = 0; i < 2; i++) { /* the kernel may not write there either */
    assert_int_equal(read(fd, (char *)page + i * zos_page_size(), 1), -1);
    assert_int_equal(errno, EFAULT);
  }
  close(fd);
  munmap(page, 2 * zos_page_size());
}

static sigset_t blocked;
static char thread_name[16];
static int done;

static void look_around(void *argument) {
  pthread_sigmask(SIG_BLOCK, NULL, &blocked);
  pthread_getname_np(pthread_self(), thread_name, sizeof thread_name);
  zstore_release((int *)argument, 1);
}

static void test_thread_takes_no_signals_and_has_a_name(void **state) {
  (void)state;
  sigset_t mine;
  assert_int_equal(zos_thread_start(look_around, &done, "a name that is far too long"), 0);
  while (!zload_acquire(&done)) zos_sleep_ns(100000);
  assert_true(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM) &&
              sigismember(&blocked, SIGPROF));
  pthread_sigmask(SIG_BLOCK, NULL, &mine);
  assert_false(sigismember(&mine, SIGINT));
  assert_string_equal(thread_name, "a name that is ");
}

static void test_facts_about_the_machine(void **state) {
  (void)state;
  assert_true(zos_cpu_count() >= 1);
  assert_true(zos_memory_bytes() > 16 * ZM);
  assert_true(zos_rss_bytes() > 0 && zos_rss_bytes() < zos_memory_bytes());
  assert_true(zos_memory_limit() < zos_memory_bytes());
  uint64_t start = zos_start_ns(), now = zos_now_ns();
  zos_sleep_ns(1000000);
  assert_true(zos_now_ns() >= now + 1000000);
  assert_int_equal(zos_start_ns(), start);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pages_of_two_mappings),
    cmocka_unit_test(test_ranges),
    cmocka_unit_test(test_every_name_and_several_at_once),
    cmocka_unit_test(test_what_is_not_understood_sets_nothing),
    cmocka_unit_test(test_faults_make_their_calls_fail),
    cmocka_unit_test(test_calls_and_faults_are_counted),
    cmocka_unit_test(test_scratch_is_not_inherited),
    cmocka_unit_test(test_constants_are_written_and_stay_constant),
    cmocka_unit_test(test_thread_takes_no_signals_and_has_a_name),
    cmocka_unit_test(test_facts_about_the_machine),
};
ZTEST_MAIN(tests, NULL)
