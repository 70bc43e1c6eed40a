/* A program that holds the interpreter: initialises it, runs code and finalises it, ROUNDS times.
 *
 *     embed ROUNDS CODE
 *
 * What the code leaves in `keep` is held by a reference from C for ever, also while there is no
 * interpreter. What it leaves in `later` is held, too, but given up within the next one: only objects
 * of built-in types may stand there. libpython is not linked but preloaded, so that one program serves every version;
 * or the program loads what EMBED_GLOBAL or EMBED_LOCAL names, with RTLD_GLOBAL or without. EMBED_ALLOCATOR: it sets
 * allocators of its own before the first initialisation.
 * Exit status: 1 the code raised, 2 finalisation complained, 3 no libpython. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *scope = RTLD_DEFAULT;

static void load(const char *variable, int flag) {
  const char *path = getenv(variable);
  if (path == NULL) return;
  scope = dlopen(path, RTLD_NOW | flag);
  if (scope != NULL) return;
  fprintf(stderr, "embed: %s\n", dlerror());
  exit(3);
}

static void *find(const char *name) {
  void *function = dlsym(scope, name);
  if (function != NULL) return function;
  fprintf(stderr, "embed: no %s: is libpython preloaded?\n", name);
  exit(3);
}

typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} allocator_t;

static void *own_malloc(void *ctx, size_t size) { return ctx == NULL ? malloc(size + (size == 0)) : NULL; }
static void *own_calloc(void *ctx, size_t count, size_t size) { return ctx == NULL ? calloc(count + 1, size + 1) : NULL; }
static void *own_realloc(void *ctx, void *block, size_t size) {
  return ctx == NULL ? realloc(block, size + (size == 0)) : NULL;
}
static void own_free(void *ctx, void *block) {
  if (ctx == NULL) free(block);
}

static void set_allocators(void) {
  if (getenv("EMBED_ALLOCATOR") == NULL) return;
  void (*set)(int, allocator_t *) = (void (*)(int, allocator_t *))find("PyMem_SetAllocator");
  allocator_t own = {NULL, own_malloc, own_calloc, own_realloc, own_free};
  set(1, &own);
  set(2, &own);
}

int main(int argc, char **argv) {
  if (argc != 3) return 3;
  load("EMBED_GLOBAL", RTLD_GLOBAL);
  load("EMBED_LOCAL", RTLD_LOCAL);
  void (*initialize)(void) = (void (*)(void))find("Py_Initialize");
  int (*finalize)(void) = (int (*)(void))find("Py_FinalizeEx");
  int (*run)(const char *, void *) = (int (*)(const char *, void *))find("PyRun_SimpleStringFlags");
  void *(*module)(const char *) = (void *(*)(const char *))find("PyImport_AddModule");
  void *(*attribute)(void *, const char *) =
      (void *(*)(void *, const char *))find("PyObject_GetAttrString");
  void (*forget)(void *) = (void (*)(void *))find("Py_DecRef");
  void (*clear)(void) = (void (*)(void))find("PyErr_Clear");
  void *later = NULL;
  set_allocators();
  for (int round = 0; round < atoi(argv[1]); round++) {
    initialize();
    if (later != NULL) forget(later);
    if (run(argv[2], NULL) != 0) return 1;
    void *main_module = module("__main__");
    if (main_module == NULL || attribute(main_module, "keep") == NULL) return 1;
    later = attribute(main_module, "later");
    if (later == NULL) clear();
    if (finalize() != 0) return 2;
  }
  puts("end");
  return 0;
}
