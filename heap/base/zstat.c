#include "heap/base/zstat.h"

zstat_t zstat_values;

bool zstat_at(unsigned i, const char **name, uint64_t *value) {
  static const char *const names[] = {
#define X(field) #field,
      ZSTAT_TABLE(X)
#undef X
  };
  if (i >= ZARRAY_LENGTH(names)) return false;
  *name = names[i];
  *value = zload_relaxed((const uint64_t *)&zstat_values + i);
  return true;
}
