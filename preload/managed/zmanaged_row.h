/* Rows: the slots of a zgc.Array, or those of a zgc.List that are in use.
 *
 * What both read in the same way is here; what only a list can do is in zmanaged_list.c. Words are copied and
 * compared as they are wherever that is possible, so that most of what is done to a row makes no object.
 *
 * A row is an address: it is good until the next safepoint, so it is asked for again after whatever may run
 * Python code. The body's shape says what a handle is, never its type: a program can change that. */
#ifndef PRELOAD_MANAGED_ZMANAGED_ROW_H
#define PRELOAD_MANAGED_ZMANAGED_ROW_H

#include "preload/managed/zmanaged_types.h"

typedef struct {
  zaddress_t holder; /* the body that has the slots; none: an empty list without storage */
  uint64_t *slots;
  Py_ssize_t length;
} zrow_t;

/* A list's body. The slots in use are [start, start + length) of the storage; the others are None. */
enum { ZLIST_STORAGE = 8 /* slot */, ZLIST_LENGTH = 16, ZLIST_START = 24, ZLIST_SIZE = 32 };

static inline Py_ssize_t *zlist_length(zaddress_t list) { return (Py_ssize_t *)(list.value + ZLIST_LENGTH); }
static inline Py_ssize_t *zlist_start(zaddress_t list) { return (Py_ssize_t *)(list.value + ZLIST_START); }
static inline zaddress_t zlist_storage(zaddress_t list) {
  return zcolored_strip(zbarrier_load(zslot((uint64_t *)(list.value + ZLIST_STORAGE))));
}

static inline zrow_t zlist_row(zaddress_t list) {
  zaddress_t storage = zlist_storage(list);
  if (zaddress_is_null(storage)) return (zrow_t){.length = 0};
  return (zrow_t){storage, zbody_elements(storage) + *zlist_start(list), *zlist_length(list)};
}

/* False where the handle is no row, or no list, without an exception. */
static inline bool zmanaged_is_list(PyObject *self) {
  return zmanaged_is_handle(self) && zbody_shape(zmanaged_body(self))->use == ZFAMILY_LIST;
}
static inline bool zmanaged_row_peek(PyObject *self, zrow_t *row) {
  zaddress_t body = zmanaged_body(self);
  uint8_t use = zbody_shape(body)->use;
  if (zlikely(use == ZFAMILY_LIST)) {
    *row = zlist_row(body);
    return true;
  }
  *row = (zrow_t){body, zbody_elements(body), (Py_ssize_t)zbody_length(body)};
  return use == ZFAMILY_ARRAY;
}
static inline bool zmanaged_is_row(PyObject *object) {
  if (!zmanaged_is_handle(object)) return false;
  uint8_t use = zbody_shape(zmanaged_body(object))->use;
  return use == ZFAMILY_LIST || use == ZFAMILY_ARRAY;
}

bool zmanaged_row_error(PyObject *self); /* sets TypeError: not a row */
/* After a safepoint. False with an exception set. */
static inline bool zmanaged_row_get(PyObject *self, zrow_t *row) {
  return zlikely(zmanaged_row_peek(self, row)) || zmanaged_row_error(self);
}

/* The name in messages: "list" or "array". */
const char *zmanaged_row_name(PyObject *self);

/* A store-good copy of a load-good word, for a slot of `holder`: a reference to a Python object is counted once
 * more. False with MemoryError. */
bool zmanaged_copy_python(zcolored_t word, zaddress_t holder, zcolored_t *copy);
static inline bool zmanaged_copy_word(zcolored_t word, zaddress_t holder, zcolored_t *copy) {
  if (zunlikely(zcolored_kind(word) == ZKIND_PYTHON)) return zmanaged_copy_python(word, holder, copy);
  copy->bits = (word.bits & ~(ZCOLOR_MASK & ~(ZCOLOR_KIND_MASK | ZCOLOR_REMAP_MASK))) | zcolor.store_good;
  return true;
}

/* Moves words between slots that may overlap; what they own moves with them. Other than a copy, this leaves
 * the old places as they are: the caller overwrites them. */
void zmanaged_row_move(uint64_t *to, uint64_t *from, Py_ssize_t count);
/* The same into a body that was born since the last safepoint. */
void zmanaged_row_move_newborn(uint64_t *to, uint64_t *from, Py_ssize_t count);
/* Makes slots None whose words have moved away. */
void zmanaged_row_vacate(uint64_t *slots, Py_ssize_t count);

/* Copies `count` words from a row, every step-th from start on, into a body that was born since the last
 * safepoint; as far as the row reaches. */
bool zmanaged_row_copy(zaddress_t newborn, const zrow_t *from, Py_ssize_t start, Py_ssize_t step, Py_ssize_t count);
/* The same from a list or a tuple. */
bool zmanaged_row_fill(zaddress_t newborn, PyObject *values, Py_ssize_t count);
/* Colours the slots of such a body, so that the first store into each is a cheap one. */
void zmanaged_row_color(uint64_t *slots, Py_ssize_t count);

/* Is this value in the slot? 1 yes, 0 no, -1: only the objects can tell. */
int zmanaged_word_is(zcolored_t word, PyObject *value);
int zmanaged_words_are_equal(zcolored_t a, zcolored_t b);

/* A list of the values in [start, stop). NULL with an exception set. */
PyObject *zmanaged_row_to_list(PyObject *self, Py_ssize_t start, Py_ssize_t stop);
/* The index of the first equal element in [start, stop), stop growing with the row; -1 none, -2 exception. */
Py_ssize_t zmanaged_row_find(PyObject *self, PyObject *value, Py_ssize_t start, Py_ssize_t stop);

/* References that slots have owned, to be dropped once all is in order again: the end of an object may run
 * code that looks at the row. `room`: the most that may come. False with an exception set. */
typedef struct {
  PyObject *few[16];
  size_t count;
  PyObject *rest; /* a list, or NULL */
} zdropped_t;
bool zmanaged_drop_begin(zdropped_t *dropped, Py_ssize_t room);
void zmanaged_drop_add(zdropped_t *dropped, PyObject *owned);
void zmanaged_drop_finish(zdropped_t *dropped);
static inline void zmanaged_drop_replace(zdropped_t *dropped, uint64_t *slot, zcolored_t word) {
  PyObject *owned = zmanaged_replace(zslot(slot), word);
  if (zunlikely(owned != NULL)) zmanaged_drop_add(dropped, owned);
}

/* Slots of Python types, for both. */
Py_ssize_t zmanaged_row_length(PyObject *self);
PyObject *zmanaged_row_item(PyObject *self, Py_ssize_t i);
bool zmanaged_row_set(PyObject *self, Py_ssize_t i, PyObject *value);
int zmanaged_row_contains(PyObject *self, PyObject *value);
PyObject *zmanaged_row_iter(PyObject *self);
PyObject *zmanaged_row_reversed(PyObject *self, PyObject *unused);
/* An index that is no slice: from the end where negative. False with an exception set. */
bool zmanaged_row_index(PyObject *self, PyObject *key, Py_ssize_t *index);
bool zmanaged_row_key_error(PyObject *self, PyObject *key);

/* Methods: index, count, tolist. */
PyObject *zmanaged_row_index_of(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *zmanaged_row_count_of(PyObject *self, PyObject *value);
PyObject *zmanaged_row_tolist(PyObject *self, PyObject *unused);

/* Assigns to elements that a slice with a step names; as many values as elements. The bounds are as PySlice_Unpack
 * gives them: the row may have changed since. */
bool zmanaged_row_assign(PyObject *self, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step, PyObject *values);

bool zmanaged_row_start(void);

#endif
