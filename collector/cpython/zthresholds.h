/* The thresholds of CPython's generations: what the program has set, and what is in force inside while young
 * collections are ours (zmode.h).
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZTHRESHOLDS_H
#define COLLECTOR_CPYTHON_ZTHRESHOLDS_H

#include "collector/python/zpyabi.h"

/* Takes CPython's thresholds for those that the program wants. */
void zthresholds_start(void);

/* After each change of what should be in force. */
void zthresholds_apply(void);

/* The program's thresholds, also while others are in force. */
void zthresholds_get(int thresholds[ZGC_GENERATIONS]);

/* Around CPython's own gc.set_threshold: puts the program's thresholds where CPython keeps its own, and takes them
 * from there. */
void zthresholds_lend(void);
void zthresholds_take(void);

#endif
