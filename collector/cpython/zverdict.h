/* The verdict on a large component: is it garbage? By two sums, in one look at each of its members.
 *
 * A set of tracked objects is held by nothing but itself exactly if the refcounts of its members add up to the
 * references that members hold to members: a reference from outside is in the first sum only. This is what CPython's
 * trial deletion says of a set as a whole (Modules/gcmodule.c, deduce_unreachable). It does not say which members are
 * alive where the sums differ: such a component is CPython's.
 *
 * The sums prove something only if they are taken with the GIL held throughout. A reference that moves from a member
 * not yet summed to one already summed would be missed. So a verdict is one pause; it writes to no object.
 *
 * References are found by the walkers that CPython's own code describes (zpass.h says why no learned one will do). One
 * that overlooks a reference makes the sums differ, and CPython decides. None reports a reference that is not counted:
 * each is compared with tp_traverse (ztype_registry.h). ZGC_VERIFY compares the whole sum. */
#ifndef COLLECTOR_CPYTHON_ZVERDICT_H
#define COLLECTOR_CPYTHON_ZVERDICT_H

#include "collector/python/zpyabi.h"

/* Of old objects, each of which was a member of CPython's lists when it was found. False also for what is not plain
 * (zendings.h), has weak references, or a finalizer that has not been called: all of that has been seen to before
 * (zweakrefs.h), or is left to CPython. But for the weak references that are cleared last, without callbacks, from 3.15
 * on: *observed members have some. GIL; runs no code of the program. */
bool zverdict_is_garbage(PyObject *const *objects, size_t count, size_t *observed);

#endif
