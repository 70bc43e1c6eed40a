#define _GNU_SOURCE
#include "preload/zlate_python.h"

#include <dlfcn.h>
#include <link.h>

#include "collector/zpyapi.h"
#include "heap/base/zatomic.h"
#include "preload/zboot.h"

typedef char *setlocale_t(int category, const char *locale);

zexport setlocale_t setlocale;

static setlocale_t *libcs;    /* found at the first need, then fixed: all threads write the same */
static uintptr_t last_caller; /* the page of a caller that is no Python */
static bool is_found;         /* set once */

/* The shared library that an address is in, or NULL: the program itself has no name. */
static const char *library_of(const void *address) {
  Dl_info info;
  struct link_map *map = NULL;
  bool found = dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map != NULL;
  return found && map->l_name[0] == '/' ? map->l_name : NULL;
}

/* The libpython that calls, pinned: what it gave us must stay where it is. The loader knows the path already, and
 * opens no file. */
static void *libpython_of(const void *caller) {
  const char *path = library_of(caller);
  void *library = path == NULL ? NULL : dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
  if (library == NULL) return NULL;
  void *pinned = NULL;
  if (dlsym(library, "PyMem_SetAllocator") != NULL) pinned = dlopen(path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  dlclose(library);
  return pinned;
}

static zcold void look(const void *caller) {
  void *library = libpython_of(caller);
  if (library == NULL) {
    zstore_relaxed(&last_caller, (uintptr_t)caller >> 12);
  } else if (!zexchange_acq_rel(&is_found, true)) {
    zboot_start_late(zpy_is_python() ? NULL : library);
  }
}

char *setlocale(int category, const char *locale) {
  const void *caller = __builtin_return_address(0);
  setlocale_t *function = zload_relaxed(&libcs);
  if (function == NULL) {
    function = (setlocale_t *)dlsym(RTLD_NEXT, "setlocale");
    zstore_relaxed(&libcs, function);
  }
  bool is_open = zboot_state() == ZBOOT_ASLEEP && zload_relaxed(&last_caller) != (uintptr_t)caller >> 12;
  if (zunlikely(is_open)) look(caller);
  return function == NULL ? NULL : function(category, locale);
}
