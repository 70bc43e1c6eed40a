/* How many bodies there are of each shape, of those that handles reach. */
#ifndef COLLECTOR_MANAGED_ZMANAGED_CENSUS_H
#define COLLECTOR_MANAGED_ZMANAGED_CENSUS_H

#include "collector/managed/zmanaged.h"

typedef struct {
  uint64_t bodies, bytes;
} zmanaged_count_t;

/* Calls `visit` for each shape that has some. The collector's threads park meanwhile; as long as a walk over all
 * bodies takes. GIL. False: memory is short. */
bool zmanaged_census(void (*visit)(const zshape_t *shape, const zmanaged_count_t *count, void *context), void *context);

#endif
