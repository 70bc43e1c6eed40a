#include "heap/zfallback.h"

#include <stdlib.h>

#include "heap/base/zos.h"

size_t zfallback_blocks;

/* Not of no bytes: malloc may answer with NULL then, and realloc frees. */
static size_t some(size_t size) { return zmax(size, (size_t)1); }

static void *libc_malloc(void *ctx, size_t size) {
  (void)ctx;
  return malloc(some(size));
}

static void *libc_calloc(void *ctx, size_t count, size_t size) {
  (void)ctx;
  return calloc(some(count), some(size));
}

static void *libc_realloc(void *ctx, void *block, size_t size) {
  (void)ctx;
  return realloc(block, some(size));
}

static void libc_free(void *ctx, void *block) {
  (void)ctx;
  free(block);
}

static zfallback_t below = {NULL, libc_malloc, libc_calloc, libc_realloc, libc_free};

void zfallback_use(const zfallback_t *other) { below = *other; }

static bool is_refused(void) { return zos_fault_hit(ZOS_FAULT_FALLBACK); }

void *zfallback_alloc(size_t size) { return is_refused() ? NULL : below.malloc(below.ctx, size); }

void *zfallback_alloc_zeroed(size_t count, size_t size) {
  return is_refused() ? NULL : below.calloc(below.ctx, count, size);
}

void *zfallback_realloc(void *block, size_t size) {
  return is_refused() ? NULL : below.realloc(below.ctx, block, size);
}

void zfallback_free(void *block) { below.free(below.ctx, block); }
