#include "heap/zfallback.h"

#include <jemalloc/jemalloc.h>

#include "heap/base/zos.h"

/* jemalloc maps without reservation, where the kernel cannot refuse what cannot be had. */
static bool is_refused(size_t size) {
  if (zunlikely(size > ZG) && size > zos_memory_and_swap()) return true;
  return zos_fault_hit(ZOS_FAULT_FALLBACK);
}

/* Set up by its first call, which is one that the heap could not serve: it survives to find no memory,
 * but not for a thread's cache. */
#define FLAGS MALLOCX_TCACHE_NONE

static zfallback_t other;

void zfallback_use(const zfallback_t *allocator) { other = *allocator; }

void *zfallback_alloc(size_t size) {
  if (other.malloc != NULL) return is_refused(size) ? NULL : other.malloc(other.ctx, size);
  return is_refused(size) ? NULL : mallocx(size == 0 ? 1 : size, FLAGS);
}

void *zfallback_alloc_zeroed(size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total) || is_refused(total)) return NULL;
  if (other.calloc != NULL) return other.calloc(other.ctx, count, size);
  return mallocx(total == 0 ? 1 : total, FLAGS | MALLOCX_ZERO);
}

void *zfallback_realloc(void *block, size_t size) {
  if (block == NULL) return zfallback_alloc(size);
  if (is_refused(size)) return NULL;
  if (other.realloc != NULL) return other.realloc(other.ctx, block, size);
  return rallocx(block, size == 0 ? 1 : size, FLAGS);
}

void zfallback_free(void *block) {
  if (other.free != NULL) {
    other.free(other.ctx, block);
  } else if (block != NULL) {
    dallocx(block, FLAGS);
  }
}

size_t zfallback_size(const void *block) { return sallocx(block, 0); }
