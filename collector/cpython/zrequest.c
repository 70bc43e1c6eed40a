#include "collector/cpython/zrequest.h"

#include <pthread.h>

#include "collector/cpython/zmode.h"
#include "collector/cpython/zpending.h"
#include "collector/cpython/zthresholds.h"
#include "heap/base/zatomic.h"

#define HURRIED (-1) /* threshold of generation 0 while a safepoint is asked for; 0 is "never" */

static int (*serve_request)(void *); /* written before the first request */
static bool is_queued;               /* atomic: the pending call */
static bool is_verification_due;     /* GIL */

/* Py_AddPendingCall computes again whether the interpreter has to look at signals and pending calls. Until 3.12 it
 * asks whether the calling thread may handle them. So the collector thread's call makes the main thread overlook a
 * signal that has just come, until that is computed once more: by the next collection, which has been asked for. */
static bool is_by_thread;     /* atomic */
static pthread_t main_thread; /* GIL; pending calls run there alone */

void zrequest_start(int (*serve)(void *)) {
  serve_request = serve;
  zstore_relaxed(&is_queued, false); /* one that the last interpreter did not come to */
  is_verification_due = false;
  main_thread = pthread_self();
}

static int do_nothing(void *unused) {
  (void)unused;
  return 0;
}

void zrequest_show_signals(void) {
  if (zlikely(!zload_acquire(&is_by_thread)) || !pthread_equal(pthread_self(), main_thread)) return;
  zstore_relaxed(&is_by_thread, false);
  zpy.Py_AddPendingCall(do_nothing, NULL);
}

void zrequest_served(void) {
  main_thread = pthread_self();
  zstore_relaxed(&is_by_thread, false); /* it has been computed since */
  zstore_release(&is_queued, false);
}

/* Makes the next container that is allocated bring a safepoint. A pending call alone is not enough: until
 * 3.11, one that another thread queues waits until the main thread looks at its eval breaker for some
 * other reason (ceval.c, COMPUTE_EVAL_BREAKER asks whether the *calling* thread may run it). And a busy
 * program that frees as much as it allocates brings no safepoint by itself: its count stays at 0 or 1. The word is
 * read and written whole; zrequest_calm, at the next collection, finds it whichever thread wrote last. */
static void hurry(void) {
  int *threshold = &zgc_state.generations[0].threshold;
  if (zload_relaxed(threshold) > 0) zstore_relaxed(threshold, HURRIED);
}

bool zrequest_calm(void) {
  if (zload_relaxed(&zgc_state.generations[0].threshold) != HURRIED) return false;
  zthresholds_apply();
  return true;
}

/* Whether we are on is asked again after entering: switching off waits for those who entered, and then sets the
 * thresholds. */
void zrequest_safepoint(void) {
  if (!zmode_is_on() || !zpending_enter()) return;
  if (zmode_is_on()) {
    if (zmode_is_warm()) hurry();
    if (!zexchange_acq_rel(&is_queued, true) && !zpending_add(serve_request)) zstore_release(&is_queued, false);
    zstore_release(&is_by_thread, true);
  }
  zpending_leave();
}

void zrequest_verification(void) {
  is_verification_due = true;
  zrequest_safepoint();
}

bool zrequest_take_verification(void) {
  bool is_due = is_verification_due;
  is_verification_due = false;
  return is_due;
}
