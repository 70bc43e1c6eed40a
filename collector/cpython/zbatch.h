/* How much garbage one batch holds (zfeed.h): as much as fits the pause target, by what the last one took.
 *
 * A collection begins with a short one: its garbage is in no processor's cache, and costs up to ten times
 * what the last batches of the collection before did. From then on the size follows a batch that took too
 * long at once, and one that was short by quarters, so that one lucky batch does not make the next too long.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZBATCH_H
#define COLLECTOR_CPYTHON_ZBATCH_H

#include "heap/base/zbase.h"

#define ZBATCH_FIRST 500u
#define ZBATCH_MIN 50u
#define ZBATCH_MAX 200000u

/* A collection's first batch is next. */
void zbatch_begin(void);
/* Objects in the next batch: ZBATCH_MIN to ZBATCH_MAX. */
size_t zbatch_size(void);
/* A batch of `objects` took so long. Batches below ZBATCH_TELLING say little and change nothing. A batch holds
 * whole components, so most are a little smaller than the size asked for. Hence the bound lies well below the least
 * size: else the size would never grow again once it is the least. */
#define ZBATCH_TELLING (ZBATCH_MIN / 2)
void zbatch_note(size_t objects, uint64_t took_ns, uint64_t budget_ns);

#endif
