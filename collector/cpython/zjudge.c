#include "collector/cpython/zjudge.h"

#include <string.h>

#include "collector/cpython/zsafepoint.h"
#include "heap/base/zos.h"
#include "heap/zold_map.h"

static zgc_head_t *young(void) { return &zgc_state.generations[0].head; }
static zgc_head_t *aside(void) { return &zgc_state.generations[1].head; }

bool zjudge_is_possible(void) { return *zgc_state.collecting == 0 && *zgc_state.enabled != 0; }

/* ---- what was frozen before our collector took part ------------------------------------------------ */

/* CPython 3.12 freezes some hundred objects as it starts, and the map of old objects knows nothing of them. They are
 * looked up in a table, which is made again when the list has other ends: gc.freeze adds behind the last one. A
 * member that has died since does no harm: what is at its place now counts as held from elsewhere. */
#define FROZEN_MOST 4096
#define FROZEN_ROOM (2 * FROZEN_MOST) /* a power of two */

static struct {
  const zgc_head_t *first, *last;
  const zgc_head_t **heads; /* open addressing */
  bool is_complete;
} frozen;

static const zgc_head_t **frozen_place(const zgc_head_t *head) {
  size_t i = (size_t)(((uintptr_t)head >> 4) * 0x9E3779B97F4A7C15u >> 40) % FROZEN_ROOM;
  while (frozen.heads[i] != head && frozen.heads[i] != NULL) i = (i + 1) % FROZEN_ROOM;
  return &frozen.heads[i];
}

static void look_up_frozen(zgc_head_t *list) {
  zgc_head_t *first = zgc_head_next(list), *last = zgc_head_prev(list);
  if (frozen.first == first && frozen.last == last) return;
  if (frozen.heads == NULL) frozen.heads = zos_table_map(FROZEN_ROOM * sizeof *frozen.heads);
  if (frozen.heads == NULL) return;
  memset(frozen.heads, 0, FROZEN_ROOM * sizeof *frozen.heads);
  size_t count = 0;
  zgc_head_t *head = first;
  for (; head != list && count < FROZEN_MOST; head = zgc_head_next(head), count++) *frozen_place(head) = head;
  frozen.first = first;
  frozen.last = last;
  frozen.is_complete = head == list;
}

/* A frozen object has its place in another list. Where very much was frozen early, all that the map does not know
 * may be. */
static bool is_frozen(const PyObject *object) {
  if (zold_map_is_old(object)) return !zold_map_is_member(object);
  if (zgc_list_is_empty(zgc_state.permanent)) return false;
  return !frozen.is_complete || *frozen_place(zpyabi_head((PyObject *)object)) != NULL;
}

/* ---- the verdict ------------------------------------------------------------------------------------- */

static void make_young(PyObject *object) {
  if (!zpyabi_is_tracked(object) || is_frozen(object)) return;
  if (zold_map_is_old(object)) zold_map_remove(object);
  zgc_list_unlink(zpyabi_head(object));
  zgc_list_insert_before(zpyabi_head(object), young());
}

/* The young ones are in generation 1 meanwhile, as while garbage is fed (zfeed.h): so every list is complete when
 * finalizers look. The counts are put back: the program has asked for no collection. */
bool zjudge(PyObject *const *objects, size_t count) {
  if (!zjudge_is_possible()) return false;
  if (!zgc_list_is_empty(zgc_state.permanent)) look_up_frozen(zgc_state.permanent);
  int counts[] = {zgc_state.generations[0].count, zgc_state.generations[1].count};
  zgc_list_splice(young(), aside());
  for (size_t i = 0; i < count; i++) make_young(objects[i]);
  Py_ssize_t found = zsafepoint_stock_collect(0);
  if (found < 0) zpy.PyErr_Clear();
  zgc_list_splice(aside(), young());
  for (int i = 0; i < 2; i++) zgc_state.generations[i].count = counts[i];
  return found >= 0;
}
