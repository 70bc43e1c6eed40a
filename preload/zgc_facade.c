#include "preload/zgc_facade.h"

#include <stdio.h>
#include <stdlib.h>

#include "collector/zcollector.h"
#include "collector/zpyapi.h"
#include "heap/zallocator.h"

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

static PyObject *stock_freeze, *stock_debugmallocstats;

/* Finalizers may hold our functions when the originals have been given back already. */
static PyObject *call_stock(PyObject *function) {
  return function == NULL ? zpy_new_none() : zpy.PyObject_CallObject(function, NULL);
}

static PyObject *gc_freeze(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (!zcollector_is_on()) return call_stock(stock_freeze);
  zcollector_before_freeze();
  PyObject *result = zpy.PyObject_CallObject(stock_freeze, NULL);
  zcollector_after_freeze();
  return result;
}

/* pymalloc's number, which would stand at nothing (test runners look for leaks with it). */
static PyObject *sys_getallocatedblocks(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  zallocator_stats_t heap;
  zallocator_stats(&heap);
  return zpy.PyLong_FromUnsignedLongLong(heap.used_blocks);
}

/* pymalloc's table would not be there at all; this is ours, in the manner of it. */
static void print_heap(void) {
  static zallocator_class_t classes[ZCLASS_COUNT];
  zallocator_stats_t heap;
  zallocator_class_stats(classes);
  zallocator_stats(&heap);
  fprintf(stderr, "Small block threshold = %zu, in %u size classes.\n\n", ZSMALL_MAX,
          ZSMALL_CLASSES);
  fprintf(stderr, "class     size   pages   blocks in use  avail blocks\n");
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    const zallocator_class_t *c = &classes[i];
    if (c->pages == 0) continue;
    fprintf(stderr, "%5u %8zu %7zu %15zu %13zu\n", i, zsize_class_block_size(i), c->pages, c->used,
            c->capacity - c->used);
  }
  fprintf(stderr, "\n%zu blocks of %zu bytes in pages of %zu bytes\n", heap.used_blocks,
          heap.used_bytes, heap.page_bytes);
}

static PyObject *sys_debugmallocstats(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  print_heap();
  return call_stock(stock_debugmallocstats);
}

/* CPython prints pymalloc's table at its end if asked to, but only where pymalloc is in use. */
static bool is_table_wanted_at_end(void) {
  const char *wish = getenv("PYTHONMALLOCSTATS");
  if (wish == NULL || wish[0] == '\0') return false;
  PyObject *sys = zpy.PyImport_ImportModule("sys");
  PyObject *flags = sys == NULL ? NULL : zpy.PyObject_GetAttrString(sys, "flags");
  PyObject *ignored = flags == NULL
                          ? NULL : zpy.PyObject_GetAttrString(flags, "ignore_environment");
  bool wanted = ignored != NULL && zpy.PyObject_IsTrue(ignored) == 0;
  if (ignored != NULL) zpy.Py_DecRef(ignored);
  if (flags != NULL) zpy.Py_DecRef(flags);
  if (sys != NULL) zpy.Py_DecRef(sys);
  return wanted;
}

static PyMethodDef functions[] = {
    {"collect", (PyCFunction)(void (*)(void))gc_collect, METH_VARARGS | METH_KEYWORDS, NULL},
    {"get_threshold", gc_get_threshold, METH_NOARGS, NULL},
    {"set_threshold", gc_set_threshold, METH_VARARGS, NULL},
    {"get_count", gc_get_count, METH_NOARGS, NULL},
    {"freeze", gc_freeze, METH_NOARGS, NULL},
    {"getallocatedblocks", sys_getallocatedblocks, METH_NOARGS, NULL},
    {"_debugmallocstats", sys_debugmallocstats, METH_NOARGS, NULL},
};
#define FUNCTIONS ZARRAY_LENGTH(functions)

static const char *module_of(const PyMethodDef *function) {
  bool is_sys = function->ml_meth == sys_getallocatedblocks ||
                function->ml_meth == sys_debugmallocstats;
  return is_sys ? "sys" : "gc";
}

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

static void replace(PyObject *module, PyMethodDef *function, PyObject **original) {
  PyObject *name = zpy.PyUnicode_FromString(module_of(function));
  *original = zpy.PyObject_GetAttrString(module, function->ml_name);
  if (*original != NULL) copy_doc(function, *original);
  PyObject *replacement = zpy.PyCFunction_NewEx(function, module, name);
  if (replacement != NULL && *original != NULL) {
    zpy.PyObject_SetAttrString(module, function->ml_name, replacement);
  }
  if (replacement != NULL) zpy.Py_DecRef(replacement);
  if (name != NULL) zpy.Py_DecRef(name);
}

void zgc_facade_install(void) {
  for (size_t i = 0; i < FUNCTIONS; i++) {
    PyObject *module = zpy.PyImport_ImportModule(module_of(&functions[i]));
    if (module != NULL) {
      replace(module, &functions[i], &originals[i]);
      zpy.Py_DecRef(module);
    }
    if (functions[i].ml_meth == gc_freeze) stock_freeze = originals[i];
    if (functions[i].ml_meth == sys_debugmallocstats) stock_debugmallocstats = originals[i];
    if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  }
}

void zgc_facade_remove(void) {
  if (is_table_wanted_at_end()) print_heap();
  for (size_t i = 0; i < FUNCTIONS; i++) {
    PyObject *module = zpy.PyImport_ImportModule(module_of(&functions[i]));
    if (module != NULL && originals[i] != NULL) {
      zpy.PyObject_SetAttrString(module, functions[i].ml_name, originals[i]);
      zpy.Py_DecRef(originals[i]);
    }
    originals[i] = NULL;
    if (module != NULL) zpy.Py_DecRef(module);
    if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  }
  stock_freeze = stock_debugmallocstats = NULL;
}
