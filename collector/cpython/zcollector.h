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

/* Switches at run time between our full collections (true) and the interpreter's own. */
void zcollector_switch(bool on);
bool zcollector_is_on(void);

/* What the user set, whatever is in force inside. */
void zcollector_get_thresholds(int thresholds[3]);
/* Puts the users' thresholds where CPython keeps its own, and takes them from there: around its own
 * gc.set_threshold. */
void zcollector_lend_thresholds(void);
void zcollector_take_thresholds(void);
void zcollector_apply_thresholds(void); /* after a change of what is in force */
void zcollector_get_counts(int counts[3]);

/* gc.collect(generation); around CPython's own gc.freeze() and gc.unfreeze(), whoever collects. Number of unreachable objects, or -1 with an exception. */
Py_ssize_t zcollector_collect(int generation);
void zcollector_before_freeze(void);
void zcollector_after_freeze(void);
void zcollector_before_unfreeze(void);
void zcollector_after_unfreeze(void);

/* zgc.collect: starts a concurrent collection, and waits for its end when `wait`. Objects reclaimed,
 * or -1 with an exception. */
Py_ssize_t zcollector_collect_concurrently(bool wait);

/* Checks the heap and compares our passes with CPython's own verdict over everything. Number of
 * objects checked, or -1 with RuntimeError set. Collects what is garbage. */
Py_ssize_t zcollector_verify(void);

/* Counts a failure of our own; three without a success between them switch to the stock collector. */
void zcollector_note_fault(const char *what);
void zcollector_note_success(void);

/* Brings the counters that are not kept up to date all the time up to date. */
void zcollector_refresh_stats(void);

/* Brings the statistics page up to date: at each safepoint, with the GIL, and by the collector
 * thread, without it. `now_ns` may be a little old. */
void zcollector_publish_at_safepoint(uint64_t now_ns);
void zcollector_publish_by_thread(void);

/* Before a fork; any thread. */
void zcollector_fork_prepare(void);
void zcollector_fork_child(void);

#endif
