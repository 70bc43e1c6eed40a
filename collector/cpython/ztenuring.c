#include "collector/cpython/ztenuring.h"

#include "collector/cpython/zpayload.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"

#define THRESHOLD_SHARE 2   /* of what fits a pause is newly allocated */
#define KEPT_LESS 4       /* at a time, when fewer are to be kept: all would be a lot to promote */
#define KEPT_MIN 32
#define KEPT_MAX 20000
#define KEPT_HEAVY 7000     /* as many as CPython's generation 1 holds, by its thresholds, ... */
#define THRESHOLD_HEAVY 1400 /* ... and twice what its generation 0 holds */
#define FITS_MAX 24000
#define WINDOW 50000        /* objects looked at, until it is asked whether that paid, or ... */
#define WINDOW_TIMES 4      /* ... so many times those that one collection may look at */
#define SAVED_SHARE 64     /* of what is looked at; else a small generation 0 is better for caches */
#define PAYS_SHARE 8        /* of what had survived before: else too much is kept for too long */
#define PAYS_SHARE_OF_NEW 4
#define LOOKS_MOST 16       /* at what is kept, for each object that is new */
#define WAIT_MAX 16         /* fruitful old collections between two trials */
#define COST_FIRST 64.0     /* ns per object */
#define COST_STEP (1 / 16.0)
#define COST_LEAP 0.5
#define REFERENCE_FALL 0.25
#define COUNTS_FROM 200     /* objects: of fewer, most of the time is not theirs */
#define DEARER 1.25         /* times what the sizes were made for */
#define TOO_LONG 2          /* times the pause target; as old garbage, many objects would cost more */
#define REACH_SHARE 4       /* of a large generation 0 is garbage, or the look was in vain */
#define FAR_MOST 1000.0     /* ns per object: hardly any fit */
#define FAR_TRIAL 160.0
#define REFERENCE_NS 16.0   /* two visits of a reference, half of them to memory that no cache holds, ... */
#define REFERENCE_NS_MIN 4.0 /* ... or all of them to a few objects, one after the other */
#define WEIGHTY 16          /* references of each object: then they are what it costs to look at it */
#define WEIGHT_EACH 64      /* always allowed: a program that asks for few collections fills many objects */
#define THRESHOLD_LEAST 4   /* of heavy objects; each of them costs its program more than a collection */
#define AGE_MAX 16          /* young collections, while few are kept */
#define AGE_MAX_ON 64       /* ... while many are */
#define VAIN_FROM 8         /* young collections that found nothing, until some are left out, ... */
#define HELD_ONE_IN 8       /* ... all but so many */

static double cost = COST_FIRST, sized_for = COST_FIRST;
static bool is_on;
static bool is_heavy; /* the trial is for what few objects hold */
static double far_cost = FAR_MOST; /* of an object of a generation 0 grown large */
static size_t wanted = KEPT_MIN, kept = KEPT_MIN, threshold = ZTENURING_THRESHOLD_MIN;
static size_t looked_at, aged_seen, aged_died; /* in this window */
static bool is_first; /* this window: what grew old before still holds much of what is young */
static unsigned wait, next_wait = 1;
static double reference_ns = REFERENCE_NS;
static size_t weight; /* of what the young collection under way looks at */
static size_t fits_weight = FITS_MAX; /* objects as heavy as the last ones that one collection may look at */
static unsigned since_cleared;
static unsigned vain, left_out; /* young collections, one behind the other */

size_t ztenuring_threshold(void) {
  return zmin(zmin(threshold, zmax(zpayload_fits(), ZTENURING_THRESHOLD_MIN)), fits_weight);
}
/* Where memory makes young collections frequent, what is kept would be looked at all the time. */
size_t ztenuring_kept(void) { return is_on && is_heavy ? zmin(kept, LOOKS_MOST * ztenuring_threshold()) : kept; }
bool ztenuring_is_on(void) { return is_on; }

bool ztenuring_is_clearing(void) { return since_cleared >= (is_on ? AGE_MAX_ON : AGE_MAX); }

void ztenuring_note_cleared(void) { since_cleared = 0; }

bool ztenuring_leaves_out(void) {
  if (is_on || vain < VAIN_FROM) return false;
  left_out = (left_out + 1) % HELD_ONE_IN;
  return left_out != 0;
}

void ztenuring_note_found(size_t garbage) { vain = garbage > 0 ? 0 : vain + 1; }

static uint64_t target_ns(void) { return zoption(pause_target) * 1000; }

static size_t pause_weight(void) { return (size_t)((double)target_ns() / reference_ns); }

size_t ztenuring_weight(size_t members) { return zmax(pause_weight(), members * WEIGHT_EACH); }

/* Half of what a pause allows may be new, and no more than what has been kept leaves. But as much as a part of what is
 * kept it always is: that is visited each time, and the new objects pay for it. Few objects say little of those that
 * come: the threshold is at most doubled at a time. A batch of garbage is fed
 * without new objects: that says nothing. */
bool ztenuring_note_weight(size_t new_objects, size_t new_weight, size_t kept_weight) {
  if (new_objects == 0) return false;
  size_t before = ztenuring_threshold(), most = pause_weight();
  size_t left = zmax(most - zmin(kept_weight, most), most / ZTENURING_VISITS);
  double fits = (double)zmin(left, most / 2) * (double)new_objects / (double)zmax(new_weight, 1);
  fits_weight = zmin(zmax((size_t)fits, THRESHOLD_LEAST), zmin(2 * fits_weight, FITS_MAX));
  return ztenuring_threshold() != before;
}

void ztenuring_note_look(size_t its_weight) { weight = its_weight; }

/* The median, so to speak: a pause that the machine drew out counts no more than any other. But many objects
 * can be dearer than few, which the caches hold: of a pause far too long that is believed nearly at once. */
static double step(double known, size_t looked, uint64_t took_ns) {
  double seen = (double)took_ns / (double)looked;
  if (seen <= known) return known / (1 + COST_STEP);
  bool is_too_long = looked >= ZTENURING_MANY && took_ns > TOO_LONG * target_ns();
  double most = known * (is_too_long ? 1 + COST_LEAP : 1 + COST_STEP);
  return is_too_long && seen < most ? seen : most;
}

static size_t fitting(uint64_t ns, double each) {
  double fits = (double)ns / each;
  return fits < FITS_MAX ? (size_t)fits : FITS_MAX;
}

size_t ztenuring_fits(void) { return fitting(target_ns(), cost); }
size_t ztenuring_reach(void) { return fitting(TOO_LONG * target_ns(), far_cost); }

/* A look in vain is as one that was too dear. */
void ztenuring_note_large(size_t looked, size_t garbage, uint64_t took_ns) {
  bool in_vain = garbage * REACH_SHARE < looked;
  double seen = step(far_cost, looked, took_ns);
  far_cost = in_vain && seen < far_cost ? far_cost * (1 + COST_STEP / 2) : seen;
  if (far_cost > FAR_MOST) far_cost = FAR_MOST;
}

/* True when the threshold is another than before. */
static bool size_up(void) {
  size_t before = threshold;
  size_t fits = is_on ? ztenuring_fits() : 0;
  threshold = zmax(fits / THRESHOLD_SHARE, ZTENURING_THRESHOLD_MIN);
  if (is_heavy) threshold = zmin(threshold, THRESHOLD_HEAVY);
  size_t in_all = zmax(TOO_LONG * fits, threshold + KEPT_MIN); /* mostly it is not nearly as many */
  wanted = zmin(in_all - threshold, KEPT_MAX);
  if (is_on && is_heavy) wanted = zmax(wanted, KEPT_HEAVY);
  kept = zmax(kept, wanted);
  sized_for = cost;
  zlog_debug("gc,young", "tenuring %s: %.0f ns per object, kept %zu, threshold %zu",
             is_on ? "on" : "off", cost, wanted, threshold);
  return threshold != before;
}

static bool begin_window(void) {
  looked_at = aged_seen = aged_died = 0;
  return size_up();
}

/* In few steps, but in steps: a pause that the machine drew out says nothing of references. */
static void learn_reference(uint64_t took_ns) {
  double seen = (double)took_ns / (double)weight;
  double least = reference_ns / (1 + REFERENCE_FALL), most = reference_ns * (1 + COST_LEAP);
  reference_ns = seen < least ? least : seen > most ? most : seen;
  if (reference_ns < REFERENCE_NS_MIN) reference_ns = REFERENCE_NS_MIN;
  if (reference_ns > REFERENCE_NS) reference_ns = REFERENCE_NS;
}

static void learn_cost(size_t looked, uint64_t took_ns) {
  bool is_weighty = weight >= looked * WEIGHTY;
  if (is_weighty && weight >= COUNTS_FROM * WEIGHTY) learn_reference(took_ns);
  if (!is_weighty && looked >= COUNTS_FROM) cost = step(cost, looked, took_ns);
}

static bool pays(void) { return aged_died * PAYS_SHARE >= aged_seen && aged_died * SAVED_SHARE >= looked_at; }

/* Young collections may be so frequent that few of many aged die between two: then as many have to die as a part of
 * what is new. */
static bool pays_by_weight(void) {
  if (aged_died == 0) return false;
  return aged_died * PAYS_SHARE >= aged_seen || aged_died * PAYS_SHARE_OF_NEW >= looked_at - aged_seen;
}

bool ztenuring_note_young(size_t looked, size_t aged, size_t aged_garbage, uint64_t took_ns) {
  learn_cost(looked, took_ns);
  since_cleared = ztenuring_is_clearing() ? 0 : since_cleared + 1;
  kept = zmax(kept - kept / KEPT_LESS, wanted);
  if (!is_on) return false;
  looked_at += looked;
  aged_seen += aged;
  aged_died += aged_garbage;
  if (looked_at < zmax(WINDOW, WINDOW_TIMES * (kept + threshold))) return cost > sized_for * DEARER && size_up();
  if (is_first) {
    is_first = false;
    return begin_window();
  }
  is_on = is_heavy ? pays_by_weight() : pays();
  wait = is_on ? 0 : next_wait;
  next_wait = is_on ? 1 : next_wait < WAIT_MAX ? next_wait * 2 : WAIT_MAX;
  return begin_window();
}

static bool begin_trial(void) {
  if (is_on) return false;
  if (wait > 0) {
    wait--;
    return false;
  }
  is_on = is_first = true;
  vain = 0;
  return begin_window();
}

bool ztenuring_note_fruitful(void) {
  if (far_cost > FAR_TRIAL) far_cost = FAR_TRIAL;
  if (!is_on) is_heavy = false;
  return begin_trial();
}

bool ztenuring_note_rising(void) {
  is_heavy = true;
  return begin_trial();
}

void ztenuring_reset(void) {
  cost = sized_for = COST_FIRST;
  is_on = is_heavy = false;
  far_cost = FAR_MOST;
  wanted = kept = KEPT_MIN;
  threshold = ZTENURING_THRESHOLD_MIN;
  looked_at = aged_seen = aged_died = 0;
  fits_weight = FITS_MAX;
  reference_ns = REFERENCE_NS;
  weight = 0;
  since_cleared = vain = left_out = 0;
  wait = 0;
  next_wait = 1;
}
