#include "collector/cpython/zconsult.h"

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zconcurrent.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zpace.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zreclaim.h"
#include "collector/cpython/zswitch.h"
#include "collector/cpython/zweakrefs.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define ABANDONED_MOST 4 /* collections in a row, by switching off and on: the next one is not concurrent */
#define YOUNG_MOST 20000 /* objects promoted before a collection begins: half a millisecond */

static bool is_stop_due;  /* a collection is wanted, and those before it were given up */
static bool is_whole_due; /* by objects that our passes do not see */

void zconsult_reset(void) { is_stop_due = is_whole_due = false; }
void zconsult_forget_whole(void) { is_whole_due = false; }

/* NULL: there is no reason. */
static const char *why_stop_world(void) {
  if (is_stop_due) return "collections are given up one after the other: ";
  if (zdriver_phase() == ZPHASE_IDLE) return NULL;
  if (zpace_is_thread_lost()) return "the collector thread gets no processor: ";
  return zdirector_pressure() < ZDIRECTOR_STOP_WORLD ? NULL : "";
}

/* The last escalation: nothing else has kept garbage from piling up. Weak references to it are all cleared first:
 * callbacks see them so, or none is called. */
bool zconsult_stops_world(void) {
  const char *why = why_stop_world();
  if (why == NULL) return false;
  is_stop_due = false;
  zstat_add(escalations, 1);
  zlog_info("gc,director", "escalation: %sthe world is stopped for a full collection", why);
  zreclaim_look(UINT64_MAX);
  zdriver_abandon("escalation");
  zdriver_begin_stopped(ZCAUSE_ESCALATION);
  return true;
}

bool zconsult_wants_whole(void) {
  if (!is_whole_due) return false;
  is_whole_due = false;
  zreclaim_look(UINT64_MAX);
  zdriver_abandon("a collection of all objects by CPython takes its place");
  zdriver_begin_stopped(ZCAUSE_GROWTH);
  return true;
}

void zconsult_promote_young(void) {
  for (int i = 0; i < ZGC_GENERATIONS - 1; i++) zgc_list_splice(zplan_list(i), zplan_list(ZGC_GENERATIONS - 1));
}

/* True when nothing is young, and all that is old is known. */
static bool promote_all(zcause_t cause) {
  if (cause != ZCAUSE_EXPLICIT && !zweakrefs_want_all_old()) return false;
  zconsult_promote_young();
  zpromotion_slice(zos_now_ns() + zplan_budget_ns(), YOUNG_MOST);
  return zpromotion_is_complete();
}

bool zconsult_begin(zcause_t cause) {
  if (!zmode_is_on()) return false; /* it would never end: safepoints leave all to CPython */
  if (zdriver_phase() != ZPHASE_IDLE) return false;
  bool all_is_old = promote_all(cause);
  zweakrefs_begin(all_is_old);
  zdirector_note_start();
  return zdriver_request(cause, all_is_old);
}

void zconsult_director(void) {
  if (!zmode_is_on()) return; /* a callback of a weak reference has switched it off */
  if (zcollector_thread_is_resting()) return;
  if (zdriver_phase() != ZPHASE_IDLE) return;
  if (zconcurrent_take_fault()) zswitch_note_fault("a side table could not be mapped");
  if (!zpromotion_is_complete() && !zoption(stress)) return; /* old objects are still being counted */
  is_whole_due = zdirector_foreign_is_due(zpromotion_foreign(), zpromotion_foreign_before());
  if (is_whole_due) return;
  zcause_t cause = zdirector_decide();
  if (cause == ZCAUSE_NONE) return;
  is_stop_due = zdriver_abandoned >= ABANDONED_MOST;
  if (is_stop_due || zconsult_begin(cause)) return;
  zswitch_note_fault("a collection could not be started");
}
