/* The old set: one bit for each unit of 16 bytes, set where an old object starts.
 *
 * Only the holder of the first GIL writes (zheap.h). It is set when an object is promoted and
 * cleared by free before the block can be reused. Collector threads read it relaxed: an answer out of date
 * costs time, never correctness (collector/cpython/zpass.h says why).
 *
 * Old objects are the main interpreter's, and lie in pages of the first heap. No word of the map is shared
 * with a page of another heap, so no bit and no page flag can be lost to what other interpreters do; an
 * object in such a page is refused.
 *
 * Frozen objects (gc.freeze) keep their bit, and have another one in a second map, which covers what was committed
 * when something was last frozen: they are old, but no members of what is collected. To free an object clears
 * both. So gc.freeze costs a copy of the map, and gc.unfreeze nothing.
 *
 * An object is expected ZOLD_HEADER_MIN or ZOLD_HEADER_MAX bytes into its block: behind a PyGC_Head, or
 * behind a PyGC_Head and two words of managed dict and weak references; zold_map_block_header bytes
 * later where CPython's debug hooks keep words of their own in front. That is what a free looks at.
 *
 * Others start elsewhere: an allocator that a profiler has set over ours puts a header of its own before
 * each block; an extension cuts objects from a slab. The first kind can be old, too: its page is flagged
 * ZPAGE_FLAG_SHIFTED, which sends frees there through the slow path, and that clears every place in the
 * block. A bit thus never outlives its block, whatever lies in there. But it does outlive an object of a
 * slab, and the slab's objects would share what a collection knows by block (collector/cpython/zcells.h). So
 * only one object of a block can be old; zold_map_admit refuses the others, and those that the map has no bit for
 * because their address is no multiple of 16. */
#ifndef HEAP_ZOLD_MAP_H
#define HEAP_ZOLD_MAP_H

#include "heap/zpage.h"

#define ZOLD_HEADER_MIN 16
#define ZOLD_HEADER_MAX 32
#define ZOLD_UNIT_SHIFT 4
_Static_assert(ZOLD_HEADER_MAX == ZOLD_HEADER_MIN + 16, "neighbouring bits");

extern size_t zold_map_block_header; /* a multiple of 16; set before the first object is old */
extern uint64_t *zold_map_bits; /* covers what is committed and a word more; fixed at start-up */
extern size_t zold_map_count;   /* bits set, without those of frozen objects; first GIL */
extern uint64_t *zold_map_frozen_bits;
extern size_t zold_map_frozen_words; /* of it; 0 while nothing is frozen. Written after the bits */
extern size_t zold_map_frozen_count; /* first GIL */

#define ZOLD_HOOK_SIZE 512 /* bytes of a block of which zheap_hooks.old_freed is called */

static inline size_t zold_map_unit(const void *object) {
  return (size_t)((const char *)object - zgranules_range.base) >> ZOLD_UNIT_SHIFT;
}

/* object must lie in the range. */
static inline bool zold_map_has(const void *object) {
  size_t unit = zold_map_unit(object);
  return zload_relaxed(&zold_map_bits[unit / 64]) >> (unit % 64) & 1;
}

/* Any address. */
static inline bool zold_map_is_old(const void *address) {
  return zgranules_contains(address) && ((uintptr_t)address & (16 - 1)) == 0 &&
         zold_map_has(address);
}

/* 64 units of the old map, without frozen objects. */
static inline uint64_t zold_map_members(size_t word) {
  uint64_t bits = zload_relaxed(&zold_map_bits[word]);
  if (zlikely(word >= zload_acquire(&zold_map_frozen_words))) return bits;
  return bits & ~zload_relaxed(&zold_map_frozen_bits[word]);
}

/* Old and not frozen. Any address. */
static inline bool zold_map_is_member(const void *address) {
  if (!zgranules_contains(address) || ((uintptr_t)address & (16 - 1)) != 0) return false;
  size_t unit = zold_map_unit(address);
  return zold_map_members(unit / 64) >> (unit % 64) & 1;
}

/* An old object may start in this small block: its two possible places are looked at with one load
 * (a bit of the next block may be taken for one of this). The block must lie in the range. */
static inline bool zold_map_may_start_in(const void *block) {
  size_t unit = zold_map_unit((const char *)block + zold_map_block_header) + ZOLD_HEADER_MIN / 16;
  uint16_t bits;
  __builtin_memcpy(&bits, (const char *)zold_map_bits + unit / 8, sizeof bits);
  return (bits >> (unit % 8) & 3) != 0;
}

/* -- by the holder of the first GIL -- */

/* The object, anywhere, can become old: it lies in a block of the first heap in which nothing else is, and
 * frees of its page will look for it where it is. */
bool zold_map_admit(const void *object);
/* One that was admitted. True when the bit was not set before; false, too, for an object outside of the first heap. */
bool zold_map_add(void *object);
void zold_map_remove(void *object);
/* Forgets all. */
void zold_map_clear(void);

/* All old objects are frozen from now on. False when memory is short, then nothing has changed. */
bool zold_map_freeze(void);
/* No object is frozen any more. */
void zold_map_thaw(void);
/* This object is not frozen any more. */
void zold_map_thaw_object(const void *object);

/* Clears the bits of objects that start in this block, which is being freed, ... */
void zold_map_forget_block(zpage_t *page, void *block);
/* ... in a leftover of an earlier size (zrecut.h). */
void zold_map_forget_leftover(const void *leftover, size_t size);
/* ... and in the end of a block, from this granule of its page on, which is being cut off. */
void zold_map_forget_tail(zpage_t *page, size_t from_granule, size_t to_granule);

#endif
