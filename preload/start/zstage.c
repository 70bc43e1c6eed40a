#include "preload/start/zstage.h"

#include <stdio.h>

#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"

/* Atomic: any thread that calls setlocale reads it (zlate_python.c). */
static zstage_t stage = ZSTAGE_ASLEEP;
static char reason[200];

/* A row for each stage that is left, a letter for each that is entered, in the order of the enum. */
static const char legal[ZSTAGE_COUNT][ZSTAGE_COUNT + 1] = {
    [ZSTAGE_ASLEEP] = ".x...",  /* a Python process */
    [ZSTAGE_PASSIVE] = ".xx..", /* the heap serves */
    [ZSTAGE_WAITING] = ".x.x.", /* the interpreter is not as expected; or it is */
    [ZSTAGE_ACTIVE] = "....x",  /* it ends */
    [ZSTAGE_ENDING] = "..x..",  /* another one comes up */
};

bool zstage_is_legal(zstage_t from, zstage_t to) { return legal[from][to] == 'x'; }

zstage_t zstage(void) { return zload_relaxed(&stage); }

void zstage_enter(zstage_t to) {
  zassert(zstage_is_legal(stage, to));
  zstore_relaxed(&stage, to);
}

void zstage_tell(const char *why) { snprintf(reason, sizeof reason, "%s", why); }

void zstage_become_passive(const char *why) {
  zstage_enter(ZSTAGE_PASSIVE);
  zstage_tell(why);
  zlog_info("gc,init", "passive: %s", why);
}

const char *zstage_reason(void) {
  switch (stage) {
    case ZSTAGE_WAITING:
      return "the late start has not come yet";
    case ZSTAGE_ENDING:
      return "the interpreter was finalised, and the one after it has allocators of its own (3.12 and "
             "later reset them)";
    default:
      return reason;
  }
}
