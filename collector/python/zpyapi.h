/* CPython's C API, found with dlsym: one table of functions, no Python.h.
 *
 * A preloaded library is loaded into every process below the one that asked for it. A hard
 * reference to any Python symbol would keep /bin/ls from starting, and the headers of one CPython
 * version would bind us to its inline functions. So each function used is a row below and is called
 * as zpy.PyList_New(0).
 *
 * All rows marked NEED must be there for the library to become active; MAY rows can be NULL. */
#ifndef COLLECTOR_PYTHON_ZPYAPI_H
#define COLLECTOR_PYTHON_ZPYAPI_H

#include <sys/types.h>

#include "heap/base/zbase.h"

typedef ssize_t Py_ssize_t;
typedef struct zpy_object PyObject;
typedef struct zpy_object PyTypeObject; /* its fields are read through zpyabi.h */
typedef struct zpy_interpreter PyInterpreterState;
typedef struct zpy_thread PyThreadState;
typedef PyObject *(*PyCFunction)(PyObject *, PyObject *);
typedef int (*zpy_visit_t)(PyObject *, void *);
typedef int (*zpy_traverse_t)(PyObject *, zpy_visit_t, void *);
typedef int (*zpy_clear_t)(PyObject *);
typedef PyObject *(*zpy_vectorcall_t)(PyObject *, PyObject *const *, size_t, PyObject *);
typedef PyObject *(*zpy_new_t)(PyTypeObject *, PyObject *, PyObject *);
typedef int (*zpy_init_t)(PyObject *, PyObject *, PyObject *);

typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} PyMemAllocatorEx;

enum { PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ };

typedef struct {
  void *ctx;
  void *(*alloc)(void *ctx, size_t size);
  void (*free)(void *ctx, void *block, size_t size);
} PyObjectArenaAllocator;

typedef struct {
  const char *ml_name;
  PyCFunction ml_meth;
  int ml_flags;
  const char *ml_doc;
} PyMethodDef;

enum {
  METH_VARARGS = 0x0001,
  METH_KEYWORDS = 0x0002,
  METH_NOARGS = 0x0004,
  METH_O = 0x0008,
  METH_FASTCALL = 0x0080
};

typedef struct PyModuleDef_Base {
  Py_ssize_t ob_refcnt;
  PyObject *ob_type;
  PyObject *(*m_init)(void);
  Py_ssize_t m_index;
  PyObject *m_copy;
} PyModuleDef_Base;

typedef struct {
  int slot;
  void *value;
} PyModuleDef_Slot;

typedef struct PyModuleDef {
  PyModuleDef_Base m_base;
  const char *m_name;
  const char *m_doc;
  Py_ssize_t m_size;
  PyMethodDef *m_methods;
  PyModuleDef_Slot *m_slots;
  zpy_traverse_t m_traverse;
  int (*m_clear)(PyObject *);
  void (*m_free)(void *);
} PyModuleDef;

#define PyModuleDef_HEAD_INIT {1, NULL, NULL, 0, NULL}

/* A free-threaded build has two more words in front of each object's head: whose it is, and the owner's count.
 * Nobody's, and immortal, is what CPython makes its own static objects. */
typedef struct {
  uint64_t owner, owners_count;
  PyModuleDef def; /* its first word is the others' count */
} zpy_free_threaded_def_t;

#define ZPY_FREE_THREADED_HEAD_INIT 0, (uint64_t)UINT32_MAX << 32
#define PYTHON_API_VERSION 1013

#define ZPY_FUNCTIONS(NEED, MAY)                                                              \
  /* allocators, start-up, end */                                                             \
  NEED(void, PyMem_GetAllocator, (int, PyMemAllocatorEx *))                                   \
  NEED(void, PyMem_SetAllocator, (int, PyMemAllocatorEx *))                                   \
  NEED(int, PyImport_AppendInittab, (const char *, PyObject *(*)(void)))                      \
  NEED(int, Py_IsInitialized, (void))                                                         \
  NEED(int, Py_AddPendingCall, (int (*)(void *), void *))                                     \
  NEED(const char *, Py_GetVersion, (void))                                                   \
  NEED(PyInterpreterState *, PyInterpreterState_Get, (void))                                  \
  NEED(PyInterpreterState *, PyInterpreterState_Main, (void))                                 \
  NEED(PyThreadState *, PyEval_SaveThread, (void))                                            \
  NEED(void, PyEval_RestoreThread, (PyThreadState *))                                         \
  /* objects */                                                                               \
  NEED(void, Py_IncRef, (PyObject *))                                                         \
  NEED(void, Py_DecRef, (PyObject *))                                                         \
  NEED(PyObject *, PyObject_GetAttrString, (PyObject *, const char *))                        \
  NEED(int, PyObject_SetAttrString, (PyObject *, const char *, PyObject *))                   \
  NEED(PyObject *, PyObject_CallFunction, (PyObject *, const char *, ...))                    \
  NEED(PyObject *, PyObject_CallMethod, (PyObject *, const char *, const char *, ...))        \
  NEED(PyObject *, PyObject_CallObject, (PyObject *, PyObject *))                             \
  NEED(PyObject *, PyObject_Call, (PyObject *, PyObject *, PyObject *))                       \
  NEED(PyObject *, PyObject_Vectorcall, (PyObject *, PyObject *const *, size_t, PyObject *))  \
  NEED(PyObject *, PyObject_Repr, (PyObject *))                                               \
  NEED(Py_ssize_t, PyObject_Size, (PyObject *))                                               \
  NEED(int, PyObject_IsTrue, (PyObject *))                                                    \
  NEED(void, PyObject_GC_UnTrack, (void *))                                                   \
  NEED(PyObject *, PyList_New, (Py_ssize_t))                                                  \
  NEED(int, PyList_Append, (PyObject *, PyObject *))                                          \
  NEED(Py_ssize_t, PyList_Size, (PyObject *))                                                 \
  NEED(PyObject *, PyList_GetItem, (PyObject *, Py_ssize_t))                                  \
  NEED(int, PyList_SetSlice, (PyObject *, Py_ssize_t, Py_ssize_t, PyObject *))                \
  NEED(PyObject *, PyTuple_GetItem, (PyObject *, Py_ssize_t))                                 \
  NEED(PyObject *, PyTuple_New, (Py_ssize_t))                                                 \
  NEED(int, PyTuple_SetItem, (PyObject *, Py_ssize_t, PyObject *))                            \
  NEED(PyObject *, PySet_New, (PyObject *))                                                   \
  NEED(PyObject *, PyFrozenSet_New, (PyObject *))                                             \
  NEED(int, PySet_Add, (PyObject *, PyObject *))                                              \
  NEED(int, PySet_Discard, (PyObject *, PyObject *))                                          \
  NEED(PyObject *, PyDict_New, (void))                                                        \
  NEED(int, PyDict_SetItem, (PyObject *, PyObject *, PyObject *))                             \
  NEED(int, PyDict_DelItem, (PyObject *, PyObject *))                                         \
  NEED(int, PyDict_Next, (PyObject *, Py_ssize_t *, PyObject **, PyObject **))                \
  NEED(PyObject *, PyDict_GetItemString, (PyObject *, const char *))                          \
  NEED(int, PyDict_SetItemString, (PyObject *, const char *, PyObject *))                     \
  NEED(PyObject *, PyLong_FromLong, (long))                                                   \
  NEED(PyObject *, PyLong_FromUnsignedLongLong, (unsigned long long))                         \
  NEED(long, PyLong_AsLong, (PyObject *))                                                     \
  NEED(PyObject *, PyBool_FromLong, (long))                                                   \
  NEED(PyObject *, PyUnicode_FromString, (const char *))                                      \
  NEED(PyObject *, PyUnicode_FromFormat, (const char *, ...))                                 \
  NEED(const char *, PyUnicode_AsUTF8AndSize, (PyObject *, Py_ssize_t *))                     \
  NEED(PyObject *, Py_BuildValue, (const char *, ...))                                        \
  NEED(int, PyArg_ParseTupleAndKeywords, (PyObject *, PyObject *, const char *, char **, ...)) \
  NEED(PyObject *, PyCFunction_NewEx, (PyMethodDef *, PyObject *, PyObject *))                \
  NEED(PyObject *, PyImport_GetModuleDict, (void))                                            \
  NEED(PyObject *, PyModule_GetDict, (PyObject *))                                            \
  NEED(PyObject *, PyModule_Create2, (PyModuleDef *, int))                                    \
  NEED(PyObject *, PyModule_NewObject, (PyObject *))                                          \
  NEED(PyObject *, PyModule_FromDefAndSpec2, (PyModuleDef *, PyObject *, int))                \
  NEED(int, PyModule_ExecDef, (PyObject *, PyModuleDef *))                                    \
  NEED(PyObject *, PyInterpreterState_GetDict, (PyInterpreterState *))                        \
  NEED(PyObject *, PyCapsule_New, (void *, const char *, void (*)(PyObject *)))               \
  NEED(PyObject *, PySys_GetObject, (const char *))                                           \
  NEED(PyObject *, PyEval_GetBuiltins, (void))                                                \
  NEED(PyObject *, Py_CompileString, (const char *, const char *, int))                       \
  NEED(PyObject *, PyEval_EvalCode, (PyObject *, PyObject *, PyObject *))                     \
  NEED(void *, PyType_GetSlot, (PyTypeObject *, int))                                         \
  NEED(unsigned long, PyType_GetFlags, (PyTypeObject *))                                      \
  NEED(void, PyType_Modified, (PyTypeObject *))                                               \
  /* errors */                                                                                \
  NEED(PyObject *, PyErr_Occurred, (void))                                                    \
  NEED(void, PyErr_Clear, (void))                                                             \
  NEED(void, PyErr_SetString, (PyObject *, const char *))                                     \
  NEED(PyObject *, PyErr_Format, (PyObject *, const char *, ...))                             \
  NEED(void, PyErr_WriteUnraisable, (PyObject *))                                             \
  MAY(void, PyErr_FormatUnraisable, (const char *, ...))                                      \
  NEED(void, PyErr_Fetch, (PyObject **, PyObject **, PyObject **))                            \
  NEED(void, PyErr_Restore, (PyObject *, PyObject *, PyObject *))                             \
  NEED(int, PyErr_CheckSignals, (void))                                                       \
  /* the collector */                                                                         \
  NEED(int, PyGC_Enable, (void))                                                              \
  NEED(int, PyGC_Disable, (void))                                                             \
  NEED(int, PyGC_IsEnabled, (void))                                                           \
  MAY(void, PyMem_SetupDebugHooks, (void))                                                    \
  MAY(void, PyObject_GetArenaAllocator, (PyObjectArenaAllocator *))                           \
  MAY(void, PyObject_SetArenaAllocator, (PyObjectArenaAllocator *))                           \
  MAY(PyThreadState *, PyThreadState_GetUnchecked, (void))                                    \
  MAY(PyThreadState *, _PyThreadState_UncheckedGet, (void))                                   \
  MAY(PyThreadState *, PyThreadState_Get, (void))                                             \
  NEED(PyObject *, PyWeakref_NewRef, (PyObject *, PyObject *))                                \
  NEED(void, _PyWeakref_ClearRef, (PyObject *))                                               \
  MAY(zpy_vectorcall_t, PyVectorcall_Function, (PyObject *))                                  \
  MAY(int, PyObject_IsInstance, (PyObject *, PyObject *))                                     \
  NEED(void, PyObject_CallFinalizer, (PyObject *))                                            \
  MAY(int, PyObject_GC_IsFinalized, (PyObject *))                                             \
  /* allocation profile: proof and names of Python stacks */                                  \
  MAY(PyInterpreterState *, PyThreadState_GetInterpreter, (PyThreadState *))                  \
  MAY(int, PyUnstable_Module_SetGIL, (PyObject *, void *))                                    \
  MAY(PyObject *, PyThreadState_GetFrame, (PyThreadState *))                                  \
  MAY(void, PyThreadState_EnterTracing, (PyThreadState *))                                    \
  MAY(void, PyThreadState_LeaveTracing, (PyThreadState *))                                    \
  MAY(PyObject *, PyFrame_GetBack, (PyObject *))                                              \
  MAY(PyObject *, PyFrame_GetCode, (PyObject *))                                              \
  MAY(int, PyFrame_GetLasti, (PyObject *))                                                    \
  MAY(int, PyFrame_GetLineNumber, (PyObject *))                                               \
  MAY(int, PyCode_Addr2Line, (PyObject *, int))                                               \
  NEED(int, PyUnicode_FSConverter, (PyObject *, void *))                                      \
  NEED(PyObject *, PyUnicode_DecodeFSDefault, (const char *))                                 \
  NEED(const char *, PyBytes_AsString, (PyObject *))                                          \
  NEED(PyObject *, PyErr_SetFromErrnoWithFilename, (PyObject *, const char *))

/* Data symbols: addresses of objects, or of pointers to them (exceptions). */
#define ZPY_OBJECTS(NEED)      \
  NEED(_Py_NoneStruct)         \
  NEED(PyImport_Inittab)       \
  NEED(PyModule_Type)          \
  NEED(PyModuleDef_Type)       \
  NEED(PyType_Type)            \
  NEED(PyCode_Type)            \
  NEED(PyBaseObject_Type)      \
  NEED(PyList_Type)            \
  NEED(PyTuple_Type)           \
  NEED(PyDict_Type)            \
  NEED(PySet_Type)             \
  NEED(PyFrozenSet_Type)       \
  NEED(PyGen_Type)             \
  NEED(PyCoro_Type)            \
  NEED(PyAsyncGen_Type)        \
  NEED(_PyWeakref_RefType)     \
  NEED(_PyWeakref_ProxyType)   \
  NEED(_PyWeakref_CallableProxyType)

#define ZPY_EXCEPTIONS(NEED)   \
  NEED(PyExc_RuntimeError)     \
  NEED(PyExc_TypeError)        \
  NEED(PyExc_ValueError)       \
  NEED(PyExc_MemoryError)      \
  NEED(PyExc_OSError)          \
  NEED(PyExc_ImportError)

typedef struct {
#define X(result, name, arguments) result(*name) arguments;
  ZPY_FUNCTIONS(X, X)
#undef X
#define X(name) PyObject *name;
  ZPY_OBJECTS(X)
#undef X
#define X(name) PyObject **name;
  ZPY_EXCEPTIONS(X)
#undef X
} zpy_t;

extern zhidden zpy_t zpy;

/* True when this process has an interpreter at all (one dlsym). */
bool zpy_is_python(void);

/* Is this in the executable or library that the interpreter's code lies in? After zpy_resolve. */
bool zpy_is_code(const void *address);

/* A build without a GIL, whose objects have other heads: nothing here may look into one. */
bool zpy_is_free_threaded(void);

/* Fills the table. False, with the first missing name in *missing, when a NEED row is not found. library: from
 * dlopen, or NULL for the global scope. */
bool zpy_resolve(void *library, const char **missing);

#define zpy_None() (zpy._Py_NoneStruct)
PyObject *zpy_new_none(void); /* a new reference */

/* Of what may be NULL. */
static inline void zpy_release(PyObject *object) {
  if (object != NULL) zpy.Py_DecRef(object);
}

#endif
