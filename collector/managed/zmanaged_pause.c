#include <stdlib.h>

#include "collector/managed/zmanaged_state.h"
#include "collector/managed/zmanaged_verify.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"

uint32_t zmanaged_poll_wanted;
const char *const zmanaged_pause_names[] = {"mark_start", "mark_end", "relocate_start"};
zpause_histogram_t zmanaged_pause_histograms[ZMANAGED_PAUSE_KINDS];
uint64_t zmanaged_pauses[ZMANAGED_PAUSE_KINDS][ZMANAGED_PAUSE_BUCKETS];

void zmanaged_poll_set(uint32_t bit) { (void)zfetch_or_relaxed(&zmanaged_poll_wanted, bit); }
void zmanaged_poll_clear(uint32_t bit) { (void)zfetch_and_relaxed(&zmanaged_poll_wanted, ~bit); }

#define ASK_AGAIN_NS 5000000u  /* between two looks at whether a safepoint has come */
#define FOR_EVER_NS 3600000000000u

/* ---- waiting ----------------------------------------------------------------------------------- */

/* Not a condition variable: those of old C libraries wait by the clock that the program may set. The word is
 * read under the lock, so no change between that and the sleep is missed. */
void zmanaged_changed_locked(void) {
  zstore_release(&zm.changes, zm.changes + 1);
  zos_wake(&zm.changes);
}

bool zmanaged_await_locked(uint64_t ns) {
  uint32_t seen = zm.changes;
  zlock_drop(ZLOCK_MANAGED);
  bool changed = zos_sleep_while(&zm.changes, seen, ns);
  zlock_take(ZLOCK_MANAGED);
  return changed;
}

void zmanaged_await_change_locked(void) { zmanaged_await_locked(FOR_EVER_NS); }

/* ---- parking ----------------------------------------------------------------------------------- */

void zmanaged_pause_enter_locked(void) {
  while (zload_relaxed(&zm.stop)) zmanaged_await_change_locked();
  zm.running++;
}
void zmanaged_pause_leave_locked(void) {
  zm.running--;
  zmanaged_changed_locked();
}
void zmanaged_pause_enter(void) {
  if (zm.inline_run) return;
  zlock_take(ZLOCK_MANAGED);
  zmanaged_pause_enter_locked();
  zlock_drop(ZLOCK_MANAGED);
}
void zmanaged_pause_leave(void) {
  if (zm.inline_run) return;
  zlock_take(ZLOCK_MANAGED);
  zmanaged_pause_leave_locked();
  zlock_drop(ZLOCK_MANAGED);
}
void zmanaged_pause_yield(void) {
  if (zlikely(!zload_relaxed(&zm.stop)) || zm.inline_run) return;
  zmanaged_pause_leave();
  zmanaged_pause_enter();
}

void zmanaged_stop_world(void) {
  zlock_take(ZLOCK_MANAGED);
  zstore_relaxed(&zm.stop, 1);
  while (zm.running > 0) zmanaged_await_change_locked();
  zlock_drop(ZLOCK_MANAGED);
}

void zmanaged_resume_world(void) {
  zlock_take(ZLOCK_MANAGED);
  zstore_relaxed(&zm.stop, 0);
  zmanaged_changed_locked();
  zlock_drop(ZLOCK_MANAGED);
}

/* ---- the record of pauses ------------------------------------------------------------------------ */

static unsigned bucket_of(uint64_t ns) {
  if (ns < 8) return (unsigned)ns;
  unsigned power = zlog2((size_t)ns);
  return (power - 2) * 8 + (unsigned)(ns >> (power - 3) & 7);
}

uint64_t zmanaged_pause_bucket_ns(unsigned bucket) {
  if (bucket < 8) return bucket;
  unsigned power = bucket / 8 + 2;
  return ((uint64_t)(8 + bucket % 8) << (power - 3)) + ((uint64_t)1 << (power - 3)) - 1;
}

static unsigned kind_of(zmanaged_phase_t phase) {
  if (phase == ZMANAGED_MARK_START) return 0;
  return phase == ZMANAGED_RELOCATE_START || phase == ZMANAGED_OLD_RELOCATE_START ? 2 : 1;
}

/* ---- pauses -------------------------------------------------------------------------------------- */

static void verify_pause(void) {
  uint64_t bodies = 0;
  char message[256];
  if (!zmanaged_verify(&bodies, message, sizeof message)) {
    zlog_notice("managed heap broken after %s of collection m%u: %s", zmanaged_phase_name(zmanaged_phase()),
                zbody_space.number, message);
    abort();
  }
  zmanaged_stat_values.verified_bodies += bodies;
}

void zmanaged_pause_verify(void) {
  if (zoption(verify)) zmanaged_pause_request(verify_pause);
}

static void run_timed(void (*pause)(void), zmanaged_phase_t phase) {
  if (pause == verify_pause) { /* verify mode is not about time */
    pause();
    return;
  }
  zprobe_pause_start(zmanaged_phase_name(phase));
  uint64_t start = zos_now_ns(), start_cpu = zos_thread_cpu_ns();
  pause();
  uint64_t ns = zos_now_ns() - start, cpu_ns = zos_thread_cpu_ns() - start_cpu;
  zprobe_pause_done(zmanaged_phase_name(phase), ns);
  zmanaged_stats_t *stats = &zmanaged_stat_values;
  zmanaged_pauses[kind_of(phase)][zmin(bucket_of(ns), ZMANAGED_PAUSE_BUCKETS - 1)]++;
  zpause_histogram_add(&zmanaged_pause_histograms[kind_of(phase)], ns);
  stats->pauses++;
  stats->pause_total_ns += ns;
  stats->pause_max_ns = zmax(stats->pause_max_ns, ns);
  stats->pause_max_cpu_ns = zmax(stats->pause_max_cpu_ns, cpu_ns);
  zmanaged_generation_stats_t *generation = &zmanaged_generation_values[phase > ZMANAGED_YOUNG_FINISH];
  generation->pauses++;
  generation->pause_total_ns += ns;
  generation->pause_max_ns = zmax(generation->pause_max_ns, ns);
  zlog_debug("gc,managed", "GC(m%u) %s Pause %s %.3fms", zbody_space.number,
             phase > ZMANAGED_YOUNG_FINISH ? "full" : "young", zmanaged_phase_name(phase), zlog_ms(ns));
}

void zmanaged_pause_request(void (*pause)(void)) {
  if (zm.inline_run) {
    run_timed(pause, zmanaged_phase());
    return;
  }
  zlock_take(ZLOCK_MANAGED);
  zm.pause = pause;
  zmanaged_pause_leave_locked();
  zmanaged_poll_set(ZPOLL_PAUSE);
  zmanaged_changed_locked();
  unsigned asked = 0;
  while (zm.pause != NULL || zm.pausing) {
    /* A pending call can be refused (its queue is short) or be served late: ask again. */
    if (asked++ % 8 == 0) {
      zlock_drop(ZLOCK_MANAGED);
      zm.host.request_safepoint();
      zlock_take(ZLOCK_MANAGED);
      if (zm.pause == NULL && !zm.pausing) break;
    }
    zmanaged_await_locked(ASK_AGAIN_NS);
  }
  zmanaged_pause_enter_locked();
  zlock_drop(ZLOCK_MANAGED);
}

static void run_wanted_pause(void) {
  zlock_take(ZLOCK_MANAGED);
  void (*pause)(void) = zm.pause;
  if (pause == NULL || zm.pausing) {
    zlock_drop(ZLOCK_MANAGED);
    return;
  }
  zm.pausing = true;
  zmanaged_poll_clear(ZPOLL_PAUSE);
  zlock_drop(ZLOCK_MANAGED);
  run_timed(pause, zmanaged_phase());
  zlock_take(ZLOCK_MANAGED);
  zm.pause = NULL;
  zm.pausing = false;
  zmanaged_changed_locked();
  zlock_drop(ZLOCK_MANAGED);
}

/* Garbage is made faster than it is found: the program waits a little for the collection. */
static void keep_pace(void) {
  zmanaged_poll_clear(ZPOLL_PACE);
  if (zmanaged_phase() == ZMANAGED_IDLE || zm.releasing || zm.host.wait == NULL) return;
  zmanaged_stat_values.paced++;
  zm.host.wait();
}

void zmanaged_safepoint(void) {
  if (zload_relaxed(&zmanaged_poll_wanted) & ZPOLL_PAUSE) run_wanted_pause();
  if (zload_relaxed(&zmanaged_poll_wanted) & ZPOLL_RELEASE) zmanaged_release_some(100000);
  if (zload_relaxed(&zmanaged_poll_wanted) & ZPOLL_PACE) keep_pace();
}
