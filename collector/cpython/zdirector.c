#include "collector/cpython/zdirector.h"

#include <string.h>

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zheap_growth.h"
#include "collector/cpython/zoutside.h"
#include "collector/cpython/zrequest.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zallocator.h"
#include "heap/zold_map.h"

#define FOREIGN_MIN 20000 /* objects outside our heap: below, a stock collection is not worth its pause */
#define SPARSE_MIN (8 * ZM)     /* free within sparse pages: below, or ... */
#define SPARSE_SHARE 16         /* ... below such a share of the heap, it is left there */
#define LEFT_EARN 50 /* a collection for what another one has left takes a fiftieth of the program's CPU time */
#define PRESSURE_PERCENT 85     /* of the memory limit */
#define PRESSURE_PAUSE_NS 2000000000u
#define PRESSURE_LOOK_NS 500000000u

/* When the last collection ended. GIL. */
static struct {
  uint64_t time_ns;
} base;

static bool has_left; /* garbage, to the next one. GIL */

/* CPU time of collections: of the collector thread, and of the pauses in which garbage was fed. */
static uint64_t pauses_ns; /* the second, of those that have ended */
static uint64_t price_ns(void) { return zstat_get(concurrent_cpu_ns) + pauses_ns; }

static uint64_t bytes(void) { return zgranules_used_bytes() + zoutside_bytes(); }

static zgrowth_record_t record(void) {
  return (zgrowth_record_t){.old = zload_relaxed(&zold_map_count),
                            .promoted = zstat_get(promoted),
                            .bytes = bytes(),
                            .time_ns = zos_now_ns(),
                            .price_ns = price_ns(),
                            .program_ns = zos_process_cpu_ns};
}

typedef void (*describe_t)(const zgrowth_record_t *now, char *text, size_t size);

static znoinline void log_growth(const char *rule, describe_t describe, const zgrowth_record_t *now) {
  char numbers[200];
  describe(now, numbers, sizeof numbers);
  zlog_debug("gc,director", "rule %s: %s", rule, numbers);
}

static zcause_t rule_growth(void) {
  zgrowth_record_t now = record();
  if (!zgrowth_is_due(&now)) return ZCAUSE_NONE;
  if (zlog_is(ZLOG_DEBUG)) log_growth("growth", zgrowth_describe, &now);
  return ZCAUSE_GROWTH;
}

/* Few objects may hold much memory. */
static zcause_t rule_heap_growth(void) {
  zgrowth_record_t now = record();
  if (!zheap_growth_is_due(&now)) return ZCAUSE_NONE;
  if (zlog_is(ZLOG_DEBUG)) log_growth("heap growth", zheap_growth_describe, &now);
  return ZCAUSE_HEAP_GROWTH;
}

/* At a safepoint, not on the collector thread: it opens files, and a program that closes a descriptor to
 * open another in its place must not find ours there. */
static zcause_t rule_memory(void) {
  static uint64_t looked_ns;
  uint64_t at = zos_now_ns();
  if (at - base.time_ns < PRESSURE_PAUSE_NS || at - looked_ns < PRESSURE_LOOK_NS) return ZCAUSE_NONE;
  looked_ns = at;
  size_t limit = zos_memory_limit();
  if (limit == 0) limit = zos_memory_bytes();
  size_t rss = zos_rss_bytes();
  if (rss <= limit / 100 * PRESSURE_PERCENT) return ZCAUSE_NONE;
  zlog_info("gc,director", "rule memory: rss %luM of %luM", zlog_mb(rss), zlog_mb(limit));
  return ZCAUSE_MEMORY;
}

bool zdirector_timer_is_due(void) {
  uint64_t seconds = zoption(interval);
  return seconds != 0 && zos_now_ns() - zload_relaxed(&base.time_ns) >= seconds * 1000000000u;
}

/* Its garbage would wait for the next growth, however long that takes. */
static zcause_t rule_left(void) {
  if (!has_left) return ZCAUSE_NONE;
  zgrowth_record_t now = record();
  if (!zgrowth_has_earned(&now, LEFT_EARN)) return ZCAUSE_NONE;
  zlog_debug("gc,director", "rule left: the last collection has left garbage to the next");
  return ZCAUSE_GROWTH;
}

static zcause_t rule_timer(void) {
  return zdirector_timer_is_due() ? ZCAUSE_TIMER : ZCAUSE_NONE;
}

static zcause_t rule_stress(void) { return zoption(stress) ? ZCAUSE_STRESS : ZCAUSE_NONE; }

zcause_t zdirector_decide(void) {
  static zcause_t (*const rules[])(void) = {rule_growth, rule_heap_growth, rule_memory, rule_left, rule_timer,
                                            rule_stress};
  if (base.time_ns == 0) base.time_ns = zos_now_ns();
  for (size_t i = 0; i < ZARRAY_LENGTH(rules); i++) {
    zcause_t cause = rules[i]();
    if (cause != ZCAUSE_NONE) return cause;
  }
  return ZCAUSE_NONE;
}

bool zdirector_foreign_is_due(size_t met, size_t before) {
  size_t share = (before + zold_map_count) * zoption(trigger) / 100;
  if (met <= before + zmax(share, FOREIGN_MIN)) return false;
  zlog_debug("gc,director", "rule foreign: met %zu before %zu old %zu", met, before, zold_map_count);
  return true;
}

void zdirector_note_start(void) {
  zgrowth_record_t now = record();
  zgrowth_note_start(&now);
  zheap_growth_note_start(&now);
}

void zdirector_note_end(uint64_t found, uint64_t reclaimed, uint64_t left) {
  has_left = left > 0;
  pauses_ns += zdriver_collection.pause_total_ns;
  zgrowth_record_t now = record();
  zgrowth_note_end(&now, found, reclaimed);
  zheap_growth_note_end(&now);
  base.time_ns = now.time_ns;
}

void zdirector_note_frozen(uint64_t objects) { zgrowth_note_frozen(objects); }
void zdirector_note_unfrozen(uint64_t objects) { zgrowth_note_unfrozen(objects); }

bool zdirector_is_fruitful(void) { return zgrowth_is_fruitful(); }

unsigned zdirector_behind(unsigned progress) {
  zgrowth_record_t now = {.old = zload_relaxed(&zold_map_count), .bytes = bytes()};
  return (unsigned)zmax(zgrowth_behind(&now, progress), zheap_growth_behind(&now, progress));
}

unsigned zdirector_pressure(void) {
  zgrowth_record_t now = {.old = zload_relaxed(&zold_map_count)};
  return zgrowth_pressure(&now, zstat_get(pending_garbage));
}

/* Empty pages are given back once they have been empty for one to two delays. */
static void uncommit_aged(void) {
  static uint64_t last;
  uint64_t at = zos_now_ns();
  if (at - last < zoption(uncommit_delay) * 1000000000u) return;
  last = at;
  size_t bytes = zgranules_uncommit_aged();
  if (bytes == 0) return;
  zstat_add(uncommitted, bytes);
  if (zlog_mb(bytes) > 0) zlog_info("gc,heap", "uncommitted %luM", zlog_mb(bytes));
}

/* What lies free within sparse pages goes back at safepoints, because it takes the GIL: the collector thread
 * looks whether it is worth it, and asks for safepoints until all pages have been looked at. */
static struct {
  size_t at, bytes; /* the granule to go on with; given back since the first one */
  uint64_t ns;
} trim; /* under the GIL */

static void look_for_sparse_pages(void) {
  static uint64_t last;
  uint64_t at = zos_now_ns();
  if (zload_relaxed(&zcollector_thread_is_trimming) || at - last < zoption(uncommit_delay) * 1000000000u) return;
  last = at;
  size_t bytes = zallocator_sparse_bytes();
  if (bytes < SPARSE_MIN || bytes < zgranules_used_bytes() / SPARSE_SHARE) return;
  zlog_debug("gc,heap", "sparse pages: some %luM could go back", zlog_mb(bytes));
  zstore_release(&zcollector_thread_is_trimming, true);
}

void zdirector_trim(uint64_t deadline) {
  if (!zload_acquire(&zcollector_thread_is_trimming)) return;
  uint64_t start = zos_now_ns();
  size_t bytes = 0;
  bool is_done = zallocator_trim(&trim.at, deadline, &bytes);
  zstat_add(uncommitted, bytes);
  trim.bytes += bytes;
  trim.ns += zos_now_ns() - start;
  zstore_relaxed(&zcollector_thread_trim_slices, zcollector_thread_trim_slices + 1);
  if (!is_done) return;
  zlog_info("gc,heap", "uncommitted %luM within sparse pages in %.3fms", zlog_mb(trim.bytes), zlog_ms(trim.ns));
  memset(&trim, 0, sizeof trim);
  zstore_release(&zcollector_thread_is_trimming, false);
}

void zdirector_tick(void) {
  uncommit_aged();
  look_for_sparse_pages();
  if (zdirector_timer_is_due()) zrequest_safepoint();
}
