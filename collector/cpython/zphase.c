#include "collector/cpython/zphase.h"

#include "heap/base/zstat.h"

const char *zcause_name(zcause_t cause) {
  static const char *const names[] = {
#define X(id, name, counter) name,
      ZCAUSE_TABLE(X)
#undef X
  };
  return names[cause];
}

void zcause_count(zcause_t cause) {
  switch (cause) {
#define X(id, name, counter)      \
  case ZCAUSE_##id:               \
    zstat_add(counter, 1);        \
    break;
    ZCAUSE_TABLE(X)
#undef X
  }
  if (cause != ZCAUSE_NONE) zstat_add(collections, 1);
}
