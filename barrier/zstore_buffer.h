/* The snapshot-at-the-beginning buffer: bodies whose last known reference a mutator is about to
 * overwrite while a mark runs.
 *
 * One buffer is enough, because mutators hold the GIL. It is handed over when full and in the pause
 * that tries to end the mark; both under the GIL. Bodies in it are already marked (live map), they
 * only wait to be followed. */
#ifndef BARRIER_ZSTORE_BUFFER_H
#define BARRIER_ZSTORE_BUFFER_H

#include "heap/managed/zbody.h"

#define ZSTORE_BUFFER_LENGTH 256

typedef struct {
  size_t count;
  zaddress_t bodies[ZSTORE_BUFFER_LENGTH];
} zstore_buffer_t;

extern zstore_buffer_t zstore_buffer;

/* Takes the content; installed by collector/. */
extern void (*zstore_buffer_flush_to)(const zaddress_t *bodies, size_t count);

void zstore_buffer_add(zaddress_t body);
void zstore_buffer_flush(void);

#endif
