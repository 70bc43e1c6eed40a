/* Locks: all of them, in one table, in the order in which a thread may take them.
 *
 * A lock is its rank. A thread that holds one may take only those of a later row, so no two threads wait for each
 * other. Fork takes all of them in the order of the table and drops them in the parent and in the child, so a child
 * never finds one that a thread of its parent held. A lock that is not in the table does not exist: no other file
 * names pthread_mutex_t (scripts/check_layers.py).
 *
 * Builds with ZGC_DEBUG know the locks that a thread holds, and abort where it takes one out of order, takes one
 * twice, or drops one that it does not hold.
 *
 * Relation to the GIL: no lock is held over a call into Python, and none is held by a thread that waits for the GIL.
 *
 * Waits that have a bound are no conditions: they sleep on a word for a time that is relative and monotonic
 * (zos_sleep_while), so a step of the system's clock does not change them. */
#ifndef HEAP_BASE_ZLOCK_H
#define HEAP_BASE_ZLOCK_H

#include <pthread.h>

#include "heap/base/zbase.h"

/* X(id, what it guards) */
#define ZLOCK_TABLE(X)                                                       \
  X(MANAGED_TYPES, "the start of the managed types")  /* preload/managed */  \
  X(MANAGED, "the managed collection's state")        /* collector/managed */ \
  X(RELEASE, "the list of managed releases")                                 \
  X(MARK, "the marking workers' stacks")                                     \
  X(BODIES, "the units of managed bodies")            /* heap/managed */     \
  X(INTERPRETERS, "which interpreter has which heap") /* preload/start */    \
  X(COMMON_HEAP, "the heap that interpreters share")  /* heap */             \
  X(GRANULES, "the granules of the heap")                                    \
  X(POPULATOR, "the populator's wish")                                       \
  X(PROFILE, "the samples of the allocation profile") /* collector/profile */ \
  X(STATPAGE, "the statistics page")                  /* heap/base */

typedef enum {
#define X(id, guards) ZLOCK_##id,
  ZLOCK_TABLE(X)
#undef X
      ZLOCK_COUNT
} zlock_t;

/* What the lock guards, in a few words. */
const char *zlock_guards(zlock_t lock);

/* Whether a thread that holds these (a bit for each) may take this one. */
static inline bool zlock_is_legal(uint32_t held, zlock_t lock) { return held >> lock == 0; }

/* Around a fork, in this order. */
void zlock_take_all(void);
void zlock_drop_all(void); /* in the parent and in the child */

/* -- for the functions below only ---------------------------------------------------------------------- */

typedef struct {
  _Alignas(64) pthread_mutex_t mutex; /* a cache line of its own */
} zlock_row_t;

extern zlock_row_t zlock_rows[ZLOCK_COUNT];

#if ZGC_DEBUG >= 1
void zlock_note_take(zlock_t lock);
void zlock_note_try(zlock_t lock);
void zlock_note_drop(zlock_t lock);
#else
static inline void zlock_note_take(zlock_t lock) { (void)lock; }
static inline void zlock_note_try(zlock_t lock) { (void)lock; }
static inline void zlock_note_drop(zlock_t lock) { (void)lock; }
#endif

/* -- any thread ------------------------------------------------------------------------------------------ */

static inline void zlock_take(zlock_t lock) {
  zlock_note_take(lock);
  pthread_mutex_lock(&zlock_rows[lock].mutex);
}

/* Never waits, so it may be called out of order. */
static inline bool zlock_try(zlock_t lock) {
  if (pthread_mutex_trylock(&zlock_rows[lock].mutex) != 0) return false;
  zlock_note_try(lock);
  return true;
}

static inline void zlock_drop(zlock_t lock) {
  zlock_note_drop(lock);
  pthread_mutex_unlock(&zlock_rows[lock].mutex);
}

/* Drops the lock until `changed` is signalled, and takes it again. No later lock may be held. A child of a fork makes
 * its conditions again: a thread that waited in the parent is not there. */
static inline void zlock_wait(zlock_t lock, pthread_cond_t *changed) {
  zlock_note_drop(lock);
  zlock_note_take(lock); /* what is held beside it must be earlier */
  pthread_cond_wait(changed, &zlock_rows[lock].mutex);
}

#endif
