/* Load and store barriers on slots.
 *
 * Mutators call with the GIL held, so no two of them are in a barrier at once; marking and relocating
 * threads call at any time. A slot changes in three ways: a heal (CAS, by anyone, never changes which
 * body is meant), a mark's recolouring (CAS), a mutator's store. A store is not a CAS: what it
 * overwrites may have been healed since it was read, which changes nothing that the store barrier
 * looked at; and a heal that comes after the store fails, because the word is not what it read.
 *
 * Addresses that a barrier returns are good until the caller next lets go of the GIL or reaches a
 * safepoint (zmanaged_poll): pauses happen only there. */
#ifndef BARRIER_ZBARRIER_H
#define BARRIER_ZBARRIER_H

#include "barrier/zcolor.h"

typedef struct {
  uint64_t *word;
} zslot_t;

static inline zslot_t zslot(uint64_t *word) { return (zslot_t){word}; }

/* What the barriers need from above; installed once by collector/. */
typedef struct {
  /* Where the body at a stale word's address is now; moves it if it is still to be moved. */
  zaddress_t (*remap)(zcolored_t stale);
  /* The mutator overwrites, or drops, a reference to this body while a mark runs. */
  void (*keep_alive)(zaddress_t body);
  /* A handle entry with the suspect bit is being used. */
  void (*touch)(zslot_t entry);
} zbarrier_ops_t;

extern zbarrier_ops_t zbarrier_ops;

/* The cold ends of zbarrier_inline.h. */
zcolored_t zbarrier_load_slow(zslot_t slot, zcolored_t seen);
zcolored_t zbarrier_load_entry_slow(zslot_t entry, zcolored_t seen);
void zbarrier_store_slow(zslot_t slot, zcolored_t overwritten);

/* The entry (root) goes away: what it referred to must survive a running mark. GIL. */
void zbarrier_drop_root(zslot_t entry);

#endif
