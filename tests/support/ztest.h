/* cmocka as our unit tests use it: every test function runs in a process of its own, because most
 * of what they test starts once per process. A crash is then one failed test, not the end of all. */
#ifndef TESTS_SUPPORT_ZTEST_H
#define TESTS_SUPPORT_ZTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs those first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/base/zbase.h"

#define ZTEST_SECONDS 120 /* of one test; sanitizers are slow */

/* Returns the number of failed tests. `set_up` may be NULL. */
static inline int ztest_run_each(const struct CMUnitTest *tests, size_t count,
                                 CMFixtureFunction set_up) {
  int failed = 0;
  for (size_t i = 0; i < count; i++) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
      alarm(ZTEST_SECONDS);
      exit(_cmocka_run_group_tests(tests[i].name, &tests[i], 1, set_up, NULL) == 0 ? 0 : 1);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
      fprintf(stderr, "FAILED %s (status %#x)\n", tests[i].name, child < 0 ? -1u : (unsigned)status);
      failed++;
    }
  }
  return failed;
}

#define ZTEST_MAIN(tests, set_up) \
  int main(void) { return ztest_run_each(tests, ZARRAY_LENGTH(tests), set_up); }

/* The same sequence on every machine. */
static inline uint32_t ztest_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

/* Whether all bytes have this value. */
static inline bool ztest_all(const void *start, int value, size_t size) {
  const unsigned char *bytes = start;
  return size == 0 || (bytes[0] == (unsigned char)value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

#endif
