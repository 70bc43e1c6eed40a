#include "collector/cpython/zdeferred.h"

#include <string.h>

#include "collector/cpython/zalive.h"
#include "collector/python/ztype_learning.h"
#include "collector/python/ztype_registry.h"
#include "heap/base/zos.h"

#define WORDS_FIRST 512
#define CLOCK_EVERY 16 /* objects served between two looks at the clock */
#define NUMBER 1       /* in an entry of the log: where the number of references is, and the first */
#define REFERENCES 2

static size_t bytes(size_t words) { return words * sizeof(void *); }

bool zwords_push(zwords_t *words, void *word) {
  if (zunlikely(words->count == words->size)) {
    size_t size = words->size == 0 ? WORDS_FIRST : words->size * 2;
    void **larger = words->words == NULL
                        ? zos_scratch_map(bytes(size))
                        : zos_scratch_resize(words->words, bytes(words->size), bytes(size));
    if (larger == NULL) return false;
    words->words = larger;
    words->size = size;
  }
  words->words[words->count++] = word;
  return true;
}

bool zwords_take(zwords_t *to, zwords_t *from) {
  if (to->count == 0) {
    zwords_t empty = *to;
    *to = *from;
    *from = empty;
  }
  for (size_t i = 0; i < from->count; i++) {
    if (!zwords_push(to, from->words[i])) return false;
  }
  zwords_free(from);
  return true;
}

void zwords_free(zwords_t *words) {
  if (words->words != NULL) zos_table_unmap(words->words, bytes(words->size));
  *words = (zwords_t){0};
}

/* -- object -> its entry in the log -- */

static size_t slot_of(const zdeferred_t *deferred, const PyObject *object) {
  uint64_t hash = ((uintptr_t)object * 0x9E3779B97F4A7C15u) >> 32;
  return (size_t)(hash * deferred->where_size >> 32);
}

/* The slot that holds the object's place, or the free one where that belongs. */
static uint32_t *find_slot(const zdeferred_t *deferred, const PyObject *object) {
  size_t i = slot_of(deferred, object);
  while (deferred->where[i] != 0 && deferred->log.words[deferred->where[i] - 1] != object) {
    if (++i == deferred->where_size) i = 0;
  }
  return &deferred->where[i];
}

/* For all that is queued; a third stays free. */
static bool make_where(zdeferred_t *deferred) {
  if (deferred->where != NULL || deferred->queue.count == 0) return true;
  size_t count = deferred->queue.count;
  if (count > UINT32_MAX / 2) return false;
  deferred->where_size = count + count / 2 + 1;
  deferred->where = zos_scratch_map(deferred->where_size * sizeof deferred->where[0]);
  return deferred->where != NULL;
}

static void free_where(zdeferred_t *deferred) {
  zos_table_unmap(deferred->where, deferred->where_size * sizeof deferred->where[0]);
  deferred->where = NULL;
}

/* -- serving -- */

typedef struct {
  zwords_t *log;
  bool failed;
} visit_t;

static int log_reference(PyObject *reference, void *raw) {
  visit_t *visit = raw;
  if (!zold_map_is_old(reference)) return 0;
  visit->failed = !zwords_push(visit->log, reference);
  return visit->failed;
}

static void traverse_member(PyObject *object, zpy_visit_t visit, void *context) {
  zpy_traverse_t traverse = zpyabi_traverse(zpyabi_type(object));
  if (traverse != NULL) traverse(object, visit, context);
}

void zdeferred_traverse(PyObject *object, zpy_visit_t visit, void *context) {
  if (zalive_is_member(object)) traverse_member(object, visit, context);
}

/* Its class may be new since its promotion. */
static void audit(PyObject *object) {
  ztype_t *type = ztype_of(object);
  if (type != NULL && type->is_learned) ztype_learn_from(type, object);
}

static bool serve_one(zdeferred_t *deferred, void *word) {
  PyObject *object = (PyObject *)((uintptr_t)word & ~(uintptr_t)1);
  bool is_audit = object != word;
  deferred->audited += is_audit;
  if (!zalive_is_member(object)) return true;
  if (is_audit) {
    audit(object);
    return true;
  }
  ztype_of(object);
  zwords_t *log = &deferred->log;
  size_t entry = log->count;
  if (entry >= UINT32_MAX || !zwords_push(log, object) || !zwords_push(log, NULL)) return false;
  visit_t visit = {log, false};
  traverse_member(object, log_reference, &visit);
  if (visit.failed) return false;
  log->words[entry + NUMBER] = (void *)(log->count - entry - REFERENCES);
  *find_slot(deferred, object) = (uint32_t)entry + 1;
  return true;
}

bool zdeferred_serve(zdeferred_t *deferred, uint64_t deadline, bool *done) {
  *done = false;
  if (!make_where(deferred)) return false;
  while (deferred->served < deferred->queue.count) {
    if (!serve_one(deferred, deferred->queue.words[deferred->served])) return false;
    deferred->served++;
    if (deferred->served % CLOCK_EVERY == 0 && zos_now_ns() > deadline) return true;
  }
  zwords_free(&deferred->queue);
  *done = true;
  return true;
}

static void **references_at(const zdeferred_t *deferred, size_t entry, size_t *count) {
  void **words = deferred->log.words + entry;
  *count = (size_t)words[NUMBER];
  return words + REFERENCES;
}

void **zdeferred_references(const zdeferred_t *deferred, const PyObject *object, size_t *count) {
  uint32_t place = deferred->where == NULL ? 0 : *find_slot(deferred, object);
  *count = 0;
  return place == 0 ? NULL : references_at(deferred, place - 1, count);
}

void **zdeferred_next(const zdeferred_t *deferred, size_t *at, size_t *count) {
  if (*at >= deferred->log.count) return NULL;
  void **references = references_at(deferred, *at, count);
  *at += REFERENCES + *count;
  return references;
}

void zdeferred_reset(zdeferred_t *deferred) {
  deferred->queue.count = deferred->log.count = deferred->served = deferred->audited = 0;
  free_where(deferred);
}

void zdeferred_free(zdeferred_t *deferred) {
  zdeferred_reset(deferred);
  zwords_free(&deferred->queue);
  zwords_free(&deferred->log);
}
