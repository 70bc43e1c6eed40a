/* Feeding: garbage is linked into generation 0, alone, and CPython's own young collection takes it
 * from there: its trial deletion is the exact verdict, and weak references, callbacks, finalizers,
 * resurrection and tp_clear are by definition CPython's, on every version.
 *
 * The young objects are in generation 1 meanwhile, which is empty otherwise. So every list is
 * CPython's own and complete at any moment: finalizers may look with gc.get_objects, call gc.freeze,
 * fork or end the process.
 *
 * GIL held, at phase `start` of a collection of generation 0. */
#ifndef COLLECTOR_CPYTHON_ZFEED_H
#define COLLECTOR_CPYTHON_ZFEED_H

#include "collector/cpython/zcomponents.h"

/* Sets the young objects aside. */
void zfeed_open(void);
/* Puts them, and what of the batch survived, back into generation 0. Phase `stop`. */
void zfeed_close(size_t survivors_most);

/* What is left of the garbage is frozen by now: it must not be fed. */
bool zfeed_is_frozen(const zcomponents_t *components);

/* Objects in the components that the next batch takes: as many whole ones as fit `objects`, at least one, and
 * none that is large (zcomponents.h). */
size_t zfeed_reach(const zcomponents_t *components, size_t objects);

/* Links those components into generation 0; the last one of all only when `is_last`. Objects that died meanwhile
 * are skipped. Objects linked. */
size_t zfeed_components(zcomponents_t *components, size_t objects, bool is_last);

/* Links every candidate of a pass made with the world stopped. Objects linked. */
size_t zfeed_candidates(PyObject *const *candidates, size_t count);

/* Takes those that survived, `most` at most, out of the census of garbage: the last members of
 * generation 1. Phase `stop`, before anything is added to that list; zfeed_close does it itself. */
void zfeed_note_survivors(size_t most);

#endif
