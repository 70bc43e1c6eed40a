/* Reclaiming: what safepoints do with the garbage of a concurrent collection. First all of it is looked at, and its
 * weak references are cleared (zweakrefs.h). Then it is fed to CPython in batches (zfeed.h), each as large as fits
 * the pause target (zbatch.h), until none is left.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZRECLAIM_H
#define COLLECTOR_CPYTHON_ZRECLAIM_H

#include "collector/python/zpyabi.h"

/* Goes on with the first look at the garbage, if there is any, until `deadline` (zos_now_ns). */
void zreclaim_look(uint64_t deadline);

/* The collection under way will be given up: callbacks of weak references that it has cleared are called, and until
 * then all are cleared that it would clear. Not in a collection of CPython's. */
void zreclaim_settle_weakrefs(void);

/* Pause targets that a batch may take beyond the first: more while garbage piles up faster than batches take it, as
 * in a program that enables collection now and then only. That is better than the stop that would come of it. */
unsigned zreclaim_extra_targets(void);

/* The plan of a batch: is one due? Is it the last one of its collection? Known before it begins; callbacks that wait
 * may take all of its time. */
bool zreclaim_is_due(void);
bool zreclaim_is_last(void);
void zreclaim_open(void);
void zreclaim_open_last(void);
void zreclaim_close(PyObject *info);

/* While a batch is open, moves what is still garbage from the oldest list to this one. */
void zreclaim_hide(zgc_head_t *list);

#endif
