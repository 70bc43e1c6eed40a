/* CPython's memory layout: the only file (with zpyabi.c) that knows it.
 *
 * Offsets come from one table row per minor version, and one per shape that the collector's state has
 * had (zpyabi.c). A row is a claim; zpyabi_prove tests each claim against what the public API says,
 * with the GIL held, and the library becomes active only when all hold. Releases move fields and
 * vendors patch interpreters, so a version number alone proves nothing.
 *
 * "racy" accessors may be used by a thread without the GIL on memory of the ZPage heap: they read
 * one word, relaxed, and promise nothing about the word's age. */
#ifndef COLLECTOR_PYTHON_ZPYABI_H
#define COLLECTOR_PYTHON_ZPYABI_H

#include "collector/python/zpyapi.h"
#include "heap/base/zatomic.h"

struct zpy_object {
  Py_ssize_t refcount; /* 3.14 splits this word; read it through zpyabi_refcount */
  PyTypeObject *type;
};

/* Where instances of Python classes keep their attributes. */
typedef enum {
  ZPYABI_ATTRIBUTES_311, /* values pointer 4 words, dict 3 words before the object */
  ZPYABI_ATTRIBUTES_312, /* one word, 3 before the object: values (bit 0 set) or dict */
  ZPYABI_ATTRIBUTES_313  /* values behind the object, dict 3 words before it */
} zpyabi_attributes_t;

typedef struct {
  int minor; /* of 3.minor */
  zpyabi_attributes_t attributes;
  bool immortal;            /* a negative low word of the refcount means immortal */
  bool split_refcount;      /* only the low 32 bits count; free lists are linked through the word */
  uint16_t cached_keys;     /* in PyHeapTypeObject */
  uint16_t values_header;   /* bytes before the first value in PyDictValues */
  uint16_t tuple_items;     /* 3.14 keeps the hash before them */
  bool late_plain_weakrefs; /* those without a callback are cleared after the finalizers */
} zpyabi_layout_t;

extern zhidden const zpyabi_layout_t *zpyabi_layout; /* NULL until zpyabi_prove */

/* A dict is tracked once it holds something that could be part of a cycle (until 3.13), not from the
 * start: so an untracked one may be left to itself. */
extern bool zpyabi_dicts_untracked;

/* -- PyGC_Head: two words before a GC object ------------------------------------------------ */

/* Like PyGC_Head since 3.13.1, generations[] may stand at an odd multiple of 4. */
typedef struct zgc_head {
  uintptr_t next; /* bit 0 may be set during a collection; 0: untracked */
  uintptr_t prev; /* bits 0 and 1 are flags (finalized, collecting) */
} __attribute__((packed, aligned(4))) zgc_head_t;

#define ZPYABI_NEXT_FLAGS ((uintptr_t)1)
#define ZPYABI_PREV_FLAGS ((uintptr_t)3)
#define ZPYABI_PREV_FINALIZED ((uintptr_t)1)
#define ZPYABI_PREV_COLLECTING ((uintptr_t)2) /* clear but for the core of a collection */

static inline zgc_head_t *zpyabi_head(PyObject *object) { return (zgc_head_t *)object - 1; }
static inline PyObject *zpyabi_object(zgc_head_t *head) { return (PyObject *)(head + 1); }
static inline zgc_head_t *zgc_head_next(const zgc_head_t *head) {
  return (zgc_head_t *)(head->next & ~ZPYABI_NEXT_FLAGS);
}
static inline zgc_head_t *zgc_head_prev(const zgc_head_t *head) {
  return (zgc_head_t *)(head->prev & ~ZPYABI_PREV_FLAGS);
}
static inline bool zpyabi_is_tracked(PyObject *object) { return zpyabi_head(object)->next != 0; }

/* List surgery, GIL held, no collection under way on these lists. */
static inline bool zgc_list_is_empty(const zgc_head_t *list) { return zgc_head_next(list) == list; }
void zgc_list_unlink(zgc_head_t *head);                       /* leaves the object's links as they are */
void zgc_list_insert_before(zgc_head_t *head, zgc_head_t *at); /* head is unlinked */
static inline void zgc_list_move(zgc_head_t *head, zgc_head_t *at) { /* before `at` */
  zgc_list_unlink(head);
  zgc_list_insert_before(head, at);
}
void zgc_list_splice(zgc_head_t *from, zgc_head_t *to);       /* all of `from` to the end of `to` */
/* ... those before `end`, a member or `from` itself. */
void zgc_list_splice_until(zgc_head_t *from, zgc_head_t *end, zgc_head_t *to);
size_t zgc_list_size(const zgc_head_t *list);

#define ZGC_ASK_NEAR 6 /* objects whose neighbours in the list are asked for in advance */
#define ZGC_ASK_FAR 16 /* ... whose own memory is */

static zalways_inline void zgc_ask(const void *address, bool to_write) {
  if (to_write) {
    __builtin_prefetch(address, 1);
  } else {
    __builtin_prefetch(address);
  }
}

/* Within a loop over objects that lie anywhere: asks for those to come. */
static zalways_inline void zgc_ask_ahead(PyObject *const *objects, size_t i, size_t count, bool to_write) {
  if (i + ZGC_ASK_FAR < count) zgc_ask(zpyabi_head(objects[i + ZGC_ASK_FAR]), to_write);
  if (i + ZGC_ASK_NEAR >= count) return;
  const zgc_head_t *head = zpyabi_head(objects[i + ZGC_ASK_NEAR]);
  zgc_ask(zgc_head_next(head), to_write);
  zgc_ask(zgc_head_prev(head), to_write);
}

/* -- the collector's state in the main interpreter ------------------------------------------ */

typedef struct {
  zgc_head_t head;
  int threshold;
  int count; /* generation 0: allocations minus frees since its last collection */
} zgc_generation_t;

typedef struct {
  Py_ssize_t collections, collected, uncollectable;
  Py_ssize_t candidates; /* 3.15 */
  double duration;       /* 3.15; seconds */
} zgc_generation_stats_t;

#define ZGC_GENERATIONS 3
#define ZGC_DEBUG_SAVEALL 32

typedef struct {
  zgc_generation_t *generations; /* ZGC_GENERATIONS of them */
  zgc_head_t *permanent;
  int *enabled;
  int *debug;
  int *collecting;
  PyObject **callbacks; /* the list whose members CPython calls */
} zgc_state_t;

extern zgc_state_t zgc_state; /* of the main interpreter; valid after zpyabi_prove */

/* What gc.get_stats() tells of a generation. */
zgc_generation_stats_t zpyabi_stats(int generation);
void zpyabi_set_stats(int generation, const zgc_generation_stats_t *stats);

/* -- objects --------------------------------------------------------------------------------- */

#define ZPYABI_IMMORTAL INT64_MAX

/* References held, or ZPYABI_IMMORTAL. Racy. */
static inline int64_t zpyabi_refcount(const PyObject *object) {
  int64_t count = zload_relaxed(&object->refcount);
  if (zpyabi_layout->immortal && (int32_t)count < 0) return ZPYABI_IMMORTAL;
  return zpyabi_layout->split_refcount ? (int64_t)(uint32_t)count : count;
}

/* `next` in the head of an object, which is aligned as the object is: heads of lists need not be. Racy. */
static inline uintptr_t zpyabi_next_word(const PyObject *object) {
  return zload_relaxed((const uintptr_t *)object - sizeof(zgc_head_t) / sizeof(uintptr_t));
}

/* Not an object any more: on a free list, or being freed. Racy. On 3.14 and later the refcount of a
 * member of a free list is part of a pointer, and the list that it is not in is what tells. */
static inline bool zpyabi_is_dead(const PyObject *object, int64_t refcount) {
  if (refcount <= 0) return true;
  return zpyabi_layout->split_refcount && zpyabi_next_word(object) == 0;
}

static inline PyTypeObject *zpyabi_type(const PyObject *object) {
  return zload_relaxed(&object->type); /* racy; never followed without the GIL */
}

static inline void *zpyabi_word(const void *object, ptrdiff_t offset) { /* racy */
  return zload_relaxed((void *const *)((const char *)object + offset));
}

enum { /* the same in every layout served */
  ZPYABI_MANAGED_DICT = -24,
  ZPYABI_VALUES_311 = -32,
  ZPYABI_VAR_SIZE = 16,
  ZPYABI_CFUNCTION_METHOD = 16, /* its PyMethodDef */
  ZPYABI_WEAKREF_OBJECT = 16, /* the referent, or None; not counted in its refcount */
  ZPYABI_WEAKREF_CALLBACK = 24,
  ZPYABI_WEAKREF_NEXT = 48, /* in the list of its referent */
  ZPYABI_CFUNCTION_VECTORCALL = 48,
  ZPYABI_LIST_ITEMS = 24,
  ZPYABI_DICT_KEYS = 32,
  ZPYABI_DICT_VALUES = 40,
  ZPYABI_KEYS_LOG2_INDEX_BYTES = 9,
  ZPYABI_KEYS_KIND = 10,
  ZPYABI_KEYS_ENTRIES = 24,
  ZPYABI_KEYS_INDICES = 32,
  ZPYABI_KEYS_GENERAL = 0, /* kind: entries are hash, key, value; else key, value */
  ZPYABI_DICT_USED = 16,
  ZPYABI_ODICT_FIRST = 48,
  ZPYABI_ODICT_NODE_NEXT = 16,
  ZPYABI_ODICT_NODE_SIZE = 32,
  ZPYABI_SET_MASK = 32,
  ZPYABI_SET_TABLE = 40,
  ZPYABI_DEQUE_LEFT_BLOCK = 24,
  ZPYABI_DEQUE_RIGHT_BLOCK = 32,
  ZPYABI_DEQUE_LEFT_INDEX = 40,
  ZPYABI_DEQUE_RIGHT_INDEX = 48,
  ZPYABI_DEQUE_BLOCK_LENGTH = 64,
  ZPYABI_DEQUE_BLOCK_DATA = 8,
  ZPYABI_DEQUE_BLOCK_RIGHT = 8 + 64 * 8,
  ZPYABI_LRU_NEXT = 24, /* in an entry of functools.lru_cache, and in the cache, which begins like one */
  ZPYABI_LRU_KEY = 40,
  ZPYABI_LRU_DICT = 72, /* in the cache */
  ZPYABI_LRU_NODE_SIZE = 56, /* with the result, behind the key */
  ZPYABI_VALUES_EMBEDDED = 2, /* 3.13: byte of PyDictValues: lives inside the instance */
  ZPYABI_VALUES_CAPACITY = 0,
  ZPYABI_VALUES_VALID = 3
};

/* Slots by number, of the stable ABI (typeslots.h). */
enum {
  ZPYABI_SLOT_BASE = 48,
  ZPYABI_SLOT_CLEAR = 51,
  ZPYABI_SLOT_DEL = 53,
  ZPYABI_SLOT_INIT = 60,
  ZPYABI_SLOT_NEW = 65,
  ZPYABI_SLOT_TRAVERSE = 71,
  ZPYABI_SLOT_FINALIZE = 80
};

/* -- types, GIL held -------------------------------------------------------------------------- */

#define ZPYABI_FLAG_HEAPTYPE (1ul << 9)
#define ZPYABI_FLAG_HAVE_GC (1ul << 14)
#define ZPYABI_FLAG_TYPE_SUBCLASS (1ul << 31)
#define ZPYABI_FLAG_MANAGED_DICT (1ul << 4)
#define ZPYABI_FLAG_INLINE_VALUES (1ul << 2) /* 3.13 */

typedef struct {
  const char *name;
  Py_ssize_t basic_size, item_size, dict_offset, weaklist_offset;
  unsigned long flags;
  zpy_traverse_t traverse;
  PyTypeObject *base;
  void *cached_keys; /* heap types made by a class statement: their shared keys, or NULL */
} zpyabi_type_t;

zpyabi_type_t zpyabi_read_type(PyTypeObject *type);
unsigned long zpyabi_flags(PyTypeObject *type);
zpy_traverse_t zpyabi_traverse(PyTypeObject *type);
bool zpyabi_has_weakrefs(PyObject *object); /* to it */
/* By the chain of tp_base. */
bool zpyabi_is_subtype(PyTypeObject *type, const PyObject *base);
bool zpyabi_has_finalizer(PyTypeObject *type); /* tp_finalize, that is __del__ and its like */
/* Reports the exception that is set, as this version of CPython reports one of its collector's: `format` (3.14 and
 * later) says what was called, with one %R for it. */
void zpyabi_report(const char *format, PyObject *called);

bool zpyabi_has_legacy_finalizer(PyTypeObject *type); /* tp_del */

/* Its finalizer has been called, once and for all. */
static inline bool zpyabi_is_finalized(PyObject *object) {
  return (zpyabi_head(object)->prev & ZPYABI_PREV_FINALIZED) != 0;
}
/* Calls the finalizer of a tracked object as CPython's collector does, which holds one reference, too: the caller's. */
void zpyabi_finalize(PyObject *object);

/* Calls of this built-in function become calls of `call`, at once. CPython's own way there counts against the
 * recursion limit: at it, nothing else can be called. False where that is not found: all stays as it was. */
bool zpyabi_call_at_once(PyObject *function, zpy_vectorcall_t call);

/* Offset of slot `i` of a heap type's own __slots__, -1 when it is not an object slot, 0 past the
 * last. */
Py_ssize_t zpyabi_type_slot(PyTypeObject *type, unsigned i);

/* -- proof ------------------------------------------------------------------------------------ */

/* Minor version of a CPython that has a layout row, or 0; *why says what was found instead. Before
 * initialisation. */
int zpyabi_recognise(const char **why);

/* Finds and proves everything above, in the main interpreter with the GIL held. False: *why names
 * the claim that did not hold. Leaves no trace. */
bool zpyabi_prove(const char **why);

#endif
