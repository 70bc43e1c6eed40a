#define _GNU_SOURCE
#include "collector/python/zpyapi.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

zpy_t zpy;

bool zpy_is_python(void) { return dlsym(RTLD_DEFAULT, "PyMem_SetAllocator") != NULL; }

static void *scope = RTLD_DEFAULT; /* where the interpreter's names are looked for */

static bool find(const char *name, void *where, const char **missing, bool needed) {
  void *symbol = dlsym(scope, name);
  *(void **)where = symbol;
  if (symbol != NULL || !needed) return true;
  if (*missing == NULL) *missing = name;
  return false;
}

static uintptr_t code_start, code_end;

/* dl_iterate_phdr: the segment that PyMem_SetAllocator lies in. */
static int find_code(struct dl_phdr_info *module, size_t size, void *unused) {
  (void)size;
  (void)unused;
  uintptr_t function = (uintptr_t)zpy.PyMem_SetAllocator - module->dlpi_addr;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &module->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || function - p->p_vaddr >= p->p_memsz) continue;
    code_start = module->dlpi_addr + p->p_vaddr;
    code_end = code_start + p->p_memsz;
    return 1;
  }
  return 0;
}

bool zpy_is_code(const void *address) { return (uintptr_t)address - code_start < code_end - code_start; }

bool zpy_resolve(void *library, const char **missing) {
  scope = library != NULL ? library : RTLD_DEFAULT;
  *missing = NULL;
#define NEED(result, name, arguments) find(#name, &zpy.name, missing, true);
#define MAY(result, name, arguments) find(#name, &zpy.name, missing, false);
  ZPY_FUNCTIONS(NEED, MAY)
#undef NEED
#undef MAY
#define X(name) find(#name, &zpy.name, missing, true);
  ZPY_OBJECTS(X)
  ZPY_EXCEPTIONS(X)
#undef X
  if (*missing == NULL) dl_iterate_phdr(find_code, NULL);
  return *missing == NULL;
}

bool zpy_is_free_threaded(void) { return strstr(zpy.Py_GetVersion(), "free-threading") != NULL; }

PyObject *zpy_new_none(void) {
  zpy.Py_IncRef(zpy_None());
  return zpy_None();
}
