#define _GNU_SOURCE
#include "heap/base/zbuffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

void zbuffer_append(zbuffer_t *buffer, const void *bytes, size_t size) {
  if (buffer->failed || size == 0) return;
  if (size > buffer->capacity - buffer->size) {
    size_t capacity = zmax(buffer->capacity * 2, zalign_up(buffer->size + size, 256));
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
      buffer->failed = true;
      return;
    }
    buffer->data = data;
    buffer->capacity = capacity;
  }
  memcpy(buffer->data + buffer->size, bytes, size);
  buffer->size += size;
}

void zbuffer_byte(zbuffer_t *buffer, char byte) { zbuffer_append(buffer, &byte, 1); }
void zbuffer_text(zbuffer_t *buffer, const char *text) { zbuffer_append(buffer, text, strlen(text)); }

void zbuffer_format(zbuffer_t *buffer, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length > 0) zbuffer_append(buffer, text, zmin((size_t)length, sizeof text - 1));
}

void zbuffer_clear(zbuffer_t *buffer) { buffer->size = 0; }

void zbuffer_free(zbuffer_t *buffer) {
  free(buffer->data);
  memset(buffer, 0, sizeof *buffer);
}

char *zbuffer_copy(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy == NULL ? NULL : memcpy(copy, text, size);
}

static int write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return -errno;
    bytes += written;
    size -= (size_t)written;
  }
  return 0;
}

/* A file, or nothing yet. Anything else (/dev/null, a link) is not ours to replace. */
static bool may_replace(const char *path) {
  struct stat status;
  return lstat(path, &status) != 0 || S_ISREG(status.st_mode);
}

int zbuffer_write_file(const zbuffer_t *buffer, const char *path) {
  if (buffer->failed) return -ENOMEM;
  if (!may_replace(path)) return -EEXIST;
  char temporary[PATH_BYTES];
  int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  if (length < 0 || (size_t)length >= sizeof temporary) return -ENAMETOOLONG;
  int fd = mkostemp(temporary, O_CLOEXEC); /* O_EXCL, 0600 */
  if (fd < 0) return -errno;
  int error = write_all(fd, buffer->data, buffer->size);
  if (close(fd) != 0 && error == 0) error = -errno;
  if (error == 0 && rename(temporary, path) != 0) error = -errno;
  if (error != 0) unlink(temporary);
  return error;
}
