#include "heap/managed/zpyref_table.h"

#include <string.h>

#include "heap/base/zos.h"

#define STEP (ZM / sizeof(zpyref_t))

zpyref_table_t zpyref_table;

bool zpyref_table_start(void) {
  for (size_t size = 8 * ZG; size >= 64 * ZM; size /= 2) {
    void *entries = zos_reserve(size, ZM);
    if (entries == NULL) continue;
    zpyref_table.entries = entries;
    zpyref_table.limit = (uint32_t)(size / sizeof(zpyref_t));
    zpyref_table.top = 1;
    return true;
  }
  return false;
}

void zpyref_table_stop(void) {
  zos_table_unmap(zpyref_table.entries, (size_t)zpyref_table.limit * sizeof(zpyref_t));
  memset(&zpyref_table, 0, sizeof zpyref_table);
}

zcold uint32_t zpyref_table_grow(void) {
  uint32_t index = zpyref_table.top;
  if (index == zpyref_table.limit) return 0;
  if (index >= zpyref_table.committed) {
    if (zos_commit(&zpyref_table.entries[zpyref_table.committed], ZM) != 0) return 0;
    zpyref_table.committed += (uint32_t)STEP;
  }
  /* Free until it is filled in below: a sweeping thread must not take it for a dead one. */
  zstore_relaxed(&zpyref_table.entries[index].object, 1);
  zstore_release(&zpyref_table.top, index + 1);
  return index;
}

void *zpyref_free(uint32_t index) {
  zpyref_t *entry = &zpyref_table.entries[index];
  uintptr_t object = entry->object;
  zassert((object & 1) == 0);
  zstore_release(&entry->object, (uintptr_t)zpyref_table.free_list << 1 | 1);
  zpyref_table.free_list = index;
  zpyref_table.live--;
  if (object == 0) zpyref_table.emptied--;
  return (void *)object;
}
