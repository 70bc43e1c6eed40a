/* The allocation profile: a random sample of what the program allocates, with stacks and lifetimes.
 *
 * Sampling. Every byte allocated is a sample with the same small probability, independent of all
 * others: a Poisson process over bytes, `rate` bytes apart in the mean. The allocator runs it as many
 * that are independent of each other, whose sum is one again: each size class of small blocks counts
 * blocks, each thread counts the bytes of what is larger and of growth. A block of s bytes is taken with
 * probability p = 1 - exp(-s / rate) and stands for 1/p blocks, so every total is an unbiased estimate,
 * with a standard deviation below sqrt(total bytes * rate). s is what the heap gives, not what was
 * asked for (16-byte steps, 12.5 % above 1 KiB, 64 KiB above 256 KiB).
 *
 * Cost. Off: a test on slow paths. On: small blocks come in batches (zsampler.h), so that the fast
 * paths, of the allocator table and of the symbols, are what they were.
 *
 * realloc. What a block gains is an allocation by whoever made it grow: sampled by itself, a part of
 * the block. What a block loses is freed. A block that moves takes its samples with it, also when its
 * OS pages are moved.
 *
 * Threads. All that is here (samples, stacks, the random numbers) is
 * under one lock, taken for a sample and for the free of one; the GIL alone would not do once a second
 * one exists. Under it nothing of Python runs: a code object's reference count goes up, no more. The
 * lock is held over fork, so that the child finds everything whole (libunwind's locks too).
 *
 * A child inherits the samples of what it inherits. Not seen: the RAW domain and other users of
 * malloc (numpy's data), bodies of managed objects, blocks that came from the fallback. */
#ifndef COLLECTOR_PROFILE_ZPROFILE_H
#define COLLECTOR_PROFILE_ZPROFILE_H

#include "collector/profile/zstack_table.h"

/* Parses "path[,rate]", loads libunwind. False: one line has said why, and there is no profile.
 * Once, after zallocator_start and before the first allocation. */
bool zprofile_start(const char *text);
bool zprofile_is_on(void);
const char *zprofile_path(void);
uint64_t zprofile_rate(void);

/* Python stacks from here on, if the interpreter is as expected; to `zpyabi_frames_stop`. */
void zprofile_interpreter_started(void);

/* No samples by the calling thread between the two: a dump is not part of the program. */
void zprofile_pause(void);
void zprofile_resume(void);

/* A consistent copy of all totals, to be freed by zprofile_snapshot_free. */
typedef struct {
  zstack_t **stacks;        /* by id */
  zstack_total_t *live;     /* by stack id */
  zstack_total_t *freed;    /* by stack id * ZSTACK_LIFETIMES + lifetime */
  uint32_t stack_count;
  znative_t **natives;      /* by id - 1 */
  uint32_t native_count;
  zcode_t **codes;          /* by id - 1 */
  uint32_t code_count;
  uint64_t started_ns, taken_ns; /* monotonic */
} zprofile_snapshot_t;

bool zprofile_snapshot(zprofile_snapshot_t *snapshot); /* false: no memory */
void zprofile_snapshot_free(zprofile_snapshot_t *snapshot);

#endif
