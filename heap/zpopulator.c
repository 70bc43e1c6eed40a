#include "heap/zpopulator.h"

#include <errno.h>
#include <pthread.h>

#include "heap/base/zatomic.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define LIMIT_SHARE 8

static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool wanted; /* atomic; set under the lock, so that no wake is lost */
static size_t limit; /* of the cgroup, 0: none; fixed at the start */
static bool runs;   /* guarded by the lock */

static void wait_until_wanted(void) {
  zlock_take(ZLOCK_POPULATOR);
  while (!wanted) zlock_wait(ZLOCK_POPULATOR, &changed);
  zstore_relaxed(&wanted, false);
  zlock_drop(ZLOCK_POPULATOR);
}

/* Near a cgroup's limit every page counts: then memory is touched when it is needed. */
static bool is_near_limit(void) {
  return limit != 0 && zgranules_resident_bytes() > limit - limit / LIMIT_SHARE;
}

/* False when the kernel refuses: then there is no point in trying again. */
static bool populate_ahead(void) {
  char *chunk;
  while ((chunk = zgranules_claim_chunk()) != NULL) {
    int error = is_near_limit() ? -EAGAIN : zos_populate_huge(chunk, ZGRANULES_CHUNK);
    zgranules_offer_chunk(error == 0);
    if (error == -EAGAIN) return true;
    if (error != 0) {
      zlog_warn("gc,fault", "populating memory ahead failed: %d; allocations touch it themselves", error);
      zstat_add(faults, 1);
      return false;
    }
    zstat_add(populated, ZGRANULES_CHUNK);
  }
  return true;
}

static void populator_thread(void *unused) {
  (void)unused;
  do {
    wait_until_wanted();
  } while (populate_ahead());
  zstore_release(&zgranules_low_hook, NULL);
}

/* In the middle of an allocation. */
static void wake(void) {
  if (zload_relaxed(&wanted)) return;
  zlock_take(ZLOCK_POPULATOR);
  zstore_relaxed(&wanted, true);
  if (runs) {
    pthread_cond_signal(&changed);
  } else {
    runs = zos_thread_start(populator_thread, NULL, "zgc-populate") == 0;
    if (!runs) zstore_release(&zgranules_low_hook, NULL);
  }
  zlock_drop(ZLOCK_POPULATOR);
}

void zpopulator_start(void) {
  limit = zos_memory_limit();
  if (zos_has_huge_pages()) zstore_release(&zgranules_low_hook, wake);
}

void zpopulator_reset_after_fork_in_child(void) {
  pthread_cond_init(&changed, NULL);
  zstore_relaxed(&wanted, false);
  runs = false;
}
