#define _GNU_SOURCE
#include "preload/start/zsymbols.h"

#include <dlfcn.h>
#include <string.h>

#include "collector/cpython/zcollector.h"
#include "collector/cpython/zmode.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/zallocator.h"
#include "preload/start/zstage.h"

#define CALLER __builtin_return_address(0)

#define SYMBOLS(X)                                                  \
  X(void *, PyObject_Malloc, (size_t size))                         \
  X(void *, PyObject_Calloc, (size_t count, size_t size))           \
  X(void *, PyObject_Realloc, (void *block, size_t size))           \
  X(void, PyObject_Free, (void *block))                             \
  X(void *, PyMem_Malloc, (size_t size))                            \
  X(void *, PyMem_Calloc, (size_t count, size_t size))              \
  X(void *, PyMem_Realloc, (void *block, size_t size))              \
  X(void, PyMem_Free, (void *block))                                \
  X(PyObject *, _PyObject_GC_New, (PyTypeObject *type))             \
  X(PyObject *, _PyObject_GC_NewVar, (PyTypeObject *type, Py_ssize_t items)) \
  X(PyObject *, _PyObject_GC_Resize, (PyObject *op, Py_ssize_t items)) \
  X(void, PyObject_GC_Del, (void *op))                              \
  X(Py_ssize_t, PyGC_Collect, (void))

typedef enum {
#define X(result, name, arguments) SYMBOL_##name,
  SYMBOLS(X)
#undef X
      SYMBOL_COUNT
} symbol_t;

static const char *const names[] = {
#define X(result, name, arguments) #name,
    SYMBOLS(X)
#undef X
};

#define X(result, name, arguments) __attribute__((visibility("default"))) result name arguments;
SYMBOLS(X)
#undef X

/* -- the interpreter's own definitions --------------------------------------------------------- */

static void *real[SYMBOL_COUNT]; /* found at the first need, then fixed */
static bool is_probing;
static uint32_t seen; /* bit per symbol, while probing */

/* The ends of this library in memory, which the linker defines: dladdr would go through all symbols of whichever. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static bool is_ours(const void *function) {
  return (uintptr_t)function >= (uintptr_t)__ehdr_start && (uintptr_t)function < (uintptr_t)_end;
}

static void *ours_is_none(void *function) {
  return function != NULL && !is_ours(function) ? function : NULL;
}

/* For an interpreter that was loaded without RTLD_GLOBAL, which only its users' scopes lead to. */
static void *find_in_scope_of(const void *caller, const char *name) {
  Dl_info info;
  if (dladdr(caller, &info) == 0 || info.dli_fname == NULL) return NULL;
  void *module = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (module == NULL) return NULL;
  void *function = ours_is_none(dlsym(module, name));
  dlclose(module);
  return function;
}

/* Looks behind us first: a definition before us, another tool's or a second copy of this library, may call us. */
static zcold void *find_real(symbol_t symbol, const void *caller) {
  void *function = dlsym(RTLD_NEXT, names[symbol]);
  if (function == NULL) function = ours_is_none(dlsym(RTLD_DEFAULT, names[symbol]));
  if (function == NULL) function = find_in_scope_of(caller, names[symbol]);
  if (function == NULL) {
    zlog_notice("%s was called, but nothing defines it here: it does nothing", names[symbol]);
  }
  zstore_relaxed(&real[symbol], function);
  return function;
}

static inline void *real_of(symbol_t symbol, const void *caller) {
  if (zunlikely(is_probing)) seen |= 1u << symbol;
  void *function = zload_relaxed(&real[symbol]);
  return zlikely(function != NULL) ? function : find_real(symbol, caller);
}

/* The interpreter's own definition, typed. */
#define REAL(name, caller) ((__typeof__(name) *)real_of(SYMBOL_##name, caller))

typedef __typeof__(PyObject_Malloc) malloc_t;
typedef __typeof__(PyObject_Calloc) calloc_t;
typedef __typeof__(PyObject_Realloc) realloc_t;
typedef __typeof__(PyObject_Free) free_t;

/* -- open or closed ------------------------------------------------------------------------------ */

/* A PyMemAllocatorEx as words, one of which can be compared with one load. */
typedef struct {
  void *ctx, *malloc, *calloc, *realloc, *free;
} words_t;

_Static_assert(sizeof(words_t) == sizeof(PyMemAllocatorEx), "a table is five words");

static char nothing;
static const words_t closed_table = {NULL, &nothing, &nothing, &nothing, &nothing};

typedef struct {
  const words_t *live; /* the interpreter's table, or closed_table, which equals nothing expected */
  words_t expected;    /* what it holds while the heap may serve; 0 while closed */
} domain_t;

static domain_t object = {.live = &closed_table};
static domain_t mem = {.live = &closed_table};

/* The heap's functions as a table has them, and the words that `object.expected` holds for the length of
 * one call to say: the next block holds a GC object. Both 0 while closed. */
static words_t ours, hint;

zexport const char *zgcpreload_version(void) { return ZVERSION; }

bool zsymbols_are_of_first_copy(void) {
  void *function = dlsym(RTLD_DEFAULT, "zgcpreload_version");
  return function == NULL || is_ours(function);
}

bool zsymbols_are_first(void) {
  void *function = dlsym(RTLD_DEFAULT, names[SYMBOL_PyObject_Malloc]);
  return function != NULL && is_ours(function);
}

void zsymbols_open(const PyMemAllocatorEx *object_table, const PyMemAllocatorEx *mem_table,
                   const PyMemAllocatorEx *functions) {
  memcpy(&ours, functions, sizeof ours);
  hint.malloc = hint.realloc = &nothing;
  object = (domain_t){(const words_t *)object_table, ours};
  mem = (domain_t){(const words_t *)mem_table, ours};
}

bool zsymbols_are_open(void) { return ours.malloc != NULL; }

#define HEAP_SERVES(domain, function) \
  (zload_relaxed(&(domain).live->function) == zload_relaxed(&(domain).expected.function))

/* Takes the hint, if there was one, off the word; false when the interpreter's own must serve. */
static bool take_hint(void **expected, void *const *live, void *own, bool *is_gc) {
  *is_gc = zload_relaxed(expected) == &nothing;
  zstore_relaxed(expected, own);
  return own != NULL && zload_relaxed(live) == own;
}

/* -- allocation ---------------------------------------------------------------------------------- */

static znoinline void *object_malloc_slow(size_t size, const void *caller) {
  bool is_gc;
  if (take_hint(&object.expected.malloc, &object.live->malloc, ours.malloc, &is_gc)) {
    return is_gc ? zallocator_alloc_gc(size) : zallocator_alloc(size);
  }
  malloc_t *function = REAL(PyObject_Malloc, caller);
  return function == NULL ? NULL : function(size);
}

static znoinline void *object_realloc_slow(void *block, size_t size, const void *caller) {
  bool is_gc;
  if (take_hint(&object.expected.realloc, &object.live->realloc, ours.realloc, &is_gc)) {
    return is_gc ? zallocator_realloc_gc(block, size) : zallocator_realloc(block, size);
  }
  realloc_t *function = REAL(PyObject_Realloc, caller);
  return function == NULL ? NULL : function(block, size);
}

static znoinline void *malloc_slow(symbol_t symbol, size_t size, const void *caller) {
  malloc_t *function = (malloc_t *)real_of(symbol, caller);
  return function == NULL ? NULL : function(size);
}

static znoinline void *calloc_slow(symbol_t symbol, size_t count, size_t size, const void *caller) {
  calloc_t *function = (calloc_t *)real_of(symbol, caller);
  return function == NULL ? NULL : function(count, size);
}

static znoinline void *realloc_slow(symbol_t symbol, void *block, size_t size, const void *caller) {
  realloc_t *function = (realloc_t *)real_of(symbol, caller);
  return function == NULL ? NULL : function(block, size);
}

static znoinline void free_slow(symbol_t symbol, void *block, const void *caller) {
  free_t *function = (free_t *)real_of(symbol, caller);
  if (function != NULL) function(block);
}

static inline void *heap_calloc(size_t count, size_t size) {
  size_t total;
  return __builtin_mul_overflow(count, size, &total) ? NULL : zallocator_alloc_zeroed(total);
}

void *PyObject_Malloc(size_t size) {
  if (zlikely(HEAP_SERVES(object, malloc))) return zallocator_alloc(size);
  return object_malloc_slow(size, CALLER);
}

void *PyObject_Calloc(size_t count, size_t size) {
  if (zlikely(HEAP_SERVES(object, calloc))) return heap_calloc(count, size);
  return calloc_slow(SYMBOL_PyObject_Calloc, count, size, CALLER);
}

void *PyObject_Realloc(void *block, size_t size) {
  if (zlikely(HEAP_SERVES(object, realloc))) return zallocator_realloc(block, size);
  return object_realloc_slow(block, size, CALLER);
}

void PyObject_Free(void *block) {
  if (zlikely(HEAP_SERVES(object, free))) {
    zallocator_free(block);
  } else {
    free_slow(SYMBOL_PyObject_Free, block, CALLER);
  }
}

void *PyMem_Malloc(size_t size) {
  if (zlikely(HEAP_SERVES(mem, malloc))) return zallocator_alloc(size);
  return malloc_slow(SYMBOL_PyMem_Malloc, size, CALLER);
}

void *PyMem_Calloc(size_t count, size_t size) {
  if (zlikely(HEAP_SERVES(mem, calloc))) return heap_calloc(count, size);
  return calloc_slow(SYMBOL_PyMem_Calloc, count, size, CALLER);
}

void *PyMem_Realloc(void *block, size_t size) {
  if (zlikely(HEAP_SERVES(mem, realloc))) return zallocator_realloc(block, size);
  return realloc_slow(SYMBOL_PyMem_Realloc, block, size, CALLER);
}

void PyMem_Free(void *block) {
  if (zlikely(HEAP_SERVES(mem, free))) {
    zallocator_free(block);
  } else {
    free_slow(SYMBOL_PyMem_Free, block, CALLER);
  }
}

/* -- GC objects ------------------------------------------------------------------------------------ */

PyObject *_PyObject_GC_New(PyTypeObject *type) {
  __typeof__(_PyObject_GC_New) *function = REAL(_PyObject_GC_New, CALLER);
  if (zunlikely(function == NULL)) return NULL;
  zstore_relaxed(&object.expected.malloc, hint.malloc);
  PyObject *made = function(type);
  zstore_relaxed(&object.expected.malloc, ours.malloc);
  return made;
}

PyObject *_PyObject_GC_NewVar(PyTypeObject *type, Py_ssize_t items) {
  __typeof__(_PyObject_GC_NewVar) *function = REAL(_PyObject_GC_NewVar, CALLER);
  if (zunlikely(function == NULL)) return NULL;
  zstore_relaxed(&object.expected.malloc, hint.malloc);
  PyObject *made = function(type, items);
  zstore_relaxed(&object.expected.malloc, ours.malloc);
  return made;
}

PyObject *_PyObject_GC_Resize(PyObject *op, Py_ssize_t items) {
  __typeof__(_PyObject_GC_Resize) *function = REAL(_PyObject_GC_Resize, CALLER);
  if (zunlikely(function == NULL)) return NULL;
  zstore_relaxed(&object.expected.realloc, hint.realloc);
  PyObject *resized = function(op, items);
  zstore_relaxed(&object.expected.realloc, ours.realloc);
  return resized;
}

void PyObject_GC_Del(void *op) {
  free_t *function = REAL(PyObject_GC_Del, CALLER);
  if (zlikely(function != NULL)) function(op);
}

/* As CPython's: nothing while collection is disabled, the caller's exception is kept, and one that
 * comes up here is reported, not raised. */
static Py_ssize_t collect_for_c(void) {
  if (!zpy.PyGC_IsEnabled()) return 0;
  PyObject *type, *value, *traceback;
  zpy.PyErr_Fetch(&type, &value, &traceback);
  Py_ssize_t count = zcollector_collect(2);
  if (count < 0) {
    zpy.PyErr_WriteUnraisable(NULL);
    count = 0;
  }
  zpy.PyErr_Restore(type, value, traceback);
  return count;
}

Py_ssize_t PyGC_Collect(void) {
  if (zsymbols_are_open() && zstage() == ZSTAGE_ACTIVE && zmode_is_on() &&
      zpy.PyInterpreterState_Get() == zpy.PyInterpreterState_Main()) {
    return collect_for_c();
  }
  __typeof__(PyGC_Collect) *function = REAL(PyGC_Collect, CALLER);
  return function == NULL ? 0 : function();
}

/* -- probe ------------------------------------------------------------------------------------------- */

/* Longer than any free list keeps. */
#define PROBE_TUPLE 64

bool zsymbols_reach_interpreter(void) {
  domain_t open_object = object, open_mem = mem;
  object = mem = (domain_t){.live = &closed_table}; /* so that every call takes the slow path */
  words_t open_ours = ours, open_hint = hint;
  ours = hint = (words_t){0};
  seen = 0;
  is_probing = true;
  PyObject *tuple = zpy.PyTuple_New(PROBE_TUPLE);
  if (tuple != NULL) zpy.Py_DecRef(tuple);
  is_probing = false;
  ours = open_ours;
  hint = open_hint;
  object = open_object;
  mem = open_mem;
  if (tuple == NULL) zpy.PyErr_Clear();
  uint32_t needed = 1u << SYMBOL_PyObject_Malloc | 1u << SYMBOL_PyObject_Free |
                    1u << SYMBOL__PyObject_GC_NewVar;
  return (seen & needed) == needed;
}
