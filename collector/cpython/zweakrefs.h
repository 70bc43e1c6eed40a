/* What the program can see of the end of garbage: weak references to it, and finalizers.
 *
 * CPython's full collection stops the program, and then clears the weak references to all of its garbage, calls
 * their callbacks, and calls finalizers (Modules/gcmodule.c, handle_weakrefs). So what becomes garbage at one moment
 * ends together: no callback and no finalizer finds other parts of it alive, and no callback is called of a weak
 * reference that is garbage itself. Here garbage is found beside the program and reclaimed in batches. Two rules
 * show the program the same.
 *
 * 1. "Seen" are objects with a finalizer, or with a weak reference from outside their component that has a callback;
 * from 3.15 on also with one that has none.
 * Seen garbage is fed when it was garbage before the collection began; else it waits for the next one. For the passes
 * find all that was garbage when they began, since garbage holds still (zpass.h), and only some of what became
 * garbage meanwhile: a pass may have read a part while that was in use, and knows nothing of young objects. Say two
 * objects become garbage at one moment. If the one was garbage before the collection began, so was the other, and
 * both have been found. And a weak reference that has not been found was in use then: CPython would call its callback.
 *   Whether an object was garbage is told by refcounts. A component is garbage now exactly if the refcounts of its
 * members add up to the references that they hold to each other: a reference from outside is in the first sum only.
 * If it was in use when the collection began, a reference from outside has gone since, so the refcount of a member is
 * not what it was (zpass_count). Such members, and what they refer to, were in use; the others were not, and nothing
 * of what was in use refers to them. So a component is divided there.
 *   zpass_count takes a while, too. What dies meanwhile would count as in use where it was read before, and as garbage
 * where it was read after. So the refcounts are noted twice, one time after the other. If no component has a member
 * whose refcount changed between the two and then no more, none died while they were noted for the first time but
 * as a whole; else all that is seen waits (is_blurred).
 *   All that is tracked has to be old when a collection begins: the young are promoted then, where the last
 * one has met seen objects. What has waited WAITS_MOST times is fed in any case: nothing that the program does keeps
 * it for ever. And where seen garbage is made all the time, no more than a LEFT_SHARE of the heap waits, and the blur
 * is put up with: else that is memory.
 *   What remains: a refcount says nothing where the program replaces a reference from outside by one from inside,
 * so that the component holds itself, in the moments between zpass_count and the first look at it, and a weak
 * reference without a callback can bring garbage back for a moment.
 *
 * 2. Before the first batch the weak references to all that will be fed are cleared: those of each component once it
 * is known to be garbage now. They were the only way back to it, so it stays garbage. Then the callbacks of those
 * that are not garbage are called, then all finalizers, both in CPython's order (zseen.h), and then the batches are
 * fed.
 *
 * 3. From 3.15 on CPython clears weak references without a callback ("plain") after the finalizers, which can still use
 * them. Where there are both, plain weak references from outside the garbage and finalizers, no code of the program but
 * finalizers may run from the first one until the last plain weak reference is cleared: else it would reach an object
 * that has been finalized. So this is one pause. What had plain weak references is judged once more before it, since
 * the program may have used one, and after it, since finalizers may have. What is not garbage then is left to CPython.
 *
 * Cost: one tp_traverse for each member of such a component, in slices at safepoints. A component is not interrupted:
 * CPython, to which it is fed, would not do that either. What waits counts as growth (zgrowth.h), which bounds it.
 *
 * Threads: all of this with the GIL held. Callbacks that are still to be called survive an abandoned collection, and
 * finalizers do not: their objects are garbage for the next one. */
#ifndef COLLECTOR_CPYTHON_ZWEAKREFS_H
#define COLLECTOR_CPYTHON_ZWEAKREFS_H

#include "collector/cpython/zcomponents.h"

/* A collection begins; all that is tracked is old, or not. It should be, where the last one has met seen members. */
void zweakrefs_begin(bool all_is_old);
bool zweakrefs_want_all_old(void);

/* Goes on with the garbage of collection `sequence` until all of it has been looked at or `deadline`
 * (zos_now_ns) has passed. Then components that wait are not in it any more, and true is returned. Calls no
 * code of the program. */
bool zweakrefs_clear(zcomponents_t *garbage, uint64_t sequence, uint64_t deadline);
/* Objects that wait for the next collection. */
size_t zweakrefs_waiting(void);
/* All garbage has been reclaimed in another way. */
void zweakrefs_forget_waiting(void);

bool zweakrefs_are_cleared(const zcomponents_t *garbage, uint64_t sequence);

/* Before the first batch: calls the callbacks, and then the finalizers, until none is left or `deadline` has passed.
 * True when none is left. May be entered again by a callback or finalizer, which may also end the collection. */
bool zweakrefs_finish(uint64_t deadline);
bool zweakrefs_are_finished(void);

/* Moves all that is still garbage from its list to this one. */
void zweakrefs_hide(zgc_head_t *list);

/* The collection has been given up: nothing is finalized. Callbacks are still to be called. */
void zweakrefs_give_up(void);

#endif
