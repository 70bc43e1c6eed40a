/* Requests for a safepoint, by threads that have no GIL: a pending call for an idle program, and a threshold that
 * brings the next collection for a busy one. (What threads without the GIL may touch at all: zpending.h.) */
#ifndef COLLECTOR_CPYTHON_ZREQUEST_H
#define COLLECTOR_CPYTHON_ZREQUEST_H

#include "collector/python/zpyabi.h"

/* An interpreter has come up: `serve` is the pending call that requests queue. GIL held, main thread. */
void zrequest_start(int (*serve)(void *));

/* Any thread, no GIL needed. Nothing is queued while we are off. */
void zrequest_safepoint(void);

/* The pending call has come: the next request queues another one. GIL held, main thread. */
void zrequest_served(void);

/* A collection starts: takes back the threshold that has hurried it. True where there was one. GIL held. */
bool zrequest_calm(void);

/* A collection stops: makes the main thread look for signals again (zrequest.c says why). GIL held. */
void zrequest_show_signals(void);

/* ZGC_VERIFY: a check is due at the next pending call, since none can be made within a collection. GIL held. */
void zrequest_verification(void);
bool zrequest_take_verification(void);

#endif
