#include "collector/cpython/zalive.h"

#include "heap/base/zos.h"
#include "heap/zold_map.h"

static bool is_head_of_list(const zgc_head_t *head) {
  return head >= &zgc_state.generations[0].head && head <= &zgc_state.generations[ZGC_GENERATIONS - 1].head;
}

/* The head of a neighbour, which may be no pointer at all. */
static bool read_head(const zgc_head_t *at, zgc_head_t *head) {
  uintptr_t address = (uintptr_t)at;
  if (zlikely(address % sizeof(void *) == 0 && zgranules_is_readable(at)) || is_head_of_list(at)) {
    *head = *at;
    return true;
  }
  return address >= zos_page_size() && zos_peek(at, head, sizeof *head);
}

static bool is_linked(const zgc_head_t *own) {
  zgc_head_t next, previous;
  if (!read_head(zgc_head_next(own), &next) || zgc_head_prev(&next) != own) return false;
  return read_head(zgc_head_prev(own), &previous) && zgc_head_next(&previous) == own;
}

bool zalive_is_member(PyObject *object) {
  if (!zold_map_is_member(object) || !zpyabi_is_tracked(object)) return false;
  return zpyabi_refcount(object) > 0 && is_linked(zpyabi_head(object));
}
