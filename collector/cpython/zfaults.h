/* Failures of our own: after so many in a row full collections are CPython's for a while (zswitch.h). Memory that was
 * short may be there again later, so ours are tried again after a number of CPython's collections. One more failure
 * then, and the next rest is twice as long, up to a limit: what the tries cost stays a small part.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZFAULTS_H
#define COLLECTOR_CPYTHON_ZFAULTS_H

#include "heap/base/zbase.h"

/* Logs one. True when a rest begins. */
bool zfaults_note(const char *what);
/* Asked after each collection of CPython's while ours are off: true once, when the rest is over. */
bool zfaults_rest_is_over(void);
/* A collection has come to its end, or the program has switched us on or off: nothing has failed so far. */
void zfaults_forget(void);

#endif
