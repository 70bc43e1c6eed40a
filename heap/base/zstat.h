/* Counters: one table that zgc.stats(), the summary at exit and the statistics page walk.
 *
 * Any thread may add; all adds are relaxed, so a reader sees each counter whole but not all of them
 * at one moment. Times are in nanoseconds, sizes in bytes. */
#ifndef HEAP_BASE_ZSTAT_H
#define HEAP_BASE_ZSTAT_H

#include "heap/base/zatomic.h"

/* X(field): the field's name is what users see. */
#define ZSTAT_TABLE(X)                                                                      \
  X(collections)            /* full collections finished, of every kind */                  \
  X(collections_growth)     /* ... by cause */                                              \
  X(collections_heap_growth)                                                                \
  X(collections_memory)                                                                     \
  X(collections_timer)                                                                      \
  X(collections_explicit)   /* zgc.collect */                                               \
  X(collections_system_gc)  /* gc.collect */                                                \
  X(collections_escalation)                                                                 \
  X(collections_stress)                                                                     \
  X(collections_abandoned)  /* given up after a fault */                                    \
  X(found)                  /* objects that the concurrent passes took for garbage */       \
  X(fed)                    /* objects handed to CPython's collection */                    \
  X(reclaimed)              /* of those, reclaimed */                                       \
  X(uncollectable)                                                                          \
  X(pauses)                 /* safepoints at which we did something */                      \
  X(pause_max_ns)                                                                           \
  X(pause_total_ns)                                                                         \
  X(young_collections)                                                                      \
  X(young_reclaimed)                                                                        \
  X(young_max_ns)                                                                           \
  X(young_total_ns)                                                                         \
  X(young_skipped)          /* oversized generation 0 taken over without a walk */          \
  X(concurrent_ns)          /* wall time of concurrent phases */                            \
  X(concurrent_cpu_ns)      /* CPU time of collector threads */                             \
  X(old_objects)            /* old set now */                                               \
  X(promoted)               /* objects that entered the old set, over all time */           \
  X(deferred_objects)       /* visited through tp_traverse at safepoints, last collection */ \
  X(types_registered)                                                                       \
  X(types_deferred)                                                                         \
  X(pending_garbage)        /* found, waiting to be fed */                                  \
  X(running)                /* 1 while a collection is under way */                         \
  X(stalls)                 /* safepoints drawn out because garbage outran the collection */ \
  X(stall_ns)                                                                               \
  X(escalations)                                                                            \
  X(faults)                 /* failures of our own that were survived */                    \
  X(heap_used)              /* bytes in blocks; the next three are set when asked for */    \
  X(heap_committed)                                                                         \
  X(fallback_blocks)                                                                        \
  X(uncommitted)            /* bytes given back to the system, over all time */             \
  X(forks)

typedef struct {
#define X(field) uint64_t field;
  ZSTAT_TABLE(X)
#undef X
} zstat_t;

extern zstat_t zstat_values;

#define zstat_add(field, n) ((void)zfetch_add_relaxed(&zstat_values.field, (uint64_t)(n)))
#define zstat_set(field, n) zstore_relaxed(&zstat_values.field, (uint64_t)(n))
#define zstat_get(field) zload_relaxed(&zstat_values.field)
/* For values with one writer at a time (the GIL). */
#define zstat_max(field, n)                                                        \
  do {                                                                             \
    uint64_t zstat_new_ = (uint64_t)(n);                                           \
    if (zstat_new_ > zstat_get(field)) zstat_set(field, zstat_new_);               \
  } while (0)

/* Name and value of counter `i`; false past the last. */
bool zstat_at(unsigned i, const char **name, uint64_t *value);

#endif
