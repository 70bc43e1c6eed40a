#define _GNU_SOURCE
#include "preload/start/zinitial.h"

#include <link.h>
#include <string.h>

#include "heap/base/zos.h"

/* The arenas' allocator lies in the same structure, behind the tables and the debug hooks' contexts. */
#define ARENAS_WITHIN 1024

typedef struct {
  char *start, *end; /* whole pages that the loader made read-only; start == end: none */
} constants_t;

/* dl_iterate_phdr: those of the module that has PyMem_SetAllocator. */
static int find_constants(struct dl_phdr_info *module, size_t size, void *result) {
  (void)size;
  constants_t *constants = result;
  uintptr_t function = (uintptr_t)zpy.PyMem_SetAllocator - module->dlpi_addr;
  bool is_it = false;
  uintptr_t start = 0, end = 0;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &module->dlpi_phdr[i];
    if (p->p_type == PT_LOAD && function - p->p_vaddr < p->p_memsz) is_it = true;
    if (p->p_type == PT_GNU_RELRO) {
      start = zalign_up(p->p_vaddr, sizeof(void *));
      end = zalign_down(p->p_vaddr + p->p_memsz, zos_page_size());
    }
  }
  if (!is_it) return 0;
  if (end > start) {
    constants->start = (char *)(module->dlpi_addr + start);
    constants->end = (char *)(module->dlpi_addr + end);
  }
  return 1;
}

/* The only place in [start, end) that holds these words, or NULL. */
static char *find_copy(char *start, char *end, const void *words, size_t size) {
  char *found = NULL;
  for (; start + size <= end; start += sizeof(void *)) {
    if (memcmp(start, words, size) != 0) continue;
    if (found != NULL) return NULL;
    found = start;
  }
  return found;
}

bool zinitial_replace(const zinitial_allocators_t *before, const zinitial_allocators_t *after,
                      const PyObjectArenaAllocator *arenas_before,
                      const PyObjectArenaAllocator *arenas_after) {
  constants_t constants = {NULL, NULL};
  dl_iterate_phdr(find_constants, &constants);
  if (constants.start == constants.end) return false;
  char *tables = find_copy(constants.start, constants.end, before, sizeof *before);
  if (tables == NULL) return false;
  char *arenas = tables + sizeof *before;
  char *end = arenas + zmin(ARENAS_WITHIN, (size_t)(constants.end - arenas));
  arenas = find_copy(arenas, end, arenas_before, sizeof *arenas_before);
  return arenas != NULL && zos_write_constant(arenas, arenas_after, sizeof *arenas_after) == 0 &&
         zos_write_constant(tables, after, sizeof *after) == 0;
}
