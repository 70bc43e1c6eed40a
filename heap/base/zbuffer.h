/* Bytes that grow at the end, in malloc's memory. Any thread, one at a time.
 *
 * A failed allocation is remembered and all further appends do nothing, so that callers test once. */
#ifndef HEAP_BASE_ZBUFFER_H
#define HEAP_BASE_ZBUFFER_H

#include "heap/base/zbase.h"

typedef struct {
  char *data;
  size_t size, capacity;
  bool failed;
} zbuffer_t; /* zeroed: empty */

void zbuffer_append(zbuffer_t *buffer, const void *bytes, size_t size);
void zbuffer_byte(zbuffer_t *buffer, char byte);
void zbuffer_text(zbuffer_t *buffer, const char *text);
void zbuffer_format(zbuffer_t *buffer, const char *format, ...) zprintf_like(2, 3); /* < 256 bytes */
void zbuffer_clear(zbuffer_t *buffer); /* keeps the memory */
void zbuffer_free(zbuffer_t *buffer);

/* A copy of the text for free(): memory of libc's own strdup is not for the malloc that is linked into
 * the library. NULL: no memory. */
char *zbuffer_copy(const char *text);

/* Writes a whole file: into a new one beside it (mode 0600, a name nobody can know, never through a
 * link), which then takes its name. 0 or -errno; then nothing is left behind. -EEXIST where the name
 * belongs to anything but a regular file. */
int zbuffer_write_file(const zbuffer_t *buffer, const char *path);

#endif
