#include "collector/cpython/zsafepoint.h"

#include <string.h>

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zconsult.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zpace.h"
#include "collector/cpython/zplan_table.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zpublish.h"
#include "collector/cpython/zreclaim.h"
#include "collector/cpython/zreport.h"
#include "collector/cpython/zrequest.h"
#include "collector/cpython/zslices.h"
#include "collector/cpython/zsmall.h"
#include "collector/cpython/zstock.h"
#include "collector/cpython/zteardown.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zthresholds.h"
#include "collector/cpython/zwarmup.h"
#include "collector/cpython/zweakrefs.h"
#include "collector/cpython/zyoung.h"
#include "collector/python/zcallbacks.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define PLAN(id) (&zplan_table[ZPLAN_##id])

static bool has_fed; /* the last turn was a batch */

/* -- choosing a plan ----------------------------------------------------------------------------------- */

/* CPython asks for the oldest generation that is due, and merges the younger ones into it: before we
 * are warm that can be any. PyGC_Collect asks for the oldest whether it is due or not. */
static bool is_automatic(long generation) {
  const zgc_generation_t *asked = &zgc_state.generations[generation];
  return asked->count > asked->threshold || (generation == 0 && zplan_now.is_hurried);
}

static bool must_take_over(long generation) {
  if (!zmode_is_on() || zplan_now.asked != NULL || !is_automatic(generation)) return false;
  return (zyoung_is_oversized() || zwarmup_is_oversized(generation)) && zwarmup_try();
}

/* Batches and young collections take turns, so that neither starves the other. */
static const zplan_t *choose_turn(void) {
  bool is_batch_wanted = zplan_now.asked == PLAN(BATCH);
  bool is_turn_of_batch = !has_fed || is_batch_wanted || zyoung_is_early();
  if (is_turn_of_batch && zreclaim_is_due()) return zreclaim_is_last() ? PLAN(LAST_BATCH) : PLAN(BATCH);
  if (zplan_now.is_left_out) return PLAN(TAKE_OVER);
  return is_batch_wanted && zyoung_is_oversized() ? PLAN(TAKE_OVER) : PLAN(YOUNG);
}

/* A small heap that has outgrown its collections is one for CPython all the same. */
static const zplan_t *choose_stopped(void) { return zsmall_is_heap_to_stop() ? PLAN(WHOLE) : PLAN(FULL); }

static const zplan_t *choose(long generation) {
  const zplan_t *asked = zplan_now.asked;
  if (asked != NULL && asked != PLAN(BATCH)) return asked;
  if (zplan_now.is_cramped) return PLAN(FORWARD);
  zyoung_note_left_out(generation);
  if (must_take_over(generation)) return PLAN(TAKE_OVER);
  if (!zmode_is_on() || !zmode_is_warm() || generation != 0) return PLAN(FORWARD);
  if (zconsult_stops_world()) return choose_stopped();
  if (zconsult_wants_whole()) return PLAN(WHOLE);
  return choose_turn();
}

/* -- start and stop ------------------------------------------------------------------------------------ */

/* Where the stack is short, CPython collects all generations by the program's thresholds, and afterwards until
 * a thread with more comes by. */
static void note_stack(void) {
  static bool was_cramped;
  zplan_now.is_cramped = zmode_is_cramped();
  if (zplan_now.is_cramped || was_cramped) zthresholds_apply();
  was_cramped = zplan_now.is_cramped;
}

static void begin_record(long generation) {
  memset(&zplan_now, 0, sizeof zplan_now);
  zplan_now.asked = zstock_asked();
  zplan_now.generation = generation;
  zplan_now.is_hurried = zrequest_calm();
  zreport_settle();
  note_stack();
}

/* A full collection, whoever does it: behind it no garbage of before is left. */
static bool is_of_all(const zplan_t *plan) {
  if (plan->is_silent || plan->is_turn) return false;
  return plan->generation == ZGC_GENERATIONS - 1 || zplan_now.generation == ZGC_GENERATIONS - 1;
}

/* CPython must not find references of ours to what it may collect. */
static void let_go(const zplan_t *plan) {
  if (is_of_all(plan) || zdriver_phase() != ZPHASE_RECLAIMING) zweakrefs_give_up();
}

/* The program's callbacks run after the plan has been chosen, and other threads may run then: our collector
 * may be off afterwards, and the garbage gone. */
static void on_start(PyObject *phase, PyObject *info, long generation) {
  begin_record(generation);
  const zplan_t *plan = choose(generation);
  zplan_now.report = zcallbacks_read(info);
  zplan_now.report.generation = plan->generation == ZPLAN_AS_ASKED ? generation : plan->generation;
  zplan_now.young_stats = zpyabi_stats(0);
  if (!plan->is_silent) zcallbacks_forward(phase, info, &zplan_now.report);
  plan = zplan_now.plan = zplan_settled(plan);
  zplan_now.start_ns = zos_now_ns();
  if (plan->pause != ZPLAN_NO_PAUSE) zpause_begin((zpause_kind_t)plan->pause);
  bool is_time_wanted = zlog_is(ZLOG_DEBUG) || zplan_now.looked >= ZTENURING_MANY;
  if (is_time_wanted) zplan_now.start_cpu_ns = zos_thread_cpu_ns();
  zplan_now.is_open = true;
  let_go(plan);
  if (is_of_all(plan)) zteardown_finish();
  if (plan->open != NULL) plan->open();
}

/* A batch or a young collection has been closed: the collector's turn. */
static void take_turn(PyObject *info, uint64_t since) {
  zpause_kind_t kind = (zpause_kind_t)zplan_now.plan->pause;
  has_fed = kind == ZPAUSE_RECLAIM;
  if (zmode_is_on()) zslices_work(since);
  if (zmode_is_on() && zplan_now.asked == NULL) zpace_keep(zplan_now.start_ns);
  if (zmode_is_on()) zyoung_note_payload();
  if (zmode_is_on()) zyoung_come_again_soon();
  if (kind == ZPAUSE_YOUNG) zyoung_note(zos_now_ns() - zplan_now.start_ns, zcallbacks_number(info, "collected"));
  zpause_note(kind, zos_now_ns() - zplan_now.start_ns);
  zyoung_log(since);
}

static void close_plan(PyObject *info) {
  uint64_t since = zos_now_ns();
  zplan_now.plan->close(info);
  if (zplan_now.plan->is_turn) take_turn(info, since);
}

/* Lists that start has set aside come back, whether or not our collector is still on: callbacks, finalizers and
 * other threads have run since. The plan is closed before the program's callbacks are called, which may do all that
 * again. */
static void on_stop(PyObject *phase, PyObject *info, long generation) {
  const zplan_t *plan = zplan_now.plan;
  bool is_ours = zplan_now.is_open;
  zcallbacks_report_t report = zcallbacks_read(info);
  report.generation = is_ours ? zplan_now.report.generation : generation;
  zplan_now.report = report;
  zplan_now.is_open = false;
  zrequest_show_signals();
  if (is_ours) close_plan(info);
  zcollector_thread_note_safepoint();
  if (zmode_is_on() && !zplan_now.is_cramped) zpublish_at_safepoint(zplan_now.start_ns);
  report = zplan_now.report;
  if (plan == NULL || !plan->is_silent) zcallbacks_forward(phase, info, &report);
}

/* -- the callable -------------------------------------------------------------------------------------- */

static PyObject *on_collection(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 2) return zpy_new_none();
  PyObject *phase = arguments[0], *info = arguments[1];
  const char *name = zpy.PyUnicode_AsUTF8AndSize(phase, NULL);
  if (name == NULL) return NULL;
  long generation = zcallbacks_number(info, "generation");
  if (strcmp(name, "start") == 0) {
    on_start(phase, info, generation);
  } else {
    on_stop(phase, info, generation);
  }
  return zpy_new_none();
}

#define VECTORCALL_FLAG ((size_t)1 << 63) /* PY_VECTORCALL_ARGUMENTS_OFFSET: no part of the number */

static PyObject *on_collection_at_once(PyObject *callable, PyObject *const *arguments, size_t count,
                                       PyObject *names) {
  (void)names;
  return on_collection(callable, arguments, (Py_ssize_t)(count & ~VECTORCALL_FLAG));
}

static PyMethodDef callable_def = {
    "zgc_safepoint", (PyCFunction)(void (*)(void))on_collection, METH_FASTCALL, NULL};

bool zsafepoint_install(PyObject *gc_module) {
  bool has_stock = zstock_start(gc_module);
  PyObject *callable = zpy.PyCFunction_NewEx(&callable_def, NULL, NULL);
  if (callable != NULL) zpyabi_call_at_once(callable, on_collection_at_once);
  bool installed = has_stock && callable != NULL && zcallbacks_install(gc_module, callable);
  if (callable != NULL) zpy.Py_DecRef(callable);
  return installed;
}

void zsafepoint_remove(PyObject *gc_module) {
  zmode_reset();
  zreport_reset();
  zconsult_reset();
  zweakrefs_forget_waiting();
  zwarmup_reset();
  zcallbacks_remove(gc_module);
  memset(&zplan_now, 0, sizeof zplan_now);
}

/* -- collections that are asked for ---------------------------------------------------------------------- */

/* One of generation 0 is all CPython's, and mostly short: our callable would take as long again. */
Py_ssize_t zsafepoint_stock_collect(int generation) {
  if (*zgc_state.collecting) return 0;
  if (generation > 0) return zstock_collect(generation, PLAN(FORWARD));
  zreport_settle();
  zcallbacks_lend();
  Py_ssize_t count = zstock_collect(generation, NULL);
  zcallbacks_take_back();
  return count;
}

bool zsafepoint_now(void) {
  if (*zgc_state.collecting) return true; /* another thread's, which a finalizer of it has let us in */
  if (!zwarmup_try()) return true;
  return zstock_collect(0, PLAN(BATCH)) >= 0;
}

/* Of a generation of CPython's, the oldest objects left out: no statistics, no output, no callbacks of
 * users. */
static void collect_silently(int generation) {
  int debug = *zgc_state.debug;
  *zgc_state.debug = 0;
  zgc_generation_stats_t before = zpyabi_stats(generation);
  zstock_collect(generation, PLAN(SILENT));
  zpyabi_set_stats(generation, &before);
  *zgc_state.debug = debug;
}

/* CPython clears its free lists in collections of generation 2, and only there. */
static void clear_free_lists(void) {
  if (!zgc_list_is_empty(zplan_list(0)) || !zgc_list_is_empty(zplan_list(1))) return;
  int young_count = zgc_state.generations[0].count;
  collect_silently(ZGC_GENERATIONS - 1);
  zgc_state.generations[0].count = young_count;
}

/* False: callbacks have run, and with them another thread's collection begun. */
static bool begin_stopped(zcause_t cause) {
  zreclaim_settle_weakrefs();
  if (*zgc_state.collecting) return false;
  zdriver_abandon("a collection with the world stopped takes its place");
  zdriver_begin_stopped(cause);
  return true;
}

static Py_ssize_t collect_as_cpython(zcause_t cause) {
  zconsult_forget_whole();
  if (!begin_stopped(cause)) return 0;
  Py_ssize_t count = zstock_collect(ZGC_GENERATIONS - 1, PLAN(SMALL));
  zdriver_end_stopped(); /* also where it could not even begin */
  return count;
}

/* Callbacks that run while it begins may switch us off. */
Py_ssize_t zsafepoint_full_collect(zcause_t cause) {
  if (*zgc_state.collecting) return 0;
  if (!zwarmup_try()) return -2;
  if (!begin_stopped(cause)) return 0;
  Py_ssize_t count = zmode_is_on() ? zstock_collect(0, PLAN(FULL)) : -2;
  zdriver_end_stopped();
  if (count == -2) return -2;
  zreport_settle();
  if (zplan_now.has_failed) return -2;
  clear_free_lists();
  return count;
}

Py_ssize_t zsafepoint_collect(zcause_t cause) {
  if (*zgc_state.collecting) return 0;
  bool is_cpythons = zsmall_is_heap() || zpromotion_foreign() > 0;
  return is_cpythons ? collect_as_cpython(cause) : zsafepoint_full_collect(cause);
}
