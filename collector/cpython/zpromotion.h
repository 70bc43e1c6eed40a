/* Promotion: which members of CPython's oldest list have entered the old set.
 *
 * New members stand at the tail of that list. A marker of our own (a real list object, since other
 * code walks these lists too) stands between those that were enumerated and those that were not;
 * enumeration moves it on in slices at safepoints.
 *
 * All functions: GIL held, outside of any collection of CPython's. */
#ifndef COLLECTOR_CPYTHON_ZPROMOTION_H
#define COLLECTOR_CPYTHON_ZPROMOTION_H

#include "collector/python/zpyabi.h"

/* Puts the marker at the start of the oldest list. False when memory is short. */
bool zpromotion_start(void);
/* Takes the marker out; the old set stays. */
void zpromotion_stop(void);

/* Everything stands behind the marker again: for when CPython has reordered the list. */
void zpromotion_rewind(void);
/* Around gc.freeze, which moves all lists away. Objects that were enumerated stay old, but are not
 * collected any more. `is_ours` tells whether our collector is at work. */
void zpromotion_before_freeze(bool is_ours);
void zpromotion_after_freeze(void);
/* Around gc.unfreeze, which puts all that is frozen behind the oldest list: what was enumerated before that counts
 * as enumerated. */
void zpromotion_before_unfreeze(void);
void zpromotion_after_unfreeze(bool is_ours);

/* Enumerates until the end of the list, or until `deadline`, but at least so many. Objects enumerated. */
size_t zpromotion_slice(uint64_t deadline, size_t least);
bool zpromotion_is_complete(void);

/* Tracked objects met since the last rewind that cannot be old (zold_map_admit): outside the ZPage heap,
 * or several in a block. Cycles through them are invisible to our passes, so CPython's own full
 * collection does what they need: gc.collect is that one, and the director asks for one as they grow.
 * How many were there at the last rewind; what is over is growth. */
size_t zpromotion_foreign(void);
size_t zpromotion_foreign_before(void);

#endif
