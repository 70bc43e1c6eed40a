/* Trial deletion (Bacon, Rajan 2001; CPython's gc) over the Python objects that bodies hold, and what can be
 * reached from those: an object more of whose references are counted than were found is held from elsewhere, and
 * with it all that it leads to. The handles that are left are held by bodies only, by way of such objects.
 *
 * Sound for any part: what was not walked counts as elsewhere. So one trial may begin at some references only, and
 * end after so many objects. What a sole handle (zmanaged_sole.h) holds it holds as an object of Python's.
 *
 * GIL; runs no Python code. What was found is good until Python code runs, and takes memory until
 * zmanaged_trial_forget. */
#ifndef PRELOAD_MANAGED_ZMANAGED_TRIAL_H
#define PRELOAD_MANAGED_ZMANAGED_TRIAL_H

#include "preload/managed/zmanaged_handle.h"

/* From all references, and the classes that have bodies. False: memory is short. */
bool zmanaged_trial_of_all(void);
/* From these, by their index; at most so many objects. */
bool zmanaged_trial_of(const uint32_t *references, size_t count, size_t most);
/* From all sole handles, which are objects like any of Python's. */
bool zmanaged_trial_of_sole(void);
void zmanaged_trial_forget(void);

size_t zmanaged_trial_count(void); /* objects that were met */
/* Calls `look` for each object that was walked and that bodies only hold, if any, as long as it says so. */
void zmanaged_trial_each(bool (*look)(PyObject *object, void *context), void *context);
bool zmanaged_trial_has(PyObject *object); /* is it one of those? */

#endif
