#include "collector/cpython/zfull.h"

#include <stdlib.h>

#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zfeed.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zreport.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zseen.h"
#include "collector/cpython/zweakrefs.h"
#include "collector/python/ztype_registry.h"
#include "collector/python/zuntrack.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

/* -- exact passes ------------------------------------------------------------------------------------ */

/* Logs how long a step took; the steps of a stopped collection are one pause. */
static bool log_step(const char *name, bool done, uint64_t *since) {
  uint64_t at = zos_now_ns();
  zlog_debug("gc,phases", "GC(%llu) Pause Full: %s %.3fms", (unsigned long long)zdriver_collection.sequence, name,
             zlog_ms(at - *since));
  *since = at;
  return done;
}

static bool has_exact_pass(zpass_t *pass) {
  uint64_t since = zos_now_ns();
  return log_step("subtract", zpass_subtract(pass), &since) &&
         log_step("mark", zpass_mark(pass), &since) &&
         log_step("sweep", zpass_sweep(pass), &since);
}

/* With the world stopped nothing races, so one pass is exact. Where the collector thread has joined it and got no
 * processor since, another one is done without it. NULL: memory was short. */
static zpass_t *exact_pass(void) {
  for (int with_thread = 1; with_thread >= 0; with_thread--) {
    zpass_t *pass = zdriver_begin_pass(with_thread);
    if (pass == NULL) return NULL;
    if (has_exact_pass(pass)) return pass;
    bool is_lost = pass->is_lost;
    zdriver_end_pass(pass);
    if (!is_lost) return NULL;
    zlog_info("gc,phases", "GC(%llu) Pause Full: the collector thread gets no processor: once more, without it",
              (unsigned long long)zdriver_collection.sequence);
  }
  return NULL;
}

static void enumerate_all(void) {
  uint64_t since = zos_now_ns();
  zpromotion_slice(UINT64_MAX, 0);
  ztype_recheck();
  log_step("enumerate", true, &since);
}

/* As CPython's full collection does; a tuple around one that goes has to wait for the next, as there. */
static void untrack(PyObject *object) {
  if (!zpyabi_is_tracked(object)) return; /* both lanes met it */
  if (!zuntrack_is_due(object)) return;
  zpy.PyObject_GC_UnTrack(object);
  zold_map_remove(object);
}

/* ZGC_VERIFY: with the world stopped, what the walkers find must be what tp_traverse finds. */
static void verify_walkers(void) {
  const zgc_head_t *end = zplan_list(2);
  char why[200];
  for (zgc_head_t *at = zgc_head_next(end); at != end; at = zgc_head_next(at)) {
    if (ztype_verify(zpyabi_object(at), why, sizeof why)) continue;
    zlog_notice("ZGC_VERIFY: %s; we abort", why);
    abort();
  }
}

void zfull_open(void) {
  zseen_call(UINT64_MAX);
  zgc_list_splice(zplan_list(0), zplan_list(2));
  zgc_list_splice(zplan_list(1), zplan_list(2));
  if (zoption(verify)) verify_walkers();
  zdirector_note_start();
  enumerate_all();
  zpass_t *pass = zpromotion_foreign() > 0 ? NULL : exact_pass();
  zplan_now.has_failed = pass == NULL;
  if (zplan_now.has_failed) return;
  zdriver_collection.considered = zold_map_count;
  zdriver_collection.found = pass->candidate_count;
  zplan_now.batch = zfeed_candidates(pass->candidates, pass->candidate_count);
  zpass_each_untrackable(pass, untrack);
  zdriver_end_pass(pass);
}

/* -- the end of each kind ------------------------------------------------------------------------------ */

static void conclude(void) {
  ztenuring_note_cleared();
  zdriver_end_stopped();
  const zcollection_t *c = &zdriver_collection;
  uint64_t took = zos_now_ns() - c->started_ns;
  for (int i = 0; i < ZGC_GENERATIONS; i++) zgc_state.generations[i].count = 0;
  zstat_add(found, c->found);
  zcause_count(c->cause);
  zprobe_collection_done(c->sequence, c->found, c->reclaimed);
  zdirector_note_end(c->found, c->reclaimed, 0);
  zweakrefs_forget_waiting();
  zpause_note(ZPAUSE_FULL, took);
  zlog_info("gc", "GC(%llu) Pause Full (%s) found %llu reclaimed %llu old %zu %.3fms",
            (unsigned long long)c->sequence, zcause_name(c->cause), (unsigned long long)c->found,
            (unsigned long long)c->reclaimed, zold_map_count, zlog_ms(took));
}

void zfull_close(PyObject *info) {
  zdriver_end_stopped();
  if (zplan_now.has_failed) return;
  long collected = zcallbacks_number(info, "collected");
  zreport_fed(collected, zcallbacks_number(info, "uncollectable"));
  zreport_considered();
  zfeed_note_survivors(zplan_now.batch > (size_t)collected ? zplan_now.batch - (size_t)collected : 0);
  zreport_census();
  zgc_list_splice(zplan_list(1), zplan_list(2)); /* what was resurrected */
  conclude();
}

/* -- all objects as if they were young ----------------------------------------------------------------- */

/* In the order of age. */
void zfull_open_whole(void) {
  zseen_call(UINT64_MAX);
  zdirector_note_start();
  for (int i = 1; i >= 0; i--) zgc_list_splice(zplan_list(i), zplan_list(ZGC_GENERATIONS - 1));
  zgc_list_splice(zplan_list(ZGC_GENERATIONS - 1), zplan_list(0));
}

void zfull_close_whole(PyObject *info) {
  long collected = zcallbacks_number(info, "collected"), uncollectable = zcallbacks_number(info, "uncollectable");
  zplan_now.batch = zdriver_collection.found = (size_t)(collected + uncollectable);
  zreport_fed(collected, uncollectable);
  zgc_list_splice(zplan_list(1), zplan_list(ZGC_GENERATIONS - 1));
  zpromotion_rewind();
  conclude();
}

/* -- CPython's own ------------------------------------------------------------------------------------- */

void zfull_open_small(void) { zdirector_note_start(); }

void zfull_close_small(PyObject *info) {
  zcollection_t *c = &zdriver_collection;
  c->reclaimed = (uint64_t)zcallbacks_number(info, "collected");
  c->uncollectable = (uint64_t)zcallbacks_number(info, "uncollectable");
  c->found = c->fed = c->reclaimed + c->uncollectable;
  zstat_add(fed, c->fed);
  zstat_add(reclaimed, c->reclaimed);
  zstat_add(uncollectable, c->uncollectable);
  zpromotion_rewind(); /* CPython has reordered the oldest list */
  conclude();
}
