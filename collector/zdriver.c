#define _GNU_SOURCE
#include "collector/zdriver.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "collector/ztype_learning.h"
#include "heap/base/zassert.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

#define PASSES_MAX 10
#define STABLE_SHARE 32 /* the set is stable when a pass drops less than this share of it */
#define WAKE_NS 3000000u /* a safepoint is asked for when none came for so long */
#define REST_SHARE 250  /* of a collection's progress, in thousandths: what follows the first pass */
#define DEFERRING_AT 360
#define TICK_NS 500000000u
#define HELP_SPINS 64
#define HELP_SLEEP_NS 50000u

zcollection_t zdriver_collection;
void (*zdriver_wake_program)(void);
void (*zdriver_tick)(void);
bool zdriver_is_trimming;
unsigned zdriver_trim_slices;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static bool is_changed_made;

/* Guarded by `lock`. */
static zphase_t phase;
static bool thread_runs;
static bool deferred_failed;
static bool fault; /* the last collection was abandoned for want of memory */

static bool stop; /* set under `lock`, polled by the passes */
static bool is_lent; /* written under `lock`: the collector thread helps with an exact pass */

/* The collector thread's; see zdriver.h for what is lent when. */
static zpass_t pass;
static zcomponents_t garbage;

/* -- phase -------------------------------------------------------------------------------------- */

static void enter_locked(zphase_t next) {
  zcheck(zphase_is_legal(phase, next));
  zstore_release(&phase, next);
  zstat_set(running, next != ZPHASE_IDLE);
  pthread_cond_broadcast(&changed);
}

static void enter(zphase_t next) {
  pthread_mutex_lock(&lock);
  enter_locked(next);
  pthread_mutex_unlock(&lock);
}

zphase_t zdriver_phase(void) { return zload_acquire(&phase); }

static void make_condition(void) {
  if (is_changed_made) return;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &attributes);
  pthread_condattr_destroy(&attributes);
  is_changed_made = true;
}

/* False on time-out. */
static bool wait_changed_locked(uint64_t ns) {
  uint64_t until = zos_now_ns() + ns;
  struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
  return pthread_cond_timedwait(&changed, &lock, &at) != ETIMEDOUT;
}

/* -- the collection's record -------------------------------------------------------------------- */

static void begin_record(zcause_t cause) {
  uint64_t sequence = zdriver_collection.sequence + (zdriver_collection.cause != ZCAUSE_NONE);
  zdriver_collection = (zcollection_t){.sequence = sequence, .cause = cause,
                                       .started_ns = zos_now_ns(),
                                       .considered = zload_relaxed(&zold_map_count)};
  zdriver_collection.heap_before = zgranules_used_bytes();
  if (zlog_is(ZLOG_INFO)) zdriver_collection.rss_before = zos_rss_bytes();
}

void zdriver_begin_stopped(zcause_t cause) {
  zcheck(zdriver_phase() == ZPHASE_IDLE);
  begin_record(cause);
  zprobe_collection_start(zdriver_collection.sequence, zcause_name(cause));
}

static unsigned long long number(void) { return (unsigned long long)zdriver_collection.sequence; }

static void note_start(void) {
  zprobe_collection_start(zdriver_collection.sequence, zcause_name(zdriver_collection.cause));
  zlog_info("gc,start", "GC(%llu) Full Collection (%s) old %zu heap %luM rss %luM", number(),
            zcause_name(zdriver_collection.cause), zload_relaxed(&zold_map_count),
            zlog_mb(zdriver_collection.heap_before), zlog_mb(zdriver_collection.rss_before));
}

/* -- the collector thread ------------------------------------------------------------------------ */

/* Waits for the safepoints to serve what the pass deferred; asks for one when none comes. */
static bool serve_deferred(void) {
  if (zdeferred_left(&pass.deferred) == 0) return true;
  zprobe_phase_start("Concurrent Defer");
  pthread_mutex_lock(&lock);
  deferred_failed = false;
  /* Who set `stop` may be waiting with the GIL held: no safepoint would come. */
  if (!stop) enter_locked(ZPHASE_DEFERRING);
  while (phase == ZPHASE_DEFERRING) {
    if (wait_changed_locked(WAKE_NS)) continue;
    pthread_mutex_unlock(&lock);
    if (zdriver_wake_program != NULL) zdriver_wake_program();
    pthread_mutex_lock(&lock);
  }
  bool served = !deferred_failed && !stop;
  pthread_mutex_unlock(&lock);
  return served;
}

static bool is_first_pass; /* the collector thread's; read by safepoints as a hint */

static bool one_pass(unsigned k) {
  zstore_relaxed(&is_first_pass, k == 1);
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Pass");
  if (!zpass_subtract(&pass)) return false;
  size_t in = pass.members;
  uint64_t before_deferred = zos_now_ns();
  if (!serve_deferred()) return false;
  size_t served = pass.deferred.served, audited = pass.deferred.audited;
  if (served > 0) {
    uint64_t took = zos_now_ns() - before_deferred;
    zprobe_phase_done("Concurrent Defer", took);
    zlog_info("gc,phases", "GC(%llu) Concurrent Defer %.3fms objects %zu", number(), zlog_ms(took), served);
    if (k == 1) zstat_set(deferred_objects, served - audited);
  }
  if (!zpass_mark(&pass) || !zpass_sweep(&pass)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Pass", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Pass %u %.3fms in %zu out %zu", number(), k,
            zlog_ms(took), in, pass.candidate_count);
  return true;
}

/* Repeats the pass over what it left until that hardly shrinks. The rest of the live objects that a
 * race put there is CPython's to drop: a further pass would cost more than feeding them does. */
static bool concurrent_passes(void) {
  static uint64_t audits; /* the collector thread's */
  if (!zpass_begin(&pass, &stop, false)) return false;
  pass.audit = ++audits;
  for (unsigned k = 1; k <= PASSES_MAX; k++) {
    size_t before = k == 1 ? SIZE_MAX : pass.candidate_count;
    if (!one_pass(k)) return false;
    if (k == 1) ztype_adapt_audits();
    pass.audit = 0; /* once a collection */
    if (k > 1 && pass.candidate_count >= before - before / STABLE_SHARE) return true;
    if (pass.candidate_count == 0) return true;
  }
  return true;
}

static bool concurrent_components(void) {
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Components");
  zpass_trim(&pass);
  if (!zcomponents_make(&garbage, &pass)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Components", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Components %.3fms components %zu largest %zu",
            number(), zlog_ms(took), garbage.component_count, garbage.largest);
  return true;
}

static void log_end(void) {
  const zcollection_t *c = &zdriver_collection;
  zlog_info("gc",
            "GC(%llu) Full Collection (%s) found %llu reclaimed %llu heap %luM->%luM rss %luM->%luM "
            "concurrent %.3fms pauses %llu max %.3fms total %.3fms",
            number(), zcause_name(c->cause), (unsigned long long)c->found,
            (unsigned long long)c->reclaimed, zlog_mb(c->heap_before),
            zlog_mb(zgranules_used_bytes()), zlog_mb(c->rss_before), zlog_mb(zos_rss_bytes()),
            zlog_ms(c->concurrent_ns), (unsigned long long)c->pauses, zlog_ms(c->pause_max_ns),
            zlog_ms(c->pause_total_ns));
}

static void collect(void) {
  uint64_t start = zos_now_ns(), cpu = zos_thread_cpu_ns();
  note_start();
  bool found = concurrent_passes() && (pass.candidate_count == 0 || concurrent_components());
  zdriver_collection.found = garbage.object_count;
  zpass_end(&pass);
  zdriver_collection.concurrent_ns = zos_now_ns() - start;
  zstat_add(concurrent_ns, zdriver_collection.concurrent_ns);
  zstat_add(concurrent_cpu_ns, zos_thread_cpu_ns() - cpu);
  zstat_add(found, garbage.object_count);
  zstat_set(pending_garbage, garbage.object_count);
  pthread_mutex_lock(&lock);
  if (found && !stop) { /* a safepoint ends it, also when there is no garbage */
    enter_locked(ZPHASE_RECLAIMING);
  } else {
    if (!stop) { /* nobody told us to: memory was short */
      fault = true;
      zstat_add(faults, 1);
      zstat_add(collections_abandoned, 1);
      zprobe_collection_abandoned(zdriver_collection.sequence, "no memory for a side table");
      zlog_warn("gc,fault", "GC(%llu) abandoned: no memory for a side table", number());
    }
    zcomponents_free(&garbage);
    enter_locked(ZPHASE_IDLE);
  }
  pthread_mutex_unlock(&lock);
}

/* While garbage waits, safepoints are asked for at a steady pace, so that an idle program gets rid
 * of it too. */
static void wait_while_reclaiming_locked(void) {
  while (phase == ZPHASE_RECLAIMING) {
    if (wait_changed_locked(WAKE_NS)) continue;
    if (zos_now_ns() - zload_relaxed(&zdriver_collection.fed_last_ns) < WAKE_NS) continue;
    pthread_mutex_unlock(&lock);
    if (zdriver_wake_program != NULL) zdriver_wake_program();
    pthread_mutex_lock(&lock);
  }
}

static void tick_when_due(uint64_t *last) {
  uint64_t at = zos_now_ns();
  if (at - *last < TICK_NS || zdriver_tick == NULL) return;
  *last = at;
  zdriver_tick();
}

/* Between two steps, and where the other lane has nothing to give, there is nothing to do for some
 * microseconds; while that one walks an object of millions, for milliseconds. */
static void help_exact_pass(void) {
  for (unsigned idle = 0; zload_relaxed(&is_lent);) {
    if (zpass_help(UINT64_MAX)) {
      idle = 0;
    } else if (++idle < HELP_SPINS) {
      sched_yield();
    } else {
      zos_sleep_ns(HELP_SLEEP_NS);
    }
  }
}

/* Safepoints are asked for at a steady pace as long as they come, and ever more seldom while none does: a
 * program that sleeps, or has switched collection off, is not woken for, and neither is this thread. */
static void wait_idle_locked(void) {
  static unsigned seen;
  static uint64_t pace_ns = WAKE_NS;
  bool is_trimming = zload_relaxed(&zdriver_is_trimming);
  unsigned slices = zload_relaxed(&zdriver_trim_slices);
  pace_ns = is_trimming && slices == seen ? zmin(pace_ns * 2, TICK_NS) : WAKE_NS;
  seen = slices;
  bool is_quiet = !wait_changed_locked(is_trimming ? pace_ns : TICK_NS);
  pthread_mutex_unlock(&lock);
  if (is_trimming && is_quiet && zdriver_wake_program != NULL) zdriver_wake_program();
}

static void collector_thread(void *unused) {
  (void)unused;
  uint64_t last_tick = zos_now_ns();
  pthread_mutex_lock(&lock);
  for (;;) {
    if (phase == ZPHASE_RECLAIMING) wait_while_reclaiming_locked();
    if (is_lent) {
      pthread_mutex_unlock(&lock);
      help_exact_pass();
    } else if (phase == ZPHASE_REQUESTED) {
      enter_locked(ZPHASE_CONCURRENT);
      pthread_mutex_unlock(&lock);
      collect();
    } else {
      wait_idle_locked();
    }
    tick_when_due(&last_tick);
    pthread_mutex_lock(&lock);
  }
}

bool zdriver_ensure_thread(void) {
  pthread_mutex_lock(&lock);
  make_condition();
  if (!thread_runs) {
    int error = zos_thread_start(collector_thread, NULL, "zgc-collector");
    thread_runs = error == 0;
    if (error != 0) {
      zstat_add(faults, 1);
      zlog_warn("gc,fault", "the collector thread cannot be started: %s", strerror(-error));
    }
  }
  bool runs = thread_runs;
  pthread_mutex_unlock(&lock);
  return runs;
}

/* -- safepoints' side ------------------------------------------------------------------------------ */

bool zdriver_request(zcause_t cause) {
  if (zdriver_phase() != ZPHASE_IDLE || !zdriver_ensure_thread()) return false;
  pthread_mutex_lock(&lock);
  bool idle = phase == ZPHASE_IDLE;
  if (idle) {
    zstore_relaxed(&stop, false);
    begin_record(cause);
    enter_locked(ZPHASE_REQUESTED);
  }
  pthread_mutex_unlock(&lock);
  return idle;
}

bool zdriver_take_fault(void) {
  pthread_mutex_lock(&lock);
  bool taken = fault;
  fault = false;
  pthread_mutex_unlock(&lock);
  return taken;
}

void zdriver_lend_thread(bool lend) {
  if (lend && (zos_cpu_count() < 2 || !zdriver_ensure_thread())) return;
  pthread_mutex_lock(&lock);
  zstore_relaxed(&is_lent, lend);
  if (lend) pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

unsigned zdriver_progress(void) {
  switch (zdriver_phase()) {
    case ZPHASE_CONCURRENT:
      if (!zload_relaxed(&is_first_pass)) return 1000 - REST_SHARE;
      return zpass_progress(&pass) * (1000 - REST_SHARE) / 1000;
    case ZPHASE_DEFERRING:
      return DEFERRING_AT;
    case ZPHASE_RECLAIMING:
      return 1000;
    default:
      return 0;
  }
}

zdeferred_t *zdriver_deferred(void) { return &pass.deferred; }

void zdriver_deferred_done(bool failed) {
  pthread_mutex_lock(&lock);
  deferred_failed = failed;
  enter_locked(ZPHASE_CONCURRENT);
  pthread_mutex_unlock(&lock);
}

zcomponents_t *zdriver_garbage(void) { return &garbage; }

void zdriver_finish(void) {
  zcomponents_free(&garbage);
  zstat_set(pending_garbage, 0);
  zcause_count(zdriver_collection.cause);
  zprobe_collection_done(zdriver_collection.sequence, zdriver_collection.found,
                         zdriver_collection.reclaimed);
  if (zlog_is(ZLOG_INFO)) log_end();
  enter(ZPHASE_IDLE);
}

void zdriver_abandon(const char *why) {
  if (zdriver_phase() == ZPHASE_IDLE) return;
  pthread_mutex_lock(&lock);
  if (phase != ZPHASE_IDLE) {
    zprobe_collection_abandoned(zdriver_collection.sequence, why);
    zlog_info("gc", "GC(%llu) Full Collection (%s) abandoned: %s", number(),
              zcause_name(zdriver_collection.cause), why);
    zstore_relaxed(&stop, true);
    if (phase == ZPHASE_DEFERRING) enter_locked(ZPHASE_CONCURRENT);
    if (phase == ZPHASE_REQUESTED || phase == ZPHASE_RECLAIMING) {
      if (phase == ZPHASE_RECLAIMING) {
        zcomponents_free(&garbage);
        zstat_set(pending_garbage, 0);
      }
      enter_locked(ZPHASE_IDLE);
    }
    /* The collector thread polls `stop` every few thousand objects. */
    while (phase != ZPHASE_IDLE) pthread_cond_wait(&changed, &lock);
    zstat_add(collections_abandoned, 1);
  }
  pthread_mutex_unlock(&lock);
}

void zdriver_wait(unsigned ms) {
  pthread_mutex_lock(&lock);
  if (phase == ZPHASE_REQUESTED || phase == ZPHASE_CONCURRENT) {
    wait_changed_locked((uint64_t)ms * 1000000u);
  }
  pthread_mutex_unlock(&lock);
}

/* -- fork -------------------------------------------------------------------------------------------- */

void zdriver_lock_for_fork(void) { pthread_mutex_lock(&lock); }
void zdriver_unlock_after_fork_in_parent(void) { pthread_mutex_unlock(&lock); }

void zdriver_reset_after_fork_in_child(void) {
  pthread_mutex_init(&lock, NULL);
  is_changed_made = false;
  is_lent = false;
  make_condition();
  zpass_reset_after_fork_in_child();
  /* Scratch tables were not inherited; there is nothing to unmap. */
  memset(&pass, 0, sizeof pass);
  memset(&garbage, 0, sizeof garbage);
  zstore_release(&phase, ZPHASE_IDLE);
  stop = false;
  thread_runs = false;
  zdriver_is_trimming = false;
  zstat_set(running, 0);
  zstat_set(pending_garbage, 0);
}
