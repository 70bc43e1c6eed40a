/* What the collector thread knows about types: type address -> how to find an instance's edges.
 *
 * The collector thread never follows ob_type; it uses the word as a key here. Entries are made and
 * changed with the GIL held and read without it: an entry is published with release (paired with
 * acquire in ztype_find), and every field read through it is bounded by the walker, so an entry
 * that is out of date costs time, never memory safety.
 *
 * A heap type can die and another be born at its address: zheap_hooks.old_freed calls
 * ztype_forget before the block can be reused. */
#ifndef COLLECTOR_PYTHON_ZTYPE_TABLE_H
#define COLLECTOR_PYTHON_ZTYPE_TABLE_H

#include "collector/python/zpyabi.h"

typedef enum {
  ZTYPE_DEFERRED, /* only the type's own tp_traverse knows; visited at safepoints */
  ZTYPE_PLAIN,    /* fields only */
  ZTYPE_LIST,
  ZTYPE_TUPLE,
  ZTYPE_DICT,
  ZTYPE_SET,
  ZTYPE_DEQUE,
  ZTYPE_ODICT,
  ZTYPE_GENERATOR, /* and coroutines */
  ZTYPE_LRU        /* functools.lru_cache */
} ztype_kind_t;

#define ZTYPE_FIELDS_MAX 120
#define ZTYPE_BASIC_SIZE_MAX 4096 /* so that fields stay below ZGRANULES_GUARD */
#define ZTYPE_PROOFS 4 /* instances on which a type's walker is compared with its tp_traverse */
#define ZTYPE_SAMPLE_TRIES 31 /* the last one is made after 2^30 meetings */

typedef struct ztype {
  PyTypeObject *type; /* NULL once the type is dead */
  uint8_t kind;       /* ztype_kind_t */
  uint8_t container;  /* the kind that a deferred one gets when it has been learned; 0: ZTYPE_PLAIN */
  bool visits_type;   /* instances count as references to their type */
  bool managed_dict;
  bool inline_values;
  uint8_t proofs_left;
  uint8_t lessons;    /* until ZTYPE_LESSONS; see ztype_learning.h */
  uint8_t lesson_in;  /* so many more instances are promoted before the next; 0: none */
  bool is_learned;    /* from instances, not by what CPython's code says: may overlook something */
  bool is_weakref;    /* a weak reference or a proxy: see zcomponents.h */
  bool has_finalizer; /* tp_finalize; as it was when the type was met */
  bool is_refuted;    /* its walker was compared with tp_traverse, and was wrong */
  bool is_sampled;    /* of a learned one: from samples that have every field set */
  uint8_t audit_every; /* of learned ones: see ztype_learning.h; written by the thread that drives a pass */
  uint8_t sample_tries; /* to prove it on samples, with the next one: 0: none */
  uint8_t field_count;
  int32_t dict_offset; /* of a __dict__ pointer that is not managed; < 0 from the end; 0 none */
  int32_t weaklist_offset; /* 0: instances have no weak references */
  uint32_t basic_size, item_size;
  uint32_t meetings; /* while sample_tries is not 0 */
  uint64_t unknown; /* words, by number, that must not be pointers for an instance to be read; a release makes
                     * one known, after its field, and the walker's acquire sees both */
  PyTypeObject *c_base; /* of a class: the C type that a part of its instances was learned of; a key */
  const void *cached_keys;
  zpy_traverse_t traverse;
  struct ztype *free_next;
  uint16_t fields[ZTYPE_FIELDS_MAX]; /* offsets of object pointers in the instance */
  uint32_t audited; /* in the pass under way; by all its lanes */
} ztype_t;

/* Open addressing; a reader that holds the old table while a larger one is published finds less,
 * never something wrong. Old tables are kept: readers have no way to say they are done. */
typedef struct {
  size_t mask;
  ztype_t *slots[];
} ztype_table_t;

extern ztype_table_t *ztype_table;

static inline size_t ztype_hash(const void *type) {
  return (size_t)(((uintptr_t)type >> 4) * 0x9E3779B97F4A7C15u >> 20);
}

/* Registered entry or NULL. Any thread. */
static inline ztype_t *ztype_find(PyTypeObject *type) {
  ztype_table_t *t = zload_acquire(&ztype_table);
  if (t == NULL) return NULL;
  for (size_t i = ztype_hash(type) & t->mask;; i = (i + 1) & t->mask) {
    ztype_t *entry = zload_acquire(&t->slots[i]);
    if (entry == NULL) return NULL;
    if (zload_relaxed(&entry->type) == type) return entry;
  }
}

/* A new entry, all zero, or NULL when memory is short. GIL. */
ztype_t *ztype_new_entry(void);
/* From now on readers find it. False when memory is short. GIL. */
bool ztype_publish(ztype_t *entry);

/* The walker of a learned type was wrong: the type is deferred from now on, with its family. GIL held. */
void ztype_refute(ztype_t *entry, const char *why);
/* One more field; false: there are too many. */
bool ztype_add_field(ztype_t *entry, size_t offset);

/* The type is deferred from now on, for good. GIL. */
void ztype_defer(ztype_t *entry, const char *why);

/* What the samples found out. GIL. */
extern const void *ztype_set_dummy;         /* fills deleted set entries; not an edge */
extern zpy_traverse_t ztype_class_traverse; /* tp_traverse of every class made by a class statement */

/* Forgets every type: the interpreter is being finalised, and classes will die unnoticed. GIL held; the
 * next interpreter starts the registry again. */
void ztype_registry_stop(void);

/* The type object at this address is being freed. GIL held. */
void ztype_forget(PyTypeObject *type);

/* Calls visit(entry, arg) for each live entry; GIL held. */
void ztype_each(void (*visit)(const ztype_t *, void *), void *arg);

#endif
