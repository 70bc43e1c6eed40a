/* Relocation sets: which pages to evacuate, and the memory of their forwarding tables.
 *
 * After the mark each page that took part is one of:
 *   empty      no live body: freed at once
 *   sparse     garbage above a quarter: evacuated, to the next age
 *   dense      stays where it is and changes its age ("flip")
 * A set belongs to one generation. `tenure`: every survivor becomes old, whatever its age.
 *
 * Dense pages that become old must have their slots registered with the remembered set. Their age is
 * changed here, before the relocate-start pause, and the slots are walked after it: a mutator that
 * still read the young age finished its store before that pause, so the walk sees what it stored;
 * one that reads the old age registers the slot itself.
 *
 * A set lives until every stale pointer into it is gone: the one of the young generation until the
 * end of the next young mark, the one of the old generation until the end of the next old mark. */
#ifndef COLLECTOR_MANAGED_ZRELOCATION_SET_H
#define COLLECTOR_MANAGED_ZRELOCATION_SET_H

#include "barrier/zcolor.h"
#include "collector/managed/zforwarding.h"

#define ZRELOCATION_GARBAGE_PERCENT 25

typedef struct {
  zforwarding_t *forwardings;
  size_t count;
  size_t next; /* claim cursor */
  void *memory;
  size_t memory_size;
} zrelocation_set_t;

extern zrelocation_set_t zrelocation_sets[2]; /* [from_old] */

typedef struct {
  size_t pages_freed, pages_selected, pages_promoted, live_bytes, live_old_bytes, garbage_bytes;
} zrelocation_counts_t;

/* Collector thread, after the mark's end. Pages whose tables cannot be had stay as they are. */
void zrelocation_set_select(zgeneration_t generation, bool tenure, zrelocation_counts_t *counts);
/* Pages flipped into the old generation by the last select: index of the i-th, SIZE_MAX past the end. */
size_t zrelocation_set_promoted(size_t i);

/* Publishes the tables to the barriers. Collector thread, before the relocate-start pause: no word is
 * stale with regard to them until that pause flips the colours, so nobody looks yet. */
void zrelocation_set_install(zgeneration_t generation);
/* Empties the directory of the generation whose mark has finished. Collector thread, after the
 * pause that ended the mark: from there on no stale pointer to them exists. */
void zrelocation_set_release(zgeneration_t generation);

#endif
