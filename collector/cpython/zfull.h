/* Full collections with the world stopped: by exact passes of ours, all of whose garbage is fed at once, or by CPython
 * itself, as a full collection of its own or by looking at all objects as if they were young.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZFULL_H
#define COLLECTOR_CPYTHON_ZFULL_H

#include "collector/python/zpyapi.h"

/* Exact passes of ours. */
void zfull_open(void);
void zfull_close(PyObject *info);
/* All objects are young: another generation cannot be asked for once a collection has begun, but what this one holds
 * is ours to say. */
void zfull_open_whole(void);
void zfull_close_whole(PyObject *info);
/* CPython's own full collection. */
void zfull_open_small(void);
void zfull_close_small(PyObject *info);

#endif
