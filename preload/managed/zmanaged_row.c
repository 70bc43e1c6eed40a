#include "preload/managed/zmanaged_row.h"

#include <string.h>

#include "preload/managed/zmanaged_iterator.h"
#include "preload/managed/zmanaged_number.h"
#include "preload/managed/zmanaged_sole.h"

/* ---- words --------------------------------------------------------------------------------------- */

bool zmanaged_row_error(PyObject *self) { return zmanaged_type_error("this needs a managed list or array", self); }

const char *zmanaged_row_name(PyObject *self) { return zmanaged_is_list(self) ? "list" : "array"; }

bool zmanaged_copy_python(zcolored_t word, zaddress_t holder, zcolored_t *copy) {
  PyObject *object = (PyObject *)zpyref_table.entries[zcolored_payload(word)].object;
  *copy = zcolored_none(); /* where it was released early, and reads as None */
  if (object == NULL) return true;
  uint32_t index = zpyref_alloc(object, zbody_page_is_old(zbody_page_of(holder)));
  if (index == 0) return zma.PyErr_NoMemory() != NULL;
  zmanaged_incref(object);
  zmanaged_sole_note(holder, object);
  *copy = zcolored_value(ZKIND_PYTHON, index);
  return true;
}

static inline bool is_python(zcolored_t word) { return zcolored_kind(word) == ZKIND_PYTHON; }

/* A word that may be stored again as it is, where no mark could miss what it owns. */
static inline bool may_go(zcolored_t word, bool marking) {
  return ((word.bits ^ zcolor.store_good) & ZCOLOR_STORE_MASK) == 0 && zcolored_is_load_good(word) &&
         !(marking && is_python(word));
}

static inline void move_word(uint64_t *to, uint64_t *from, bool marking) {
  zcolored_t word = {zload_acquire(from)}, overwritten = {zload_acquire(to)};
  if (zlikely(may_go(word, marking) && zcolored_is_store_good(overwritten))) {
    zstore_release(to, word.bits);
  } else {
    zbarrier_store(zslot(to), zmanaged_moved(zbarrier_load(zslot(from))));
  }
}

void zmanaged_row_move(uint64_t *to, uint64_t *from, Py_ssize_t count) {
  bool marking = zcolor.mark_now != 0; /* changes in pauses only, and there is no safepoint here */
  if (to <= from) {
    for (Py_ssize_t i = 0; i < count; i++) move_word(&to[i], &from[i], marking);
  } else {
    for (Py_ssize_t i = count; i-- > 0;) move_word(&to[i], &from[i], marking);
  }
}

void zmanaged_row_move_newborn(uint64_t *to, uint64_t *from, Py_ssize_t count) {
  for (Py_ssize_t i = 0; i < count; i++) {
    zstore_relaxed(&to[i], zmanaged_moved(zbarrier_load(zslot(&from[i]))).bits);
  }
}

void zmanaged_row_vacate(uint64_t *slots, Py_ssize_t count) {
  for (Py_ssize_t i = 0; i < count; i++) zbarrier_store(zslot(&slots[i]), zcolored_none());
}

void zmanaged_row_color(uint64_t *slots, Py_ssize_t count) {
  for (Py_ssize_t i = 0; i < count; i++) zstore_relaxed(&slots[i], zcolored_none().bits);
}

/* As zmanaged_copy_python, for a newborn that no handle stands for: young or old, as its page is. */
static zalways_inline bool copy_into_storage(zcolored_t word, bool is_old, zcolored_t *copy) {
  if (zlikely(!is_python(word))) return zmanaged_copy_word(word, zaddress(0), copy);
  PyObject *object = (PyObject *)zpyref_table.entries[zcolored_payload(word)].object;
  *copy = zcolored_none();
  if (zunlikely(object == NULL)) return true; /* released early */
  uint32_t index = zpyref_alloc(object, is_old);
  if (zunlikely(index == 0)) return zma.PyErr_NoMemory() != NULL;
  zmanaged_incref(object);
  *copy = zcolored_value(ZKIND_PYTHON, index);
  return true;
}

bool zmanaged_row_copy(zaddress_t newborn, const zrow_t *from, Py_ssize_t start, Py_ssize_t step, Py_ssize_t count) {
  uint64_t *to = zbody_elements(newborn);
  bool is_storage = zload_relaxed(&zbody_header(newborn)->handle) == 0;
  bool is_old = zbody_page_is_old(zbody_page_of(newborn));
  for (Py_ssize_t i = 0; i < count; i++) {
    Py_ssize_t at = start + i * step;
    zcolored_t copy = zcolored_none();
    if (zlikely(at < from->length)) {
      zcolored_t word = zbarrier_load(zslot(&from->slots[at]));
      bool ok = is_storage ? copy_into_storage(word, is_old, &copy) : zmanaged_copy_word(word, newborn, &copy);
      if (zunlikely(!ok)) return false;
    }
    zstore_relaxed(&to[i], copy.bits);
  }
  return true;
}

bool zmanaged_row_fill(zaddress_t newborn, PyObject *values, Py_ssize_t count) {
  uint64_t *to = zbody_elements(newborn);
  bool is_tuple = (PyObject *)values->type == zpy.PyTuple_Type;
  for (Py_ssize_t i = 0; i < count; i++) {
    PyObject *value = is_tuple ? zpy.PyTuple_GetItem(values, i) : zpy.PyList_GetItem(values, i);
    zcolored_t word;
    if (value == NULL || !zmanaged_prepare(value, newborn, &word)) return false;
    zstore_relaxed(&to[i], word.bits);
  }
  return true;
}

/* ---- comparing ----------------------------------------------------------------------------------- */

static inline PyObject *python_of(zcolored_t word) {
  return (PyObject *)zpyref_table.entries[zcolored_payload(word)].object;
}
static inline uint64_t bare(zcolored_t word) { return word.bits & ~(ZCOLOR_MASK & ~ZCOLOR_KIND_MASK); }
static inline bool is_text(PyObject *object) { return (PyObject *)object->type == zma.PyUnicode_Type; }

/* Two different objects. Comparing two strings runs no Python code. */
static int objects_are_equal(PyObject *a, PyObject *b) {
  if (!is_text(a) || !is_text(b)) return -1;
  return zma.PyUnicode_Compare(a, b) == 0;
}

int zmanaged_words_are_equal(zcolored_t a, zcolored_t b) {
  zkind_t kind = zcolored_kind(a);
  if (kind == ZKIND_PYTHON && is_python(b)) {
    PyObject *first = python_of(a), *second = python_of(b);
    if (first == second) return 1;
    return first == NULL || second == NULL ? -1 : objects_are_equal(first, second);
  }
  if (bare(a) == bare(b)) return 1;
  return kind == ZKIND_INT && zcolored_kind(b) == ZKIND_INT ? 0 : -1;
}

int zmanaged_word_is(zcolored_t word, PyObject *value) {
  PyObject *type = (PyObject *)value->type;
  int64_t number;
  switch (zcolored_kind(word)) {
    case ZKIND_INT:
      if (type != zma.PyLong_Type || !zmanaged_int_value(value, &number)) return -1;
      return number == (int64_t)word.bits >> ZCOLOR_PAYLOAD_SHIFT;
    case ZKIND_PYTHON: {
      PyObject *object = python_of(word);
      if (object == value) return 1;
      return object == NULL ? -1 : objects_are_equal(object, value);
    }
    case ZKIND_MANAGED:
      if (zcolored_payload(word) == 0) return value == zpy_None() ? 1 : -1;
      return zmanaged_is_handle(value) && zmanaged_body(value).value == zcolored_payload(word) ? 1 : -1;
    default:
      return -1;
  }
}

Py_ssize_t zmanaged_row_find(PyObject *self, PyObject *value, Py_ssize_t start, Py_ssize_t stop) {
  for (Py_ssize_t i = start;; i++) {
    if (!zmanaged_enter()) return -2;
    zrow_t row;
    if (!zmanaged_row_get(self, &row)) return -2;
    int same = 0;
    Py_ssize_t end = stop < row.length ? stop : row.length;
    zcolored_t word = {0};
    for (; i < end; i++) {
      word = zbarrier_load(zslot(&row.slots[i]));
      same = zmanaged_word_is(word, value);
      if (same != 0) break;
    }
    if (i >= end) return -1;
    if (same < 0) {
      PyObject *item = zmanaged_value(word);
      if (item == NULL) return -2;
      same = zma.PyObject_RichCompareBool(item, value, 2 /* == */);
      zpy.Py_DecRef(item);
    }
    if (same != 0) return same < 0 ? -2 : i;
  }
}

/* ---- what is dropped ----------------------------------------------------------------------------- */

bool zmanaged_drop_begin(zdropped_t *dropped, Py_ssize_t room) {
  dropped->count = 0;
  dropped->rest = NULL;
  if (room > (Py_ssize_t)ZARRAY_LENGTH(dropped->few)) dropped->rest = zpy.PyList_New(0);
  return dropped->rest != NULL || room <= (Py_ssize_t)ZARRAY_LENGTH(dropped->few);
}

void zmanaged_drop_add(zdropped_t *dropped, PyObject *owned) {
  if (dropped->count < ZARRAY_LENGTH(dropped->few)) {
    dropped->few[dropped->count++] = owned;
    return;
  }
  /* Where memory is out the reference stays for good. */
  if (dropped->rest != NULL && zpy.PyList_Append(dropped->rest, owned) == 0) {
    zpy.Py_DecRef(owned);
  } else {
    zpy.PyErr_Clear();
  }
}

void zmanaged_drop_finish(zdropped_t *dropped) {
  if (dropped->rest != NULL) zpy.Py_DecRef(dropped->rest);
  while (dropped->count > 0) zpy.Py_DecRef(dropped->few[--dropped->count]);
}

/* ---- elements ------------------------------------------------------------------------------------ */

static bool range_error(PyObject *self, const char *what) {
  zpy.PyErr_Format(*zma.PyExc_IndexError, "%s %sindex out of range", zmanaged_row_name(self), what);
  return false;
}

Py_ssize_t zmanaged_row_length(PyObject *self) {
  zrow_t row;
  return zmanaged_row_get(self, &row) ? row.length : -1;
}

PyObject *zmanaged_row_item(PyObject *self, Py_ssize_t i) {
  if (zunlikely(!zmanaged_enter())) return NULL;
  zrow_t row;
  if (zunlikely(!zmanaged_row_get(self, &row))) return NULL;
  if (zunlikely((size_t)i >= (size_t)row.length)) {
    range_error(self, "");
    return NULL;
  }
  return zmanaged_value(zbarrier_load(zslot(&row.slots[i])));
}

bool zmanaged_row_set(PyObject *self, Py_ssize_t i, PyObject *value) {
  zmanaged_poll();
  zrow_t row;
  if (zunlikely(!zmanaged_row_get(self, &row))) return false;
  if (zunlikely((size_t)i >= (size_t)row.length)) return range_error(self, "assignment ");
  return zmanaged_set(row.holder, zslot(&row.slots[i]), value);
}

bool zmanaged_row_key_error(PyObject *self, PyObject *key) {
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s indices must be integers or slices, not %s", zmanaged_row_name(self),
                   (const char *)*zmanaged_type_word(key->type, ZMANAGED_TYPE_NAME));
  return false;
}

bool zmanaged_row_index(PyObject *self, PyObject *key, Py_ssize_t *index) {
  Py_ssize_t i = zma.PyNumber_AsSsize_t(key, *zma.PyExc_IndexError);
  if (i == -1 && zpy.PyErr_Occurred() != NULL) return false;
  if (i < 0) {
    Py_ssize_t length = zmanaged_row_length(self);
    if (length < 0) return false;
    i += length;
  }
  *index = i;
  return true;
}

int zmanaged_row_contains(PyObject *self, PyObject *value) {
  Py_ssize_t found = zmanaged_row_find(self, value, 0, PTRDIFF_MAX);
  return found == -2 ? -1 : found >= 0;
}

/* Puts values into a list of ours up to the next safepoint. False when all are there. */
static bool fill_list(PyObject *list, PyObject *self, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t *at) {
  zrow_t row;
  if (!zmanaged_row_peek(self, &row) || stop > row.length) return true;
  Py_ssize_t i = *at;
  for (; i < stop && zmanaged_spare_handles != NULL && zload_relaxed(&zmanaged_poll_wanted) == 0; i++) {
    PyObject *value = zmanaged_value(zbarrier_load(zslot(&row.slots[i])));
    if (value == NULL) break; /* it is tried again, and fails there */
    zma.PyList_SetItem(list, i - start, value);
  }
  if (zunlikely(zpy.PyErr_Occurred() != NULL)) zpy.PyErr_Clear();
  *at = i;
  return i < stop;
}

PyObject *zmanaged_row_to_list(PyObject *self, Py_ssize_t start, Py_ssize_t stop) {
  Py_ssize_t length = zmanaged_row_length(self);
  if (length < 0) return NULL;
  stop = stop < length ? stop : length;
  PyObject *list = zpy.PyList_New(stop > start ? stop - start : 0);
  for (Py_ssize_t i = start; list != NULL && i < stop; i++) {
    if (!fill_list(list, self, start, stop, &i)) return list;
    PyObject *item = zmanaged_row_item(self, i);
    if (item == NULL && zma.PyErr_ExceptionMatches(*zma.PyExc_IndexError)) { /* it has become shorter */
      zpy.PyErr_Clear();
      if (zpy.PyList_SetSlice(list, i - start, stop - start, NULL) == 0) return list;
    }
    if (item != NULL && zma.PyList_SetItem(list, i - start, item) == 0) continue;
    zpy.Py_DecRef(list);
    list = NULL;
  }
  return list;
}

/* ---- methods of both ----------------------------------------------------------------------------- */

static bool bound(PyObject *object, Py_ssize_t *value) {
  if (!zma.PyIndex_Check(object)) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "slice indices must be integers or have an __index__ method");
    return false;
  }
  *value = zma.PyNumber_AsSsize_t(object, NULL); /* clipped */
  return *value != -1 || zpy.PyErr_Occurred() == NULL;
}

static Py_ssize_t clip(Py_ssize_t at, Py_ssize_t length) {
  if (at >= 0) return at;
  return at + length < 0 ? 0 : at + length;
}

PyObject *zmanaged_row_index_of(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  Py_ssize_t start = 0, stop = PTRDIFF_MAX;
  if (count < 1 || count > 3) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "index expected at %s, got %zd",
                     count < 1 ? "least 1 argument" : "most 3 arguments", count);
    return NULL;
  }
  if (count > 1 && !bound(arguments[1], &start)) return NULL;
  if (count > 2 && !bound(arguments[2], &stop)) return NULL;
  Py_ssize_t length = zmanaged_row_length(self);
  if (length < 0) return NULL;
  Py_ssize_t found = zmanaged_row_find(self, arguments[0], clip(start, length), clip(stop, length));
  if (found >= 0) return zma.PyLong_FromSsize_t(found);
  if (found == -1) {
    PyObject *text = zpy.PyObject_CallFunction(zpy.PyDict_GetItemString(zmanaged_helpers, "text_of_absent"), "sO",
                                               zmanaged_row_name(self), arguments[0]);
    if (text == NULL) return NULL;
    zma.PyErr_SetObject(*zpy.PyExc_ValueError, text);
    zpy.Py_DecRef(text);
  }
  return NULL;
}

PyObject *zmanaged_row_count_of(PyObject *self, PyObject *value) {
  Py_ssize_t count = 0, at = -1;
  while ((at = zmanaged_row_find(self, value, at + 1, PTRDIFF_MAX)) >= 0) count++;
  return at == -2 ? NULL : zma.PyLong_FromSsize_t(count);
}

PyObject *zmanaged_row_tolist(PyObject *self, PyObject *unused) {
  (void)unused;
  return zmanaged_row_to_list(self, 0, PTRDIFF_MAX);
}

bool zmanaged_row_assign(PyObject *self, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step, PyObject *values) {
  Py_ssize_t count = zpy.PyList_Size(values);
  zdropped_t dropped;
  if (!zmanaged_drop_begin(&dropped, count)) return false;
  zrow_t row;
  zmanaged_poll();
  bool ok = zmanaged_row_get(self, &row);
  Py_ssize_t elements = ok ? zma.PySlice_AdjustIndices(row.length, &start, &stop, step) : 0;
  if (ok && elements != count) {
    ok = false;
    zpy.PyErr_Format(*zpy.PyExc_ValueError,
                     zmanaged_is_list(self) ? "attempt to assign sequence of size %zd to extended slice of size %zd"
                                            : "cannot assign %zd values to %zd elements of an array",
                     count, elements);
  }
  for (Py_ssize_t i = 0; ok && i < count; i++) {
    zcolored_t word;
    ok = zmanaged_prepare(zpy.PyList_GetItem(values, i), row.holder, &word);
    if (ok) zmanaged_drop_replace(&dropped, &row.slots[start + i * step], word);
  }
  zmanaged_drop_finish(&dropped);
  return ok;
}

/* ---- iterator ------------------------------------------------------------------------------------ */

static PyTypeObject *iterator_type, *reverse_type;

static PyObject *iterator_next(PyObject *self) {
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  if (zunlikely(iterator->source == NULL) || zunlikely(!zmanaged_enter())) return NULL;
  zrow_t row;
  if (zunlikely(!zmanaged_row_get(iterator->source, &row))) return NULL;
  if (zlikely((uint64_t)iterator->next < (uint64_t)row.length)) {
    PyObject *value = zmanaged_value(zbarrier_load(zslot(&row.slots[iterator->next])));
    iterator->next += iterator->step;
    return value;
  }
  return zmanaged_iterator_end(iterator);
}

/* As list's: one from the end that is beyond it, because the row has become shorter, says 0. */
static PyObject *iterator_length(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  Py_ssize_t length = iterator->source == NULL ? 0 : zmanaged_row_length(iterator->source);
  if (zpy.PyErr_Occurred() != NULL) return NULL;
  if (iterator->source == NULL) return zma.PyLong_FromSsize_t(0);
  Py_ssize_t left = iterator->step > 0 ? length - iterator->next : iterator->next + 1;
  return zma.PyLong_FromSsize_t(left > 0 && left <= length ? left : 0);
}

static PyObject *iterator_reduce(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  if (iterator->source == NULL) return zmanaged_iterator_reduce_ended();
  PyObject *function = zmanaged_iterator_function(iterator->step > 0 ? "iter" : "reversed");
  return zpy.Py_BuildValue("O(O)n", function, iterator->source, (Py_ssize_t)iterator->next);
}

static PyObject *iterator_set_state(PyObject *self, PyObject *state) {
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)self;
  Py_ssize_t at = zma.PyNumber_AsSsize_t(state, NULL);
  if (at == -1 && zpy.PyErr_Occurred() != NULL) return NULL;
  if (iterator->source == NULL) return zpy_new_none();
  Py_ssize_t length = zmanaged_row_length(iterator->source), least = iterator->step > 0 ? 0 : -1;
  if (length < 0) return NULL;
  Py_ssize_t most = iterator->step > 0 ? length : length - 1;
  iterator->next = at < least ? least : at > most ? most : at;
  return zpy_new_none();
}

static PyMethodDef iterator_methods[] = {{"__length_hint__", iterator_length, METH_NOARGS, NULL},
                                         {"__reduce__", iterator_reduce, METH_NOARGS, NULL},
                                         {"__setstate__", iterator_set_state, METH_O, NULL},
                                         {NULL, NULL, 0, NULL}};

PyObject *zmanaged_row_iter(PyObject *self) { return (PyObject *)zmanaged_iterator_new(iterator_type, self, 0, 1); }

PyObject *zmanaged_row_reversed(PyObject *self, PyObject *unused) {
  (void)unused;
  Py_ssize_t length = zmanaged_row_length(self);
  return length < 0 ? NULL : (PyObject *)zmanaged_iterator_new(reverse_type, self, length - 1, -1);
}

bool zmanaged_row_start(void) {
  iterator_type = zmanaged_iterator_type("zgc.row_iterator", iterator_next, iterator_methods);
  reverse_type = zmanaged_iterator_type("zgc.row_reverseiterator", iterator_next, iterator_methods);
  return iterator_type != NULL && reverse_type != NULL;
}
