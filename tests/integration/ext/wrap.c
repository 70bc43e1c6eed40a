/* An extension that is loaded with ctypes: wraps the OBJ allocator and counts, as a profiler would.
 * No header: it works with every CPython. */
#include <stddef.h>

typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} PyMemAllocatorEx;

extern void PyMem_GetAllocator(int domain, PyMemAllocatorEx *allocator);
extern void PyMem_SetAllocator(int domain, PyMemAllocatorEx *allocator);
extern void *PyObject_Malloc(size_t size);
extern void *PyObject_Realloc(void *block, size_t size);
extern void PyObject_Free(void *block);

enum { OBJ = 2 };

static PyMemAllocatorEx inner;
static long allocated, freed;

static void *count_malloc(void *ctx, size_t size) {
  allocated++;
  return inner.malloc(inner.ctx, size);
}

static void *count_calloc(void *ctx, size_t count, size_t size) {
  allocated++;
  return inner.calloc(inner.ctx, count, size);
}

static void *count_realloc(void *ctx, void *block, size_t size) {
  if (block == NULL) allocated++;
  return inner.realloc(inner.ctx, block, size);
}

static void count_free(void *ctx, void *block) {
  if (block != NULL) freed++;
  inner.free(inner.ctx, block);
}

void wrap(void) {
  PyMem_GetAllocator(OBJ, &inner);
  PyMemAllocatorEx counting = {NULL, count_malloc, count_calloc, count_realloc, count_free};
  allocated = freed = 0;
  PyMem_SetAllocator(OBJ, &counting);
}

/* As wrap, but only frees are looked at. */
void wrap_free(void) {
  PyMem_GetAllocator(OBJ, &inner);
  PyMemAllocatorEx counting = inner;
  counting.free = count_free;
  freed = 0;
  PyMem_SetAllocator(OBJ, &counting);
}

void unwrap(void) { PyMem_SetAllocator(OBJ, &inner); }
long allocations(void) { return allocated; }
long frees(void) { return freed; }

/* By this module's own symbols, which are bound as it was loaded. */
void *take(size_t size) { return PyObject_Malloc(size); }
void *resize(void *block, size_t size) { return PyObject_Realloc(block, size); }
void give(void *block) { PyObject_Free(block); }

extern void PyErr_SetObject(void *type, void *value);
extern long PyGC_Collect(void);

static long last;

/* Collects while an exception is set, as an error path of an extension would. */
void collect_with(void *exception) {
  PyErr_SetObject(((void **)exception)[1], exception);
  last = PyGC_Collect();
}
long collected(void) { return last; }
