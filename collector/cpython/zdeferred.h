/* Deferred objects: those whose references only their own tp_traverse can tell.
 *
 * The collector thread queues them; safepoints run tp_traverse in slices, with the GIL held, and
 * write the old objects among the references into a log that the collector thread then reads.
 *
 * Ownership passes as a whole: the collector thread's until it lends the queue (zdriver's lock is
 * the hand-over), the safepoints' until the last object is served, then the collector's again. */
#ifndef COLLECTOR_CPYTHON_ZDEFERRED_H
#define COLLECTOR_CPYTHON_ZDEFERRED_H

#include "collector/python/zpyabi.h"
#include "heap/zold_map.h"

typedef struct {
  void **words;
  size_t count, size; /* in words */
} zwords_t;

/* False when memory is short. */
bool zwords_push(zwords_t *words, void *word);
/* Moves all words of `from` behind those of `to`, without a copy where `to` has none. */
bool zwords_take(zwords_t *to, zwords_t *from);
void zwords_free(zwords_t *words);

/* Where a program holds many such objects these tables are most of what a collection needs, at the peak
 * of the program's own memory: so no word is kept that is not needed any more. */
typedef struct {
  zwords_t queue; /* what is to be served; given back once all are */
  size_t served, audited; /* audited: of the served */
  zwords_t log;   /* per object: itself, its number of references, the references */
  uint32_t *where; /* hash table, object -> 1 + its place in the log; 0: none */
  size_t where_size;
} zdeferred_t;

/* A word of the queue: this object is not deferred, but compared (ztype_learning.h). */
static inline void *zdeferred_audit(PyObject *object) { return (void *)((uintptr_t)object | 1); }

static inline size_t zdeferred_left(const zdeferred_t *deferred) {
  return deferred->queue.count > 0 ? deferred->queue.count - deferred->served : 0;
}

/* Serves objects until all are done or `deadline` (zos_now_ns) has passed. GIL held, not during a
 * collection of CPython's. *done tells whether all are served; false when memory is short. */
bool zdeferred_serve(zdeferred_t *deferred, uint64_t deadline, bool *done);

/* Calls `visit` with each reference that the object's own tp_traverse reports, unless it is dead or
 * untracked. GIL held. */
void zdeferred_traverse(PyObject *object, zpy_visit_t visit, void *context);

/* References logged for an object; *count is 0 when there are none. */
void **zdeferred_references(const zdeferred_t *deferred, const PyObject *object, size_t *count);
/* The same in the order in which they were logged: *at is 0 for the first object, and moved on. NULL at the
 * end. */
void **zdeferred_next(const zdeferred_t *deferred, size_t *at, size_t *count);

/* Forgets queue and log, for the next pass. */
void zdeferred_reset(zdeferred_t *deferred);
void zdeferred_free(zdeferred_t *deferred);

#endif
