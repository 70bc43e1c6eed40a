/* Cycles through both worlds: a body holds a Python object that holds a handle of the same body, or of
 * one that reaches it.
 *
 * The managed mark takes every handle for a root, and Python's gc sees a body's reference as coming
 * from outside; so each would keep such a cycle for the other's sake. The way out is to let Python's
 * own gc judge, over exact counts:
 *
 * 1. Suspects. Before a full mark, in slices at safepoints: starting from the Python objects that
 *    bodies hold, and from classes that have bodies, tp_traverse is followed for a bounded way, and
 *    the references to untracked handles are counted. A handle all of whose references were found
 *    is a suspect. Where no body holds a gc object there is nothing to walk.
 * 2. The mark leaves suspects out of its roots. What it has not reached when it ends is reachable from
 *    suspects only. Those bodies are then walked from each suspect and united into groups: two
 *    suspects that reach a common body are in one group.
 * 3. A group becomes visible to Python's gc. Its proxy, a gc object, takes over the references that
 *    the group's bodies own: it visits each exactly once. Its handles are tracked, and each of them
 *    owns one reference to the proxy and visits it. So every count adds up, and whatever collection
 *    runs, on any generation, at any time, decides by its usual arithmetic: a group one of whose
 *    handles is held from elsewhere is alive, all of it; else it is garbage and tp_clear of the proxy
 *    drops the references.
 *
 * Why that is sound. At the end of the mark no marked body refers to a body of the group (they would
 * be marked), and no handle outside the group reaches one. A mutator can get at the group's bodies
 * only through one of its handles, and each use of a handle's body passes its entry, whose suspect
 * bit makes the load barrier call zmanaged_cycles_touch before anything is read: the group is
 * dissolved, its references go back to the bodies, its handles are untracked. A suspect that is touched
 * between the choice and the end of the mark is an ordinary root again (its body is kept alive), and
 * with it everything it reaches is marked, and in no group. So as long as a group exists, the edges
 * that the proxy stands for have not changed since the mark.
 *
 * Groups that Python's gc has found alive are dissolved before the next choice and judged anew.
 *
 * A choice of suspects that is wrong costs time only: Python's gc finds the group alive. */
#ifndef PRELOAD_ZMANAGED_CYCLES_H
#define PRELOAD_ZMANAGED_CYCLES_H

#include "preload/zmanaged_handle.h"

bool zmanaged_cycles_start(void); /* false with an exception set */

/* A tracked handle is being deallocated. */
void zmanaged_cycles_forget(PyObject *handle);
int zmanaged_cycles_traverse(PyObject *handle, zpy_visit_t visit, void *argument);
void zmanaged_cycles_touch(zhandle_entry_t *entry);

/* Chooses suspects for the full mark that comes next. GIL, before the request. The second looks at a
 * few objects only and runs no Python code. */
void zmanaged_cycles_choose(void);
void zmanaged_cycles_choose_some(void);
/* Forms the groups that the last full mark has found. GIL, no addresses held. */
void zmanaged_cycles_take(void);
/* Groups that exist now. */
size_t zmanaged_cycles_count(void);

#endif
