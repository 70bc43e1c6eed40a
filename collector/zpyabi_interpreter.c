#define _GNU_SOURCE
#include "collector/zpyabi_interpreter.h"

#include <dlfcn.h>
#include <string.h>

/* Words of _Py_DebugOffsets, with which _PyRuntime begins from 3.13 on. */
enum { RUNTIME_SIZE = 3, INTERPRETER_SIZE = 6, WORDS };

/* The main interpreter's state is the last member of _PyRuntime. So where it begins, and the size of the whole,
 * must give the size that CPython tells debuggers. */
size_t zpyabi_interpreter_size(void) {
  static const char cookie[] = "xdebugpy";
  const char *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
  if (runtime == NULL || memcmp(runtime, cookie, strlen(cookie)) != 0) return 0;
  uint64_t words[WORDS];
  memcpy(words, runtime, sizeof words);
  uintptr_t begin = (uintptr_t)zpy.PyInterpreterState_Main() - (uintptr_t)runtime;
  return begin + words[INTERPRETER_SIZE] == words[RUNTIME_SIZE] ? words[INTERPRETER_SIZE] : 0;
}
