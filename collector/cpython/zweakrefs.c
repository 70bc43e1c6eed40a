#include "collector/cpython/zweakrefs.h"

#include <string.h>

#include "collector/cpython/zalive.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zrecent.h"
#include "collector/cpython/zseen.h"
#include "collector/cpython/zwaits.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/zold_map.h"

#define WAITS_MOST 2
#define LEFT_MIN 20000 /* objects: 2 MB */
#define LEFT_SHARE 16 /* of what is old may wait, where the last collection has left something, too */
#define QUEUE_MIN 4096 /* objects of a component, of which most are smaller */
#define UNSEEN_MOST 4 /* then the next collections are not prepared for what is seen */
#define LOOK_EVERY 2000 /* components between two looks at the clock; ... */
#define LOOK_WEIGHT 32  /* ... an object of one that is looked into counts as so many */

/* Where the look at the garbage of a collection has got to, and what of it is kept so far. */
static struct {
  uint64_t sequence;
  size_t component, object;
  size_t kept_components, kept_objects;
  size_t overdue; /* objects that would have waited once more */
  bool is_ordered; /* what is seen of it */
} at = {.sequence = UINT64_MAX};

static bool is_complete; /* the collection began when no object was young */
static bool is_sharp;    /* it tells what was garbage when it began from what was not */
static unsigned unseen;  /* collections in a row that have found garbage, none of it seen */
static size_t left; /* objects that wait, since the last collection that has looked at all of its garbage */

static bool is_plain; /* weak references without a callback, from outside, are left: see 3. in zweakrefs.h */

/* -- the component that is looked at ----------------------------------------------------------------------- */

/* A bit for each unit of the old map, as far as that goes when the look begins. */
typedef struct {
  uint64_t *bits;
  size_t words;
} set_t;

static set_t members, in_use;

static void free_set(set_t *set) {
  if (set->bits != NULL) zos_table_unmap(set->bits, set->words * sizeof *set->bits);
  memset(set, 0, sizeof *set);
}

static bool map_set(set_t *set) {
  free_set(set); /* of a collection that was given up */
  set->words = zgranules_range.committed_end >> ZOLD_UNIT_SHIFT >> 6;
  set->bits = zos_table_map(set->words * sizeof *set->bits); /* not malloc: zos.c says why */
  return set->bits != NULL;
}

static void free_sets(void) {
  free_set(&members);
  free_set(&in_use);
}

/* Both, or none. */
static bool map_sets(void) {
  if (map_set(&members) && map_set(&in_use)) return true;
  free_sets();
  return false;
}

/* Of any address. */
static bool is_in(const set_t *set, const PyObject *object) {
  size_t unit = zold_map_unit(object);
  if (((uintptr_t)object & 15) != 0 || unit / 64 >= set->words) return false;
  return set->bits[unit / 64] >> (unit % 64) & 1;
}

static void put_in(set_t *set, const PyObject *object) {
  size_t unit = zold_map_unit(object);
  set->bits[unit / 64] |= (uint64_t)1 << (unit % 64);
}

static void take_out(set_t *set, PyObject *const *objects, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t unit = zold_map_unit(objects[i]);
    set->bits[unit / 64] &= ~((uint64_t)1 << (unit % 64));
  }
}

/* All of them are members, or one is not what it was when it was found. */
static bool add_members(PyObject *const *objects, size_t count) {
  size_t added = 0;
  for (size_t i = 0; i < count; i++) {
    if (!zalive_is_member(objects[i])) continue;
    put_in(&members, objects[i]);
    added++;
  }
  return added == count;
}

static int count_member(PyObject *reference, void *count) {
  if (is_in(&members, reference)) ++*(int64_t *)count;
  return 0;
}

/* `ours` of the references to them are held here. CPython decides about what it would never reclaim. */
static bool is_garbage(PyObject *const *objects, size_t count, int64_t ours) {
  int64_t held = -ours, internal = 0;
  for (size_t i = 0; i < count; i++) {
    int64_t refcount = zpyabi_refcount(objects[i]);
    if (refcount == ZPYABI_IMMORTAL || zpyabi_has_legacy_finalizer(zpyabi_type(objects[i]))) return false;
    held += refcount;
  }
  for (size_t i = 0; i < count && internal <= held; i++) {
    zpyabi_traverse(zpyabi_type(objects[i]))(objects[i], count_member, &internal);
  }
  return internal == held;
}

/* -- its weak references --------------------------------------------------------------------------------------- */

static PyObject **list_of(PyObject *object) {
  Py_ssize_t offset = zpyabi_read_type(zpyabi_type(object)).weaklist_offset;
  return offset == 0 ? NULL : (PyObject **)((char *)object + offset);
}

static bool has_callback(PyObject *ref) { return zpyabi_word(ref, ZPYABI_WEAKREF_CALLBACK) != NULL; }

static bool is_outside(PyObject *ref) { return zpyabi_refcount(ref) > 0 && !is_in(&members, ref); }

static size_t callbacks_of(PyObject *object) {
  size_t count = 0;
  PyObject **list = list_of(object);
  PyObject *ref = list == NULL ? NULL : *list;
  for (; ref != NULL; ref = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT)) count += is_outside(ref) && has_callback(ref);
  return count;
}

/* _PyWeakref_ClearRef keeps the callback, and takes the weak reference out of the list. */
static void clear_refs(PyObject *object) {
  PyObject **list = list_of(object), *next;
  for (PyObject *ref = list == NULL ? NULL : *list; ref != NULL; ref = next) {
    next = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT);
    bool is_late = !has_callback(ref) && zpyabi_layout->late_plain_weakrefs;
    is_plain |= is_late && is_outside(ref);
    if (is_outside(ref) && has_callback(ref)) zseen_add_ref(ref);
    if (!is_late) zpy._PyWeakref_ClearRef(ref);
  }
}

/* -- what becomes of it ---------------------------------------------------------------------------------------- */

typedef struct {
  size_t seen;    /* members */
  unsigned waits; /* the most of one of those */
} summary_t;

static bool is_called(PyObject *object) {
  return zpyabi_has_finalizer(zpyabi_type(object)) || callbacks_of(object) > 0;
}

/* Callbacks and finalizers can still use late ones. */
static bool has_late_refs(PyObject *object) {
  PyObject **list = zpyabi_layout->late_plain_weakrefs ? list_of(object) : NULL;
  PyObject *ref = list == NULL ? NULL : *list;
  while (ref != NULL && !is_outside(ref)) ref = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT);
  return ref != NULL;
}

static bool is_seen(PyObject *object) { return is_called(object) || has_late_refs(object); }

static summary_t summarize(PyObject *const *objects, size_t count) {
  summary_t sum = {0};
  for (size_t i = 0; i < count; i++) {
    if (!is_in(&members, objects[i])) continue;
    if (!is_seen(objects[i])) continue;
    sum.seen++;
    sum.waits = (unsigned)zmax(sum.waits, zwaits_of(objects[i]));
  }
  return sum;
}

/* False when memory is short. */
static bool leave(PyObject *const *objects, size_t count, unsigned waits) {
  for (size_t i = 0; i < count; i++) {
    if (is_in(&members, objects[i]) && is_seen(objects[i]) && !zwaits_add(objects[i], waits)) return false;
  }
  return true;
}

static bool was_in_use(PyObject *object, uint8_t at_start) {
  return at_start != zpass_print(zpyabi_refcount(object)) || zrecent_has(object);
}

/* Of the component, what was in use when the collection began, and what that refers to. */
static struct {
  PyObject **queue;
  size_t count, room; /* of a memory map, which is kept until the look is over */
} used;

static void free_queue(void) {
  if (used.queue != NULL) zos_table_unmap(used.queue, used.room * sizeof *used.queue);
  memset(&used, 0, sizeof used);
}

static bool has_queue(size_t size) {
  used.count = 0;
  if (size <= used.room) return true;
  size_t room = zmax(size, QUEUE_MIN);
  free_queue();
  used.queue = zos_table_map(room * sizeof *used.queue);
  if (used.queue != NULL) used.room = room;
  return used.queue != NULL;
}

static int add_used(PyObject *reference, void *unused) {
  (void)unused;
  if (!is_in(&members, reference) || is_in(&in_use, reference)) return 0;
  put_in(&in_use, reference);
  used.queue[used.count++] = reference;
  return 0;
}

/* Moves them to the end; returns how many are left at the beginning. */
static size_t divide(PyObject **objects, size_t count) {
  for (size_t i = 0; i < used.count; i++) {
    zpyabi_traverse(zpyabi_type(used.queue[i]))(used.queue[i], add_used, NULL);
  }
  size_t left_there = 0, moved = 0;
  for (size_t i = 0; i < count; i++) {
    if (is_in(&in_use, objects[i])) {
      used.queue[moved++] = objects[i];
    } else {
      objects[left_there++] = objects[i];
    }
  }
  memcpy(objects + left_there, used.queue, moved * sizeof *objects);
  take_out(&in_use, objects + left_there, moved);
  return left_there;
}

/* A component that is garbage: how many of its objects, which are moved to its beginning, were garbage before the
 * collection began. */
static size_t dead_at_start(PyObject **objects, const uint8_t *at_start, size_t count) {
  size_t changed = 0;
  for (size_t i = 0; i < count; i++) changed += was_in_use(objects[i], at_start[i]);
  if (changed == 0 || changed == count) return count - changed;
  if (!has_queue(count)) return 0;
  for (size_t i = 0; i < count; i++) {
    if (was_in_use(objects[i], at_start[i])) add_used(objects[i], NULL);
  }
  return divide(objects, count);
}

/* Where memory is short, its callbacks and finalizer are called by CPython with its batch. */
static void clear(PyObject *object) {
  bool is_class = (zpyabi_flags(zpyabi_type(object)) & ZPYABI_FLAG_TYPE_SUBCLASS) != 0;
  if (is_class && !zseen_add_class(object)) return;
  if (!is_called(object)) {
    clear_refs(object);
  } else if (zseen_reserve(callbacks_of(object))) {
    zseen_add(object);
    clear_refs(object);
  }
}

/* A program in which seen objects become garbage all the time has some of them at any time. */
static bool is_too_much(size_t more) {
  return left > 0 && at.object - at.kept_objects + more > zmax(zold_map_count / LEFT_SHARE, LEFT_MIN);
}

/* How many objects are fed, the first ones; the others wait. Nothing of Python runs in here. */
static size_t decide(PyObject **objects, const uint8_t *at_start, size_t count, bool is_whole) {
  summary_t sum = summarize(objects, count);
  bool is_dead = is_whole && is_garbage(objects, count, 0);
  size_t fed = count;
  if (sum.seen > 0) unseen = 0;
  if (sum.seen > 0) fed = is_dead && is_sharp ? dead_at_start(objects, at_start, count) : 0;
  if (fed < count && (sum.waits >= WAITS_MOST || is_too_much(count - fed))) {
    at.overdue += count - fed;
    fed = count;
  }
  if (!leave(objects + fed, count - fed, sum.waits + 1)) fed = count;
  for (size_t i = 0; is_dead && i < fed; i++) clear(objects[i]);
  return fed;
}

static size_t look_into(PyObject **objects, const uint8_t *at_start, size_t count) {
  bool is_whole = add_members(objects, count);
  size_t fed = decide(objects, at_start, count, is_whole);
  take_out(&members, objects, count);
  return fed;
}

/* -- slices ------------------------------------------------------------------------------------------------------ */

static void begin(const zcomponents_t *garbage, uint64_t sequence) {
  memset(&at, 0, sizeof at);
  is_sharp = is_complete && (!garbage->is_blurred || left > 0);
  at.sequence = sequence;
  if (garbage->object_count > 0) unseen++;
  zwaits_drop(); /* of a collection that was given up */
  zseen_drop();
  is_plain = false;
  if (map_sets()) return;
  /* CPython alone gives the order, batch by batch. */
  at.component = at.kept_components = garbage->component_count;
  at.object = at.kept_objects = garbage->object_count;
  left = 0; /* all is fed */
}

/* The one that is next. */
static bool must_look_into(const zcomponents_t *garbage) {
  return (zcomponents_flags(garbage, at.component) & (ZCOMPONENTS_OBSERVED | ZCOMPONENTS_FINAL)) != 0;
}

static void keep(zcomponents_t *garbage, size_t count) {
  PyObject **to = garbage->objects + at.kept_objects, **from = garbage->objects + at.object;
  if (to != from) memmove(to, from, count * sizeof *to);
  garbage->sizes[at.kept_components++] = (uint32_t)count | zcomponents_flags(garbage, at.component);
  at.kept_objects += count;
}

static void end(zcomponents_t *garbage) {
  free_sets();
  free_queue();
  zrecent_end();
  zwaits_turn();
  left = at.object - at.kept_objects;
  if (left + at.overdue > 0) {
    zlog_info("gc,phases", "GC(%llu) left %zu objects to the next collection, overdue %zu, began %s",
              (unsigned long long)at.sequence, left, at.overdue,
              is_sharp ? "at a moment" : is_complete ? "in a blur" : "without the young");
  }
  garbage->object_count = at.kept_objects;
  garbage->component_count = at.kept_components;
}

bool zweakrefs_are_cleared(const zcomponents_t *garbage, uint64_t sequence) {
  return at.sequence == sequence && at.component >= garbage->component_count && at.is_ordered;
}

bool zweakrefs_want_all_old(void) { return unseen < UNSEEN_MOST; }

void zweakrefs_begin(bool all_is_old) {
  is_complete = all_is_old;
  zrecent_end();
  if (all_is_old) zrecent_begin();
}

size_t zweakrefs_waiting(void) { return left; }

void zweakrefs_forget_waiting(void) {
  left = 0;
  zwaits_clear();
}

static bool look_at_all(zcomponents_t *garbage, uint64_t deadline) {
  for (size_t looks = 0; at.component < garbage->component_count;) {
    size_t size = zcomponents_size(garbage, at.component), fed = size;
    bool is_looked_into = must_look_into(garbage);
    if (is_looked_into) fed = look_into(garbage->objects + at.object, garbage->at_start + at.object, size);
    if (fed > 0) keep(garbage, fed);
    at.component++;
    at.object += size;
    looks += is_looked_into ? size * LOOK_WEIGHT : 1;
    if (looks < LOOK_EVERY) continue;
    looks = 0;
    if (zos_now_ns() >= deadline) break;
  }
  if (at.component < garbage->component_count) return false;
  end(garbage);
  return true;
}

bool zweakrefs_clear(zcomponents_t *garbage, uint64_t sequence, uint64_t deadline) {
  if (zweakrefs_are_cleared(garbage, sequence)) return true;
  if (at.sequence != sequence) begin(garbage, sequence);
  if (at.component < garbage->component_count && !look_at_all(garbage, deadline)) return false;
  at.is_ordered = zseen_order(deadline);
  return at.is_ordered;
}

/* -- what is left of the garbage, once more -------------------------------------------------------- */

#define ANY 0 /* flags */

typedef void (*verdict_t)(PyObject *const *objects, size_t count, bool is_dead);

static int64_t held_in(PyObject *const *objects, size_t count) {
  int64_t held = 0;
  for (size_t i = 0; i < count; i++) held += is_in(&in_use, objects[i]);
  return held;
}

/* Judges what is left of the garbage once more, those components that have one of `flags`; the references that zseen
 * holds do not count. */
static void judge(uint32_t flags, verdict_t take) {
  const zcomponents_t *garbage = zdriver_garbage();
  PyObject **objects = garbage->objects + garbage->next_object;
  for (size_t i = garbage->next_component; i < garbage->component_count; i++) {
    size_t count = zcomponents_size(garbage, i);
    if (flags == ANY || (zcomponents_flags(garbage, i) & flags) != 0) {
      bool is_whole = add_members(objects, count);
      take(objects, count, is_whole && is_garbage(objects, count, held_in(objects, count)));
      take_out(&members, objects, count);
    }
    objects += count;
  }
}

static void note_held(PyObject *object) { put_in(&in_use, object); }
static bool is_held(const PyObject *object) { return is_in(&in_use, object); }

static void forget_living(PyObject *const *objects, size_t count, bool is_dead) {
  if (!is_dead) take_out(&in_use, objects, count);
}

static void clear_plain(PyObject *const *objects, size_t count, bool is_dead) {
  for (size_t i = 0; i < count && is_dead; i++) {
    PyObject **list = list_of(objects[i]), *next;
    for (PyObject *ref = list == NULL ? NULL : *list; ref != NULL; ref = next) {
      next = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT);
      if (!has_callback(ref)) zpy._PyWeakref_ClearRef(ref);
    }
  }
}

/* Nothing of the program's runs in here but finalizers. */
static void finalize_at_once(void) {
  if (!map_sets()) {
    zseen_drop(); /* CPython alone gives the order, batch by batch */
    return;
  }
  zseen_each(note_held);
  judge(ZCOMPONENTS_OBSERVED, forget_living);
  zseen_keep(is_held);
  zseen_finalize(UINT64_MAX);
  if (map_sets()) judge(ZCOMPONENTS_OBSERVED, clear_plain);
  free_sets();
}

static zgc_head_t *aside;

/* What is being finalized is held by its finalizer, and garbage all the same. */
static void set_aside(PyObject *const *objects, size_t count, bool is_dead) {
  for (size_t i = 0; i < count && !is_dead; i++) is_dead = zseen_is_current(objects[i]);
  for (size_t i = 0; i < count && is_dead; i++) {
    if (!is_in(&members, objects[i])) continue;
    zgc_list_move(zpyabi_head(objects[i]), aside);
  }
}

void zweakrefs_hide(zgc_head_t *list) {
  if (!map_sets()) return;
  aside = list;
  zseen_each(note_held);
  judge(ANY, set_aside);
  free_sets();
}

bool zweakrefs_finish(uint64_t deadline) {
  if (!zseen_call(deadline)) return false;
  if (!is_plain || zseen_finalizers() == 0) return zseen_finalize(deadline);
  finalize_at_once();
  return true;
}

bool zweakrefs_are_finished(void) { return !zseen_has_callbacks() && !zseen_has_objects(); }

void zweakrefs_give_up(void) { zseen_drop(); }
