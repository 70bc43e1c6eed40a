#include "collector/zimport_lock.h"

#include "collector/zpyabi.h"

bool zimport_lock_is_held(void) {
  PyObject *modules = zpy.PyImport_GetModuleDict();
  PyObject *importlib = modules == NULL
                            ? NULL : zpy.PyDict_GetItemString(modules, "_frozen_importlib");
  PyObject *waiting = importlib == NULL
                          ? NULL : zpy.PyObject_GetAttrString(importlib, "_blocking_on");
  if (waiting == NULL) {
    zpy.PyErr_Clear();
    return false;
  }
  /* Where it is not a plain dict, importlib is mended. */
  bool inside = zpyabi_type(waiting) == zpy.PyDict_Type && zpy.PyObject_Size(waiting) > 0;
  zpy.Py_DecRef(waiting);
  return inside;
}
