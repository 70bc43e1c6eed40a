#include "collector/cpython/zmode.h"

#include "collector/cpython/zpending.h"
#include "heap/base/zatomic.h"
#include "heap/base/zos.h"

/* Measured at the deepest call: CPython's own collection takes 1 KB, ours 3 KB, with a log 6 KB. */
#define STACK_TO_WORK (16 * ZK)

static bool is_on, is_warm; /* atomic; written with the GIL held */

/* Sequentially consistent, as the store in zmode_switch: a thread without the GIL that has entered (zpending.h) and
 * finds us on is one for which switching off waits. */
bool zmode_is_on(void) { return zload_seq_cst(&is_on); }
bool zmode_is_warm(void) { return zload_relaxed(&is_warm); }
bool zmode_is_cramped(void) { return zos_stack_left() < STACK_TO_WORK; }
bool zmode_is_ours(void) { return zmode_is_on() && zmode_is_warm() && !zmode_is_cramped(); }

void zmode_switch(bool on) {
  zstore_seq_cst(&is_on, on);
  if (!on) zpending_wait();
}

void zmode_warm(void) { zstore_relaxed(&is_warm, true); }

void zmode_reset(void) {
  zstore_seq_cst(&is_on, false);
  zstore_relaxed(&is_warm, false);
}
