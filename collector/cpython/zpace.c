#include "collector/cpython/zpace.h"

#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zplan.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"

#define WAIT_NS 50000u
#define SPINS 64
#define ROUNDS 2000     /* looks at the collector thread at one safepoint, whatever the clock says */
#define IDLE_ROUNDS 100 /* in vain, until it counts as absent: 0.2 ms, or 4 ms where the machine has one processor */
#define ABSENT_MOST 1000 /* safepoints in a row, until the collection is done without the thread */

/* Safepoints at which the collector thread did not get on. GIL. */
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

bool zpace_is_thread_lost(void) { return is_thread_absent() && absent.safepoints >= ABSENT_MOST; }

/* Spins where there are two processors: a sleeping thread may be rescheduled onto the collector thread's processor,
 * and then gets it some milliseconds later. */
static void wait_a_little(bool is_alone, uint64_t most_ns) {
  if (!is_alone) {
    for (int i = 0; i < SPINS; i++) zspin_hint();
  } else {
    zos_sleep_ns(zmin(most_ns, WAIT_NS));
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
  unsigned idle = is_thread_absent() ? IDLE_ROUNDS : 0;
  for (unsigned round = 0; round < ROUNDS && at < until && is_thread_at_work(); round++) {
    bool helped = zdriver_help(until);
    bool gets_on = helped || beats != zdriver_beats();
    if (!zdirector_behind(zdriver_progress())) break;
    idle = gets_on ? 0 : idle + (is_alone ? SPINS / 2 : 1);
    if (idle > IDLE_ROUNDS) {
      note_absent();
      break;
    }
    beats = zdriver_beats();
    if (!helped) wait_a_little(is_alone, until - at);
    at = zos_now_ns();
  }
}

void zpace_keep(uint64_t since) {
  if (!is_thread_at_work()) return;
  unsigned behind = zdirector_behind(zdriver_progress());
  if (behind == 0) return;
  uint64_t start = zos_now_ns(), until = since + behind * zplan_budget_ns();
  if (zstat_get(stalls) == 0) {
    zlog_info("gc,director", "escalation: garbage is made faster than found, safepoints help");
  }
  lend_this_thread(until);
  zplan_now.paced_ns = zos_now_ns() - start;
  zstat_add(stalls, 1);
  zstat_add(stall_ns, zplan_now.paced_ns);
  zprobe_safepoint_stall(zplan_now.paced_ns);
}
