/* Switches between our full collections and CPython's own: when the program asks, and after faults of ours.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZSWITCH_H
#define COLLECTOR_CPYTHON_ZSWITCH_H

#include "heap/base/zbase.h"

/* True: ours; false: CPython's. May call callbacks of weak references. */
void zswitch(bool on);

/* Counts a failure of our own; several without a success between them switch to CPython's for a while (zfaults.h). */
void zswitch_note_fault(const char *what);
/* A collection of CPython's has ended, at its stop: switches back when that while is over. */
void zswitch_try_again(void);

#endif
