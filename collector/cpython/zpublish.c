#include "collector/cpython/zpublish.h"

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zmode.h"
#include "heap/base/zatomic.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/base/zstatpage.h"
#include "heap/zallocator.h"
#include "heap/zheap_report.h"
#include "heap/zold_map.h"
#include "heap/zsparse.h"

#define REFRESH_NS 500000000u
#define WALK_SHARE 1000u           /* the page table is walked for less than 1/1000 of the time */
#define WALK_AT_SAFEPOINT (256 * ZM) /* a heap of this size is walked in 0.1 ms */

void zpublish_refresh(void) {
  zheap_report_t heap;
  zheap_report(&heap);
  zstat_set(heap_used, heap.used_bytes);
  zstat_set(heap_committed, zgranules_resident_bytes() - zsparse_hole_bytes());
  zstat_set(fallback_blocks, heap.fallback_blocks);
  zstat_set(old_objects, zold_map_count);
}

static uint64_t refresh_from_ns; /* any thread; two that refresh at once do no harm */

static void refresh_if_due(uint64_t at, bool may_walk) {
  if (at < zload_relaxed(&refresh_from_ns)) return;
  zstore_relaxed(&refresh_from_ns, at + REFRESH_NS);
  size_t committed = zgranules_resident_bytes() - zsparse_hole_bytes();
  zstat_set(heap_committed, committed);
  zstat_set(old_objects, zload_relaxed(&zold_map_count));
  if (!may_walk && committed > WALK_AT_SAFEPOINT) {
    zcollector_thread_ensure(); /* which will do it */
    return;
  }
  zheap_report_t heap;
  uint64_t start = zos_now_ns();
  zheap_report(&heap);
  uint64_t pause = (zos_now_ns() - start) * WALK_SHARE;
  if (pause > REFRESH_NS) zstore_relaxed(&refresh_from_ns, at + pause);
  zstat_set(fallback_blocks, heap.fallback_blocks);
  /* A page that changed hands during the walk can count for anything. */
  if (heap.used_bytes <= committed) zstat_set(heap_used, heap.used_bytes);
}

/* A process that leaves all to CPython has nothing to show, and makes no system calls that stock does not make:
 * docs/system-calls.md. */
void zpublish_at_safepoint(uint64_t now_ns) {
  if (!zmode_is_warm() || !zoption(statpage)) return;
  refresh_if_due(now_ns, false);
  zstatpage_publish();
}

/* The program may have put a filter of system calls over its own threads: none of them asks for the user. */
void zpublish_by_thread(void) {
  if (!zoption(statpage)) return;
  zstatpage_follow_user(); /* opens files only after the user has changed: see zdirector.c */
  refresh_if_due(zos_now_ns(), true);
  zstatpage_publish();
}
