#include "collector/ztype_registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ztype_samples.h"
#include "collector/zwalker.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

#define EDGES_MAX 512 /* an instance with more is not used as a proof */
#define FIRST_TABLE 1024
#define POOL_BYTES (256 * ZK)

const void *zwalker_empty_keys[ZWALKER_EMPTY_KEYS];
zwalker_shared_values_t zwalker_shared_values;

ztype_table_t *ztype_table;
static size_t slots_used;
static ztype_t *free_entries;
static char *pool;
static size_t pool_left;

const void *ztype_set_dummy;
zpy_traverse_t ztype_class_traverse;

/* -- table --------------------------------------------------------------------------------------- */

/* A reader may still look at a dead entry that is used again: it then sees another type's. */
static void recycle(ztype_t *dead) {
  dead->free_next = free_entries;
  free_entries = dead;
}

/* Takes an unused slot or that of a dead entry. */
static void insert(ztype_table_t *t, ztype_t *entry) {
  size_t i = ztype_hash(entry->type) & t->mask;
  while (t->slots[i] != NULL && t->slots[i]->type != NULL) i = (i + 1) & t->mask;
  if (t->slots[i] == NULL) {
    slots_used++;
  } else {
    recycle(t->slots[i]);
  }
  zstore_release(&t->slots[i], entry);
}

static bool grow(void) {
  size_t size = ztype_table == NULL ? FIRST_TABLE : (ztype_table->mask + 1) * 2;
  ztype_table_t *larger = zos_table_map(sizeof *larger + size * sizeof larger->slots[0]);
  if (larger == NULL) return false;
  larger->mask = size - 1;
  slots_used = 0;
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    ztype_t *entry = ztype_table->slots[i];
    if (entry == NULL) continue;
    if (entry->type != NULL) {
      insert(larger, entry);
    } else {
      recycle(entry);
    }
  }
  zstore_release(&ztype_table, larger);
  return true;
}

static ztype_t *new_entry(void) {
  ztype_t *entry = free_entries;
  if (entry != NULL) {
    free_entries = entry->free_next;
    memset(entry, 0, sizeof *entry);
    return entry;
  }
  if (pool_left < sizeof *entry) {
    pool = zos_table_map(POOL_BYTES);
    pool_left = pool == NULL ? 0 : POOL_BYTES;
    if (pool == NULL) return NULL;
  }
  entry = (ztype_t *)pool;
  pool += sizeof *entry;
  pool_left -= sizeof *entry;
  return entry;
}

static bool publish(ztype_t *entry) {
  if ((ztype_table == NULL || slots_used * 2 > ztype_table->mask) && !grow()) return false;
  insert(ztype_table, entry);
  zstat_add(types_registered, 1);
  if (entry->kind == ZTYPE_DEFERRED) zstat_add(types_deferred, 1);
  return true;
}

void ztype_forget(PyTypeObject *type) {
  ztype_t *entry = ztype_find(type);
  if (entry == NULL) return;
  /* The slot keeps pointing at the dead entry, so that probe chains stay whole. */
  if (entry->kind == ZTYPE_DEFERRED) zstat_add(types_deferred, -1);
  zstat_add(types_registered, -1);
  zstore_relaxed(&entry->type, NULL);
}

void ztype_registry_stop(void) {
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    const ztype_t *entry = ztype_table->slots[i];
    if (entry != NULL && entry->type != NULL) ztype_forget(entry->type);
  }
}

void ztype_each(void (*visit)(const ztype_t *, void *), void *arg) {
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    const ztype_t *entry = ztype_table->slots[i];
    if (entry != NULL && entry->type != NULL) visit(entry, arg);
  }
}

/* -- edges of one instance -------------------------------------------------------------------------- */

typedef struct {
  size_t count;
  bool overflow;
  void *edge[EDGES_MAX];
} edges_t;

static void edges_add(void *context, void *reference) {
  edges_t *edges = context;
  if (reference == ztype_set_dummy) return;
  if (edges->count == EDGES_MAX) {
    edges->overflow = true;
    return;
  }
  edges->edge[edges->count++] = reference;
}

static int traverse_visit(PyObject *reference, void *context) {
  edges_t *edges = context;
  edges_add(context, reference);
  return edges->overflow; /* stops the traversal */
}

static int compare_words(const void *a, const void *b) {
  uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
  return x < y ? -1 : x > y;
}

static void edges_sort(edges_t *edges) {
  qsort(edges->edge, edges->count, sizeof edges->edge[0], compare_words);
}

static void edges_from_traverse(PyObject *instance, zpy_traverse_t traverse, edges_t *edges) {
  edges->count = 0;
  edges->overflow = false;
  if (traverse != NULL) traverse(instance, traverse_visit, edges);
}

static bool edges_equal(edges_t *a, edges_t *b) {
  if (a->count != b->count) return false;
  edges_sort(a);
  edges_sort(b);
  return memcmp(a->edge, b->edge, a->count * sizeof a->edge[0]) == 0;
}

/* Takes one occurrence of `reference` out; false when there is none. */
static bool edges_take(edges_t *edges, const void *reference) {
  for (size_t i = 0; i < edges->count; i++) {
    if (edges->edge[i] != reference) continue;
    edges->edge[i] = edges->edge[--edges->count];
    return true;
  }
  return false;
}

static edges_t expected, walked; /* GIL */

static void make_deferred(ztype_t *entry, const char *why) {
  entry->lessons_left = 0;
  if (entry->kind == ZTYPE_DEFERRED) return;
  zlog_debug("gc,types", "type %.80s is deferred: %s", zpyabi_read_type(entry->type).name, why);
  entry->kind = ZTYPE_DEFERRED;
  entry->is_refuted = true;
  zstat_add(types_deferred, 1);
}

/* Compares the walker with tp_traverse on this instance. An instance whose storage lies outside the
 * heap, or with very many edges, proves nothing either way: false. */
static bool compare_on(ztype_t *entry, PyObject *instance) {
  edges_from_traverse(instance, entry->traverse, &expected);
  if (expected.overflow) return false; /* and a walk to its end would be a pause */
  walked.count = 0;
  walked.overflow = false;
  bool complete = zwalker_walk(instance, entry, edges_add, &walked);
  if (!complete || walked.overflow) return false;
  if (edges_equal(&expected, &walked)) return true;
  char why[96];
  snprintf(why, sizeof why, "its walker finds %zu references, tp_traverse %zu, or other ones",
           walked.count, expected.count);
  make_deferred(entry, why);
  return true;
}

static void prove_on(ztype_t *entry, PyObject *instance) {
  if (entry->kind == ZTYPE_DEFERRED || entry->proofs_left == 0) return;
  if (compare_on(entry, instance)) entry->proofs_left--;
}

bool ztype_visits(PyObject *object, const void *reference) {
  edges_from_traverse(object, zpyabi_read_type(zpyabi_type(object)).traverse, &expected);
  return edges_take(&expected, reference);
}

bool ztype_verify(PyObject *instance, char *why, size_t size) {
  ztype_t *entry = ztype_find(zpyabi_type(instance));
  if (entry == NULL || entry->kind == ZTYPE_DEFERRED) return true;
  zpyabi_type_t type = zpyabi_read_type(entry->type);
  edges_from_traverse(instance, type.traverse, &expected);
  walked.count = 0;
  walked.overflow = false;
  bool complete = zwalker_walk(instance, entry, edges_add, &walked);
  if (!complete || walked.overflow || expected.overflow || edges_equal(&expected, &walked)) return true;
  if (entry->is_learned) { /* no fault of ours, and a stopped collection does not rest on it */
    make_deferred(entry, "its words are not all of its references, or not always");
    return true;
  }
  snprintf(why, size, "the walker of %.60s finds %zu references in %p, tp_traverse %zu, or other ones",
           type.name, walked.count, (void *)instance, expected.count);
  return false;
}

/* -- describing a type -------------------------------------------------------------------------------- */

static bool add_field(ztype_t *entry, size_t offset) {
  if (entry->field_count == ZTYPE_FIELDS_MAX || offset + sizeof(void *) > ZTYPE_BASIC_SIZE_MAX) return false;
  entry->fields[entry->field_count++] = (uint16_t)offset;
  return true;
}

static ztype_kind_t exact_kind(PyTypeObject *type) {
  if (type == zpy.PyList_Type) return ZTYPE_LIST;
  if (type == zpy.PyTuple_Type) return ZTYPE_TUPLE;
  if (type == zpy.PyDict_Type) return ZTYPE_DICT;
  if (type == zpy.PySet_Type || type == zpy.PyFrozenSet_Type) return ZTYPE_SET;
  return ZTYPE_DEFERRED;
}

static ztype_t *register_type(PyTypeObject *type);
static void prove_on_samples(ztype_t *entry);

/* A C type that was learned. Where it may yet be proven on samples, the class is described again, then. */
static const ztype_t *known_base(ztype_t *class, PyTypeObject *base) {
  ztype_t *known = ztype_find(base);
  if (known == NULL) known = register_type(base);
  if (known == NULL) return NULL;
  if (known->sample_tries > 0) prove_on_samples(known);
  if (known->sample_tries > 0) class->sample_tries = 1;
  return known;
}

/* A class made by a class statement: what subtype_traverse (Objects/typeobject.c) does, as data. */
static bool describe_class(ztype_t *entry, const zpyabi_type_t *t) {
  if (t->basic_size > ZTYPE_BASIC_SIZE_MAX) return false;
  PyTypeObject *base = entry->type;
  zpyabi_type_t b = *t;
  while (b.traverse == ztype_class_traverse) {
    Py_ssize_t offset;
    for (unsigned i = 0; (offset = zpyabi_type_slot(base, i)) != 0; i++) {
      if (offset > 0 && !add_field(entry, (size_t)offset)) return false;
    }
    base = b.base;
    if (base == NULL) return false;
    b = zpyabi_read_type(base);
  }
  entry->managed_dict = (t->flags & ZPYABI_FLAG_MANAGED_DICT) != 0;
  entry->inline_values = (t->flags & ZPYABI_FLAG_INLINE_VALUES) != 0;
  if (!entry->managed_dict && t->dict_offset != b.dict_offset) {
    if (t->dict_offset < 0 && t->item_size != sizeof(void *)) return false; /* int and its like */
    entry->dict_offset = (int32_t)t->dict_offset;
  }
  entry->cached_keys = t->cached_keys;
  entry->visits_type = b.traverse == NULL || !(b.flags & ZPYABI_FLAG_HEAPTYPE);
  entry->kind = ZTYPE_PLAIN;
  if (b.traverse == NULL) return true;
  ztype_kind_t exact = exact_kind(base);
  if (exact != ZTYPE_DEFERRED) {
    entry->kind = (uint8_t)exact;
    return true;
  }
  const ztype_t *known = known_base(entry, base);
  if (known == NULL || known->kind == ZTYPE_DEFERRED) return false;
  entry->kind = known->kind;
  entry->visits_type = entry->visits_type || known->visits_type;
  entry->unknown = known->unknown;
  for (unsigned i = 0; i < known->field_count; i++) {
    if (!add_field(entry, known->fields[i])) return false;
  }
  return true;
}

/* The free hook tells of old objects only, and an instance can be promoted before its class is. A class
 * that cannot be old dies unnoticed. */
static bool will_be_told_of_death(PyTypeObject *type, const zpyabi_type_t *t) {
  if (!(t->flags & ZPYABI_FLAG_HEAPTYPE)) return true;
  if (!zold_map_admit(type) && !zold_map_is_old(type)) return false;
  zold_map_add(type);
  return true;
}

/* -- learning C types from the program's instances -- */

static bool is_learnable(const zpyabi_type_t *t) {
  size_t most = 64 * sizeof(void *);
  return ztype_class_traverse != NULL && t->traverse != NULL && t->item_size == 0 &&
         (size_t)t->basic_size <= most && !(t->flags & ZPYABI_FLAG_MANAGED_DICT);
}

/* All words behind the header but that of the weak references, which are nobody's. */
static uint64_t words_of(const zpyabi_type_t *t) {
  size_t count = (size_t)t->basic_size / sizeof(void *);
  uint64_t words = (count < 64 ? (uint64_t)1 << count : 0) - 1;
  if (t->weaklist_offset > 0) words &= ~((uint64_t)1 << (size_t)t->weaklist_offset / sizeof(void *));
  return words & ~(uint64_t)3;
}

/* The only one of the words that holds this reference; 0: there is none, or there are several. */
static unsigned word_with(PyObject *instance, uint64_t words, const void *reference) {
  unsigned found = 0;
  for (; words != 0; words &= words - 1) {
    unsigned at = (unsigned)__builtin_ctzll(words);
    if (zpyabi_word(instance, (ptrdiff_t)(at * sizeof(void *))) != reference) continue;
    if (found != 0) return 0;
    found = at;
  }
  return found;
}

/* What is known must be right. What tp_traverse reports beside it must stand in one of the other words: these
 * become known. Nothing is learned from an instance where that is not clear. */
static void learn_from(ztype_t *entry, PyObject *instance) {
  edges_from_traverse(instance, entry->traverse, &expected);
  if (expected.overflow) return;
  bool is_first = entry->kind == ZTYPE_DEFERRED;
  bool visits_type = edges_take(&expected, entry->type), is_right = is_first || visits_type == entry->visits_type;
  for (unsigned i = 0; i < entry->field_count; i++) {
    const void *reference = zpyabi_word(instance, entry->fields[i]);
    is_right = is_right && (reference == NULL || edges_take(&expected, reference));
  }
  if (!is_right) {
    make_deferred(entry, "a word is a reference in some instances, and not in others");
    return;
  }
  ztype_t learned = *entry;
  for (size_t i = 0; i < expected.count; i++) {
    unsigned word = word_with(instance, learned.unknown, expected.edge[i]);
    if (word == 0 || !add_field(&learned, word * sizeof(void *))) return;
    learned.unknown &= ~((uint64_t)1 << word);
  }
  if (!is_first && expected.count == 0) return;
  memcpy(entry->fields, learned.fields, sizeof entry->fields);
  entry->visits_type = visits_type;
  entry->field_count = learned.field_count;
  zstore_release(&entry->unknown, learned.unknown);
  zstore_release(&entry->kind, (uint8_t)ZTYPE_PLAIN);
  if (is_first) zstat_add(types_deferred, -1);
}

/* The layout of a subclass begins with that of tp_base, so the chain of bases is enough. */
static bool is_weakref(PyTypeObject *type) {
  for (; type != NULL; type = zpyabi_read_type(type).base) {
    PyObject *object = (PyObject *)type;
    if (object == zpy._PyWeakref_RefType || object == zpy._PyWeakref_ProxyType ||
        object == zpy._PyWeakref_CallableProxyType) {
      return true;
    }
  }
  return false;
}

static bool is_class(const zpyabi_type_t *t) {
  return ztype_class_traverse != NULL && t->traverse == ztype_class_traverse;
}

static void describe(ztype_t *entry, const zpyabi_type_t *t) {
  if (describe_class(entry, t)) return;
  entry->kind = ZTYPE_DEFERRED;
  entry->field_count = 0;
}

static ztype_t *register_type(PyTypeObject *type) {
  ztype_t *entry = new_entry();
  if (entry == NULL) return NULL;
  zpyabi_type_t t = zpyabi_read_type(type);
  entry->type = type;
  entry->traverse = t.traverse;
  entry->basic_size = (uint32_t)t.basic_size;
  entry->item_size = (uint32_t)t.item_size;
  entry->proofs_left = ZTYPE_PROOFS;
  entry->is_weakref = is_weakref(type);
  entry->weaklist_offset = (int32_t)t.weaklist_offset;
  entry->kind = (uint8_t)exact_kind(type);
  if (!will_be_told_of_death(type, &t)) {
    entry->kind = ZTYPE_DEFERRED;
  } else if (is_class(&t)) {
    describe(entry, &t);
  } else if (ztype_samples_know(&t)) {
    entry->sample_tries = 1;
  } else if (entry->kind == ZTYPE_DEFERRED && is_learnable(&t)) {
    entry->is_learned = true;
    entry->unknown = words_of(&t);
    entry->lessons_left = ZTYPE_LESSONS;
  }
  return publish(entry) ? entry : NULL;
}

/* Each edge that the container part does not explain must stand in exactly as many words of the
 * instance's fixed part as tp_traverse reports it. */
static void learn_from_sample(ztype_t *entry, PyObject *sample, ztype_kind_t kind) {
  edges_from_traverse(sample, entry->traverse, &expected);
  ztype_t learned = *entry;
  learned.kind = (uint8_t)kind;
  learned.is_learned = true;
  learned.lessons_left = 0;
  learned.unknown = 0; /* every field of a sample is set */
  walked.count = 0;
  walked.overflow = false;
  if (!zwalker_walk(sample, &learned, edges_add, &walked)) return;
  for (size_t i = 0; i < walked.count; i++) {
    if (!edges_take(&expected, walked.edge[i])) return;
  }
  if (edges_take(&expected, zpyabi_type(sample))) learned.visits_type = true;
  for (size_t offset = 16; offset + sizeof(void *) <= entry->basic_size; offset += sizeof(void *)) {
    const void *word = zpyabi_word(sample, (ptrdiff_t)offset);
    if (word != NULL && edges_take(&expected, word) && !add_field(&learned, offset)) return;
  }
  if (expected.count != 0) return;
  *entry = learned;
  zstat_add(types_deferred, -1);
}

void ztype_learn(PyObject *sample, ztype_kind_t kind) {
  ztype_t *entry = ztype_find(zpyabi_type(sample));
  if (entry == NULL) entry = register_type(zpyabi_type(sample));
  if (entry == NULL || entry->is_refuted) return;
  if (entry->kind == ZTYPE_DEFERRED) learn_from_sample(entry, sample, kind);
  if (entry->kind != ZTYPE_DEFERRED) compare_on(entry, sample);
}

/* A class waits for its base. Readers see the new description once it is whole. */
static bool describe_again(ztype_t *entry, const zpyabi_type_t *t) {
  ztype_t described = *entry;
  described.sample_tries = 0;
  describe(&described, t);
  bool waits = described.sample_tries > 0;
  if (described.kind == ZTYPE_DEFERRED) return !waits;
  uint8_t kind = described.kind;
  described.kind = ZTYPE_DEFERRED;
  described.sample_tries = entry->sample_tries;
  *entry = described;
  zstore_release(&entry->kind, kind);
  zstat_add(types_deferred, -1);
  return true;
}

static bool prove_again(ztype_t *entry) {
  zpyabi_type_t t = zpyabi_read_type(entry->type);
  return is_class(&t) ? describe_again(entry, &t) : ztype_samples_prove(entry->type);
}

/* Proves what is proven on samples at the first meeting. Where they cannot be made, it is tried again, after
 * twice as many meetings each time. What is allocated meanwhile must start no collection, in the midst of
 * one's work: no thread but ours runs. */
static void prove_on_samples(ztype_t *entry) {
  if (++entry->meetings < 1u << (entry->sample_tries - 1)) return;
  int collecting = *zgc_state.collecting;
  *zgc_state.collecting = 1;
  bool proven = prove_again(entry);
  *zgc_state.collecting = collecting;
  bool again = !proven && !entry->is_refuted && entry->sample_tries < ZTYPE_SAMPLE_TRIES;
  entry->sample_tries = again ? entry->sample_tries + 1 : 0;
}

ztype_t *ztype_of(PyObject *instance) {
  PyTypeObject *type = zpyabi_type(instance);
  ztype_t *entry = ztype_find(type);
  if (zunlikely(entry == NULL)) {
    entry = register_type(type);
    if (entry == NULL) return NULL;
  }
  if (zunlikely(entry->sample_tries > 0)) prove_on_samples(entry);
  if (zunlikely(entry->lessons_left > 0)) {
    entry->lessons_left--;
    learn_from(entry, instance);
  }
  if (zunlikely(entry->proofs_left > 0)) prove_on(entry, instance);
  return entry;
}

static void log_entry(const ztype_t *entry, void *unused) {
  (void)unused;
  zlog_debug("gc,types", "type %.60s: %s, %u fields", zpyabi_read_type(entry->type).name,
             entry->kind == ZTYPE_DEFERRED ? "deferred" : "walker proven", entry->field_count);
}

bool ztype_registry_start(void) {
  uint64_t start = zos_now_ns();
  if (!ztype_samples_prove_core()) return false;
  if (zlog_is(ZLOG_DEBUG)) ztype_each(log_entry, NULL);
  zlog_info("gc,init", "walkers proven for %llu types, %llu deferred, in %.3fms",
            (unsigned long long)(zstat_get(types_registered) - zstat_get(types_deferred)),
            (unsigned long long)zstat_get(types_deferred), zlog_ms(zos_now_ns() - start));
  return true;
}
