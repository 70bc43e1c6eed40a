/* Runs argv[2] in an embedded interpreter, twice: Py_Initialize ... Py_Finalize. argv[1] is its
 * library to load without making its symbols global, or "-" where this program is linked with it. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void *find(void *handle, const char *name) {
  void *symbol = dlsym(handle, name);
  if (symbol == NULL) fprintf(stderr, "embed: %s\n", dlerror());
  return symbol;
}

int main(int argc, char **argv) {
  void *handle = strcmp(argv[1], "-") == 0 ? RTLD_DEFAULT : dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (argc < 3 || (handle == NULL && strcmp(argv[1], "-") != 0)) {
    fprintf(stderr, "embed: %s\n", dlerror());
    return 2;
  }
  void (*start)(int) = (void (*)(int))find(handle, "Py_InitializeEx");
  int (*run)(const char *, void *) = (int (*)(const char *, void *))find(handle, "PyRun_SimpleStringFlags");
  int (*end)(void) = (int (*)(void))find(handle, "Py_FinalizeEx");
  if (start == NULL || run == NULL || end == NULL) return 2;
  for (int round = 0; round < 2; round++) {
    start(0);
    if (run(argv[2], NULL) != 0) return 1;
    if (end() != 0) return 1;
  }
  puts("ended");
  return 0;
}
