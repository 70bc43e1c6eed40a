/* The verdict on new groups, some at a time: CPython's young collection over a batch of them, and over the Python
 * objects in between, says which are garbage (zmanaged_cycles.h). GIL. */
#ifndef PRELOAD_MANAGED_ZMANAGED_VERDICT_H
#define PRELOAD_MANAGED_ZMANAGED_VERDICT_H

#include "preload/managed/zmanaged_group.h"

/* A group has been formed, and waits. */
void zmanaged_verdict_add(const zmanaged_group_t *group);
bool zmanaged_verdict_is_empty(void);
bool zmanaged_verdict_is_full(void);
/* Judges all that wait. Runs Python code. False: they were not judged, and are Python's gc's to find. */
bool zmanaged_verdict_judge(void);
/* Cycles through sole handles alone are Python's gc's to find; this is for a program that asks for a full collection
 * of bodies. Runs Python code. */
void zmanaged_verdict_judge_sole(void);
/* Gives the batch's memory back. */
void zmanaged_verdict_forget(void);

/* A choice of suspects begins. */
void zmanaged_verdict_begin_choice(void);
/* Was the handle held by something outside the batch? Then the choice leaves it out. */
bool zmanaged_verdict_is_held(const zhandle_entry_t *entry);
/* Has the last verdict shown handles that the next choice is better off without? */
bool zmanaged_verdict_has_more(void);

#endif
