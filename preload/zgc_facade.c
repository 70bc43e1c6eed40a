#include "preload/zgc_facade.h"

#include "collector/zcollector.h"
#include "collector/zpyapi.h"

static PyObject *gc_collect(PyObject *self, PyObject *arguments, PyObject *keywords) {
  (void)self;
  static char *names[] = {"generation", NULL};
  int generation = 2;
  if (!zpy.PyArg_ParseTupleAndKeywords(arguments, keywords, "|i:collect", names, &generation)) {
    return NULL;
  }
  if (generation < 0 || generation > 2) {
    zpy.PyErr_SetString(*zpy.PyExc_ValueError, "invalid generation");
    return NULL;
  }
  Py_ssize_t count = zcollector_collect(generation);
  return count < 0 ? NULL : zpy.PyLong_FromLong(count);
}

static PyObject *gc_get_threshold(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  int t[3];
  zcollector_get_thresholds(t);
  return zpy.Py_BuildValue("(iii)", t[0], t[1], t[2]);
}

static PyObject *gc_set_threshold(PyObject *self, PyObject *arguments) {
  (void)self;
  int t[3];
  zcollector_get_thresholds(t);
  static char *names[] = {"", "", "", NULL};
  if (!zpy.PyArg_ParseTupleAndKeywords(arguments, NULL, "i|ii:set_threshold", names, &t[0], &t[1],
                                       &t[2])) {
    return NULL;
  }
  zcollector_set_thresholds(t);
  return zpy_new_none();
}

static PyObject *gc_get_count(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  int c[3];
  zcollector_get_counts(c);
  return zpy.Py_BuildValue("(iii)", c[0], c[1], c[2]);
}

static PyObject *stock_freeze;

static PyObject *gc_freeze(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (!zcollector_is_on()) return zpy.PyObject_CallObject(stock_freeze, NULL);
  zcollector_before_freeze();
  PyObject *result = zpy.PyObject_CallObject(stock_freeze, NULL);
  zcollector_after_freeze();
  return result;
}

/* Signature and text as in CPython's own functions: inspect.signature and help() read them. */
static PyMethodDef functions[] = {
    {"collect", (PyCFunction)(void (*)(void))gc_collect, METH_VARARGS | METH_KEYWORDS,
     "collect($module, /, generation=2)\n--\n\n"
     "Run the garbage collector and return the number of unreachable objects.\n\n"
     "generation: 0, 1 or 2 (all objects, the default). ValueError for any other.\n"
     "Returns when the collection is complete, as CPython's own function does."},
    {"get_threshold", gc_get_threshold, METH_NOARGS,
     "get_threshold($module, /)\n--\n\nReturn the thresholds as the program set them."},
    {"set_threshold", gc_set_threshold, METH_VARARGS,
     "set_threshold(threshold0, [threshold1, threshold2]) -> None\n\n"
     "Set the thresholds; a threshold0 of 0 switches automatic collection off."},
    {"get_count", gc_get_count, METH_NOARGS,
     "get_count($module, /)\n--\n\nReturn a three-tuple of the current collection counts."},
    {"freeze", gc_freeze, METH_NOARGS,
     "freeze($module, /)\n--\n\n"
     "Move all tracked objects where no collection looks at them."},
};

static PyObject *originals[ZARRAY_LENGTH(functions)];

void zgc_facade_install(void) {
  PyObject *gc = zpy.PyImport_ImportModule("gc");
  PyObject *name = zpy.PyUnicode_FromString("gc");
  for (size_t i = 0; gc != NULL && name != NULL && i < ZARRAY_LENGTH(functions); i++) {
    PyObject *replacement = zpy.PyCFunction_NewEx(&functions[i], NULL, name);
    originals[i] = zpy.PyObject_GetAttrString(gc, functions[i].ml_name);
    if (functions[i].ml_meth == gc_freeze) stock_freeze = originals[i];
    if (replacement != NULL && originals[i] != NULL) {
      zpy.PyObject_SetAttrString(gc, functions[i].ml_name, replacement);
    }
    if (replacement != NULL) zpy.Py_DecRef(replacement);
  }
  if (gc != NULL) zpy.Py_DecRef(gc);
  if (name != NULL) zpy.Py_DecRef(name);
  if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
}

void zgc_facade_remove(void) {
  PyObject *gc = zpy.PyImport_ImportModule("gc");
  for (size_t i = 0; gc != NULL && i < ZARRAY_LENGTH(functions); i++) {
    if (originals[i] == NULL) continue;
    zpy.PyObject_SetAttrString(gc, functions[i].ml_name, originals[i]);
    zpy.Py_DecRef(originals[i]);
    originals[i] = NULL;
  }
  stock_freeze = NULL;
  if (gc != NULL) zpy.Py_DecRef(gc);
  if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
}
