#include "collector/cpython/zfaults.h"

#include "heap/base/zlog.h"

#define FAULTS_MAX 3

static unsigned consecutive;

bool zfaults_note(const char *what) {
  zlog_warn("gc,fault", "%s", what);
  if (++consecutive < FAULTS_MAX) return false;
  zlog_notice("%u failures in a row (%s): full collections are CPython's own from here on", consecutive, what);
  return true;
}

void zfaults_forget(void) { consecutive = 0; }
