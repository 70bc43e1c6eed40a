#define _GNU_SOURCE
#include "heap/base/zstatpage.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/base/zatomic.h"
#include "heap/base/zlock.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "tests/support/ztest.h"

static char folder[64];
static unsigned char data[64 + 48 * (ZSTAT_LENGTH + 1)];

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/test_zstatpage.XXXXXX");
  return mkdtemp(folder) == NULL || setenv("XDG_RUNTIME_DIR", folder, 1) != 0 ? -1 : 0;
}

static int remove_folder(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static uint64_t word(size_t offset) {
  uint64_t value;
  memcpy(&value, data + offset, sizeof value);
  return value;
}

static const char *page_of(pid_t pid) {
  static char path[128];
  snprintf(path, sizeof path, "%s/zgcpreload/%d", folder, (int)pid);
  return path;
}

static size_t load(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t length = read(fd, data, sizeof data);
  close(fd);
  return length < 0 ? 0 : (size_t)length;
}

/* The bytes, as scripts/zgctools/statpage.py has them. */
static void test_layout(void **state) {
  (void)state;
  zstatpage_publish();
  assert_null(zstatpage_path()); /* not enabled */
  zstatpage_enable();
  assert_null(zstatpage_path());
  zstat_add(faults, 77);
  zstatpage_publish();
  assert_string_equal(zstatpage_path(), page_of(getpid()));
  assert_int_equal(load(zstatpage_path()), 64 + 48 * ZSTAT_LENGTH);
  assert_memory_equal(data, "zgcstat1", 8);
  assert_int_equal(word(8), 64 | (uint64_t)ZSTAT_LENGTH << 32);
  assert_int_equal(word(16), getpid());
  assert_int_equal(word(24), zos_process_start_ticks());
  assert_true(word(24) > 0);
  assert_int_equal(word(32), 2);
  const char *name;
  uint64_t value;
  for (unsigned i = 0; zstat_at(i, &name, &value); i++) {
    assert_string_equal((const char *)data + 64 + 48 * i, name);
    assert_int_equal(word(64 + 48 * i + 40), value);
  }
  zstat_add(faults, 1);
  zstatpage_publish();
  assert_int_equal(load(zstatpage_path()), 64 + 48 * ZSTAT_LENGTH);
  assert_int_equal(word(32), 4);
  zstatpage_disable();
  assert_null(zstatpage_path());
  assert_int_equal(access(page_of(getpid()), F_OK), -1);
  zstatpage_publish();
  assert_null(zstatpage_path());
  zstatpage_enable(); /* the next interpreter */
  zstatpage_publish();
  assert_int_equal(access(page_of(getpid()), F_OK), 0);
  zstatpage_disable();
}

static int stop;
static unsigned whole, unequal;

/* As a reader does it: two looks at the sequence, each a read of its own, since a copy of the whole page
 * may have fetched its lines in any order. The counters stand at the page's two ends. */
static void *watch(void *unused) {
  (void)unused;
  const size_t first = 64 + 40, last = 64 + 48 * (ZSTAT_LENGTH - 1) + 40;
  int fd = open(page_of(getpid()), O_RDONLY);
  while (!zload_relaxed(&stop)) {
    uint64_t before, after;
    if (pread(fd, &before, 8, 32) != 8 || pread(fd, data, sizeof data, 0) <= 0) break;
    if (pread(fd, &after, 8, 32) != 8) break;
    if (after != before || (after & 1) != 0) continue;
    zstore_relaxed(&whole, whole + 1);
    unequal += word(first) != word(last);
  }
  close(fd);
  return NULL;
}

static void test_readers_see_whole_copies(void **state) {
  (void)state;
  zstatpage_enable();
  zstatpage_publish();
  pthread_t thread;
  pthread_create(&thread, NULL, watch, NULL);
  uint64_t end = zos_now_ns() + 300000000u;
  uint64_t *last = (uint64_t *)&zstat_values + ZSTAT_LENGTH - 1;
  for (uint64_t i = 1; zos_now_ns() < end || zload_relaxed(&whole) < 100; i++) {
    zstat_set(collections, i);
    zstore_relaxed(last, i);
    zstatpage_publish();
    for (uint64_t next = zos_now_ns() + 2000; zos_now_ns() < next;) { /* a reader's chance */
    }
  }
  zstore_relaxed(&stop, 1);
  pthread_join(thread, NULL);
  assert_int_equal(unequal, 0);
  zstatpage_disable();
}

/* Publishers that meet: one of them writes, and the sequence comes out even. */
static void *publish(void *unused) {
  (void)unused;
  while (!zload_relaxed(&stop)) {
    zstatpage_publish();
    zstatpage_follow_user();
  }
  return NULL;
}

static void test_publishers_on_several_threads(void **state) {
  (void)state;
  zstatpage_enable();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, publish, NULL);
  for (int i = 0; i < 20; i++) {
    zlock_take(ZLOCK_STATPAGE); /* gets in between them */
    zlock_drop(ZLOCK_STATPAGE);
    zos_sleep_ns(1000000);
  }
  zstore_relaxed(&stop, 1);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  zstat_set(faults, 9);
  zstatpage_publish();
  assert_true(load(page_of(getpid())) > 0);
  assert_int_equal(word(32) % 2, 0);
  assert_true(word(32) > 10);
  assert_int_equal(word(64 + 48 * (offsetof(zstat_t, faults) / 8) + 40), 9);
  zstatpage_disable();
}

static void test_a_child_has_its_own(void **state) {
  (void)state;
  zstatpage_enable();
  zstat_set(faults, 5);
  zstatpage_publish();
  zlock_take(ZLOCK_STATPAGE);
  pid_t child = fork();
  if (child == 0) {
    zlock_drop(ZLOCK_STATPAGE);
    zstatpage_reset_after_fork_in_child();
    bool none = zstatpage_path() == NULL;
    zstat_set(faults, 6);
    zstatpage_publish();
    bool own = zstatpage_path() != NULL && strcmp(zstatpage_path(), page_of(getpid())) == 0;
    _exit(none && own ? 0 : 1); /* leaves it behind */
  }
  zlock_drop(ZLOCK_STATPAGE);
  int status;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
  size_t faults = 64 + 48 * (offsetof(zstat_t, faults) / 8) + 40;
  assert_true(load(page_of(child)) > 0);
  assert_int_equal(word(16), child);
  assert_int_equal(word(faults), 6);
  assert_true(load(page_of(getpid())) > 0);
  assert_int_equal(word(faults), 5);
  zstatpage_disable();
  assert_int_equal(access(page_of(child), F_OK), -1); /* swept */
}

/* One attempt; what was begun is taken back. */
static void test_a_mapping_that_fails(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_TABLE, 1, 1);
  zstatpage_enable();
  zstatpage_publish();
  assert_null(zstatpage_path());
  zstatpage_publish();
  assert_null(zstatpage_path());
  char name[160];
  snprintf(name, sizeof name, "%s.new", page_of(getpid()));
  assert_int_equal(access(name, F_OK), -1);
  assert_int_equal(access(page_of(getpid()), F_OK), -1);
  zstatpage_disable();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_layout, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_readers_see_whole_copies, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_publishers_on_several_threads, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_a_child_has_its_own, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_a_mapping_that_fails, make_folder, remove_folder),
};
ZTEST_MAIN(tests, NULL)
