/* The concurrent part of a collection, on the collector thread: passes until the set of candidates is stable, while
 * safepoints serve the objects that they defer. Then the garbage is ordered by components and handed over to
 * safepoints (zreclaim.h). */
#ifndef COLLECTOR_CPYTHON_ZCONCURRENT_H
#define COLLECTOR_CPYTHON_ZCONCURRENT_H

#include "collector/cpython/ztables.h"

/* The set is stable when a pass drops less than this share of it. */
#define ZCONCURRENT_STABLE_SHARE 32
/* A safepoint is asked for when none came for so long. */
#define ZCONCURRENT_WAKE_NS 3000000u

/* In phase CONCURRENT; ends in RECLAIMING, with the tables handed over. False: it has been given up, or memory was
 * short; the tables are to be given back. */
bool zconcurrent_collect(ztables_t *mine);

/* True once after a collection that was abandoned because memory for a side table was short. */
bool zconcurrent_take_fault(void);
void zconcurrent_fork_child(void);

#endif
