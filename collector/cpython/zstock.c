#include "collector/cpython/zstock.h"

static PyObject *function; /* kept after the end: finalizers may call our gc.collect until the very last */
static const zplan_t *asked;

bool zstock_start(PyObject *gc_module) {
  function = zpy.PyObject_GetAttrString(gc_module, "collect");
  return function != NULL;
}

/* Nothing of Python runs between setting `asked` and the start callback that reads it. */
Py_ssize_t zstock_collect(int generation, const zplan_t *plan) {
  if (*zgc_state.collecting) return 0;
  asked = plan;
  PyObject *result = zpy.PyObject_CallFunction(function, "i", generation);
  asked = NULL;
  if (result == NULL) return -1;
  Py_ssize_t count = zpy.PyLong_AsLong(result);
  zpy.Py_DecRef(result);
  return count;
}

const zplan_t *zstock_asked(void) { return asked; }
