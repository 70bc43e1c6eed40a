#include "collector/cpython/zgrowth.h"

#include <stdio.h>
#include <string.h>

#include "heap/base/zoption.h"

#define SMALL 50000         /* objects: CPython's thresholds let 85,000 and more grow old, net */
#define SMALL_IDLE 80000    /* the same, once collections have found nothing */
#define FRUITLESS 2         /* of them in a row */
#define START_SHARE_MIN 5   /* start no earlier than at a fifth of the limit ... */
#define START_UNKNOWN 2     /* ... or half, in a small heap and while little of the growth is garbage */
#define NOTHING 50          /* a fiftieth of what was promoted: nothing was found */
#define YIELD_MIN (1 / 16.0) /* of what becomes old is taken for garbage at the least */
#define FRUITLESS_EARLIER 8 /* a large heap starts at so much less of its limit all the same */
#define EARN 10
#define PACE_UNKNOWN 100000 /* objects above the limit, while little of the growth is garbage */
#define PACE_ROOM_MIN 8     /* an eighth of the limit is always allowed */
#define PACE_SLACK 20000    /* objects: as good as nothing */
#define SMALL_HASTE 4       /* a small heap stops the world sooner: that takes no longer than with CPython alone */
#define PACE_HARD 2         /* times the pause target, beyond the limit */

/* As they were when the last collection ended, but for `old`. */
static struct {
  uint64_t old; /* the lowest since */
  uint64_t at_end, promoted, time_ns, program_ns;
  uint64_t took_ns, price_ns; /* of the collection: from its start to its end; CPU time */
  bool is_fruitful;    /* a good part of what was promoted had become garbage */
  unsigned fruitless;  /* collections in a row that found nothing */
  double yield;        /* garbage, of an object that becomes old */
} base = {.yield = 1};

static zgrowth_record_t at_start; /* of the collection under way; `old` is base.old where none is */

/* Of the objects that are frozen: those that the last collection has seen, and those that had become old before the
 * one under way began. They come back as what they were when they went. */
static struct {
  uint64_t objects, seen, at_start;
} frozen;

static void lower_base(const zgrowth_record_t *now) {
  if (now->old < base.old) base.old = now->old;
}

static uint64_t grown(const zgrowth_record_t *now) { return now->old > base.old ? now->old - base.old : 0; }

static uint64_t started_grown(void) { return at_start.old > base.old ? at_start.old - base.old : 0; }

static bool is_small(void) { return base.old * zoption(trigger) / 100 <= SMALL; }

static uint64_t limit(void) {
  if (!is_small()) return base.old * zoption(trigger) / 100;
  return base.fruitless >= FRUITLESS ? SMALL_IDLE : SMALL;
}

/* Objects by which the old set will grow while a collection runs, at the rate since the last one. */
static uint64_t expected_meanwhile(const zgrowth_record_t *now) {
  uint64_t since = now->time_ns - base.time_ns;
  if (base.time_ns == 0 || since == 0 || now->old <= base.at_end) return 0;
  return (uint64_t)((double)(now->old - base.at_end) / (double)since * (double)base.took_ns);
}

/* The growth at which to start, so that it stays below the limit until the end. Where one collection after the other
 * has found nothing, there is no garbage to stay below it. */
static uint64_t start_at(const zgrowth_record_t *now) {
  if (base.fruitless >= FRUITLESS) return is_small() ? limit() : limit() - limit() / FRUITLESS_EARLIER;
  uint64_t most = limit(), meanwhile = expected_meanwhile(now);
  uint64_t least = most / (base.is_fruitful && !is_small() ? START_SHARE_MIN : START_UNKNOWN);
  return most > meanwhile + least ? most - meanwhile : least;
}

uint64_t zgrowth_promoted(const zgrowth_record_t *now) { return now->promoted - base.promoted; }

bool zgrowth_has_earned(const zgrowth_record_t *now, unsigned times) {
  return now->program_ns() - base.program_ns >= base.price_ns * times;
}

static bool pays(const zgrowth_record_t *now) {
  if ((double)zgrowth_promoted(now) * base.yield < (double)limit()) return false;
  return zgrowth_has_earned(now, EARN);
}

bool zgrowth_is_due(const zgrowth_record_t *now) {
  lower_base(now);
  return grown(now) >= start_at(now) || pays(now);
}

void zgrowth_note_start(const zgrowth_record_t *now) {
  lower_base(now);
  at_start = *now;
  frozen.at_start = frozen.seen;
}

static void learn_yield(uint64_t found, uint64_t promoted) {
  double seen = promoted == 0 ? 1 : (double)found / (double)promoted;
  if (seen < base.yield / 2) seen = base.yield / 2;
  base.yield = seen > 1 ? 1 : seen < YIELD_MIN ? YIELD_MIN : seen;
}

void zgrowth_note_end(const zgrowth_record_t *now, uint64_t found, uint64_t reclaimed) {
  uint64_t promoted = at_start.promoted - base.promoted;
  base.is_fruitful = found * 5 > promoted;
  base.fruitless = found * NOTHING < promoted ? base.fruitless + 1 : 0;
  learn_yield(found, promoted);
  /* What was promoted while the collection ran has not been looked at: it counts as growth. */
  uint64_t left = at_start.old > reclaimed ? at_start.old - reclaimed : 0;
  base.old = left < now->old ? left : now->old;
  base.at_end = now->old;
  frozen.seen = frozen.at_start;
  base.promoted = at_start.promoted;
  base.time_ns = now->time_ns;
  base.program_ns = now->program_ns();
  base.took_ns = now->time_ns - at_start.time_ns;
  base.price_ns = now->price_ns - at_start.price_ns;
  at_start.old = base.old;
}

void zgrowth_note_frozen(uint64_t objects) {
  uint64_t added = objects > frozen.objects ? objects - frozen.objects : 0;
  frozen.objects = objects;
  frozen.seen += zmin(added, base.old);
  frozen.at_start += zmin(added, at_start.old);
  base.old = base.at_end = at_start.old = 0;
}

void zgrowth_note_unfrozen(uint64_t objects) {
  uint64_t seen = zmin(frozen.seen, objects);
  base.old += seen;
  base.at_end += seen;
  at_start.old += zmin(frozen.at_start, objects);
  memset(&frozen, 0, sizeof frozen);
}

bool zgrowth_is_fruitful(void) { return base.is_fruitful; }

/* What the old set may have grown by at this point. From where it stood at the start, it may go up to the
 * limit by the end: then no more garbage piles up than CPython lets pile up. */
static uint64_t pace(uint64_t most, unsigned progress) {
  uint64_t least = most / PACE_ROOM_MIN, started = started_grown();
  uint64_t room = started + least < most ? most - started : least;
  return started + room * progress / 1000 + PACE_SLACK;
}

/* A heap that is being loaded is no reason for haste. */
unsigned zgrowth_behind(const zgrowth_record_t *now, unsigned progress) {
  uint64_t most = limit(), has_grown = grown(now);
  if (!base.is_fruitful) most += PACE_UNKNOWN;
  if (has_grown < pace(most, progress)) return 0;
  return has_grown > most && base.is_fruitful ? PACE_HARD : 1;
}

unsigned zgrowth_pressure(const zgrowth_record_t *now, uint64_t waiting) {
  if (!base.is_fruitful) return 0; /* a heap that only grows is no reason for haste */
  uint64_t has_grown = grown(now), ahead = has_grown > waiting ? has_grown - waiting : 0;
  return (unsigned)(ahead * (is_small() ? SMALL_HASTE : 1) / limit());
}

void zgrowth_describe(const zgrowth_record_t *now, char *text, size_t size) {
  snprintf(text, size, "old %llu base %llu promoted %llu yield %.2f start at %llu limit %llu",
           (unsigned long long)now->old, (unsigned long long)base.old,
           (unsigned long long)zgrowth_promoted(now), base.yield, (unsigned long long)start_at(now),
           (unsigned long long)limit());
}

void zgrowth_reset(void) {
  memset(&base, 0, sizeof base);
  memset(&at_start, 0, sizeof at_start);
  memset(&frozen, 0, sizeof frozen);
  base.yield = 1;
}
