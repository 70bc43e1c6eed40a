#include "collector/python/zpyabi_generator.h"

static const zpyabi_generator_t layouts[] = {
    /* minor, state, fields, finalizer, frame | code, function, names, object, top, locals | states */
    {11, 75, {16, 32, 40, 48}, 64, 80, 32, 0, 24, 40, 64, 72, -2, -1, 4, false, false},
    {12, 67, {24, 32, 40}, 56, 72, 0, 16, 40, 48, 64, 72, -2, -1, 4, false, false},
    {13, 67, {24, 32, 40}, 56, 72, 0, 16, 40, 48, 64, 72, -3, -1, 4, false, false},
    {14, 67, {24, 32, 40}, 56, 72, 0, 16, 40, 48, 64, 80, -3, -1, 4, true, true},
    {15, 67, {24, 32, 40}, 56, 72, 0, 16, 40, 48, 64, 80, 0, 3, 5, true, true},
};

const zpyabi_generator_t *zpyabi_generator;

static void find_layout(void) {
  for (size_t i = 0; i < ZARRAY_LENGTH(layouts) && zpyabi_generator == NULL; i++) {
    if (layouts[i].minor == zpyabi_layout->minor) zpyabi_generator = &layouts[i];
  }
}

int zpyabi_generator_fields(PyTypeObject *type, uint8_t fields[ZPYABI_GENERATOR_FIELDS + 1]) {
  bool is_async = type == zpy.PyAsyncGen_Type;
  if (type != zpy.PyGen_Type && type != zpy.PyCoro_Type && !is_async) return -1;
  find_layout();
  if (zpyabi_generator == NULL) return -1;
  int count = 0;
  for (; count < ZPYABI_GENERATOR_FIELDS && zpyabi_generator->fields[count] != 0; count++) {
    fields[count] = zpyabi_generator->fields[count];
  }
  if (is_async) fields[count++] = zpyabi_generator->finalizer;
  return count;
}
