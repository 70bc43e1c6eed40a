/* The heap's address range, handed out in runs of granules.
 *
 * Addresses for one range are chosen at start-up. Granules below `committed_end` are readable and writable
 * for the rest of the process and are never unmapped: memory given back to the system reads as zeros.
 * That is what lets the collector thread read any address below `committed_end` at any time.
 *
 * The addresses above are not reserved: they cost nothing where address space or locked memory is limited, and
 * nothing in a dump of the process. Nothing else is likely to be mapped there (zos_find_space); if something is,
 * the range ends before it. So an address is ours if it is committed.
 *
 * A short run is taken where one of its length became free lately, others at the lowest address that fits, so
 * that a shrinking heap empties from the top. A freed run keeps its memory until two calls of
 * zgranules_uncommit_aged have passed, or until a run
 * is taken that has to be of new memory: then as much idle memory goes back, so that what does not fit
 * together does not add up.
 *
 * All functions may be called from any thread; one lock guards the bitmaps. It is held for short
 * scans only, never over a call out of this file except the system calls of zos. */
#ifndef HEAP_ZGRANULES_H
#define HEAP_ZGRANULES_H

#include "heap/base/zbase.h"

/* As small as pymalloc's pools: live objects of one size keep no more memory from other sizes than with pymalloc. */
#define ZGRANULE_SHIFT 14
#define ZGRANULE_SIZE ((size_t)1 << ZGRANULE_SHIFT)

static inline size_t zgranules_for(size_t bytes) { return zalign_up(bytes, ZGRANULE_SIZE) >> ZGRANULE_SHIFT; }

/* Readable bytes behind committed_end that are never handed out: a fixed offset below this may be
 * read from any readable address. */
#define ZGRANULES_GUARD ((size_t)8192)

typedef struct {
  char *base;            /* fixed once zgranules_start has returned true; NULL before */
  size_t size;           /* bytes that there are addresses for; smaller once something else is in the way */
  size_t committed_end;  /* offset; grows only. Release in commit, acquire in zgranules_is_readable */
} zgranules_range_t;

extern zgranules_range_t zgranules_range;

/* Finds addresses for `size` bytes, or half of it, a quarter... down to 16 MiB. False: there are none. */
bool zgranules_start(size_t size);

/* A table with so many bits for each granule, which grows with the range: what belongs to granules below
 * committed_end is readable and writable, and zero at first; so is a word behind it. Its address is in *table
 * after zgranules_start, before which this is called. */
void zgranules_add_table(void **table, size_t bits_of_granule);

/* First granule of a run of `count`, or SIZE_MAX when there is none. *dirty: so many granules from its start may hold
 * something else than zeros, those behind them read as zeros. */
size_t zgranules_alloc(size_t count, size_t *dirty);
/* For a run that will soon be extended: at a place with room behind it, if there is one. */
size_t zgranules_alloc_growing(size_t count, size_t *dirty);
void zgranules_free(size_t first, size_t count);

/* Takes the `count` granules that follow a run into it; false when they are not free. */
bool zgranules_extend(size_t first_free, size_t count);

/* The run reads as zeros after its pages have been moved away. */
void zgranules_note_zeroed(size_t first, size_t count);

/* Gives back memory that has been free since the call before last. Bytes given back. */
size_t zgranules_uncommit_aged(void);

size_t zgranules_used_bytes(void);      /* in runs handed out */
size_t zgranules_idle_bytes(void);      /* free, not yet given back */
bool zgranules_idle_are_few(void);      /* not more than is kept for what comes next, while the heap grows */
size_t zgranules_resident_bytes(void);  /* runs handed out + memory not yet given back or used */

/* -- what is populated ahead (zpopulator.h) -- */

#define ZGRANULES_CHUNK (2 * ZM)
#ifdef ZGC_TINY
#define ZGRANULES_POPULATE_FROM (4 * ZM)
#else
#define ZGRANULES_POPULATE_FROM (16 * ZM) /* smaller heaps keep to ordinary pages */
#endif

/* Called, if set, after a run was handed out and little memory ahead of it is populated. Atomic. */
extern void (*zgranules_low_hook)(void);

/* A chunk of new memory that should be populated, committed; NULL when there is enough. Until it is
 * offered, allocations go round it. One thread, one chunk at a time. */
char *zgranules_claim_chunk(void);
void zgranules_offer_chunk(bool is_populated);
void zgranules_reset_after_fork_in_child(void);

/* For a block that the caller owns, or any address. Relaxed: a thread that was given a block has seen its commit. */
static inline bool zgranules_contains(const void *address) {
  return (uintptr_t)address - (uintptr_t)zgranules_range.base <
         __atomic_load_n(&zgranules_range.committed_end, __ATOMIC_RELAXED);
}

/* May be read by any thread without a fault. */
static inline bool zgranules_is_readable(const void *address) {
  return (uintptr_t)address - (uintptr_t)zgranules_range.base <
         __atomic_load_n(&zgranules_range.committed_end, __ATOMIC_ACQUIRE);
}

#endif
