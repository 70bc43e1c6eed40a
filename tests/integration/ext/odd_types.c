/* Types whose references are hard to find: each holds one object, in a way of its own, and its tp_traverse
 * knows how. No header: one library serves every CPython, loaded with ctypes.PyDLL.
 *
 * Each way is a pair of functions: get(self) is what tp_traverse visits, put(self, reference) takes over a
 * reference and gives the old one back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef struct object {
  ssize_t refcount;
  struct object *type;
} object_t;

typedef int (*visit_t)(object_t *, void *);

typedef struct {
  int slot;
  void *function;
} slot_t;

typedef struct {
  const char *name;
  int basic_size, item_size;
  unsigned flags;
  slot_t *slots;
} spec_t;

typedef struct {
  const char *name;
  object_t *(*function)(object_t *, object_t *);
  int flags;
  const char *doc;
} method_t;

extern object_t _Py_NoneStruct;
extern void Py_IncRef(object_t *);
extern void Py_DecRef(object_t *);
extern void *PyMem_Malloc(size_t);
extern void PyMem_Free(void *);
extern void PyObject_GC_UnTrack(void *);
extern void *PyType_GetSlot(object_t *, int);
extern object_t *PyType_FromSpec(spec_t *);

enum { TP_CLEAR = 51, TP_DEALLOC = 52, TP_METHODS = 64, TP_TRAVERSE = 71, TP_FREE = 74 };
enum { BASETYPE = 1 << 10, HAVE_GC = 1 << 14, HAVE_VERSION_TAG = 1 << 18 };
enum { METH_O = 8 };

typedef struct {
  object_t head;
  uintptr_t word;
  object_t *reference;
  unsigned flag;
} odd_t;

#define ODD(self) ((odd_t *)(self))

/* -- the ways ----------------------------------------------------------------------------------------- */

/* A plain word: the one that is not odd. */
static object_t *plain_get(object_t *self) { return ODD(self)->reference; }
static object_t *plain_put(object_t *self, object_t *reference) {
  object_t *old = plain_get(self);
  ODD(self)->reference = reference;
  return old;
}

/* A number, of a place in a table. */
#define PLACES 65536
static object_t *places[PLACES];
static unsigned next_place = 1;

static object_t *index_get(object_t *self) { return places[ODD(self)->word]; }
static object_t *index_put(object_t *self, object_t *reference) {
  object_t *old = index_get(self);
  if (ODD(self)->word == 0) {
    ODD(self)->word = next_place++;
    if (next_place == PLACES) abort();
  }
  places[ODD(self)->word] = reference;
  return old;
}

/* In the upper half of the numbers, as in a NaN. */
#define NAN_BOX 0xFFFC000000000000u
static object_t *boxed_get(object_t *self) {
  uintptr_t word = ODD(self)->word;
  return (word & NAN_BOX) == NAN_BOX ? (object_t *)(word & ~NAN_BOX) : NULL;
}
static object_t *boxed_put(object_t *self, object_t *reference) {
  object_t *old = boxed_get(self);
  ODD(self)->word = reference == NULL ? 1 : NAN_BOX | (uintptr_t)reference;
  return old;
}

/* With a mark in the lowest bit. */
static object_t *tagged_get(object_t *self) { return (object_t *)(ODD(self)->word & ~(uintptr_t)1); }
static object_t *tagged_put(object_t *self, object_t *reference) {
  object_t *old = tagged_get(self);
  ODD(self)->word = reference == NULL ? 0 : (uintptr_t)reference | 1;
  return old;
}

/* Scrambled, as pointers that are stored in memory sometimes are. */
#define KEY 0xA5A5000000000000u
static object_t *scrambled_get(object_t *self) {
  return ODD(self)->word == 0 ? NULL : (object_t *)(ODD(self)->word ^ KEY);
}
static object_t *scrambled_put(object_t *self, object_t *reference) {
  object_t *old = scrambled_get(self);
  ODD(self)->word = reference == NULL ? 0 : (uintptr_t)reference ^ KEY;
  return old;
}

/* Two halves, in two words. */
static object_t *halves_get(object_t *self) { return (object_t *)((ODD(self)->word << 32) | ODD(self)->flag); }
static object_t *halves_put(object_t *self, object_t *reference) {
  object_t *old = halves_get(self);
  ODD(self)->word = (uintptr_t)reference >> 32;
  ODD(self)->flag = (unsigned)(uintptr_t)reference;
  return old;
}

/* Nowhere in the object: in a table that is searched by its address. */
#define BUCKETS 65536
static struct {
  object_t *owner, *reference;
} aside[BUCKETS];

static object_t **aside_place(object_t *self) {
  size_t i = (uintptr_t)self / 16 % BUCKETS;
  while (aside[i].owner != NULL && aside[i].owner != self) i = (i + 1) % BUCKETS;
  aside[i].owner = self;
  return &aside[i].reference;
}
static object_t *aside_get(object_t *self) { return *aside_place(self); }
static object_t *aside_put(object_t *self, object_t *reference) {
  object_t **place = aside_place(self), *old = *place;
  *place = reference;
  return old;
}

/* In memory of malloc's, or of the interpreter's; there from the start, or made when it is needed. */
static object_t **array_of(object_t *self) { return (object_t **)ODD(self)->word; }
static object_t *array_get(object_t *self) { return ODD(self)->word == 0 ? NULL : array_of(self)[5]; }
static object_t *array_put_in(object_t *self, object_t *reference, void *(*allocate)(size_t)) {
  object_t *old = array_get(self);
  if (ODD(self)->word == 0) {
    ODD(self)->word = (uintptr_t)allocate(64);
    memset(array_of(self), 0, 64);
  }
  array_of(self)[5] = reference;
  return old;
}
static object_t *malloced_get(object_t *self) { return array_get(self); }
static object_t *malloced_put(object_t *self, object_t *reference) {
  return array_put_in(self, reference, malloc);
}
static object_t *pooled_get(object_t *self) { return array_get(self); }
static object_t *pooled_put(object_t *self, object_t *reference) {
  return array_put_in(self, reference, PyMem_Malloc);
}

/* -- types that are odd in more than the place -------------------------------------------------------- */

/* borrow() keeps a word that holds no reference, where set() keeps one that does. */
static object_t *maybe_get(object_t *self) { return ODD(self)->flag ? ODD(self)->reference : NULL; }
static object_t *maybe_put(object_t *self, object_t *reference) {
  object_t *old = maybe_get(self);
  ODD(self)->reference = reference;
  ODD(self)->flag = 1;
  return old;
}
static object_t *borrow(object_t *self, object_t *other) {
  object_t *old = maybe_put(self, other);
  ODD(self)->flag = 0;
  if (old != NULL) Py_DecRef(old);
  Py_IncRef(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}

/* Owns, and visits, its object twice, once through the same word again. */
static object_t *twice_get(object_t *self) { return plain_get(self); }
static object_t *twice_put(object_t *self, object_t *reference) {
  object_t *old = plain_get(self);
  if (reference != NULL) Py_IncRef(reference);
  ODD(self)->reference = reference;
  if (old != NULL) Py_DecRef(old);
  return old;
}

/* Two words, and both are owned. */
static object_t *both_get(object_t *self) { return plain_get(self); }
static object_t *both_put(object_t *self, object_t *reference) {
  ODD(self)->word = (uintptr_t)reference;
  return twice_put(self, reference);
}

/* Visits its object from arm() on; until then its words are there, but nobody's. */
static object_t *armed_get(object_t *self) { return ODD(self)->flag == 2 ? (object_t *)~ODD(self)->word : NULL; }
static object_t *armed_put(object_t *self, object_t *reference) {
  object_t *old = armed_get(self);
  ODD(self)->word = ~(uintptr_t)reference;
  ODD(self)->flag = reference == NULL ? 0 : 2;
  return old;
}

/* -- what the ways have in common --------------------------------------------------------------------- */

typedef object_t *(*get_t)(object_t *);
typedef object_t *(*put_t)(object_t *, object_t *);

static object_t *set(object_t *self, object_t *reference, put_t put) {
  Py_IncRef(reference);
  object_t *old = put(self, reference);
  if (old != NULL) Py_DecRef(old);
  Py_IncRef(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}

static int clear(object_t *self, get_t get, put_t put) {
  if (get(self) != NULL) Py_DecRef(put(self, NULL));
  return 0;
}

static int traverse(object_t *self, visit_t visit, void *arg, get_t get, int times, int visits_type) {
  int status = visits_type ? visit(self->type, arg) : 0;
  object_t *reference = get(self);
  for (; status == 0 && reference != NULL && times > 0; times--) status = visit(reference, arg);
  return status;
}

static void dealloc(object_t *self, get_t get, put_t put, void (*end)(object_t *)) {
  object_t *type = self->type;
  PyObject_GC_UnTrack(self);
  clear(self, get, put);
  if (end != NULL) end(self);
  ((void (*)(void *))PyType_GetSlot(type, TP_FREE))(self);
  Py_DecRef(type);
}

static void end_malloced(object_t *self) { free(array_of(self)); }
static void end_pooled(object_t *self) { PyMem_Free(array_of(self)); }

#define WAY(name, times, visits_type, end)                                                       \
  static int name##_traverse(object_t *self, visit_t visit, void *arg) {                         \
    return traverse(self, visit, arg, name##_get, times, visits_type);                           \
  }                                                                                              \
  static int name##_clear(object_t *self) { return clear(self, name##_get, name##_put); }        \
  static void name##_dealloc(object_t *self) { dealloc(self, name##_get, name##_put, end); }     \
  static object_t *name##_set(object_t *self, object_t *other) { return set(self, other, name##_put); } \
  static method_t name##_methods[] = {                                                           \
      {"set", name##_set, METH_O, NULL}, {"borrow", borrow, METH_O, NULL}, {NULL, NULL, 0, NULL}}; \
  static slot_t name##_slots[] = {{TP_TRAVERSE, (void *)name##_traverse},                        \
                                  {TP_CLEAR, (void *)name##_clear},                              \
                                  {TP_DEALLOC, (void *)name##_dealloc},                          \
                                  {TP_METHODS, name##_methods},                                  \
                                  {0, NULL}};

WAY(plain, 1, 1, NULL)
WAY(index, 1, 1, NULL)
WAY(boxed, 1, 1, NULL)
WAY(tagged, 1, 1, NULL)
WAY(scrambled, 1, 1, NULL)
WAY(halves, 1, 1, NULL)
WAY(aside, 1, 1, NULL)
WAY(malloced, 1, 1, end_malloced)
WAY(pooled, 1, 1, end_pooled)
WAY(maybe, 1, 1, NULL)
WAY(twice, 2, 1, NULL)
WAY(both, 2, 1, NULL)
WAY(armed, 1, 1, NULL)

/* Of Python 3.8: a heap type's instances do not visit it. */
#define untyped_get plain_get
#define untyped_put plain_put
WAY(untyped, 1, 0, NULL)

static const struct {
  const char *name;
  slot_t *slots;
} ways[] = {
    {"odd.plain", plain_slots},       {"odd.index", index_slots},   {"odd.boxed", boxed_slots},
    {"odd.tagged", tagged_slots},     {"odd.halves", halves_slots}, {"odd.aside", aside_slots},
    {"odd.scrambled", scrambled_slots}, {"odd.malloced", malloced_slots}, {"odd.pooled", pooled_slots},
    {"odd.maybe", maybe_slots},       {"odd.twice", twice_slots},   {"odd.both", both_slots},
    {"odd.armed", armed_slots},       {"odd.untyped", untyped_slots},
};

/* The n-th type, a new one at each call, with so many bytes behind its fields; NULL past the last. */
object_t *make_type(int n, int extra) {
  if (n >= (int)(sizeof ways / sizeof ways[0])) return NULL;
  unsigned flags = BASETYPE | HAVE_GC | HAVE_VERSION_TAG;
  spec_t spec = {ways[n].name, (int)sizeof(odd_t) + extra, 0, flags, ways[n].slots};
  return PyType_FromSpec(&spec);
}

#define TYPE_TRAVERSE 184 /* of tp_traverse in PyTypeObject */

/* Gives a type that has been made with plain words the ways of another. */
void change_traverse(object_t *type, object_t *other) {
  memcpy((char *)type + TYPE_TRAVERSE, (char *)other + TYPE_TRAVERSE, sizeof(void *));
}
