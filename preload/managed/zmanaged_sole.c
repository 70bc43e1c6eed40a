#include "preload/managed/zmanaged_sole.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS_MAX 1024
#define LET_GO_MAX ((uint64_t)1 << 20)
#define DEPTH_MOST 8 /* a finalizer finds that what it lets go has gone, as it does with objects of Python's */

/* ---- slots --------------------------------------------------------------------------------------- */

typedef bool (*look_t)(uint64_t *slot, void *context); /* false: enough */

typedef struct {
  look_t look;
  void *context;
  uint64_t most; /* slots of a body that is looked at */
  bool is_storage, is_done;
} look_at_t;

/* A slot that leads to no other body. Most slots hold nothing of Python's. */
static zalways_inline void look_at_leaf(uint64_t *slot, void *argument) {
  look_at_t *at = argument;
  zcolored_t word = {zload_acquire(slot)};
  if (zcolored_kind(word) == ZKIND_PYTHON && !at->is_done) at->is_done = !at->look(slot, at->context);
}

/* The slots of a list or a dict lie in bodies without a class, which its own slots refer to. */
static zalways_inline void look_into(zaddress_t storage, look_at_t *at) {
  const zshape_t *shape = zbody_shape(storage);
  uint64_t steps = zbody_slot_steps(storage, shape);
  if (steps <= at->most) zbody_visit_slots(storage, shape, 0, steps, look_at_leaf, at);
}

static zalways_inline void look_at(uint64_t *slot, void *argument) {
  look_at_t *at = argument;
  zcolored_t word = {zload_acquire(slot)};
  if (at->is_storage && zcolored_is_body(word)) {
    zaddress_t part = zcolored_strip(zbarrier_load(zslot(slot)));
    if (zbody_shape(part)->owner == NULL) look_into(part, at);
  } else {
    look_at_leaf(slot, argument);
  }
}

static bool has_storage(const zshape_t *shape) { return shape->use == ZFAMILY_LIST || shape->use == ZFAMILY_DICT; }

/* Inline so that what looks is too. */
static zalways_inline void look_through(zhandle_entry_t *entry, uint64_t most, look_t look, void *context) {
  zaddress_t body = zbarrier_load_entry(zslot(&entry->word));
  const zshape_t *shape = zbody_shape(body);
  uint64_t steps = zbody_slot_steps(body, shape);
  if (steps > most) return;
  look_at_t at = {look, context, most, has_storage(shape), false};
  zbody_visit_slots(body, shape, 0, steps, look_at, &at);
}

static PyObject *held_by(const uint64_t *slot) {
  zcolored_t word = {zload_relaxed(slot)};
  return (PyObject *)zpyref_table.entries[zcolored_payload(word)].object; /* NULL: released early */
}

/* ---- life ---------------------------------------------------------------------------------------- */

void zmanaged_sole_begin_storage(PyObject *handle) {
  zhandle_entry_t *entry = ((zhandle_t *)handle)->entry;
  zstore_relaxed(&entry->object, entry->object | ZHANDLE_HOLDS);
  zma.PyObject_GC_Track(handle);
}

void zmanaged_sole_end(zhandle_entry_t *entry) {
  PyObject *handle = zhandle_object(entry);
  zstore_relaxed(&entry->object, entry->object & ~(ZHANDLE_SOLE | ZHANDLE_HOLDS));
  if (zpyabi_is_tracked(handle)) zmanaged_handle_untrack(handle);
}

/* The entry of the handle that alone refers to `holder`, or NULL. */
static zhandle_entry_t *sole_holder(zaddress_t holder) {
  uint32_t id = zload_relaxed(&zbody_header(holder)->handle);
  if (id >= zhandle_table.top) return NULL; /* a hash */
  zhandle_entry_t *entry = &zhandle_table.entries[id];
  if (!zmanaged_is_sole(entry) || zbarrier_load_entry(zslot(&entry->word)).value != holder.value) return NULL;
  return entry;
}

void zmanaged_sole_note_slow(zaddress_t holder, PyObject *value) {
  zhandle_entry_t *entry = sole_holder(holder);
  if (entry == NULL) return;
  bool may_be_in_cycle = (zpy.PyType_GetFlags(value->type) & ZPYABI_FLAG_HAVE_GC) != 0;
  zstore_relaxed(&entry->object, entry->object | ZHANDLE_HOLDS);
  PyObject *handle = zhandle_object(entry);
  if (may_be_in_cycle && !zpyabi_is_tracked(handle)) zma.PyObject_GC_Track(handle);
}

/* ---- visiting ------------------------------------------------------------------------------------ */

typedef struct {
  zpy_visit_t visit;
  void *argument;
  int result;
} traversal_t;

static bool visit_slot(uint64_t *slot, void *context) {
  traversal_t *traversal = context;
  PyObject *object = held_by(slot);
  traversal->result = object == NULL ? 0 : traversal->visit(object, traversal->argument);
  return traversal->result == 0;
}

int zmanaged_sole_traverse(PyObject *handle, zpy_visit_t visit, void *argument) {
  zhandle_entry_t *entry = ((zhandle_t *)handle)->entry;
  if (entry == NULL || (entry->object & ZHANDLE_HOLDS) == 0) return 0;
  traversal_t traversal = {visit, argument, 0};
  look_through(entry, SLOTS_MAX, visit_slot, &traversal);
  return traversal.result;
}

typedef struct {
  uint64_t *bits;
  size_t count;
} marks_t;

static bool mark_slot(uint64_t *slot, void *context) {
  const marks_t *marks = context;
  uint64_t index = zcolored_payload((zcolored_t){zload_relaxed(slot)});
  if (index < marks->count) marks->bits[index / 64] |= (uint64_t)1 << index % 64;
  return true;
}

void zmanaged_sole_mark_references(uint64_t *bits, size_t bit_count, uint32_t from, uint32_t to) {
  marks_t marks = {bits, bit_count};
  for (uint32_t i = from; i < to; i++) {
    zhandle_entry_t *entry = &zhandle_table.entries[i];
    if ((entry->object & (ZHANDLE_HOLDS | ZHANDLE_FREE)) == ZHANDLE_HOLDS) look_through(entry, SLOTS_MAX, mark_slot, &marks);
  }
}

/* ---- letting go ---------------------------------------------------------------------------------- */

/* What a thread has still to drop. */
typedef struct drops {
  pthread_t thread;
  pid_t process;
  unsigned depth; /* zmanaged_sole_drop within each other */
  PyObject **objects;
  size_t count, room;
  struct drops *next;
} drops_t;

static drops_t *all_drops; /* of each thread that is dropping; usually one */

/* A forked child's other threads are gone, and their numbers may come again. */
static drops_t *find_drops(void) {
  drops_t *drops = all_drops;
  while (drops != NULL && !(pthread_equal(drops->thread, pthread_self()) && drops->process == getpid())) {
    drops = drops->next;
  }
  return drops;
}

static drops_t *own_drops(void) {
  drops_t *drops = all_drops == NULL ? NULL : find_drops();
  if (drops != NULL) return drops;
  drops = calloc(1, sizeof *drops);
  if (drops == NULL) return NULL;
  drops->thread = pthread_self();
  drops->process = getpid();
  drops->next = all_drops;
  all_drops = drops;
  return drops;
}

static bool make_room(drops_t *drops) {
  if (zlikely(drops->count < drops->room)) return true;
  size_t room = zmax(2 * drops->room, 64);
  PyObject **objects = realloc(drops->objects, room * sizeof *objects);
  if (objects == NULL) return false;
  drops->objects = objects;
  drops->room = room;
  return true;
}

typedef struct {
  drops_t *drops; /* NULL: nothing has been taken */
  size_t from;
} taking_t;

/* Most of what ends holds nothing of Python's. */
static znoinline bool begin_taking(taking_t *taking) {
  taking->drops = own_drops();
  if (taking->drops != NULL) taking->from = taking->drops->count;
  return taking->drops != NULL;
}

/* Where memory is short the rest stays as it is, and is found when the body is found dead. */
static bool take_slot(uint64_t *slot, void *context) {
  taking_t *taking = context;
  if (taking->drops == NULL && !begin_taking(taking)) return false;
  drops_t *drops = taking->drops;
  if (!make_room(drops)) return false;
  PyObject *owned = zmanaged_replace(zslot(slot), zcolored_none());
  if (owned != NULL) drops->objects[drops->count++] = owned;
  return true;
}

/* The last one is dropped first. */
static void reverse(PyObject **objects, size_t count) {
  for (size_t i = 0, j = count; i + 1 < j; i++) {
    PyObject *object = objects[i];
    objects[i] = objects[--j];
    objects[j] = object;
  }
}

size_t zmanaged_sole_let_go(zhandle_entry_t *entry) {
  taking_t taking = {NULL, SIZE_MAX};
  look_through(entry, LET_GO_MAX, take_slot, &taking);
  if (taking.drops == NULL) return SIZE_MAX;
  reverse(taking.drops->objects + taking.from, taking.drops->count - taking.from);
  return taking.from;
}

static void forget_drops(drops_t *drops) {
  drops_t **link = &all_drops;
  while (*link != drops) link = &(*link)->next;
  *link = drops->next;
  free(drops->objects);
  free(drops);
}

void zmanaged_sole_drop(size_t from) {
  drops_t *drops = all_drops == NULL ? NULL : find_drops();
  if (drops == NULL || drops->depth == DEPTH_MOST) return;
  drops->depth++;
  while (drops->count > from) zpy.Py_DecRef(drops->objects[--drops->count]);
  if (--drops->depth == 0 && drops->count == 0) forget_drops(drops); /* else a call outside of this one goes on */
}
