/* Whether what a bit of the old map stands for is a live object, before a type is read through it.
 *
 * Objects on CPython's free lists and in the trashcan keep their bit; so do untracked ones. And while a bit
 * dies with its block, an extension may keep a block when the object in it dies, and put anything else
 * there: a pool, a slab. So the object's neighbours in CPython's list must point back at it, too. Memory that
 * is something else by now does not pass: untracking has cleared the object's own links, and two words at
 * other addresses would have to hold its address.
 *
 * GIL held, outside of the core of a collection of CPython's. */
#ifndef COLLECTOR_CPYTHON_ZALIVE_H
#define COLLECTOR_CPYTHON_ZALIVE_H

#include "collector/python/zpyabi.h"

/* Of any address. False also where a neighbour outside the heap cannot be looked at. */
bool zalive_is_member(PyObject *object);

#endif
