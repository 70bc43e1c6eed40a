#include "collector/cpython/zcollector.h"

#include <limits.h>

#include "collector/python/zbuiltin.h"
#include "collector/python/zcallbacks.h"
#include "collector/cpython/zcensus.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zgrowth.h"
#include "collector/cpython/zpending.h"
#include "collector/cpython/zpromotion.h"
#include "collector/python/zpyabi.h"
#include "collector/python/zpyabi_interpreter.h"
#include "collector/cpython/zsafepoint.h"
#include "collector/cpython/zsurvivors.h"
#include "collector/cpython/ztenuring.h"
#include "collector/python/ztype_registry.h"
#include "collector/cpython/zweakrefs.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/base/zstatpage.h"
#include "heap/zallocator.h"
#include "heap/zold_map.h"
#include "heap/zsparse.h"

#define STOCK_YOUNG_MAX 2000 /* largest default of a CPython served */
#define FAULTS_MAX 3
#define WAIT_SLICE_MS 5
#define WAIT_ROUNDS 100 /* half a second */
#define ROUNDS_MOST 3 /* of collections, each for what the last one has left */

static int user_thresholds[ZGC_GENERATIONS];
static unsigned consecutive_faults;

/* -- thresholds ------------------------------------------------------------------------------------ */

/* A user who asked for rarer young collections gets them; the defaults become ours. */
static int inner_young_threshold(void) {
  int wished = user_thresholds[0];
  if (wished <= 0) return wished; /* 0 switches collection off */
  if (zoption(stress)) return 20;
  if (zoption(young) != 0) return (int)zoption(young);
  bool is_theirs = wished > STOCK_YOUNG_MAX || wished < ZTENURING_THRESHOLD_MIN;
  return is_theirs ? wished : (int)ztenuring_threshold();
}

void zcollector_apply_thresholds(void) {
  bool ours = zsafepoint_is_on() && zsafepoint_is_warm() && !zsafepoint_is_cramped();
  zgc_state.generations[0].threshold = ours ? inner_young_threshold() : user_thresholds[0];
  zgc_state.generations[1].threshold = ours ? INT_MAX : user_thresholds[1];
  zgc_state.generations[2].threshold = ours ? INT_MAX : user_thresholds[2];
}

void zcollector_get_thresholds(int thresholds[3]) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) thresholds[i] = user_thresholds[i];
}

void zcollector_lend_thresholds(void) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) {
    zgc_state.generations[i].threshold = user_thresholds[i];
  }
}

void zcollector_take_thresholds(void) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) {
    user_thresholds[i] = zgc_state.generations[i].threshold;
  }
  zcollector_apply_thresholds();
}

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
  for (int i = 0; i < ZGC_GENERATIONS; i++) {
    user_thresholds[i] = zgc_state.generations[i].threshold;
  }
  zold_map_free_hook = forget_type;
  zdriver_wake_program = zsafepoint_request;
  zcollector_switch(true);
  if (zoption(interval) != 0) zdriver_ensure_thread();
  log_options();
  return true;
}

void zcollector_stop(void) {
  zsafepoint_settle_weakrefs();
  zdriver_abandon("the program ends");
  zcollector_switch(false);
  PyObject *gc = zbuiltin_loaded("gc");
  zsafepoint_remove(gc);
  if (gc != NULL) zpy.Py_DecRef(gc);
  zpy.PyErr_Clear();
  zpromotion_stop();
  zsurvivors_stop();
  ztenuring_reset();
  zgrowth_reset();
  ztype_registry_stop();
}

void zcollector_switch(bool on) {
  if (on == zsafepoint_is_on()) return;
  if (!on) zsafepoint_settle_weakrefs();
  if (!on) zdriver_abandon("switched to the stock collector");
  if (on) zpromotion_rewind(); /* the stock collector has reordered the list meanwhile */
  zsafepoint_switch(on);
  zcollector_apply_thresholds();
  consecutive_faults = 0;
  zlog_info("gc,init", "full collections: %s", on ? "zgc" : "stock");
}

bool zcollector_is_on(void) { return zsafepoint_is_on(); }

void zcollector_note_fault(const char *what) {
  zlog_warn("gc,fault", "%s", what);
  if (++consecutive_faults < FAULTS_MAX) return;
  zlog_notice("%u failures in a row (%s): full collections are CPython's own from here on",
              consecutive_faults, what);
  zcollector_switch(false);
}

void zcollector_note_success(void) { consecutive_faults = 0; }

/* -- collections that are asked for ------------------------------------------------------------------ */

/* A collection of a younger generation leaves ours as it is: it looks at no member of the oldest list and moves
 * none, it only adds at the end, behind the marker of what has been enumerated. Bits of what it frees go with
 * the blocks, and garbage that waits to be fed is in the oldest list.
 *
 * With debug flags set the user wants to see CPython's own full collection at work. */
Py_ssize_t zcollector_collect(int generation) {
  bool ours = zsafepoint_is_on() && generation == ZGC_GENERATIONS - 1 && *zgc_state.debug == 0 &&
              !zsafepoint_is_cramped();
  Py_ssize_t count = ours ? zsafepoint_collect(ZCAUSE_SYSTEM_GC) : -2;
  if (count == -2) {
    if (generation == ZGC_GENERATIONS - 1) {
      zsafepoint_settle_weakrefs();
      zdriver_abandon("CPython's own full collection takes its place");
    }
    count = zsafepoint_stock_collect(generation);
    if (count >= 0 && generation < ZGC_GENERATIONS - 1) zsafepoint_follow();
  }
  return count;
}

/* In the midst of a collection of CPython's the lists are left as they are.
 *
 * The collection under way goes on, with what has been frozen since it began: garbage is fed once it is not. */
static bool may_move_lists(void) { return zsafepoint_is_on() && zsafepoint_is_warm() && !*zgc_state.collecting; }

void zcollector_before_freeze(void) { zpromotion_before_freeze(may_move_lists()); }
void zcollector_after_freeze(void) {
  zpromotion_after_freeze();
  zdirector_note_frozen(zold_map_frozen_count);
}

void zcollector_before_unfreeze(void) { zpromotion_before_unfreeze(); }
void zcollector_after_unfreeze(void) {
  size_t frozen = zold_map_frozen_count;
  zpromotion_after_unfreeze(may_move_lists());
  zdirector_note_unfrozen(frozen);
  /* A program that freezes often makes objects old without a young collection, whose end asks the director. */
  if (zsafepoint_is_on() && zsafepoint_is_warm() && zdriver_phase() == ZPHASE_IDLE &&
      zdirector_decide() != ZCAUSE_NONE) {
    zsafepoint_request();
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
  zsafepoint_promote_young();
  while (!zpromotion_is_complete()) {
    zpromotion_slice(zos_now_ns() + zoption(pause_target) * 1000u, 0);
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
  while (!zsafepoint_begin(cause)) {
    if (!zsafepoint_is_on()) return zcollector_collect(ZGC_GENERATIONS - 1);
    if (zdriver_phase() == ZPHASE_IDLE) {
      zcollector_note_fault("zgc.collect could not start a collection");
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
  if (!zsafepoint_is_on()) return zcollector_collect(ZGC_GENERATIONS - 1);
  if (*zgc_state.collecting) return 0;
  if (!zsafepoint_warm_up()) return zcollector_collect(ZGC_GENERATIONS - 1);
  uint64_t before = zstat_get(reclaimed);
  wait_t ended = wait ? wait_for_end() : WAIT_ENDED; /* one under way does not see what is garbage by now */
  if (ended != WAIT_ENDED) return collect_for(ended);
  if (!zsafepoint_is_on()) return zcollector_collect(ZGC_GENERATIONS - 1); /* a callback has switched it off */
  Py_ssize_t count = collect_once(ZCAUSE_EXPLICIT, wait);
  for (unsigned round = 1; round < ROUNDS_MOST && count == -2 && zweakrefs_waiting() > 0; round++) {
    count = collect_once(ZCAUSE_GROWTH, wait); /* as the director would, later */
  }
  return count == -2 ? (Py_ssize_t)(zstat_get(reclaimed) - before) : count;
}

/* -- verification ---------------------------------------------------------------------------------------- */

#define VERIFY_ROUNDS 30
#define VERIFY_TURN_S 0.1

/* Other threads get their turn after `seconds` (NULL: those of VERIFY_TURN_S). What it was before, or
 * NULL. No more than a moment: who waits already does so for the old time, or the new one. */
static PyObject *set_turns(PyObject *seconds) {
  PyObject *sys = zbuiltin_module("sys"), *before = NULL, *done = NULL;
  if (sys != NULL) before = zpy.PyObject_CallMethod(sys, "getswitchinterval", NULL);
  if (before != NULL) {
    done = seconds != NULL ? zpy.PyObject_CallMethod(sys, "setswitchinterval", "O", seconds)
                           : zpy.PyObject_CallMethod(sys, "setswitchinterval", "d", VERIFY_TURN_S);
  }
  if (done != NULL) zpy.Py_DecRef(done);
  if (sys != NULL) zpy.Py_DecRef(sys);
  zpy.PyErr_Clear();
  return before;
}

/* Once ours finds nothing, what CPython's own full collection finds right afterwards is what our passes
 * miss: nothing of the program can have run in between. Before that, finalizers have, and with them
 * other threads may have. With gc.callbacks, which make garbage of their own, a second look is taken.
 * Objects missed, or -1 with an exception. */
static Py_ssize_t count_missed(void) {
  for (int round = 0; round < VERIFY_ROUNDS; round++) {
    Py_ssize_t ours = zsafepoint_full_collect(ZCAUSE_EXPLICIT);
    if (ours < 0 && zpy.PyErr_Occurred() != NULL) return -1;
    if (ours > 0) continue;
    Py_ssize_t missed = zsafepoint_stock_collect(ZGC_GENERATIONS - 1);
    if (ours < 0) return 0; /* it could not be done, which is no miss */
    if (missed <= 0 || zcallbacks_are_none()) return missed;
  }
  zlog_info("gc", "verification: new garbage in each of %d rounds", VERIFY_ROUNDS);
  return 0;
}

Py_ssize_t zcollector_verify(void) {
  char message[160];
  if (!zallocator_verify(message, sizeof message)) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, message);
    return -1;
  }
  if (!zsafepoint_is_on()) return (Py_ssize_t)zold_map_count;
  PyObject *turns = set_turns(NULL);
  Py_ssize_t missed = count_missed();
  if (turns != NULL && missed >= 0) {
    PyObject *ours = set_turns(turns);
    if (ours != NULL) zpy.Py_DecRef(ours);
  }
  if (turns != NULL) zpy.Py_DecRef(turns);
  if (missed < 0) return -1;
  if (missed > 0) {
    zpy.PyErr_Format(*zpy.PyExc_RuntimeError,
                     "CPython's own collection found %zd objects of garbage that ours missed",
                     missed);
    return -1;
  }
  return (Py_ssize_t)zold_map_count;
}

void zcollector_refresh_stats(void) {
  zallocator_stats_t heap;
  zallocator_stats(&heap);
  zstat_set(heap_used, heap.used_bytes);
  zstat_set(heap_committed, zgranules_resident_bytes() - zsparse_hole_bytes());
  zstat_set(fallback_blocks, heap.fallback_blocks);
  zstat_set(old_objects, zold_map_count);
}

/* -- the statistics page ------------------------------------------------------------------------------- */

#define REFRESH_NS 500000000u
#define WALK_SHARE 1000u           /* the page table is walked for less than 1/1000 of the time */
#define WALK_AT_SAFEPOINT (256 * ZM) /* a heap of this size is walked in 0.1 ms */

static uint64_t refresh_from_ns; /* any thread; two that refresh at once do no harm */

static void refresh_if_due(uint64_t at, bool may_walk) {
  if (at < zload_relaxed(&refresh_from_ns)) return;
  zstore_relaxed(&refresh_from_ns, at + REFRESH_NS);
  size_t committed = zgranules_resident_bytes() - zsparse_hole_bytes();
  zstat_set(heap_committed, committed);
  zstat_set(old_objects, zload_relaxed(&zold_map_count));
  if (!may_walk && committed > WALK_AT_SAFEPOINT) {
    zdriver_ensure_thread(); /* which will do it */
    return;
  }
  zallocator_stats_t heap;
  uint64_t start = zos_now_ns();
  zallocator_stats(&heap);
  uint64_t pause = (zos_now_ns() - start) * WALK_SHARE;
  if (pause > REFRESH_NS) zstore_relaxed(&refresh_from_ns, at + pause);
  zstat_set(fallback_blocks, heap.fallback_blocks);
  /* A page that changed hands during the walk can count for anything. */
  if (heap.used_bytes <= committed) zstat_set(heap_used, heap.used_bytes);
}

/* A process that leaves all to CPython has nothing to show, and makes no system calls that stock does not make:
 * docs/system-calls.md. */
void zcollector_publish_at_safepoint(uint64_t now_ns) {
  if (!zsafepoint_is_warm() || !zoption(statpage)) return;
  refresh_if_due(now_ns, false);
  zstatpage_publish();
}

/* The program may have put a filter of system calls over its own threads: none of them asks for the user. */
void zcollector_publish_by_thread(void) {
  if (!zoption(statpage)) return;
  zstatpage_follow_user(); /* opens files only after the user has changed: see zdirector.c */
  refresh_if_due(zos_now_ns(), true);
  zstatpage_publish();
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
  zdriver_reset_after_fork_in_child();
  zsafepoint_fork_child();
}
