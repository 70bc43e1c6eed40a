/* Numbers between bodies and Python.
 *
 * Reading a number makes an object, which is mostly dropped at once; making and freeing it cost more
 * than the read. So the last few are kept: one that only we have left is written over and given out
 * again, as CPython does with the tuple of zip(). Nobody sees it change, because whoever has it is
 * counted. Only ints of one and two digits of 30 bits are made like that; CPython makes the others, and
 * the small ones that it shares.
 *
 *   int      0: count  8: type  16: number of digits and sign  24: digits, the lowest first
 *   float    0: count  8: type  16: double
 *
 * How the word at 16 is written differs between versions: it is taken from ints that CPython made.
 * zmanaged_number_start proves the rest. GIL. */
#ifndef PRELOAD_MANAGED_ZMANAGED_NUMBER_H
#define PRELOAD_MANAGED_ZMANAGED_NUMBER_H

#include <string.h>

#include "preload/managed/zmanaged_api.h"

#define ZMANAGED_KEPT 4 /* an expression, and the variable that its result replaces, hold a few at a time */
#define ZMANAGED_SHARED_MAX 1024 /* no int beyond is one of those that CPython shares */
#define ZMANAGED_DIGIT_BITS 30
#define ZMANAGED_DIGIT_LIMIT ((uint64_t)1 << ZMANAGED_DIGIT_BITS)

typedef struct {
  PyObject *kept[ZMANAGED_KEPT]; /* a count of each is ours */
  unsigned next;
  uint64_t size; /* of ints: the word at 16 */
} zmanaged_numbers_t;

extern zhidden zmanaged_numbers_t zmanaged_floats;
extern zhidden zmanaged_numbers_t zmanaged_ints[2][2]; /* by digits less 1, by sign */

/* Proves the layout and makes what is kept. False with an exception set. */
bool zmanaged_number_start(void);

/* The cold ends: the next one to be kept is made by CPython. */
PyObject *zmanaged_make_float(double number);
PyObject *zmanaged_make_int(int64_t number, zmanaged_numbers_t *numbers); /* NULL: is not kept */
PyObject *zmanaged_new_other_int(int64_t number); /* of two digits, or negative; or CPython's */

/* One that nobody else has, with the caller's count; or NULL. */
static inline PyObject *zmanaged_numbers_take(zmanaged_numbers_t *numbers) {
  PyObject *kept = numbers->kept[numbers->next % ZMANAGED_KEPT];
  if (kept->refcount != 1) return NULL;
  numbers->next++;
  kept->refcount = 2;
  return kept;
}

static inline PyObject *zmanaged_new_float(double number) {
  PyObject *kept = zmanaged_numbers_take(&zmanaged_floats);
  if (zunlikely(kept == NULL)) return zmanaged_make_float(number);
  memcpy((char *)kept + ZMANAGED_FLOAT_VALUE, &number, sizeof number);
  return kept;
}

static inline PyObject *zmanaged_new_int(int64_t number) {
  uint64_t lowest = ZMANAGED_SHARED_MAX + 1;
  bool one_digit = (uint64_t)number - lowest < ZMANAGED_DIGIT_LIMIT - lowest;
  if (zunlikely(!one_digit)) return zmanaged_new_other_int(number);
  PyObject *kept = zmanaged_numbers_take(&zmanaged_ints[0][0]);
  if (zunlikely(kept == NULL)) return zmanaged_make_int(number, &zmanaged_ints[0][0]);
  *(uint32_t *)((char *)kept + ZMANAGED_INT_DIGITS) = (uint32_t)number;
  return kept;
}

/* The value of an int (exactly) of one or two digits; false for others. */
static inline bool zmanaged_int_value(const PyObject *object, int64_t *number) {
  const uint32_t *digits = (const uint32_t *)((const char *)object + ZMANAGED_INT_DIGITS);
  uint64_t size = *(const uint64_t *)((const char *)object + ZMANAGED_INT_SIZE);
  if (size == zmanaged_ints[0][0].size) {
    *number = digits[0];
  } else if (size == zmanaged_ints[1][0].size) {
    *number = (int64_t)digits[1] << ZMANAGED_DIGIT_BITS | digits[0];
  } else if (size == zmanaged_ints[0][1].size) {
    *number = -(int64_t)digits[0];
  } else {
    return false;
  }
  return true;
}

static inline double zmanaged_float_value(const PyObject *object) {
  return *(const double *)((const char *)object + ZMANAGED_FLOAT_VALUE);
}

#endif
