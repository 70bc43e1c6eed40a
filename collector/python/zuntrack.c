#include "collector/python/zuntrack.h"

#include "collector/python/zwalker.h"
#include "heap/zold_map.h"

/* _PyObject_GC_MAY_BE_TRACKED; static types are the objects whose type asks them (tp_is_gc). *atom is a type without
 * GC that was met before: a million numbers are of one type. */
static bool may_be_tracked(PyObject *object, const PyTypeObject **atom) {
  if (*atom != NULL && zpyabi_type(object) == *atom) return false;
  if (zold_map_is_old(object)) return true; /* most: not even looked at */
  PyTypeObject *type = zpyabi_type(object);
  unsigned long flags = zpyabi_flags(type);
  if (!(flags & ZPYABI_FLAG_HAVE_GC)) {
    *atom = type;
    return false;
  }
  if (flags & ZPYABI_FLAG_TYPE_SUBCLASS) return (zpyabi_flags((PyTypeObject *)object) & ZPYABI_FLAG_HEAPTYPE) != 0;
  return type != zpy.PyTuple_Type || zpyabi_is_tracked(object);
}

/* An element that is missing is still to come: the tuple is being built. */
static bool is_tuple_due(PyObject *tuple) {
  size_t count = (size_t)zpyabi_word(tuple, ZPYABI_VAR_SIZE);
  PyObject *const *items = (PyObject *const *)((const char *)tuple + zpyabi_layout->tuple_items);
  const PyTypeObject *atom = NULL;
  for (size_t i = 0; i < count; i++) {
    if (items[i] == NULL || may_be_tracked(items[i], &atom)) return false;
  }
  return true;
}

typedef struct {
  const PyTypeObject *atom;
  bool may_be;
} look_t;

/* Stops looking, but not walking, at the first one. */
static zalways_inline void look(void *context, void *reference) {
  look_t *found = context;
  if (!found->may_be) found->may_be = may_be_tracked(reference, &found->atom);
}

static bool is_dict_due(PyObject *dict) {
  look_t found = {NULL, false};
  if (!zpyabi_dicts_untracked || zpyabi_word(dict, ZPYABI_DICT_VALUES) != NULL) return false;
  return zwalker_dict(dict, look, &found) && !found.may_be;
}

bool zuntrack_is_due(PyObject *object) {
  PyTypeObject *type = zpyabi_type(object);
  if (!zpyabi_is_tracked(object)) return false;
  if (type == zpy.PyDict_Type) return is_dict_due(object);
  return type == zpy.PyTuple_Type && is_tuple_due(object);
}

static void look_for_old(void *context, void *reference) {
  if (zold_map_is_old(reference)) *(bool *)context = true;
}

/* What is tracked in our heap is old when the world is stopped. */
bool zuntrack_may_be_due(PyObject *object) {
  PyTypeObject *type = zpyabi_type(object);
  bool is_dict = type == zpy.PyDict_Type, has_old = false;
  if (!is_dict && type != zpy.PyTuple_Type) return false;
  if (is_dict && !zpyabi_dicts_untracked) return false;
  bool walked = is_dict ? zwalker_dict(object, look_for_old, &has_old) : zwalker_tuple(object, look_for_old, &has_old);
  return walked && !has_old;
}

bool zuntrack_is_tuple_due(PyObject *object) {
  return zpyabi_type(object) == zpy.PyTuple_Type && is_tuple_due(object);
}
