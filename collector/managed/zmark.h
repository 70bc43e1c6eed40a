/* Concurrent marking of bodies, by worker threads.
 *
 * Snapshot at the beginning: what was reachable at the pause that started the mark, and what enters
 * the generation after it, survives. Each generation has its mark:
 *
 *   young  from the handle entries that are not weak, and the remembered slots; stops at old bodies
 *   old    begins in the same pause as a young mark, which claims the old bodies that it meets, those
 *          of the handle entries first; follows old bodies, and stops at young ones
 *
 * Young collections run while an old mark does, in turns with it: marking threads follow one
 * generation at a time, and put the other's work down in its own pool. Why the old mark stays whole:
 *   - Its snapshot is what was reachable when it began. A path from a root to an old body runs through
 *     young bodies, all visited by the young mark that began with it, and through old ones. Where it
 *     goes from old to young the slot is remembered, and the young body a root of that young mark. So
 *     when the young mark ends, every old body that a root or a young body of the snapshot refers to is
 *     claimed. A later young mark has nothing to add: slots of young bodies have been visited, or are
 *     store-good.
 *   - A reference that the program overwrites, or whose handle it drops, is recorded while either mark
 *     runs: MY and MO are separate pairs, and the store barrier looks at the pairs of all running marks.
 *     The body's page says whose mark it belongs to. What is recorded for the young mark is handed over
 *     before that mark can end, so no address of a young body is kept over its relocation; old bodies
 *     do not move while their mark runs.
 *   - Bodies that become old meanwhile are in pages newer than the mark. They need no visit: their slots
 *     were visited by the young mark that began with it, or filled since with current words.
 *   - The remembered set belongs to young marks alone: an old mark keeps RM as it finds it. What it
 *     reads in a remembered slot may be an address of the last young relocation; the tables of that
 *     stay until the next young mark has ended, and relocations do not run beside the old mark.
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
#ifndef COLLECTOR_MANAGED_ZMARK_H
#define COLLECTOR_MANAGED_ZMARK_H

#include "barrier/zbarrier.h"
#include "heap/managed/zbody_page.h"

#define ZMARK_WORKERS_MAX 16
#ifdef ZGC_TINY
#define ZMARK_CHUNK 16
#define ZMARK_YIELD 16 /* bodies between two yields */
#else
#define ZMARK_CHUNK 510
#define ZMARK_YIELD 256
#endif
#define ZMARK_STRIDE 1024 /* slots of a long array visited in one go */

typedef struct zmark_chunk {
  struct zmark_chunk *next;
  size_t count;
  uint64_t entries[ZMARK_CHUNK];
} zmark_chunk_t;

/* What marking needs of the thread that does it. */
typedef struct {
  void (*yield)(void);       /* between bodies, holding nothing */
  void (*leave)(void);       /* before and after a wait for others */
  void (*enter)(void);
  bool (*interrupted)(void); /* shall the work be put down? NULL: never */
} zmark_calls_t;

/* Pause: from here on a young mark runs, and an old one if asked for. */
void zmark_begin(bool with_old);
/* Driver, no young mark running: from here on the old mark is followed, and can end. */
void zmark_take_up_old(void);
/* Collector thread: roots, in steps that call yield. Safe to start again from the beginning. */
void zmark_roots(void (*yield)(void));
/* Any worker (0 is the driver): follows everything until nothing is left anywhere; false when it was
 * interrupted. */
bool zmark_follow(unsigned worker, const zmark_calls_t *calls);

/* Marks and pushes; any thread with a worker number. */
void zmark_body(unsigned worker, zaddress_t body);

/* Pause: follows a little of what barriers recorded, so that the mark's end is not put off for it. */
void zmark_follow_some(size_t bodies);
/* Pause: hands over what barriers recorded. True when nothing is left to follow. */
bool zmark_try_end(void);
/* Pause, after try_end said yes: the mark that was followed has ended. */
void zmark_end(void);

/* Does this body take part in the mark that is, or was last, followed, and has not been reached? */
bool zmark_is_dead(zaddress_t body);

/* Pause: what barriers record goes to marking (again). */
void zmark_take_records(void);
/* Marks and hands to the pool. GIL. */
void zmark_take_unmarked(const zaddress_t *bodies, size_t count);
/* Barrier op. GIL. */
void zmark_keep_alive(zaddress_t body);

/* Makes an entry's word current for the mark that is followed, without marking its body; its body. */
zaddress_t zmark_heal_entry(uint64_t *word);

/* After fork, in the child: workers are gone, what they held goes back to the pool. */
void zmark_reset_workers(void);

typedef struct {
  uint64_t bodies, bytes;
} zmark_counts_t;
zmark_counts_t zmark_counts(zgeneration_t generation);

extern void (*zmark_want_helpers)(void); /* the pool has work for others */

void zmark_start(void);

#endif
