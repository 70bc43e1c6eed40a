/* The safepoint of a program that brings none by itself: a pending call, which CPython runs on the main thread between
 * two instructions of the program. Requests are in zrequest.h.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZIDLE_H
#define COLLECTOR_CPYTHON_ZIDLE_H

/* An interpreter has come up: requests lead here from now on. Main thread. */
void zidle_start(void);

/* After a collection of a younger generation that the program asked for: the collection under way, if it waits
 * for one, gets the safepoint that would have come by itself without that. */
void zidle_follow(void);

#endif
