#include "collector/zweakrefs.h"

#include <stdlib.h>

#include "collector/zalive.h"
#include "collector/zpyabi.h"
#include "heap/base/zos.h"
#include "heap/zold_map.h"

#define SET_SIZE (4 * ZWEAKREFS_MOST)
#define LOOK_EVERY 2000 /* components between two looks at the clock; ... */
#define LOOK_WEIGHT 32  /* ... an object of one that is looked into counts as so many */

/* Where the look at the garbage of a collection has got to. */
static struct {
  uint64_t sequence;
  size_t component, object;
} at;

/* Weak references, each held, whose callbacks wait: those before `next` have been called. */
static struct {
  PyObject **refs;
  size_t next, count, room;
} waiting;

static size_t freed; /* weak references that died with their callback, and have not been taken */

/* -- the component that is looked at ----------------------------------------------------------------------- */

/* Its members, by address: open addressing. */
static struct {
  PyObject *slots[SET_SIZE];
  uint32_t used[ZWEAKREFS_MOST]; /* slots, to be emptied afterwards */
  size_t count;
} *members;

static size_t slot_of(const PyObject *object) {
  size_t i = (size_t)((uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u % SET_SIZE;
  while (members->slots[i] != NULL && members->slots[i] != object) i = (i + 1) % SET_SIZE;
  return i;
}

static bool is_member(const PyObject *object) { return members->slots[slot_of(object)] != NULL; }

static void add_member(PyObject *object) {
  size_t slot = slot_of(object);
  members->slots[slot] = object;
  members->used[members->count++] = (uint32_t)slot;
}

static void forget_members(void) {
  for (size_t i = 0; i < members->count; i++) members->slots[members->used[i]] = NULL;
  members->count = 0;
}

static int count_member(PyObject *reference, void *count) {
  if (is_member(reference)) ++*(int64_t *)count;
  return 0;
}

/* An object that is on its way out, or was never in, ends the look: CPython decides. */
static bool is_whole(PyObject *object) {
  if (!zalive_is_member(object)) return false;
  return zpyabi_refcount(object) != ZPYABI_IMMORTAL && !zpyabi_has_legacy_finalizer(zpyabi_type(object));
}

static bool is_garbage(PyObject *const *objects, size_t count) {
  int64_t held = 0, internal = 0;
  for (size_t i = 0; i < count; i++) held += zpyabi_refcount(objects[i]);
  for (size_t i = 0; i < count && internal <= held; i++) {
    zpyabi_read_type(zpyabi_type(objects[i])).traverse(objects[i], count_member, &internal);
  }
  return internal == held;
}

/* -- its weak references --------------------------------------------------------------------------------------- */

static PyObject **list_of(PyObject *object) {
  Py_ssize_t offset = zpyabi_read_type(zpyabi_type(object)).weaklist_offset;
  return offset == 0 ? NULL : (PyObject **)((char *)object + offset);
}

static bool has_callback(PyObject *ref) { return zpyabi_word(ref, ZPYABI_WEAKREF_CALLBACK) != NULL; }

static bool is_outside(PyObject *ref) { return zpyabi_refcount(ref) > 0 && !is_member(ref); }

/* Weak references from outside of the kind that this version clears after the finalizers. */
static bool has_late_ones(PyObject *object) {
  if (!zpyabi_layout->late_plain_weakrefs) return false;
  PyObject **list = list_of(object);
  PyObject *ref = list == NULL ? NULL : *list;
  for (; ref != NULL; ref = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT)) {
    if (is_outside(ref) && !has_callback(ref)) return true;
  }
  return false;
}

static size_t callbacks_of(PyObject *object) {
  size_t count = 0;
  PyObject **list = list_of(object);
  PyObject *ref = list == NULL ? NULL : *list;
  for (; ref != NULL; ref = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT)) count += is_outside(ref) && has_callback(ref);
  return count;
}

static bool make_room(size_t more) {
  if (waiting.count + more <= waiting.room) return true;
  size_t room = zmax(waiting.room * 2, waiting.count + more);
  PyObject **refs = realloc(waiting.refs, room * sizeof *refs);
  if (refs == NULL) return false;
  waiting.refs = refs;
  waiting.room = room;
  return true;
}

/* _PyWeakref_ClearRef keeps the callback. */
static void clear_refs(PyObject *object) {
  PyObject **list = list_of(object);
  while (list != NULL && *list != NULL) {
    PyObject *ref = *list;
    if (is_outside(ref) && has_callback(ref)) {
      zpy.Py_IncRef(ref);
      waiting.refs[waiting.count++] = ref;
    }
    zpy._PyWeakref_ClearRef(ref);
  }
}

/* Nothing of Python runs in here. */
static void clear_if_garbage(PyObject *const *objects, size_t count) {
  size_t callbacks = 0;
  for (size_t i = 0; i < count; i++) {
    if (has_late_ones(objects[i])) return;
    callbacks += callbacks_of(objects[i]);
  }
  if (!is_garbage(objects, count) || !make_room(callbacks)) return;
  for (size_t i = 0; i < count; i++) clear_refs(objects[i]);
}

static void look_at(PyObject *const *objects, size_t count) {
  for (size_t i = 0; i < count && is_whole(objects[i]); i++) add_member(objects[i]);
  if (members->count == count) clear_if_garbage(objects, count);
  forget_members();
}

/* -- slices ------------------------------------------------------------------------------------------------------ */

static void begin(uint64_t sequence) {
  at.sequence = sequence;
  at.component = at.object = 0;
}

bool zweakrefs_are_cleared(const zcomponents_t *garbage, uint64_t sequence) {
  return at.sequence == sequence && at.component >= garbage->component_count;
}

bool zweakrefs_clear(const zcomponents_t *garbage, uint64_t sequence, uint64_t deadline) {
  if (at.sequence != sequence) begin(sequence);
  if (members == NULL) members = zos_table_map(sizeof *members); /* not malloc: zos.c says why */
  if (members == NULL) at.component = garbage->component_count; /* CPython alone gives the order, batch by batch */
  for (size_t looks = 0; at.component < garbage->component_count; at.component++) {
    size_t size = zcomponents_size(garbage, at.component);
    if (zcomponents_is_observed(garbage, at.component) && size <= ZWEAKREFS_MOST) {
      look_at(garbage->objects + at.object, size);
      looks += size * LOOK_WEIGHT;
    }
    at.object += size;
    if (++looks < LOOK_EVERY) continue;
    looks = 0;
    if (zos_now_ns() < deadline) continue;
    at.component++;
    break;
  }
  return at.component >= garbage->component_count;
}

bool zweakrefs_have_callbacks(void) { return waiting.next < waiting.count; }

static void call(PyObject *ref) {
  PyObject *callback = zpyabi_word(ref, ZPYABI_WEAKREF_CALLBACK);
  if (callback == NULL) return;
  zpy.Py_IncRef(callback);
  PyObject *result = zpy.PyObject_CallFunction(callback, "O", ref);
  if (result == NULL) {
    zpy.PyErr_WriteUnraisable(callback);
  } else {
    zpy.Py_DecRef(result);
  }
  zpy.Py_DecRef(callback);
}

size_t zweakrefs_take_freed(void) {
  size_t taken = freed;
  freed = 0;
  return taken;
}

bool zweakrefs_call(uint64_t deadline) {
  while (zweakrefs_have_callbacks()) {
    PyObject *ref = waiting.refs[waiting.next++];
    call(ref);
    freed += zpyabi_refcount(ref) == 1;
    zpy.Py_DecRef(ref);
    if (waiting.next >= waiting.count) waiting.next = waiting.count = 0;
    if (zos_now_ns() >= deadline) break;
  }
  return !zweakrefs_have_callbacks();
}
