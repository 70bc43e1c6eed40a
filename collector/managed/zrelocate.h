/* Relocation: moving the bodies of the relocation set while the program runs.
 *
 * From the relocate-start pause on, nobody uses an address in an evacuated page: every word that
 * holds one has a stale colour, and the barrier asks zrelocate_remap. So a body in from-space never
 * changes again, a mutator and a worker may copy it at the same time, and the first one to insert
 * its copy into the forwarding table has moved it; the other takes its own copy back.
 *
 * Copies that become old are made ready before they are published (RM bits cleaned, Python
 * references marked as old) and registered with the remembered set after: whoever stores into them
 * in between registers the slot itself, because a clean RM is not store-good. */
#ifndef COLLECTOR_MANAGED_ZRELOCATE_H
#define COLLECTOR_MANAGED_ZRELOCATE_H

#include "barrier/zbarrier.h"
#include "collector/managed/zrelocation_set.h"

/* Where one thread puts the bodies that it moves. */
typedef struct {
  zbody_page_t *small[ZAGE_COUNT];
  zbody_page_t *medium[ZAGE_COUNT];
} zrelocate_target_t;

/* Mutators' target; GIL. */
extern zrelocate_target_t zrelocate_mutator_target;
extern uint64_t zrelocate_in_place_count; /* pages, over all time */
extern bool zrelocate_force_in_place;     /* tests: behave as if there were no memory for copies */
/* Called by a mutator that has to wait for a worker: makes sure that one runs. */
extern void (*zrelocate_ensure_worker)(void);

/* Barrier op. Mutators (GIL) move what is still to be moved; marking threads only look up. */
zaddress_t zrelocate_remap(zcolored_t stale);

/* Evacuates one page, calling `yield` now and then; false when yield asked to stop half-way (the page
 * can then be taken up again from the start). */
void zrelocate_page(zforwarding_t *forwarding, zrelocate_target_t *target, void (*yield)(void));

/* Registers the slots of a page that became old without moving. */
void zrelocate_register_promoted(zbody_page_t *page, void (*yield)(void));

/* After relocation: targets are not allocated from any more. */
void zrelocate_retire(zrelocate_target_t *target);

#endif
