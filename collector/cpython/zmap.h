/* A hash map from a nonzero 64-bit key to a 64-bit value, in a scratch mapping of its own (not inherited
 * by a forked child): open addressing, grows by doubling, never shrinks. One thread at a time. */
#ifndef COLLECTOR_CPYTHON_ZMAP_H
#define COLLECTOR_CPYTHON_ZMAP_H

#include "heap/base/zbase.h"

typedef struct {
  uint64_t key;
  int64_t value;
} zmap_entry_t;

typedef struct {
  zmap_entry_t *entries; /* NULL while empty */
  size_t mask, count;
} zmap_t;

/* The value's place, NULL when the key is absent. Valid until the next insertion. */
int64_t *zmap_find(const zmap_t *map, uint64_t key);
/* The same, made with value 0 when absent; NULL when memory is short. */
int64_t *zmap_insert(zmap_t *map, uint64_t key);
void zmap_free(zmap_t *map);

#endif
