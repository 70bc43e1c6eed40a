/* Pending calls and words of an interpreter's state, for threads without the GIL.
 *
 * An interpreter can end at any moment; then the queue of pending calls is memory that is gone, or another
 * interpreter's. So a thread that is about to touch it says so first (zpending_enter), and the end waits for it:
 *   - a thread that enters counts itself, then looks whether an interpreter is up; the end says that none is, then
 *     looks at the count. All four are sequentially consistent, so one of the two sees the other;
 *   - the end is the death of a capsule in the interpreter's own dict (PyInterpreterState_GetDict), which no
 *     program can prevent as it can a function at exit (atexit._clear). CPython clears this dict with the GIL
 *     held, and before it frees anything of the queue, on each version.
 * In between there is no call into Python, and no lock but that of the queue. */
#ifndef COLLECTOR_CPYTHON_ZPENDING_H
#define COLLECTOR_CPYTHON_ZPENDING_H

#include "collector/python/zpyapi.h"

/* An interpreter has come up: the main one. GIL held. False: its end cannot be watched, nobody may enter. */
bool zpending_open(void);
/* Waits until all have left who had entered before. */
void zpending_wait(void);
/* In a forked child nobody else is there. */
void zpending_fork_child(void);

/* Any thread. False: there is no interpreter; then there is nothing to leave. */
bool zpending_enter(void);
void zpending_leave(void);
/* Between enter and leave. False: the queue is full. */
bool zpending_add(int (*call)(void *));

#endif
