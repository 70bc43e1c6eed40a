/* Growth: whether what has become old since the last full collection is worth another one. Numbers only;
 * zdirector.h has the rules that look at other things.
 *
 * Two limits call for a collection, and both are of garbage, which memory must not be full of:
 *   - the old set has grown by a share of its lowest size since the last collection (ZGC_TRIGGER), or, where
 *     that is little, by about what CPython lets pile up in a small heap. What dies by reference count
 *     does not count. A collection begins before that, by what will become old while it runs.
 *   - so many objects have become old that, by what the last collections found among such ones, as much of them
 *     is garbage. The size of the old set does not show that where live objects give way to garbage. It
 *     takes no more memory than the old set had before, so it has to pay: the program has used EARN times the
 *     CPU time since the last collection that this one will take.
 * A program whose old objects die by reference count is looked at seldom, then: past collections found nothing,
 * and the old set does not grow.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZGROWTH_H
#define COLLECTOR_CPYTHON_ZGROWTH_H

#include "heap/base/zbase.h"

/* All counts and times since any fixed point. */
typedef struct {
  uint64_t old;         /* objects in the old set */
  uint64_t promoted;    /* objects that have entered it */
  uint64_t bytes;       /* that the heap and malloc have handed out (zheap_growth.h) */
  uint64_t time_ns;
  uint64_t price_ns;    /* CPU time of collections, abandoned ones included */
  uint64_t (*program_ns)(void); /* CPU time of the process; asked for seldom */
} zgrowth_record_t;

bool zgrowth_is_due(const zgrowth_record_t *now);
/* Since the last collection the program has used `times` the CPU time that this one will take. */
bool zgrowth_has_earned(const zgrowth_record_t *now, unsigned times);

/* A full collection of any kind begins; it ended with so many objects found and reclaimed. */
void zgrowth_note_start(const zgrowth_record_t *now);
void zgrowth_note_end(const zgrowth_record_t *now, uint64_t found, uint64_t reclaimed);

/* All old objects have left the old set at once, and return (gc.freeze): no garbage, and no growth but what there was
 * before, also where a collection begins, runs or ends meanwhile. `objects` are all that are frozen now, or were. */
void zgrowth_note_frozen(uint64_t objects);
void zgrowth_note_unfrozen(uint64_t objects);

/* A good part of what was promoted before the last collection had become garbage by then. */
bool zgrowth_is_fruitful(void);

/* zdirector_behind and zdirector_pressure; `waiting` objects are garbage found and not reclaimed so far. */
unsigned zgrowth_behind(const zgrowth_record_t *now, unsigned progress);
unsigned zgrowth_pressure(const zgrowth_record_t *now, uint64_t waiting);

/* "grown 5 of 7 ..." for the log, and what the last collection left. */
void zgrowth_describe(const zgrowth_record_t *now, char *text, size_t size);
uint64_t zgrowth_promoted(const zgrowth_record_t *now); /* since the last collection began */

void zgrowth_reset(void);

#endif
