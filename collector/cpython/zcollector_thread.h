/* The collector thread: what it does in turn, its start, and its end before a fork.
 *
 * It does what is asked for (zticket.h): collections, its part of a stopped one, and while garbage waits for safepoints
 * it asks for them. Twice a second it does small things beside that. It never takes the GIL. */
#ifndef COLLECTOR_CPYTHON_ZCOLLECTOR_THREAD_H
#define COLLECTOR_CPYTHON_ZCOLLECTOR_THREAD_H

#include "heap/base/zbase.h"

/* Starts it if it does not run; true when it runs. Any thread. */
bool zcollector_thread_ensure(void);
bool zcollector_thread_runs(void);

/* Called by it twice a second, without the GIL. */
extern void (*zcollector_thread_tick)(void);

/* Sparse pages are being looked at: it asks for safepoints outside of collections, too, and again as soon as one has
 * come. Any thread. */
extern bool zcollector_thread_is_trimming;
extern unsigned zcollector_thread_trim_slices; /* safepoints that have; written under the GIL */

/* A batch of garbage has been fed: no safepoint need be asked for. GIL held. */
void zcollector_thread_note_batch(void);

/* Before a fork: it is all that this process has beside the calling thread, and helps nobody. Then it ends. GIL. */
bool zcollector_thread_is_alone(void);
void zcollector_thread_end_for_fork(void);
/* Since then no two safepoints have come: it is not started again, because CPython may not have counted. */
bool zcollector_thread_is_resting(void);
/* A young collection has ended: it is started again where there is something for it to do. GIL held. */
void zcollector_thread_note_safepoint(void);
/* It is asked for, whatever CPython counts. GIL held. */
void zcollector_thread_want(void);

void zcollector_thread_fork_child(void);

#endif
