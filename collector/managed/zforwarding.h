/* Forwarding: where the bodies of a page that is being, or was, evacuated are now.
 *
 * One open-addressing table per page, off the page, so that the page itself is free as soon as its
 * last body has left. An entry is one word, set once by CAS; whoever wins has moved the body:
 *
 *    63                                   20 19                    0
 *   +---------------------------------------+-----------------------+
 *   | to: word offset in the space          | from: word in page + 1|    0 = empty
 *   +---------------------------------------+-----------------------+
 *
 *   state     meaning                                        set by
 *   WAITING   bodies may be copied by the page's worker and by mutators
 *   IN_PLACE  no memory for copies: the worker alone slides   worker, WAITING -> IN_PLACE
 *   DONE      every live body has an entry                    worker, from either
 *
 * A mutator that copies publishes the table in zforwarding_hazard first and then reads the state; a
 * worker stores the state first and then waits for the hazard to be another. Both sides are seq_cst:
 * either the mutator sees the new state, or the worker sees the hazard. One hazard is enough, because
 * mutators hold the GIL. That is what makes freeing and sliding the page safe.
 *
 * Two directories, by generation of the page that was left, map a unit to its table. They are filled
 * before the relocate-start pause and emptied in the pause that ends the mark which remapped every
 * pointer (zrelocation_set_release), so lookups need no lock. */
#ifndef COLLECTOR_MANAGED_ZFORWARDING_H
#define COLLECTOR_MANAGED_ZFORWARDING_H

#include "heap/managed/zbody_page.h"

typedef enum { ZFORWARDING_WAITING, ZFORWARDING_IN_PLACE, ZFORWARDING_DONE } zforwarding_state_t;

typedef struct zforwarding {
  /* fixed at birth */
  zbody_page_t *page;
  uintptr_t start;
  uint64_t *entries;
  uint32_t mask;
  uint32_t units;
  uint8_t to_age;
  uint8_t from_old;

  uint32_t state;   /* zforwarding_state_t */
  uint32_t claimed; /* a worker is at it */
} zforwarding_t;

#define ZFORWARDING_FROM_BITS 20
#define ZFORWARDING_FROM_MASK (((uint64_t)1 << ZFORWARDING_FROM_BITS) - 1)
_Static_assert((ZUNIT_SIZE * ZBODY_PAGE_MEDIUM_UNITS) / 8 < ZFORWARDING_FROM_MASK, "from index fits");

extern zforwarding_t **zforwarding_directory[2]; /* [from_old][unit] */
extern zforwarding_t *zforwarding_hazard;

bool zforwarding_start(void);
void zforwarding_stop(void); /* when a later part of the start fails; tests */

/* Words of table for so many live bodies: a power of two, at most half full. */
static inline size_t zforwarding_length(size_t live_count) {
  size_t length = 4;
  while (length < live_count * 2) length *= 2;
  return length;
}

static inline size_t zforwarding_from(const zforwarding_t *forwarding, zaddress_t from) {
  return (from.value - forwarding->start) >> 3;
}

/* The new place of a body, or 0. */
zaddress_t zforwarding_find(const zforwarding_t *forwarding, size_t from);
/* Publishes `to`; returns the place that counts: `to`, or an earlier winner's. */
zaddress_t zforwarding_insert(zforwarding_t *forwarding, size_t from, zaddress_t to);

bool zforwarding_is_legal(zforwarding_state_t from, zforwarding_state_t to);
void zforwarding_set_state(zforwarding_t *forwarding, zforwarding_state_t state);
/* After set_state: returns once no mutator copies from the page. */
void zforwarding_await_mutator(const zforwarding_t *forwarding);

static inline zforwarding_t *zforwarding_of(bool from_old, zaddress_t address) {
  return zload_relaxed(&zforwarding_directory[from_old][zbody_unit(address)]);
}

#endif
