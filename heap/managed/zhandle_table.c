#include "heap/managed/zhandle_table.h"

#include <string.h>

#include "heap/base/zos.h"

#define STEP (ZM / sizeof(zhandle_entry_t))
#define STEP_HASHES (STEP * sizeof(uint32_t))

zhandle_table_t zhandle_table;

bool zhandle_table_start(void) {
  for (size_t size = 8 * ZG; size >= 64 * ZM; size /= 2) {
    uint32_t limit = (uint32_t)(size / sizeof(zhandle_entry_t));
    void *entries = zos_reserve(size, ZM), *hashes = zos_reserve(limit * sizeof(uint32_t), ZM);
    if (entries == NULL || hashes == NULL) {
      if (entries != NULL) zos_table_unmap(entries, size);
      if (hashes != NULL) zos_table_unmap(hashes, limit * sizeof(uint32_t));
      continue;
    }
    zhandle_table.entries = entries;
    zhandle_table.hashes = hashes;
    zhandle_table.limit = limit;
    zhandle_table.top = 1;
    return true;
  }
  return false;
}

void zhandle_table_stop(void) {
  zos_table_unmap(zhandle_table.entries, (size_t)zhandle_table.limit * sizeof(zhandle_entry_t));
  zos_table_unmap(zhandle_table.hashes, (size_t)zhandle_table.limit * sizeof(uint32_t));
  memset(&zhandle_table, 0, sizeof zhandle_table);
}

zcold uint32_t zhandle_table_grow(void) {
  uint32_t id = zhandle_table.top;
  if (id == zhandle_table.limit) return 0;
  if (id >= zhandle_table.committed) { /* committed starts at 0, a multiple of STEP */
    if (zos_commit(&zhandle_table.entries[zhandle_table.committed], ZM) != 0) return 0;
    if (zos_commit(&zhandle_table.hashes[zhandle_table.committed], STEP_HASHES) != 0) return 0;
    zhandle_table.committed += (uint32_t)STEP;
  }
  zstore_release(&zhandle_table.top, id + 1);
  return id;
}
