#include "collector/zdeferred.h"

#include <string.h>

#include "collector/ztype_registry.h"
#include "heap/base/zos.h"

#define WORDS_FIRST 512
#define CLOCK_EVERY 16 /* objects served between two looks at the clock */

bool zwords_push(zwords_t *words, void *word) {
  if (zunlikely(words->count == words->size)) {
    size_t size = words->size == 0 ? WORDS_FIRST : words->size * 2;
    void **larger = zos_scratch_map(size * sizeof(void *));
    if (larger == NULL) return false;
    if (words->count > 0) memcpy(larger, words->words, words->count * sizeof(void *));
    if (words->words != NULL) zos_table_unmap(words->words, words->size * sizeof(void *));
    words->words = larger;
    words->size = size;
  }
  words->words[words->count++] = word;
  return true;
}

void zwords_free(zwords_t *words) {
  if (words->words != NULL) zos_table_unmap(words->words, words->size * sizeof(void *));
  *words = (zwords_t){0};
}

bool zdeferred_add(zdeferred_t *deferred, PyObject *object) {
  return zwords_push(&deferred->queue, object);
}

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

static bool serve_one(zdeferred_t *deferred, PyObject *object) {
  /* It may have died meanwhile, or be on a free list, untracked, with its bit still set. */
  if (!zold_map_is_old(object) || !zpyabi_is_tracked(object)) return true;
  if (zpyabi_refcount(object) <= 0) return true;
  ztype_of(object); /* its class may be new since its promotion */
  zpy_traverse_t traverse = zpyabi_read_type(zpyabi_type(object)).traverse;
  if (traverse == NULL) return true;
  zwords_t *log = &deferred->log;
  size_t entry = log->count;
  if (!zwords_push(log, NULL)) return false;
  visit_t visit = {log, false};
  traverse(object, log_reference, &visit);
  if (visit.failed) return false;
  log->words[entry] = (void *)(log->count - entry - 1);
  int64_t *where = zmap_insert(&deferred->where, (uint64_t)(uintptr_t)object);
  if (where == NULL) return false;
  *where = (int64_t)entry + 1;
  return true;
}

bool zdeferred_serve(zdeferred_t *deferred, uint64_t deadline, bool *done) {
  *done = false;
  while (deferred->served < deferred->queue.count) {
    if (!serve_one(deferred, deferred->queue.words[deferred->served])) return false;
    deferred->served++;
    if (deferred->served % CLOCK_EVERY == 0 && zos_now_ns() > deadline) return true;
  }
  *done = true;
  return true;
}

void **zdeferred_references(const zdeferred_t *deferred, const PyObject *object, size_t *count) {
  const int64_t *where = zmap_find(&deferred->where, (uint64_t)(uintptr_t)object);
  *count = 0;
  if (where == NULL) return NULL;
  void **entry = deferred->log.words + (*where - 1);
  *count = (size_t)entry[0];
  return entry + 1;
}

void zdeferred_reset(zdeferred_t *deferred) {
  deferred->queue.count = deferred->log.count = deferred->served = 0;
  zmap_free(&deferred->where);
}

void zdeferred_free(zdeferred_t *deferred) {
  zwords_free(&deferred->queue);
  zwords_free(&deferred->log);
  zmap_free(&deferred->where);
  deferred->served = 0;
}
