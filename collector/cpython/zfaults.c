#include "collector/cpython/zfaults.h"

#include <string.h>

#include "heap/base/zlog.h"

#define FAULTS_MAX 3
#define REST_MIN 500  /* collections of CPython's, of any generation: half a million objects and more */
#define REST_DOUBLINGS 7

static struct {
  unsigned in_a_row;
  unsigned rests; /* since the last success */
  unsigned left;  /* collections, of the rest under way */
} faults;

static void begin_rest(const char *what) {
  unsigned doublings = (unsigned)zmin(faults.rests, REST_DOUBLINGS);
  faults.left = REST_MIN << doublings;
  if (faults.rests++ == 0) {
    zlog_notice("%u failures in a row (%s): full collections are CPython's own for now, ours are tried again later",
                faults.in_a_row, what);
  }
  zlog_info("gc,fault", "full collections are CPython's own for %u collections", faults.left);
}

bool zfaults_note(const char *what) {
  zlog_warn("gc,fault", "%s", what);
  faults.in_a_row++;
  if (faults.in_a_row < FAULTS_MAX && faults.rests == 0) return false;
  begin_rest(what);
  return true;
}

bool zfaults_rest_is_over(void) { return faults.left > 0 && --faults.left == 0; }

void zfaults_forget(void) { memset(&faults, 0, sizeof faults); }
