#include "collector/zsafepoint.h"

#include <string.h>

#include "collector/zcollector.h"
#include "collector/zdirector.h"
#include "collector/zdriver.h"
#include "collector/zfeed.h"
#include "collector/zpromotion.h"
#include "collector/ztype_registry.h"
#include "heap/base/zassert.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

#define OVERSIZED_MIN 4000      /* generation 0 is not walked from here on ... */
#define OVERSIZED_TIMES 4       /* ... or from so many times its threshold */
#define ENUMERATE_FROM 20000    /* promotions before the first enumeration: small programs pay nothing */
#define BATCH_FIRST 500
#define BATCH_MIN 50
#define BATCH_BEHIND 4          /* times larger when garbage outruns us */
#define BATCH_MAX 200000
#define YOUNG_LOG_NS 1000000000u

/* All of this: GIL. */
static PyObject *own_callbacks;  /* the interpreter's list: our callable alone */
static PyObject *user_callbacks; /* what users see as gc.callbacks */
static PyObject *stock_collect;  /* gc.collect before the facade took its place */
static bool is_on;

/* What is done with a collection that CPython starts. */
typedef enum {
  PLAN_FORWARD,   /* nothing: an explicit gc.collect, an older generation, or we are off */
  PLAN_YOUNG,     /* CPython collects its young objects; survivors are promoted */
  PLAN_TAKE_OVER, /* an oversized generation 0 is promoted without a walk */
  PLAN_BATCH,     /* a batch of garbage is fed */
  PLAN_FULL       /* passes with the world stopped, then all their garbage is fed */
} plan_t;

/* Who is about to call gc.collect: set before the call, read at its start. */
static enum { CALLER_CPYTHON, CALLER_USER, CALLER_SAFEPOINT, CALLER_FULL } caller;

/* The collection of CPython's under way, from start to stop. */
static struct {
  plan_t plan;
  size_t batch;
  int young_count;    /* of generation 0, to be put back after a batch */
  bool failed;        /* PLAN_FULL: memory was short, nothing was fed */
  uint64_t start_ns;
} now;

static bool fed_last_time;
static size_t batch_size = BATCH_FIRST;
static uint64_t promotions_seen; /* survivors moved into the oldest list before enumeration began */
static bool enumerating, registry_started;
static bool end_is_due; /* a concurrent collection was begun; the director has not heard of its end */
static bool pending; /* a pending call is queued; any thread */

static struct {
  uint64_t count, max_ns, total_ns, reclaimed, logged_ns;
} young_since_log;

static zgc_head_t *list_of(int generation) { return &zgc_state.generations[generation].head; }
static uint64_t budget_ns(void) { return zoption(pause_target) * 1000u; }

/* -- users' callbacks ------------------------------------------------------------------------------ */

static long info_number(PyObject *info, const char *key) {
  PyObject *value = zpy.PyDict_GetItemString(info, key);
  long number = value == NULL ? 0 : zpy.PyLong_AsLong(value);
  if (number == -1 && zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  return number;
}

/* As invoke_gc_callback does it: the list may change while it is walked; an exception is reported
 * and the next callback is called all the same. */
static void forward(PyObject *phase, PyObject *info, int generation) {
  if (user_callbacks == NULL || zpy.PyList_Size(user_callbacks) <= 0) return;
  PyObject *told = info;
  if (info_number(info, "generation") != generation) {
    told = zpy.Py_BuildValue("{s:i,s:l,s:l}", "generation", generation, "collected",
                             info_number(info, "collected"), "uncollectable",
                             info_number(info, "uncollectable"));
    if (told == NULL) {
      zpy.PyErr_WriteUnraisable(NULL);
      return;
    }
  } else {
    zpy.Py_IncRef(told);
  }
  for (Py_ssize_t i = 0; i < zpy.PyList_Size(user_callbacks); i++) {
    PyObject *callback = zpy.PyList_GetItem(user_callbacks, i);
    zpy.Py_IncRef(callback);
    PyObject *result = zpy.PyObject_CallFunction(callback, "OO", phase, told);
    if (result == NULL) {
      zpy.PyErr_WriteUnraisable(callback);
    } else {
      zpy.Py_DecRef(result);
    }
    zpy.Py_DecRef(callback);
  }
  zpy.Py_DecRef(told);
}

/* -- start ------------------------------------------------------------------------------------------- */

static bool is_oversized(void) {
  const zgc_generation_t *young = &zgc_state.generations[0];
  return young->count > OVERSIZED_MIN && young->count > young->threshold * OVERSIZED_TIMES;
}

static plan_t make_plan(long generation) {
  if (!is_on || generation != 0 || caller == CALLER_USER) return PLAN_FORWARD;
  if (caller == CALLER_FULL) return PLAN_FULL;
  if (is_oversized()) return PLAN_TAKE_OVER;
  /* Batches and young collections take turns, so that neither starves the other. */
  bool due = !fed_last_time || caller == CALLER_SAFEPOINT;
  return due && zdriver_phase() == ZPHASE_RECLAIMING ? PLAN_BATCH : PLAN_YOUNG;
}

static int reported_generation(long generation) {
  return now.plan == PLAN_BATCH || now.plan == PLAN_FULL ? ZGC_GENERATIONS - 1 : (int)generation;
}

/* Larger batches when garbage is made faster than it is fed. */
static size_t batch_factor(void) {
  unsigned pressure = zdirector_pressure();
  if (pressure < ZDIRECTOR_BEHIND) return 1;
  zstat_add(escalations, 1);
  zlog_debug("gc,director", "escalation: batches x%u", BATCH_BEHIND);
  return BATCH_BEHIND;
}

static void open_batch(void) {
  now.young_count = zgc_state.generations[0].count;
  zfeed_open();
  now.batch = zfeed_components(zdriver_garbage(), batch_size * batch_factor());
}

static void take_over(void) {
  promotions_seen += (uint64_t)zgc_state.generations[0].count;
  zgc_list_splice(list_of(0), list_of(ZGC_GENERATIONS - 1));
  zstat_add(young_skipped, 1);
}

static bool never_stop;

/* With the world stopped nothing races, so one pass is exact. */
static bool exact_candidates(zpass_t *pass) {
  zpromotion_slice(UINT64_MAX);
  bool done;
  return zpass_begin(pass, &never_stop) && zpass_count(pass) && zpass_subtract(pass) &&
         zdeferred_serve(&pass->deferred, UINT64_MAX, &done) && zpass_mark(pass) &&
         zpass_sweep(pass);
}

static void open_full(void) {
  zgc_list_splice(list_of(0), list_of(2));
  zgc_list_splice(list_of(1), list_of(2));
  zpass_t pass;
  end_is_due = false;
  zdirector_note_start();
  now.failed = !exact_candidates(&pass) || zpromotion_foreign() > 0;
  if (!now.failed) {
    zdriver_collection.found = pass.candidate_count;
    now.batch = zfeed_candidates(pass.candidates, pass.candidate_count);
  }
  zpass_end(&pass);
}

static void on_start(void) {
  if (now.plan == PLAN_BATCH) open_batch();
  if (now.plan == PLAN_TAKE_OVER) take_over();
  if (now.plan == PLAN_FULL) open_full();
}

/* -- stop -------------------------------------------------------------------------------------------- */

/* Objects that fit the pause target, from what the last batch took. */
static void adapt_batch_size(uint64_t took_ns) {
  if (now.batch < BATCH_MIN) return;
  uint64_t fits = now.batch * budget_ns() / (took_ns + 1);
  batch_size = (size_t)(batch_size * 3 + fits) / 4;
  if (batch_size < BATCH_MIN) batch_size = BATCH_MIN;
  if (batch_size > BATCH_MAX) batch_size = BATCH_MAX;
}

/* A collection that found nothing ends on the collector thread: it is noted at the next safepoint. */
static void note_end(void) {
  if (!end_is_due) return;
  end_is_due = false;
  zdirector_note_end(zdriver_collection.found, zdriver_collection.reclaimed);
}

static void finish_collection(void) {
  if (zlog_is(ZLOG_INFO)) {
    char types[400];
    zfeed_describe_types(types, sizeof types);
    zlog_info("gc,types", "GC(%llu) garbage %s",
              (unsigned long long)zdriver_collection.sequence, types);
  }
  zgc_state.stats[ZGC_GENERATIONS - 1].collections++;
  note_end();
  zdriver_finish();
}

/* The batch was the work of a full collection: its numbers belong to generation 2. */
static void move_stats(long collected, long uncollectable) {
  zgc_generation_stats_t *young = &zgc_state.stats[0], *full = &zgc_state.stats[2];
  young->collections--;
  young->collected -= collected;
  young->uncollectable -= uncollectable;
  full->collected += collected;
  full->uncollectable += uncollectable;
}

static void note_batch(long collected, long uncollectable) {
  zcollection_t *c = &zdriver_collection;
  c->fed += now.batch;
  c->reclaimed += (uint64_t)collected;
  c->uncollectable += (uint64_t)uncollectable;
  zstat_add(fed, now.batch);
  zstat_add(reclaimed, collected);
  zstat_add(uncollectable, uncollectable);
  move_stats(collected, uncollectable);
}

static void close_batch(PyObject *info) {
  uint64_t took = zos_now_ns() - now.start_ns;
  long collected = info_number(info, "collected");
  note_batch(collected, info_number(info, "uncollectable"));
  zlog_info("gc,phases", "GC(%llu) Pause Reclaim %.3fms fed %zu reclaimed %ld",
            (unsigned long long)zdriver_collection.sequence, zlog_ms(took), now.batch, collected);
  adapt_batch_size(took);
  zfeed_close();
  zgc_state.generations[0].count = now.young_count;
  zstore_relaxed(&zdriver_collection.fed_last_ns, zos_now_ns());
  if (zdriver_phase() != ZPHASE_RECLAIMING) return; /* given up by a finalizer, or a forked child */
  zstat_set(pending_garbage, zcomponents_left(zdriver_garbage()));
  if (zcomponents_left(zdriver_garbage()) == 0) finish_collection();
}

/* The registry's proofs run here, once, and not at start-up: small programs never come here. */
static void start_enumerating(void) {
  if (enumerating) return;
  enumerating = true;
  if (!registry_started) ztype_registry_start();
  registry_started = true;
}

/* Survivors of a young collection are promoted at once: garbage among old objects is cheap to find,
 * and a generation 1 collection would be the longest pause left. */
static void promote(void) {
  const zgc_head_t *survivors = list_of(1);
  if (!enumerating) promotions_seen += (uint64_t)zgc_state.generations[0].threshold;
  if (!zgc_list_is_empty(survivors)) zgc_list_splice(list_of(1), list_of(ZGC_GENERATIONS - 1));
  zgc_state.generations[1].count = 0;
  if (!enumerating && promotions_seen > ENUMERATE_FROM) start_enumerating();
}

static void serve_deferred(uint64_t deadline) {
  if (zdriver_phase() != ZPHASE_DEFERRING) return;
  uint64_t start = zos_now_ns();
  zdeferred_t *deferred = zdriver_deferred();
  size_t before = deferred->served;
  bool done;
  bool served = zdeferred_serve(deferred, deadline, &done);
  zlog_debug("gc,phases", "GC(%llu) Pause Defer %.3fms objects %zu",
             (unsigned long long)zdriver_collection.sequence, zlog_ms(zos_now_ns() - start),
             deferred->served - before);
  if (done || !served) zdriver_deferred_done(!served);
}

static void note_young(uint64_t took, long collected) {
  zstat_add(young_collections, 1);
  zstat_add(young_total_ns, took);
  zstat_add(young_reclaimed, collected);
  zstat_max(young_max_ns, took);
  young_since_log.count++;
  young_since_log.total_ns += took;
  young_since_log.reclaimed += (uint64_t)collected;
  if (took > young_since_log.max_ns) young_since_log.max_ns = took;
  zlog_debug("gc,young", "Pause Young %.3fms reclaimed %ld", zlog_ms(took), collected);
}

static void log_young(uint64_t at) {
  if (young_since_log.count == 0 || at - young_since_log.logged_ns < YOUNG_LOG_NS) return;
  zlog_info("gc,young", "young %llu max %.3fms total %.3fms reclaimed %llu",
            (unsigned long long)young_since_log.count, zlog_ms(young_since_log.max_ns),
            zlog_ms(young_since_log.total_ns), (unsigned long long)young_since_log.reclaimed);
  memset(&young_since_log, 0, sizeof young_since_log);
  young_since_log.logged_ns = at;
}

static void note_pause(uint64_t took, bool of_collection) {
  zstat_add(pauses, 1);
  zstat_add(pause_total_ns, took);
  zstat_max(pause_max_ns, took);
  if (!of_collection) return;
  zdriver_collection.pauses++;
  zdriver_collection.pause_total_ns += took;
  if (took > zdriver_collection.pause_max_ns) zdriver_collection.pause_max_ns = took;
}

/* The director's turn. Ends in a collection with the world stopped when garbage has outrun us. */
static void consult_director(void) {
  if (zdriver_phase() != ZPHASE_IDLE) return;
  note_end();
  if (!zpromotion_is_complete() && !zoption(stress)) return; /* old objects are still being counted */
  zcause_t cause = zdirector_decide();
  if (cause == ZCAUSE_NONE) return;
  if (zsafepoint_begin(cause)) return;
  zcollector_note_fault("a collection could not be started");
}

static void close_full(PyObject *info) {
  note_batch(info_number(info, "collected"), info_number(info, "uncollectable"));
  zgc_state.stats[ZGC_GENERATIONS - 1].collections++;
  zgc_list_splice(list_of(1), list_of(2)); /* what was resurrected */
  for (int i = 0; i < ZGC_GENERATIONS; i++) zgc_state.generations[i].count = 0;
}

/* What a safepoint does beside CPython's own work, within the rest of the time budget. */
static void work_slices(uint64_t since) {
  if (!enumerating) return;
  uint64_t deadline = now.start_ns + budget_ns(), least = since + budget_ns() / 4;
  if (deadline < least) deadline = least;
  zpromotion_slice(deadline);
  serve_deferred(deadline);
  if (now.plan != PLAN_BATCH) consult_director();
}

static void on_stop(PyObject *info, long generation) {
  uint64_t since = zos_now_ns();
  switch (now.plan) {
    case PLAN_FORWARD:
      if (generation > 0) zpromotion_rewind(); /* CPython has reordered the oldest list */
      return;
    case PLAN_FULL:
      close_full(info);
      return;
    case PLAN_BATCH:
      close_batch(info);
      break;
    case PLAN_YOUNG:
    case PLAN_TAKE_OVER:
      note_young(since - now.start_ns, info_number(info, "collected"));
      promote();
      break;
  }
  fed_last_time = now.plan == PLAN_BATCH;
  work_slices(since);
  note_pause(zos_now_ns() - now.start_ns, now.plan == PLAN_BATCH);
  log_young(since);
}

/* -- the callable ---------------------------------------------------------------------------------------- */

static PyObject *on_collection(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 2) return zpy_new_none();
  PyObject *phase = arguments[0], *info = arguments[1];
  const char *name = zpy.PyUnicode_AsUTF8AndSize(phase, NULL);
  if (name == NULL) return NULL;
  long generation = info_number(info, "generation");
  if (strcmp(name, "start") == 0) {
    memset(&now, 0, sizeof now);
    now.plan = make_plan(generation);
    forward(phase, info, reported_generation(generation));
    now.start_ns = zos_now_ns();
    on_start();
  } else {
    int reported = reported_generation(generation);
    if (is_on) on_stop(info, generation);
    forward(phase, info, reported);
  }
  return zpy_new_none();
}

static PyMethodDef callable_def = {
    "zgc_safepoint", (PyCFunction)(void (*)(void))on_collection, METH_FASTCALL, NULL};

/* -- entries ------------------------------------------------------------------------------------------------ */

bool zsafepoint_install(PyObject *gc_module) {
  own_callbacks = *zgc_state.callbacks;
  stock_collect = zpy.PyObject_GetAttrString(gc_module, "collect");
  PyObject *callable = zpy.PyCFunction_NewEx(&callable_def, NULL, NULL);
  user_callbacks = zpy.PyList_New(0);
  if (stock_collect == NULL || callable == NULL || user_callbacks == NULL) return false;
  Py_ssize_t count = zpy.PyList_Size(own_callbacks);
  bool moved = zpy.PyList_SetSlice(user_callbacks, 0, 0, own_callbacks) == 0 &&
               zpy.PyList_SetSlice(own_callbacks, 0, count, NULL) == 0 &&
               zpy.PyList_Append(own_callbacks, callable) == 0 &&
               zpy.PyObject_SetAttrString(gc_module, "callbacks", user_callbacks) == 0;
  zpy.Py_DecRef(callable);
  return moved;
}

void zsafepoint_remove(PyObject *gc_module) {
  is_on = false;
  zpy.PyList_SetSlice(own_callbacks, 0, zpy.PyList_Size(own_callbacks), user_callbacks);
  zpy.PyObject_SetAttrString(gc_module, "callbacks", own_callbacks);
  zpy.Py_DecRef(user_callbacks);
  zpy.Py_DecRef(stock_collect);
  user_callbacks = stock_collect = NULL;
  enumerating = false;
  promotions_seen = 0;
  memset(&now, 0, sizeof now);
}

void zsafepoint_switch(bool on) { is_on = on; }
bool zsafepoint_is_on(void) { return is_on; }

/* Nothing of Python runs between setting `caller` and the start callback that reads it. */
static Py_ssize_t call_collect(int generation, int who) {
  if (*zgc_state.collecting) return 0;
  caller = who;
  PyObject *result = zpy.PyObject_CallFunction(stock_collect, "i", generation);
  caller = CALLER_CPYTHON;
  if (result == NULL) return -1;
  Py_ssize_t count = zpy.PyLong_AsLong(result);
  zpy.Py_DecRef(result);
  return count;
}

Py_ssize_t zsafepoint_stock_collect(int generation) {
  return call_collect(generation, CALLER_USER);
}

bool zsafepoint_begin(zcause_t cause) {
  note_end();
  zdirector_note_start();
  end_is_due = zdriver_request(cause);
  return end_is_due;
}

bool zsafepoint_now(void) {
  start_enumerating();
  return call_collect(0, CALLER_SAFEPOINT) >= 0;
}

Py_ssize_t zsafepoint_full_collect(zcause_t cause) {
  if (*zgc_state.collecting) return 0;
  start_enumerating();
  zdriver_abandon("a collection with the world stopped takes its place");
  zdriver_begin_stopped(cause);
  Py_ssize_t count = call_collect(0, CALLER_FULL);
  if (now.failed) return -2;
  const zcollection_t *c = &zdriver_collection;
  uint64_t took = zos_now_ns() - c->started_ns;
  zstat_add(found, c->found);
  zcause_count(cause);
  zdirector_note_end(c->found, c->reclaimed);
  note_pause(took, true);
  zlog_info("gc", "GC(%llu) Pause Full (%s) found %llu reclaimed %llu old %zu %.3fms",
            (unsigned long long)c->sequence, zcause_name(cause), (unsigned long long)c->found,
            (unsigned long long)c->reclaimed, zold_map_count, zlog_ms(took));
  return count;
}

/* -- pending calls ------------------------------------------------------------------------------------------- */

static bool has_work(void) {
  zphase_t phase = zdriver_phase();
  return phase == ZPHASE_DEFERRING || phase == ZPHASE_RECLAIMING;
}

static int on_pending(void *unused) {
  (void)unused;
  zstore_release(&pending, false);
  /* A program that disabled collection does not expect finalizers to run. */
  if (!is_on || !*zgc_state.enabled || !has_work()) return 0;
  if (!zsafepoint_now()) zpy.PyErr_WriteUnraisable(NULL);
  return 0;
}

void zsafepoint_request(void) {
  if (!zload_relaxed(&is_on) || zexchange_acq_rel(&pending, true)) return;
  if (zpy.Py_AddPendingCall(on_pending, NULL) != 0) zstore_release(&pending, false);
}
