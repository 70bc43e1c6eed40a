#define _GNU_SOURCE
#include "heap/base/zlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "heap/base/zatomic.h"
#include "heap/base/zos.h"

#define LINE_MAX_BYTES 1024
#define PATH_MAX_BYTES 1024

zlog_level_t zlog_level = ZLOG_OFF;

static struct {
  bool to_stderr;
  bool is_child;       /* of a fork: the file is the child's own */
  bool has_failed;     /* a line could not be written, which has been said */
  char pattern[PATH_MAX_BYTES];
  int fd;              /* -1: not open */
  dev_t device;        /* identity of what fd was opened on */
  ino_t inode;
} target = {.fd = -1};

/* Guards open and close of the file only; a line itself needs no lock. */
static int opening;

void zlog_start(const char *name, zlog_level_t level) {
  target.to_stderr = strcmp(name, "stderr") == 0 || strcmp(name, "/dev/stderr") == 0;
  target.has_failed = false;
  snprintf(target.pattern, sizeof target.pattern, "%s", name);
  zlog_level = level;
}

void zlog_after_fork_in_child(void) {
  opening = 0;
  if (target.to_stderr) return;
  if (target.fd >= 0) {
    struct stat status;
    if (fstat(target.fd, &status) == 0 && status.st_dev == target.device &&
        status.st_ino == target.inode) {
      close(target.fd);
    }
    target.fd = -1;
  }
  target.is_child = true;
}

static void expand_path(char *path, size_t size) {
  size_t at = 0;
  bool has_pid = false;
  for (const char *p = target.pattern; *p != '\0' && at + 1 < size; p++) {
    if (p[0] == '%' && p[1] == 'p') {
      at += (size_t)snprintf(path + at, size - at, "%d", (int)getpid());
      if (at >= size) at = size - 1;
      has_pid = true;
      p++;
    } else {
      path[at++] = *p;
    }
  }
  path[at] = '\0';
  if (target.is_child && !has_pid) snprintf(path + at, size - at, ".%d", (int)getpid());
}

static const char *why_not_opened(int error) {
  if (error == ELOOP) return "a symbolic link, which is not followed";
  if (error == ENXIO) return "a FIFO that nobody reads, or a socket";
  return strerror(error);
}

/* Does not block: nobody may read a FIFO, and the program would stand still for a line of the log. */
static int open_target(void) {
  if (zexchange_acq_rel(&opening, 1) != 0) return -1; /* another thread is at it: drop this line */
  char path[PATH_MAX_BYTES + 16];
  expand_path(path, sizeof path);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK,
                0600);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) {
    int error = errno;
    if (fd >= 0) close(fd);
    zlog_level = ZLOG_OFF;
    zlog_notice("ZGC_LOG=%s cannot be opened (%s); running on without a log", path,
                why_not_opened(error));
    fd = -1;
  } else {
    /* A low number is what programs expect their own next file to get. */
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    if (high >= 0) {
      close(fd);
      fd = high;
    }
    target.device = status.st_dev;
    target.inode = status.st_ino;
    target.fd = fd;
  }
  zstore_release(&opening, 0);
  return fd;
}

static int current_fd(void) {
  if (target.to_stderr) return 2;
  int fd = target.fd;
  struct stat status;
  if (fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == target.device &&
      status.st_ino == target.inode) {
    return fd;
  }
  return open_target();
}

/* 0 or the error. */
static int write_all(int fd, const char *text, size_t length) {
  int saved = errno; /* called from allocation paths, which must not disturb the program's errno */
  int error = 0;
  while (length > 0) {
    ssize_t written = write(fd, text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      error = written < 0 ? errno : EIO;
      break;
    }
    text += written;
    length -= (size_t)written;
  }
  errno = saved;
  return error;
}

/* Once; the next lines may find place again. */
static void say_lost(int error) {
  if (zexchange_acq_rel(&target.has_failed, true)) return;
  zlog_notice("ZGC_LOG=%.900s: a line could not be written (%s); running on, the log has gaps",
              target.pattern, strerror(error));
}

void zlog_line(zlog_level_t level, const char *tags, const char *format, ...) {
  static const char *const names[] = {"off", "warn", "info", "debug", "trace"};
  int saved = errno;
  int fd = current_fd();
  if (fd < 0) {
    errno = saved;
    return;
  }
  char line[LINE_MAX_BYTES];
  uint64_t start = zos_start_ns(); /* before now, or the first line is from the far future */
  uint64_t up = zos_now_ns() - start;
  int head = snprintf(line, sizeof line, "[%llu.%03llus][%-5s][%-11s] ",
                      (unsigned long long)(up / 1000000000u),
                      (unsigned long long)(up / 1000000u % 1000u), names[level], tags);
  va_list arguments;
  va_start(arguments, format);
  int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, arguments);
  va_end(arguments);
  size_t length = zmin((size_t)head + (size_t)(body > 0 ? body : 0), sizeof line - 2);
  line[length++] = '\n';
  int error = write_all(fd, line, length);
  if (error != 0 && !target.to_stderr) say_lost(error);
  errno = saved;
}

void zlog_notice(const char *format, ...) {
  char line[LINE_MAX_BYTES] = "zgc: ";
  va_list arguments;
  va_start(arguments, format);
  int body = vsnprintf(line + 5, sizeof line - 6, format, arguments);
  va_end(arguments);
  size_t length = zmin(5 + (size_t)(body > 0 ? body : 0), sizeof line - 2);
  line[length++] = '\n';
  write_all(2, line, length);
}
