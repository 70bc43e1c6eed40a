#include "collector/cpython/zheap_growth.h"

#include <stdio.h>
#include <string.h>

#include "heap/base/zoption.h"

#define LIMIT_MIN (32 * ZM)
#define PROMOTED_MIN 1000   /* objects */
#define FRUITLESS_MOST 3    /* doublings of the limit */
#define FRUITFUL_SHARE 5    /* of what had come, the collection took back */
#define EARN 10             /* zgrowth_has_earned: after a collection that found nothing, ... */
#define EARN_FRUITFUL 4     /* ... or enough, where the heap has risen by one limit */
#define START_SHARE_MIN 4   /* start no earlier than at a fourth of the limit */
#define PACE_ROOM_MIN 8     /* an eighth of the limit is always allowed */
#define PACE_HARD 2         /* times the pause target, beyond the limit */

/* Since the last collection ended. */
static struct {
  uint64_t lowest, at_end, time_ns;
  uint64_t took_ns; /* by the collection */
  unsigned fruitless; /* collections in a row */
} base;

static zgrowth_record_t at_start; /* of the collection under way */

static uint64_t risen(uint64_t bytes) { return bytes > base.lowest ? bytes - base.lowest : 0; }

static uint64_t limit(void) {
  return zmax(base.lowest * zoption(trigger) / 100, LIMIT_MIN) << zmin(base.fruitless, FRUITLESS_MOST);
}

/* Bytes that will come while a collection runs, at the rate since the last one. */
static uint64_t expected_meanwhile(const zgrowth_record_t *now) {
  uint64_t since = now->time_ns - base.time_ns;
  if (base.time_ns == 0 || since == 0 || now->bytes <= base.at_end) return 0;
  return (uint64_t)((double)(now->bytes - base.at_end) / (double)since * (double)base.took_ns);
}

static uint64_t start_at(const zgrowth_record_t *now) {
  if (base.fruitless > 0) return limit();
  uint64_t most = limit(), meanwhile = expected_meanwhile(now), least = most / START_SHARE_MIN;
  return most > meanwhile + least ? most - meanwhile : least;
}

static unsigned times_to_earn(const zgrowth_record_t *now) {
  if (base.fruitless > 0) return EARN;
  return (unsigned)zmax(EARN_FRUITFUL / zmax(risen(now->bytes) / limit(), 1), 1);
}

bool zheap_growth_is_due(const zgrowth_record_t *now) {
  base.lowest = zmin(base.lowest, now->bytes);
  if (risen(now->bytes) < start_at(now) || zgrowth_promoted(now) < PROMOTED_MIN) return false;
  return zgrowth_has_earned(now, times_to_earn(now));
}

void zheap_growth_note_start(const zgrowth_record_t *now) {
  base.lowest = zmin(base.lowest, now->bytes);
  at_start = *now;
}

/* What came while it ran has not been looked at: it counts as growth. */
void zheap_growth_note_end(const zgrowth_record_t *now) {
  uint64_t had_come = risen(at_start.bytes);
  bool is_smaller = now->bytes < at_start.bytes && (at_start.bytes - now->bytes) * FRUITFUL_SHARE >= had_come;
  base.fruitless = is_smaller || zgrowth_is_fruitful() ? 0 : base.fruitless + 1;
  base.lowest = zmin(at_start.bytes, now->bytes);
  base.at_end = now->bytes;
  base.time_ns = now->time_ns;
  base.took_ns = now->time_ns - at_start.time_ns;
}

/* From where it stood at the start, the heap may go up to the limit by the end. */
unsigned zheap_growth_behind(const zgrowth_record_t *now, unsigned progress) {
  if (base.fruitless > 0) return 0;
  uint64_t most = limit(), least = most / PACE_ROOM_MIN, started = risen(at_start.bytes), has_risen = risen(now->bytes);
  uint64_t room = started + least < most ? most - started : least;
  if (has_risen < started + least + room * progress / 1000) return 0;
  return has_risen > most ? PACE_HARD : 1;
}

void zheap_growth_describe(const zgrowth_record_t *now, char *text, size_t size) {
  snprintf(text, size, "bytes %llu base %llu promoted %llu start at %llu limit %llu", (unsigned long long)now->bytes,
           (unsigned long long)base.lowest, (unsigned long long)zgrowth_promoted(now),
           (unsigned long long)start_at(now), (unsigned long long)limit());
}

void zheap_growth_reset(void) {
  memset(&base, 0, sizeof base);
  memset(&at_start, 0, sizeof at_start);
}
