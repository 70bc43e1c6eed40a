/* Waits: how many collections, one after the other, have found an object and left it to the next (zweakrefs.h says
 * why). By address: whatever is there later may be fed too early for the order that zweakrefs.h gives, and no more.
 *
 * One table holds what the last collection has left; another one is filled while the next looks at its garbage,
 * and takes its place at the end of that. All of this: GIL. */
#ifndef COLLECTOR_CPYTHON_ZWAITS_H
#define COLLECTOR_CPYTHON_ZWAITS_H

#include "collector/python/zpyabi.h"

#define ZWAITS_MOST 15

unsigned zwaits_of(const PyObject *object);

/* For the next collection. False when memory is short. */
bool zwaits_add(PyObject *object, unsigned waits);
/* What has been added takes the place of what was there. */
void zwaits_turn(void);
/* Forgets what has been added since the last turn, or all. */
void zwaits_drop(void);
void zwaits_clear(void);

#endif
