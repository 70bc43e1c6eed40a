/* Beginning a collection: asks the director, and follows its answer. The answer may also be that the next safepoint
 * has to stop the world, or to leave a collection of everything to CPython.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZCONSULT_H
#define COLLECTOR_CPYTHON_ZCONSULT_H

#include "collector/cpython/zphase.h"

/* The director's turn, at a safepoint. */
void zconsult_director(void);

/* Starts a concurrent collection; false when one is under way or it cannot be started. */
bool zconsult_begin(zcause_t cause);

/* At a safepoint: the world is to be stopped for a full collection, which has begun then (zdriver_begin_stopped). */
bool zconsult_stops_world(void);
/* At a safepoint: CPython is to collect all objects, since those that our passes do not see have grown in number. The
 * collection has begun then. */
bool zconsult_wants_whole(void);
/* One of those is about to be done for another reason. */
void zconsult_forget_whole(void);

/* All young objects are old as soon as they have been enumerated. Not during a collection of CPython's, or at its
 * end. */
void zconsult_promote_young(void);

/* For the next interpreter. */
void zconsult_reset(void);

#endif
