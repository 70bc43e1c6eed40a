#define _GNU_SOURCE
#include "collector/python/zpyabi.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/python/zbuiltin.h"

static const zpyabi_layout_t layouts[] = {
    {11, ZPYABI_ATTRIBUTES_311, false, false, 872, 0, 24, false},
    {12, ZPYABI_ATTRIBUTES_312, true, false, 880, 0, 24, false},
    {13, ZPYABI_ATTRIBUTES_313, true, false, 880, 8, 24, false},
    {14, ZPYABI_ATTRIBUTES_313, true, true, 880, 8, 32, false},
    {15, ZPYABI_ATTRIBUTES_313, true, true, 888, 8, 32, true},
};

/* struct _gc_runtime_state in bytes from its generations[] (Include/internal/pycore_gc.h, from 3.14
 * on pycore_interp_structs.h). Patch releases have changed it, so every shape is tried on every
 * version. The incremental collector of 3.14.0 to 3.14.4 has no generations[] and fits none. */
typedef struct {
  int16_t enabled, debug, generation0, permanent, stats, collecting, garbage, callbacks;
  bool stats_are_rings; /* behind a pointer: the last few records of each generation */
} state_shape_t;

static const state_shape_t state_shapes[] = {
    {-12, -8, 72, 80, 104, 176, 184, 192, false}, /* 3.11, 3.12, 3.13.0 */
    {-8, -4, 76, 84, 108, 180, 188, 196, false},  /* later 3.13: generations[] aligned to 4 */
    {-12, -8, 232, 72, 96, 168, 176, 184, false}, /* 3.14.5 and later */
    {-8, -4, 160, 72, 96, 104, 120, 128, true},   /* 3.15 */
};
static const state_shape_t *shape;

/* struct gc_stats of 3.15: a ring of 11 records, then two of 3, each followed by the index of the
 * newest. Records are sums over all time. */
enum {
  RECORD_SIZE = 64,
  RECORD_COLLECTIONS = 16,
  YOUNG_RING = 11,
  OLD_RING = 3,
  YOUNG_RING_SIZE = YOUNG_RING * RECORD_SIZE + 8,
  OLD_RING_SIZE = OLD_RING * RECORD_SIZE + 8
};

/* PyTypeObject and PyMemberDef, the same since 3.8 (Include/cpython/object.h, structmember.h). */
enum {
  TYPE_NAME = 24,
  TYPE_BASIC_SIZE = 32,
  TYPE_ITEM_SIZE = 40,
  TYPE_FLAGS = 168,
  TYPE_TRAVERSE = 184,
  TYPE_WEAKLIST_OFFSET = 208,
  TYPE_BASE = 256,
  TYPE_DICT_OFFSET = 288,
  MEMBER_SIZE = 40,
  MEMBER_TYPE = 8,
  MEMBER_OFFSET = 16,
  MEMBER_OBJECT_EX = 16
};

#define INTERPRETER_SIZE_MAX (2 * ZM) /* the collector's state lies inside PyInterpreterState */

const zpyabi_layout_t *zpyabi_layout;
bool zpyabi_dicts_untracked;
zgc_state_t zgc_state;

/* -- lists ------------------------------------------------------------------------------------ */

static void set_next(zgc_head_t *head, zgc_head_t *next) {
  head->next = (head->next & ZPYABI_NEXT_FLAGS) | (uintptr_t)next;
}

static void set_prev(zgc_head_t *head, zgc_head_t *prev) {
  head->prev = (head->prev & ZPYABI_PREV_FLAGS) | (uintptr_t)prev;
}

void zgc_list_unlink(zgc_head_t *head) {
  zgc_head_t *next = zgc_head_next(head), *prev = zgc_head_prev(head);
  set_next(prev, next);
  set_prev(next, prev);
}

void zgc_list_insert_before(zgc_head_t *head, zgc_head_t *at) {
  zgc_head_t *prev = zgc_head_prev(at);
  set_next(prev, head);
  set_prev(head, prev);
  set_next(head, at);
  set_prev(at, head);
}

void zgc_list_splice_until(zgc_head_t *from, zgc_head_t *end, zgc_head_t *to) {
  zgc_head_t *first = zgc_head_next(from), *last = zgc_head_prev(end);
  if (first == end) return;
  zgc_head_t *tail = zgc_head_prev(to);
  set_next(tail, first);
  set_prev(first, tail);
  set_next(last, to);
  set_prev(to, last);
  set_next(from, end);
  set_prev(end, from);
}

void zgc_list_splice(zgc_head_t *from, zgc_head_t *to) { zgc_list_splice_until(from, from, to); }

size_t zgc_list_size(const zgc_head_t *list) {
  size_t size = 0;
  for (const zgc_head_t *h = zgc_head_next(list); h != list; h = zgc_head_next(h)) size++;
  return size;
}

/* -- types ------------------------------------------------------------------------------------ */

static Py_ssize_t type_ssize(PyTypeObject *type, size_t offset) {
  return *(Py_ssize_t *)((char *)type + offset);
}

zpyabi_type_t zpyabi_read_type(PyTypeObject *type) {
  zpyabi_type_t t = {
      .name = zpyabi_word(type, TYPE_NAME),
      .basic_size = type_ssize(type, TYPE_BASIC_SIZE),
      .item_size = type_ssize(type, TYPE_ITEM_SIZE),
      .dict_offset = type_ssize(type, TYPE_DICT_OFFSET),
      .weaklist_offset = type_ssize(type, TYPE_WEAKLIST_OFFSET),
      .flags = (unsigned long)type_ssize(type, TYPE_FLAGS),
      .traverse = (zpy_traverse_t)zpyabi_word(type, TYPE_TRAVERSE),
      .base = zpyabi_word(type, TYPE_BASE),
  };
  if (t.flags & ZPYABI_FLAG_HEAPTYPE) {
    t.cached_keys = zpyabi_word(type, zpyabi_layout->cached_keys);
  }
  return t;
}

unsigned long zpyabi_flags(PyTypeObject *type) { return (unsigned long)type_ssize(type, TYPE_FLAGS); }

zpy_traverse_t zpyabi_traverse(PyTypeObject *type) { return (zpy_traverse_t)zpyabi_word(type, TYPE_TRAVERSE); }

bool zpyabi_has_weakrefs(PyObject *object) {
  Py_ssize_t offset = type_ssize(zpyabi_type(object), TYPE_WEAKLIST_OFFSET);
  return offset != 0 && zpyabi_word(object, offset) != NULL;
}

bool zpyabi_is_subtype(PyTypeObject *type, const PyObject *base) {
  while (type != NULL && type != base) type = zpyabi_read_type(type).base;
  return type != NULL;
}

bool zpyabi_has_finalizer(PyTypeObject *type) {
  return zpy.PyType_GetSlot(type, ZPYABI_SLOT_FINALIZE) != NULL;
}

bool zpyabi_has_legacy_finalizer(PyTypeObject *type) { return zpy.PyType_GetSlot(type, ZPYABI_SLOT_DEL) != NULL; }

void zpyabi_report(const char *format, PyObject *called) {
  if (zpyabi_layout->minor >= 14 && zpy.PyErr_FormatUnraisable != NULL) {
    zpy.PyErr_FormatUnraisable(format, called);
  } else {
    zpy.PyErr_WriteUnraisable(called);
  }
}

void zpyabi_finalize(PyObject *object) {
  void (*finalize)(PyObject *) = (void (*)(PyObject *))zpy.PyType_GetSlot(zpyabi_type(object), ZPYABI_SLOT_FINALIZE);
  if (finalize == NULL) return;
  zpyabi_head(object)->prev |= ZPYABI_PREV_FINALIZED;
  finalize(object);
}

bool zpyabi_call_at_once(PyObject *function, zpy_vectorcall_t call) {
  zpy_vectorcall_t *place = (zpy_vectorcall_t *)((char *)function + ZPYABI_CFUNCTION_VECTORCALL);
  if (zpy.PyVectorcall_Function == NULL || *place == NULL ||
      zpy.PyVectorcall_Function(function) != *place) {
    return false;
  }
  zpy_vectorcall_t before = *place;
  *place = call;
  if (zpy.PyVectorcall_Function(function) == call) return true;
  *place = before;
  return false;
}

Py_ssize_t zpyabi_type_slot(PyTypeObject *type, unsigned i) {
  if ((Py_ssize_t)i >= type_ssize(type, ZPYABI_VAR_SIZE)) return 0;
  const char *members = (const char *)type + type_ssize(zpyabi_type(type), TYPE_BASIC_SIZE);
  const char *member = members + i * MEMBER_SIZE;
  if (*(const int *)(member + MEMBER_TYPE) != MEMBER_OBJECT_EX) return -1;
  return *(const Py_ssize_t *)(member + MEMBER_OFFSET);
}

/* -- statistics ------------------------------------------------------------------------------- */

static void *state_at(ptrdiff_t offset) { return (char *)zgc_state.generations + offset; }

static char *newest_record(char *ring, int length) {
  int8_t newest = *(int8_t *)(ring + length * RECORD_SIZE);
  if (newest < 0 || newest >= length) newest = 0;
  return ring + newest * RECORD_SIZE + RECORD_COLLECTIONS;
}

/* Where the numbers of a generation stand, *size bytes of them. */
static void *stats_place(int generation, size_t *size) {
  *size = shape->stats_are_rings ? sizeof(zgc_generation_stats_t)
                                 : offsetof(zgc_generation_stats_t, candidates);
  if (!shape->stats_are_rings) return (char *)state_at(shape->stats) + generation * *size;
  char *rings = *(char **)state_at(shape->stats);
  if (generation == 0) return newest_record(rings, YOUNG_RING);
  return newest_record(rings + YOUNG_RING_SIZE + (generation - 1) * OLD_RING_SIZE, OLD_RING);
}

zgc_generation_stats_t zpyabi_stats(int generation) {
  zgc_generation_stats_t stats = {0};
  size_t size;
  const void *place = stats_place(generation, &size);
  memcpy(&stats, place, size);
  return stats;
}

void zpyabi_set_stats(int generation, const zgc_generation_stats_t *stats) {
  size_t size;
  void *place = stats_place(generation, &size);
  memcpy(place, stats, size);
}

/* -- proof ------------------------------------------------------------------------------------ */

int zpyabi_recognise(const char **why) {
  static char reason[160];
  const char *version = zpy.Py_GetVersion();
  *why = reason;
  if (zpy_is_free_threaded()) {
    snprintf(reason, sizeof reason, "free-threaded build (%.*s): it has no generations to steer",
             (int)zmin(strcspn(version, "("), 60), version);
    return 0;
  }
  int major = 0, minor = 0;
  if (sscanf(version, "%d.%d", &major, &minor) == 2 && major == 3) {
    for (size_t i = 0; i < ZARRAY_LENGTH(layouts); i++) {
      if (layouts[i].minor == minor) return minor;
    }
  }
  snprintf(reason, sizeof reason, "CPython %.40s is not one of those served (3.11 to 3.15)",
           version);
  return 0;
}

#define CLAIM(condition, text) \
  do {                         \
    if (!(condition)) {        \
      *why = text;             \
      return false;            \
    }                          \
  } while (0)

static bool ints_are(PyObject *tuple, const int *values, size_t count) {
  bool equal = tuple != NULL;
  for (size_t i = 0; equal && i < count; i++) {
    equal = zpy.PyLong_AsLong(zpy.PyTuple_GetItem(tuple, (Py_ssize_t)i)) == values[i];
  }
  if (tuple != NULL) zpy.Py_DecRef(tuple);
  return equal;
}

static bool prove_lists(const char **why) {
  PyObject *sample = zpy.PyList_New(0);
  CLAIM(sample != NULL, "no memory");
  zgc_head_t *head = zpyabi_head(sample);
  zgc_head_t *young = zgc_head_next(head);
  bool is_last = young != NULL && zgc_head_prev(young) == head;
  uintptr_t distance = (uintptr_t)young - (uintptr_t)zpy.PyInterpreterState_Main();
  zpy.Py_DecRef(sample);
  CLAIM(is_last, "a new list is not the last member of generation 0");
  CLAIM(distance < INTERPRETER_SIZE_MAX, "generation 0 does not lie in the interpreter's state");
  zgc_state.generations = (zgc_generation_t *)young;
  return true;
}

static bool is_ring(const zgc_head_t *list) {
  return zgc_head_prev(zgc_head_next(list)) == list && zgc_head_next(zgc_head_prev(list)) == list;
}

/* The shape whose three pointers stand where it says. */
static bool find_shape(PyObject *gc, const char **why) {
  PyObject *callbacks = zpy.PyObject_GetAttrString(gc, "callbacks");
  PyObject *garbage = zpy.PyObject_GetAttrString(gc, "garbage");
  shape = NULL;
  for (size_t i = 0; shape == NULL && i < ZARRAY_LENGTH(state_shapes); i++) {
    const state_shape_t *s = &state_shapes[i];
    bool fits = *(void **)state_at(s->generation0) == zgc_state.generations &&
                *(PyObject **)state_at(s->callbacks) == callbacks &&
                *(PyObject **)state_at(s->garbage) == garbage;
    if (fits && callbacks != NULL && garbage != NULL) shape = s;
  }
  if (callbacks != NULL) zpy.Py_DecRef(callbacks);
  if (garbage != NULL) zpy.Py_DecRef(garbage);
  CLAIM(shape != NULL, "the collector's state has none of the known shapes");
  zgc_state.callbacks = state_at(shape->callbacks);
  zgc_state.enabled = state_at(shape->enabled);
  zgc_state.debug = state_at(shape->debug);
  zgc_state.collecting = state_at(shape->collecting);
  zgc_state.permanent = state_at(shape->permanent);
  for (int i = 0; i < ZGC_GENERATIONS; i++) {
    CLAIM(is_ring(&zgc_state.generations[i].head), "a generation's list is not a ring");
  }
  CLAIM(is_ring(zgc_state.permanent), "the permanent generation's list is not a ring");
  return true;
}

static bool prove_thresholds(PyObject *gc, const char **why) {
  int before[ZGC_GENERATIONS];
  for (int i = 0; i < ZGC_GENERATIONS; i++) before[i] = zgc_state.generations[i].threshold;
  CLAIM(ints_are(zpy.PyObject_CallMethod(gc, "get_threshold", NULL), before, 3), "get_threshold");
  PyObject *done = zpy.PyObject_CallMethod(gc, "set_threshold", "iii", 100003, 100019, 100043);
  CLAIM(done != NULL, "set_threshold");
  zpy.Py_DecRef(done);
  bool seen = zgc_state.generations[0].threshold == 100003 &&
              zgc_state.generations[1].threshold == 100019 &&
              zgc_state.generations[2].threshold == 100043;
  for (int i = 0; seen && i < ZGC_GENERATIONS; i++) zgc_state.generations[i].threshold = before[i];
  CLAIM(seen, "set_threshold does not write where thresholds were expected");
  CLAIM(ints_are(zpy.PyObject_CallMethod(gc, "get_threshold", NULL), before, 3),
        "thresholds written are not read back");
  return true;
}

static bool prove_flags(PyObject *gc, const char **why) {
  int was = zpy.PyGC_Disable();
  bool off = *zgc_state.enabled == 0 && !zpy.PyGC_IsEnabled();
  zpy.PyGC_Enable();
  bool on = *zgc_state.enabled == 1;
  if (!was) zpy.PyGC_Disable();
  CLAIM(off && on, "enabled flag");
  int debug = *zgc_state.debug;
  PyObject *done = zpy.PyObject_CallMethod(gc, "set_debug", "i", ZGC_DEBUG_SAVEALL);
  CLAIM(done != NULL, "set_debug");
  zpy.Py_DecRef(done);
  bool seen = *zgc_state.debug == ZGC_DEBUG_SAVEALL;
  done = zpy.PyObject_CallMethod(gc, "set_debug", "i", debug);
  if (done != NULL) zpy.Py_DecRef(done);
  CLAIM(seen && *zgc_state.debug == debug, "debug flags");
  CLAIM(*zgc_state.collecting == 0, "collecting flag");
  return true;
}

/* A young collection of nothing, of which nobody hears: callbacks may be there already. */
static bool collect_nothing(PyObject *gc) {
  zgc_head_t *young = &zgc_state.generations[0].head, aside = {(uintptr_t)&aside, (uintptr_t)&aside};
  PyObject *callbacks = *zgc_state.callbacks;
  *zgc_state.callbacks = NULL;
  zgc_list_splice(young, &aside);
  PyObject *count = zpy.PyObject_CallMethod(gc, "collect", "i", 0);
  zgc_list_splice(young, &aside); /* what the call has made */
  zgc_list_splice(&aside, young);
  *zgc_state.callbacks = callbacks;
  if (count != NULL) zpy.Py_DecRef(count);
  return count != NULL;
}

static bool prove_stats(PyObject *gc, const char **why) {
  CLAIM(*(void **)state_at(shape->stats) != NULL || !shape->stats_are_rings, "statistics");
  int counts[] = {zgc_state.generations[0].count, zgc_state.generations[1].count};
  zgc_generation_stats_t before = zpyabi_stats(0);
  CLAIM(collect_nothing(gc), "gc.collect(0)");
  CLAIM(zpyabi_stats(0).collections == before.collections + 1, "generation statistics");
  CLAIM(zgc_state.generations[1].count == counts[1] + 1, "generation counts");
  CLAIM(*zgc_state.collecting == 0, "collecting flag");
  zpyabi_set_stats(0, &before);
  for (int i = 0; i < 2; i++) zgc_state.generations[i].count = counts[i];
  return true;
}

static bool prove_refcounts(const char **why) {
  PyObject *sample = zpy.PyList_New(0);
  CLAIM(sample != NULL, "no memory");
  bool right = zpyabi_refcount(sample) == 1;
  for (int i = 0; i < 5; i++) zpy.Py_IncRef(sample);
  right = right && zpyabi_refcount(sample) == 6;
  for (int i = 0; i < 5; i++) zpy.Py_DecRef(sample);
  right = right && zpyabi_refcount(sample) == 1 && zpyabi_type(sample) == zpy.PyList_Type;
  zpy.Py_DecRef(sample);
  CLAIM(right, "refcount or type word");
  CLAIM(!zpyabi_layout->immortal || zpyabi_refcount(zpy_None()) == ZPYABI_IMMORTAL, "immortality");
  return true;
}

static bool prove_finalized(const char **why) {
  CLAIM(zpy.PyObject_GC_IsFinalized != NULL, "PyObject_GC_IsFinalized");
  PyObject *sample = zpy.PyList_New(0);
  CLAIM(sample != NULL, "no memory");
  bool right = !zpy.PyObject_GC_IsFinalized(sample) && !zpyabi_is_finalized(sample);
  zpyabi_head(sample)->prev |= ZPYABI_PREV_FINALIZED;
  right = right && zpy.PyObject_GC_IsFinalized(sample) && zpyabi_is_finalized(sample);
  zpyabi_head(sample)->prev &= ~ZPYABI_PREV_FINALIZED;
  zpy.Py_DecRef(sample);
  CLAIM(right, "flag of what has been finalized");
  return true;
}

static bool look_at_dicts(const char **why) {
  PyObject *empty = zpy.PyDict_New();
  CLAIM(empty != NULL, "no memory");
  zpyabi_dicts_untracked = !zpyabi_is_tracked(empty);
  zpy.Py_DecRef(empty);
  return true;
}

static bool prove_types(const char **why) {
  PyTypeObject *samples[] = {zpy.PyList_Type, zpy.PyDict_Type, zpy.PyType_Type, zpy.PySet_Type};
  for (size_t i = 0; i < ZARRAY_LENGTH(samples); i++) {
    zpyabi_type_t t = zpyabi_read_type(samples[i]);
    CLAIM((void *)t.traverse == zpy.PyType_GetSlot(samples[i], ZPYABI_SLOT_TRAVERSE), "tp_traverse");
    CLAIM(t.base == zpy.PyType_GetSlot(samples[i], ZPYABI_SLOT_BASE), "tp_base");
    CLAIM(t.flags == zpy.PyType_GetFlags(samples[i]), "tp_flags");
  }
  PyObject *size = zpy.PyObject_GetAttrString(zpy.PyType_Type, "__basicsize__");
  PyObject *offset = zpy.PyObject_GetAttrString(zpy.PyType_Type, "__dictoffset__");
  PyObject *weak = zpy.PyObject_GetAttrString(zpy.PyType_Type, "__weakrefoffset__");
  zpyabi_type_t t = zpyabi_read_type(zpy.PyType_Type);
  bool right = size != NULL && offset != NULL && weak != NULL &&
               zpy.PyLong_AsLong(size) == t.basic_size &&
               zpy.PyLong_AsLong(offset) == t.dict_offset &&
               zpy.PyLong_AsLong(weak) == t.weaklist_offset && t.name != NULL &&
               strcmp(t.name, "type") == 0;
  if (size != NULL) zpy.Py_DecRef(size);
  if (offset != NULL) zpy.Py_DecRef(offset);
  if (weak != NULL) zpy.Py_DecRef(weak);
  CLAIM(right, "PyTypeObject");
  return true;
}

static bool has_weakref_fields(PyObject *referent, PyObject *plain, PyObject *called) {
  ptrdiff_t list = zpyabi_read_type(zpyabi_type(referent)).weaklist_offset;
  return zpyabi_word(referent, list) == plain && zpyabi_word(plain, ZPYABI_WEAKREF_NEXT) == called &&
         zpyabi_word(called, ZPYABI_WEAKREF_NEXT) == NULL &&
         zpyabi_word(plain, ZPYABI_WEAKREF_OBJECT) == referent &&
         zpyabi_word(called, ZPYABI_WEAKREF_OBJECT) == referent &&
         zpyabi_word(plain, ZPYABI_WEAKREF_CALLBACK) == NULL &&
         zpyabi_word(called, ZPYABI_WEAKREF_CALLBACK) == zpy.PyType_Type;
}

/* The one without a callback comes first in the list. */
static bool prove_weakrefs(const char **why) {
  PyObject *referent = zpy.PySet_New(NULL);
  PyObject *called = referent == NULL ? NULL : zpy.PyWeakref_NewRef(referent, (PyObject *)zpy.PyType_Type);
  PyObject *plain = called == NULL ? NULL : zpy.PyWeakref_NewRef(referent, NULL);
  bool right = plain != NULL && has_weakref_fields(referent, plain, called);
  if (plain != NULL) zpy.Py_DecRef(plain);
  if (called != NULL) zpy.Py_DecRef(called);
  if (referent != NULL) zpy.Py_DecRef(referent);
  CLAIM(right, "fields of a weak reference");
  return true;
}

bool zpyabi_prove(const char **why) {
  int minor = zpyabi_recognise(why);
  if (minor == 0) return false;
  for (size_t i = 0; i < ZARRAY_LENGTH(layouts); i++) {
    if (layouts[i].minor == minor) zpyabi_layout = &layouts[i];
  }
  CLAIM(zpy.PyInterpreterState_Get() == zpy.PyInterpreterState_Main(), "not the main interpreter");
  PyObject *gc = zbuiltin_module("gc");
  if (gc == NULL) zpy.PyErr_Clear();
  CLAIM(gc != NULL, "there is no gc module");
  bool proven = prove_lists(why) && find_shape(gc, why) && prove_thresholds(gc, why) &&
                prove_flags(gc, why) && prove_stats(gc, why) && prove_refcounts(why) &&
                prove_finalized(why) && look_at_dicts(why) && prove_types(why) && prove_weakrefs(why);
  if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  zpy.Py_DecRef(gc);
  return proven;
}
