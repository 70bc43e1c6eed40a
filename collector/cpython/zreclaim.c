#include "collector/cpython/zreclaim.h"

#include "collector/cpython/zbatch.h"
#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zfaults.h"
#include "collector/cpython/zfeed.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zreport.h"
#include "collector/cpython/zrequest.h"
#include "collector/cpython/zseen.h"
#include "collector/cpython/zteardown.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zthresholds.h"
#include "collector/cpython/zweakrefs.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define FROZEN_MOST 1000 /* safepoints in a row, until garbage that is frozen by now is given up */
#define EXTRA_TARGETS_MOST 8

void zreclaim_look(uint64_t deadline) {
  if (zdriver_phase() != ZPHASE_RECLAIMING) return;
  uint64_t sequence = zdriver_collection.sequence;
  zcomponents_t *garbage = zdriver_garbage();
  if (zweakrefs_are_cleared(garbage, sequence) || zfeed_is_frozen(garbage)) return;
  if (!zweakrefs_clear(garbage, sequence, deadline)) return;
  if (zweakrefs_waiting() > 0) zdriver_leave(zweakrefs_waiting());
}

void zreclaim_settle_weakrefs(void) {
  zreclaim_look(UINT64_MAX);
  zweakrefs_give_up();
  zseen_call(UINT64_MAX);
}

unsigned zreclaim_extra_targets(void) { return zmin(zdirector_pressure(), EXTRA_TARGETS_MOST); }

/* A program that freezes what there is for a while (to fork, to measure) gets rid of the garbage afterwards. Where all
 * stays frozen the collection is given up: what is unfrozen one day counts as growth again. */
static bool is_garbage_frozen(void) {
  static unsigned safepoints; /* in a row */
  bool is_frozen = zfeed_is_frozen(zdriver_garbage());
  safepoints = is_frozen ? safepoints + 1 : 0;
  if (safepoints > FROZEN_MOST) zdriver_abandon("its garbage is frozen");
  return is_frozen;
}

bool zreclaim_is_due(void) {
  if (!zmode_is_on()) return false;
  if (zteardown_is_pending()) return true;
  return zdriver_phase() == ZPHASE_RECLAIMING && !is_garbage_frozen() &&
         zweakrefs_are_cleared(zdriver_garbage(), zdriver_collection.sequence);
}

static size_t batch_size(void) { return zbatch_size() * (1 + zreclaim_extra_targets()); }

bool zreclaim_is_last(void) {
  if (zdriver_collection.fed == 0) zbatch_begin();
  size_t left = zcomponents_left(zdriver_garbage());
  return !zteardown_is_pending() && zweakrefs_are_finished() && zfeed_reach(zdriver_garbage(), batch_size()) == left;
}

/* The component that is next, if it is large. One that is not hidden is fed by the next batch. */
static bool hide_large(void) {
  zcomponents_t *garbage = zdriver_garbage();
  if (!zcomponents_is_large(garbage, garbage->next_component)) return false;
  size_t size = zcomponents_size(garbage, garbage->next_component);
  if (!zteardown_begin(garbage->objects + garbage->next_object, size)) {
    garbage->refused = garbage->next_component + 1;
    return true;
  }
  garbage->next_object += size;
  garbage->next_component++;
  zplan_now.doomed += size;
  return true;
}

/* False: no large component is next. The look at one takes as long as it takes. */
static bool tear_down(uint64_t deadline) {
  if (!zteardown_is_pending() && !hide_large()) return false;
  while (zteardown_is_pending() && zos_now_ns() < deadline) {
    zteardown_slice(deadline);
    if (!zteardown_is_pending() && zos_now_ns() < deadline) hide_large();
  }
  return true;
}

/* A gc.collect(0) may have left millions in generation 1: the work at the stop is for survivors only. */
static void open_batch(bool is_last) {
  zgc_list_splice(zplan_list(1), zplan_list(2));
  zplan_now.young_count = zgc_state.generations[0].count;
  zfeed_open();
  uint64_t deadline = zplan_now.start_ns + zplan_budget_ns();
  bool goes_on = !zweakrefs_finish(deadline) || tear_down(deadline + zreclaim_extra_targets() * zplan_budget_ns());
  zfeed_open(); /* what callbacks, finalizers and destructors have made is no part of this collection */
  if (goes_on) return; /* so does the next batch */
  zplan_now.batch = zfeed_components(zdriver_garbage(), batch_size(), is_last);
}

/* CPython has its garbage in a list of its own from before the first callback is called. */
void zreclaim_hide(zgc_head_t *list) {
  bool is_batch = zplan_now.is_open && zplan_now.plan->pause == ZPAUSE_RECLAIM;
  if (!is_batch || zdriver_phase() != ZPHASE_RECLAIMING) return;
  if (zweakrefs_are_cleared(zdriver_garbage(), zdriver_collection.sequence)) zweakrefs_hide(list);
}

void zreclaim_open(void) { open_batch(false); }
void zreclaim_open_last(void) { open_batch(true); }

static void finish_collection(void) {
  zreport_considered();
  zreport_census();
  size_t waiting = zweakrefs_waiting();
  zdirector_note_end(zdriver_collection.found, zdriver_collection.reclaimed + waiting, waiting);
  if (zdirector_is_fruitful() && ztenuring_note_fruitful()) zthresholds_apply();
  zgc_state.generations[1].count = zgc_state.generations[2].count = 0;
  zdriver_finish();
  zfaults_forget();
  if (zoption(verify)) zrequest_verification();
}

static void note_pause(uint64_t took) {
  zcollection_t *c = &zdriver_collection;
  c->pauses++;
  c->pause_total_ns += took;
  if (took > c->pause_max_ns) c->pause_max_ns = took;
}

static size_t survivors(long collected) {
  return zplan_now.batch > (size_t)collected ? zplan_now.batch - (size_t)collected : 0;
}

void zreclaim_close(PyObject *info) {
  uint64_t took = zos_now_ns() - zplan_now.start_ns;
  note_pause(took);
  long collected = zcallbacks_number(info, "collected");
  zreport_fed(collected, zcallbacks_number(info, "uncollectable"));
  if (zplan_now.batch > 0) {
    zlog_info("gc,phases", "GC(%llu) Pause Reclaim %.3fms fed %zu reclaimed %ld",
              (unsigned long long)zdriver_collection.sequence, zlog_ms(took), zplan_now.batch, collected);
  }
  if (zplan_now.doomed > 0) {
    zlog_info("gc,phases", "GC(%llu) Large Component %.3fms objects %zu", zcollection_number(&zdriver_collection),
              zlog_ms(took), zplan_now.doomed);
  }
  zbatch_note(zplan_now.batch, took, zplan_budget_ns());
  zfeed_close(survivors(collected));
  zgc_state.generations[0].count = zplan_now.young_count;
  zcollector_thread_note_batch();
  if (zdriver_phase() != ZPHASE_RECLAIMING) return; /* given up by a finalizer, or a forked child */
  zstat_set(pending_garbage, zcomponents_left(zdriver_garbage()));
  if (zcomponents_left(zdriver_garbage()) == 0 && !zteardown_is_pending()) finish_collection();
}
