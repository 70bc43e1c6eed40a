#include "heap/base/zpause.h"

#include "heap/base/zatomic.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"

#define US 1000u
#define MS 1000000u

const uint64_t zpause_bounds_ns[] = {10 * US, 25 * US, 50 * US,  100 * US, 250 * US, 500 * US,
                                     1 * MS,  2500 * US, 5 * MS, 10 * MS,  25 * MS,  50 * MS,
                                     100 * MS, 250 * MS, 1000 * MS, (uint64_t)5000 * MS};

static zpause_histogram_t histograms[ZPAUSE_KINDS];

const char *zpause_name(zpause_kind_t kind) {
  static const char names[][8] = {
#define X(id, name) name,
      ZPAUSE_TABLE(X)
#undef X
  };
  return names[kind];
}

void zpause_begin(zpause_kind_t kind) { zprobe_pause_start(zpause_name(kind)); }

void zpause_note(zpause_kind_t kind, uint64_t ns) {
  zprobe_pause_done(zpause_name(kind), ns);
  zpause_histogram_add(&histograms[kind], ns);
  zstat_add(pauses, 1);
  zstat_add(pause_total_ns, ns);
  zstat_max(pause_max_ns, ns);
}

zpause_histogram_t zpause_read(zpause_kind_t kind) { return zpause_histogram_read(&histograms[kind]); }

void zpause_histogram_add(zpause_histogram_t *histogram, uint64_t ns) {
  unsigned bucket = 0;
  while (bucket < ZPAUSE_BUCKETS - 1 && ns > zpause_bounds_ns[bucket]) bucket++;
  zstore_relaxed(&histogram->counts[bucket], histogram->counts[bucket] + 1);
  zstore_relaxed(&histogram->total_ns, histogram->total_ns + ns);
}

zpause_histogram_t zpause_histogram_read(const zpause_histogram_t *histogram) {
  zpause_histogram_t copy;
  for (unsigned i = 0; i < ZPAUSE_BUCKETS; i++) copy.counts[i] = zload_relaxed(&histogram->counts[i]);
  copy.total_ns = zload_relaxed(&histogram->total_ns);
  return copy;
}
