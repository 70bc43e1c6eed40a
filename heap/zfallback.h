/* jemalloc, for what the ZPage heap cannot give: the range is exhausted, or a commit failed. (The RAW
 * domain stays with malloc: its blocks end in free() in some programs.) Any thread, no lock needed. */
#ifndef HEAP_ZFALLBACK_H
#define HEAP_ZFALLBACK_H

#include "heap/base/zbase.h"

/* Another allocator in jemalloc's place, which also takes back what it has given out before. Set
 * before the first block. */
typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} zfallback_t;

void zfallback_use(const zfallback_t *other);

/* False: jemalloc is not set up yet, and memory is too short for that. Before its malloc is used within the
 * library, too, where the caller can do without. Any thread. */
bool zfallback_prepare(void);

void *zfallback_alloc(size_t size);
void *zfallback_alloc_zeroed(size_t count, size_t size);
void *zfallback_realloc(void *block, size_t size);
void zfallback_free(void *block);
size_t zfallback_size(const void *block);

#endif
