/* Tenuring: how many survivors of a young collection stay young, and how much the program allocates
 * between two of them. Numbers only; zsurvivors.h has the lists.
 *
 * As a rule survivors grow old at once: garbage among old objects is found beside the program, and a
 * young collection of few objects is a short pause. But where the program drops rings of thousands of
 * objects soon after it has made them, each ring would be caught half built, grow old, and cost ten
 * times what CPython pays, which finds it in generation 1. So, when an old collection finds that much of
 * what was promoted has died, survivors are kept young for a trial: as many as can be looked at again
 * within twice the pause target, by what an object has cost so far. The trial goes on as long as it pays:
 * while of the survivors looked at again enough are garbage. Old objects that die at any age (a
 * cache's) do not pay, and after each trial in vain the next one waits longer.
 *
 * The same for a generation 0 that has grown large, which as a rule grows old without a look: objects that
 * CPython tracks late (dicts) can be a large one all at once, when no collection was due. It is looked at
 * for a trial, and then up to what fits two pauses: more while it is mostly garbage, less where it is not.
 *
 * Where few objects hold much memory (zpayload.h) a trial begins sooner, for there is no room for the garbage that
 * would show what it is worth. It keeps at least as many survivors as CPython's generation 1 would hold, however long
 * that takes.
 *
 * Where garbage is old, one young collection after the other finds nothing at all. Most of them are left out then: what
 * is new grows old without a look, which is what would come of it anyway. One in a few is still held, and when that
 * finds anything, all are again.
 *
 * Objects are few, but each may hold many references, and a visit of those is what a young collection costs:
 * so there are limits of weight (zweight.h), too. What is kept weighs no more than so much for each object
 * that may be kept, and is kept for a limited number of collections. All that is looked at weighs no more than
 * a pause allows; where new objects are heavy, the next collection comes after fewer of them.
 *
 * Sound whatever the numbers: CPython's young collection is right for any set of objects, and the old
 * set may be entered at any time. A survivor kept is a survivor not yet seen by the passes, as any
 * young object is; explicit full collections promote what is kept before they look.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZTENURING_H
#define COLLECTOR_CPYTHON_ZTENURING_H

#include "heap/base/zbase.h"

/* Objects that a young collection can look at within the pause target, by what one has cost so far. */
size_t ztenuring_fits(void);

/* Survivors that stay young, at most. A few always do: what the program was building when the collection
 * came is often garbage a moment later. */
size_t ztenuring_kept(void);

/* What they weigh, at most, for each that may be kept, and as much again of objects that are heavy by themselves, up to
 * three quarters of what a pause allows. These are visited each time: new objects have to pay for it, with a share of
 * their own weight. */
#define ZTENURING_KEPT_WEIGHT 16
#define ZTENURING_HEAVY 64
#define ZTENURING_VISITS 4
/* Whether this young collection is one that keeps nothing, so that no object stays young for ever. */
bool ztenuring_is_clearing(void);
/* Something else has made all young objects old. */
void ztenuring_note_cleared(void);

/* What `members` of generation 0 may weigh when they are looked at. */
size_t ztenuring_weight(size_t members);
/* So many objects are new in generation 0, and weigh so much; what was kept weighs so much. True when the threshold is
 * another than before. */
bool ztenuring_note_weight(size_t new_objects, size_t new_weight, size_t kept_weight);

/* What the young collection that begins will look at weighs so much: for ztenuring_note_young, at its end. */
void ztenuring_note_look(size_t weight);

/* Allocations between two young collections, where the program has not asked for more or less. */
#define ZTENURING_THRESHOLD_MIN 350 /* shorter pauses than with 700, and fewer of 1 ms in all */
size_t ztenuring_threshold(void);

/* Whether survivors are kept by more than a few: then ztenuring_note_young wants to know `aged`. */
bool ztenuring_is_on(void);

/* A young collection looked at so many objects, of which `aged` had survived one before, of which
 * `aged_garbage` were garbage now. From ZTENURING_MANY objects on, `took_ns` is this thread's CPU time, as it
 * is believed at once. True when the threshold is another than before. */
#define ZTENURING_MANY 1500
bool ztenuring_note_young(size_t looked, size_t aged, size_t aged_garbage, uint64_t took_ns);

/* Whether this young collection is one to leave out, in a program whose old collections find much. Asked once for
 * each. */
bool ztenuring_leaves_out(void);
/* One was held, and so many objects were garbage. */
void ztenuring_note_found(size_t garbage);

/* Up to how many objects a generation 0 that has grown large shall be looked at all the same; 0: as before. */
size_t ztenuring_reach(void);
/* It was, and so much of it was garbage. */
void ztenuring_note_large(size_t looked, size_t garbage, uint64_t took_ns);

/* A concurrent collection found that much of what was promoted before it has died. The same. */
bool ztenuring_note_fruitful(void);
/* What few objects hold has made the heap rise (zpayload.h). The same; and however few survivors there are, it pays. */
bool ztenuring_note_rising(void);

/* For the next interpreter. */
void ztenuring_reset(void);

#endif
