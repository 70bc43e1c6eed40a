#include "preload/managed/zmanaged_number.h"

zmanaged_numbers_t zmanaged_floats, zmanaged_ints[2][2];

/* Every version shares these; 3.15 also those up to ZMANAGED_SHARED_MAX. */
#define SHARED_LOWEST -5
#define SHARED_HIGHEST 256
static PyObject *shared[SHARED_HIGHEST - SHARED_LOWEST + 1];

/* Keeps `made`, if any, in place of the next one. Freeing a number runs no Python code. */
static PyObject *keep(zmanaged_numbers_t *numbers, PyObject *made) {
  if (made == NULL) return NULL;
  PyObject **place = &numbers->kept[numbers->next++ % ZMANAGED_KEPT];
  PyObject *before = *place;
  *place = zmanaged_incref(made);
  if (before != NULL) zpy.Py_DecRef(before);
  return made;
}

znoinline PyObject *zmanaged_make_float(double number) {
  return keep(&zmanaged_floats, zma.PyFloat_FromDouble(number));
}

znoinline PyObject *zmanaged_make_int(int64_t number, zmanaged_numbers_t *numbers) {
  PyObject *made = zma.PyLong_FromLongLong(number);
  return numbers == NULL ? made : keep(numbers, made);
}

PyObject *zmanaged_new_other_int(int64_t number) {
  if (number >= SHARED_LOWEST && number <= SHARED_HIGHEST) {
    PyObject *object = shared[number - SHARED_LOWEST];
    if (!zpyabi_layout->immortal) object->refcount++;
    return object;
  }
  uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
  bool is_kept = magnitude > ZMANAGED_SHARED_MAX && magnitude >> (2 * ZMANAGED_DIGIT_BITS) == 0;
  if (!is_kept) return zmanaged_make_int(number, NULL);
  uint32_t low = (uint32_t)(magnitude % ZMANAGED_DIGIT_LIMIT);
  uint32_t high = (uint32_t)(magnitude / ZMANAGED_DIGIT_LIMIT);
  zmanaged_numbers_t *numbers = &zmanaged_ints[high != 0][number < 0];
  PyObject *kept = zmanaged_numbers_take(numbers);
  if (zunlikely(kept == NULL)) return zmanaged_make_int(number, numbers);
  uint32_t *digits = (uint32_t *)((char *)kept + ZMANAGED_INT_DIGITS);
  digits[0] = low;
  if (high != 0) digits[1] = high; /* the block of a shorter one may end before */
  return kept;
}

/* Fills the places for numbers of this size with different ones, each as CPython makes it. */
static bool fill_ints(zmanaged_numbers_t *numbers, int64_t start) {
  for (int i = 0; i < ZMANAGED_KEPT; i++) {
    PyObject *made = zmanaged_make_int(start + i, numbers);
    if (made == NULL) return false;
    numbers->size = *(uint64_t *)((char *)made + ZMANAGED_INT_SIZE);
    zpy.Py_DecRef(made);
  }
  return true;
}

static bool fill_shared(void) {
  for (int i = SHARED_LOWEST; i <= SHARED_HIGHEST; i++) {
    shared[i - SHARED_LOWEST] = zma.PyLong_FromLongLong(i);
    if (shared[i - SHARED_LOWEST] == NULL) return false;
  }
  return true;
}

static bool fill_floats(void) {
  for (int i = 0; i < ZMANAGED_KEPT; i++) {
    PyObject *made = zmanaged_make_float(i);
    if (made == NULL) return false;
    zpy.Py_DecRef(made);
  }
  return true;
}

/* Is what we make of this number what CPython takes it for, and the other way round? */
static bool int_is_understood(int64_t number) {
  PyObject *made = zma.PyLong_FromLongLong(number), *kept = zmanaged_new_int(number);
  int64_t read = number;
  bool ok = made != NULL && kept != NULL && zma.PyObject_RichCompareBool(made, kept, 2 /* == */) == 1 &&
            (!zmanaged_int_value(made, &read) || read == number) &&
            (!zmanaged_int_value(kept, &read) || read == number);
  if (made != NULL) zpy.Py_DecRef(made);
  if (kept != NULL) zpy.Py_DecRef(kept);
  return ok;
}

bool zmanaged_number_start(void) {
  static const int64_t edges[] = {0, 1, ZMANAGED_SHARED_MAX, ZMANAGED_SHARED_MAX + 1,
                                  ((int64_t)1 << 30) - 1, (int64_t)1 << 30, ((int64_t)1 << 60) - 1,
                                  (int64_t)1 << 60, INT64_MAX, 0x123456789ABCDEF};
  int64_t one = ZMANAGED_SHARED_MAX + 1, two = ((int64_t)1 << 45) + 12345;
  bool filled = fill_shared() && fill_floats() && fill_ints(&zmanaged_ints[0][0], one) &&
                fill_ints(&zmanaged_ints[1][0], two) && fill_ints(&zmanaged_ints[0][1], -one - 10) &&
                fill_ints(&zmanaged_ints[1][1], -two);
  if (!filled) return false;
  for (size_t i = 0; i < ZARRAY_LENGTH(edges); i++) {
    if (int_is_understood(edges[i]) && int_is_understood(-edges[i])) continue;
    if (zpy.PyErr_Occurred() == NULL) {
      zpy.PyErr_SetString(*zpy.PyExc_RuntimeError,
                          "zgc: this interpreter lays out its ints in a way that managed objects "
                          "do not know");
    }
    return false;
  }
  return true;
}
