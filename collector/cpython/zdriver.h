/* The driver: the collection under way, as safepoints and other threads of the program see it.
 *
 * The collector thread may get no processor for seconds, wherever it stands. So there is no lock here, and no
 * condition: nobody waits for it with the GIL held. Where the collection stands is one word, its ticket and its
 * phase, changed by compare-and-swap. Data that a phase owns needs no lock: the pass is the collector thread's, its
 * deferred queue is lent in DEFERRING, the garbage belongs to safepoints (the GIL) in RECLAIMING. The change of
 * the word hands it over (release), who sees the phase has it (acquire).
 *
 * To give a collection up is to set the word to IDLE, which never waits. The tables of a collection lie in a
 * place of their own (ztables.h). Those that the thread works on stay the thread's: it polls `stop`, its
 * next change of the word fails, since the ticket is another one, and it gives them back. It can be at work in
 * one place only, so one of them is left behind at most, and the next collection takes another. */
#ifndef COLLECTOR_CPYTHON_ZDRIVER_H
#define COLLECTOR_CPYTHON_ZDRIVER_H

#include "collector/cpython/zcollection.h"
#include "collector/cpython/zcomponents.h"

/* GIL. */
extern zcollection_t zdriver_collection;

zphase_t zdriver_phase(void); /* any thread; a hint unless the caller owns the phase */

/* Starts a collection; false when one is under way or the thread cannot be started. `counts`: zpass_count comes
 * before its passes. GIL held. */
bool zdriver_request(zcause_t cause, bool counts);

/* The number of a collection that is done by the calling thread, world stopped (gc.collect), until it is
 * told that this has ended. GIL held, phase IDLE, where it stays in between. */
void zdriver_begin_stopped(zcause_t cause);
void zdriver_end_stopped(void);

/* Begins a pass with the world stopped, if wished with the collector thread as a helper where that can run; NULL
 * when memory is short. To be ended also when it is lost (zpass.h). GIL held, phase IDLE. */
zpass_t *zdriver_begin_pass(bool with_thread);
void zdriver_end_pass(zpass_t *pass);

/* Lends this thread to the step of the collection under way, if there is one that can be joined, until
 * `deadline` at most. Any thread but the collector's; true when it did some. */
bool zdriver_help(uint64_t deadline);

/* Another number than before: the collector thread has got on since. Any thread. */
uint64_t zdriver_beats(void);

/* How far the collection under way is, in thousandths: a racy estimate. */
unsigned zdriver_progress(void);

/* The queue of deferred objects, in phase DEFERRING. GIL held. */
zdeferred_t *zdriver_deferred(void);
/* All are served, or it failed: the collector thread goes on. GIL held. */
void zdriver_deferred_done(bool failed);

/* The garbage, in phase RECLAIMING. GIL held. */
zcomponents_t *zdriver_garbage(void);
/* So much of it has been taken out, for another collection. GIL held. */
void zdriver_leave(size_t objects);
/* All is fed: the collection ends. GIL held. */
void zdriver_finish(void);

/* Collections given up since the last one that came to its end, of any kind. GIL held. */
extern unsigned zdriver_abandoned;

/* Gives the collection up: the phase is IDLE at once. GIL held. */
void zdriver_abandon(const char *why);

/* Waits up to `ms` for the phase to leave CONCURRENT and REQUESTED. The GIL must not be held. */
void zdriver_wait(unsigned ms);

/* Before a fork, by a thread that holds the GIL: CPython counts the threads of the process after it, and warns where
 * there is more than one. A collector thread that is alone with the forking one ends. A collection that it is at
 * work on is given up, one that waits for safepoints is not. */
void zdriver_fork_prepare(void);
void zdriver_fork_child(void);

#endif
