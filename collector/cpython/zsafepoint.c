#include "collector/cpython/zsafepoint.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cpython/zbatch.h"
#include "collector/python/zcallbacks.h"
#include "collector/cpython/zcensus.h"
#include "collector/cpython/zcollector.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zfeed.h"
#include "collector/cpython/zpending.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zsurvivors.h"
#include "collector/cpython/ztenuring.h"
#include "collector/python/ztype_registry.h"
#include "collector/python/zuntrack.h"
#include "collector/cpython/zweakrefs.h"
#include "heap/base/zassert.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zpause.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

#define OVERSIZED_MIN 2000      /* generation 0 is not walked from here on, nor ... */
#define OVERSIZED_TIMES 4       /* ... from so many times its threshold */
#define WARM_FROM 20000         /* survivors of young collections before we take over from CPython */
#define OBJECT_BYTES 64         /* of a small container, with its header */
#define HURRIED (-1)            /* threshold of generation 0 while a safepoint is asked for; 0 is "never" */
#define PACE_WAIT_NS 50000u
#define PACE_SPINS 64
#define PACE_ROUNDS 2000 /* most looks at the collector thread at one safepoint, whatever the clock says */
/* Measured, at the deepest: CPython's own collection takes 1 KB, ours 3, with a log 6, the proofs 6. */
#define STACK_TO_WORK (16 * ZK)
#define STACK_TO_PROVE (32 * ZK)
#define PACE_IDLE_ROUNDS 100 /* in vain, until it counts as absent: 0.2 ms, or 4 ms where the machine has one processor */
#define ABANDONED_MOST 4 /* collections in a row, by a program that switches us off and on: the next is not concurrent */
#define FROZEN_MOST 1000 /* safepoints, one behind the other, until garbage that is frozen by now is given up */
#define STOPPED_TIMES 3 /* ZGC_SMALL: up to so many old objects are left to CPython when the world has to be stopped */
#define ABSENT_MOST 1000 /* safepoints, one behind the other, until the collection is done without the thread */
#define BATCH_TARGETS_MOST 8 /* pause targets that a batch may take beyond the first */
#define YOUNG_MOST 20000 /* objects that are young at the end of a young collection: half a millisecond */
#define YOUNG_LOG_NS 1000000000u

/* All of this: GIL. */
static PyObject *stock_collect;  /* gc.collect before the facade took its place */
static bool is_on;

/* What is done with a collection that CPython starts. */
typedef enum {
  PLAN_FORWARD,   /* nothing: an explicit gc.collect, an older generation, or we are off */
  PLAN_YOUNG,     /* CPython collects its young objects; survivors are promoted */
  PLAN_TAKE_OVER, /* an oversized generation 0 is promoted without a walk */
  PLAN_BATCH,     /* a batch of garbage is fed */
  PLAN_FULL,      /* passes with the world stopped, then all their garbage is fed */
  PLAN_WHOLE,     /* CPython collects all objects as if they were young ones */
  PLAN_SMALL,     /* a full collection of CPython's own: the heap is small, or our passes would not see all */
  PLAN_SILENT /* of ours, without the oldest objects, that nobody hears of */
} plan_t;

/* Who is about to call gc.collect: set before the call, read at its start. */
static enum {
  CALLER_CPYTHON,
  CALLER_USER,
  CALLER_SAFEPOINT,
  CALLER_FULL,
  CALLER_SMALL,
  CALLER_SILENT
} caller;

/* The collection of CPython's under way, from start to stop. */
static struct {
  plan_t plan;
  size_t batch;
  int young_count;    /* of generation 0, to be put back after a batch */
  size_t looked, aged; /* PLAN_YOUNG: members of generation 0, those looked at before among them */
  size_t weight;       /* the same: of the members */
  bool is_rethought;   /* the same: another threshold fits them */
  size_t promoted;     /* the same: of the survivors */
  bool is_large;       /* the same: looked at as an exception */
  bool is_left_out;    /* not looked at, for it would be in vain */
  zgc_generation_stats_t young_stats; /* at start */
  bool is_last;       /* PLAN_BATCH: it is the last one of its collection */
  zcallbacks_report_t report; /* for the users' callbacks */
  bool hurried;       /* brought on by us, not by the count */
  bool is_open;       /* start has done its part, which stop has to close; nothing else may */
  bool is_cramped;    /* no room on the stack for anything of ours */
  bool failed;        /* PLAN_FULL: memory was short, nothing was fed */
  uint64_t start_ns;
  uint64_t paced_ns;     /* of it, lent to the collection under way */
  uint64_t start_cpu_ns; /* time of this thread, whatever else the machine did, where it is asked for */
} now;

static bool fed_last_time;
static uint64_t survivors_seen; /* of young collections, while we are not warm */
static bool is_warm; /* the program is large enough for us: before, everything is CPython's */
static bool verify_is_due; /* ZGC_VERIFY, after a concurrent collection */
static bool stop_is_due;  /* a collection is wanted, and those before it were given up */
static bool whole_is_due; /* by objects that our passes do not see */
static bool pending; /* a pending call is queued; any thread */

static struct {
  uint64_t count, max_ns, total_ns, reclaimed, logged_ns;
} young_since_log;

/* Only between start and stop of a collection in which nothing of the program's runs. */
static zgc_head_t set_aside;

static zgc_head_t *list_of(int generation) { return &zgc_state.generations[generation].head; }
static uint64_t budget_ns(void) { return zoption(pause_target) * 1000u; }

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

void zsafepoint_promote_young(void) {
  for (int i = 0; i < ZGC_GENERATIONS - 1; i++) zgc_list_splice(list_of(i), list_of(ZGC_GENERATIONS - 1));
}

/* Of a generation of CPython's, the oldest objects left out: no statistics, no output, no callbacks of
 * users. */
static void collect_silently(int generation) {
  int debug = *zgc_state.debug;
  *zgc_state.debug = 0;
  set_aside = (zgc_head_t){(uintptr_t)&set_aside, (uintptr_t)&set_aside};
  zgc_generation_stats_t before = zpyabi_stats(generation);
  call_collect(generation, CALLER_SILENT);
  zpyabi_set_stats(generation, &before);
  *zgc_state.debug = debug;
}

/* -- warmth: from when on we take part ---------------------------------------------------------- */

/* Since the process started, the program has put a filter over its system calls. It knows nothing of what our
 * thread and our page would need (docs/system-calls.md), and may kill the process for it. */
static bool is_restricted(void) {
  static bool is_told;
  if (!zos_is_restricted()) return false;
  if (!is_told) zlog_info("gc,init", "the program has put a seccomp filter over itself: the collector stays CPython's");
  return is_told = true;
}

/* The registry's proofs run here, and not at start-up: small programs never come here. They may be run at any
 * place (ztype_samples.h); where something cannot be made, all stays CPython's, and they are tried again, with
 * twice as many occasions let pass each time. A collection in the midst of them would meet the samples: hence
 * none may start. No other thread runs meanwhile, so the flag is put back as it was. */
static bool prove_walkers(void) {
  static unsigned occasions;
  if (zos_stack_left() < STACK_TO_PROVE) return false;
  occasions++;
  if (occasions & (occasions - 1)) return false; /* not the first, second, fourth, eighth ... */
  if (is_restricted()) return false;
  zgc_generation_t *generations = zgc_state.generations;
  int young_count = generations[0].count, collecting = *zgc_state.collecting;
  *zgc_state.collecting = 1;
  bool proven = ztype_registry_start();
  *zgc_state.collecting = collecting;
  generations[0].count = young_count;
  if (proven) occasions = 0; /* for the next interpreter */
  return proven;
}

bool zsafepoint_warm_up(void) {
  if (is_warm) return true;
  if (!prove_walkers()) return false;
  is_warm = true;
  zos_cpu_count(); /* which is asked only once: now, and not under a filter that the program may put later */
  zcollector_apply_thresholds();
  return true;
}

/* A small heap is CPython's own: its full collections cost less than a thread. It grows by survivors; what
 * dies young is collected as well without us. */
static void watch_size(size_t collected) {
  survivors_seen += now.looked > collected ? now.looked - collected : 0;
  if (survivors_seen > WARM_FROM || zoption(stress)) zsafepoint_warm_up();
}

static size_t count_objects(int first, int last, size_t most) {
  size_t count = 0;
  for (int i = first; i <= last; i++) {
    const zgc_head_t *list = list_of(i), *at = zgc_head_next(list);
    for (; at != list && count < most; count++) at = zgc_head_next(at);
  }
  return count;
}

static bool is_forked; /* written by a child before it runs anything else */

void zsafepoint_fork_child(void) { is_forked = true; }

/* Passes pay where objects are more than the caches hold, and in a forked child: CPython's own collection
 * writes to each object, and so makes a copy of all memory that is shared with the parent. Counting takes a
 * tenth of a collection: it is done again when the heap has grown by what so many more may take. Who looks at
 * the census wants all garbage in it, and CPython does not tell what it reclaims. */
static bool is_small(void) {
  static size_t counted = SIZE_MAX, counted_bytes;
  size_t limit = zoption(small), bytes = zgranules_used_bytes();
  if (is_forked || zcensus_is_wanted || zoption(stress) || zoption(verify)) return false;
  if (zold_map_count >= limit) return false;
  counted_bytes = zmin(counted_bytes, bytes); /* what has left may make room for objects */
  if (counted < limit && counted + (bytes - counted_bytes) / OBJECT_BYTES < limit) return true;
  counted = count_objects(0, ZGC_GENERATIONS - 1, limit);
  counted_bytes = bytes;
  return counted < limit;
}

/* -- start ------------------------------------------------------------------------------------------- */

/* The count says little: it goes down with every container that dies, also with old ones, while the
 * list grows. So the list is walked, up to the limit; the collection would do so anyway. */
static bool is_oversized(void) {
  const zgc_generation_t *young = &zgc_state.generations[0];
  size_t limit = (size_t)young->threshold * OVERSIZED_TIMES;
  if (limit < OVERSIZED_MIN) limit = OVERSIZED_MIN;
  if (young->count > 0 && (size_t)young->count > limit) return true;
  if (now.is_left_out) return false;
  limit += ztenuring_kept();
  size_t reach = zmax(limit, ztenuring_reach());
  now.looked = zsurvivors_count(reach + 1, &now.aged);
  now.is_large = now.looked > limit;
  return now.looked > reach;
}

/* Before we are warm CPython walks older generations, too, which may have become large without our having seen
 * it: by gc.collect(0), gc.unfreeze. */
static bool is_older_oversized(long generation) {
  return !is_warm && generation > 0 && count_objects(1, (int)generation, WARM_FROM + 1) > WARM_FROM;
}

/* The collector thread at safepoints that should wait for it, for promotion is ahead of the collection. While it
 * gets no processor nobody waits for it, and after some safepoints the collection is done without it: a heap
 * that outgrows its collections costs more than a stop. GIL. */
static struct {
  uint64_t beats;      /* when it was last seen not to get on */
  unsigned safepoints; /* since */
} absent;

static bool is_thread_absent(void) { return absent.safepoints > 0 && absent.beats == zdriver_beats(); }

static void note_absent(void) {
  uint64_t beats = zdriver_beats();
  absent.safepoints = beats == absent.beats ? absent.safepoints + 1 : 1;
  absent.beats = beats;
}

static bool is_thread_lost(void) { return is_thread_absent() && absent.safepoints >= ABSENT_MOST; }

/* NULL: there is no reason. */
static const char *why_stop_world(void) {
  if (stop_is_due) return "collections are given up one after the other: ";
  if (zdriver_phase() == ZPHASE_IDLE) return NULL;
  if (is_thread_lost()) return "the collector thread gets no processor: ";
  return zdirector_pressure() < ZDIRECTOR_STOP_WORLD ? NULL : "";
}

static void look_at_garbage(uint64_t deadline) {
  if (zdriver_phase() != ZPHASE_RECLAIMING) return;
  uint64_t sequence = zdriver_collection.sequence;
  zcomponents_t *garbage = zdriver_garbage();
  if (zweakrefs_are_cleared(garbage, sequence) || zfeed_is_frozen(garbage)) return;
  if (!zweakrefs_clear(garbage, sequence, deadline)) return;
  if (zweakrefs_waiting() > 0) zdriver_leave(zweakrefs_waiting());
}

/* The last escalation: nothing else has kept garbage from piling up. */
static bool must_stop_world(void) {
  const char *why = why_stop_world();
  if (why == NULL) return false;
  stop_is_due = false;
  zstat_add(escalations, 1);
  zlog_info("gc,director", "escalation: %sthe world is stopped for a full collection", why);
  look_at_garbage(UINT64_MAX); /* callbacks see all weak references cleared, or none is called */
  zdriver_abandon("escalation");
  zdriver_begin_stopped(ZCAUSE_ESCALATION);
  return true;
}

/* Another generation cannot be asked for once a collection has begun; but what this one holds is ours to
 * say. */
/* A small heap that has outgrown its collections is one for CPython all the same. */
static plan_t plan_stopped(void) {
  bool is_cpythons = zold_map_count < STOPPED_TIMES * zoption(small) && !is_forked && !zcensus_is_wanted && !zoption(verify);
  return is_cpythons ? PLAN_WHOLE : PLAN_FULL;
}

static bool must_take_whole(void) {
  if (!whole_is_due) return false;
  whole_is_due = false;
  look_at_garbage(UINT64_MAX);
  zdriver_abandon("a collection of all objects by CPython takes its place");
  zdriver_begin_stopped(ZCAUSE_GROWTH);
  return true;
}

/* CPython asks for the oldest generation that is due, and merges the younger ones into it: before we
 * are warm that can be any. PyGC_Collect asks for the oldest whether it is due or not. */
static bool is_automatic(long generation) {
  const zgc_generation_t *asked = &zgc_state.generations[generation];
  return asked->count > asked->threshold || (generation == 0 && now.hurried);
}

/* A program that freezes what there is for a while (to fork, to measure) gets rid of the garbage afterwards. Where all
 * stays frozen the collection is given up: what is unfrozen one day counts as growth again. */
static bool is_garbage_frozen(void) {
  static unsigned safepoints; /* one behind the other */
  bool is_frozen = zfeed_is_frozen(zdriver_garbage());
  safepoints = is_frozen ? safepoints + 1 : 0;
  if (safepoints > FROZEN_MOST) zdriver_abandon("its garbage is frozen");
  return is_frozen;
}

static bool is_reclaiming(void) {
  return zdriver_phase() == ZPHASE_RECLAIMING && !is_garbage_frozen() &&
         zweakrefs_are_cleared(zdriver_garbage(), zdriver_collection.sequence);
}

/* Users' callbacks have been called since the plan was made, and other threads may have run: our collector
 * may be off by now, and the garbage gone. What was asked for with the world stopped is done all the same. */
static plan_t plan_after_callbacks(plan_t plan) {
  if (plan == PLAN_BATCH && !is_reclaiming()) plan = PLAN_YOUNG;
  bool is_optional = plan == PLAN_YOUNG || plan == PLAN_TAKE_OVER || plan == PLAN_BATCH;
  return is_optional && !is_on ? PLAN_FORWARD : plan;
}

bool zsafepoint_is_cramped(void) { return zos_stack_left() < STACK_TO_WORK; }

/* Not where the program has set a threshold of its own: it wants to have them. */
static bool is_young_left_out(long generation) {
  bool is_ours = is_warm && is_on && !now.hurried && generation == 0 && caller == CALLER_CPYTHON;
  if (!is_ours || zgc_state.generations[0].threshold != (int)ztenuring_threshold()) return false;
  return zdirector_is_fruitful() && ztenuring_leaves_out();
}

/* It has been brought on for the garbage (come_again_soon): the young objects are not enough yet. */
static bool is_early(void) {
  return ztenuring_is_on() && (size_t)zgc_state.generations[0].count < ztenuring_threshold();
}

static plan_t make_plan(long generation) {
  if (caller == CALLER_SILENT) return PLAN_SILENT;
  if (caller == CALLER_SMALL) return PLAN_SMALL;
  if (now.is_cramped && caller != CALLER_FULL) return PLAN_FORWARD;
  now.is_left_out = is_young_left_out(generation);
  if (is_on && caller == CALLER_CPYTHON && is_automatic(generation) &&
      (is_oversized() || is_older_oversized(generation)) && zsafepoint_warm_up()) {
    return PLAN_TAKE_OVER;
  }
  if (!is_on || generation != 0 || caller == CALLER_USER) return PLAN_FORWARD;
  if (caller == CALLER_FULL) return PLAN_FULL;
  if (!is_warm) return PLAN_FORWARD;
  if (must_stop_world()) return plan_stopped();
  if (must_take_whole()) return PLAN_WHOLE;
  /* Batches and young collections take turns, so that neither starves the other. */
  bool due = !fed_last_time || caller == CALLER_SAFEPOINT || is_early();
  if (due && is_reclaiming()) return PLAN_BATCH;
  if (now.is_left_out) return PLAN_TAKE_OVER;
  return caller == CALLER_SAFEPOINT && is_oversized() ? PLAN_TAKE_OVER : PLAN_YOUNG;
}

/* Batches are many, and what programs do at the end of a full collection can be much work (agents that count all
 * objects by type, for one). So a full collection is reported as such once: its last batch is of generation 2
 * and tells the sum of what all of them collected. Those before it are of generation 1 and tell nothing. Each is a
 * pause, from its start to its stop, and all sums are right. */
static int reported_generation(long generation) {
  if (now.plan == PLAN_BATCH) return now.is_last ? ZGC_GENERATIONS - 1 : 1;
  return now.plan == PLAN_FULL || now.plan == PLAN_WHOLE ? ZGC_GENERATIONS - 1 : (int)generation;
}

/* Where garbage piles up faster than batches take it, as in a program that enables collection now and then only,
 * they become larger: some pause targets are better than the stop that would come of it. */
static size_t batch_size(void) { return zbatch_size() * (1 + zmin(zdirector_pressure(), BATCH_TARGETS_MOST)); }

/* Known before it begins; callbacks that wait may take all of its time. */
static bool is_last_batch(void) {
  if (zdriver_collection.fed == 0) zbatch_begin();
  size_t left = zcomponents_left(zdriver_garbage());
  return !zweakrefs_have_callbacks() && zfeed_reach(zdriver_garbage(), batch_size()) == left;
}

static void open_batch(void) {
  now.young_count = zgc_state.generations[0].count;
  zfeed_open();
  if (!zweakrefs_call(now.start_ns + budget_ns())) return; /* the next batch goes on */
  now.batch = zfeed_components(zdriver_garbage(), batch_size(), now.is_last);
}

static void take_over(void) {
  set_aside = (zgc_head_t){(uintptr_t)&set_aside, (uintptr_t)&set_aside};
  for (int i = ZGC_GENERATIONS - 1; i >= 0; i--) zgc_list_splice(list_of(i), &set_aside);
  ztenuring_note_cleared();
  zstat_add(young_skipped, 1);
}

static void open_young(void) {
  size_t most = ztenuring_weight(now.looked);
  now.weight = zsurvivors_lighten(most, &now.looked, &now.aged);
  now.is_rethought = ztenuring_note_weight(now.weight);
  now.weight = zmin(now.weight, most);
  zstat_add(young_references, now.weight);
}

/* Logs how long a step took; the steps of a stopped collection are one pause. */
static bool log_step(const char *name, bool done, uint64_t *since) {
  uint64_t at = zos_now_ns();
  zlog_debug("gc,phases", "GC(%llu) Pause Full: %s %.3fms",
             (unsigned long long)zdriver_collection.sequence, name, zlog_ms(at - *since));
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
  const zgc_head_t *end = list_of(2);
  char why[200];
  for (zgc_head_t *at = zgc_head_next(end); at != end; at = zgc_head_next(at)) {
    if (ztype_verify(zpyabi_object(at), why, sizeof why)) continue;
    zlog_notice("ZGC_VERIFY: %s; we abort", why);
    abort();
  }
}

static void open_full(void) {
  zweakrefs_call(UINT64_MAX);
  zgc_list_splice(list_of(0), list_of(2));
  zgc_list_splice(list_of(1), list_of(2));
  if (zoption(verify)) verify_walkers();
  zdirector_note_start();
  enumerate_all();
  zpass_t *pass = zpromotion_foreign() > 0 ? NULL : exact_pass();
  now.failed = pass == NULL;
  if (now.failed) return;
  zdriver_collection.considered = zold_map_count;
  zdriver_collection.found = pass->candidate_count;
  now.batch = zfeed_candidates(pass->candidates, pass->candidate_count);
  zpass_each_untrackable(pass, untrack);
  zdriver_end_pass(pass);
}

static zpause_kind_t pause_kind(void) {
  if (now.plan == PLAN_BATCH) return ZPAUSE_RECLAIM;
  bool is_full = now.plan == PLAN_FULL || now.plan == PLAN_WHOLE || now.plan == PLAN_SMALL;
  return is_full ? ZPAUSE_FULL : ZPAUSE_YOUNG;
}

/* CPython would have collected generation 1 now, by the thresholds that the program knows of: the
 * counts say so. It adds one to the middle one for the collection that begins. */
static void count_as_stock(void) {
  zgc_generation_t *middle = &zgc_state.generations[1];
  int thresholds[ZGC_GENERATIONS];
  zcollector_get_thresholds(thresholds);
  if (middle->count <= thresholds[1]) return;
  middle->count = -1;
  zgc_state.generations[2].count++;
}

/* In the order of age. */
static void open_whole(void) {
  zweakrefs_call(UINT64_MAX);
  zdirector_note_start();
  for (int i = 1; i >= 0; i--) zgc_list_splice(list_of(i), list_of(ZGC_GENERATIONS - 1));
  zgc_list_splice(list_of(ZGC_GENERATIONS - 1), list_of(0));
}

/* What a gc.collect(0) has left in generation 1 may be millions: the work at `stop` is for survivors only. */
static void on_start(void) {
  if (now.plan == PLAN_YOUNG || now.plan == PLAN_TAKE_OVER) count_as_stock();
  if (now.plan == PLAN_YOUNG || now.plan == PLAN_BATCH) zgc_list_splice(list_of(1), list_of(2));
  if (now.plan == PLAN_YOUNG) open_young();
  if (now.plan == PLAN_BATCH) open_batch();
  if (now.plan == PLAN_TAKE_OVER) take_over();
  if (now.plan == PLAN_FULL) open_full();
  if (now.plan == PLAN_WHOLE) open_whole();
  if (now.plan == PLAN_SMALL) zdirector_note_start();
  if (now.plan == PLAN_SILENT) zgc_list_splice(list_of(2), &set_aside);
}

/* -- stop -------------------------------------------------------------------------------------------- */

/* Of what was fed. */
static size_t survivors(long collected) {
  return now.batch > (size_t)collected ? now.batch - (size_t)collected : 0;
}

static void finish_census(void) {
  zcensus_finish();
  if (!zlog_is(ZLOG_INFO) || zdriver_collection.reclaimed == 0) return;
  char types[800];
  zcensus_describe(types, sizeof types);
  zlog_info("gc,types", "GC(%llu) garbage %s", (unsigned long long)zdriver_collection.sequence,
            types);
}

/* CPython counts what was fed as its candidates (3.15 tells); those of the passes were all. */
static void note_considered(void) {
  const zcollection_t *c = &zdriver_collection;
  zgc_generation_stats_t full = zpyabi_stats(ZGC_GENERATIONS - 1);
  if (c->considered > c->fed) full.candidates += (Py_ssize_t)(c->considered - c->fed);
  zpyabi_set_stats(ZGC_GENERATIONS - 1, &full);
}

static void finish_collection(void) {
  note_considered();
  finish_census();
  size_t waiting = zweakrefs_waiting();
  zdirector_note_end(zdriver_collection.found, zdriver_collection.reclaimed + waiting, waiting);
  if (zdirector_is_fruitful() && ztenuring_note_fruitful()) zcollector_apply_thresholds();
  zgc_state.generations[1].count = zgc_state.generations[2].count = 0;
  zdriver_finish();
  zcollector_note_success();
  if (zoption(verify)) {
    verify_is_due = true; /* not here: CPython is in a collection of its own */
    zsafepoint_request();
  }
}

/* The batch was the work of a full collection: its numbers belong to generation 2. 3.15 adds to the
 * duration once more when our callable has returned: that part is moved when we come by again. */
static zgc_generation_stats_t young_stats; /* as they should be, while stats_are_due */
static bool stats_are_due;

static int stats_to; /* the generation that they belong to */

static void move_stats(const zgc_generation_stats_t *before, int to) {
  zgc_generation_stats_t young = zpyabi_stats(0), target = zpyabi_stats(to);
  target.collections += young.collections - before->collections;
  target.collected += now.report.collected;
  target.uncollectable += now.report.uncollectable;
  target.candidates += young.candidates - before->candidates;
  target.duration += young.duration - before->duration;
  zpyabi_set_stats(0, before);
  zpyabi_set_stats(to, &target);
}

static void settle_stats(void) {
  now.report.collected = now.report.uncollectable = 0;
  if (stats_are_due) move_stats(&young_stats, stats_to);
  stats_are_due = false;
}

/* What batches have collected that no collection of generation 2 has told yet. An abandoned collection leaves
 * it to the next one. */
static zcallbacks_report_t untold;

static void tell_sums(long collected, long uncollectable) {
  untold.collected += collected;
  untold.uncollectable += uncollectable;
  if (now.report.generation < ZGC_GENERATIONS - 1) {
    now.report.collected = now.report.uncollectable = 0;
    return;
  }
  now.report.collected = untold.collected;
  now.report.uncollectable = untold.uncollectable;
  memset(&untold, 0, sizeof untold);
}

static void note_batch(long collected, long uncollectable) {
  zcollection_t *c = &zdriver_collection;
  zstat_add(fed, now.batch);
  c->fed += now.batch;
  collected += (long)zweakrefs_take_freed(); /* CPython counts them, too */
  zstat_add(reclaimed, collected);
  c->reclaimed += (uint64_t)collected;
  zstat_add(uncollectable, uncollectable);
  c->uncollectable += (uint64_t)uncollectable;
  tell_sums(collected, uncollectable);
  stats_to = (int)now.report.generation;
  move_stats(&now.young_stats, stats_to);
  young_stats = now.young_stats;
  stats_are_due = true;
}

static void note_pause_of_collection(uint64_t took) {
  zcollection_t *c = &zdriver_collection;
  c->pauses++;
  c->pause_total_ns += took;
  if (took > c->pause_max_ns) c->pause_max_ns = took;
}

static void close_batch(PyObject *info) {
  uint64_t took = zos_now_ns() - now.start_ns;
  note_pause_of_collection(took);
  long collected = zcallbacks_number(info, "collected");
  note_batch(collected, zcallbacks_number(info, "uncollectable"));
  if (now.batch > 0) {
    zlog_info("gc,phases", "GC(%llu) Pause Reclaim %.3fms fed %zu reclaimed %ld",
              (unsigned long long)zdriver_collection.sequence, zlog_ms(took), now.batch, collected);
  }
  zbatch_note(now.batch, took, budget_ns());
  zfeed_close(survivors(collected));
  zgc_state.generations[0].count = now.young_count;
  zstore_relaxed(&zdriver_collection.batches, zdriver_collection.batches + 1);
  if (zdriver_phase() != ZPHASE_RECLAIMING) return; /* given up by a finalizer, or a forked child */
  zstat_set(pending_garbage, zcomponents_left(zdriver_garbage()));
  if (zcomponents_left(zdriver_garbage()) == 0) finish_collection();
}

static void close_young(PyObject *info) {
  size_t collected = (size_t)zcallbacks_number(info, "collected");
  ztenuring_note_found(collected);
  size_t garbage = zsurvivors_settle(now.aged, collected, now.weight, &now.promoted);
  bool is_cpu = now.looked >= ZTENURING_MANY;
  uint64_t took = is_cpu ? zos_thread_cpu_ns() - now.start_cpu_ns : zos_now_ns() - now.start_ns;
  if (now.is_large) ztenuring_note_large(now.looked, collected, took);
  bool is_resized = ztenuring_note_young(now.looked, now.aged, garbage, took);
  if (is_resized || now.is_rethought) zcollector_apply_thresholds();
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
  zlog_debug("gc,young", "Pause Young %.3fms reclaimed %ld cpu %.3fms paced %.3fms", zlog_ms(took),
             collected, zlog_ms(zos_thread_cpu_ns() - now.start_cpu_ns), zlog_ms(now.paced_ns));
}

static void log_young(uint64_t at) {
  if (young_since_log.count == 0 || at - young_since_log.logged_ns < YOUNG_LOG_NS) return;
  zlog_info("gc,young", "young %llu max %.3fms total %.3fms reclaimed %llu",
            (unsigned long long)young_since_log.count, zlog_ms(young_since_log.max_ns),
            zlog_ms(young_since_log.total_ns), (unsigned long long)young_since_log.reclaimed);
  memset(&young_since_log, 0, sizeof young_since_log);
  young_since_log.logged_ns = at;
}

/* Where many survivors are kept, young collections are seldom, and what waits for a safepoint would wait long: a
 * program that allocates little while collection is enabled would never come to it. */
static void come_again_soon(void) {
  static bool is_lowered;
  zgc_generation_t *young = &zgc_state.generations[0];
  if (is_lowered) zcollector_apply_thresholds();
  is_lowered = false;
  if (!ztenuring_is_on() || young->threshold != (int)ztenuring_threshold()) return;
  if (zpromotion_is_complete() && zdriver_phase() != ZPHASE_RECLAIMING) return;
  int soon = zmax(young->count, 0) + ZTENURING_THRESHOLD_MIN;
  is_lowered = soon < young->threshold;
  if (is_lowered) young->threshold = soon;
}

static void note_pause(uint64_t took) { zpause_note(pause_kind(), took); }

/* The director's turn. Ends in a collection with the world stopped when garbage has outrun us. */
static void consult_director(void) {
  if (!is_on) return; /* a callback of a weak reference has switched it off */
  if (zdriver_is_resting()) return;
  if (zdriver_phase() != ZPHASE_IDLE) return;
  if (zdriver_take_fault()) zcollector_note_fault("a side table could not be mapped");
  if (!zpromotion_is_complete() && !zoption(stress)) return; /* old objects are still being counted */
  whole_is_due = zdirector_foreign_is_due(zpromotion_foreign(), zpromotion_foreign_before());
  if (whole_is_due) return;
  zcause_t cause = zdirector_decide();
  if (cause == ZCAUSE_NONE) return;
  stop_is_due = zdriver_abandoned >= ABANDONED_MOST;
  if (stop_is_due || zsafepoint_begin(cause)) return;
  zcollector_note_fault("a collection could not be started");
}

/* What both ways of a full collection with the world stopped leave to be said. */
static void conclude_full(void) {
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
  note_pause(took);
  zlog_info("gc", "GC(%llu) Pause Full (%s) found %llu reclaimed %llu old %zu %.3fms",
            (unsigned long long)c->sequence, zcause_name(c->cause), (unsigned long long)c->found,
            (unsigned long long)c->reclaimed, zold_map_count, zlog_ms(took));
}

static void close_full(PyObject *info) {
  zdriver_end_stopped();
  if (now.failed) return;
  long collected = zcallbacks_number(info, "collected");
  note_batch(collected, zcallbacks_number(info, "uncollectable"));
  note_considered();
  zfeed_note_survivors(survivors(collected));
  finish_census();
  zgc_list_splice(list_of(1), list_of(2)); /* what was resurrected */
  conclude_full();
}

static void close_whole(PyObject *info) {
  long collected = zcallbacks_number(info, "collected"), uncollectable = zcallbacks_number(info, "uncollectable");
  now.batch = zdriver_collection.found = (size_t)(collected + uncollectable);
  note_batch(collected, uncollectable);
  zgc_list_splice(list_of(1), list_of(ZGC_GENERATIONS - 1));
  zpromotion_rewind();
  conclude_full();
}

static void close_small(PyObject *info) {
  zcollection_t *c = &zdriver_collection;
  c->reclaimed = (uint64_t)zcallbacks_number(info, "collected");
  c->uncollectable = (uint64_t)zcallbacks_number(info, "uncollectable");
  c->found = c->fed = c->reclaimed + c->uncollectable;
  zstat_add(fed, c->fed);
  zstat_add(reclaimed, c->reclaimed);
  zstat_add(uncollectable, c->uncollectable);
  zpromotion_rewind(); /* CPython has reordered the oldest list */
  conclude_full();
}

/* What a safepoint does beside CPython's own work, within the rest of the time budget. */
static void work_slices(uint64_t since) {
  uint64_t deadline = now.start_ns + budget_ns(), least = since + budget_ns() / 4;
  if (deadline < least) deadline = least;
  serve_deferred(deadline); /* first: the collection waits for it */
  look_at_garbage(deadline + zmin(zdirector_pressure(), BATCH_TARGETS_MOST) * budget_ns()); /* as for batches */
  if (zdriver_phase() != ZPHASE_RECLAIMING) zweakrefs_call(deadline); /* left by an abandoned collection */
  /* Promotion must not outrun the slices: the director waits until all is counted, which it would never be
   * where the program has asked for young collections that leave no time. Twice, so that it catches up. */
  zpromotion_slice(deadline, now.promoted * 2);
  zdirector_trim(deadline);
  if (now.plan != PLAN_BATCH && caller == CALLER_CPYTHON) consult_director();
}

/* Who sleeps may wake on the collector thread's processor, and get it some milliseconds later. */
static void wait_a_little(bool is_alone, uint64_t most_ns) {
  if (!is_alone) {
    for (int i = 0; i < PACE_SPINS; i++) zspin_hint();
  } else {
    zos_sleep_ns(zmin(most_ns, PACE_WAIT_NS));
  }
}

/* The collector thread has something to do. In all other phases it waits for safepoints. */
static bool is_thread_at_work(void) {
  zphase_t phase = zdriver_phase();
  return phase == ZPHASE_CONCURRENT || phase == ZPHASE_REQUESTED;
}

/* Helps while there is something to do, waits while the collector thread gets on. */
static void lend_this_thread(uint64_t until) {
  bool is_alone = zos_cpu_count() < 2;
  uint64_t beats = zdriver_beats(), at = zos_now_ns();
  unsigned idle = is_thread_absent() ? PACE_IDLE_ROUNDS : 0;
  for (unsigned round = 0; round < PACE_ROUNDS && at < until && is_thread_at_work(); round++) {
    bool helped = zdriver_help(until);
    bool gets_on = helped || beats != zdriver_beats();
    if (!zdirector_behind(zdriver_progress())) break;
    idle = gets_on ? 0 : idle + (is_alone ? PACE_SPINS / 2 : 1);
    if (idle > PACE_IDLE_ROUNDS) {
      note_absent();
      break;
    }
    beats = zdriver_beats();
    if (!helped) wait_a_little(is_alone, until - at);
    at = zos_now_ns();
  }
}

/* While promotion is ahead of the collection under way, the program lends it this thread, up to the
 * pause target; where there is nothing to help with, it waits. */
static void keep_pace(uint64_t since) {
  if (!is_thread_at_work()) return;
  unsigned behind = zdirector_behind(zdriver_progress());
  if (behind == 0) return;
  uint64_t start = zos_now_ns(), until = since + behind * budget_ns();
  if (zstat_get(stalls) == 0) {
    zlog_info("gc,director", "escalation: garbage is made faster than found, safepoints help");
  }
  lend_this_thread(until);
  now.paced_ns = zos_now_ns() - start;
  zstat_add(stalls, 1);
  zstat_add(stall_ns, now.paced_ns);
  zprobe_safepoint_stall(now.paced_ns);
}

/* gc.collect(1) puts its survivors into the oldest list: a program that calls it all the time would keep
 * promotion from ever catching up, and so the director from its turn. They are enumerated in a part of the time
 * that their collection took. */
static void follow_users_collection(uint64_t since) {
  if (!is_on || !is_warm) return;
  zpromotion_slice(since + zmax(since - now.start_ns, budget_ns() / 4), 0);
  consult_director();
  keep_pace(since);
}

static void on_stop(PyObject *info, long generation) {
  uint64_t since = zos_now_ns();
  switch (now.plan) {
    case PLAN_FORWARD:
      if (generation > 1) { /* CPython has collected all, and reordered the oldest list */
        zpromotion_rewind();
        zdriver_abandoned = 0;
      }
      if (generation == 1) follow_users_collection(since);
      if (is_on && !is_warm && generation == 0) watch_size((size_t)zcallbacks_number(info, "collected"));
      return;
    case PLAN_SILENT:
      zgc_list_splice(&set_aside, list_of(2));
      return;
    case PLAN_FULL:
      close_full(info);
      return;
    case PLAN_WHOLE:
      close_whole(info);
      return;
    case PLAN_SMALL:
      close_small(info);
      return;
    case PLAN_BATCH:
      close_batch(info);
      break;
    case PLAN_TAKE_OVER:
      zgc_list_splice(&set_aside, list_of(ZGC_GENERATIONS - 1));
      break;
    case PLAN_YOUNG:
      close_young(info);
      break;
  }
  fed_last_time = now.plan == PLAN_BATCH;
  if (is_on) work_slices(since);
  if (is_on && caller == CALLER_CPYTHON) keep_pace(now.start_ns);
  if (is_on) come_again_soon();
  if (now.plan != PLAN_BATCH) {
    note_young(zos_now_ns() - now.start_ns, zcallbacks_number(info, "collected"));
  }
  note_pause(zos_now_ns() - now.start_ns);
  log_young(since);
}

/* Makes the next container that is allocated bring a safepoint. A pending call alone is not enough: until
 * 3.11, one that another thread queues waits until the main thread looks at its eval breaker for some
 * other reason (ceval.c, COMPUTE_EVAL_BREAKER asks whether the *calling* thread may run it), and a busy
 * program that frees as much as it allocates brings no safepoint by itself: its count stays at 0 or 1. The word is read and
 * written whole; calm_down, at the next collection, finds it whoever wrote last. */
static void hurry(void) {
  int *threshold = &zgc_state.generations[0].threshold;
  if (zload_relaxed(threshold) > 0) zstore_relaxed(threshold, HURRIED);
}

static bool calm_down(void) {
  if (zload_relaxed(&zgc_state.generations[0].threshold) != HURRIED) return false;
  zcollector_apply_thresholds();
  return true;
}

/* Py_AddPendingCall computes again whether the interpreter has to look at signals and pending calls. Until 3.12 it
 * asks whether the calling thread may handle them, so the collector thread's call makes the main thread overlook a
 * signal that has just come, until that is computed once more. The next collection does it, which has been asked
 * for. */
static bool is_asked_for_by_thread; /* atomic */
static pthread_t main_thread;       /* GIL; pending calls run there alone */

static int do_nothing(void *unused) {
  (void)unused;
  return 0;
}

static void let_signals_be_seen(void) {
  if (zlikely(!zload_acquire(&is_asked_for_by_thread)) || !pthread_equal(pthread_self(), main_thread)) return;
  zstore_relaxed(&is_asked_for_by_thread, false);
  zpy.Py_AddPendingCall(do_nothing, NULL);
}

/* -- the callable ---------------------------------------------------------------------------------------- */

/* Where the stack is short, CPython collects all generations by the program's thresholds, and afterwards until
 * a thread with more comes by. */
static void note_stack(void) {
  static bool was_cramped;
  now.is_cramped = zsafepoint_is_cramped();
  if (now.is_cramped || was_cramped) zcollector_apply_thresholds();
  was_cramped = now.is_cramped;
}

static void on_phase_start(PyObject *phase, PyObject *info, long generation) {
  memset(&now, 0, sizeof now);
  now.hurried = calm_down();
  settle_stats();
  note_stack();
  now.plan = make_plan(generation);
  now.is_last = now.plan == PLAN_BATCH && is_last_batch();
  now.report = zcallbacks_read(info);
  now.report.generation = reported_generation(generation);
  now.young_stats = zpyabi_stats(0);
  if (now.plan != PLAN_SILENT) zcallbacks_forward(phase, info, &now.report);
  now.plan = plan_after_callbacks(now.plan);
  now.start_ns = zos_now_ns();
  if (now.plan != PLAN_FORWARD && now.plan != PLAN_SILENT) zpause_begin(pause_kind());
  bool is_asked_for = zlog_is(ZLOG_DEBUG) || now.looked >= ZTENURING_MANY;
  if (is_asked_for) now.start_cpu_ns = zos_thread_cpu_ns();
  now.is_open = true;
  on_start();
}

/* What start has set aside comes back, whether or not our collector is still on: callbacks, finalizers and
 * other threads have run since. It is closed before users' callbacks are called, who may do all that again. */
static void on_phase_stop(PyObject *phase, PyObject *info, long generation) {
  plan_t plan = now.plan;
  bool is_ours = now.is_open;
  zcallbacks_report_t report = zcallbacks_read(info);
  report.generation = is_ours ? now.report.generation : generation;
  now.report = report;
  now.is_open = false;
  let_signals_be_seen();
  if (is_ours) on_stop(info, generation);
  zdriver_note_safepoint();
  if (is_on && !now.is_cramped) zcollector_publish_at_safepoint(now.start_ns);
  report = now.report;
  if (plan != PLAN_SILENT) zcallbacks_forward(phase, info, &report);
}

static PyObject *on_collection(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (count != 2) return zpy_new_none();
  PyObject *phase = arguments[0], *info = arguments[1];
  const char *name = zpy.PyUnicode_AsUTF8AndSize(phase, NULL);
  if (name == NULL) return NULL;
  long generation = zcallbacks_number(info, "generation");
  if (strcmp(name, "start") == 0) {
    on_phase_start(phase, info, generation);
  } else {
    on_phase_stop(phase, info, generation);
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

/* -- entries ------------------------------------------------------------------------------------------------ */

bool zsafepoint_install(PyObject *gc_module) {
  zstore_relaxed(&pending, false); /* one that the last interpreter did not come to */
  main_thread = pthread_self();
  stock_collect = zpy.PyObject_GetAttrString(gc_module, "collect");
  PyObject *callable = zpy.PyCFunction_NewEx(&callable_def, NULL, NULL);
  if (callable != NULL) zpyabi_call_at_once(callable, on_collection_at_once);
  bool installed = stock_collect != NULL && callable != NULL &&
                   zcallbacks_install(gc_module, callable);
  if (callable != NULL) zpy.Py_DecRef(callable);
  return installed;
}

void zsafepoint_remove(PyObject *gc_module) {
  is_on = is_warm = stats_are_due = whole_is_due = stop_is_due = false;
  zweakrefs_forget_waiting();
  survivors_seen = 0;
  zcallbacks_remove(gc_module);
  /* stock_collect stays: finalizers may hold our gc.collect until the very end. */
  memset(&now, 0, sizeof now);
}

void zsafepoint_switch(bool on) {
  zstore_seq_cst(&is_on, on);
  if (!on) zpending_wait();
}
bool zsafepoint_is_on(void) { return is_on; }
bool zsafepoint_is_warm(void) { return is_warm; }

/* One of generation 0 is all CPython's, and mostly short: our callable would take as long again. */
Py_ssize_t zsafepoint_stock_collect(int generation) {
  if (*zgc_state.collecting) return 0;
  if (generation > 0) return call_collect(generation, CALLER_USER);
  settle_stats();
  zcallbacks_lend();
  Py_ssize_t count = call_collect(generation, CALLER_CPYTHON);
  zcallbacks_take_back();
  return count;
}

/* True when nothing is young, and all that is old is known. */
static bool promote_all(zcause_t cause) {
  if (cause != ZCAUSE_EXPLICIT && !zweakrefs_want_all_old()) return false;
  zsafepoint_promote_young();
  zpromotion_slice(zos_now_ns() + budget_ns(), YOUNG_MOST);
  return zpromotion_is_complete();
}

bool zsafepoint_begin(zcause_t cause) {
  if (!is_on) return false; /* it would never end: safepoints leave all to CPython */
  if (zdriver_phase() != ZPHASE_IDLE) return false;
  bool all_is_old = promote_all(cause);
  zweakrefs_begin(all_is_old);
  zdirector_note_start();
  return zdriver_request(cause, all_is_old);
}

bool zsafepoint_now(void) {
  if (*zgc_state.collecting) return true; /* another thread's, which a finalizer of it has let us in */
  if (!zsafepoint_warm_up()) return true;
  return call_collect(0, CALLER_SAFEPOINT) >= 0;
}

/* CPython clears its free lists in collections of generation 2, and only there. */
static void clear_free_lists(void) {
  if (!zgc_list_is_empty(list_of(0)) || !zgc_list_is_empty(list_of(1))) return;
  int young_count = zgc_state.generations[0].count;
  collect_silently(ZGC_GENERATIONS - 1);
  zgc_state.generations[0].count = young_count;
}

void zsafepoint_settle_weakrefs(void) {
  look_at_garbage(UINT64_MAX);
  zweakrefs_call(UINT64_MAX);
}

/* False: callbacks have run, and with them another thread's collection begun. */
static bool begin_stopped(zcause_t cause) {
  zsafepoint_settle_weakrefs();
  if (*zgc_state.collecting) return false;
  zdriver_abandon("a collection with the world stopped takes its place");
  zdriver_begin_stopped(cause);
  return true;
}

static Py_ssize_t collect_as_cpython(zcause_t cause) {
  whole_is_due = false;
  if (!begin_stopped(cause)) return 0;
  Py_ssize_t count = call_collect(ZGC_GENERATIONS - 1, CALLER_SMALL);
  zdriver_end_stopped(); /* also where it could not even begin */
  return count;
}

Py_ssize_t zsafepoint_full_collect(zcause_t cause) {
  if (*zgc_state.collecting) return 0;
  if (!zsafepoint_warm_up()) return -2;
  if (!begin_stopped(cause)) return 0;
  Py_ssize_t count = call_collect(0, CALLER_FULL);
  zdriver_end_stopped();
  settle_stats();
  if (now.failed) return -2;
  clear_free_lists();
  return count;
}

Py_ssize_t zsafepoint_collect(zcause_t cause) {
  if (*zgc_state.collecting) return 0;
  return is_small() || zpromotion_foreign() > 0 ? collect_as_cpython(cause) : zsafepoint_full_collect(cause);
}

/* -- pending calls ------------------------------------------------------------------------------------------- */

static bool has_work(void) {
  zphase_t phase = zdriver_phase();
  return phase == ZPHASE_DEFERRING || phase == ZPHASE_RECLAIMING || zload_relaxed(&zdriver_is_trimming);
}

/* A program that calls gc.collect(1) again and again keeps the count of generation 0 below its threshold. */
void zsafepoint_follow(void) {
  zphase_t phase = zdriver_phase();
  if (!is_on || zsafepoint_is_cramped() || !*zgc_state.enabled || (phase != ZPHASE_DEFERRING && phase != ZPHASE_RECLAIMING)) return;
  if (!zsafepoint_now()) zpy.PyErr_WriteUnraisable(NULL);
}

/* ZGC_VERIFY is for finding faults of ours: a heap that is not right must not go on. */
static void verify_or_abort(void) {
  verify_is_due = false;
  if (zcollector_verify() >= 0) return;
  zlog_notice("ZGC_VERIFY: after GC(%llu) the check failed; the exception tells, then we abort",
              (unsigned long long)zdriver_collection.sequence);
  zpy.PyErr_WriteUnraisable(NULL);
  abort();
}

/* A program that has disabled collection does not expect finalizers to run. What the collector thread waits for
 * in the meantime runs none, and makes sure that it is done when collection is enabled again. */
static void work_while_disabled(void) {
  if (is_on && !*zgc_state.enabled && !*zgc_state.collecting) serve_deferred(zos_now_ns() + budget_ns());
}

static int on_pending(void *unused) {
  (void)unused;
  main_thread = pthread_self();
  zstore_relaxed(&is_asked_for_by_thread, false); /* it has been computed since */
  zstore_release(&pending, false);
  work_while_disabled();
  if (verify_is_due && is_on && *zgc_state.enabled && !*zgc_state.collecting) verify_or_abort();
  bool timer = zdirector_timer_is_due();
  if (!is_on || !*zgc_state.enabled || !(has_work() || timer)) return 0;
  if (!zsafepoint_now()) zpy.PyErr_WriteUnraisable(NULL);
  /* Another thread's collection may be in the midst of its finalizers: the record is its own. */
  if (timer && !*zgc_state.collecting) zsafepoint_begin(ZCAUSE_TIMER);
  return 0;
}

void zsafepoint_request(void) {
  if (!zload_relaxed(&is_on) || !zpending_enter()) return;
  if (zload_seq_cst(&is_on)) { /* who switches off waits for us, and then sets the thresholds */
    if (zload_relaxed(&is_warm)) hurry();
    if (!zexchange_acq_rel(&pending, true) && !zpending_add(on_pending)) zstore_release(&pending, false);
    zstore_release(&is_asked_for_by_thread, true);
  }
  zpending_leave();
}
