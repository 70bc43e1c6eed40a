/* The record of a collection: its numbers, for the log, the counters and the director. */
#ifndef COLLECTOR_CPYTHON_ZCOLLECTION_H
#define COLLECTOR_CPYTHON_ZCOLLECTION_H

#include "collector/cpython/zphase.h"

typedef struct {
  uint64_t sequence;      /* number of the collection under way, or of the last one */
  zcause_t cause;
  uint64_t started_ns;    /* monotonic */
  uint64_t considered;    /* old objects that its passes look at */
  uint64_t found;         /* candidates of the last pass */
  uint64_t fed, reclaimed, uncollectable;
  uint64_t pauses, pause_max_ns, pause_total_ns;
  uint64_t concurrent_ns;
  size_t heap_before, rss_before;
} zcollection_t;

/* The next one's record, in place of the last one's. */
void zcollection_begin(zcollection_t *record, zcause_t cause);

void zcollection_log_start(const zcollection_t *record);
void zcollection_log_end(const zcollection_t *record);

/* For "GC(%llu)". */
static inline unsigned long long zcollection_number(const zcollection_t *record) {
  return (unsigned long long)record->sequence;
}

#endif
