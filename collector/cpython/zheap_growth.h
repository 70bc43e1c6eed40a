/* Growth in bytes: whether the heap has risen by so much since the last full collection that it is worth another one,
 * however few objects have become old (zgrowth.h counts those). Numbers only.
 *
 * The limit is a share of the heap's lowest size since then (ZGC_TRIGGER), as for objects. But the bytes may as well
 * be those of live objects, or of no object of ours. So a number of objects must have become old, collections that find
 * nothing double the limit, and each has to be paid for: the program has used some times its CPU time meanwhile. That
 * is less where the last collection has made the heap smaller and it has risen by several limits since.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZHEAP_GROWTH_H
#define COLLECTOR_CPYTHON_ZHEAP_GROWTH_H

#include "collector/cpython/zgrowth.h"

bool zheap_growth_is_due(const zgrowth_record_t *now);

/* A full collection of any kind begins; it has ended. After zgrowth's. */
void zheap_growth_note_start(const zgrowth_record_t *now);
void zheap_growth_note_end(const zgrowth_record_t *now);

/* zdirector_behind, by bytes. */
unsigned zheap_growth_behind(const zgrowth_record_t *now, unsigned progress);

/* The numbers of the rule, for the log. */
void zheap_growth_describe(const zgrowth_record_t *now, char *text, size_t size);

void zheap_growth_reset(void);

#endif
