/* The director decides when to collect. Rules answer with a cause or with ZCAUSE_NONE, and log the
 * numbers they looked at.
 *
 * GIL held, except zdirector_tick. */
#ifndef COLLECTOR_CPYTHON_ZDIRECTOR_H
#define COLLECTOR_CPYTHON_ZDIRECTOR_H

#include "collector/cpython/zphase.h"

/* After each young collection. */
zcause_t zdirector_decide(void);

/* CPython's rule for a full collection of its own, for objects that cannot be old: so many were met, and
 * so many were there after the last one. */
bool zdirector_foreign_is_due(size_t met, size_t before);

/* A full collection of any kind begins; it ended with so many objects found, reclaimed or left to the next one, and
 * of those so many left. */
void zdirector_note_start(void);
void zdirector_note_end(uint64_t found, uint64_t reclaimed, uint64_t left);
/* What is frozen does not count as the heap that growth is measured against. */
void zdirector_note_frozen(uint64_t objects);
void zdirector_note_unfrozen(uint64_t objects);
/* A good part of what was promoted before the last collection had become garbage by then. */
bool zdirector_is_fruitful(void);

/* How many times its limit (zgrowth.h) the old set has grown since the last collection, not counting garbage
 * that only waits to be fed: how far promotion has outrun the collection under way. 0 unless the last
 * collection found much garbage. */
unsigned zdirector_pressure(void);
#define ZDIRECTOR_STOP_WORLD 8

/* The pacer (as in Go's and Shenandoah's): whether the old set has grown by more than the collection
 * under way, `progress` thousandths done, allows; then safepoints lend it their time. 0: no, else by
 * how many times the pause target they may be drawn out. */
unsigned zdirector_behind(unsigned progress);

/* ZGC_INTERVAL has passed since the last collection. Any thread. */
bool zdirector_timer_is_due(void);

/* Gives memory within sparse pages back until the deadline, if zcollector_thread_is_trimming. At a safepoint. */
void zdirector_trim(uint64_t deadline);

/* On the collector thread, about twice a second, without the GIL: gives memory back. Opens no file. */
void zdirector_tick(void);

#endif
