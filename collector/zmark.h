/* Concurrent marking of bodies, by worker threads.
 *
 * Snapshot at the beginning: what was reachable at the mark-start pause, and what is allocated after
 * it, survives. Roots are the handle entries that are not weak, and for a young mark also the
 * remembered slots. A young mark stops at old bodies.
 *
 * A body is claimed by its bit in the live map and then pushed; whoever pops it counts it and visits
 * its slots: each is made current (address and colours), which is what lets the next relocation
 * forget the forwarding tables of the last one.
 *
 * Nothing is lost to a race with the program: a reference that moves from an unvisited slot to a
 * visited one is overwritten, or its handle dropped, under the store barrier, which marks the body
 * it meant. Bodies allocated meanwhile are not visited: what they hold was loaded from the snapshot.
 *
 * When no memory for a stack chunk can be had, bodies stay marked but unpushed, and the mark ends
 * with passes over the live maps until a pass loses nothing.
 *
 * Work stealing is by chunks through one locked pool: a worker gives its full chunks away and takes
 * one when it has nothing. Marking is over when the pool is empty and no worker is busy. */
#ifndef COLLECTOR_ZMARK_H
#define COLLECTOR_ZMARK_H

#include "barrier/zbarrier.h"
#include "heap/zbody_page.h"

#define ZMARK_WORKERS_MAX 16
#ifdef ZGC_TINY
#define ZMARK_CHUNK 16
#else
#define ZMARK_CHUNK 510
#endif
#define ZMARK_STRIDE 1024 /* slots of a long array visited in one go */

typedef struct zmark_chunk {
  struct zmark_chunk *next;
  size_t count;
  uint64_t entries[ZMARK_CHUNK];
} zmark_chunk_t;

/* Pause: from here on a mark runs. */
void zmark_begin(zgeneration_t generation);
/* Collector thread: roots, in steps that call yield. Safe to start again from the beginning. */
void zmark_roots(void (*yield)(void));
/* Any worker (0 is the driver): follows everything until nothing is left anywhere. */
void zmark_follow(unsigned worker, void (*yield)(void), void (*leave)(void), void (*enter)(void));

/* Marks and pushes; any thread with a worker number. */
void zmark_body(unsigned worker, zaddress_t body);

/* Pause: follows a little of what barriers recorded, so that the mark's end is not put off for it. */
void zmark_follow_some(size_t bodies);
/* Pause: hands over what barriers recorded. True when nothing is left to follow. */
bool zmark_try_end(void);
/* Pause, after try_end said yes. */
void zmark_end(void);

/* Does this body take part in the running mark, and has not been reached? */
bool zmark_is_dead(zaddress_t body);

/* Pause: what barriers record goes to marking (again). */
void zmark_take_records(void);
/* Marks and hands to the pool. GIL. */
void zmark_take_unmarked(const zaddress_t *bodies, size_t count);
/* Barrier op. GIL. */
void zmark_keep_alive(zaddress_t body);

/* Makes an entry's word current in all colours without marking its body; its body. */
zaddress_t zmark_heal_entry(uint64_t *word);

/* After fork, in the child: workers are gone, what they held goes back to the pool. */
void zmark_reset_workers(void);

typedef struct {
  uint64_t bodies, bytes;
} zmark_counts_t;
zmark_counts_t zmark_counts(void);

extern void (*zmark_want_helpers)(void); /* the pool has work for others */

void zmark_start(void);
void zmark_lock_for_fork(void);
void zmark_unlock_after_fork(void);

#endif
