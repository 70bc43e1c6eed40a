/* What the managed types need of CPython's API beyond collector/python/zpyapi.h, found when the first of them
 * is used: nothing here is required of a process that has no managed objects.
 *
 * The public and stable API does nearly everything. Two things need layout knowledge, and
 * zmanaged_api_prepare proves it against the API before anything is built on it: the offsets of some
 * slots in a type object (a class statement installs CPython's generic deallocator and allocator,
 * which we replace), and the double in a float. */
#ifndef PRELOAD_MANAGED_ZMANAGED_API_H
#define PRELOAD_MANAGED_ZMANAGED_API_H

#include "collector/python/zpyabi.h"

typedef PyObject *(*zmanaged_vectorcall_t)(PyObject *, PyObject *const *, size_t, PyObject *);

typedef struct {
  int slot;
  void *pfunc;
} PyType_Slot;

typedef struct {
  const char *name;
  int basicsize;
  int itemsize;
  unsigned int flags;
  PyType_Slot *slots;
} PyType_Spec;

typedef struct {
  const char *name;
  int type;
  Py_ssize_t offset;
  int flags;
  const char *doc;
} PyMemberDef;

typedef struct {
  const char *name;
  PyObject *(*get)(PyObject *, void *);
  int (*set)(PyObject *, PyObject *, void *);
  const char *doc;
  void *closure;
} PyGetSetDef;

enum {
  Py_bf_getbuffer = 1, Py_bf_releasebuffer = 2,
  Py_mp_ass_subscript = 3, Py_mp_length = 4, Py_mp_subscript = 5,
  Py_nb_add = 7, Py_nb_inplace_add = 15,
  Py_sq_concat = 40, Py_sq_contains = 41, Py_sq_inplace_concat = 42, Py_sq_inplace_repeat = 43,
  Py_sq_item = 44, Py_sq_length = 45, Py_sq_repeat = 46,
  Py_tp_alloc = 47, Py_tp_base = 48, Py_tp_call = 50, Py_tp_clear = 51, Py_tp_dealloc = 52, Py_tp_descr_get = 54,
  Py_tp_descr_set = 55, Py_tp_doc = 56, Py_tp_getattro = 58, Py_tp_hash = 59, Py_tp_init = 60, Py_tp_iter = 62,
  Py_tp_iternext = 63, Py_tp_methods = 64, Py_tp_new = 65, Py_tp_repr = 66, Py_tp_richcompare = 67,
  Py_tp_setattro = 69,
  Py_tp_traverse = 71, Py_tp_members = 72, Py_tp_getset = 73, Py_tp_free = 74,
  Py_tp_finalize = 80
};
enum {
  Py_TPFLAGS_IMMUTABLETYPE = 1 << 8, Py_TPFLAGS_BASETYPE = 1 << 10, Py_TPFLAGS_HAVE_GC = 1 << 14,
  Py_TPFLAGS_DISALLOW_INSTANTIATION = 1 << 7
};
enum { T_PYSSIZET = 19, READONLY = 1 };
#define PY_VECTORCALL_ARGUMENTS_OFFSET ((size_t)1 << 63)

#define ZMANAGED_API(X)                                                                        \
  X(PyObject *, PyType_FromSpecWithBases, (PyType_Spec *, PyObject *))                         \
  X(int, PyType_IsSubtype, (PyTypeObject *, PyTypeObject *))                                   \
  X(PyObject *, PyObject_GenericGetAttr, (PyObject *, PyObject *))                             \
  X(int, PyObject_GenericSetAttr, (PyObject *, PyObject *, PyObject *))                        \
  X(PyObject *, PyObject_GetAttr, (PyObject *, PyObject *))                                    \
  X(int, PyObject_SetAttr, (PyObject *, PyObject *, PyObject *))                               \
  X(PyObject *, _PyObject_GC_New, (PyTypeObject *))                                            \
  X(void, PyObject_GC_Del, (void *))                                                           \
  X(void, PyObject_GC_Track, (void *))                                                         \
  X(void, PyObject_GC_UnTrack, (void *))                                                       \
  X(void, PyObject_ClearWeakRefs, (PyObject *))                                                \
  X(PyObject *, PyLong_FromLongLong, (long long))                                              \
  X(PyObject *, PyLong_FromSsize_t, (Py_ssize_t))                                              \
  X(long long, PyLong_AsLongLongAndOverflow, (PyObject *, int *))                              \
  X(unsigned long long, PyLong_AsUnsignedLongLong, (PyObject *))                               \
  X(PyObject *, PyFloat_FromDouble, (double))                                                  \
  X(double, PyFloat_AsDouble, (PyObject *))                                                    \
  X(PyObject *, PyNumber_Index, (PyObject *))                                                  \
  X(Py_ssize_t, PyLong_AsSsize_t, (PyObject *))                                                \
  X(Py_ssize_t, PyNumber_AsSsize_t, (PyObject *, PyObject *))                                  \
  X(void, PyUnicode_InternInPlace, (PyObject **))                                              \
  X(int, PyUnicode_Compare, (PyObject *, PyObject *))                                          \
  X(int, PyObject_RichCompareBool, (PyObject *, PyObject *, int))                              \
  X(Py_ssize_t, PyObject_Hash, (PyObject *))                                                   \
  X(Py_ssize_t, PyTuple_Size, (PyObject *))                                                    \
  X(PyObject *, PyTuple_Pack, (Py_ssize_t, ...))                                               \
  X(PyObject *, PyObject_GetIter, (PyObject *))                                                \
  X(PyObject *, PySeqIter_New, (PyObject *))                                                   \
  X(PyObject *, PyObject_RichCompare, (PyObject *, PyObject *, int))                           \
  X(int, PyObject_SetItem, (PyObject *, PyObject *, PyObject *))                               \
  X(PyObject *, PyIter_Next, (PyObject *))                                                     \
  X(PyObject *, PySequence_List, (PyObject *))                                                 \
  X(Py_ssize_t, PyObject_LengthHint, (PyObject *, Py_ssize_t))                                 \
  X(int, PyIndex_Check, (PyObject *))                                                          \
  X(int, PySlice_Unpack, (PyObject *, Py_ssize_t *, Py_ssize_t *, Py_ssize_t *))               \
  X(Py_ssize_t, PySlice_AdjustIndices, (Py_ssize_t, Py_ssize_t *, Py_ssize_t *, Py_ssize_t))   \
  X(int, PyErr_ExceptionMatches, (PyObject *))                                                 \
  X(PyObject *, PyErr_NoMemory, (void))                                                        \
  X(void, PyErr_SetObject, (PyObject *, PyObject *))                                           \
  X(PyObject *, PyDict_GetItem, (PyObject *, PyObject *))                                      \
  X(int, PyDict_SetItem, (PyObject *, PyObject *, PyObject *))                                 \
  X(PyObject *, PyDict_GetItemWithError, (PyObject *, PyObject *))                             \
  X(PyObject *, PyDict_Copy, (PyObject *))                                                     \
  X(int, PyDict_Next, (PyObject *, Py_ssize_t *, PyObject **, PyObject **))                    \
  X(int, PyList_SetItem, (PyObject *, Py_ssize_t, PyObject *))                                 \
  X(PyObject *, PyModule_GetDict, (PyObject *))                                                \
  X(PyObject *, PyImport_GetModuleDict, (void))                                                \
  X(PyObject *, PyObject_Str, (PyObject *))                                                    \
  X(int, PyObject_IsInstance, (PyObject *, PyObject *))                                        \
  X(Py_ssize_t, PyGC_Collect, (void))

#define ZMANAGED_API_OBJECTS(X) \
  X(PyBaseObject_Type)          \
  X(PyLong_Type)                \
  X(PyFloat_Type)               \
  X(PyBool_Type)                \
  X(PyUnicode_Type)             \
  X(PySlice_Type)              \
  X(PyModule_Type)             \
  X(_Py_TrueStruct)             \
  X(_Py_FalseStruct)            \
  X(_Py_NotImplementedStruct)

#define ZMANAGED_API_EXCEPTIONS(X) \
  X(PyExc_AttributeError)          \
  X(PyExc_IndexError)              \
  X(PyExc_KeyError)                \
  X(PyExc_OverflowError)

typedef struct {
#define X(result, name, arguments) result(*name) arguments;
  ZMANAGED_API(X)
#undef X
#define X(name) PyObject *name;
  ZMANAGED_API_OBJECTS(X)
#undef X
#define X(name) PyObject **name;
  ZMANAGED_API_EXCEPTIONS(X)
#undef X
} zmanaged_api_t;

extern zhidden zmanaged_api_t zma;

/* Offsets in a type object; the same in every version served. */
enum {
  ZMANAGED_TYPE_NAME = 24,
  ZMANAGED_TYPE_BASICSIZE = 32,
  ZMANAGED_TYPE_DEALLOC = 48,
  ZMANAGED_TYPE_HASH = 120,
  ZMANAGED_TYPE_CALL = 128,
  ZMANAGED_TYPE_GETATTRO = 144,
  ZMANAGED_TYPE_SETATTRO = 152,
  ZMANAGED_TYPE_FLAGS = 168,
  ZMANAGED_TYPE_TRAVERSE = 184,
  ZMANAGED_TYPE_CLEAR = 192,
  ZMANAGED_TYPE_RICHCOMPARE = 200,
  ZMANAGED_TYPE_ITER = 216,
  ZMANAGED_TYPE_DICTOFFSET = 288,
  ZMANAGED_TYPE_INIT = 296,
  ZMANAGED_TYPE_ALLOC = 304,
  ZMANAGED_TYPE_NEW = 312,
  ZMANAGED_TYPE_FREE = 320,
  ZMANAGED_TYPE_FINALIZE = 392,
  ZMANAGED_TYPE_VECTORCALL = 400,
  ZMANAGED_FLOAT_VALUE = 16,
  ZMANAGED_INT_SIZE = 16, /* number of digits and sign, in some way */
  ZMANAGED_INT_DIGITS = 24
};

static inline void **zmanaged_type_word(PyTypeObject *type, size_t offset) {
  return (void **)((char *)type + offset);
}

/* False with an exception set: a function is missing, or the layout is another. GIL. */
bool zmanaged_api_prepare(void);

static inline PyObject *zmanaged_incref(PyObject *object) {
  if (zpyabi_layout->immortal) {
    zpy.Py_IncRef(object);
  } else {
    object->refcount++;
  }
  return object;
}

#endif
