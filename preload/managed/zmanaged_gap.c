/* Room in the row of a list: the essay is in zmanaged_list.c. */
#include "preload/managed/zmanaged_gap.h"

/* New storage with room for `count` more. May run Python code (a stall), which may change the list: the
 * caller looks again. */
static bool grow(PyObject *self, Py_ssize_t count, bool in_front) {
  Py_ssize_t length = *zlist_length(zmanaged_body(self)), needed = length + count;
  if (count > PTRDIFF_MAX / 16 - length) return zma.PyErr_NoMemory() != NULL;
  /* Elements that are added one by one come with more; a list that is made as a whole is as long as it is. */
  Py_ssize_t room = count == 1 || length > 0 ? needed / 2 + 6 : 0;
  Py_ssize_t capacity = needed + (in_front ? 2 * room : room);
  zaddress_t storage = zmanaged_new_body(zmanaged_array_shape, (uint64_t)capacity);
  if (zaddress_is_null(storage)) return false;
  zaddress_t list = zmanaged_body(self);
  zrow_t row = zlist_row(list);
  if (row.length > capacity) return true;
  Py_ssize_t start = in_front ? room + count : 0;
  start = start < capacity - row.length ? start : capacity - row.length;
  uint64_t *slots = zbody_elements(storage);
  zmanaged_row_color(slots, start);
  zmanaged_row_move_newborn(slots + start, row.slots, row.length);
  zmanaged_row_color(slots + start + row.length, capacity - start - row.length);
  zbarrier_store(zslot((uint64_t *)(list.value + ZLIST_STORAGE)), zcolored_store_good(storage));
  *zlist_start(list) = start;
  return true;
}

/* The row begins elsewhere in its storage. */
static void slide(zaddress_t list, Py_ssize_t to) {
  uint64_t *slots = zbody_elements(zlist_storage(list));
  Py_ssize_t from = *zlist_start(list), length = *zlist_length(list);
  zmanaged_row_move(slots + to, slots + from, length);
  Py_ssize_t shift = to < from ? from - to : to - from;
  Py_ssize_t vacated = shift < length ? shift : length;
  zmanaged_row_vacate(to < from ? slots + from + length - vacated : slots + from, vacated);
  *zlist_start(list) = to;
}

/* Is there room for `count` more at that end? Where the other end has plenty the row slides, which is paid for
 * by as many elements as have left there. */
static bool has_room(zaddress_t list, Py_ssize_t count, bool in_front) {
  Py_ssize_t capacity = zmanaged_gap_capacity(zlist_storage(list));
  Py_ssize_t front = *zlist_start(list), length = *zlist_length(list);
  Py_ssize_t back = capacity - front - length;
  Py_ssize_t here = in_front ? front : back, there = in_front ? back : front;
  if (here >= count) return true;
  if (here + there / 2 < count || there < length / 2 + 8) return false;
  slide(list, in_front ? front + there / 2 : front - there / 2);
  return true;
}

bool zmanaged_gap_open(PyObject *self, Py_ssize_t *at, Py_ssize_t count) {
  for (;;) {
    zaddress_t list = zmanaged_body(self);
    Py_ssize_t length = *zlist_length(list);
    if (*at > length) *at = length;
    bool in_front = length > 0 && *at < length - *at;
    if (has_room(list, count, in_front)) {
      uint64_t *slots = zlist_row(list).slots;
      if (in_front) {
        zmanaged_row_move(slots - count, slots, *at);
        *zlist_start(list) -= count;
        slots -= count;
      } else {
        zmanaged_row_move(slots + *at + count, slots + *at, length - *at);
      }
      zmanaged_row_vacate(slots + *at, count);
      *zlist_length(list) = length + count;
      return true;
    }
    if (!grow(self, count, in_front)) return false;
  }
}

void zmanaged_gap_close(zaddress_t list, Py_ssize_t at, Py_ssize_t count, zdropped_t *dropped) {
  zrow_t row = zlist_row(list);
  for (Py_ssize_t i = at; i < at + count; i++) zmanaged_drop_replace(dropped, &row.slots[i], zcolored_none());
  Py_ssize_t behind = row.length - at - count;
  if (at < behind) {
    zmanaged_row_move(row.slots + count, row.slots, at);
    zmanaged_row_vacate(row.slots, count < at ? count : at);
    *zlist_start(list) += count;
  } else {
    zmanaged_row_move(row.slots + at, row.slots + at + count, behind);
    Py_ssize_t vacated = count < behind ? count : behind;
    zmanaged_row_vacate(row.slots + row.length - vacated, vacated);
  }
  *zlist_length(list) = row.length - count;
}

bool zmanaged_gap_make_room(PyObject *self) {
  return has_room(zmanaged_body(self), 1, false) || grow(self, 1, false);
}
