#define _GNU_SOURCE
#include "preload/start/zlate_python.h"

#include <dlfcn.h>
#include <link.h>

#include "collector/python/zpyapi.h"
#include "heap/base/zatomic.h"
#include "preload/start/zboot.h"
#include "preload/start/zstage.h"

typedef char *setlocale_t(int category, const char *locale);

zexport setlocale_t setlocale;

static setlocale_t *libcs;    /* found at the first need, then fixed: all threads write the same */
static uintptr_t last_caller; /* the page of a caller that is no Python */
static bool is_found;         /* set once */

typedef struct {
  uintptr_t address;
  const char *path; /* of the library that it is in; the program itself has none */
} place_t;

/* dl_iterate_phdr: dladdr would look through all symbols of the module, too. */
static int find_module(struct dl_phdr_info *module, size_t size, void *result) {
  (void)size;
  place_t *place = result;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &module->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || place->address - module->dlpi_addr - p->p_vaddr >= p->p_memsz) continue;
    if (module->dlpi_name[0] == '/') place->path = module->dlpi_name;
    return 1;
  }
  return 0;
}

/* The libpython that calls, pinned: what it gave us must stay where it is. The loader knows the path already, and
 * opens no file. Its error message is taken away: the program may ask for its own last error. */
static void *libpython_of(const void *caller) {
  place_t place = {(uintptr_t)caller, NULL};
  dl_iterate_phdr(find_module, &place);
  if (place.path == NULL) return NULL;
  void *library = dlopen(place.path, RTLD_LAZY | RTLD_NOLOAD), *pinned = NULL;
  if (library != NULL && dlsym(library, "PyMem_SetAllocator") != NULL) {
    pinned = dlopen(place.path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  }
  if (library != NULL) dlclose(library);
  if (pinned == NULL) dlerror();
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
  bool is_open = zstage() == ZSTAGE_ASLEEP && zload_relaxed(&last_caller) != (uintptr_t)caller >> 12;
  if (zunlikely(is_open)) look(caller);
  return function == NULL ? NULL : function(category, locale);
}
