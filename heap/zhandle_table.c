#include "heap/zhandle_table.h"

#include <string.h>

#include "heap/base/zos.h"

#define STEP (ZM / sizeof(zhandle_entry_t))

zhandle_table_t zhandle_table;

bool zhandle_table_start(void) {
  for (size_t size = 8 * ZG; size >= 64 * ZM; size /= 2) {
    void *entries = zos_reserve(size, ZM);
    if (entries == NULL) continue;
    zhandle_table.entries = entries;
    zhandle_table.limit = (uint32_t)(size / sizeof(zhandle_entry_t));
    zhandle_table.top = 1;
    return true;
  }
  return false;
}

void zhandle_table_stop(void) {
  zos_table_unmap(zhandle_table.entries, (size_t)zhandle_table.limit * sizeof(zhandle_entry_t));
  memset(&zhandle_table, 0, sizeof zhandle_table);
}

zcold uint32_t zhandle_table_grow(void) {
  uint32_t id = zhandle_table.top;
  if (id == zhandle_table.limit) return 0;
  if (id >= zhandle_table.committed) { /* committed starts at 0, a multiple of STEP */
    if (zos_commit(&zhandle_table.entries[zhandle_table.committed], ZM) != 0) return 0;
    zhandle_table.committed += (uint32_t)STEP;
  }
  zstore_release(&zhandle_table.top, id + 1);
  return id;
}
