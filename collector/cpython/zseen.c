#include "collector/cpython/zseen.h"

#include <stdlib.h>
#include <string.h>

#include "heap/base/zos.h"

#define ROOM_FIRST 64
#define NEAR 32          /* members of the list between two noted objects that still count as near */
#define SLOTS_EACH 4     /* at least; few collide then */
#define LOOK_EVERY 32    /* objects placed between two looks at the clock */
#define FINALIZE_EVERY 8 /* the same: finalized */
#define NONE UINT32_MAX

typedef struct {
  PyObject *object;
  uint32_t first_ref, ref_count;
  bool is_placed;
} seen_t;

/* What has been noted and is not in order yet. */
static struct {
  seen_t *objects;
  PyObject **refs;
  uint32_t *order; /* numbers of objects; as far as they are placed */
  uint32_t *slots; /* number + 1 by address: open addressing */
  size_t count, room, order_room, ref_count, ref_room, slot_count;
  size_t placed, next;
  uint32_t at;     /* the walk: an object, or NONE */
  bool is_forward; /* the walk has found the first one of its run */
} noted = {.at = NONE};

/* A queue of objects, each held: those before `next` have had their turn. */
typedef struct {
  PyObject **objects;
  size_t next, count, room;
} queue_t;

static queue_t callbacks; /* weak references */
static queue_t objects;   /* NULL: not any more */
static PyObject *current;       /* object, while it is finalized */
static size_t finalizer_count; /* of the objects, when they were queued */

static queue_t classes;
static size_t freed; /* weak references that died with their callback, and have not been taken */

static bool grow(void **table, size_t *room, size_t wanted, size_t size) {
  if (wanted <= *room) return true;
  size_t larger = zmax(zmax(*room * 2, wanted), (size_t)ROOM_FIRST);
  void *new = realloc(*table, larger * size);
  if (new == NULL) return false;
  *table = new;
  *room = larger;
  return true;
}

/* What would fail later is made sure of now. */
bool zseen_reserve(size_t refs) {
  if (noted.count + 1 >= NONE || noted.ref_count + refs >= NONE) return false;
  return grow((void **)&noted.objects, &noted.room, noted.count + 1, sizeof *noted.objects) &&
         grow((void **)&noted.order, &noted.order_room, noted.room, sizeof *noted.order) &&
         grow((void **)&noted.refs, &noted.ref_room, noted.ref_count + refs, sizeof *noted.refs) &&
         grow((void **)&callbacks.objects, &callbacks.room, callbacks.count + noted.ref_count + refs,
              sizeof *callbacks.objects) &&
         grow((void **)&objects.objects, &objects.room, objects.count + noted.count + 1, sizeof *objects.objects);
}

void zseen_add(PyObject *object) {
  zpy.Py_IncRef(object);
  noted.objects[noted.count++] = (seen_t){.object = object, .first_ref = (uint32_t)noted.ref_count};
}

void zseen_add_ref(PyObject *ref) {
  zpy.Py_IncRef(ref);
  noted.refs[noted.ref_count++] = ref;
  noted.objects[noted.count - 1].ref_count++;
}

bool zseen_add_class(PyObject *class) {
  if (!grow((void **)&classes.objects, &classes.room, classes.count + 1, sizeof *classes.objects)) return false;
  zpy.Py_IncRef(class);
  classes.objects[classes.count++] = class;
  return true;
}

/* -- order ------------------------------------------------------------------------------------------------------ */

/* Neighbours in memory are neighbours in the table: the list mostly leads from one to the next. */
static size_t slot_of(const PyObject *object) {
  size_t i = (uintptr_t)object >> 4 & (noted.slot_count - 1);
  while (noted.slots[i] != 0 && noted.objects[noted.slots[i] - 1].object != object) {
    i = (i + 1) & (noted.slot_count - 1);
  }
  return i;
}

/* False when memory is short. */
static bool make_slots(void) {
  size_t count = ROOM_FIRST;
  while (count < noted.count * SLOTS_EACH) count *= 2;
  noted.slots = zos_table_map(count * sizeof *noted.slots);
  if (noted.slots == NULL) return false;
  noted.slot_count = count;
  for (size_t i = 0; i < noted.count; i++) noted.slots[slot_of(noted.objects[i].object)] = (uint32_t)i + 1;
  return true;
}

static uint32_t number_of(const PyObject *object) {
  uint32_t slot = noted.slots[slot_of(object)];
  return slot == 0 || noted.objects[slot - 1].is_placed ? NONE : slot - 1;
}

static bool is_list(const zgc_head_t *head) {
  return head == zgc_state.permanent || (head >= &zgc_state.generations[0].head &&
                                         head <= &zgc_state.generations[ZGC_GENERATIONS - 1].head);
}

/* The next object near to this one that is noted and not placed, or NONE. */
static uint32_t near_to(uint32_t number, zgc_head_t *(*step)(const zgc_head_t *)) {
  zgc_head_t *at = zpyabi_head(noted.objects[number].object);
  for (unsigned i = 0; i <= NEAR; i++) {
    at = step(at);
    if (at == NULL || is_list(at)) return NONE; /* NULL: it is not tracked any more */
    uint32_t found = number_of(zpyabi_object(at));
    if (found != NONE) return found;
  }
  return NONE;
}

static void place(uint32_t number) {
  noted.objects[number].is_placed = true;
  noted.order[noted.placed++] = number;
}

/* One step of the walk: back to the first one of a run, and then forward. `back` bounds the way back, should the
 * program have moved objects meanwhile. */
static void walk(void) {
  static size_t back;
  if (noted.at == NONE) {
    while (noted.objects[noted.next].is_placed) noted.next++;
    noted.at = (uint32_t)noted.next;
    noted.is_forward = false;
    back = 0;
  }
  if (!noted.is_forward) {
    uint32_t before = back++ < noted.count ? near_to(noted.at, zgc_head_prev) : NONE;
    noted.is_forward = before == NONE;
    if (before != NONE) noted.at = before;
    return;
  }
  place(noted.at);
  noted.at = near_to(noted.at, zgc_head_next);
}

static bool is_final(PyObject *object) {
  return zpyabi_has_finalizer(zpyabi_type(object)) && !zpyabi_is_finalized(object);
}

/* Their turn comes in this order. */
static void queue(const seen_t *seen) {
  for (uint32_t i = 0; i < seen->ref_count; i++) {
    callbacks.objects[callbacks.count++] = noted.refs[seen->first_ref + i];
  }
  objects.objects[objects.count++] = seen->object;
  finalizer_count += is_final(seen->object);
}

static void free_noted(void) {
  if (noted.slots != NULL) zos_table_unmap(noted.slots, noted.slot_count * sizeof *noted.slots);
  free(noted.objects);
  free(noted.refs);
  free(noted.order);
  memset(&noted, 0, sizeof noted);
  noted.at = NONE;
}

/* Those that are not placed follow the others. */
static void queue_all(void) {
  for (size_t i = 0; i < noted.placed; i++) queue(&noted.objects[noted.order[i]]);
  for (size_t i = 0; i < noted.count; i++) {
    if (!noted.objects[i].is_placed) queue(&noted.objects[i]);
  }
  free_noted();
}

bool zseen_order(uint64_t deadline) {
  if (noted.count == 0) return true;
  bool has_slots = noted.slots != NULL || make_slots();
  for (size_t steps = 0; has_slots && noted.placed < noted.count;) {
    walk();
    if (++steps % LOOK_EVERY == 0 && zos_now_ns() >= deadline) return false;
  }
  queue_all();
  return true;
}

/* -- callbacks -------------------------------------------------------------------------------------------------- */

bool zseen_has_callbacks(void) { return callbacks.next < callbacks.count; }

/* Its next object, which is the caller's now. */
static PyObject *take(queue_t *q) {
  PyObject *object = q->objects[q->next++];
  if (q->next >= q->count) q->next = q->count = 0;
  return object;
}

static void call(PyObject *ref) {
  PyObject *callback = zpyabi_word(ref, ZPYABI_WEAKREF_CALLBACK);
  if (callback == NULL) return;
  zpy.Py_IncRef(callback);
  PyObject *result = zpy.PyObject_CallFunction(callback, "O", ref);
  if (result == NULL) {
    zpyabi_report("Exception ignored on calling weakref callback %R", callback);
  } else {
    zpy.Py_DecRef(result);
  }
  zpy.Py_DecRef(callback);
}

bool zseen_call(uint64_t deadline) {
  while (zseen_has_callbacks()) {
    PyObject *ref = take(&callbacks);
    call(ref);
    freed += zpyabi_refcount(ref) == 1;
    zpy.Py_DecRef(ref);
    if (zos_now_ns() >= deadline) break;
  }
  return !zseen_has_callbacks();
}

size_t zseen_take_freed(void) {
  size_t taken = freed;
  freed = 0;
  return taken;
}

/* -- finalizers ------------------------------------------------------------------------------------------------- */

static void empty_caches(void) {
  for (size_t i = classes.next; i < classes.count; i++) zpy.PyType_Modified(classes.objects[i]); /* the held ones */
}

static void release_classes(void) {
  empty_caches();
  while (classes.next < classes.count) zpy.Py_DecRef(take(&classes));
}

bool zseen_has_objects(void) { return objects.next < objects.count; }
size_t zseen_finalizers(void) { return zseen_has_objects() ? finalizer_count : 0; }

bool zseen_finalize(uint64_t deadline) {
  empty_caches();
  for (size_t i = 1; zseen_has_objects(); i++) {
    PyObject *object = take(&objects);
    if (object == NULL) continue;
    current = object;
    if (zpyabi_is_tracked(object) && is_final(object)) zpyabi_finalize(object);
    current = NULL;
    zpy.Py_DecRef(object);
    if (i % FINALIZE_EVERY == 0 && zos_now_ns() >= deadline) break;
  }
  if (zseen_has_objects()) return false;
  finalizer_count = 0;
  release_classes();
  return true;
}

bool zseen_is_current(const PyObject *object) { return object == current; }

void zseen_each(void (*visit)(PyObject *object)) {
  for (size_t i = objects.next; i < objects.count; i++) {
    if (objects.objects[i] != NULL) visit(objects.objects[i]);
  }
}

void zseen_keep(bool (*wants)(const PyObject *object)) {
  for (size_t i = objects.next; i < objects.count; i++) {
    PyObject *object = objects.objects[i];
    if (object == NULL || wants(object)) continue;
    objects.objects[i] = NULL;
    zpy.Py_DecRef(object);
  }
}

void zseen_drop(void) {
  queue_all();
  while (zseen_has_objects()) {
    PyObject *object = take(&objects);
    if (object != NULL) zpy.Py_DecRef(object);
  }
  finalizer_count = 0;
  release_classes();
}
