/* Survivors of a young collection: those that stay young (ztenuring.h says how many), and those that
 * grow old.
 *
 * What stays young stands at the front of generation 0, the oldest first, and is looked at again by the
 * next young collection. While that is to be counted, a marker of our own (a real list object, since
 * other code walks these lists too) stands behind it, before what the program allocates next. CPython
 * may move a survivor to the end of its list, never to the front: so of what stood before the marker,
 * what is missing there afterwards was garbage or was moved.
 *
 * What a young collection costs follows what was allocated since the last one, by construction: what stays
 * young is limited in number, in weight and in age (ztenuring.h), and of what is new, which the program has
 * filled since, no more is visited than a pause allows. The rest grows old without a look: old
 * collections find its garbage.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZSURVIVORS_H
#define COLLECTOR_CPYTHON_ZSURVIVORS_H

#include "heap/base/zbase.h"

/* At `start`: the members of generation 0, counted up to `most`; *aged of them had been kept by the
 * collection before, 0 where that is not known. */
size_t zsurvivors_count(size_t most, size_t *aged);

/* What a young collection is about to look at. */
typedef struct {
  size_t members, aged;           /* of generation 0; those kept by the collection before among them */
  size_t new_weight, aged_weight; /* what all of it weighs (zweight.h) */
  size_t weight;                  /* what is left of that */
} zsurvivors_look_t;

/* At `start`, when the program's callbacks have run, which may have moved all of them, and the marker: what is there
 * now. An object whose references have to be counted is weighed no further than to `most` + 1. */
zsurvivors_look_t zsurvivors_weigh(size_t most);

/* When the members weigh more than `most`, promotes heavy ones without a look, so that the others do not. `members`,
 * `aged` and `weight` become those of what is left. */
void zsurvivors_lighten(size_t most, zsurvivors_look_t *look);

/* At `stop`, survivors in generation 1: keeps and promotes them. `weight` is that of what was looked at.
 * Returns how many of the aged were garbage, if `collected` objects were. */
size_t zsurvivors_settle(size_t aged, size_t collected, size_t weight, size_t *promoted);

/* Gives the marker back. */
void zsurvivors_stop(void);

#endif
