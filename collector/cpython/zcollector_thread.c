#include "collector/cpython/zcollector_thread.h"

#include <string.h>

#include "collector/cpython/zconcurrent.h"
#include "collector/cpython/zrequest.h"
#include "collector/cpython/zticket.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define WAKE_NS ZCONCURRENT_WAKE_NS
#define TICK_NS 500000000u

bool zcollector_thread_is_trimming;
unsigned zcollector_thread_trim_slices;
void (*zcollector_thread_tick)(void);

/* A thread that forks asks it to end (RUNS to ENDING). Then either that one takes this back or the thread does it
 * (GONE): both by compare-and-swap. The forking thread makes NONE of GONE. */
static enum { THREAD_NONE, THREAD_STARTS, THREAD_RUNS, THREAD_ENDING, THREAD_GONE } thread; /* atomic */

static int thread_number; /* atomic; the kernel's, of the thread that runs; 0: it has not had a processor yet */

static bool is_asked_to_end(void) { return zload_acquire(&thread) == THREAD_ENDING; }

/* The thread has ended for a fork. GIL; `safepoints` is a hint for others. */
static struct {
  bool is_ended;
  unsigned safepoints; /* to come, until it may be started again */
  uint64_t since_ns;
} rest;

static unsigned batches; /* atomic; a hint: garbage has been fed since */

void zcollector_thread_note_batch(void) { zstore_relaxed(&batches, batches + 1); }
bool zcollector_thread_is_resting(void) { return zload_relaxed(&rest.safepoints) > 0; }

/* -- what it does ---------------------------------------------------------------------------------------- */

/* A fork does not wait while it gives tables back: the next thread does. */
static void begin_requested(uint64_t word) {
  ztables_t *mine = zload_acquire(&ztables_current); /* another's by now: then the change fails */
  if (!zticket_change(zticket_of(word), ZPHASE_REQUESTED, ZPHASE_CONCURRENT) || zconcurrent_collect(mine)) return;
  if (is_asked_to_end()) {
    ztables_discard(mine);
  } else {
    ztables_free(mine);
  }
}

/* While garbage waits, safepoints are asked for at a steady pace, so that an idle program gets rid
 * of it too. */
static void wait_while_reclaiming(uint32_t seen) {
  unsigned before = zload_relaxed(&batches);
  if (zticket_sleep(seen, WAKE_NS)) return;
  if (before == zload_relaxed(&batches)) zrequest_safepoint();
}

static void tick_when_due(uint64_t *last) {
  uint64_t at = zos_now_ns();
  if (at - *last < TICK_NS || zcollector_thread_tick == NULL) return;
  *last = at;
  zcollector_thread_tick();
}

/* Between two steps, and where the other lane has nothing to give, there is nothing to do for some
 * microseconds; while that one walks an object of millions, for milliseconds. */
static void help_exact_pass(void) {
  unsigned idle = 0;
  for (ztables_t *tables; (tables = zload_acquire(&ztables_lent)) != NULL;) {
    zticket_beat();
    zpass_help_t did = zpass_help(&tables->pass, UINT64_MAX);
    if (did == ZPASS_HELP_INHERITED) ztables_free(tables);
    if (did != ZPASS_HELP_NONE) {
      idle = 0;
    } else {
      zos_wait_round(idle++);
    }
  }
}

/* Safepoints are asked for at a steady pace as long as they come, and ever more seldom while none does: a
 * program that sleeps, or has switched collection off, is not woken for, and neither is this thread. */
static void wait_idle(uint32_t rung) {
  static unsigned seen;
  static uint64_t pace_ns = WAKE_NS;
  bool is_trimming = zload_relaxed(&zcollector_thread_is_trimming);
  unsigned slices = zload_relaxed(&zcollector_thread_trim_slices);
  pace_ns = is_trimming && slices == seen ? zmin(pace_ns * 2, TICK_NS) : WAKE_NS;
  seen = slices;
  bool is_quiet = !zticket_sleep(rung, is_trimming ? pace_ns : TICK_NS);
  if (is_trimming && is_quiet) zrequest_safepoint();
}

static void work_or_wait(void) {
  uint32_t seen = zticket_bell(); /* before the look at what there is to do */
  uint64_t word = zticket_word();
  if (is_asked_to_end()) return;
  if (zload_acquire(&ztables_lent) != NULL) {
    help_exact_pass();
  } else if (zticket_phase_of(word) == ZPHASE_REQUESTED) {
    begin_requested(word);
  } else if (zticket_phase_of(word) == ZPHASE_RECLAIMING) {
    wait_while_reclaiming(seen);
  } else {
    wait_idle(seen);
  }
}

static bool ends(void) {
  __typeof__(thread) ending = THREAD_ENDING;
  return is_asked_to_end() && zcas_acq_rel(&thread, &ending, THREAD_GONE);
}

static void collector_thread(void *unused) {
  (void)unused;
  uint64_t last_tick = zos_now_ns();
  zstore_relaxed(&thread_number, zos_thread_number());
  while (!ends()) {
    zticket_beat();
    work_or_wait();
    if (is_asked_to_end()) continue; /* a fork waits for that; the next thread goes on */
    ztables_free_discarded();
    tick_when_due(&last_tick);
  }
}

/* A caller that finds another thread starting it may take it for running. */
bool zcollector_thread_ensure(void) {
  __typeof__(thread) none = THREAD_NONE;
  if (zunlikely(zcollector_thread_is_resting())) return false;
  if (zload_acquire(&thread) != THREAD_NONE || !zcas_acq_rel(&thread, &none, THREAD_STARTS)) return true;
  zstore_relaxed(&thread_number, 0);
  int error = zos_thread_start(collector_thread, NULL, "zgc-collector");
  zstore_release(&thread, error == 0 ? THREAD_RUNS : THREAD_NONE);
  if (error != 0) {
    zstat_add(faults, 1);
    zlog_warn("gc,fault", "the collector thread cannot be started: %s", strerror(-error));
  }
  return error == 0;
}

/* -- around a fork ---------------------------------------------------------------------------------------- */

#define REST_SAFEPOINTS 2
#define END_ROUNDS 3000 /* looks at the thread: 0.2 s */

static bool is_alone_with_thread(void) { return zos_own_threads() == 1 && zos_threads() == 2; }

static bool has_left(void) { return zload_acquire(&thread) != THREAD_ENDING; }
static bool has_vanished(void) { return zos_threads() <= 1; }

static bool is_runnable(void) {
  int number = zload_relaxed(&thread_number);
  return number == 0 || zos_thread_is_runnable(number);
}

/* The thread polls `stop` and waits for the bell, so all it needs to come to its end is a processor. This thread
 * sleeps meanwhile, so it gets one, however late. Hence the wait is not bounded while the thread is runnable. Where
 * it waits for something else (a log that nobody reads), the fork is not held up longer. */
static void await(bool (*is_done)(void)) {
  do {
    for (unsigned i = 0; i < END_ROUNDS; i++) {
      if (is_done()) return;
      zos_wait_round(i);
    }
  } while (is_runnable());
}

static bool has_ended(void) {
  __typeof__(thread) runs = THREAD_RUNS, ending = THREAD_ENDING;
  if (!zcas_acq_rel(&thread, &runs, THREAD_ENDING)) return false;
  zticket_ring();
  await(has_left);
  if (zcas_acq_rel(&thread, &ending, THREAD_RUNS)) return false;
  await(has_vanished);
  zstore_release(&thread, THREAD_NONE);
  return true;
}

void zcollector_thread_end_for_fork(void) {
  if (!has_ended()) return;
  rest.is_ended = true;
  rest.safepoints = REST_SAFEPOINTS;
  rest.since_ns = zos_now_ns();
}

bool zcollector_thread_is_alone(void) {
  return zload_acquire(&thread) == THREAD_RUNS && zload_acquire(&ztables_lent) == NULL && is_alone_with_thread();
}

/* What the thread does without being asked, it does again some time after the last fork. */
void zcollector_thread_note_safepoint(void) {
  if (zlikely(!rest.is_ended)) return;
  if (rest.safepoints > 0) rest.safepoints--;
  if (rest.safepoints > 0) return;
  if (zticket_phase() == ZPHASE_IDLE && zos_now_ns() - rest.since_ns < TICK_NS) return;
  rest.is_ended = false;
  zcollector_thread_ensure();
}

void zcollector_thread_want(void) { rest.safepoints = 0; }
bool zcollector_thread_runs(void) { return zload_relaxed(&thread) == THREAD_RUNS; }

void zcollector_thread_fork_child(void) {
  thread = THREAD_NONE;
  memset(&rest, 0, sizeof rest);
  zcollector_thread_is_trimming = false;
}
