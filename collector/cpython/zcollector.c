#include "collector/cpython/zcollector.h"

#include <limits.h>

#include "collector/cpython/zcensus.h"
#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zconsult.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zheap_growth.h"
#include "collector/cpython/zidle.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zoutside.h"
#include "collector/cpython/zpayload.h"
#include "collector/cpython/zpending.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zreclaim.h"
#include "collector/cpython/zrequest.h"
#include "collector/cpython/zsafepoint.h"
#include "collector/cpython/zsmall.h"
#include "collector/cpython/zsurvivors.h"
#include "collector/cpython/zswitch.h"
#include "collector/cpython/zteardown.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zthresholds.h"
#include "collector/cpython/zwarmup.h"
#include "collector/cpython/zweakrefs.h"
#include "collector/python/zbuiltin.h"
#include "collector/python/zpyabi.h"
#include "collector/python/zpyabi_interpreter.h"
#include "collector/python/ztype_registry.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zheap.h"
#include "heap/zold_map.h"

#define WAIT_SLICE_MS 5
#define WAIT_ROUNDS 100 /* half a second */
#define ROUNDS_MOST 3 /* of collections, each for what the last one has left */

void zcollector_get_counts(int counts[3]) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) counts[i] = zgc_state.generations[i].count;
}

/* -- start, stop, switch ------------------------------------------------------------------------------ */

static void forget_type(void *object) {
  ztype_forget(object);
  if (zcensus_row_count > 0) zcensus_forget(object);
}

static void log_options(void) {
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) {
    if (zoption_is_default((zoption_id_t)id)) continue;
    char value[ZOPTION_TEXT_MAX + 1];
    zoption_format((zoption_id_t)id, value, sizeof value);
    zlog_info("gc,init", "option %s=%s", zoption_rows[id].name, value);
  }
}

bool zcollector_start(const char **why) {
  if (!zpyabi_prove(why)) return false;
  PyObject *gc = zbuiltin_module("gc");
  if (gc == NULL || !zpromotion_start() || !zsafepoint_install(gc)) {
    zpy.PyErr_Clear();
    *why = "no memory for the callback";
    return false;
  }
  zpy.Py_DecRef(gc);
  zthresholds_start();
  zoutside_start();
  zheap_hooks.old_freed = forget_type;
  zidle_start();
  zswitch(true);
  if (zoption(interval) != 0) zcollector_thread_ensure();
  log_options();
  return true;
}

void zcollector_stop(void) {
  zreclaim_settle_weakrefs();
  zdriver_abandon("the program ends");
  zswitch(false);
  PyObject *gc = zbuiltin_loaded("gc");
  zsafepoint_remove(gc);
  if (gc != NULL) zpy.Py_DecRef(gc);
  zpy.PyErr_Clear();
  zpromotion_stop();
  zsurvivors_stop();
  ztenuring_reset();
  zpayload_reset();
  zgrowth_reset();
  zheap_growth_reset();
  ztype_registry_stop();
}

/* -- collections that are asked for ------------------------------------------------------------------ */

/* A collection of a younger generation leaves ours as it is: it looks at no member of the oldest list and moves
 * none, it only adds at the end, behind the marker of what has been enumerated. Bits of what it frees go with
 * the blocks, and garbage that waits to be fed is in the oldest list.
 *
 * With debug flags set the user wants to see CPython's own full collection at work. */
Py_ssize_t zcollector_collect(int generation) {
  bool ours = zmode_is_on() && generation == ZGC_GENERATIONS - 1 && *zgc_state.debug == 0 &&
              !zmode_is_cramped();
  Py_ssize_t count = ours ? zsafepoint_collect(ZCAUSE_SYSTEM_GC) : -2;
  if (count == -2) {
    if (generation == ZGC_GENERATIONS - 1) {
      zreclaim_settle_weakrefs();
      zdriver_abandon("CPython's own full collection takes its place");
    }
    count = zsafepoint_stock_collect(generation);
    if (count >= 0 && generation < ZGC_GENERATIONS - 1) zidle_follow();
  }
  return count;
}

/* In the midst of a collection of CPython's the lists are left as they are.
 *
 * The collection under way goes on, with what has been frozen since it began: garbage is fed once it is not. */
static bool may_move_lists(void) { return zmode_is_on() && zmode_is_warm() && !*zgc_state.collecting; }

static zgc_head_t hidden; /* empty but for the time of a call */

void zcollector_hide_garbage(void) {
  if (hidden.next == 0) hidden = (zgc_head_t){(uintptr_t)&hidden, (uintptr_t)&hidden};
  zreclaim_hide(&hidden);
}

void zcollector_show_garbage(void) { zgc_list_splice(&hidden, zplan_list(ZGC_GENERATIONS - 1)); }

static void thaw_hidden(void) {
  for (zgc_head_t *at = zgc_head_next(&hidden); at != &hidden; at = zgc_head_next(at)) {
    zold_map_thaw_object(zpyabi_object(at));
  }
}

void zcollector_before_freeze(void) {
  zpromotion_before_freeze(may_move_lists());
  zcollector_hide_garbage();
}

void zcollector_after_freeze(void) {
  zpromotion_after_freeze();
  thaw_hidden();
  zcollector_show_garbage();
  zdirector_note_frozen(zold_map_frozen_count);
}

void zcollector_before_unfreeze(void) { zpromotion_before_unfreeze(); }
void zcollector_after_unfreeze(void) {
  size_t frozen = zold_map_frozen_count;
  zpromotion_after_unfreeze(may_move_lists());
  zdirector_note_unfrozen(frozen);
  /* A program that freezes often makes objects old without a young collection, whose end asks the director. */
  if (zmode_is_on() && zmode_is_warm() && zdriver_phase() == ZPHASE_IDLE &&
      zdirector_decide() != ZCAUSE_NONE) {
    zrequest_safepoint();
  }
}

typedef enum { WAIT_ENDED, WAIT_EXCEPTION, WAIT_LOST } wait_t;

/* Without the GIL this thread can help. */
static void help_or_wait(void) {
  PyThreadState *thread = zpy.PyEval_SaveThread();
  if (!zdriver_help(zos_now_ns() + WAIT_SLICE_MS * 1000000u)) zdriver_wait(WAIT_SLICE_MS);
  zpy.PyEval_RestoreThread(thread);
}

/* Lets the collector thread work and safepoints happen until the collection under way has ended. LOST: the
 * thread has not got on for WAIT_ROUNDS waits in which nothing but it could. */
static wait_t wait_for_end(void) {
  uint64_t beats = zdriver_beats();
  unsigned rounds = 0;
  while (zdriver_phase() != ZPHASE_IDLE) {
    help_or_wait();
    if (zpy.PyErr_CheckSignals() != 0) return WAIT_EXCEPTION;
    zphase_t phase = zdriver_phase();
    bool needs_us = phase == ZPHASE_DEFERRING || phase == ZPHASE_RECLAIMING;
    if (needs_us && !zsafepoint_now()) return WAIT_EXCEPTION;
    if (needs_us || beats != zdriver_beats()) rounds = 0;
    beats = zdriver_beats();
    if (++rounds > WAIT_ROUNDS) return WAIT_LOST;
  }
  return WAIT_ENDED;
}

/* Brings all that is tracked into the old set, in slices between which other threads may run. */
static bool promote_everything(void) {
  zconsult_promote_young();
  while (!zpromotion_is_complete()) {
    zpromotion_slice(zos_now_ns() + zplan_budget_ns(), 0);
    PyThreadState *thread = zpy.PyEval_SaveThread();
    zpy.PyEval_RestoreThread(thread);
    if (zpy.PyErr_CheckSignals() != 0) return false;
  }
  return true;
}

/* Where the collector thread does not get on, the caller does its work: with the world stopped. */
static Py_ssize_t collect_for(wait_t ended) {
  if (ended == WAIT_EXCEPTION) return -1;
  zlog_info("gc", "the collector thread gets no processor: the world is stopped for zgc.collect");
  return zcollector_collect(ZGC_GENERATIONS - 1);
}

/* One collection. -2: it has come to its end, else what to return. */
static Py_ssize_t collect_once(zcause_t cause, bool wait) {
  if (wait && !promote_everything()) return -1;
  if (*zgc_state.collecting) return 0; /* another thread's has begun meanwhile: as gc.collect() */
  if (wait && zpromotion_foreign() > 0) return zcollector_collect(ZGC_GENERATIONS - 1);
  while (!zconsult_begin(cause)) {
    if (!zmode_is_on()) return zcollector_collect(ZGC_GENERATIONS - 1);
    if (zdriver_phase() == ZPHASE_IDLE) {
      zswitch_note_fault("zgc.collect could not start a collection");
      return zcollector_collect(ZGC_GENERATIONS - 1);
    }
    if (!wait) return 0;
    wait_t ended = wait_for_end(); /* another thread was faster */
    if (ended != WAIT_ENDED) return collect_for(ended);
    if (*zgc_state.collecting) return 0;
  }
  if (!wait) return 0;
  wait_t ended = wait_for_end();
  if (ended != WAIT_ENDED) return collect_for(ended);
  return zdriver_abandoned == 0 ? -2 : zcollector_collect(ZGC_GENERATIONS - 1); /* a signal handler has forked */
}

Py_ssize_t zcollector_collect_concurrently(bool wait) {
  if (!zmode_is_on()) return zcollector_collect(ZGC_GENERATIONS - 1);
  if (*zgc_state.collecting) return 0;
  if (!zwarmup_try()) return zcollector_collect(ZGC_GENERATIONS - 1);
  uint64_t before = zstat_get(reclaimed);
  wait_t ended = wait ? wait_for_end() : WAIT_ENDED; /* one under way does not see what is garbage by now */
  if (ended != WAIT_ENDED) return collect_for(ended);
  if (!zmode_is_on()) return zcollector_collect(ZGC_GENERATIONS - 1); /* a callback has switched it off */
  Py_ssize_t count = collect_once(ZCAUSE_EXPLICIT, wait);
  for (unsigned round = 1; round < ROUNDS_MOST && count == -2 && zweakrefs_waiting() > 0; round++) {
    count = collect_once(ZCAUSE_GROWTH, wait); /* as the director would, later */
  }
  return count == -2 ? (Py_ssize_t)(zstat_get(reclaimed) - before) : count;
}

/* -- fork ------------------------------------------------------------------------------------------------ */

/* Other threads than those with the GIL fork without CPython, which then counts nothing. */
static bool has_first_gil(void) {
  PyThreadState *thread = zpyabi_current_thread()();
  return thread != NULL && zpy.PyThreadState_GetInterpreter(thread) == zpy.PyInterpreterState_Main();
}

#define WARNS_FROM 12 /* 3.12 */

void zcollector_fork_prepare(void) {
  if (zpyabi_layout != NULL && zpyabi_layout->minor >= WARNS_FROM && has_first_gil()) zdriver_fork_prepare();
}

void zcollector_fork_child(void) {
  zpending_fork_child();
  zdriver_fork_child();
  zteardown_fork_child();
  zsmall_fork_child();
}
