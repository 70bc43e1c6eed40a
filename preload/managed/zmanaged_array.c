/* zgc.Array: a body that is a row of slots, of a length that stays. */
#include "preload/managed/zmanaged_metaclass.h"
#include "preload/managed/zmanaged_row.h"

zshape_t *zmanaged_array_shape;
zclass_t *zmanaged_array_class;

PyObject *zmanaged_array_new(zclass_t *class, Py_ssize_t length) {
  if (length < 0) {
    zpy.PyErr_SetString(*zpy.PyExc_ValueError, "length must not be negative");
    return NULL;
  }
  if (!zmanaged_enter()) return NULL;
  return zmanaged_new_object(class, (uint64_t)length);
}

/* The values of a list or a tuple. No safepoint between the birth and the last value. */
static PyObject *array_of(zclass_t *class, PyObject *values) {
  PyObject *self = zmanaged_array_new(class, zpy.PyObject_Size(values));
  if (self == NULL) return NULL;
  zaddress_t array = zmanaged_body(self);
  if (zmanaged_row_fill(array, values, (Py_ssize_t)zbody_length(array))) return self;
  zpy.Py_DecRef(self);
  return NULL;
}

static PyObject *array_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)keywords;
  Py_ssize_t count = zma.PyTuple_Size(arguments);
  if (count > 2) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "Array() takes an iterable, and the type of its numbers");
    return NULL;
  }
  if (count == 2) {
    return zpy.PyObject_CallObject(zpy.PyDict_GetItemString(zmanaged_helpers, "raw_array"), arguments);
  }
  zclass_t *class = zmanaged_metaclass_to_make(type, ZFAMILY_ARRAY);
  if (class == NULL) return NULL;
  if (count == 0) return zmanaged_array_new(class, 0);
  PyObject *values = zma.PySequence_List(zpy.PyTuple_GetItem(arguments, 0));
  if (values == NULL) return NULL;
  PyObject *self = array_of(class, values);
  zpy.Py_DecRef(values);
  return self;
}

static int accept_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
  (void)self;
  (void)arguments;
  (void)keywords;
  return 0;
}

/* Array._new(n): n times None. */
static PyObject *array_of_length(PyObject *type, PyObject *length) {
  zclass_t *class = zmanaged_metaclass_to_make((PyTypeObject *)type, ZFAMILY_ARRAY);
  Py_ssize_t n = class == NULL ? -1 : zma.PyNumber_AsSsize_t(length, *zma.PyExc_OverflowError);
  if (class == NULL || (n == -1 && zpy.PyErr_Occurred() != NULL)) return NULL;
  return zmanaged_array_new(class, n);
}

static inline bool is_slice(PyObject *key) { return (PyObject *)key->type == zma.PySlice_Type; }

static PyObject *slice_of(PyObject *self, PyObject *key) {
  Py_ssize_t start, stop, step;
  if (zma.PySlice_Unpack(key, &start, &stop, &step) < 0) return NULL;
  Py_ssize_t length = zmanaged_row_length(self);
  if (length < 0) return NULL;
  Py_ssize_t count = zma.PySlice_AdjustIndices(length, &start, &stop, step);
  PyObject *made = zmanaged_array_new(zmanaged_array_class, count);
  if (made == NULL) return NULL;
  zrow_t row;
  if (zmanaged_row_get(self, &row) && zmanaged_row_copy(zmanaged_body(made), &row, start, step, count)) return made;
  zpy.Py_DecRef(made);
  return NULL;
}

static PyObject *array_subscript(PyObject *self, PyObject *key) {
  Py_ssize_t at;
  if (zlikely(zma.PyIndex_Check(key))) {
    return zmanaged_row_index(self, key, &at) ? zmanaged_row_item(self, at) : NULL;
  }
  if (is_slice(key)) return slice_of(self, key);
  zmanaged_row_key_error(self, key);
  return NULL;
}

static bool assign(PyObject *self, PyObject *key, PyObject *value) {
  Py_ssize_t at;
  if (value == NULL) return zmanaged_type_error("elements of an Array cannot be deleted", key);
  if (zlikely(zma.PyIndex_Check(key))) return zmanaged_row_index(self, key, &at) && zmanaged_row_set(self, at, value);
  if (!is_slice(key)) return zmanaged_row_key_error(self, key);
  Py_ssize_t start, stop, step;
  if (zma.PySlice_Unpack(key, &start, &stop, &step) != 0) return false;
  PyObject *values = zma.PySequence_List(value);
  bool ok = values != NULL && zmanaged_row_assign(self, start, stop, step, values);
  if (values != NULL) zpy.Py_DecRef(values);
  return ok;
}

static int array_ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  return assign(self, key, value) ? 0 : -1;
}

enum { METH_CLASS = 0x0010 };

static PyMethodDef array_methods[] = {{"_new", array_of_length, METH_O | METH_CLASS, NULL},
                                      {"index", (PyCFunction)(void (*)(void))zmanaged_row_index_of, METH_FASTCALL,
                                       "index(value, start=0, stop=sys.maxsize, /)\n--\n\nThe index of the first equal element."},
                                      {"count", zmanaged_row_count_of, METH_O, "count(value, /)\n--\n\nHow many elements are equal."},
                                      {"__reversed__", zmanaged_row_reversed, METH_NOARGS, "An iterator from the end."},
                                      {"tolist", zmanaged_row_tolist, METH_NOARGS, "tolist()\n--\n\nThe elements as a list."},
                                      {NULL, NULL, 0, NULL}};
static PyType_Slot array_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                    {Py_tp_traverse, zmanaged_handle_traverse},
                                    {Py_tp_clear, zmanaged_handle_clear},
                                    {Py_tp_getattro, NULL},
                                    {Py_tp_setattro, NULL},
                                    {Py_tp_new, array_new},
                                    {Py_tp_init, accept_init},
                                    {Py_tp_methods, array_methods},
                                    {Py_tp_iter, zmanaged_row_iter},
                                    {Py_mp_length, zmanaged_row_length},
                                    {Py_mp_subscript, array_subscript},
                                    {Py_mp_ass_subscript, array_ass_subscript},
                                    {Py_sq_length, zmanaged_row_length},
                                    {Py_sq_item, zmanaged_row_item},
                                    {Py_sq_contains, zmanaged_row_contains},
                                    {0, NULL}};
static PyType_Spec array_spec = {"zgc.Array", sizeof(zhandle_t), 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                 array_slots};

bool zmanaged_array_start(PyObject *names) {
  zmanaged_array_shape = zmanaged_class_make_shape(ZBODY_ARRAY);
  zmanaged_array_class = zmanaged_metaclass_make(names, ZFAMILY_ARRAY, &array_spec, ZBODY_SIZE_MIN, 0);
  return zmanaged_row_start() && zmanaged_array_class != NULL;
}
