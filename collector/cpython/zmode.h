/* How much of an interpreter's collections is ours:
 *
 *   off       nothing: the program, or faults of ours, have switched us off (zswitch.h)
 *   cold      nothing yet: the program is small, so all collections are CPython's own (zwarmup.h)
 *   warm      full collections, and what is done with young ones
 *   cramped   nothing on this thread: its stack has no room for our part
 *
 * Written with the GIL held. */
#ifndef COLLECTOR_CPYTHON_ZMODE_H
#define COLLECTOR_CPYTHON_ZMODE_H

#include "heap/base/zbase.h"

/* Any thread. */
bool zmode_is_on(void);
bool zmode_is_warm(void);
/* The calling thread's stack has no room for our part. */
bool zmode_is_cramped(void);
/* On, warm and not cramped. */
bool zmode_is_ours(void);

/* Switching off waits until the threads have left that touch the interpreter without the GIL (zpending.h). */
void zmode_switch(bool on);
void zmode_warm(void);
/* The interpreter ends: off and cold. */
void zmode_reset(void);

#endif
