/* Young collections: CPython collects generation 0, and its survivors grow old or stay young for a while
 * (zsurvivors.h, ztenuring.h). Where that would be in vain, or the generation is far larger than its threshold, all of
 * it grows old without a walk: it is taken over.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZYOUNG_H
#define COLLECTOR_CPYTHON_ZYOUNG_H

#include "collector/python/zpyapi.h"

/* At the start of a collection of this generation, once: is it one that would find nothing? Notes it. */
void zyoung_note_left_out(long generation);
/* After that: is generation 0 too large to be looked at? */
bool zyoung_is_oversized(void);
/* The collection has been brought on for the garbage that waits: the young objects are not enough yet. */
bool zyoung_is_early(void);

/* The plans of a young collection, and of taking over. */
void zyoung_open(void);
void zyoung_close(PyObject *info);
void zyoung_open_take_over(void);
void zyoung_close_take_over(PyObject *info);

/* One of those, or a batch of garbage, has been closed: what the objects left hold in bytes (zpayload.h). */
void zyoung_note_payload(void);

/* One of those has ended, work of ours included. */
void zyoung_note(uint64_t took, long collected);
/* Logs a sum, now and then. */
void zyoung_log(uint64_t at);

/* Brings the next collection on where something waits for a safepoint. */
void zyoung_come_again_soon(void);

#endif
