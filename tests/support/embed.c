/* A program that holds the interpreter: initialises it, runs code and finalises it, ROUNDS times.
 *
 *     embed ROUNDS CODE
 *
 * What the code leaves in `keep` is held by a reference from C for ever, also while there is no
 * interpreter. What it leaves in `later` is held, too, but given up within the next one: only objects
 * of built-in types may stand there. libpython is not linked but preloaded, so that one program serves every version.
 * Exit status: 1 the code raised, 2 finalisation complained, 3 no libpython. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *find(const char *name) {
  void *function = dlsym(RTLD_DEFAULT, name);
  if (function != NULL) return function;
  fprintf(stderr, "embed: no %s: is libpython preloaded?\n", name);
  exit(3);
}

int main(int argc, char **argv) {
  if (argc != 3) return 3;
  void (*initialize)(void) = (void (*)(void))find("Py_Initialize");
  int (*finalize)(void) = (int (*)(void))find("Py_FinalizeEx");
  int (*run)(const char *, void *) = (int (*)(const char *, void *))find("PyRun_SimpleStringFlags");
  void *(*module)(const char *) = (void *(*)(const char *))find("PyImport_AddModule");
  void *(*attribute)(void *, const char *) =
      (void *(*)(void *, const char *))find("PyObject_GetAttrString");
  void (*forget)(void *) = (void (*)(void *))find("Py_DecRef");
  void (*clear)(void) = (void (*)(void))find("PyErr_Clear");
  void *later = NULL;
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
