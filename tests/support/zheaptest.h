/* What tests of the heap begin and end with. */
#ifndef TESTS_SUPPORT_ZHEAPTEST_H
#define TESTS_SUPPORT_ZHEAPTEST_H

#include "heap/zallocator.h"
#include "heap/zheap_report.h"
#include "tests/support/ztest.h"

#define ZHEAPTEST_RANGE (64 * ZM)

/* The heap that a thread works in once it is closed; a test's first thread holds the first GIL. */
static __thread unsigned zheaptest_heap = ZHEAP_FIRST;
static inline unsigned zheaptest_holder(void) { return zheaptest_heap; }

static inline int zheaptest_start(void **state) {
  (void)state;
  return zallocator_start(ZHEAPTEST_RANGE) ? 0 : -1;
}

static inline void zheaptest_check(void) {
  char message[200] = "";
  if (!zheap_report_verify(message, sizeof message)) fail_msg("%s", message);
}

static inline zheap_report_t zheaptest_stats(void) {
  zheap_report_t now;
  zheap_report(&now);
  return now;
}

#endif
