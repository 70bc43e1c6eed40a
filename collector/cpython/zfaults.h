/* Failures of our own in a row: so many, and full collections are CPython's from then on (zswitch.h).
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZFAULTS_H
#define COLLECTOR_CPYTHON_ZFAULTS_H

#include "heap/base/zbase.h"

/* Logs one. True when there have been too many without a success between them. */
bool zfaults_note(const char *what);
/* A collection has come to its end, or a row begins for another reason. */
void zfaults_forget(void);

#endif
