/* The collector as the rest of the library sees it. All functions: GIL held, main interpreter. */
#ifndef COLLECTOR_CPYTHON_ZCOLLECTOR_H
#define COLLECTOR_CPYTHON_ZCOLLECTOR_H

#include "collector/cpython/zphase.h"
#include "collector/python/zpyapi.h"

/* Proves the interpreter and takes over its full collections. False: *why tells the reason, and the
 * interpreter is as it was. */
bool zcollector_start(const char **why);

/* Hands everything back: the interpreter's own collector works as if we had never been there. For
 * the end of the interpreter; zcollector_start may be called for the next one. */
void zcollector_stop(void);

/* gc.get_count() */
void zcollector_get_counts(int counts[3]);

/* gc.collect(generation). Number of unreachable objects, or -1 with an exception. */
Py_ssize_t zcollector_collect(int generation);

/* Around CPython's own gc.freeze() and gc.unfreeze(), also while the collector is off. */
void zcollector_before_freeze(void);
void zcollector_after_freeze(void);
void zcollector_before_unfreeze(void);
void zcollector_after_unfreeze(void);

/* Around functions of CPython's that go through all objects: callbacks and finalizers find no garbage there, as in a
 * collection of CPython's. The calls may be nested, by audit hooks. */
void zcollector_hide_garbage(void);
void zcollector_show_garbage(void);

/* zgc.collect: starts a concurrent collection, and waits for its end when `wait`. Objects reclaimed,
 * or -1 with an exception. */
Py_ssize_t zcollector_collect_concurrently(bool wait);

/* Before a fork; any thread. */
void zcollector_fork_prepare(void);
void zcollector_fork_child(void);

#endif
