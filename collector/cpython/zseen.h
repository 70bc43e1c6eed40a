/* Seen: the garbage whose end the program sees, because it has a finalizer, or a weak reference with a callback.
 *
 * CPython's full collection first calls all callbacks, then all finalizers, and only then takes objects apart; each in
 * the order of its list, which is the order of age. Batches of garbage would show the program another order: that of
 * components, with parts of some components gone when the finalizers of others run. So seen objects are noted here
 * while the garbage is looked at (zweakrefs.h), and put in the order of CPython's list; their callbacks and then their
 * finalizers are called before the first batch is fed. A finalizer that has run is flagged as CPython flags it, so the
 * batch does not call it again. What finalizers bring back to life survives the batch, where CPython has the last word.
 *
 * The order is found from the list itself, since an object does not know its place. From each noted object on, the
 * list is walked in both directions for as long as another noted one comes within NEAR members. So those that were
 * made together come out in their order, whatever their addresses. Runs that lie farther apart follow each other by
 * address.
 *
 * Each noted object is held by a reference until its turn, so that it can neither die nor be another one by then. Who
 * gives the collection up drops them (zseen_drop), and their finalizers are left to the next collection.
 *
 * All of this: GIL. */
#ifndef COLLECTOR_CPYTHON_ZSEEN_H
#define COLLECTOR_CPYTHON_ZSEEN_H

#include "collector/python/zpyabi.h"

/* Room for one more object and so many weak references. False when memory is short. */
bool zseen_reserve(size_t refs);
/* An object that is garbage, and its weak references whose callbacks are to be called. Both are held. */
void zseen_add(PyObject *object);
void zseen_add_ref(PyObject *ref); /* of the last one */

/* A class that is garbage, whose weak references are about to be cleared. CPython's caches of what is looked up in a
 * class hold no references: when a base changes, the caches of its subclasses are emptied, and it knows those by weak
 * references alone. So from here on the base can change without the class, and a finalizer would find in its cache
 * what has been freed. Hence the caches of all such classes are emptied each time before finalizers run. False when
 * memory is short. */
bool zseen_add_class(PyObject *class);

/* Puts what has been added in order, until `deadline` (zos_now_ns). True when it is; then callbacks may be called. */
bool zseen_order(uint64_t deadline);

/* Calls the callbacks that wait, until none is left or `deadline` has passed. True when none is left. An exception is
 * reported as unraisable. May be entered again by a callback. */
bool zseen_call(uint64_t deadline);
bool zseen_has_callbacks(void);

/* The same for the finalizers. When none is left, no object is held any more. */
bool zseen_finalize(uint64_t deadline);
bool zseen_has_objects(void);
size_t zseen_finalizers(void);

/* Its finalizer is running. */
bool zseen_is_current(const PyObject *object);

/* Objects that are held: each one; and only these from now on. */
void zseen_each(void (*visit)(PyObject *object));
void zseen_keep(bool (*wants)(const PyObject *object));

/* Nothing is finalized any more. Callbacks still wait: their weak references have been cleared. */
void zseen_drop(void);

/* Weak references that died when their callback had been called, since the last time: CPython counts them among
 * the objects collected. */
size_t zseen_take_freed(void);

#endif
