/* The driver: the collector thread, and the collection under way.
 *
 * One lock guards the phase and what is handed over with it. It is taken with or without the GIL,
 * held for a few instructions, and never over a call into Python or a wait for the GIL. What a phase
 * owns needs no lock: the pass is the collector thread's, its deferred queue is lent in DEFERRING,
 * the garbage belongs to safepoints (the GIL) in RECLAIMING. */
#ifndef COLLECTOR_ZDRIVER_H
#define COLLECTOR_ZDRIVER_H

#include "collector/zcomponents.h"
#include "collector/zphase.h"

typedef struct {
  uint64_t sequence;      /* number of the collection under way, or of the last one */
  zcause_t cause;
  uint64_t started_ns;    /* monotonic */
  uint64_t considered;    /* old objects that its passes look at */
  uint64_t found;         /* candidates of the last pass */
  uint64_t fed, reclaimed, uncollectable;
  uint64_t pauses, pause_max_ns, pause_total_ns;
  uint64_t concurrent_ns;
  size_t heap_before, rss_before;
  uint64_t fed_last_ns;   /* safepoints: when garbage was last fed */
} zcollection_t;

/* GIL. */
extern zcollection_t zdriver_collection;

zphase_t zdriver_phase(void); /* any thread; a hint unless the caller owns the phase */

/* Starts a collection; false when one is under way or the thread cannot be started. GIL held. */
bool zdriver_request(zcause_t cause);

/* Number of a collection that is done by the calling thread, world stopped (gc.collect). GIL held,
 * phase IDLE. */
void zdriver_begin_stopped(zcause_t cause);

/* While lent, the collector thread helps with the pass of a thread that has stopped the world. GIL
 * held, phase IDLE. Does nothing where the thread cannot run. */
void zdriver_lend_thread(bool lend);

/* How far the collection under way is, in thousandths: a racy estimate. */
unsigned zdriver_progress(void);

/* True once after a collection that was abandoned because memory for a side table was short. */
bool zdriver_take_fault(void);

/* The queue of deferred objects, in phase DEFERRING. GIL held. */
zdeferred_t *zdriver_deferred(void);
/* All are served, or it failed: the collector thread goes on. GIL held. */
void zdriver_deferred_done(bool failed);

/* The garbage, in phase RECLAIMING. GIL held. */
zcomponents_t *zdriver_garbage(void);
/* All is fed: the collection ends. GIL held. */
void zdriver_finish(void);

/* Gives the collection up and returns once the phase is IDLE. GIL held (the collector thread never
 * needs it to stop). */
void zdriver_abandon(const char *why);

/* Waits up to `ms` for the phase to leave CONCURRENT and REQUESTED. The GIL must not be held. */
void zdriver_wait(unsigned ms);

/* Called by the collector thread when a safepoint is needed and none came for a while; set by
 * zsafepoint.c. */
extern void (*zdriver_wake_program)(void);
/* Sparse pages are being looked at: the collector thread asks for safepoints outside of collections, too,
 * and again as soon as one has come. Any thread. */
extern bool zdriver_is_trimming;
extern unsigned zdriver_trim_slices; /* safepoints that have; written under the GIL */
/* Called by the collector thread about once a second, without the GIL. */
extern void (*zdriver_tick)(void);

/* Starts the collector thread if it does not run; true when it runs. Any thread. */
bool zdriver_ensure_thread(void);

void zdriver_lock_for_fork(void);
void zdriver_unlock_after_fork_in_parent(void);
void zdriver_reset_after_fork_in_child(void);

#endif
