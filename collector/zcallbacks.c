#include "collector/zcallbacks.h"

static PyObject *own_list;  /* the interpreter's; it holds the reference */
static PyObject *user_list; /* ours */

bool zcallbacks_install(PyObject *gc_module, PyObject *callable) {
  own_list = *zgc_state.callbacks;
  user_list = zpy.PyList_New(0);
  return user_list != NULL && zpy.PyList_SetSlice(user_list, 0, 0, own_list) == 0 &&
         zpy.PyList_SetSlice(own_list, 0, zpy.PyList_Size(own_list), NULL) == 0 &&
         zpy.PyList_Append(own_list, callable) == 0 &&
         zpy.PyObject_SetAttrString(gc_module, "callbacks", user_list) == 0;
}

void zcallbacks_remove(PyObject *gc_module) {
  zpy.PyList_SetSlice(own_list, 0, zpy.PyList_Size(own_list), user_list);
  zpy.PyObject_SetAttrString(gc_module, "callbacks", own_list);
  zpy.Py_DecRef(user_list);
  user_list = NULL;
}

bool zcallbacks_are_none(void) { return user_list == NULL || zpy.PyList_Size(user_list) <= 0; }

long zcallbacks_number(PyObject *info, const char *key) {
  PyObject *value = zpy.PyDict_GetItemString(info, key);
  long number = value == NULL ? 0 : zpy.PyLong_AsLong(value);
  if (number == -1 && zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  return number;
}

/* 3.15 has more in it than the three that are ours to tell. */
static PyObject *info_for(PyObject *info, int generation) {
  if (zcallbacks_number(info, "generation") == generation) {
    zpy.Py_IncRef(info);
    return info;
  }
  PyObject *told = zpy.PyObject_CallMethod(info, "copy", NULL);
  PyObject *number = told == NULL ? NULL : zpy.PyLong_FromLong(generation);
  if (number == NULL || zpy.PyDict_SetItemString(told, "generation", number) != 0) {
    if (told != NULL) zpy.Py_DecRef(told);
    told = NULL;
  }
  if (number != NULL) zpy.Py_DecRef(number);
  return told;
}

/* As invoke_gc_callback does it: the list may change while it is walked; an exception is reported
 * and the next callback is called all the same. */
void zcallbacks_forward(PyObject *phase, PyObject *info, int generation) {
  if (zcallbacks_are_none()) return;
  PyObject *told = info_for(info, generation);
  if (told == NULL) {
    zpy.PyErr_WriteUnraisable(NULL);
    return;
  }
  for (Py_ssize_t i = 0; i < zpy.PyList_Size(user_list); i++) {
    PyObject *callback = zpy.PyList_GetItem(user_list, i);
    zpy.Py_IncRef(callback);
    PyObject *result = zpy.PyObject_CallFunction(callback, "OO", phase, told);
    if (result == NULL) {
      zpy.PyErr_WriteUnraisable(callback);
    } else {
      zpy.Py_DecRef(result);
    }
    zpy.Py_DecRef(callback);
  }
  zpy.Py_DecRef(told);
}
