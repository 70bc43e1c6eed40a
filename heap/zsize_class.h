/* Request size -> size class -> block size.
 *
 * Small requests (<= 1 KiB) go in steps of 16 bytes; medium ones (<= 64 KiB) in eight steps per
 * doubling, so that rounding up wastes at most 12.5 %. What is larger has pages of its own: memory that
 * each of many classes of large blocks keeps for itself would be most of a small program's heap.
 *
 * Small blocks of which the caller knows that they hold a GC object have a second row of classes, so
 * that they do not share pages with others: frees of the others then never meet an old page's slow
 * path, and the collector's side tables and walks stay dense. */
#ifndef HEAP_ZSIZE_CLASS_H
#define HEAP_ZSIZE_CLASS_H

#include "heap/base/zbase.h"

#define ZBLOCK_ALIGNMENT 16
#define ZSMALL_MAX ((size_t)1024)
#define ZMEDIUM_MAX (64 * ZK)
#define ZSMALL_CLASSES 64
#define ZMEDIUM_STEPS 8 /* per doubling */
#define ZCLASS_COUNT (ZSMALL_CLASSES + 6 * ZMEDIUM_STEPS)
#define ZCLASS_GC ZCLASS_COUNT /* the first of ZSMALL_CLASSES classes of GC objects */
#define ZCLASS_ALL (ZCLASS_GC + ZSMALL_CLASSES)

/* size must be <= ZSMALL_MAX; 0 counts as 1. */
static inline unsigned zsize_class_small(size_t size) {
  return (unsigned)((size + (size == 0) - 1) / ZBLOCK_ALIGNMENT);
}

/* size must be in (ZSMALL_MAX, ZMEDIUM_MAX]. */
static inline unsigned zsize_class_medium(size_t size) {
  unsigned doubling = zlog2(size - 1);               /* 10..15 */
  unsigned step = (unsigned)((size - 1) >> (doubling - 3)) & (ZMEDIUM_STEPS - 1);
  return ZSMALL_CLASSES + (doubling - 10) * ZMEDIUM_STEPS + step;
}

static inline size_t zsize_class_block_size(unsigned size_class) {
  if (size_class >= ZCLASS_GC) size_class -= ZCLASS_GC;
  if (size_class < ZSMALL_CLASSES) return ((size_t)size_class + 1) * ZBLOCK_ALIGNMENT;
  unsigned medium = size_class - ZSMALL_CLASSES;
  unsigned doubling = 10 + medium / ZMEDIUM_STEPS;
  size_t step = (size_t)1 << (doubling - 3);
  return ((size_t)1 << doubling) + (medium % ZMEDIUM_STEPS + 1) * step;
}

static inline bool zsize_class_is_small(unsigned size_class) {
  return size_class < ZSMALL_CLASSES || size_class >= ZCLASS_GC;
}

/* size must be <= ZMEDIUM_MAX; first_class: 0, or ZCLASS_GC. */
static inline unsigned zsize_class_of(size_t size, unsigned first_class) {
  return size <= ZSMALL_MAX ? first_class + zsize_class_small(size) : zsize_class_medium(size);
}

/* Bytes of the block that any request gets. */
static inline size_t zsize_class_size_for(size_t size) {
  if (size <= ZMEDIUM_MAX) return zsize_class_block_size(zsize_class_of(size, 0));
  return size > SIZE_MAX - ZBLOCK_ALIGNMENT ? size : zalign_up(size, ZBLOCK_ALIGNMENT);
}

#endif
