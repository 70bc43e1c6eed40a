#include "collector/managed/zmanaged_state.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"

/* Weight 172 against the 1024 of a program's thread: where the collector has no processor of its own
 * it takes a seventh, which is within the 15 % that marking and moving may cost. */
#define THREAD_NICE 8

#define WAIT_NS 1000000u /* for progress, before signals are looked for */

/* ---- helpers ----------------------------------------------------------------------------------- */

void zmanaged_driver_open_job(void) {
  if (zm.inline_run || zm.threads <= 1) return;
  zlock_take(ZLOCK_MANAGED);
  zm.job_open = true;
  zm.job++;
  zmanaged_changed_locked();
  zlock_drop(ZLOCK_MANAGED);
}

void zmanaged_driver_close_job(void) {
  if (zm.inline_run || zm.threads <= 1) return;
  zlock_take(ZLOCK_MANAGED);
  zm.job_open = false;
  zmanaged_pause_leave_locked();
  while (zm.helpers > 0) zmanaged_await_change_locked();
  zmanaged_pause_enter_locked();
  zlock_drop(ZLOCK_MANAGED);
}

static void helper_main(void *argument) {
  unsigned worker = (unsigned)(uintptr_t)argument;
  unsigned seen = 0;
  zos_thread_lower_priority(THREAD_NICE);
  zlock_take(ZLOCK_MANAGED);
  for (;;) {
    while (!zm.job_open || zm.job == seen || zload_relaxed(&zm.stop)) {
      zmanaged_await_change_locked();
    }
    seen = zm.job;
    zm.helpers++;
    zmanaged_pause_enter_locked();
    bool open = zm.job_open; /* may have closed while a stop lasted */
    zlock_drop(ZLOCK_MANAGED);
    if (open) zmanaged_phase_help(worker);
    zlock_take(ZLOCK_MANAGED);
    zm.helpers--;
    zmanaged_pause_leave_locked();
  }
}

static void start_helpers(void) {
  while (zm.helper_slots + 1 < zm.threads) {
    if (zos_thread_start(helper_main, (void *)(uintptr_t)(zm.helper_slots + 1), "zgc-managed-w") != 0) {
      zm.threads = zm.helper_slots + 1; /* the driver marks alone */
      break;
    }
    zm.helper_slots++;
  }
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* True when a collection has been set up. */
static bool begin_wanted_locked(void) {
  if (zmanaged_phase() != ZMANAGED_IDLE) return true;
  bool full = zm.requested[ZGENERATION_OLD] > zm.started_count[ZGENERATION_OLD];
  if (!full && !zload_relaxed(&zm.young_wanted)) return false;
  if (full) zm.started_count[ZGENERATION_OLD] = zm.requested[ZGENERATION_OLD];
  zmanaged_phase_begin_locked(full);
  return true;
}

static void finish_locked(void) {
  zm.done[ZGENERATION_OLD] = zm.started_count[ZGENERATION_OLD];
  zmanaged_changed_locked();
}

static void want_locked(zgeneration_t generation, const char *cause) {
  uint64_t ticket = zm.started_count[generation] + 1;
  if (zm.requested[generation] >= ticket) return;
  zm.requested[generation] = ticket;
  zm.cause[generation] = cause;
  if (generation == ZGENERATION_YOUNG) zstore_relaxed(&zm.young_wanted, 1);
}

static void await_request_locked(void) {
  uint64_t interval = zoption(interval) * 1000000000u;
  if (interval == 0) {
    zmanaged_await_change_locked();
  } else if (!zmanaged_await_locked(interval)) {
    want_locked(ZGENERATION_OLD, "Timer");
  }
}

static void driver_main(void *argument) {
  (void)argument;
  zos_thread_lower_priority(THREAD_NICE);
  start_helpers();
  zlock_take(ZLOCK_MANAGED);
  zmanaged_pause_enter_locked();
  for (;;) {
    if (!begin_wanted_locked()) {
      zmanaged_pause_leave_locked();
      await_request_locked();
      zmanaged_pause_enter_locked();
      continue;
    }
    zlock_drop(ZLOCK_MANAGED);
    while (zmanaged_phase() != ZMANAGED_IDLE) zmanaged_phase_run(zmanaged_phase());
    zlock_take(ZLOCK_MANAGED);
    finish_locked();
  }
}

/* False: no thread can be had. */
bool zmanaged_driver_ensure_thread_locked(void) {
  if (zm.thread_alive) return true;
  if (zos_thread_start(driver_main, NULL, "zgc-managed") != 0) {
    zmanaged_stat_values.faults++;
    return false;
  }
  zstore_relaxed(&zm.thread_alive, true);
  return true;
}

void zmanaged_driver_ensure_thread(void) {
  zlock_take(ZLOCK_MANAGED);
  zmanaged_driver_ensure_thread_locked();
  zlock_drop(ZLOCK_MANAGED);
}

uint64_t zmanaged_request(zgeneration_t generation, const char *cause) {
  zlock_take(ZLOCK_MANAGED);
  want_locked(generation, cause);
  uint64_t ticket = zm.requested[generation];
  zmanaged_driver_ensure_thread_locked();
  zmanaged_changed_locked();
  zlock_drop(ZLOCK_MANAGED);
  return ticket << 1 | (uint64_t)generation;
}

bool zmanaged_is_done(uint64_t ticket) {
  zlock_take(ZLOCK_MANAGED);
  bool done = zm.done[ticket & 1] >= ticket >> 1;
  zlock_drop(ZLOCK_MANAGED);
  return done;
}

void zmanaged_wait(void) {
  zlock_take(ZLOCK_MANAGED);
  if (zm.pause == NULL || zm.pausing) zmanaged_await_locked(WAIT_NS);
  zlock_drop(ZLOCK_MANAGED);
}

void zmanaged_run_if_stuck(void) {
  zlock_take(ZLOCK_MANAGED);
  bool run = !zm.inline_run && !zmanaged_driver_ensure_thread_locked() && begin_wanted_locked();
  if (run) zm.inline_run = true;
  zlock_drop(ZLOCK_MANAGED);
  if (!run) return;
  zlog_warn("gc,managed", "no collector thread: collecting on the program's thread");
  while (zmanaged_phase() != ZMANAGED_IDLE) zmanaged_phase_run(zmanaged_phase());
  zlock_take(ZLOCK_MANAGED);
  zm.inline_run = false;
  finish_locked();
  zlock_drop(ZLOCK_MANAGED);
}
