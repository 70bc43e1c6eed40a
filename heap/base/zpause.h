/* Pauses by kind: a histogram with fixed bounds, for zgc.prometheus(), and their sums in zstat.h.
 *
 * One writer at a time (the GIL), readers on any thread: each number is read whole, but not all of
 * them at one moment. */
#ifndef HEAP_BASE_ZPAUSE_H
#define HEAP_BASE_ZPAUSE_H

#include "heap/base/zbase.h"

/* X(id, name): young collections, batches of garbage, full collections with the world stopped. */
#define ZPAUSE_TABLE(X) \
  X(YOUNG, "young")     \
  X(RECLAIM, "reclaim") \
  X(FULL, "full")

typedef enum {
#define X(id, name) ZPAUSE_##id,
  ZPAUSE_TABLE(X)
#undef X
      ZPAUSE_KINDS
} zpause_kind_t;

#define ZPAUSE_BUCKETS 17 /* the last one has no upper bound */

typedef struct {
  uint64_t counts[ZPAUSE_BUCKETS]; /* pauses above the bound before and up to this one's */
  uint64_t total_ns;
} zpause_histogram_t;

/* Upper bounds of all buckets but the last, in nanoseconds, growing. */
extern const uint64_t zpause_bounds_ns[ZPAUSE_BUCKETS - 1];

const char *zpause_name(zpause_kind_t kind);

/* Tells who watches the probes that one begins. GIL. */
void zpause_begin(zpause_kind_t kind);

/* Adds a pause, here and to the counters. GIL. */
void zpause_note(zpause_kind_t kind, uint64_t ns);

/* Any thread. */
zpause_histogram_t zpause_read(zpause_kind_t kind);

/* For a histogram of the caller's, which has one writer at a time. */
void zpause_histogram_add(zpause_histogram_t *histogram, uint64_t ns);
zpause_histogram_t zpause_histogram_read(const zpause_histogram_t *histogram);

#endif
