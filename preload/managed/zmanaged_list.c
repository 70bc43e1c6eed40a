/* zgc.List: a body with a slot for a row of slots, which grows by half at the end that is in need.
 *
 * The row may begin behind the storage's first slot, so that elements come and go at both ends without the
 * others being moved. Every change is made of two steps, a gap that opens and a gap that closes, and no
 * Python code runs between the first and the last word that a change moves; only an allocation may run some,
 * before anything has changed, and what references end is dropped after all is in order again. */
#include "preload/managed/zmanaged_gap.h"
#include "preload/managed/zmanaged_metaclass.h"
#include "preload/managed/zmanaged_row.h"

static zclass_t *list_class;

static bool open_gap(PyObject *self, Py_ssize_t *at, Py_ssize_t count) {
  return count == 0 || zmanaged_gap_open(self, at, count);
}

/* ---- checks -------------------------------------------------------------------------------------- */

/* A method gets no object but a handle, of whatever body. */
static inline bool check_list(PyObject *self) {
  bool ok = zbody_shape(zmanaged_body(self))->use == ZFAMILY_LIST;
  return zlikely(ok) || zmanaged_type_error("this needs a managed list", self);
}

static bool count_error(const char *name, Py_ssize_t least, Py_ssize_t most, Py_ssize_t got) {
  if (least == most) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s expected %zd argument%s, got %zd", name, least,
                     least == 1 ? "" : "s", got);
  } else {
    Py_ssize_t bound = got < least ? least : most;
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s expected at %s %zd argument%s, got %zd", name,
                     got < least ? "least" : "most", bound, bound == 1 ? "" : "s", got);
  }
  return false;
}

/* A number that a method takes; as of list it must fit. */
static bool number_of(PyObject *argument, Py_ssize_t *number) {
  PyObject *index = zma.PyNumber_Index(argument);
  if (index == NULL) return false;
  *number = zma.PyLong_AsSsize_t(index);
  zpy.Py_DecRef(index);
  return *number != -1 || zpy.PyErr_Occurred() == NULL;
}

static inline bool is_plain_list(PyObject *object) { return (PyObject *)object->type == zpy.PyList_Type; }
static inline bool is_any_list(PyObject *object) {
  return zma.PyType_IsSubtype(object->type, (PyTypeObject *)zpy.PyList_Type) || zmanaged_is_list(object);
}

/* ---- whole lists --------------------------------------------------------------------------------- */

/* A new list of `count` elements, whose slots are to be filled before the next safepoint. */
static PyObject *new_list(Py_ssize_t count, zaddress_t *storage) {
  if (!zmanaged_enter()) return NULL;
  PyObject *made = zmanaged_new_object(list_class, 0);
  if (made == NULL || count == 0) return made;
  *storage = zmanaged_new_body(zmanaged_array_shape, (uint64_t)count);
  if (zaddress_is_null(*storage)) {
    zpy.Py_DecRef(made);
    return NULL;
  }
  zaddress_t list = zmanaged_body(made);
  zbarrier_store(zslot((uint64_t *)(list.value + ZLIST_STORAGE)), zcolored_store_good(*storage));
  *zlist_length(list) = count;
  return made;
}

/* Elements of a row, every step-th, as a new list. Making it may run code that makes the row shorter: what is
 * not there any more stays None. */
static PyObject *copy_of(PyObject *self, Py_ssize_t start, Py_ssize_t step, Py_ssize_t count) {
  zaddress_t storage;
  PyObject *made = new_list(count, &storage);
  if (made == NULL || count == 0) return made;
  zrow_t row;
  if (zmanaged_row_get(self, &row) && zmanaged_row_copy(storage, &row, start, step, count)) return made;
  zpy.Py_DecRef(made);
  return NULL;
}

/* Writes `count` elements of `source`, a row, a list or a tuple, over those of the list from `at` on, which
 * are None. No safepoint. */
static bool fill(PyObject *self, Py_ssize_t at, PyObject *source, Py_ssize_t count) {
  zrow_t row = zlist_row(zmanaged_body(self)), from;
  bool from_row = zmanaged_is_row(source) && zmanaged_row_peek(source, &from);
  bool from_list = !from_row && (PyObject *)source->type != zpy.PyTuple_Type;
  for (Py_ssize_t i = 0; i < count; i++) {
    zcolored_t word;
    if (from_row) {
      if (i >= from.length) break;
      if (!zmanaged_copy_word(zbarrier_load(zslot(&from.slots[i])), row.holder, &word)) return false;
    } else {
      PyObject *value = from_list ? zpy.PyList_GetItem(source, i) : zpy.PyTuple_GetItem(source, i);
      if (value == NULL || !zmanaged_prepare(value, row.holder, &word)) return false;
    }
    zbarrier_store(zslot(&row.slots[at + i]), word);
  }
  return true;
}

/* ---- adding and removing ------------------------------------------------------------------------- */

static inline bool append(PyObject *self, PyObject *value) {
  zmanaged_poll();
  if (zunlikely(!check_list(self))) return false;
  for (;;) {
    zaddress_t list = zmanaged_body(self), storage = zlist_storage(list);
    Py_ssize_t length = *zlist_length(list), end = *zlist_start(list) + length;
    if (zlikely(end < zmanaged_gap_capacity(storage))) {
      zcolored_t word;
      if (zunlikely(!zmanaged_prepare(value, storage, &word))) return false;
      zbarrier_store(zslot(&zbody_elements(storage)[end]), word);
      *zlist_length(list) = length + 1;
      return true;
    }
    if (!zmanaged_gap_make_room(self)) return false;
  }
}

static PyObject *list_append(PyObject *self, PyObject *value) {
  return zlikely(append(self, value)) ? zmanaged_none() : NULL;
}

/* Behind the last one. The source is a row, a list or a tuple; its length is asked for once. */
static bool extend_by_row(PyObject *self, PyObject *source, Py_ssize_t count) {
  Py_ssize_t at = *zlist_length(zmanaged_body(self));
  if (!open_gap(self, &at, count)) return false;
  Py_ssize_t now = zmanaged_is_row(source) ? zmanaged_row_length(source) : zpy.PyObject_Size(source);
  if (fill(self, at, source, count < now ? count : now)) return true;
  zdropped_t dropped;
  if (zmanaged_drop_begin(&dropped, count)) {
    zmanaged_gap_close(zmanaged_body(self), at, count, &dropped);
    zmanaged_drop_finish(&dropped);
  }
  return false;
}

static bool extend_by_iterable(PyObject *self, PyObject *values) {
  PyObject *iterator = zma.PyObject_GetIter(values);
  if (iterator == NULL) return false;
  bool ok = zma.PyObject_LengthHint(values, 8) >= 0; /* list asks, and so an exception of it counts */
  PyObject *value;
  while (ok && (value = zma.PyIter_Next(iterator)) != NULL) {
    ok = append(self, value);
    zpy.Py_DecRef(value);
  }
  zpy.Py_DecRef(iterator);
  return ok && zpy.PyErr_Occurred() == NULL;
}

static bool extend(PyObject *self, PyObject *values) {
  zmanaged_poll();
  if (!check_list(self)) return false;
  if (is_plain_list(values) || (PyObject *)values->type == zpy.PyTuple_Type) {
    return extend_by_row(self, values, zpy.PyObject_Size(values));
  }
  bool own_way = zmanaged_is_row(values) &&
                 *zmanaged_type_word(values->type, ZMANAGED_TYPE_ITER) == (void *)zmanaged_row_iter;
  return own_way ? extend_by_row(self, values, zmanaged_row_length(values)) : extend_by_iterable(self, values);
}

static PyObject *list_extend(PyObject *self, PyObject *values) { return extend(self, values) ? zmanaged_none() : NULL; }

static PyObject *list_insert(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  if (count != 2) {
    count_error("insert", 2, 2, count);
    return NULL;
  }
  Py_ssize_t at;
  if (!number_of(arguments[0], &at)) return NULL;
  zmanaged_poll();
  if (!check_list(self)) return NULL;
  Py_ssize_t length = *zlist_length(zmanaged_body(self));
  at = at < 0 ? at + length : at;
  at = at < 0 ? 0 : at > length ? length : at;
  if (!zmanaged_gap_open(self, &at, 1)) return NULL;
  zrow_t row = zlist_row(zmanaged_body(self));
  zcolored_t word;
  if (!zmanaged_prepare(arguments[1], row.holder, &word)) {
    zdropped_t none = {.count = 0};
    zmanaged_gap_close(zmanaged_body(self), at, 1, &none);
    return NULL;
  }
  zbarrier_store(zslot(&row.slots[at]), word);
  return zmanaged_none();
}

static PyObject *pop_at(PyObject *self, Py_ssize_t at, const char *message) {
  if (zunlikely(!zmanaged_enter()) || zunlikely(!check_list(self))) return NULL;
  zrow_t row = zlist_row(zmanaged_body(self));
  if (at < 0) at += row.length;
  if ((size_t)at >= (size_t)row.length) {
    zpy.PyErr_SetString(*zma.PyExc_IndexError, row.length == 0 && message == NULL ? "pop from empty list"
                                               : message != NULL                  ? message
                                                                                  : "pop index out of range");
    return NULL;
  }
  PyObject *value = zmanaged_value(zbarrier_load(zslot(&row.slots[at])));
  if (value == NULL) return NULL;
  zdropped_t dropped = {.count = 0}; /* making the value was no safepoint */
  zmanaged_gap_close(zmanaged_body(self), at, 1, &dropped);
  zmanaged_drop_finish(&dropped);
  return value;
}

static PyObject *list_pop(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  Py_ssize_t at = -1;
  if (count > 1) {
    count_error("pop", 0, 1, count);
    return NULL;
  }
  if (count == 1 && !number_of(arguments[0], &at)) return NULL;
  return pop_at(self, at, NULL);
}

/* [start, stop) gives way to the elements of a plain list that nobody else knows. */
static bool replace(PyObject *self, Py_ssize_t start, Py_ssize_t stop, PyObject *values) {
  Py_ssize_t added = values == NULL ? 0 : zpy.PyList_Size(values);
  zdropped_t dropped;
  if (!zmanaged_drop_begin(&dropped, stop - start)) return false;
  Py_ssize_t gone = stop - start, at = stop, kept = added < gone ? added : gone;
  bool ok = open_gap(self, &at, added - kept);
  zaddress_t list = zmanaged_body(self);
  if (ok && (at != stop || *zlist_length(list) < stop)) { /* waiting for memory ran code that changed the list */
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "list changed while it waited for memory");
    ok = false;
  }
  zrow_t row = zlist_row(list);
  for (Py_ssize_t i = 0; ok && i < added; i++) {
    zcolored_t word;
    ok = zmanaged_prepare(zpy.PyList_GetItem(values, i), row.holder, &word);
    if (ok) zmanaged_drop_replace(&dropped, &row.slots[start + i], word);
  }
  if (ok && gone > kept) zmanaged_gap_close(list, start + kept, gone - kept, &dropped);
  zmanaged_drop_finish(&dropped);
  return ok;
}

/* Takes every step-th element out. step > 1. No safepoint before all is in order. */
static bool remove_stepwise(PyObject *self, Py_ssize_t start, Py_ssize_t step, Py_ssize_t count) {
  zdropped_t dropped;
  if (!zmanaged_drop_begin(&dropped, count)) return false;
  zaddress_t list = zmanaged_body(self);
  zrow_t row = zlist_row(list);
  if (start + (count - 1) * step >= row.length) count = 0; /* an allocation ran code that changed it */
  Py_ssize_t to = start, removed = 0;
  for (Py_ssize_t i = start; i < row.length; i++) {
    if (removed < count && i == start + removed * step) {
      zmanaged_drop_replace(&dropped, &row.slots[i], zcolored_none());
      removed++;
    } else {
      zmanaged_row_move(&row.slots[to++], &row.slots[i], 1);
    }
  }
  zmanaged_row_vacate(row.slots + row.length - removed, removed);
  *zlist_length(list) = row.length - removed;
  zmanaged_drop_finish(&dropped);
  return true;
}

static bool remove_range(PyObject *self, Py_ssize_t start, Py_ssize_t count) {
  zdropped_t dropped;
  if (!zmanaged_drop_begin(&dropped, count)) return false;
  zaddress_t list = zmanaged_body(self);
  Py_ssize_t length = *zlist_length(list);
  start = start < length ? start : length;
  zmanaged_gap_close(list, start, count < length - start ? count : length - start, &dropped);
  zmanaged_drop_finish(&dropped);
  return true;
}

static bool clear(PyObject *self) {
  if (!check_list(self)) return false;
  return remove_range(self, 0, *zlist_length(zmanaged_body(self)));
}

static PyObject *list_clear(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  return clear(self) ? zmanaged_none() : NULL;
}

static PyObject *list_remove(PyObject *self, PyObject *value) {
  if (!check_list(self)) return NULL;
  Py_ssize_t found = zmanaged_row_find(self, value, 0, PTRDIFF_MAX);
  if (found == -1) zpy.PyErr_SetString(*zpy.PyExc_ValueError, "list.remove(x): x not in list");
  return found >= 0 && remove_range(self, found, 1) ? zmanaged_none() : NULL;
}

static PyObject *list_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  return check_list(self) ? copy_of(self, 0, 1, *zlist_length(zmanaged_body(self))) : NULL;
}

static PyObject *list_reverse(PyObject *self, PyObject *unused) {
  (void)unused;
  zmanaged_poll();
  if (!check_list(self)) return NULL;
  zrow_t row = zlist_row(zmanaged_body(self));
  for (Py_ssize_t i = 0, j = row.length - 1; i < j; i++, j--) {
    zcolored_t first = zmanaged_moved(zbarrier_load(zslot(&row.slots[i])));
    zcolored_t last = zmanaged_moved(zbarrier_load(zslot(&row.slots[j])));
    zbarrier_store(zslot(&row.slots[i]), last);
    zbarrier_store(zslot(&row.slots[j]), first);
  }
  return zmanaged_none();
}

/* ---- operators ----------------------------------------------------------------------------------- */

/* The elements of a list, ours or Python's, as a row that fill can take. */
static Py_ssize_t length_of(PyObject *list) {
  return zmanaged_is_list(list) ? zmanaged_row_length(list) : zpy.PyList_Size(list);
}

/* Neither a list nor something that knows how to add itself to one. Python asks for the latter before it says
 * this of a list, but a class that inherits from ours has nothing left to say it with. */
static PyObject *refuse_to_add(PyObject *self, PyObject *other) {
  typedef PyObject *(*add_t)(PyObject *, PyObject *);
  add_t theirs = (add_t)zpy.PyType_GetSlot(other->type, Py_nb_add);
  if (theirs != NULL && !zmanaged_is_list(other)) {
    PyObject *sum = theirs(self, other);
    if (sum != zma._Py_NotImplementedStruct) return sum;
    zpy.Py_DecRef(sum);
  }
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "can only concatenate list (not \"%.200s\") to list",
                   (const char *)*zmanaged_type_word(other->type, ZMANAGED_TYPE_NAME));
  return NULL;
}

static PyObject *list_add(PyObject *left, PyObject *right) {
  zmanaged_poll();
  if (!is_any_list(left)) return zmanaged_incref(zma._Py_NotImplementedStruct);
  if (!is_any_list(right)) return refuse_to_add(left, right);
  PyObject *made = copy_of(left, 0, 1, 0);
  Py_ssize_t first = length_of(left), second = length_of(right), at = 0;
  bool ok = made != NULL && open_gap(made, &at, first + second);
  ok = ok && fill(made, 0, left, first) && fill(made, first, right, second);
  if (ok || made == NULL) return made;
  zpy.Py_DecRef(made);
  return NULL;
}

static PyObject *list_inplace_concat(PyObject *self, PyObject *other) {
  return extend(self, other) ? zmanaged_incref(self) : NULL;
}

/* Adds its own elements `times` - 1 times over. */
static bool multiply(PyObject *self, Py_ssize_t times) {
  if (times <= 0) return clear(self);
  if (!check_list(self)) return false;
  Py_ssize_t length = *zlist_length(zmanaged_body(self)), at = length;
  if (length > 0 && times > PTRDIFF_MAX / 16 / length) return zma.PyErr_NoMemory() != NULL;
  if (length == 0 || times == 1) return true;
  if (!open_gap(self, &at, length * (times - 1))) return false;
  for (Py_ssize_t i = 1; i < times; i++) {
    if (!fill(self, i * length, self, length)) return false;
  }
  return true;
}

static PyObject *list_repeat(PyObject *self, Py_ssize_t times) {
  zmanaged_poll();
  if (!check_list(self)) return NULL;
  PyObject *made = times <= 0 ? copy_of(self, 0, 1, 0) : list_copy(self, NULL);
  if (made == NULL || multiply(made, times)) return made;
  zpy.Py_DecRef(made);
  return NULL;
}

static PyObject *list_inplace_repeat(PyObject *self, Py_ssize_t times) {
  zmanaged_poll();
  return multiply(self, times) ? zmanaged_incref(self) : NULL;
}

/* An element of a list, ours or Python's; new reference. NULL without an exception behind the end. */
static PyObject *element(PyObject *list, Py_ssize_t i) {
  if (i >= length_of(list)) return NULL;
  return zmanaged_is_list(list) ? zmanaged_row_item(list, i) : zmanaged_incref(zpy.PyList_GetItem(list, i));
}

/* The first place in which two lists differ, or the length of the shorter one. Words say so where they can. */
static Py_ssize_t skip_equal_words(PyObject *a, PyObject *b, Py_ssize_t i) {
  zrow_t first = zlist_row(zmanaged_body(a)), second = {.length = 0};
  bool both = zmanaged_is_list(b);
  if (both) second = zlist_row(zmanaged_body(b));
  Py_ssize_t end = both ? second.length : zpy.PyObject_Size(b);
  end = end < first.length ? end : first.length;
  for (; i < end; i++) {
    zcolored_t word = zbarrier_load(zslot(&first.slots[i]));
    int same = both ? zmanaged_words_are_equal(word, zbarrier_load(zslot(&second.slots[i])))
                    : zmanaged_word_is(word, zpy.PyList_GetItem(b, i));
    if (same != 1) break;
  }
  return i;
}

/* -2: exception. */
static Py_ssize_t first_difference(PyObject *a, PyObject *b) {
  for (Py_ssize_t i = 0;; i++) {
    zmanaged_poll();
    if (!check_list(a)) return -2;
    i = skip_equal_words(a, b, i);
    Py_ssize_t first = length_of(a), second = length_of(b);
    if (i >= first || i >= second) return i;
    PyObject *x = element(a, i), *y = x == NULL ? NULL : element(b, i);
    int same = y == NULL ? -1 : zma.PyObject_RichCompareBool(x, y, 2 /* == */);
    bool gone = y == NULL && zpy.PyErr_Occurred() == NULL; /* one has become shorter */
    if (x != NULL) zpy.Py_DecRef(x);
    if (y != NULL) zpy.Py_DecRef(y);
    if (gone) return i;
    if (same < 0) return -2;
    if (same == 0) return i;
  }
}

static bool compare_lengths(Py_ssize_t a, Py_ssize_t b, int op) {
  const bool answers[] = {a < b, a <= b, a == b, a != b, a > b, a >= b}; /* as Py_LT ... Py_GE */
  return answers[op];
}

static PyObject *list_compare(PyObject *self, PyObject *other, int op) {
  enum { EQUAL = 2, DIFFERENT = 3 };
  if (!is_any_list(other)) return zmanaged_incref(zma._Py_NotImplementedStruct);
  if (!check_list(self)) return NULL;
  bool by_equality = op == EQUAL || op == DIFFERENT;
  if (by_equality && length_of(self) != length_of(other)) return zpy.PyBool_FromLong(op == DIFFERENT);
  Py_ssize_t at = first_difference(self, other);
  if (at == -2) return NULL;
  Py_ssize_t first = length_of(self), second = length_of(other);
  if (at >= first || at >= second) return zpy.PyBool_FromLong(compare_lengths(first, second, op));
  if (by_equality) return zpy.PyBool_FromLong(op == DIFFERENT);
  PyObject *x = element(self, at), *y = x == NULL ? NULL : element(other, at);
  PyObject *result = y == NULL ? NULL : zma.PyObject_RichCompare(x, y, op);
  if (x != NULL) zpy.Py_DecRef(x);
  if (y != NULL) zpy.Py_DecRef(y);
  return result;
}

/* ---- subscripts ---------------------------------------------------------------------------------- */

static inline bool is_slice(PyObject *key) { return (PyObject *)key->type == zma.PySlice_Type; }

/* The slice's bounds by the list's length now, and the number of elements in it; -1 with an exception set. */
static Py_ssize_t read_slice(PyObject *self, PyObject *key, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) {
  if (zma.PySlice_Unpack(key, start, stop, step) < 0) return -1;
  zmanaged_poll();
  if (!check_list(self)) return -1;
  return zma.PySlice_AdjustIndices(*zlist_length(zmanaged_body(self)), start, stop, *step);
}

static PyObject *list_subscript(PyObject *self, PyObject *key) {
  Py_ssize_t at, stop, step;
  if (zlikely(zma.PyIndex_Check(key))) {
    return zmanaged_row_index(self, key, &at) ? zmanaged_row_item(self, at) : NULL;
  }
  if (!is_slice(key)) {
    zmanaged_row_key_error(self, key);
    return NULL;
  }
  Py_ssize_t count = read_slice(self, key, &at, &stop, &step);
  return count < 0 ? NULL : copy_of(self, at, step, count);
}

static bool delete_slice(PyObject *self, PyObject *key) {
  Py_ssize_t start, stop, step, count = read_slice(self, key, &start, &stop, &step);
  if (count <= 0) return count == 0;
  if (step < 0) { /* the same elements, the other way round */
    start += (count - 1) * step;
    step = -step;
  }
  return step == 1 ? remove_range(self, start, count) : remove_stepwise(self, start, step, count);
}

/* The values are no iterable: in the words of a list, which differ between versions. */
static zcold bool explain_assignment(PyObject *key, PyObject *values) {
  if (!zma.PyErr_ExceptionMatches(*zpy.PyExc_TypeError)) return false;
  if (*zmanaged_type_word(values->type, ZMANAGED_TYPE_ITER) != NULL) return false;
  PyObject *type, *value, *traceback, *list = NULL;
  zpy.PyErr_Fetch(&type, &value, &traceback);
  list = zpy.PyList_New(0);
  int error = list == NULL ? -1 : zma.PyObject_SetItem(list, key, values);
  if (list != NULL) zpy.Py_DecRef(list);
  if (error == 0) {
    zpy.PyErr_Restore(type, value, traceback);
    return false;
  }
  PyObject *first[] = {type, value, traceback};
  for (size_t i = 0; i < ZARRAY_LENGTH(first); i++) {
    if (first[i] != NULL) zpy.Py_DecRef(first[i]);
  }
  return false;
}

/* The values as a list that nobody else knows. Only an iterator is asked how long it is, as by list. */
static PyObject *values_of(PyObject *values) {
  if (is_plain_list(values) || (PyObject *)values->type == zpy.PyTuple_Type) return zma.PySequence_List(values);
  PyObject *iterator = zma.PyObject_GetIter(values);
  PyObject *list = iterator == NULL ? NULL : zma.PySequence_List(iterator);
  if (iterator != NULL) zpy.Py_DecRef(iterator);
  return list;
}

static bool assign_slice(PyObject *self, PyObject *key, PyObject *values) {
  Py_ssize_t bounds[3], start, stop, step;
  if (zma.PySlice_Unpack(key, &bounds[0], &bounds[1], &bounds[2]) < 0) return false;
  zmanaged_poll();
  if (!check_list(self)) return false;
  start = bounds[0], stop = bounds[1], step = bounds[2];
  zma.PySlice_AdjustIndices(*zlist_length(zmanaged_body(self)), &start, &stop, step);
  PyObject *list = values_of(values);
  if (list == NULL) return explain_assignment(key, values);
  zmanaged_poll();
  bool ok = check_list(self);
  if (ok && step == 1) {
    Py_ssize_t length = *zlist_length(zmanaged_body(self)); /* making the values may have changed it */
    start = start < length ? start : length;
    stop = stop < start ? start : stop < length ? stop : length;
    ok = replace(self, start, stop, list);
  } else if (ok) {
    ok = zmanaged_row_assign(self, bounds[0], bounds[1], bounds[2], list);
  }
  zpy.Py_DecRef(list);
  return ok;
}

static bool set_or_delete(PyObject *self, PyObject *key, PyObject *value) {
  Py_ssize_t at;
  if (zlikely(zma.PyIndex_Check(key))) {
    if (!zmanaged_row_index(self, key, &at)) return false;
    if (zlikely(value != NULL)) return zmanaged_row_set(self, at, value);
    PyObject *gone = pop_at(self, at < 0 ? PTRDIFF_MAX : at, "list assignment index out of range");
    if (gone != NULL) zpy.Py_DecRef(gone);
    return gone != NULL;
  }
  if (!is_slice(key)) return zmanaged_row_key_error(self, key);
  return value != NULL ? assign_slice(self, key, value) : delete_slice(self, key);
}

static int list_ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  return set_or_delete(self, key, value) ? 0 : -1;
}

/* ---- the type ------------------------------------------------------------------------------------ */

static PyObject *list_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  (void)arguments;
  (void)keywords;
  zclass_t *class = zmanaged_metaclass_to_make(type, ZFAMILY_LIST);
  return class == NULL ? NULL : zmanaged_object_make(class);
}

static int list_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
  Py_ssize_t count = zma.PyTuple_Size(arguments);
  if (keywords != NULL && zpy.PyObject_Size(keywords) > 0) {
    zpy.PyErr_SetString(*zpy.PyExc_TypeError, "list() takes no keyword arguments");
    return -1;
  }
  if (count > 1) return count_error("list", 0, 1, count) ? 0 : -1;
  zmanaged_poll();
  if (!clear(self)) return -1;
  return count == 0 || extend(self, zpy.PyTuple_GetItem(arguments, 0)) ? 0 : -1;
}

static PyMethodDef list_methods[] = {{"append", list_append, METH_O, "append(value, /)\n--\n\nAdds an element behind the last."},
                                     {"__reversed__", zmanaged_row_reversed, METH_NOARGS, "An iterator from the end."},
                                     {"extend", list_extend, METH_O, "extend(iterable, /)\n--\n\nAdds elements behind the last."},
                                     {"insert", (PyCFunction)(void (*)(void))list_insert, METH_FASTCALL,
                                      "insert(index, value, /)\n--\n\nAdds an element before the index."},
                                     {"pop", (PyCFunction)(void (*)(void))list_pop, METH_FASTCALL,
                                      "pop(index=-1, /)\n--\n\nTakes an element out and returns it."},
                                     {"remove", list_remove, METH_O, "remove(value, /)\n--\n\nTakes out the first equal element."},
                                     {"clear", list_clear, METH_NOARGS, "clear()\n--\n\nTakes all elements out."},
                                     {"copy", list_copy, METH_NOARGS, "copy()\n--\n\nA zgc.List of the same elements."},
                                     {"reverse", list_reverse, METH_NOARGS, "reverse()\n--\n\nTurns the order round."},
                                     {"index", (PyCFunction)(void (*)(void))zmanaged_row_index_of, METH_FASTCALL,
                                      "index(value, start=0, stop=sys.maxsize, /)\n--\n\nThe index of the first equal element."},
                                     {"count", zmanaged_row_count_of, METH_O, "count(value, /)\n--\n\nHow many elements are equal."},
                                     {"tolist", zmanaged_row_tolist, METH_NOARGS, "tolist()\n--\n\nThe elements as a list."},
                                     {NULL, NULL, 0, NULL}};
static PyType_Slot list_slots[] = {{Py_tp_dealloc, zmanaged_handle_dealloc},
                                   {Py_tp_traverse, zmanaged_handle_traverse},
                                   {Py_tp_clear, zmanaged_handle_clear},
                                   {Py_tp_getattro, NULL},
                                   {Py_tp_setattro, NULL},
                                   {Py_tp_new, list_new},
                                   {Py_tp_init, list_init},
                                   {Py_tp_methods, list_methods},
                                   {Py_tp_richcompare, list_compare},
                                   {Py_tp_iter, zmanaged_row_iter},
                                   {Py_nb_add, list_add},
                                   {Py_nb_inplace_add, list_inplace_concat},
                                   {Py_mp_length, zmanaged_row_length},
                                   {Py_mp_subscript, list_subscript},
                                   {Py_mp_ass_subscript, list_ass_subscript},
                                   {Py_sq_length, zmanaged_row_length},
                                   {Py_sq_item, zmanaged_row_item},
                                   {Py_sq_contains, zmanaged_row_contains},
                                   {Py_sq_repeat, list_repeat},
                                   {Py_sq_inplace_concat, list_inplace_concat},
                                   {Py_sq_inplace_repeat, list_inplace_repeat},
                                   {0, NULL}};
static PyType_Spec list_spec = {"zgc.List", sizeof(zhandle_t), 0, Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, list_slots};

bool zmanaged_list_start(PyObject *names) {
  list_class = zmanaged_metaclass_make(names, ZFAMILY_LIST, &list_spec, ZLIST_SIZE, 1u << (ZLIST_STORAGE / 8));
  return list_class != NULL;
}
