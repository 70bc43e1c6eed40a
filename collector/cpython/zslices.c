#include "collector/cpython/zslices.h"

#include "collector/cpython/zconsult.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zreclaim.h"
#include "collector/cpython/zseen.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

void zslices_serve_deferred(uint64_t deadline) {
  if (zdriver_phase() != ZPHASE_DEFERRING) return;
  uint64_t start = zos_now_ns();
  zdeferred_t *deferred = zdriver_deferred();
  size_t before = deferred->served;
  bool done;
  bool served = zdeferred_serve(deferred, deadline, &done);
  zlog_debug("gc,phases", "GC(%llu) Pause Defer %.3fms objects %zu", (unsigned long long)zdriver_collection.sequence,
             zlog_ms(zos_now_ns() - start), deferred->served - before);
  if (done || !served) zdriver_deferred_done(!served);
}

/* Promotion must not outrun the slices: the director waits until all is counted, which it would never be
 * where the program has asked for young collections that leave no time. Hence twice what was promoted, so that it
 * catches up. */
static void enumerate(uint64_t deadline) { zpromotion_slice(deadline, zplan_now.promoted * 2); }

void zslices_work(uint64_t since) {
  uint64_t budget = zplan_budget_ns(), deadline = zmax(zplan_now.start_ns + budget, since + budget / 4);
  zslices_serve_deferred(deadline); /* first: the collection waits for it */
  zreclaim_look(deadline + zreclaim_extra_targets() * budget);
  if (zdriver_phase() != ZPHASE_RECLAIMING) zseen_call(deadline); /* left by an abandoned collection */
  enumerate(deadline);
  zdirector_trim(deadline);
  if (zplan_now.plan->pause != ZPAUSE_RECLAIM && zplan_now.asked == NULL) zconsult_director();
}
