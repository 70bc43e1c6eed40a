#include "preload/module/zgc_facade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cpython/zcollector.h"
#include "collector/cpython/zthresholds.h"
#include "collector/python/zbuiltin.h"
#include "collector/python/zcallbacks.h"
#include "collector/python/zpyabi.h"
#include "heap/zallocator.h"
#include "heap/zheap_report.h"

static PyObject *stock_collect, *stock_set_threshold, *stock_freeze, *stock_unfreeze, *stock_debugmallocstats;
static PyObject *stock_get_objects, *stock_get_referrers;

/* 0, 1 or 2; -1 for arguments that are not as they should be. */
static int generation_of(PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
  if (names != NULL) count += zpy.PyObject_Size(names);
  if (count == 0) return ZGC_GENERATIONS - 1;
  if (count > 1) return -1;
  if (names != NULL) {
    const char *name = zpy.PyUnicode_AsUTF8AndSize(zpy.PyTuple_GetItem(names, 0), NULL);
    if (name == NULL || strcmp(name, "generation") != 0) return -1;
  }
  long generation = zpy.PyLong_AsLong(arguments[0]);
  if (generation == -1 && zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  return generation >= 0 && generation < ZGC_GENERATIONS ? (int)generation : -1;
}

/* Like the original it takes no tuple of arguments, which would count as a young object. Arguments that
 * the original would refuse go to the original, which says so in its own words. */
static PyObject *gc_collect(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                            PyObject *names) {
  (void)self;
  int generation = generation_of(arguments, count, names);
  if (generation < 0 && stock_collect != NULL) {
    return zpy.PyObject_Vectorcall(stock_collect, arguments, (size_t)count, names);
  }
  Py_ssize_t collected = zcollector_collect(generation < 0 ? ZGC_GENERATIONS - 1 : generation);
  return collected < 0 ? NULL : zpy.PyLong_FromLong(collected);
}

static PyObject *gc_get_threshold(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  int t[3];
  zthresholds_get(t);
  return zpy.Py_BuildValue("(iii)", t[0], t[1], t[2]);
}

/* The original reads its arguments into the interpreter's own thresholds. */
static PyObject *gc_set_threshold(PyObject *self, PyObject *arguments) {
  (void)self;
  if (stock_set_threshold == NULL) return zpy_new_none();
  zthresholds_lend();
  PyObject *result = zpy.PyObject_Call(stock_set_threshold, arguments, NULL);
  zthresholds_take();
  return result;
}

static PyObject *gc_get_count(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  int c[3];
  zcollector_get_counts(c);
  return zpy.Py_BuildValue("(iii)", c[0], c[1], c[2]);
}

/* Finalizers may hold our functions when the originals have been given back already. */
static PyObject *call_stock(PyObject *function) {
  return function == NULL ? zpy_new_none() : zpy.PyObject_CallObject(function, NULL);
}

static PyObject *gc_freeze(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  zcollector_before_freeze();
  PyObject *result = call_stock(stock_freeze);
  zcollector_after_freeze();
  return result;
}

static PyObject *gc_unfreeze(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  zcollector_before_unfreeze();
  PyObject *result = call_stock(stock_unfreeze);
  zcollector_after_unfreeze();
  return result;
}

static PyObject *call_unseen(PyObject *function, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
  if (function == NULL) return zpy.PyList_New(0);
  zcollector_hide_garbage();
  PyObject *result = zpy.PyObject_Vectorcall(function, arguments, (size_t)count, names);
  zcollector_show_garbage();
  return result;
}

static PyObject *gc_get_objects(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
  (void)self;
  return call_unseen(stock_get_objects, arguments, count, names);
}

static PyObject *gc_get_referrers(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  return call_unseen(stock_get_referrers, arguments, count, NULL);
}

/* pymalloc's number, which would stand at nothing (test runners look for leaks with it). */
static PyObject *sys_getallocatedblocks(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  zheap_report_t heap;
  zheap_report(&heap);
  return zpy.PyLong_FromUnsignedLongLong(heap.used_blocks);
}

/* pymalloc's table would not be there at all; this is ours, in the manner of it. */
static void print_heap(void) {
  static zheap_report_class_t classes[ZCLASS_COUNT];
  zheap_report_t heap;
  zheap_report_classes(classes);
  zheap_report(&heap);
  fprintf(stderr, "Small block threshold = %zu, in %u size classes.\n\n", ZSMALL_MAX,
          ZSMALL_CLASSES);
  fprintf(stderr, "class     size   pages   blocks in use  avail blocks\n");
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    const zheap_report_class_t *c = &classes[i];
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
  PyObject *flags = zpy.PySys_GetObject("flags"); /* borrowed */
  PyObject *ignored = flags == NULL
                          ? NULL : zpy.PyObject_GetAttrString(flags, "ignore_environment");
  bool wanted = ignored != NULL && zpy.PyObject_IsTrue(ignored) == 0;
  if (ignored != NULL) zpy.Py_DecRef(ignored);
  return wanted;
}

static PyMethodDef functions[] = {
    {"collect", (PyCFunction)(void (*)(void))gc_collect, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"get_threshold", gc_get_threshold, METH_NOARGS, NULL},
    {"set_threshold", gc_set_threshold, METH_VARARGS, NULL},
    {"get_count", gc_get_count, METH_NOARGS, NULL},
    {"freeze", gc_freeze, METH_NOARGS, NULL},
    {"unfreeze", gc_unfreeze, METH_NOARGS, NULL},
    {"get_objects", (PyCFunction)(void (*)(void))gc_get_objects, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"get_referrers", (PyCFunction)(void (*)(void))gc_get_referrers, METH_FASTCALL, NULL},
    {"getallocatedblocks", sys_getallocatedblocks, METH_NOARGS, NULL},
    {"_debugmallocstats", sys_debugmallocstats, METH_NOARGS, NULL},
};
#define FUNCTIONS ZARRAY_LENGTH(functions)

static const char *module_of(const PyMethodDef *function) {
  bool is_sys = function->ml_meth == sys_getallocatedblocks ||
                function->ml_meth == sys_debugmallocstats;
  return is_sys ? "sys" : "gc";
}

/* help() and inspect.signature show the same text as for the originals. Taken from where they
 * keep it: to ask them for __doc__ and __text_signature__ would map 128 KB of CPython's code that no other
 * part of a start comes by. */
static const char *doc_of(PyObject *original, PyObject *replacement) {
  if (zpyabi_type(original) != zpyabi_type(replacement)) return NULL; /* not a built-in function */
  const PyMethodDef *method = zpyabi_word(original, ZPYABI_CFUNCTION_METHOD);
  return method->ml_doc;
}

static PyObject *originals[FUNCTIONS];

static PyObject *original_of(const char *name) {
  for (size_t i = 0; i < FUNCTIONS; i++) {
    if (strcmp(functions[i].ml_name, name) == 0) return originals[i];
  }
  return NULL;
}

static void find_stock(void) {
  stock_collect = original_of("collect");
  stock_set_threshold = original_of("set_threshold");
  stock_freeze = original_of("freeze");
  stock_unfreeze = original_of("unfreeze");
  stock_get_objects = original_of("get_objects");
  stock_get_referrers = original_of("get_referrers");
  stock_debugmallocstats = original_of("_debugmallocstats");
}

static void replace(PyObject *module, PyMethodDef *function, PyObject *original) {
  PyObject *name = zpy.PyUnicode_FromString(module_of(function));
  PyObject *replacement = zpy.PyCFunction_NewEx(function, module, name);
  if (replacement != NULL && original != NULL) {
    function->ml_doc = doc_of(original, replacement);
    zpy.PyObject_SetAttrString(module, function->ml_name, replacement);
  }
  if (replacement != NULL) zpy.Py_DecRef(replacement);
  if (name != NULL) zpy.Py_DecRef(name);
}

static bool is_installed;

int zgc_facade_adopt(PyObject *module) {
  if (!is_installed || zpy.PyInterpreterState_Get() != zpy.PyInterpreterState_Main()) return 0;
  for (size_t i = 0; i < FUNCTIONS; i++) {
    if (strcmp(module_of(&functions[i]), "gc") == 0) replace(module, &functions[i], originals[i]);
  }
  zcallbacks_show(module);
  zpy.PyErr_Clear();
  return 0;
}

void zgc_facade_install(void) {
  for (size_t i = 0; i < FUNCTIONS; i++) {
    PyObject *module = zbuiltin_module(module_of(&functions[i]));
    if (module != NULL) {
      originals[i] = zpy.PyObject_GetAttrString(module, functions[i].ml_name);
      replace(module, &functions[i], originals[i]);
      zpy.Py_DecRef(module);
    }
    if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  }
  find_stock();
  is_installed = true;
}

/* Modules that have left sys.modules keep our functions, which work without us, too. */
void zgc_facade_remove(void) {
  if (is_table_wanted_at_end()) print_heap();
  is_installed = false;
  for (size_t i = 0; i < FUNCTIONS; i++) {
    PyObject *module = zbuiltin_loaded(module_of(&functions[i]));
    if (module != NULL && originals[i] != NULL) {
      zpy.PyObject_SetAttrString(module, functions[i].ml_name, originals[i]);
    }
    if (originals[i] != NULL) zpy.Py_DecRef(originals[i]);
    originals[i] = NULL;
    if (module != NULL) zpy.Py_DecRef(module);
    if (zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  }
  find_stock();
}
