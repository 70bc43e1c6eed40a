#include "preload/zgc_facade.h"

#include <stdio.h>

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

static PyMethodDef functions[] = {
    {"collect", (PyCFunction)(void (*)(void))gc_collect, METH_VARARGS | METH_KEYWORDS, NULL},
    {"get_threshold", gc_get_threshold, METH_NOARGS, NULL},
    {"set_threshold", gc_set_threshold, METH_VARARGS, NULL},
    {"get_count", gc_get_count, METH_NOARGS, NULL},
    {"freeze", gc_freeze, METH_NOARGS, NULL},
};
#define FUNCTIONS ZARRAY_LENGTH(functions)

/* What help() and inspect.signature show is what the originals say of themselves. A signature is
 * kept in front of the text, as Argument Clinic does it. */
static void copy_doc(PyMethodDef *function, PyObject *original) {
  static char docs[FUNCTIONS][1200];
  PyObject *signature = zpy.PyObject_GetAttrString(original, "__text_signature__");
  PyObject *text = zpy.PyObject_GetAttrString(original, "__doc__");
  const char *s = signature == NULL || signature == zpy_None()
                      ? NULL : zpy.PyUnicode_AsUTF8AndSize(signature, NULL);
  const char *t = text == NULL || text == zpy_None() ? NULL
                                                     : zpy.PyUnicode_AsUTF8AndSize(text, NULL);
  char *doc = docs[function - functions];
  if (t != NULL && s != NULL) {
    snprintf(doc, sizeof docs[0], "%s%s\n--\n\n%s", function->ml_name, s, t);
  } else if (t != NULL) {
    snprintf(doc, sizeof docs[0], "%s", t);
  }
  function->ml_doc = t == NULL ? NULL : doc;
  if (signature != NULL) zpy.Py_DecRef(signature);
  if (text != NULL) zpy.Py_DecRef(text);
}

static PyObject *originals[FUNCTIONS];

void zgc_facade_install(void) {
  PyObject *gc = zpy.PyImport_ImportModule("gc");
  PyObject *name = zpy.PyUnicode_FromString("gc");
  for (size_t i = 0; gc != NULL && name != NULL && i < FUNCTIONS; i++) {
    originals[i] = zpy.PyObject_GetAttrString(gc, functions[i].ml_name);
    if (originals[i] != NULL) copy_doc(&functions[i], originals[i]);
    PyObject *replacement = zpy.PyCFunction_NewEx(&functions[i], gc, name);
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
  for (size_t i = 0; gc != NULL && i < FUNCTIONS; i++) {
    if (originals[i] == NULL) continue;
    zpy.PyObject_SetAttrString(gc, functions[i].ml_name, originals[i]);
    zpy.Py_DecRef(originals[i]);
    originals[i] = NULL;
  }
  stock_freeze = NULL;
  if (gc != NULL) zpy.Py_DecRef(gc);
  if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
}
