/* Teardown: a large component that is garbage is taken apart in slices.
 *
 * It hangs on lists of ours, which nobody can see: not in gc.get_objects, not in gc.get_referrers, as garbage that
 * CPython takes apart. Nothing can reach it (zverdict.h), so nothing changes it between two slices. Weak references to
 * it have been cleared, and its finalizers called (zweakrefs.h). CPython would do three things with each member at
 * once: hold it, call tp_clear, and let it go (Modules/gcmodule.c, delete_garbage). Here each is done with all
 * members before the next begins:
 *
 *   HOLD     a reference of ours to each
 *   CLEAR    tp_clear of each. What is not a member dies here, and its destructors run. A member does not, so a slice
 *            is as long as we like: where each were let go at once, a list linked through its members would die in
 *            one go. A long list is emptied from its end, in portions: in the order of its tp_clear
 *   RELEASE  our reference to each, which is mostly the last one
 *
 * That is an order which CPython's own could come out in, and a type can rely on none: what another member's tp_clear
 * leaves behind is what tp_dealloc may find there, too. Members are plain (zendings.h).
 * Code of the program that runs in between, in a destructor of what is not a member, cannot reach one either: what
 * holds a member is a member. Where code in C has kept one by its tp_clear all the same, it survives, as with CPython.
 *
 * Hidden members are not old any more, so no pass looks at them, and they need nothing of the collection that has
 * found them: it may be given up meanwhile. In a forked child the lists are what they were, and the child goes on. A
 * full collection, of whatever kind, takes the rest apart first, and so do zgc.disable and the end of the interpreter.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZTEARDOWN_H
#define COLLECTOR_CPYTHON_ZTEARDOWN_H

#include "collector/python/zpyabi.h"

/* There is some to be done. Else nothing is hidden. */
bool zteardown_is_pending(void);

/* Takes these objects out of CPython's lists if they are garbage by our own verdict. Nothing is pending. False:
 * nothing has changed. Runs no code of the program. */
bool zteardown_begin(PyObject *const *objects, size_t count);

/* Goes on until all is done, or `deadline` (zos_now_ns; UINT64_MAX: none) has passed. Runs code of the program. */
void zteardown_slice(uint64_t deadline);
/* All that is left; if a slice is under way (its code has called us), that one does it. */
void zteardown_finish(void);

void zteardown_fork_child(void);

#endif
