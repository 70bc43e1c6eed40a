/* Counters: one table that zgc.stats(), zgc.prometheus(), the summary at exit and the
 * statistics page walk.
 *
 * Any thread may add; all adds are relaxed, so a reader sees each counter whole but not all of them
 * at one moment. Times are in nanoseconds, sizes in bytes. */
#ifndef HEAP_BASE_ZSTAT_H
#define HEAP_BASE_ZSTAT_H

#include "heap/base/zatomic.h"

/* The kind of number, and what it counts. */
typedef enum {
  ZSTAT_COUNTER, /* only grows */
  ZSTAT_CAUSE,   /* a counter of the family that the cause of a collection tells apart */
  ZSTAT_GAUGE    /* goes up and down, or is a maximum */
} zstat_kind_t;

typedef enum { ZSTAT_PLAIN, ZSTAT_OBJECTS, ZSTAT_BYTES, ZSTAT_NS } zstat_unit_t;

/* X(field, kind, unit, help): the field's name is what users see. */
#define ZSTAT_TABLE(X)                                                                            \
  X(collections, COUNTER, PLAIN, "full collections finished, of every cause")                     \
  X(collections_growth, CAUSE, PLAIN, "full collections because the old objects grew")            \
  X(collections_heap_growth, CAUSE, PLAIN, "full collections because the heap grew")              \
  X(collections_memory, CAUSE, PLAIN, "full collections because memory was short")                \
  X(collections_timer, CAUSE, PLAIN, "full collections because ZGC_INTERVAL was over")            \
  X(collections_explicit, CAUSE, PLAIN, "full collections by zgc.collect")                        \
  X(collections_system_gc, CAUSE, PLAIN, "full collections by gc.collect")                        \
  X(collections_escalation, CAUSE, PLAIN, "full collections, world stopped, to catch up")         \
  X(collections_stress, CAUSE, PLAIN, "full collections because of ZGC_STRESS")                   \
  X(collections_abandoned, COUNTER, PLAIN, "full collections given up before their end")          \
  X(found, COUNTER, OBJECTS, "objects that the passes took for garbage")                          \
  X(fed, COUNTER, OBJECTS, "objects handed to CPython's collection for its verdict")              \
  X(reclaimed, COUNTER, OBJECTS, "objects reclaimed by full collections")                         \
  X(uncollectable, COUNTER, OBJECTS, "objects found uncollectable by full collections")           \
  X(pauses, COUNTER, PLAIN, "safepoints at which we did something")                               \
  X(pause_max_ns, GAUGE, NS, "longest pause so far")                                              \
  X(pause_total_ns, COUNTER, NS, "all pauses together")                                           \
  X(young_collections, COUNTER, PLAIN, "young collections")                                       \
  X(young_reclaimed, COUNTER, OBJECTS, "objects reclaimed by young collections")                  \
  X(young_max_ns, GAUGE, NS, "longest young collection so far")                                   \
  X(young_total_ns, COUNTER, NS, "all young collections together")                                \
  X(young_references, COUNTER, PLAIN, "references that young collections visited, about")         \
  X(young_skipped, COUNTER, PLAIN, "generations 0 taken over without a look")           \
  X(concurrent_ns, COUNTER, NS, "wall time of concurrent phases")                                 \
  X(concurrent_cpu_ns, COUNTER, NS, "CPU time of collector threads in them")                      \
  X(old_objects, GAUGE, OBJECTS, "objects in the old set now")                                    \
  X(promoted, COUNTER, OBJECTS, "objects that entered the old set")                               \
  X(deferred_objects, GAUGE, OBJECTS, "objects of the last collection read by tp_traverse")       \
  X(types_registered, GAUGE, PLAIN, "types known to the collector")                               \
  X(types_deferred, GAUGE, PLAIN, "of those, types that only tp_traverse can read")               \
  X(pending_garbage, GAUGE, OBJECTS, "objects found, waiting to be reclaimed")                    \
  X(running, GAUGE, PLAIN, "1 while a full collection is under way")                              \
  X(stalls, COUNTER, PLAIN, "safepoints drawn out because garbage outran the collection")         \
  X(stall_ns, COUNTER, NS, "time by which they were drawn out")                                   \
  X(escalations, COUNTER, PLAIN, "times the world was stopped because garbage outran us")         \
  X(faults, COUNTER, PLAIN, "failures of the library that were survived")                         \
  /* these are brought up to date when they are asked for */                                      \
  X(heap_used, GAUGE, BYTES, "memory in blocks handed out")                                       \
  X(heap_committed, GAUGE, BYTES, "memory of the heap, free blocks and pages included")           \
  X(fallback_blocks, COUNTER, PLAIN, "blocks that the heap could not give")                       \
  X(uncommitted, COUNTER, BYTES, "memory given back to the system")                               \
  X(populated, COUNTER, BYTES, "memory populated ahead of need, in huge pages if there were any") \
  X(profile_samples, COUNTER, PLAIN, "allocations that the allocation profile has looked at")     \
  X(forks, COUNTER, PLAIN, "forks between the first process and this one")

typedef struct {
#define X(field, ...) uint64_t field;
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

#define X(...) + 1
enum { ZSTAT_LENGTH = 0 ZSTAT_TABLE(X) };
#undef X

/* Arrays, not pointers: those would be relocated, which writes to the table in every process. */
typedef struct {
  char name[28];
  char help[66];
  uint8_t kind; /* zstat_kind_t */
  uint8_t unit; /* zstat_unit_t */
} zstat_row_t;

extern const zstat_row_t zstat_rows[ZSTAT_LENGTH];

/* Name and value of counter `i`; false past the last. */
bool zstat_at(unsigned i, const char **name, uint64_t *value);

#endif
