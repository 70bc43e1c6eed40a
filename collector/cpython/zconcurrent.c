#include "collector/cpython/zconcurrent.h"

#include "collector/cpython/zrequest.h"
#include "collector/cpython/zticket.h"
#include "collector/python/ztype_learning.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"

#define PASSES_MAX 10
#define STABLE_SHARE ZCONCURRENT_STABLE_SHARE
#define TRUSTED_MOST 50000 /* candidates: all of them alive, CPython looks at them for two milliseconds */
#define WAKE_NS ZCONCURRENT_WAKE_NS

static bool fault; /* atomic; the last collection was abandoned for want of memory */

bool zconcurrent_take_fault(void) { return zload_relaxed(&fault) && zexchange_acq_rel(&fault, false); }
void zconcurrent_fork_child(void) { fault = false; }

/* Waits for the safepoints to serve what the pass deferred; asks for one when none comes. */
static bool await_safepoints(ztables_t *mine) {
  mine->deferred_failed = false;
  if (!zticket_change(mine->ticket, ZPHASE_CONCURRENT, ZPHASE_DEFERRING)) return false;
  for (;;) {
    uint32_t seen = zticket_bell();
    if (zticket_word() != zticket_make(mine->ticket, ZPHASE_DEFERRING)) break;
    zticket_beat();
    if (!zticket_sleep(seen, WAKE_NS)) zrequest_safepoint();
  }
  return zticket_word() == zticket_make(mine->ticket, ZPHASE_CONCURRENT) && !mine->deferred_failed;
}

static bool serve_deferred(ztables_t *mine, bool is_first) {
  const zdeferred_t *deferred = &mine->pass.deferred;
  if (zdeferred_left(deferred) == 0) return true;
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Defer");
  if (!await_safepoints(mine)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Defer", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Defer %.3fms objects %zu", zcollection_number(&mine->record),
            zlog_ms(took), deferred->served);
  if (is_first) zstat_set(deferred_objects, deferred->served - deferred->audited);
  return true;
}

static bool one_pass(ztables_t *mine, unsigned k) {
  zpass_t *pass = &mine->pass;
  zstore_relaxed(&mine->is_first_pass, k == 1);
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Pass");
  if (!zpass_subtract(pass)) return false;
  size_t in = pass->members;
  if (!serve_deferred(mine, k == 1) || !zpass_mark(pass) || !zpass_sweep(pass)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Pass", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Pass %u %.3fms in %zu out %zu", zcollection_number(&mine->record), k,
            zlog_ms(took), in, pass->candidate_count);
  return true;
}

/* Repeats the pass over what it left until that hardly shrinks. The rest of the live objects that a
 * race put there is CPython's to drop: a further pass would cost more than feeding them does. In a program that
 * drops what it has made and does not move it about, that holds for the first pass already. */
static bool concurrent_passes(ztables_t *mine) {
  static uint64_t audits; /* the collector thread's */
  zpass_t *pass = &mine->pass;
  if (!zpass_begin(pass, &mine->stop, false)) return false;
  pass->with_frozen = mine->with_frozen;
  pass->audit = ++audits;
  mine->is_stable = true;
  if (mine->counts && !zpass_count(pass)) return false;
  for (unsigned k = 1; k <= PASSES_MAX; k++) {
    size_t before = k == 1 ? SIZE_MAX : pass->candidate_count;
    if (!one_pass(mine, k)) return false;
    if (k == 1) ztype_adapt_audits();
    pass->audit = 0; /* once a collection */
    if (k > 1 && pass->candidate_count >= before - before / STABLE_SHARE) return true;
    if (k > 1) mine->is_stable = false;
    if (pass->candidate_count == 0) return true;
    if (mine->is_trusted && pass->candidate_count <= TRUSTED_MOST) return true;
  }
  return true;
}

static bool concurrent_components(ztables_t *mine) {
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Components");
  zpass_trim(&mine->pass);
  if (!zcomponents_make(&mine->garbage, &mine->pass)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Components", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Components %.3fms components %zu largest %zu",
            zcollection_number(&mine->record), zlog_ms(took), mine->garbage.component_count, mine->garbage.largest);
  return true;
}

/* Nobody has given it up: memory was short. */
static void note_fault(const ztables_t *mine) {
  zstore_release(&fault, true);
  zstat_add(faults, 1);
  zstat_add(collections_abandoned, 1);
  zprobe_collection_abandoned(mine->record.sequence, "no memory for a side table");
  zlog_warn("gc,fault", "GC(%llu) abandoned: no memory for a side table", zcollection_number(&mine->record));
}

/* A safepoint ends it, also when there is no garbage. False: it has been given up. */
static bool hand_over_garbage(ztables_t *mine) {
  mine->found = mine->garbage.object_count;
  zstat_set(pending_garbage, mine->found);
  if (!zticket_change(mine->ticket, ZPHASE_CONCURRENT, ZPHASE_RECLAIMING)) {
    zstat_set(pending_garbage, 0);
    return false;
  }
  return true;
}

static bool find_garbage(ztables_t *mine) {
  return concurrent_passes(mine) && (mine->pass.candidate_count == 0 || concurrent_components(mine));
}

static void note_time(ztables_t *mine, uint64_t start, uint64_t cpu) {
  mine->concurrent_ns = zos_now_ns() - start;
  zstat_add(concurrent_ns, mine->concurrent_ns);
  zstat_add(concurrent_cpu_ns, zos_thread_cpu_ns() - cpu);
}

bool zconcurrent_collect(ztables_t *mine) {
  uint64_t start = zos_now_ns(), cpu = zos_thread_cpu_ns();
  zcollection_log_start(&mine->record);
  bool found = find_garbage(mine);
  zpass_end(&mine->pass);
  note_time(mine, start, cpu);
  if (found) zstat_add(found, mine->garbage.object_count);
  if (found && hand_over_garbage(mine)) return true;
  if (!found && zticket_change(mine->ticket, ZPHASE_CONCURRENT, ZPHASE_IDLE)) note_fault(mine);
  return false;
}
