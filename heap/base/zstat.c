#include "heap/base/zstat.h"

zstat_t zstat_values;

const zstat_row_t zstat_rows[ZSTAT_LENGTH] = {
#define X(field, kind, unit, help) {#field, help, ZSTAT_##kind, ZSTAT_##unit},
    ZSTAT_TABLE(X)
#undef X
};

bool zstat_at(unsigned i, const char **name, uint64_t *value) {
  if (i >= ZSTAT_LENGTH) return false;
  *name = zstat_rows[i].name;
  *value = zload_relaxed((const uint64_t *)&zstat_values + i);
  return true;
}
