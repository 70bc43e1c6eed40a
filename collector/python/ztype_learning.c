#include "collector/python/ztype_learning.h"

#include <string.h>

#include "collector/python/zedges.h"
#include "collector/python/zwalker.h"
#include "heap/base/zstat.h"

#define WORDS_MAX 64 /* as many as an entry has bits for */
#define HEADER ((uint64_t)3) /* refcount and type */

static zedges_t reported, walked;

bool ztype_words(const zpyabi_type_t *type, uint64_t *words) {
  size_t count = (size_t)type->basic_size / sizeof(void *);
  if (type->item_size != 0 || count > WORDS_MAX) return false;
  uint64_t all = (count < WORDS_MAX ? (uint64_t)1 << count : 0) - 1;
  if (type->weaklist_offset > 0) all &= ~((uint64_t)1 << (size_t)type->weaklist_offset / sizeof(void *));
  *words = all & ~HEADER;
  return true;
}

static const struct {
  const char *name;
  ztype_kind_t kind;
  uint64_t words; /* that belong to the container: pointers which are no references, and numbers */
} containers[] = {
    {"functools._lru_cache_wrapper", ZTYPE_LRU, 0xFC}, /* the ring, and the function in C that is used */
};

void ztype_learning_note_container(ztype_t *entry, const zpyabi_type_t *type) {
  /* Another type of the same name has another tp_traverse. */
  if (!zpy_is_code((const void *)type->traverse)) return;
  for (size_t i = 0; i < ZARRAY_LENGTH(containers); i++) {
    if (strcmp(type->name, containers[i].name) != 0) continue;
    entry->container = (uint8_t)containers[i].kind;
    entry->unknown &= ~containers[i].words;
  }
}

bool ztype_describe_generator(ztype_t *entry) {
  uint8_t fields[ZPYABI_GENERATOR_FIELDS + 1];
  int count = zpyabi_generator_fields(entry->type, fields);
  if (count < 0) return false;
  for (int i = 0; i < count; i++) ztype_add_field(entry, fields[i]);
  entry->kind = ZTYPE_GENERATOR;
  ztype_learning_begin(entry, 0);
  return true;
}

void ztype_learning_begin(ztype_t *entry, uint64_t words) {
  entry->is_learned = true;
  entry->unknown = words;
  entry->lesson_in = entry->audit_every = 1;
}

/* Which of the words hold this reference. */
static uint64_t words_with(PyObject *instance, uint64_t words, const void *reference) {
  uint64_t found = 0;
  for (; words != 0; words &= words - 1) {
    unsigned at = (unsigned)__builtin_ctzll(words);
    if (zpyabi_word(instance, (ptrdiff_t)(at * sizeof(void *))) == reference) found |= (uint64_t)1 << at;
  }
  return found;
}

static unsigned occurrences(const zedges_t *edges, const void *reference) {
  unsigned count = 0;
  for (size_t i = 0; i < edges->count; i++) count += edges->edge[i] == reference;
  return count;
}

/* Adds the words that hold the reported ones, where it is clear which do: as many hold it as report it. False
 * when a reference remains. */
static bool explain(ztype_t *learned, PyObject *instance, zedges_t *rest) {
  bool is_explained = true;
  while (rest->count > 0) {
    const void *reference = rest->edge[0];
    uint64_t words = words_with(instance, learned->unknown, reference);
    unsigned count = occurrences(rest, reference);
    bool is_clear = (unsigned)__builtin_popcountll(words) == count;
    is_explained = is_explained && is_clear;
    for (uint64_t w = is_clear ? words : 0; w != 0; w &= w - 1) {
      unsigned at = (unsigned)__builtin_ctzll(w);
      if (!ztype_add_field(learned, at * sizeof(void *))) return false;
      learned->unknown &= ~((uint64_t)1 << at);
    }
    while (zedges_take(rest, reference)) {
    }
  }
  return is_explained;
}

/* Readers see the fields before the words that they stand in are known, and all before the kind. */
static void publish(ztype_t *entry, const ztype_t *learned) {
  memcpy(entry->fields, learned->fields, sizeof entry->fields);
  entry->visits_type = learned->visits_type;
  entry->field_count = learned->field_count;
  zstore_release(&entry->unknown, learned->unknown);
  if (entry->kind == ZTYPE_DEFERRED) {
    zstat_add(types_deferred, -1);
    zstore_release(&entry->kind, learned->kind);
  }
}

void ztype_learn_from(ztype_t *entry, PyObject *instance) {
  if (entry->is_refuted) return;
  bool is_first = entry->kind == ZTYPE_DEFERRED;
  ztype_t learned = *entry;
  if (is_first) learned.kind = entry->container != 0 ? entry->container : (uint8_t)ZTYPE_PLAIN;
  learned.unknown = 0; /* what is known is compared in any case */
  if (!zedges_from_traverse(instance, &reported)) return;
  if (!zedges_from_walker(instance, &learned, &walked)) return;
  learned.unknown = entry->unknown;
  if (!zedges_take_all(&reported, &walked)) {
    ztype_refute(entry, "a word is a reference in some instances, and not in others");
    return;
  }
  if (is_first && zedges_take(&reported, zpyabi_type(instance))) learned.visits_type = true;
  bool is_explained = explain(&learned, instance, &reported);
  if (!is_explained && !zwalker_has_unknown(instance, learned.unknown)) {
    ztype_refute(entry, "it has references that are no words of its instances");
    return;
  }
  if (is_first || learned.field_count != entry->field_count) publish(entry, &learned);
}

uint8_t ztype_audit_every(size_t instances) {
  unsigned every = 1;
  while (every < ZTYPE_AUDIT_MOST && instances / every > ZTYPE_AUDIT_LEAST) every *= 2;
  return (uint8_t)every;
}

void ztype_adapt_audits(void) {
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    ztype_t *entry = zload_acquire(&ztype_table->slots[i]);
    if (entry == NULL || entry->audited == 0) continue;
    if (!entry->is_sampled) {
      zstore_relaxed(&entry->audit_every, ztype_audit_every(entry->audited * (size_t)entry->audit_every));
    }
    zstore_relaxed(&entry->audited, 0);
  }
}
