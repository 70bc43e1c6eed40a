#include "collector/zuntrack.h"

#include "collector/zwalker.h"
#include "heap/zold_map.h"

/* _PyObject_GC_MAY_BE_TRACKED; static types are the objects whose type asks them (tp_is_gc). */
static bool may_be_tracked(PyObject *object) {
  if (zgranules_contains(object) && zold_map_has(object)) return true; /* most: not even looked at */
  PyTypeObject *type = zpyabi_type(object);
  unsigned long flags = zpyabi_read_type(type).flags;
  if (!(flags & ZPYABI_FLAG_HAVE_GC)) return false;
  if (flags & ZPYABI_FLAG_TYPE_SUBCLASS) {
    return (zpyabi_read_type((PyTypeObject *)object).flags & ZPYABI_FLAG_HEAPTYPE) != 0;
  }
  return type != zpy.PyTuple_Type || zpyabi_is_tracked(object);
}

/* Stops looking, but not walking, at the first one. */
static void look(void *context, void *reference) {
  bool *may_be = context;
  if (!*may_be) *may_be = may_be_tracked(reference);
}

bool zuntrack_is_due(PyObject *object) {
  PyTypeObject *type = zpyabi_type(object);
  bool may_be = false, walked = false;
  if (!zpyabi_is_tracked(object)) return false;
  if (type == zpy.PyDict_Type && zpyabi_dicts_untracked &&
      zpyabi_word(object, ZPYABI_DICT_VALUES) == NULL) {
    walked = zwalker_dict(object, look, &may_be);
  } else if (type == zpy.PyTuple_Type) {
    walked = zwalker_tuple(object, look, &may_be);
  }
  return walked && !may_be;
}
