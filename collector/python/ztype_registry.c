#include "collector/python/ztype_registry.h"

#include <stdio.h>
#include <string.h>

#include "collector/python/zedges.h"
#include "collector/python/ztype_learning.h"
#include "collector/python/ztype_samples.h"
#include "collector/python/zwalker.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

/* -- comparing with tp_traverse ------------------------------------------------------------------------- */

static zedges_t expected, walked; /* GIL */

/* Compares the walker with tp_traverse on this instance. An instance whose storage lies outside the
 * heap, or with very many edges, proves nothing either way: false. */
static bool compare_on(ztype_t *entry, PyObject *instance) {
  if (!zedges_from_traverse(instance, &expected) || !zedges_from_walker(instance, entry, &walked)) return false;
  if (zedges_equal(&expected, &walked)) return true;
  char why[96];
  snprintf(why, sizeof why, "its walker finds %zu references, tp_traverse %zu, or other ones",
           walked.count, expected.count);
  ztype_refute(entry, why);
  return true;
}

static void prove_on(ztype_t *entry, PyObject *instance) {
  if (entry->kind == ZTYPE_DEFERRED || entry->proofs_left == 0) return;
  if (compare_on(entry, instance)) entry->proofs_left--;
}

bool ztype_verify(PyObject *instance, char *why, size_t size) {
  ztype_t *entry = ztype_find(zpyabi_type(instance));
  if (entry == NULL || entry->kind == ZTYPE_DEFERRED) return true;
  if (entry->is_learned) { /* what is wrong there is no fault of ours, and a stopped collection does not rest on it */
    ztype_learn_from(entry, instance);
    return true;
  }
  if (!zedges_from_traverse(instance, &expected) || !zedges_from_walker(instance, entry, &walked)) return true;
  if (zedges_equal(&expected, &walked)) return true;
  snprintf(why, size, "the walker of %.60s finds %zu references in %p, tp_traverse %zu, or other ones",
           zpyabi_read_type(entry->type).name, walked.count, (void *)instance, expected.count);
  return false;
}

void ztype_recheck(void) {
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    ztype_t *entry = ztype_table->slots[i];
    if (entry == NULL || entry->type == NULL || entry->kind == ZTYPE_DEFERRED) continue;
    if (zpyabi_traverse(entry->type) != entry->traverse) ztype_defer(entry, "its tp_traverse is another one now");
  }
}

/* -- describing a type -------------------------------------------------------------------------------- */

static ztype_kind_t exact_kind(PyTypeObject *type) {
  if (type == zpy.PyList_Type) return ZTYPE_LIST;
  if (type == zpy.PyTuple_Type) return ZTYPE_TUPLE;
  if (type == zpy.PyDict_Type) return ZTYPE_DICT;
  if (type == zpy.PySet_Type || type == zpy.PyFrozenSet_Type) return ZTYPE_SET;
  return ZTYPE_DEFERRED;
}

zpy_traverse_t ztype_not_learned;

static bool is_learnable(const zpyabi_type_t *t, uint64_t *words) {
  if (ztype_class_traverse == NULL || t->traverse == NULL || t->traverse == ztype_not_learned) return false;
  return !(t->flags & ZPYABI_FLAG_MANAGED_DICT) && ztype_words(t, words);
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

/* The part of an instance that belongs to a C type is as in that type's own instances, or, where there are none of
 * these, learned from those of the class. */
static bool inherit(ztype_t *class, const ztype_t *known, const zpyabi_type_t *base) {
  uint64_t words;
  if (known == NULL || known->is_refuted || class->sample_tries > 0) return false;
  class->c_base = known->type;
  if (known->kind == ZTYPE_DEFERRED) {
    if (!is_learnable(base, &words)) return false;
    class->kind = ZTYPE_DEFERRED;
    ztype_learning_begin(class, words);
    return true;
  }
  class->kind = known->kind;
  class->visits_type = class->visits_type || known->visits_type;
  ztype_learning_begin(class, known->unknown);
  for (unsigned i = 0; i < known->field_count; i++) {
    if (!ztype_add_field(class, known->fields[i])) return false;
  }
  return true;
}

/* A class made by a class statement: what subtype_traverse (Objects/typeobject.c) does, as data. */
static bool describe_class(ztype_t *entry, const zpyabi_type_t *t) {
  if (t->basic_size > ZTYPE_BASIC_SIZE_MAX) return false;
  PyTypeObject *base = entry->type;
  zpyabi_type_t b = *t;
  while (b.traverse == ztype_class_traverse) {
    Py_ssize_t offset;
    for (unsigned i = 0; (offset = zpyabi_type_slot(base, i)) != 0; i++) {
      if (offset > 0 && !ztype_add_field(entry, (size_t)offset)) return false;
    }
    base = b.base;
    if (base == NULL) return false;
    b = zpyabi_read_type(base);
  }
  entry->managed_dict = (t->flags & ZPYABI_FLAG_MANAGED_DICT) != 0;
  entry->inline_values = (t->flags & ZPYABI_FLAG_INLINE_VALUES) != 0;
  if (!entry->managed_dict && t->dict_offset != b.dict_offset) {
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
  return inherit(entry, known_base(entry, base), &b);
}

/* zheap_hooks.old_freed is called for old objects only, and an instance can be promoted before its class is. A class
 * that cannot be old dies unnoticed. */
static bool will_be_told_of_death(PyTypeObject *type, const zpyabi_type_t *t) {
  if (!(t->flags & ZPYABI_FLAG_HEAPTYPE)) return true;
  if (!zold_map_admit(type) && !zold_map_is_old(type)) return false;
  zold_map_add(type);
  return true;
}

/* The layout of a subclass begins with that of tp_base, so the chain of bases is enough. */
static bool is_weakref(PyTypeObject *type) {
  return zpyabi_is_subtype(type, zpy._PyWeakref_RefType) || zpyabi_is_subtype(type, zpy._PyWeakref_ProxyType) ||
         zpyabi_is_subtype(type, zpy._PyWeakref_CallableProxyType);
}

static bool is_class(const zpyabi_type_t *t) {
  return ztype_class_traverse != NULL && t->traverse == ztype_class_traverse;
}

static void describe(ztype_t *entry, const zpyabi_type_t *t) {
  if (describe_class(entry, t)) return;
  entry->kind = ZTYPE_DEFERRED;
  entry->field_count = 0;
  entry->lesson_in = 0;
}

static ztype_t *register_type(PyTypeObject *type) {
  ztype_t *entry = ztype_new_entry();
  if (entry == NULL) return NULL;
  zpyabi_type_t t = zpyabi_read_type(type);
  uint64_t words;
  entry->type = type;
  entry->traverse = t.traverse;
  entry->basic_size = (uint32_t)t.basic_size;
  entry->item_size = (uint32_t)t.item_size;
  entry->proofs_left = ZTYPE_PROOFS;
  entry->is_weakref = is_weakref(type);
  entry->has_finalizer = zpyabi_has_finalizer(type);
  entry->weaklist_offset = (int32_t)t.weaklist_offset;
  entry->kind = (uint8_t)exact_kind(type);
  if (!will_be_told_of_death(type, &t)) {
    entry->kind = ZTYPE_DEFERRED;
  } else if (is_class(&t)) {
    describe(entry, &t);
  } else if (ztype_samples_know(&t)) {
    entry->sample_tries = 1;
  } else if (entry->kind == ZTYPE_DEFERRED && !ztype_describe_generator(entry) && is_learnable(&t, &words)) {
    ztype_learning_begin(entry, words);
    ztype_learning_note_container(entry, &t);
  }
  return ztype_publish(entry) ? entry : NULL;
}

/* Each edge that the container part does not explain must stand in exactly as many words of the
 * instance's fixed part as tp_traverse reports it. */
static void learn_from_sample(ztype_t *entry, PyObject *sample, ztype_kind_t kind) {
  ztype_t learned = *entry;
  learned.kind = (uint8_t)kind;
  ztype_learning_begin(&learned, 0); /* every field of a sample is set */
  learned.is_sampled = true;
  learned.audit_every = ZTYPE_AUDIT_MOST;
  if (!zedges_from_traverse(sample, &expected) || !zedges_from_walker(sample, &learned, &walked)) return;
  if (!zedges_take_all(&expected, &walked)) return;
  if (zedges_take(&expected, zpyabi_type(sample))) learned.visits_type = true;
  for (size_t offset = 16; offset + sizeof(void *) <= entry->basic_size; offset += sizeof(void *)) {
    const void *word = zpyabi_word(sample, (ptrdiff_t)offset);
    if (word != NULL && zedges_take(&expected, word) && !ztype_add_field(&learned, offset)) return;
  }
  if (expected.count != 0) return;
  *entry = learned;
  zstat_add(types_deferred, -1);
}

/* Learns the sample's type, or compares its walker with tp_traverse once more. Every field of the first sample of a
 * type is set, to objects that occur nowhere else in it. */
static void learn(PyObject *sample, ztype_kind_t kind) {
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
  uint8_t kind = described.kind;
  if (kind == ZTYPE_DEFERRED && described.lesson_in == 0) return !waits;
  described.kind = ZTYPE_DEFERRED;
  described.sample_tries = entry->sample_tries;
  *entry = described;
  zstore_release(&entry->kind, kind);
  if (kind != ZTYPE_DEFERRED) zstat_add(types_deferred, -1);
  return true;
}

static bool prove_again(ztype_t *entry) {
  zpyabi_type_t t = zpyabi_read_type(entry->type);
  return is_class(&t) ? describe_again(entry, &t) : ztype_samples_prove(entry->type, learn);
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
  ztype_learning_meet(entry, instance);
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
  if (!ztype_samples_prove_core(learn)) return false;
  if (zlog_is(ZLOG_DEBUG)) ztype_each(log_entry, NULL);
  zlog_info("gc,init", "walkers proven for %llu types, %llu deferred, in %.3fms",
            (unsigned long long)(zstat_get(types_registered) - zstat_get(types_deferred)),
            (unsigned long long)zstat_get(types_deferred), zlog_ms(zos_now_ns() - start));
  return true;
}
