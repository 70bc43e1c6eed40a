#include "collector/cpython/zrecent.h"

#include <string.h>

#include "heap/base/zos.h"

struct zrecent zrecent;

void zrecent_end(void) {
  if (zrecent.bits != NULL) zos_table_unmap(zrecent.bits, zrecent.words * sizeof *zrecent.bits);
  memset(&zrecent, 0, sizeof zrecent);
}

void zrecent_begin(void) {
  zrecent_end();
  size_t words = zgranules_range.committed_end >> ZOLD_UNIT_SHIFT >> 6;
  zrecent.bits = zos_table_map(words * sizeof *zrecent.bits);
  if (zrecent.bits != NULL) zrecent.words = words;
}
