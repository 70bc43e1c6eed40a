#define _GNU_SOURCE
#include "collector/python/zpyabi_interpreter.h"

#include <dlfcn.h>
#include <link.h>
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

PyThreadState *(*zpyabi_current_thread(void))(void) {
  return zpy.PyThreadState_GetUnchecked != NULL ? zpy.PyThreadState_GetUnchecked : zpy._PyThreadState_UncheckedGet;
}

/* -- how a thread leads to its interpreter ------------------------------------------------------------ */

typedef struct {
  PyThreadState *const *begin, *const *end;
  size_t module;
} variables_t;

/* What __tls_get_addr takes (the processors' ABI for thread-local storage): right for variables that have a place in
 * each thread from its start, and for those that get one when they are used. */
typedef struct {
  unsigned long module, offset;
} tls_index_t;

static void *(*tls_address)(const tls_index_t *);

/* dl_iterate_phdr: the calling thread's variables of the module that CPython's code is in. */
static int find_variables(struct dl_phdr_info *module, size_t size, void *to) {
  bool is_it = false;
  size_t bytes = 0;
  if (size < offsetof(struct dl_phdr_info, dlpi_tls_data) + sizeof module->dlpi_tls_data) return 0;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &module->dlpi_phdr[i];
    if (p->p_type == PT_LOAD) is_it |= (uintptr_t)zpy.PyMem_SetAllocator - module->dlpi_addr - p->p_vaddr < p->p_memsz;
    if (p->p_type == PT_TLS) bytes = p->p_memsz;
  }
  if (!is_it) return 0;
  if (module->dlpi_tls_data == NULL || (uintptr_t)module->dlpi_tls_data % sizeof(void *) != 0) return 1;
  variables_t *variables = to;
  variables->begin = module->dlpi_tls_data;
  variables->end = variables->begin + bytes / sizeof(void *);
  variables->module = module->dlpi_tls_modid;
  return 1;
}

const void *const *zpyabi_thread_variable(const zpyabi_thread_place_t *place) {
  return tls_address(&(tls_index_t){place->module, place->offset});
}

#define VARIABLES_MAX 8 /* 3.15 has one more, for PyGILState_Ensure, that holds on to the state */

/* The variable that holds the thread's state while it has one, and nothing meanwhile. */
static bool find_current(PyThreadState *thread, zpyabi_thread_place_t *place) {
  variables_t all = {NULL, NULL, 0};
  PyThreadState *const *found[VARIABLES_MAX], *const *current = NULL;
  size_t count = 0, fitting = 0;
  dl_iterate_phdr(find_variables, &all);
  for (PyThreadState *const *p = all.begin; p < all.end && count < VARIABLES_MAX; p++) {
    if (*p == thread) found[count++] = p;
  }
  if (count == 0 || count == VARIABLES_MAX) return false;
  PyThreadState *volatile const *seen[VARIABLES_MAX];
  memcpy(seen, found, sizeof seen);
  bool is_empty[VARIABLES_MAX];
  zpy.PyEval_SaveThread();
  for (size_t i = 0; i < count; i++) is_empty[i] = *seen[i] == NULL;
  zpy.PyEval_RestoreThread(thread);
  for (size_t i = 0; i < count; i++) {
    if (!is_empty[i] || *seen[i] != thread) continue;
    current = found[i];
    fitting++;
  }
  if (fitting != 1) return false;
  place->module = all.module;
  place->offset = (size_t)((const char *)current - (const char *)all.begin);
  return zpyabi_thread_variable(place) == (const void *const *)current;
}

#define WORDS_MAX 8 /* of a state that are looked at: `interp` is the third in 3.11 to 3.15 */

static bool find_interpreter(PyThreadState *thread, size_t *place) {
  void *const *words = (void *const *)thread;
  const void *interpreter = zpy.PyThreadState_GetInterpreter(thread);
  size_t count = 0;
  for (size_t i = 0; i < WORDS_MAX; i++) {
    if (words[i] != interpreter) continue;
    *place = i * sizeof(void *);
    count++;
  }
  return count == 1;
}

bool zpyabi_find_thread_place(zpyabi_thread_place_t *place) {
  if (zpyabi_current_thread() == NULL || zpy.PyThreadState_GetInterpreter == NULL) return false;
  PyThreadState *thread = zpyabi_current_thread()();
  if (thread == NULL || !find_interpreter(thread, &place->interpreter)) return false;
  tls_address = (void *(*)(const tls_index_t *))dlsym(RTLD_DEFAULT, "__tls_get_addr");
  return tls_address != NULL && find_current(thread, place);
}
