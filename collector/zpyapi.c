#define _GNU_SOURCE
#include "collector/zpyapi.h"

#include <dlfcn.h>

zpy_t zpy;

bool zpy_is_python(void) { return dlsym(RTLD_DEFAULT, "PyMem_SetAllocator") != NULL; }

static bool find(const char *name, void *where, const char **missing, bool needed) {
  void *symbol = dlsym(RTLD_DEFAULT, name);
  *(void **)where = symbol;
  if (symbol != NULL || !needed) return true;
  if (*missing == NULL) *missing = name;
  return false;
}

bool zpy_resolve(const char **missing) {
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
  return *missing == NULL;
}

PyObject *zpy_new_none(void) {
  zpy.Py_IncRef(zpy_None());
  return zpy_None();
}
