#include "collector/cpython/zpromotion.h"

#include "collector/cpython/zrecent.h"
#include "collector/python/ztype_registry.h"
#include "collector/python/zuntrack.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zallocator.h"
#include "heap/zold_map.h"

#define CLOCK_EVERY 64 /* objects between two looks at the clock */

static PyObject *marker; /* NULL: not started */
/* Tracked objects that cannot be old: met since the last rewind, and of those the ones that stood there
 * already, known once the list has been enumerated to its end. */
static size_t foreign, foreign_before;
static bool is_before_known;
static bool is_frozen_whole; /* all that is frozen had been enumerated */

static zgc_head_t *oldest(void) { return &zgc_state.generations[ZGC_GENERATIONS - 1].head; }

bool zpromotion_start(void) {
  if (zold_map_count > 0) zold_map_clear(); /* of an interpreter that has ended */
  marker = zpy.PyList_New(0);
  if (marker == NULL) {
    zpy.PyErr_Clear();
    return false;
  }
  zpromotion_rewind();
  is_frozen_whole = true;
  return true;
}

void zpromotion_stop(void) {
  if (marker != NULL) zpy.Py_DecRef(marker);
  marker = NULL;
  if (zold_map_count + zold_map_frozen_count > 0) zold_map_clear();
}

void zpromotion_rewind(void) {
  foreign = foreign_before = 0;
  is_before_known = false;
  zgc_list_unlink(zpyabi_head(marker));
  zgc_list_insert_before(zpyabi_head(marker), zgc_head_next(oldest()));
}

bool zpromotion_is_complete(void) {
  return zgc_head_next(zpyabi_head(marker)) == oldest();
}

static void enumerate(PyObject *object) {
  if (zold_map_is_old(object)) {
    zrecent_note(object); /* or another one than the bit was set for: a free list keeps blocks */
    zold_map_thaw_object(object); /* no member of this list is frozen */
    return;
  }
  if (zunlikely(!zold_map_admit(object))) {
    foreign++;
    return;
  }
  if (zuntrack_is_tuple_due(object)) {
    zpy.PyObject_GC_UnTrack(object);
    return;
  }
  if (ztype_of(object) == NULL) return; /* memory is short: the object stays outside the old set */
  zold_map_add(object);
  zrecent_note(object);
  zstat_add(promoted, 1);
}

size_t zpromotion_slice(uint64_t deadline, size_t least) {
  zgc_head_t *own = zpyabi_head(marker), *end = oldest();
  zgc_head_t *at = zgc_head_next(own);
  size_t count = 0;
  while (at != end) {
    zgc_head_t *next = zgc_head_next(at);
    __builtin_prefetch(next);
    enumerate(zpyabi_object(at));
    at = next;
    if (++count % CLOCK_EVERY == 0 && count >= least && zos_now_ns() > deadline) break;
  }
  if (count > 0) {
    zgc_list_unlink(own);
    zgc_list_insert_before(own, at);
    zstat_set(old_objects, zold_map_count);
  }
  if (at == end && !is_before_known) {
    foreign_before = foreign;
    is_before_known = true;
  }
  return count;
}

size_t zpromotion_foreign(void) { return foreign; }
size_t zpromotion_foreign_before(void) { return is_before_known ? foreign_before : foreign; }

/* -- gc.freeze ----------------------------------------------------------------------------------- */

#define BEFORE_FREEZE_NS 500000u
#define BEFORE_FREEZE_TRIES 7 /* the last one takes 32 ms, 600,000 objects or more */

static zgc_head_t *list_of(int generation) { return &zgc_state.generations[generation].head; }

/* Objects that are young or not enumerated are enumerated first, within reason: else all is gone through again later.
 * A program that freezes and unfreezes in a loop would have that each time, so more time is taken each time, until it
 * is done once. */
static void enumerate_before_freeze(void) {
  static unsigned in_vain;
  for (int i = 0; i < ZGC_GENERATIONS - 1; i++) zgc_list_splice(list_of(i), oldest());
  zpromotion_slice(zos_now_ns() + ((uint64_t)BEFORE_FREEZE_NS << in_vain % BEFORE_FREEZE_TRIES), 0);
  if (zpromotion_is_complete()) {
    in_vain = 0;
  } else if (in_vain < BEFORE_FREEZE_TRIES) {
    in_vain++; /* at the end it is as the first time, for good */
  }
}

void zpromotion_before_freeze(bool is_ours) {
  if (marker == NULL) return;
  if (is_ours) enumerate_before_freeze();
  bool is_whole = is_ours && zpromotion_is_complete() && foreign == 0;
  is_frozen_whole = is_whole && (is_frozen_whole || zgc_list_is_empty(zgc_state.permanent));
}

/* The registry must be notified when one of its classes dies, also of a class that is not enumerated again yet. */
static void keep_class(const ztype_t *entry, void *unused) {
  (void)unused;
  if (zold_map_admit(entry->type)) zold_map_add(entry->type);
}

void zpromotion_after_freeze(void) {
  if (marker == NULL) return;
  if (!zold_map_freeze()) {
    zold_map_clear();
    ztype_each(keep_class, NULL);
    is_frozen_whole = false;
  }
  zstat_set(old_objects, zold_map_count);
  zpromotion_rewind();
}

static zgc_head_t *last_before; /* unfreezing: of the oldest list */

void zpromotion_before_unfreeze(void) {
  if (marker != NULL) last_before = zgc_head_prev(oldest());
}

/* Those that are behind `last_before` now go before the marker. */
static void move_unfrozen(void) {
  zgc_head_t *list = oldest(), *first = zgc_head_next(last_before);
  zgc_head_t known = {(uintptr_t)&known, (uintptr_t)&known}, rest = {(uintptr_t)&rest, (uintptr_t)&rest};
  if (first == list) return;
  zgc_list_splice_until(list, zpyabi_head(marker), &known);
  zgc_list_splice_until(list, first, &rest);
  zgc_list_splice(list, &known);
  zgc_list_splice(&known, list);
  zgc_list_splice(&rest, list);
}

void zpromotion_after_unfreeze(bool is_ours) {
  if (marker == NULL) return;
  if (is_ours && is_frozen_whole && zold_map_frozen_words > 0) move_unfrozen();
  zold_map_thaw();
  is_frozen_whole = true;
  zstat_set(old_objects, zold_map_count);
}
