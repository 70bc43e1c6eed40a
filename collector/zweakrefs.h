/* Weak references to garbage: cleared before any code of the program can use them.
 *
 * CPython's full collection clears the weak references to all of its garbage first, then calls their
 * callbacks, then the finalizers (Modules/gcmodule.c, handle_weakrefs). Batches alone do not give that order: a
 * callback or a finalizer of one batch could use a weak reference to garbage of a later one. So before the first
 * batch each component that has weak references is looked at:
 *   - verdict: the component is garbage exactly if the refcounts of its members add up to the references that
 *     they hold to each other. A reference from outside is in the first sum only.
 *   - its weak references are cleared. That was the only way back to it, so it stays garbage.
 * Then the callbacks of weak references that are alive are called, and then the batches are fed.
 *
 * Cost: one tp_traverse for each member of such a component, in slices at safepoints. A component of more than
 * ZWEAKREFS_MOST objects is left to CPython, as is one for which the order differs: from 3.15 on weak references
 * without a callback are cleared after the finalizers.
 *
 * Threads: all of this with the GIL held. Callbacks that are still to be called survive an abandoned collection. */
#ifndef COLLECTOR_ZWEAKREFS_H
#define COLLECTOR_ZWEAKREFS_H

#include "collector/zcomponents.h"

#define ZWEAKREFS_MOST 20000

/* Goes on with the garbage of collection `sequence` until all of it has been looked at or `deadline`
 * (zos_now_ns) has passed. True when all has been. Calls no code of the program. */
bool zweakrefs_clear(const zcomponents_t *garbage, uint64_t sequence, uint64_t deadline);

bool zweakrefs_are_cleared(const zcomponents_t *garbage, uint64_t sequence);

/* Calls the callbacks that wait, until none is left or `deadline` has passed. True when none is left. An
 * exception is reported as unraisable. May be entered again by a callback. */
bool zweakrefs_call(uint64_t deadline);

bool zweakrefs_have_callbacks(void);

/* Weak references that died when their callback had been called, since the last time: CPython counts them among
 * the objects collected. */
size_t zweakrefs_take_freed(void);

#endif
