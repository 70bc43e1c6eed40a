#include "collector/cpython/zwarmup.h"

#include "collector/cpython/zmode.h"
#include "collector/cpython/zsmall.h"
#include "collector/cpython/zthresholds.h"
#include "collector/python/ztype_registry.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"

#define WARM_FROM 20000 /* survivors of young collections before we take over from CPython */
#define STACK_TO_PROVE (32 * ZK) /* measured at the deepest call: 6 KB */

static uint64_t survivors_seen; /* while we are not warm */

/* Since the process started, the program has put a filter over its system calls. The filter knows nothing of what our
 * thread and our page would need (docs/system-calls.md), and may kill the process for it. */
static bool is_restricted(void) {
  static bool is_told;
  if (!zos_is_restricted()) return false;
  if (!is_told) zlog_info("gc,init", "the program has put a seccomp filter over itself: the collector stays CPython's");
  return is_told = true;
}

/* The registry's proofs run here, and not at start-up: small programs never come here. They may be run at any
 * place (ztype_samples.h). Where something cannot be made, all stays CPython's, and they are tried again, with
 * twice as many occasions let pass each time. A collection while they run would meet the samples: hence
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

bool zwarmup_try(void) {
  if (zmode_is_warm()) return true;
  if (!prove_walkers()) return false;
  zmode_warm();
  zos_cpu_count(); /* which is asked only once: now, and not under a filter that the program may put later */
  zthresholds_apply();
  return true;
}

/* The heap grows by survivors; what dies young is collected as well without us. */
void zwarmup_note_survivors(size_t survivors) {
  survivors_seen += survivors;
  if (survivors_seen > WARM_FROM || zoption(stress)) zwarmup_try();
}

bool zwarmup_is_oversized(long generation) {
  return !zmode_is_warm() && generation > 0 && zsmall_count(1, (int)generation, WARM_FROM + 1) > WARM_FROM;
}

void zwarmup_reset(void) { survivors_seen = 0; }
