/* Deferred objects: those whose references only their own tp_traverse can tell.
 *
 * The collector thread queues them; safepoints run tp_traverse in slices, with the GIL held, and
 * write the old objects among the references into a log that the collector thread then reads.
 *
 * Ownership passes as a whole: the collector thread's until it lends the queue (zdriver's lock is
 * the hand-over), the safepoints' until the last object is served, then the collector's again. */
#ifndef COLLECTOR_ZDEFERRED_H
#define COLLECTOR_ZDEFERRED_H

#include "collector/zmap.h"
#include "collector/zpyabi.h"
#include "heap/zold_map.h"

typedef struct {
  void **words;
  size_t count, size; /* in words */
} zwords_t;

/* False when memory is short. */
bool zwords_push(zwords_t *words, void *word);
void zwords_free(zwords_t *words);

typedef struct {
  zwords_t queue;
  size_t served;
  zwords_t log;  /* per object: number of references, then the references */
  zmap_t where;  /* object -> 1 + index of its entry in the log */
} zdeferred_t;

bool zdeferred_add(zdeferred_t *deferred, PyObject *object);

/* Serves objects until all are done or `deadline` (zos_now_ns) has passed. GIL held, not during a
 * collection of CPython's. *done tells whether all are served; false when memory is short. */
bool zdeferred_serve(zdeferred_t *deferred, uint64_t deadline, bool *done);

/* References logged for an object; *count is 0 when there are none. */
void **zdeferred_references(const zdeferred_t *deferred, const PyObject *object, size_t *count);

/* Forgets queue and log, for the next pass. */
void zdeferred_reset(zdeferred_t *deferred);
void zdeferred_free(zdeferred_t *deferred);

#endif
