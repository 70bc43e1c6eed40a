/* Preloaded in front of the library, so that its constructor runs later: another allocator of the RAW domain,
 * before there is an interpreter. RAW_DOMAIN says which:
 *   replace   malloc and the like, whatever stood there before
 *   wrap      a header in front of each block; what should be zeroed is asked for by malloc
 * No header: it works with every CPython. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 64

typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} allocator_t;

static allocator_t below;

static void *libc_malloc(void *ctx, size_t size) { (void)ctx; return malloc(size ? size : 1); }
static void *libc_calloc(void *ctx, size_t count, size_t size) { (void)ctx; return calloc(count, size ? size : 1); }
static void *libc_realloc(void *ctx, void *block, size_t size) { (void)ctx; return realloc(block, size ? size : 1); }
static void libc_free(void *ctx, void *block) { (void)ctx; free(block); }

static void *wrap_malloc(void *ctx, size_t size) {
  (void)ctx;
  char *block = below.malloc(below.ctx, size + HEADER);
  return block == NULL ? NULL : block + HEADER;
}
static void *wrap_calloc(void *ctx, size_t count, size_t size) {
  void *block = wrap_malloc(ctx, count * size);
  return block == NULL ? NULL : memset(block, 0, count * size);
}
static void *wrap_realloc(void *ctx, void *block, size_t size) {
  if (block == NULL) return wrap_malloc(ctx, size);
  char *result = below.realloc(below.ctx, (char *)block - HEADER, size + HEADER);
  return result == NULL ? NULL : result + HEADER;
}
static void wrap_free(void *ctx, void *block) {
  (void)ctx;
  if (block != NULL) below.free(below.ctx, (char *)block - HEADER);
}

__attribute__((constructor)) static void start(void) {
  const char *how = getenv("RAW_DOMAIN");
  void (*get)(int, allocator_t *) = (void (*)(int, allocator_t *))dlsym(RTLD_DEFAULT, "PyMem_GetAllocator");
  void (*set)(int, allocator_t *) = (void (*)(int, allocator_t *))dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
  if (how == NULL || get == NULL || set == NULL) return;
  allocator_t replacing = {NULL, libc_malloc, libc_calloc, libc_realloc, libc_free};
  allocator_t wrapping = {NULL, wrap_malloc, wrap_calloc, wrap_realloc, wrap_free};
  get(0, &below);
  set(0, strcmp(how, "replace") == 0 ? &replacing : &wrapping);
}
