/* Recent objects: those that have become old since the collection under way began, by address.
 *
 * What a pass has noted of an address at the beginning may be of another object than the one that is there at the
 * end: then that one is recent. It is also where an object is enumerated once more, which costs nothing but time.
 *
 * All of this: GIL. */
#ifndef COLLECTOR_CPYTHON_ZRECENT_H
#define COLLECTOR_CPYTHON_ZRECENT_H

#include "heap/zold_map.h"

/* A bit for each unit of the old map, as far as that goes when a collection begins. */
extern struct zrecent {
  uint64_t *bits; /* NULL: nobody asks */
  size_t words;
} zrecent;

/* A collection begins, and has ended. */
void zrecent_begin(void);
void zrecent_end(void);

/* Of an old object. Everything is recent where nothing could be noted. */
static inline bool zrecent_has(const void *object) {
  size_t unit = zold_map_unit(object);
  return unit / 64 >= zrecent.words || (zrecent.bits[unit / 64] >> (unit % 64) & 1);
}

/* This object is old from now on, if it has not been before. */
static inline void zrecent_note(const void *object) {
  if (zlikely(zrecent.bits == NULL)) return;
  size_t unit = zold_map_unit(object);
  if (unit / 64 < zrecent.words) zrecent.bits[unit / 64] |= (uint64_t)1 << (unit % 64);
}

#endif
