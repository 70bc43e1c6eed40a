/* The old set: one bit per 16-byte granule, set where an old object starts.
 *
 * One kind of writer: whoever holds the allocator's lock (the GIL, or zallocator_lock once there is a
 * second one). It is set when an object is promoted and cleared by free before the block can be
 * reused. Collector threads read it relaxed: an answer out of date costs time, never correctness
 * (collector/zpass.h says why).
 *
 * The main interpreter's GIL alone is not enough once there are two: its old objects share words of
 * the map and page flags with blocks that another interpreter frees meanwhile. A lost bit would leave
 * a freed block old, for the collector to walk; a lost or revived ZPAGE_FLAG_FULL a page in its list
 * twice or in none.
 *
 * An object starts ZOLD_HEADER_MIN or ZOLD_HEADER_MAX bytes into its block: behind a PyGC_Head, or
 * behind a PyGC_Head and two words of managed dict and weak references; zold_map_block_header bytes
 * later where CPython's debug hooks keep words of their own in front. */
#ifndef HEAP_ZOLD_MAP_H
#define HEAP_ZOLD_MAP_H

#include "heap/zpage.h"

#define ZOLD_HEADER_MIN 16
#define ZOLD_HEADER_MAX 32
#define ZOLD_UNIT_SHIFT 4
_Static_assert(ZOLD_HEADER_MAX == ZOLD_HEADER_MIN + 16, "neighbouring bits");

extern size_t zold_map_block_header; /* a multiple of 16; set before the first object is old */
extern uint64_t *zold_map_bits; /* covers the range and a word more; fixed at start-up */
extern size_t zold_map_count;   /* bits set; allocator's lock */

/* Called for each old object of at least ZOLD_HOOK_SIZE bytes that is freed: a type may be dying.
 * The allocator's lock is held: the hook must neither allocate nor change the map. */
#define ZOLD_HOOK_SIZE 512
extern void (*zold_map_free_hook)(void *object);

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

/* An old object may start in this small block: its two possible places are looked at with one load
 * (a bit of the next block may be taken for one of this). The block must lie in the range. */
static inline bool zold_map_may_start_in(const void *block) {
  size_t unit = zold_map_unit((const char *)block + zold_map_block_header) + ZOLD_HEADER_MIN / 16;
  uint16_t bits;
  __builtin_memcpy(&bits, (const char *)zold_map_bits + unit / 8, sizeof bits);
  return (bits >> (unit % 8) & 3) != 0;
}

/* These three under a GIL; they take the allocator's lock themselves. */

/* True when the bit was not set before. */
bool zold_map_add(void *object);
void zold_map_remove(void *object);
/* Forgets all (gc.freeze). */
void zold_map_clear(void);

/* Forgets what starts in this block, which is being freed. The caller holds the allocator's lock. */
void zold_map_forget_block(zpage_t *page, void *block);

#endif
