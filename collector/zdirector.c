#include "collector/zdirector.h"

#include <string.h>

#include "collector/zdriver.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zallocator.h"
#include "heap/zold_map.h"

#define GROWTH_MIN 20000        /* old objects; below, a collection is not worth its start */
#define START_SHARE_MIN 5       /* start no earlier than at a fifth of the trigger ... */
#define START_UNKNOWN 2         /* ... or half, while little of the growth is garbage */
#define HEAP_GROWTH_MIN (64 * ZM)
#define HEAP_PROMOTED_MIN 1000
#define BACKOFF_MAX 4           /* for collections that find nothing */
#define PACE_UNKNOWN 100000     /* objects above the trigger, while little of the growth is garbage */
#define PACE_ROOM_MIN 8         /* an eighth of the limit is always allowed */
#define PACE_SLACK 20000        /* objects: as good as nothing */
#define PACE_HARD 2             /* times the pause target, beyond the limit */
#define SPARSE_MIN (8 * ZM)     /* free within sparse pages: below, or ... */
#define SPARSE_SHARE 16         /* ... below such a share of the heap, it is left there */
#define PRESSURE_PERCENT 85     /* of the memory limit */
#define PRESSURE_PAUSE_NS 2000000000u
#define PRESSURE_LOOK_NS 500000000u

/* As they were when the last collection ended. GIL. */
static struct {
  uint64_t old, promoted, heap, time_ns;
  uint64_t took_ns; /* from the last one's start to its end */
  bool is_fruitful; /* a good part of what was promoted had become garbage */
  unsigned backoff; /* times the trigger, for promotions that did not make the old set grow */
} base = {.backoff = 1};

static struct {
  uint64_t old, promoted, growth, time_ns;
} at_start; /* of the collection under way */

static uint64_t growth(void) {
  uint64_t old = zload_relaxed(&zold_map_count);
  return old > base.old ? old - base.old : 0;
}

/* Old objects that a collection waits for: the trigger's share of what the last one left. */
static uint64_t trigger(void) {
  uint64_t share = base.old * zoption(trigger) / 100;
  return share > GROWTH_MIN ? share : GROWTH_MIN;
}

/* Old objects that will be promoted while a collection runs, at the rate and length of the last. */
static uint64_t expected_meanwhile(void) {
  uint64_t since = zos_now_ns() - at_start.time_ns;
  if (at_start.time_ns == 0 || since == 0) return 0;
  uint64_t promoted = zstat_get(promoted) - at_start.promoted;
  return (uint64_t)((double)promoted / (double)since * (double)base.took_ns);
}

/* The growth at which to start, so that it stays below the trigger until the end. */
static uint64_t start_at(void) {
  uint64_t limit = trigger(), meanwhile = expected_meanwhile();
  uint64_t least = limit / (base.is_fruitful ? START_SHARE_MIN : START_UNKNOWN);
  return limit > meanwhile + least ? limit - meanwhile : least;
}

/* CPython's rule (long_lived_pending > long_lived_total / 4), without its defect: objects that died
 * by refcount are not counted as growth. Promotions that replaced others count too, but less the
 * less garbage they turned out to be. */
static zcause_t rule_growth(void) {
  uint64_t promoted = zstat_get(promoted) - base.promoted;
  uint64_t start = start_at();
  if (growth() < start && promoted < trigger() * base.backoff) return ZCAUSE_NONE;
  zlog_debug("gc,director", "rule growth: old %zu base %llu promoted %llu start at %llu trigger %llu x%u",
             zold_map_count, (unsigned long long)base.old, (unsigned long long)promoted,
             (unsigned long long)start, (unsigned long long)trigger(), base.backoff);
  return ZCAUSE_GROWTH;
}

/* Few objects may hold much memory. */
static zcause_t rule_heap_growth(void) {
  uint64_t used = zgranules_used_bytes(), promoted = zstat_get(promoted) - base.promoted;
  if (promoted < HEAP_PROMOTED_MIN || used < base.heap + HEAP_GROWTH_MIN) return ZCAUSE_NONE;
  if (used - base.heap < base.heap / 2) return ZCAUSE_NONE;
  zlog_debug("gc,director", "rule heap growth: used %luM base %luM promoted %llu", zlog_mb(used),
             zlog_mb(base.heap), (unsigned long long)promoted);
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

static zcause_t rule_timer(void) {
  return zdirector_timer_is_due() ? ZCAUSE_TIMER : ZCAUSE_NONE;
}

static zcause_t rule_stress(void) { return zoption(stress) ? ZCAUSE_STRESS : ZCAUSE_NONE; }

zcause_t zdirector_decide(void) {
  static zcause_t (*const rules[])(void) = {rule_growth, rule_heap_growth, rule_memory, rule_timer,
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
  if (met <= before + zmax(share, GROWTH_MIN)) return false;
  zlog_debug("gc,director", "rule foreign: met %zu before %zu old %zu", met, before, zold_map_count);
  return true;
}

void zdirector_note_start(void) {
  at_start.old = zold_map_count;
  at_start.promoted = zstat_get(promoted);
  at_start.growth = growth();
  at_start.time_ns = zos_now_ns();
}

void zdirector_note_end(uint64_t found, uint64_t reclaimed) {
  uint64_t promoted = at_start.promoted - base.promoted;
  bool fruitless = found * 50 < promoted;
  base.is_fruitful = found * 5 > promoted;
  base.backoff = !fruitless ? 1 : base.backoff < BACKOFF_MAX ? base.backoff * 2 : BACKOFF_MAX;
  /* What was promoted while the collection ran has not been looked at: it counts as growth. */
  uint64_t left = at_start.old > reclaimed ? at_start.old - reclaimed : 0;
  base.old = left < zold_map_count ? left : zold_map_count;
  base.promoted = at_start.promoted;
  base.heap = zgranules_used_bytes();
  base.time_ns = zos_now_ns();
  base.took_ns = base.time_ns - at_start.time_ns;
}

bool zdirector_is_fruitful(void) { return base.is_fruitful; }

/* What the old set may have grown by at this point. From where it stood at the start, it may go up to the
 * trigger by the end: then no more garbage piles up than CPython lets pile up. */
static uint64_t pace(uint64_t limit, unsigned progress) {
  uint64_t started = at_start.growth, least = limit / PACE_ROOM_MIN;
  uint64_t room = started + least < limit ? limit - started : least;
  return started + room * progress / 1000 + PACE_SLACK;
}

/* A heap that is being loaded is no reason for haste. */
unsigned zdirector_behind(unsigned progress) {
  uint64_t limit = trigger(), grown = growth();
  if (!base.is_fruitful) limit += PACE_UNKNOWN;
  if (grown < pace(limit, progress)) return 0;
  return grown > limit && base.is_fruitful ? PACE_HARD : 1;
}

unsigned zdirector_pressure(void) {
  if (!base.is_fruitful) return 0; /* a heap that only grows is no reason for haste */
  uint64_t grown = growth(), waiting = zstat_get(pending_garbage);
  return (unsigned)((grown > waiting ? grown - waiting : 0) / trigger());
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
  if (zload_relaxed(&zdriver_is_trimming) || at - last < zoption(uncommit_delay) * 1000000000u) return;
  last = at;
  size_t bytes = zallocator_sparse_bytes();
  if (bytes < SPARSE_MIN || bytes < zgranules_used_bytes() / SPARSE_SHARE) return;
  zlog_debug("gc,heap", "sparse pages: some %luM could go back", zlog_mb(bytes));
  zstore_release(&zdriver_is_trimming, true);
}

void zdirector_trim(uint64_t deadline) {
  if (!zload_acquire(&zdriver_is_trimming)) return;
  uint64_t start = zos_now_ns();
  size_t bytes = 0;
  bool is_done = zallocator_trim(&trim.at, deadline, &bytes);
  zstat_add(uncommitted, bytes);
  trim.bytes += bytes;
  trim.ns += zos_now_ns() - start;
  zstore_relaxed(&zdriver_trim_slices, zdriver_trim_slices + 1);
  if (!is_done) return;
  zlog_info("gc,heap", "uncommitted %luM within sparse pages in %.3fms", zlog_mb(trim.bytes), zlog_ms(trim.ns));
  memset(&trim, 0, sizeof trim);
  zstore_release(&zdriver_is_trimming, false);
}

void zdirector_tick(void) {
  uncommit_aged();
  look_for_sparse_pages();
  if (zdirector_timer_is_due() && zdriver_wake_program != NULL) zdriver_wake_program();
}
