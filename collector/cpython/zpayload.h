/* Payload: the memory that comes with new objects, in bytes. Numbers only.
 *
 * Objects are counted everywhere else, but one of them may hold a buffer of a hundred kilobytes. A few hundred
 * requests that are garbage, or grew old half done, are as good as nothing by their number, and more than the whole
 * heap by their size. So two questions are answered here, both from the bytes that the heap has handed out:
 *   - how many objects may be allocated between two young collections, so that what dies in between holds no
 *     more than a share of the heap;
 *   - whether the heap rises by what few objects hold, while they grow old: then it is worth a trial to keep
 *     survivors young (ztenuring.h), where their garbage is found without a look at the whole heap.
 *
 * What the program frees by itself is no payload: bytes are those that are left from one collection to the next. What
 * malloc has handed out (zoutside.h) counts for the second question only, since it is known too seldom for the first.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZPAYLOAD_H
#define COLLECTOR_CPYTHON_ZPAYLOAD_H

#include "heap/base/zbase.h"

/* A young collection begins, and so many objects are new; or a collection of any kind has ended. `bytes` are what the
 * heap has handed out by then. */
void zpayload_note_start(size_t bytes, size_t new_objects);
void zpayload_note_end(size_t bytes);

/* Objects that may be allocated until the next young collection; SIZE_MAX: as many as it likes. */
size_t zpayload_fits(void);

/* `bytes` are what the heap and malloc have handed out, `promoted` objects have grown old since the program started.
 * True when few of them have made that rise by a share since this was true, or since it was less. */
bool zpayload_is_rising(size_t bytes, uint64_t promoted);

/* For the next interpreter. */
void zpayload_reset(void);

#endif
