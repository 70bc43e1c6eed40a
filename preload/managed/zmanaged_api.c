#define _GNU_SOURCE
#include "preload/managed/zmanaged_api.h"

#include <dlfcn.h>

zmanaged_api_t zma;

static bool resolve(void) {
  const char *missing = NULL;
#define X(result, name, arguments) \
  *(void **)&zma.name = dlsym(RTLD_DEFAULT, #name); \
  if (zma.name == NULL) missing = #name;
  ZMANAGED_API(X)
#undef X
#define X(name) \
  *(void **)&zma.name = dlsym(RTLD_DEFAULT, #name); \
  if (zma.name == NULL) missing = #name;
  ZMANAGED_API_OBJECTS(X)
  ZMANAGED_API_EXCEPTIONS(X)
#undef X
  if (missing == NULL) return true;
  zpy.PyErr_Format(*zpy.PyExc_RuntimeError, "zgc: the interpreter has no %s", missing);
  return false;
}

static bool slot_is(PyTypeObject *type, int slot, size_t offset) {
  return zpy.PyType_GetSlot(type, slot) == *zmanaged_type_word(type, offset);
}

/* tp_finalize is empty in most types; a class with __del__ has it. */
static bool finalizer_is_found(void) {
  PyObject *space = zpy.PyDict_New(), *bases = zpy.PyTuple_New(0);
  PyObject *type = NULL;
  if (space != NULL && bases != NULL && zpy.PyDict_SetItemString(space, "__del__", zpy.PyType_Type) == 0) {
    type = zpy.PyObject_CallFunction(zpy.PyType_Type, "sOO", "probe", bases, space);
  }
  bool found = type != NULL && *zmanaged_type_word((PyTypeObject *)type, ZMANAGED_TYPE_FINALIZE) != NULL &&
               slot_is((PyTypeObject *)type, Py_tp_finalize, ZMANAGED_TYPE_FINALIZE);
  PyObject *made[] = {space, bases, type};
  for (size_t i = 0; i < ZARRAY_LENGTH(made); i++) {
    if (made[i] != NULL) zpy.Py_DecRef(made[i]);
  }
  return found;
}

/* Every offset, on a class made by a class statement and on `list`. */
static bool prove(void) {
  PyObject *type = zpy.PyObject_CallFunction(zpy.PyType_Type, "s(){s()}", "probe", "__slots__");
  if (type == NULL) return false;
  PyTypeObject *t = (PyTypeObject *)type;
  bool ok = slot_is(t, Py_tp_dealloc, ZMANAGED_TYPE_DEALLOC) &&
            slot_is(t, Py_tp_getattro, ZMANAGED_TYPE_GETATTRO) &&
            slot_is(t, Py_tp_setattro, ZMANAGED_TYPE_SETATTRO) &&
            slot_is(t, Py_tp_init, ZMANAGED_TYPE_INIT) && slot_is(t, Py_tp_alloc, ZMANAGED_TYPE_ALLOC) &&
            slot_is(t, Py_tp_new, ZMANAGED_TYPE_NEW) && slot_is(t, Py_tp_free, ZMANAGED_TYPE_FREE) &&
            slot_is(t, Py_tp_call, ZMANAGED_TYPE_CALL) &&
            (unsigned long)*zmanaged_type_word(t, ZMANAGED_TYPE_FLAGS) == zpy.PyType_GetFlags(t) &&
            *zmanaged_type_word(t, ZMANAGED_TYPE_DEALLOC) != NULL &&
            (Py_ssize_t)*zmanaged_type_word(t, ZMANAGED_TYPE_BASICSIZE) == 16 &&
            *zmanaged_type_word(t, ZMANAGED_TYPE_DICTOFFSET) == NULL &&
            *zmanaged_type_word(t, ZMANAGED_TYPE_VECTORCALL) == NULL;
  zpy.Py_DecRef(type);
  PyTypeObject *list = (PyTypeObject *)zpy.PyList_Type;
  ok = ok && *zmanaged_type_word(list, ZMANAGED_TYPE_TRAVERSE) != NULL &&
       *zmanaged_type_word(list, ZMANAGED_TYPE_VECTORCALL) != NULL;
  /* Static types take PyType_GetSlot from 3.10 on. */
  ok = ok && slot_is(list, Py_tp_traverse, ZMANAGED_TYPE_TRAVERSE) &&
       slot_is(list, Py_tp_clear, ZMANAGED_TYPE_CLEAR) && slot_is(list, Py_tp_iter, ZMANAGED_TYPE_ITER) &&
       slot_is(list, Py_tp_hash, ZMANAGED_TYPE_HASH) &&
       slot_is(list, Py_tp_richcompare, ZMANAGED_TYPE_RICHCOMPARE) &&
       slot_is((PyTypeObject *)zpy.PyType_Type, Py_tp_call, ZMANAGED_TYPE_CALL) && finalizer_is_found();
  if (!ok && zpy.PyErr_Occurred() != NULL) return false;
  PyObject *number = zma.PyFloat_FromDouble(-1.25);
  if (number == NULL) return false;
  ok = ok && *(double *)((char *)number + ZMANAGED_FLOAT_VALUE) == -1.25;
  zpy.Py_DecRef(number);
  if (!ok) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError,
                        "zgc: this interpreter lays out its types in a way that managed objects do not know");
  }
  return ok;
}

bool zmanaged_api_prepare(void) {
  static bool prepared;
  if (!prepared) prepared = resolve() && prove();
  return prepared;
}
