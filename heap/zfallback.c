#include "heap/zfallback.h"

#include <jemalloc/jemalloc.h>

#include "heap/base/zatomic.h"
#include "heap/base/zos.h"

/* No cache for the thread: jemalloc does not survive to find no memory for one. */
#define FLAGS MALLOCX_TCACHE_NONE

static zfallback_t other;

#define PROBE_BYTES (8 * ZM) /* more than jemalloc maps to set itself up */

/* jemalloc 5.3 sets itself up at its first call, and writes to the mapping that it was refused then (pages.c,
 * pages_boot). So the first call is made only where there is memory to map. */
bool zfallback_prepare(void) {
  static bool is_ready; /* any thread; set once. Two threads that look at once do no harm */
  if (zlikely(zload_acquire(&is_ready))) return true;
  void *probe = zos_table_map(PROBE_BYTES);
  if (probe == NULL) return false;
  zos_table_unmap(probe, PROBE_BYTES);
  dallocx(mallocx(1, FLAGS), FLAGS);
  zstore_release(&is_ready, true);
  return true;
}

/* jemalloc maps without reservation, where the kernel cannot refuse what cannot be had. */
static bool is_refused(size_t size) {
  if (zunlikely(size > ZG) && size > zos_memory_and_swap()) return true;
  if (other.malloc == NULL && !zfallback_prepare()) return true;
  return zos_fault_hit(ZOS_FAULT_FALLBACK);
}

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
