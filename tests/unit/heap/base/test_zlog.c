#include "heap/base/zlog.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <sys/stat.h>

#include "tests/support/ztest.h"

static char folder[64], path[128];
static char text[8192];

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/test_zlog.XXXXXX");
  if (mkdtemp(folder) == NULL) return -1;
  snprintf(path, sizeof path, "%s/log", folder);
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static const char *content(const char *name) {
  int fd = open(name, O_RDONLY);
  ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  close(fd);
  return text;
}

static void assert_matches(const char *string, const char *pattern) {
  regex_t regex;
  assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
  if (regexec(&regex, string, 0, NULL, 0) != 0) fail_msg("\"%s\" is not %s", string, pattern);
  regfree(&regex);
}

/* The log's descriptor: the only open one at 100 or above. */
static int log_fd(void) {
  for (int fd = 100; fd < 110; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) return fd;
  }
  return -1;
}

static void test_line_shape(void **state) {
  (void)state;
  zlog_start(path, ZLOG_TRACE);
  zlog_info("gc", "GC(%d) %s", 3, "text");
  zlog_warn("gc,fault", "a");
  zlog_debug("gc,director", "b");
  zlog_trace("gc,longer,than,that", "c");
  assert_matches(content(path), "^\\[0\\.[0-9]{3}s\\]\\[info \\]\\[gc         \\] GC\\(3\\) text\n"
                                "\\[[0-9.]+s\\]\\[warn \\]\\[gc,fault   \\] a\n"
                                "\\[[0-9.]+s\\]\\[debug\\]\\[gc,director\\] b\n"
                                "\\[[0-9.]+s\\]\\[trace\\]\\[gc,longer,than,that\\] c\n$");
}

static int evaluated;
static int evaluate(void) { return ++evaluated; }

static void test_level_decides(void **state) {
  (void)state;
  zlog_info("gc", "%d", evaluate()); /* not started */
  zlog_start(path, ZLOG_INFO);
  zlog_debug("gc", "%d", evaluate());
  assert_int_equal(access(path, F_OK), -1); /* opened by the first line */
  zlog_info("gc", "%d", evaluate());
  assert_matches(content(path), "\\] 1\n$");
}

static void test_too_long_a_line_is_cut_and_ends(void **state) {
  (void)state;
  zlog_start(path, ZLOG_INFO);
  char longer[3000];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  for (size_t length = 950; length < 1050; length++) zlog_info("gc", "%.*s", (int)length, longer);
  zlog_info("gc", "%s", longer);
  zlog_info("gc", "after");
  FILE *file = fopen(path, "r");
  char line[4096];
  int lines = 0;
  size_t before = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    size_t length = strlen(line);
    assert_int_equal(line[length - 1], '\n');
    assert_true(length <= 1024);
    if (lines > 0 && lines < 101) assert_true(length >= before);
    before = length;
    lines++;
  }
  fclose(file);
  assert_int_equal(lines, 102);
  assert_non_null(strstr(line, "after"));
}

static void test_file_is_private_and_kept(void **state) {
  (void)state;
  umask(0);
  zlog_start(path, ZLOG_INFO);
  zlog_info("gc", "one");
  struct stat status;
  stat(path, &status);
  assert_int_equal(status.st_mode & 0777, 0600);
  int flags = fcntl(log_fd(), F_GETFD);
  assert_true(flags & FD_CLOEXEC);
  zlog_start(path, ZLOG_INFO);
  zlog_info("gc", "two"); /* appended */
  assert_matches(content(path), "one\n.*two\n$");
}

/* What stderr gets when two lines are logged to `name`. */
static const char *said_of_two_lines(const char *name) {
  char said[140];
  snprintf(said, sizeof said, "%s/stderr", folder);
  zlog_start(name, ZLOG_INFO);
  int saved = dup(2), fd = open(said, O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(fd, 2);
  zlog_info("gc", "one");
  zlog_info("gc", "two");
  dup2(saved, 2);
  close(fd);
  return content(said);
}

static void test_symbolic_link_is_not_followed(void **state) {
  (void)state;
  char target[140];
  snprintf(target, sizeof target, "%s/target", folder);
  assert_int_equal(symlink(target, path), 0);
  assert_matches(said_of_two_lines(path), "^zgc: ZGC_LOG=.*/log cannot be opened \\(a symbolic link.*\\); "
                                          "running on without a log\n$"); /* once */
  assert_int_equal(access(target, F_OK), -1);
  assert_int_equal(zlog_level, ZLOG_OFF);
}

static void test_fifo_that_nobody_reads_is_not_waited_for(void **state) {
  (void)state;
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_matches(said_of_two_lines(path), "^zgc: ZGC_LOG=.*/log cannot be opened \\(a FIFO that nobody "
                                          "reads.*\\); running on without a log\n$");
}

static void test_fifo_with_a_reader_gets_the_lines(void **state) {
  (void)state;
  assert_int_equal(mkfifo(path, 0600), 0);
  int reader = open(path, O_RDONLY | O_NONBLOCK);
  zlog_start(path, ZLOG_INFO);
  zlog_info("gc", "one");
  ssize_t length = read(reader, text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  assert_matches(text, "one\n$");
  for (int i = 0; i < 10000; i++) zlog_info("gc", "more than a pipe holds, and nobody reads on");
}

static void test_full_disk_is_told_once(void **state) {
  (void)state;
  assert_matches(said_of_two_lines("/dev/full"), "^zgc: ZGC_LOG=/dev/full: a line could not be written "
                                                 "\\(No space left.*\\); running on, the log has gaps\n$");
  assert_int_equal(zlog_level, ZLOG_INFO); /* the next line may find place again */
}

static void test_stderr_by_its_path(void **state) {
  (void)state;
  assert_matches(said_of_two_lines("/dev/stderr"), "^[^\n]*one\n[^\n]*two\n$");
}

static void test_closed_descriptor_is_opened_again(void **state) {
  (void)state;
  zlog_start(path, ZLOG_INFO);
  zlog_info("gc", "one");
  assert_true(log_fd() >= 100);
  close(log_fd());
  zlog_info("gc", "two");
  assert_matches(content(path), "one\n.*two\n$");
}

static void test_descriptor_taken_by_another_file_is_left_alone(void **state) {
  (void)state;
  char other[140];
  snprintf(other, sizeof other, "%s/other", folder);
  zlog_start(path, ZLOG_INFO);
  zlog_info("gc", "one");
  int fd = open(other, O_RDWR | O_CREAT, 0600);
  assert_int_equal(dup2(fd, log_fd()), log_fd());
  zlog_info("gc", "two");
  assert_string_equal(content(other), "");
  assert_matches(content(path), "one\n.*two\n$");
}

static void test_percent_p_becomes_the_process(void **state) {
  (void)state;
  char pattern[140], expected[160];
  snprintf(pattern, sizeof pattern, "%s/a%%p-%%p%%", folder);
  snprintf(expected, sizeof expected, "%s/a%d-%d%%", folder, (int)getpid(), (int)getpid());
  zlog_start(pattern, ZLOG_INFO);
  zlog_info("gc", "one");
  assert_int_equal(access(expected, F_OK), 0);
}

static void child_logs(const char *pattern, const char *expected_format) {
  zlog_start(pattern, ZLOG_INFO);
  zlog_info("gc", "parent");
  pid_t child = fork();
  if (child == 0) {
    zlog_after_fork_in_child();
    zlog_info("gc", "child");
    _exit(0);
  }
  waitpid(child, NULL, 0);
  zlog_info("gc", "parent");
  char expected[200];
  snprintf(expected, sizeof expected, expected_format, folder, (int)child);
  assert_matches(content(expected), "^[^\n]*child\n$");
}

static void test_child_gets_a_file_of_its_own(void **state) {
  (void)state;
  child_logs(path, "%s/log.%d");
  assert_matches(content(path), "^[^\n]*parent\n[^\n]*parent\n$");
}

static void test_child_with_percent_p(void **state) {
  (void)state;
  char pattern[140];
  snprintf(pattern, sizeof pattern, "%s/log-%%p", folder);
  child_logs(pattern, "%s/log-%d");
}

static void test_errno_is_left_alone(void **state) {
  (void)state;
  zlog_start(path, ZLOG_INFO);
  errno = 77;
  zlog_info("gc", "one");
  assert_int_equal(errno, 77);
  close(log_fd());
  zlog_info("gc", "two");
  assert_int_equal(errno, 77);
  zlog_start("/nonexistent/folder/log", ZLOG_INFO);
  close(log_fd());
  zlog_info("gc", "three");
  assert_int_equal(errno, 77);
  zlog_notice("a notice");
  assert_int_equal(errno, 77);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
static const struct CMUnitTest tests[] = {
    TEST(test_line_shape),
    TEST(test_level_decides),
    TEST(test_too_long_a_line_is_cut_and_ends),
    TEST(test_file_is_private_and_kept),
    TEST(test_symbolic_link_is_not_followed),
    TEST(test_fifo_that_nobody_reads_is_not_waited_for),
    TEST(test_fifo_with_a_reader_gets_the_lines),
    TEST(test_full_disk_is_told_once),
    TEST(test_stderr_by_its_path),
    TEST(test_closed_descriptor_is_opened_again),
    TEST(test_descriptor_taken_by_another_file_is_left_alone),
    TEST(test_percent_p_becomes_the_process),
    TEST(test_child_gets_a_file_of_its_own),
    TEST(test_child_with_percent_p),
    TEST(test_errno_is_left_alone),
};
ZTEST_MAIN(tests, NULL)
