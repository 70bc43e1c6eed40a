/* The director decides when to collect. Rules answer with a cause or with ZCAUSE_NONE, and log the
 * numbers they looked at.
 *
 * GIL held, except zdirector_tick. */
#ifndef COLLECTOR_ZDIRECTOR_H
#define COLLECTOR_ZDIRECTOR_H

#include "collector/zphase.h"

/* After each young collection. */
zcause_t zdirector_decide(void);

/* A full collection of any kind begins; it ended with so many objects found and reclaimed. */
void zdirector_note_start(void);
void zdirector_note_end(uint64_t found, uint64_t reclaimed);

/* How far garbage has outrun the collection under way: 1 on time; more: feed that many times as
 * much per safepoint; ZDIRECTOR_STOP_WORLD: collect with the world stopped. */
unsigned zdirector_pressure(void);
#define ZDIRECTOR_STOP_WORLD 16

/* On the collector thread, about once a second, without the GIL: looks at memory. */
void zdirector_tick(void);

#endif
