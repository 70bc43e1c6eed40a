/* Switches between our full collections and CPython's own: when the program asks, and after faults of ours.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZSWITCH_H
#define COLLECTOR_CPYTHON_ZSWITCH_H

#include "heap/base/zbase.h"

/* True: ours; false: CPython's. May call callbacks of weak references. */
void zswitch(bool on);

/* Counts a failure of our own; several without a success between them switch to CPython's. */
void zswitch_note_fault(const char *what);

#endif
