#include "collector/cpython/zreport.h"

#include <string.h>

#include "collector/cpython/zcensus.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zseen.h"
#include "heap/base/zlog.h"
#include "heap/base/zstat.h"

/* The batch was the work of a full collection: its numbers belong to generation 2. 3.15 adds to the
 * duration once more when our callable has returned: that part is moved at the next safepoint. */
static struct {
  bool is_due;
  zgc_generation_stats_t young; /* as they should be */
  int generation;               /* to which the difference belongs */
} unsettled;

static void move_stats(const zgc_generation_stats_t *before, int generation) {
  const zcallbacks_report_t *report = &zplan_now.report;
  zgc_generation_stats_t young = zpyabi_stats(0), target = zpyabi_stats(generation);
  target.collections += young.collections - before->collections;
  target.collected += report->collected;
  target.uncollectable += report->uncollectable;
  target.candidates += young.candidates - before->candidates + (Py_ssize_t)zplan_now.doomed;
  target.duration += young.duration - before->duration;
  zpyabi_set_stats(0, before);
  zpyabi_set_stats(generation, &target);
}

void zreport_settle(void) {
  zplan_now.report.collected = zplan_now.report.uncollectable = 0;
  zplan_now.doomed = 0;
  if (unsettled.is_due) move_stats(&unsettled.young, unsettled.generation);
  unsettled.is_due = false;
}

/* Objects that batches have collected and no collection of generation 2 has told yet. An abandoned collection leaves
 * them to the next one. */
static zcallbacks_report_t untold;

void zreport_reset(void) {
  unsettled.is_due = false;
  memset(&untold, 0, sizeof untold);
}

static void tell_sums(long collected, long uncollectable) {
  zcallbacks_report_t *report = &zplan_now.report;
  untold.collected += collected;
  untold.uncollectable += uncollectable;
  if (report->generation < ZGC_GENERATIONS - 1) {
    report->collected = report->uncollectable = 0;
    return;
  }
  report->collected = untold.collected;
  report->uncollectable = untold.uncollectable;
  memset(&untold, 0, sizeof untold);
}

void zreport_fed(long collected, long uncollectable) {
  zcollection_t *c = &zdriver_collection;
  zstat_add(fed, zplan_now.batch + zplan_now.doomed);
  c->fed += zplan_now.batch + zplan_now.doomed;
  collected += (long)zplan_now.doomed;
  collected += (long)zseen_take_freed(); /* CPython counts them, too */
  zstat_add(reclaimed, collected);
  c->reclaimed += (uint64_t)collected;
  zstat_add(uncollectable, uncollectable);
  c->uncollectable += (uint64_t)uncollectable;
  tell_sums(collected, uncollectable);
  unsettled.generation = (int)zplan_now.report.generation;
  move_stats(&zplan_now.young_stats, unsettled.generation);
  unsettled.young = zplan_now.young_stats;
  unsettled.is_due = true;
}

void zreport_considered(void) {
  const zcollection_t *c = &zdriver_collection;
  zgc_generation_stats_t full = zpyabi_stats(ZGC_GENERATIONS - 1);
  if (c->considered > c->fed) full.candidates += (Py_ssize_t)(c->considered - c->fed);
  zpyabi_set_stats(ZGC_GENERATIONS - 1, &full);
}

void zreport_census(void) {
  zcensus_finish();
  if (!zlog_is(ZLOG_INFO) || zdriver_collection.reclaimed == 0) return;
  char types[800];
  zcensus_describe(types, sizeof types);
  zlog_info("gc,types", "GC(%llu) garbage %s", (unsigned long long)zdriver_collection.sequence, types);
}
