#include "perf/bench_api.h"

#include <stdlib.h>

#include "heap/zallocator.h"

/* Linking with jemalloc replaces malloc; glibc's own stay reachable by these names. */
extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

static const bench_allocator_t allocators[] = {
    {"zpage", zallocator_alloc, zallocator_free},
    {"libc", __libc_malloc, __libc_free},
    {"jemalloc", malloc, free},
};

const bench_allocator_t *bench_allocator(unsigned i) {
  return i < ZARRAY_LENGTH(allocators) ? &allocators[i] : NULL;
}

int bench_start(void) { return zallocator_start(4 * ZG); }
