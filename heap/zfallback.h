/* malloc, for what the ZPage heap cannot give: the range is exhausted, or a commit failed; and for what was not
 * made here. It is what CPython asks for large blocks, so extensions that free a block of malloc or of the RAW
 * domain with PyMem_Free, or make it larger with PyMem_Realloc, do not fail with CPython: nor with us. There is no
 * second allocator that such a block could be mistaken for. Any thread, no lock needed. */
#ifndef HEAP_ZFALLBACK_H
#define HEAP_ZFALLBACK_H

#include "heap/base/zbase.h"

/* Another allocator in malloc's place, which also takes back what it has given out before. Set before the first
 * block. */
typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} zfallback_t;

extern size_t zfallback_blocks; /* that the heap could not give, over all time; relaxed */

void zfallback_use(const zfallback_t *other);

void *zfallback_alloc(size_t size);
void *zfallback_alloc_zeroed(size_t count, size_t size);
void *zfallback_realloc(void *block, size_t size);
void zfallback_free(void *block);

#endif
