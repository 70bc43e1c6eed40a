#include "heap/base/zassert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn zcold void zassert_failed(const char *condition, const char *file, int line) {
  char text[256];
  int length = snprintf(text, sizeof text, "zgc: internal check failed: %s (%s:%d)\n", condition,
                        file, line);
  if (length > 0) {
    ssize_t ignored = write(2, text, zmin((size_t)length, sizeof text - 1));
    (void)ignored;
  }
  abort();
}
