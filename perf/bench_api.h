/* What C++ may see of us: our headers hold C that it does not read. */
#ifndef PERF_BENCH_API_H
#define PERF_BENCH_API_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const char *name;
  void *(*alloc)(size_t size);
  void (*release)(void *block);
} bench_allocator_t;

/* zpage (ours), libc and jemalloc; NULL behind the last. */
const bench_allocator_t *bench_allocator(unsigned i);

/* Once, before the first allocation; 0 when it fails. */
int bench_start(void);

#ifdef __cplusplus
}
#endif
#endif
