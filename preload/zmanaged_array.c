/* zgc.Array: a body that is a row of slots. zgc.List: a body with a slot for such a row, which grows by
 * an eighth like Python's list. What is not here is in zmanaged.py, on top of these. */
#include "preload/zmanaged_types.h"

zshape_t *zmanaged_array_shape;
zclass_t *zmanaged_array_class;

#define LIST_STORAGE 8 /* slot: an array body, or None */
#define LIST_LENGTH 16 /* raw */
#define LIST_SIZE 24

static inline zslot_t element(zaddress_t array, Py_ssize_t i) {
  return zslot(&zbody_elements(array)[i]);
}
static inline zaddress_t list_storage(zaddress_t list) {
  return zcolored_strip(zbarrier_load(zslot((uint64_t *)(list.value + LIST_STORAGE))));
}
static inline Py_ssize_t *list_length(zaddress_t list) {
  return (Py_ssize_t *)(list.value + LIST_LENGTH);
}

/* what: "" or "assignment " */
static bool index_error(PyObject *self, const char *what) {
  bool is_array = zbody_shape(zmanaged_body(self))->kind == ZBODY_ARRAY;
  zpy.PyErr_Format(*zma.PyExc_IndexError, "%s %sindex out of range", is_array ? "array" : "list", what);
  return false;
}

/* The row of slots behind a handle, and how many count. */
static inline zaddress_t row_of(PyObject *self, Py_ssize_t *length) {
  zaddress_t body = zmanaged_body(self);
  if (zbody_shape(body)->kind == ZBODY_ARRAY) {
    *length = (Py_ssize_t)zbody_length(body);
    return body;
  }
  *length = *list_length(body);
  return list_storage(body);
}

static Py_ssize_t row_length(PyObject *self) {
  Py_ssize_t length;
  zmanaged_poll();
  row_of(self, &length);
  return length;
}

static PyObject *row_item(PyObject *self, Py_ssize_t i) {
  if (zunlikely(!zmanaged_enter())) return NULL;
  Py_ssize_t length;
  zaddress_t row = row_of(self, &length);
  if (zunlikely((size_t)i >= (size_t)length)) {
    index_error(self, "");
    return NULL;
  }
  return zmanaged_value(zbarrier_load(element(row, i)));
}

static bool row_set(PyObject *self, Py_ssize_t i, PyObject *value) {
  zmanaged_poll();
  Py_ssize_t length;
  zaddress_t row = row_of(self, &length);
  if (zunlikely((size_t)i >= (size_t)length)) return index_error(self, "assignment ");
  return zmanaged_set(row, element(row, i), value);
}

static PyObject *helper(const char *name, PyObject *self, PyObject *key, PyObject *value) {
  PyObject *function = zpy.PyDict_GetItemString(zmanaged_helpers, name);
  return value != NULL ? zpy.PyObject_CallFunction(function, "OOO", self, key, value)
                       : zpy.PyObject_CallFunction(function, "OO", self, key);
}

static bool as_index(PyObject *key, Py_ssize_t *index) {
  *index = zma.PyNumber_AsSsize_t(key, *zma.PyExc_IndexError);
  return *index != -1 || zpy.PyErr_Occurred() == NULL;
}

static PyObject *row_subscript(PyObject *self, PyObject *key) {
  if (zlikely(zma.PyIndex_Check(key))) {
    Py_ssize_t i, length;
    if (!as_index(key, &i)) return NULL;
    if (i < 0) {
      row_of(self, &length);
      i += length;
    }
    return row_item(self, i);
  }
  return helper("row_slice", self, key, NULL);
}

static int row_ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  if (zlikely(value != NULL && zma.PyIndex_Check(key))) {
    Py_ssize_t i, length;
    if (!as_index(key, &i)) return -1;
    if (i < 0) {
      row_of(self, &length);
      i += length;
    }
    return row_set(self, i, value) ? 0 : -1;
  }
  PyObject *result = value != NULL ? helper("row_set_slice", self, key, value)
                                   : helper("row_delete", self, key, NULL);
  if (result == NULL) return -1;
  zpy.Py_DecRef(result);
  return 0;
}

static PyObject *row_iter(PyObject *self) { return zma.PySeqIter_New(self); }

/* ---- Array --------------------------------------------------------------------------------------- */

static PyObject *new_array(zclass_t *class, Py_ssize_t length) {
  if (length < 0) {
    zpy.PyErr_SetString(*zpy.PyExc_ValueError, "length must not be negative");
    return NULL;
  }
  if (!zmanaged_enter()) return NULL;
  return zmanaged_new_object(class, (uint64_t)length);
}

static bool fill_from_list(PyObject *self, PyObject *list) {
  Py_ssize_t count = zpy.PyList_Size(list);
  for (Py_ssize_t i = 0; i < count; i++) {
    if (!row_set(self, i, zpy.PyList_GetItem(list, i))) return false;
  }
  return true;
}

static PyObject *array_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)keywords;
  Py_ssize_t count = zma.PyTuple_Size(arguments);
  if (count > 1) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "Array() takes one iterable");
    return NULL;
  }
  zclass_t *class = zmanaged_class_to_make(type, ZFAMILY_ARRAY);
  if (class == NULL) return NULL;
  if (count == 0) return new_array(class, 0);
  PyObject *list = zma.PySequence_List(zpy.PyTuple_GetItem(arguments, 0));
  if (list == NULL) return NULL;
  PyObject *self = new_array(class, zpy.PyList_Size(list));
  if (self != NULL && !fill_from_list(self, list)) {
    zpy.Py_DecRef(self);
    self = NULL;
  }
  zpy.Py_DecRef(list);
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
  zclass_t *class = zmanaged_class_to_make((PyTypeObject *)type, ZFAMILY_ARRAY);
  Py_ssize_t n;
  if (class == NULL || !as_index(length, &n)) return NULL;
  return new_array(class, n);
}

enum { METH_CLASS = 0x0010 };

static PyMethodDef array_methods[] = {{"_new", array_of_length, METH_O | METH_CLASS, NULL},
                                      {NULL, NULL, 0, NULL}};
static PyType_Slot array_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                    {Py_tp_traverse, zmanaged_handle_traverse},
                                    {Py_tp_clear, zmanaged_handle_clear},
                                    {Py_tp_new, array_new},
                                    {Py_tp_init, accept_init},
                                    {Py_tp_methods, array_methods},
                                    {Py_mp_length, row_length},
                                    {Py_mp_subscript, row_subscript},
                                    {Py_mp_ass_subscript, row_ass_subscript},
                                    {Py_sq_length, row_length},
                                    {Py_sq_item, row_item},
                                    {Py_tp_iter, row_iter},
                                    {0, NULL}};
static PyType_Spec array_spec = {"zgc._Array", sizeof(zhandle_t), 0,
                                 Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, array_slots};

/* ---- List ---------------------------------------------------------------------------------------- */

/* Room for one more element. May run Python code (a stall), which may change the list: hence the loop. */
static bool reserve(PyObject *self) {
  for (;;) {
    zaddress_t list = zmanaged_body(self);
    zaddress_t storage = list_storage(list);
    Py_ssize_t count = *list_length(list);
    if (zlikely(!zaddress_is_null(storage) && count < (Py_ssize_t)zbody_length(storage))) return true;
    zaddress_t bigger = zmanaged_new_body(zmanaged_array_shape, (uint64_t)(count + count / 8 + 4));
    if (zaddress_is_null(bigger)) return false;
    list = zmanaged_body(self);
    storage = list_storage(list);
    if (*list_length(list) > (Py_ssize_t)zbody_length(bigger)) continue;
    count = *list_length(list);
    for (Py_ssize_t i = 0; i < count; i++) {
      zbarrier_store(element(bigger, i), zmanaged_moved(zbarrier_load(element(storage, i))));
    }
    zbarrier_store(zslot((uint64_t *)(list.value + LIST_STORAGE)), zcolored_store_good(bigger));
  }
}

static bool append(PyObject *self, PyObject *value) {
  zmanaged_poll();
  if (!reserve(self)) return false;
  zaddress_t list = zmanaged_body(self);
  zaddress_t storage = list_storage(list);
  zcolored_t word;
  if (!zmanaged_prepare(value, storage, &word)) return false;
  zbarrier_store(element(storage, (*list_length(list))++), word);
  return true;
}

static PyObject *list_append(PyObject *self, PyObject *value) {
  return append(self, value) ? zpy_new_none() : NULL;
}

static PyObject *list_extend(PyObject *self, PyObject *values) {
  /* Itself would not end. */
  PyObject *source = values == self ? zma.PySequence_List(values) : zmanaged_incref(values);
  PyObject *iterator = source == NULL ? NULL : zma.PyObject_GetIter(source);
  if (source != NULL) zpy.Py_DecRef(source);
  if (iterator == NULL) return NULL;
  bool ok = true;
  PyObject *value;
  while (ok && (value = zma.PyIter_Next(iterator)) != NULL) {
    ok = append(self, value);
    zpy.Py_DecRef(value);
  }
  zpy.Py_DecRef(iterator);
  return ok && zpy.PyErr_Occurred() == NULL ? zpy_new_none() : NULL;
}

/* Moves [from, length) by one place up or down and adjusts the length. */
static void shift_up(zaddress_t list, Py_ssize_t from) {
  zaddress_t storage = list_storage(list);
  for (Py_ssize_t i = *list_length(list); i > from; i--) {
    zbarrier_store(element(storage, i), zmanaged_moved(zbarrier_load(element(storage, i - 1))));
  }
  ++*list_length(list);
}
static void shift_down(zaddress_t list, Py_ssize_t to) {
  zaddress_t storage = list_storage(list);
  Py_ssize_t last = --*list_length(list);
  for (Py_ssize_t i = to; i < last; i++) {
    zbarrier_store(element(storage, i), zmanaged_moved(zbarrier_load(element(storage, i + 1))));
  }
  zbarrier_store(element(storage, last), zcolored_none());
}

/* Turns the elements of [from, to) round. Runs no Python code. */
static void turn(zaddress_t storage, Py_ssize_t from, Py_ssize_t to) {
  for (to--; from < to; from++, to--) {
    zcolored_t first = zmanaged_moved(zbarrier_load(element(storage, from)));
    zcolored_t last = zmanaged_moved(zbarrier_load(element(storage, to)));
    zbarrier_store(element(storage, from), last);
    zbarrier_store(element(storage, to), first);
  }
}

static void truncate(PyObject *self, Py_ssize_t length);

/* _splice(start, stop, values): the elements between give way to those of a plain list. The new ones are
 * added at the end, then both, with what lies between, change places. */
static PyObject *list_splice(PyObject *self, PyObject *arguments) {
  Py_ssize_t start, stop;
  if (zma.PyTuple_Size(arguments) != 3 || zpy.PyTuple_GetItem(arguments, 2)->type != (PyTypeObject *)zpy.PyList_Type) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "_splice takes two indexes and a list");
    return NULL;
  }
  if (!as_index(zpy.PyTuple_GetItem(arguments, 0), &start)) return NULL;
  if (!as_index(zpy.PyTuple_GetItem(arguments, 1), &stop)) return NULL;
  PyObject *values = zpy.PyTuple_GetItem(arguments, 2);
  start = start > 0 ? start : 0;
  stop = stop > start ? stop : start;
  Py_ssize_t added = zpy.PyList_Size(values);
  for (Py_ssize_t i = 0; i < added; i++) {
    if (append(self, zpy.PyList_GetItem(values, i))) continue;
    truncate(self, *list_length(zmanaged_body(self)) - i);
    return NULL;
  }
  zaddress_t list = zmanaged_body(self), storage = list_storage(list);
  Py_ssize_t length = *list_length(list);
  /* An allocation that had to wait may have run code that changed the list. */
  added = added < length ? added : length;
  stop = stop < length - added ? stop : length - added;
  start = start < stop ? start : stop;
  Py_ssize_t gone = stop - start;
  turn(storage, start, length);
  turn(storage, start, start + added);
  turn(storage, start + added, length - gone);
  turn(storage, length - gone, length);
  truncate(self, length - gone);
  return zpy_new_none();
}

/* _insert(index, value); index is already within bounds. */
static PyObject *list_insert(PyObject *self, PyObject *arguments) {
  Py_ssize_t at;
  if (zma.PyTuple_Size(arguments) != 2) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "_insert takes an index and a value");
    return NULL;
  }
  if (!as_index(zpy.PyTuple_GetItem(arguments, 0), &at)) return NULL;
  PyObject *value = zpy.PyTuple_GetItem(arguments, 1);
  zmanaged_poll();
  if (!reserve(self)) return NULL;
  zaddress_t list = zmanaged_body(self);
  zcolored_t word;
  if (!zmanaged_prepare(value, list_storage(list), &word)) return NULL;
  Py_ssize_t length = *list_length(list);
  at = at < 0 ? at + length : at;
  at = at < 0 ? 0 : at > length ? length : at;
  shift_up(list, at);
  zbarrier_store(element(list_storage(list), at), word);
  return zpy_new_none();
}

static PyObject *list_pop(PyObject *self, PyObject *arguments) {
  Py_ssize_t at = -1, count = zma.PyTuple_Size(arguments);
  if (count > 1) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "pop expected at most 1 argument, got %zd", count);
    return NULL;
  }
  if (count > 0 && !as_index(zpy.PyTuple_GetItem(arguments, 0), &at)) return NULL;
  if (!zmanaged_enter()) return NULL;
  zaddress_t list = zmanaged_body(self);
  Py_ssize_t length = *list_length(list);
  if (at < 0) at += length;
  if ((size_t)at >= (size_t)length) {
    zpy.PyErr_SetString(*zma.PyExc_IndexError, length == 0 ? "pop from empty list" : "pop index out of range");
    return NULL;
  }
  zslot_t slot = element(list_storage(list), at);
  PyObject *value = zmanaged_value(zbarrier_load(slot));
  if (value == NULL) return NULL;
  /* The value's creation ran no Python code that could move anything: no safepoint since enter. */
  list = zmanaged_body(self);
  slot = element(list_storage(list), at);
  PyObject *owned = zmanaged_replace(slot, zcolored_none());
  shift_down(list, at);
  if (owned != NULL) zpy.Py_DecRef(owned);
  return value;
}

/* Forgets the elements behind; what they own may run Python code. */
static void truncate(PyObject *self, Py_ssize_t length) {
  for (;;) {
    zmanaged_poll();
    zaddress_t list = zmanaged_body(self);
    if (*list_length(list) <= length) return;
    PyObject *owned = NULL;
    for (unsigned i = 0; i < 256 && owned == NULL && *list_length(list) > length; i++) {
      owned = zmanaged_replace(element(list_storage(list), --*list_length(list)), zcolored_none());
    }
    if (owned != NULL) zpy.Py_DecRef(owned);
  }
}

static PyObject *list_truncate(PyObject *self, PyObject *length) {
  Py_ssize_t n;
  if (!as_index(length, &n)) return NULL;
  truncate(self, n > 0 ? n : 0);
  return zpy_new_none();
}

static PyObject *list_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)arguments;
  (void)keywords;
  zclass_t *class = zmanaged_class_to_make(type, ZFAMILY_LIST);
  return class == NULL ? NULL : zmanaged_object_make(class);
}

static PyMethodDef list_methods[] = {{"append", list_append, METH_O, NULL},
                                     {"extend", list_extend, METH_O, NULL},
                                     {"_splice", list_splice, METH_VARARGS, NULL},
                                     {"_insert", list_insert, METH_VARARGS, NULL},
                                     {"pop", list_pop, METH_VARARGS, NULL},
                                     {"_truncate", list_truncate, METH_O, NULL},
                                     {NULL, NULL, 0, NULL}};
static PyType_Slot list_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                   {Py_tp_traverse, zmanaged_handle_traverse},
                                   {Py_tp_clear, zmanaged_handle_clear},
                                   {Py_tp_new, list_new},
                                   {Py_tp_init, accept_init},
                                   {Py_tp_methods, list_methods},
                                   {Py_mp_length, row_length},
                                   {Py_mp_subscript, row_subscript},
                                   {Py_mp_ass_subscript, row_ass_subscript},
                                   {Py_sq_length, row_length},
                                   {Py_sq_item, row_item},
                                   {Py_tp_iter, row_iter},
                                   {0, NULL}};
static PyType_Spec list_spec = {"zgc._List", sizeof(zhandle_t), 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                list_slots};

bool zmanaged_array_start(PyObject *names) {
  zmanaged_array_shape = zmanaged_class_make_shape(ZBODY_ARRAY);
  zmanaged_array_class = zmanaged_class_make(names, ZFAMILY_ARRAY, &array_spec, ZBODY_SIZE_MIN, 0);
  return zmanaged_array_class != NULL &&
         zmanaged_class_make(names, ZFAMILY_LIST, &list_spec, LIST_SIZE, 1u << (LIST_STORAGE / 8));
}
