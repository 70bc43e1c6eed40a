/* libFuzzer target: everything that is read from the environment as text.
 *
 * The first byte of the input chooses the parser (F, L, or an option by number), the rest is the text. Beyond what the sanitizers see:
 *   options     a value that was taken reads back, formatted, as itself and lies in its range
 *   ZGC_FAULT   what is refused changes nothing
 *   ZGC_LOG     the path handed to open() ends, and is the pattern with the process id in it
 *
 * open() is wrapped (see CMakeLists.txt): nothing of the file system is touched. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"

#define TEXT_SIZE 1200 /* beyond ZOPTION_TEXT_MAX and the log's own limits */
#define PATH_LENGTH_KEPT 1000 /* longer ones are cut off */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_open(const char *path, int flags, ...);

static void require(bool condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "fuzz_environment: %s\n", what);
  abort();
}

static char opened[4096];
static int opened_times;

int __wrap_open(const char *path, int flags, ...) {
  require(strlen(path) < sizeof opened, "a path longer than any buffer of ours");
  require(flags & O_NOFOLLOW && flags & O_CLOEXEC, "a file opened without care");
  strcpy(opened, path);
  opened_times++;
  return memfd_create("fuzz", MFD_CLOEXEC);
}

static void fuzz_option(zoption_id_t id, const char *text) {
  char value[ZOPTION_TEXT_MAX + 1], again[ZOPTION_TEXT_MAX + 1];
  if (!zoption_set(id, text)) return;
  zoption_format(id, value, sizeof value);
  const zoption_row_t *row = &zoption_rows[id];
  if (row->type == ZOPTION_TEXT) {
    require(strcmp(value, text) == 0, "a text that reads back differently");
  } else {
    uint64_t number = zoption_number(id);
    require(number == row->fallback || (number >= row->min && number <= row->max),
            "a number out of its range");
    require(zoption_set(id, value), "a value that is not taken back");
    require(zoption_number(id) == number, "a value that reads back differently");
  }
  zoption_format(id, again, sizeof again);
  require(strcmp(value, again) == 0, "a value that is not stable");
}

static void fuzz_fault(const char *text) {
  for (int fault = 0; fault < ZOS_FAULT_COUNT; fault++) zos_fault_set((zos_fault_t)fault, 0, 0);
  bool taken = zos_fault_parse(text), any = false;
  for (int fault = 0; fault < ZOS_FAULT_COUNT; fault++) {
    zos_fault_hit((zos_fault_t)fault);
    any = any || zos_fault_calls((zos_fault_t)fault) > 0;
    zos_fault_set((zos_fault_t)fault, 0, 0);
  }
  require(taken || !any, "a refused ZGC_FAULT that changed something");
}

/* What the path must be, as far as it fits. */
static void expand(const char *pattern, char *path, size_t size) {
  char pid[16];
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  path[0] = '\0';
  for (const char *p = pattern; *p != '\0'; p++) {
    char one[2] = {*p, '\0'};
    bool is_pid = p[0] == '%' && p[1] == 'p';
    strncat(path, is_pid ? pid : one, size - strlen(path) - 1);
    p += is_pid;
  }
}

static void fuzz_log(const char *text) {
  static bool is_child; /* zlog_after_fork_in_child closes the file, and stays in force */
  if (text[0] == '\0') return; /* as unset */
  char expected[sizeof opened], suffix[16] = "";
  if (is_child && strstr(text, "%p") == NULL) snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
  expand(text, expected, sizeof expected);
  strncat(expected, suffix, sizeof expected - strlen(expected) - 1);
  bool to_stderr = strcmp(text, "stderr") == 0;
  opened_times = 0;
  zlog_start(text, ZLOG_INFO);
  if (!to_stderr) zlog_line(ZLOG_INFO, "fuzz", "%s", text);
  require(opened_times == !to_stderr, "not one file opened");
  if (!to_stderr && strlen(expected) < PATH_LENGTH_KEPT) {
    require(strcmp(opened, expected) == 0, "a path that is not the pattern's");
  }
  zlog_after_fork_in_child();
  is_child |= !to_stderr;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char text[TEXT_SIZE + 1];
  if (size == 0 || size > TEXT_SIZE) return 0;
  memcpy(text, data + 1, size - 1);
  text[size - 1] = '\0';
  if (data[0] == 'F') {
    fuzz_fault(text);
  } else if (data[0] == 'L') {
    fuzz_log(text);
  } else {
    fuzz_option((zoption_id_t)(data[0] % ZOPTION_ID_COUNT), text);
  }
  return 0;
}
