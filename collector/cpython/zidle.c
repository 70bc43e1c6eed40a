#include "collector/cpython/zidle.h"

#include <stdlib.h>

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zconsult.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zrequest.h"
#include "collector/cpython/zsafepoint.h"
#include "collector/cpython/zslices.h"
#include "collector/cpython/zteardown.h"
#include "collector/cpython/zthresholds.h"
#include "collector/cpython/zverify.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

static bool waits_for_safepoint(void) {
  zphase_t phase = zdriver_phase();
  return phase == ZPHASE_DEFERRING || phase == ZPHASE_RECLAIMING || zteardown_is_pending();
}

/* Both of the program's switches: gc.disable(), and a threshold of 0. Neither lets CPython collect by itself. */
static bool is_enabled(void) {
  int thresholds[ZGC_GENERATIONS];
  zthresholds_get(thresholds);
  return *zgc_state.enabled && thresholds[0] != 0;
}

static void make_safepoint(void) {
  if (!zsafepoint_now()) zpy.PyErr_WriteUnraisable(NULL);
}

/* A program that calls gc.collect(1) again and again keeps the count of generation 0 below its threshold. */
void zidle_follow(void) {
  if (zmode_is_on() && !zmode_is_cramped() && is_enabled() && waits_for_safepoint()) make_safepoint();
}

/* ZGC_VERIFY is for finding faults of ours: a heap that is not right must not go on. */
static void verify_or_abort(void) {
  if (zverify() >= 0) return;
  zlog_notice("ZGC_VERIFY: after GC(%llu) the check failed; the exception tells, then we abort",
              (unsigned long long)zdriver_collection.sequence);
  zpy.PyErr_WriteUnraisable(NULL);
  abort();
}

/* A program that has disabled collection does not expect finalizers to run. Deferred objects are
 * served all the same: that runs none, and the collection is ready when collection is enabled again. */
static void serve_while_disabled(void) { zslices_serve_deferred(zos_now_ns() + zplan_budget_ns()); }

static bool may_collect(void) { return zmode_is_on() && is_enabled() && !*zgc_state.collecting; }

static int on_pending(void *unused) {
  (void)unused;
  zrequest_served();
  if (zmode_is_on() && !is_enabled() && !*zgc_state.collecting) serve_while_disabled();
  if (may_collect() && zrequest_take_verification()) verify_or_abort();
  bool is_timer = zdirector_timer_is_due();
  bool has_work = waits_for_safepoint() || zload_relaxed(&zcollector_thread_is_trimming);
  if (!zmode_is_on() || !is_enabled() || !(has_work || is_timer)) return 0;
  make_safepoint();
  /* Another thread's collection may be within its finalizers: the record is its own. */
  if (is_timer && !*zgc_state.collecting) zconsult_begin(ZCAUSE_TIMER);
  return 0;
}

void zidle_start(void) { zrequest_start(on_pending); }
