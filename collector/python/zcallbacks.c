#include "collector/python/zcallbacks.h"

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

void zcallbacks_show(PyObject *gc_module) {
  if (user_list != NULL) zpy.PyObject_SetAttrString(gc_module, "callbacks", user_list);
}

void zcallbacks_remove(PyObject *gc_module) {
  zpy.PyList_SetSlice(own_list, 0, zpy.PyList_Size(own_list), user_list);
  if (gc_module != NULL) zpy.PyObject_SetAttrString(gc_module, "callbacks", own_list);
  zpy.Py_DecRef(user_list);
  user_list = NULL;
}

void zcallbacks_lend(void) {
  if (user_list == NULL) return;
  zpy.Py_IncRef(user_list);
  *zgc_state.callbacks = user_list;
}

/* Not if the interpreter has given it up, or has got its list back, meanwhile. */
void zcallbacks_take_back(void) {
  PyObject *lent = *zgc_state.callbacks;
  if (lent == NULL || lent == own_list) return;
  *zgc_state.callbacks = own_list;
  zpy.Py_DecRef(lent);
}

bool zcallbacks_are_none(void) { return user_list == NULL || zpy.PyList_Size(user_list) <= 0; }

long zcallbacks_number(PyObject *info, const char *key) {
  PyObject *value = zpy.PyDict_GetItemString(info, key);
  long number = value == NULL ? 0 : zpy.PyLong_AsLong(value);
  if (number == -1 && zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  return number;
}

zcallbacks_report_t zcallbacks_read(PyObject *info) {
  return (zcallbacks_report_t){zcallbacks_number(info, "generation"), zcallbacks_number(info, "collected"),
                               zcallbacks_number(info, "uncollectable")};
}

static bool set_number(PyObject *info, const char *key, long value) {
  PyObject *number = zpy.PyLong_FromLong(value);
  if (number == NULL) return false;
  bool is_set = zpy.PyDict_SetItemString(info, key, number) == 0;
  zpy.Py_DecRef(number);
  return is_set;
}

/* A copy, because 3.15 has more in it than these three. A new reference; NULL with an exception. */
static PyObject *info_for(PyObject *info, const zcallbacks_report_t *report) {
  zcallbacks_report_t read = zcallbacks_read(info);
  if (read.generation == report->generation && read.collected == report->collected &&
      read.uncollectable == report->uncollectable) {
    zpy.Py_IncRef(info);
    return info;
  }
  PyObject *told = zpy.PyObject_CallMethod(info, "copy", NULL);
  if (told == NULL) return NULL;
  if (set_number(told, "generation", report->generation) && set_number(told, "collected", report->collected) &&
      set_number(told, "uncollectable", report->uncollectable)) {
    return told;
  }
  zpy.Py_DecRef(told);
  return NULL;
}

/* As invoke_gc_callback does it: the list may change while it is walked; an exception is reported
 * and the next callback is called all the same. */
void zcallbacks_forward(PyObject *phase, PyObject *info, const zcallbacks_report_t *report) {
  if (zcallbacks_are_none()) return;
  PyObject *told = info_for(info, report);
  if (told == NULL) {
    zpy.PyErr_WriteUnraisable(NULL);
    return;
  }
  for (Py_ssize_t i = 0; i < zpy.PyList_Size(user_list); i++) {
    PyObject *callback = zpy.PyList_GetItem(user_list, i);
    zpy.Py_IncRef(callback);
    PyObject *result = zpy.PyObject_CallFunction(callback, "OO", phase, told);
    if (result == NULL) {
      zpyabi_report("Exception ignored while calling GC callback %R", callback);
    } else {
      zpy.Py_DecRef(result);
    }
    zpy.Py_DecRef(callback);
  }
  zpy.Py_DecRef(told);
}
