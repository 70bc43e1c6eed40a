/* A program without an interpreter that finds the C API, because a preloaded library has it, and
 * calls it all the same. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(void) {
  void *(*take)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "PyObject_Malloc");
  void (*give)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "PyObject_Free");
  long (*collect)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "PyGC_Collect");
  void *(*make)(void *) = (void *(*)(void *))dlsym(RTLD_DEFAULT, "_PyObject_GC_New");
  if (take == NULL || give == NULL || collect == NULL || make == NULL) return 2;
  void *block = take(100);
  give(block);
  printf("%d %ld %d\n", block == NULL, collect(), make(NULL) == NULL);
  return 0;
}
