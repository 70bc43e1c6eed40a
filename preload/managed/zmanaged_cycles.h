/* Cycles through both worlds: a body holds a Python object that holds a handle of the same body, or of
 * one that reaches it.
 *
 * The managed mark takes every handle for a root, and Python's gc sees a body's reference as coming
 * from outside; so each would keep such a cycle for the other's sake. The way out is to let Python's
 * own gc judge, over exact counts:
 *
 * Most cycles are not of this kind: what a body holds that nothing but its handle refers to is held by the handle,
 * for Python's gc, too (zmanaged_sole.h). For the others:
 *
 * 1. Suspects. Before a full mark: trial deletion over the Python objects that bodies hold, the classes that have
 *    bodies, and all that tp_traverse reaches from those (modules are the border). A handle that is held by bodies
 *    only, by way of such objects, is a suspect. How many there are, and how deep they lie, does not matter.
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
 * bit makes the load barrier call zmanaged_handle_touch before anything is read: the group is
 * dissolved, its references go back to the bodies, its handles are untracked. A suspect that is touched
 * between the choice and the end of the mark is an ordinary root again (its body is kept alive), and
 * with it everything it reaches is marked, and in no group. So as long as a group exists, the edges
 * that the proxy stands for have not changed since the mark.
 *
 * A body of the group may have a handle that only weak references keep (zhandle_table.h). The program can get at it
 * as well, so it is a member: the proxy visits it, for the count that is ours, and it visits the proxy. It is alive
 * where the program holds it again; where the group is garbage Python's gc ends its weak references by its own rules.
 * A handle of the group that comes to be kept by weak references dissolves the group.
 *
 * 4. New groups are judged at once, some at a time: another trial deletion from their references finds the Python
 *    objects in between, and CPython's young collection over all of these (zjudge.h) is the verdict. A group that is
 *    alive then, or held by one that was judged later, is Python's gc's to find like any other object.
 *
 * Groups that Python's gc has found alive are dissolved before the next choice and judged again. A body that is
 * alive may hold the Python object that holds a suspect: all that refers to the suspect is in its group then, and
 * would never go. So handles that the verdict shows to be held are left out of the next choice; and those of groups
 * that lived, by a collection that the program did not ask for, of one more, of three if that was in vain, too, and
 * so on up to 31.
 *
 * Cost. zgc.collect("full") walks over all, with the GIL held: about 0.1 us for each object it meets. A collection
 * that the program did not ask for is prepared by a sweep, some references at a time, each part of which is a trial
 * of its own and takes less than a millisecond; it is due when the Python heap has grown by half, or when there are
 * twice as many references as are known to live. Groups are formed and judged in slices. While a program makes more
 * than is collected it waits a little now and then (zmanaged_director.c).
 *
 * A choice of suspects that is wrong costs time only: Python's gc finds the group alive. */
#ifndef PRELOAD_MANAGED_ZMANAGED_CYCLES_H
#define PRELOAD_MANAGED_ZMANAGED_CYCLES_H

#include "preload/managed/zmanaged_handle.h"

/* Chooses suspects for the full mark that comes next. GIL, before the request. The second runs no Python code;
 * is_whole: a walk over all, unless a sweep has just ended; else only where it is short. */
void zmanaged_cycles_choose(void);
void zmanaged_cycles_choose_some(bool is_whole);
/* Forms the groups that the last full mark has found, until `deadline` (zos_now_ns). True when there are no more.
 * GIL, no addresses held. */
bool zmanaged_cycles_take(uint64_t deadline);
/* Asks for the full collection of Python's that judges the groups, once it can. True: our collector has not taken
 * over from CPython's yet, and must. GIL; runs no Python code. */
bool zmanaged_cycles_ask(void);
bool zmanaged_cycles_await_collector(void);
/* Would a full collection now find less than a little later? Then the sweep takes a step, or groups wait for a full
 * collection of Python's because they could not be judged by themselves. */
bool zmanaged_cycles_await_verdict(void);

#endif
