#include "collector/cpython/zyoung.h"

#include <string.h>

#include "collector/cpython/zdirector.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zoutside.h"
#include "collector/cpython/zpayload.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zsurvivors.h"
#include "collector/cpython/zteardown.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zthresholds.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zgranules.h"

#define OVERSIZED_MIN 2000 /* generation 0 is not walked from here on, nor ... */
#define OVERSIZED_TIMES 4  /* ... from so many times its threshold */
#define LOG_NS 1000000000u

static struct {
  uint64_t count, max_ns, total_ns, reclaimed, logged_ns;
} since_log;

static zgc_head_t set_aside; /* only between start and stop, in which nothing of the program's runs */

/* -- at start ---------------------------------------------------------------------------------------- */

/* Not where the program has set a threshold of its own: it wants to have its collections. */
void zyoung_note_left_out(long generation) {
  if (generation != 0 || zplan_now.is_hurried || zplan_now.asked != NULL) return;
  if (!zmode_is_warm() || !zmode_is_on()) return;
  if (zgc_state.generations[0].threshold != (int)ztenuring_threshold()) return;
  zplan_now.is_left_out = zdirector_is_fruitful() && ztenuring_leaves_out();
}

/* The count says little: it goes down with every container that dies, also with old ones, while the
 * list grows. So the list is walked, up to the limit; the collection would do so anyway. */
bool zyoung_is_oversized(void) {
  const zgc_generation_t *young = &zgc_state.generations[0];
  size_t limit = (size_t)young->threshold * OVERSIZED_TIMES;
  if (limit < OVERSIZED_MIN) limit = OVERSIZED_MIN;
  if (young->count > 0 && (size_t)young->count > limit) return true;
  if (zplan_now.is_left_out) return false;
  limit += ztenuring_kept();
  size_t reach = zmax(limit, ztenuring_reach());
  zplan_now.looked = zsurvivors_count(reach + 1, &zplan_now.aged);
  zplan_now.is_large = zplan_now.looked > limit;
  return zplan_now.looked > reach;
}

bool zyoung_is_early(void) {
  return ztenuring_is_on() && (size_t)zgc_state.generations[0].count < ztenuring_threshold();
}

/* CPython would have collected generation 1 now, by the thresholds that the program knows of: the
 * counts say so. It adds one to the middle one for the collection that begins. */
static void count_as_stock(void) {
  zgc_generation_t *middle = &zgc_state.generations[1];
  int thresholds[ZGC_GENERATIONS];
  zthresholds_get(thresholds);
  if (middle->count <= thresholds[1]) return;
  middle->count = -1;
  zgc_state.generations[2].count++;
}

/* A gc.collect(0) may have left millions in generation 1: the work at the stop is for survivors only. */
void zyoung_open(void) {
  count_as_stock();
  zgc_list_splice(zplan_list(1), zplan_list(2));
  zsurvivors_look_t look = zsurvivors_weigh(ztenuring_weight(zplan_now.looked));
  size_t threshold = ztenuring_threshold(), new_objects = look.members - look.aged;
  zpayload_note_start(zgranules_used_bytes(), new_objects);
  zsurvivors_lighten(ztenuring_weight(look.members), &look);
  ztenuring_note_weight(new_objects, look.new_weight, look.aged_weight);
  ztenuring_note_look(look.weight);
  zplan_now.looked = look.members;
  zplan_now.aged = look.aged;
  zplan_now.weight = look.weight;
  zplan_now.is_rethought = ztenuring_threshold() != threshold;
  zstat_add(young_references, look.weight);
}

void zyoung_open_take_over(void) {
  count_as_stock();
  set_aside = (zgc_head_t){(uintptr_t)&set_aside, (uintptr_t)&set_aside};
  for (int i = ZGC_GENERATIONS - 1; i >= 0; i--) zgc_list_splice(zplan_list(i), &set_aside);
  ztenuring_note_cleared();
  zstat_add(young_skipped, 1);
}

/* -- at stop ----------------------------------------------------------------------------------------- */

void zyoung_close_take_over(PyObject *info) {
  (void)info;
  zgc_list_splice(&set_aside, zplan_list(ZGC_GENERATIONS - 1));
}

void zyoung_close(PyObject *info) {
  size_t collected = (size_t)zcallbacks_number(info, "collected");
  ztenuring_note_found(collected);
  size_t garbage = zsurvivors_settle(zplan_now.aged, collected, zplan_now.weight, &zplan_now.promoted);
  bool is_cpu = zplan_now.looked >= ZTENURING_MANY;
  uint64_t took = is_cpu ? zos_thread_cpu_ns() - zplan_now.start_cpu_ns : zos_now_ns() - zplan_now.start_ns;
  if (zplan_now.is_large) ztenuring_note_large(zplan_now.looked, collected, took);
  bool is_resized = ztenuring_note_young(zplan_now.looked, zplan_now.aged, garbage, took);
  if (is_resized || zplan_now.is_rethought) zthresholds_apply();
}

/* What grew old is known by its number once it has been enumerated. */
void zyoung_note_payload(void) {
  zoutside_note_young();
  zpayload_note_end(zgranules_used_bytes());
  if (!zpromotion_is_complete()) return;
  if (!zpayload_is_rising(zgranules_used_bytes() + zoutside_bytes(), zstat_get(promoted))) return;
  if (ztenuring_note_rising()) zthresholds_apply();
}

void zyoung_note(uint64_t took, long collected) {
  zstat_add(young_collections, 1);
  zstat_add(young_total_ns, took);
  zstat_add(young_reclaimed, collected);
  zstat_max(young_max_ns, took);
  since_log.count++;
  since_log.total_ns += took;
  since_log.reclaimed += (uint64_t)collected;
  if (took > since_log.max_ns) since_log.max_ns = took;
  zlog_debug("gc,young", "Pause Young %.3fms reclaimed %ld cpu %.3fms paced %.3fms", zlog_ms(took), collected,
             zlog_ms(zos_thread_cpu_ns() - zplan_now.start_cpu_ns), zlog_ms(zplan_now.paced_ns));
}

void zyoung_log(uint64_t at) {
  if (since_log.count == 0 || at - since_log.logged_ns < LOG_NS) return;
  zlog_info("gc,young", "young %llu max %.3fms total %.3fms reclaimed %llu", (unsigned long long)since_log.count,
            zlog_ms(since_log.max_ns), zlog_ms(since_log.total_ns), (unsigned long long)since_log.reclaimed);
  memset(&since_log, 0, sizeof since_log);
  since_log.logged_ns = at;
}

/* Where many survivors are kept, young collections are seldom, and what waits for a safepoint would wait long: a
 * program that allocates little while collection is enabled would never come to it. */
void zyoung_come_again_soon(void) {
  static bool is_lowered;
  zgc_generation_t *young = &zgc_state.generations[0];
  if (is_lowered) zthresholds_apply();
  is_lowered = false;
  if (!ztenuring_is_on() || young->threshold != (int)ztenuring_threshold()) return;
  if (zpromotion_is_complete() && zdriver_phase() != ZPHASE_RECLAIMING && !zteardown_is_pending()) return;
  int soon = zmax(young->count, 0) + ZTENURING_THRESHOLD_MIN;
  is_lowered = soon < young->threshold;
  if (is_lowered) young->threshold = soon;
}
