#include "collector/cpython/zexit.h"

#include <string.h>

#include "collector/python/zbuiltin.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

static bool is_done; /* GIL */

/* -- what has a finalizer ------------------------------------------------------------------------------ */

typedef struct {
  PyObject *others, *files; /* lists, from the oldest to the youngest */
  PyObject *file_base;      /* _io._IOBase */
  PyObject *standard;       /* the standard streams and what they wrap: CPython flushes them at the very end */
  bool failed;
} found_t;

typedef enum { KIND_PLAIN, KIND_OTHER, KIND_FILE } kind_t;

static kind_t kind_of(const found_t *found, PyTypeObject *type) {
  if (!zpyabi_has_finalizer(type)) return KIND_PLAIN;
  return zpyabi_is_subtype(type, found->file_base) ? KIND_FILE : KIND_OTHER;
}

static bool is_standard(const found_t *found, PyObject *object) {
  for (Py_ssize_t i = 0; i < zpy.PyList_Size(found->standard); i++) {
    if (zpy.PyList_GetItem(found->standard, i) == object) return true;
  }
  return false;
}

static void note(found_t *found, PyObject *object, kind_t kind) {
  if (kind == KIND_FILE && is_standard(found, object)) return;
  if (zpy.PyList_Append(kind == KIND_FILE ? found->files : found->others, object) < 0) found->failed = true;
}

#define KINDS 256 /* a power of two */

static struct {
  PyTypeObject *type;
  kind_t kind;
} seen[KINDS];

/* Nothing is destroyed and no code of the program runs in here, so a type's kind holds. */
static void look_through(found_t *found, const zgc_head_t *list) {
  for (zgc_head_t *at = zgc_head_next(list); at != list && !found->failed; at = zgc_head_next(at)) {
    __builtin_prefetch(zgc_head_next(at));
    PyObject *object = zpyabi_object(at);
    PyTypeObject *type = zpyabi_type(object);
    size_t place = ((uintptr_t)type >> 4) % KINDS;
    if (seen[place].type != type) {
      seen[place].kind = kind_of(found, type);
      seen[place].type = type;
    }
    if (seen[place].kind != KIND_PLAIN) note(found, object, seen[place].kind);
  }
}

/* A stream, its buffer, and the raw file. Steals the reference; what is absent or strange ends the chain. */
static void add_chain(PyObject *list, PyObject *stream) {
  static const char *const inner[] = {"buffer", "raw"};
  for (unsigned i = 0; stream != NULL; i++) {
    zpy.PyList_Append(list, stream);
    PyObject *next = i < 2 ? zpy.PyObject_GetAttrString(stream, inner[i]) : NULL;
    zpy.Py_DecRef(stream);
    stream = next;
  }
  zpy.PyErr_Clear();
}

static PyObject *standard_streams(void) {
  static const char *const names[] = {"stdin",     "stdout",     "stderr",
                                      "__stdin__", "__stdout__", "__stderr__"};
  PyObject *list = zpy.PyList_New(0);
  for (unsigned i = 0; i < sizeof names / sizeof names[0] && list != NULL; i++) {
    PyObject *stream = zpy.PySys_GetObject(names[i]);
    if (stream == NULL || stream == zpy._Py_NoneStruct) continue;
    zpy.Py_IncRef(stream);
    add_chain(list, stream);
  }
  return list;
}

/* A program that never opened a file has no module io. */
static PyObject *find_file_base(void) {
  PyObject *module = zbuiltin_module("_io");
  PyObject *base = module == NULL ? NULL : zpy.PyObject_GetAttrString(module, "_IOBase");
  zpy_release(module);
  return base;
}

static void let_go(found_t *found) {
  zpy_release(found->others);
  zpy_release(found->files);
  zpy_release(found->file_base);
  zpy_release(found->standard);
}

static bool find(found_t *found) {
  *found = (found_t){.others = zpy.PyList_New(0), .files = zpy.PyList_New(0), .file_base = find_file_base(),
                     .standard = standard_streams()};
  if (!found->others || !found->files || !found->file_base || !found->standard) return false;
  memset(seen, 0, sizeof seen); /* types of an interpreter before this one */
  look_through(found, zgc_state.permanent);
  for (int i = ZGC_GENERATIONS - 1; i >= 0; i--) look_through(found, &zgc_state.generations[i].head);
  return !found->failed;
}

/* -- the end --------------------------------------------------------------------------------------------- */

static void finalize_all(const found_t *found) {
  Py_ssize_t others = zpy.PyList_Size(found->others), files = zpy.PyList_Size(found->files);
  for (Py_ssize_t i = 0; i < others; i++) zpy.PyObject_CallFinalizer(zpy.PyList_GetItem(found->others, i));
  for (Py_ssize_t i = files; i > 0; i--) zpy.PyObject_CallFinalizer(zpy.PyList_GetItem(found->files, i - 1));
}

/* What the finalizers have printed. */
static void flush(const found_t *found) {
  for (Py_ssize_t i = 0; i < zpy.PyList_Size(found->standard); i++) {
    zpy_release(zpy.PyObject_CallMethod(zpy.PyList_GetItem(found->standard, i), "flush", NULL));
    zpy.PyErr_Clear();
  }
}

static void freeze(void) {
  PyObject *gc = zbuiltin_module("gc");
  PyObject *done = gc == NULL ? NULL : zpy.PyObject_CallMethod(gc, "freeze", NULL);
  zpy_release(gc);
  zpy_release(done);
}

/* Those that CPython's collector knows: what has no part in it is small, or has a destructor of its own. The standard
 * streams are not kept, so that what is printed from here on is written when they end. */
static void keep_values(const found_t *found, PyObject *dict) {
  Py_ssize_t at = 0;
  PyObject *key, *value;
  while (zpy.PyDict_Next(dict, &at, &key, &value)) {
    bool is_known = zpyabi_flags(zpyabi_type(value)) & ZPYABI_FLAG_HAVE_GC;
    if (is_known && !is_standard(found, value)) zpy.Py_IncRef(value);
  }
}

static void keep_globals(const found_t *found) {
  PyObject *modules = zpy.PyImport_GetModuleDict();
  Py_ssize_t at = 0;
  PyObject *name, *module;
  while (modules != NULL && zpy.PyDict_Next(modules, &at, &name, &module)) {
    if (zpyabi_is_subtype(zpyabi_type(module), zpy.PyModule_Type)) keep_values(found, zpy.PyModule_GetDict(module));
  }
}

static bool is_finalizing(void) {
  PyObject *function = zpy.PySys_GetObject("is_finalizing");
  PyObject *answer = function == NULL ? NULL : zpy.PyObject_CallObject(function, NULL);
  bool is = answer != NULL && zpy.PyObject_IsTrue(answer) == 1;
  zpy_release(answer);
  zpy.PyErr_Clear();
  return is;
}

static void leave_heap(void) {
  uint64_t start = zos_now_ns();
  found_t found;
  is_done = true;
  if (find(&found)) {
    Py_ssize_t finalizers = zpy.PyList_Size(found.others) + zpy.PyList_Size(found.files);
    finalize_all(&found);
    flush(&found);
    freeze();
    keep_globals(&found);
    zlog_info("gc,exit", "heap left behind: finalizers %zd, %.3fms", finalizers, zlog_ms(zos_now_ns() - start));
  } else {
    zlog_warn("gc,exit", "ZGC_EXIT=fast: no memory for a list of finalizers; the interpreter ends as without it");
  }
  let_go(&found);
  zpy.PyErr_Clear();
}

/* A member of gc.callbacks. The first collection of finalization: no other thread of the program runs any more, and
 * the standard streams have been flushed. */
static PyObject *before_collection(PyObject *self, PyObject *arguments) {
  (void)self;
  (void)arguments;
  if (!is_done && is_finalizing()) leave_heap();
  return zpy_new_none();
}

static PyMethodDef before_collection_def = {"zgc_leave_heap", before_collection, METH_VARARGS, NULL};

void zexit_prepare(void) {
  is_done = false;
  PyObject *function = zpy.PyCFunction_NewEx(&before_collection_def, NULL, NULL);
  if (function != NULL && zpy.PyList_Append(*zgc_state.callbacks, function) == 0) {
    if (!zpy.PyGC_IsEnabled()) { /* then finalization would not collect */
      zgc_state.generations[0].threshold = 0;
      zpy.PyGC_Enable();
    }
  }
  zpy_release(function);
  zpy.PyErr_Clear();
}
