#include "collector/cpython/zjudge.h"

#include "collector/cpython/zsafepoint.h"
#include "heap/zold_map.h"

static zgc_head_t *young(void) { return &zgc_state.generations[0].head; }
static zgc_head_t *aside(void) { return &zgc_state.generations[1].head; }

bool zjudge_is_possible(void) { return *zgc_state.collecting == 0 && *zgc_state.enabled != 0; }

/* A frozen object has its place in another list. Where something was frozen before our collector took part, what
 * we do not know to be a member may be frozen. */
static bool is_frozen(const void *object) {
  if (zold_map_is_old(object)) return !zold_map_is_member(object);
  return !zgc_list_is_empty(zgc_state.permanent);
}

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
  int counts[] = {zgc_state.generations[0].count, zgc_state.generations[1].count};
  zgc_list_splice(young(), aside());
  for (size_t i = 0; i < count; i++) make_young(objects[i]);
  Py_ssize_t found = zsafepoint_stock_collect(0);
  if (found < 0) zpy.PyErr_Clear();
  zgc_list_splice(aside(), young());
  for (int i = 0; i < 2; i++) zgc_state.generations[i].count = counts[i];
  return found >= 0;
}
