/* Generators, coroutines and asynchronous generators: three types with one struct, which ends in the frame
 * that they run. What tp_traverse visits of it depends on their state:
 *
 *   created, suspended   the frame: its function, code, frame object and locals, then all that is on its stack
 *   running              the frame without locals and stack (the evaluation loop has them in registers)
 *   ended                the code at most
 *
 * A walker reads the first and the last; running ones are few, and deferred. The layout is a claim as those in
 * zpyabi.c are: the first instances that are promoted prove it, and lessons go on (ztype_learning.h). */
#ifndef COLLECTOR_PYTHON_ZPYABI_GENERATOR_H
#define COLLECTOR_PYTHON_ZPYABI_GENERATOR_H

#include "collector/python/zpyabi.h"

#define ZPYABI_GENERATOR_FIELDS 5 /* references outside the frame */

typedef struct {
  int minor;
  uint8_t state;           /* a signed byte of the generator */
  uint8_t fields[ZPYABI_GENERATOR_FIELDS]; /* of generators; 0 ends them */
  uint8_t finalizer;       /* ... of asynchronous generators, too */
  uint8_t frame;           /* in the generator; the others are in the frame */
  uint8_t code, function, names, object; /* names: f_locals; object: the frame object */
  uint8_t top;             /* end of the stack: a pointer, or an int that counts from `locals` */
  uint8_t locals;
  int8_t still_first, still_last; /* states in which the frame holds still */
  int8_t ended;
  bool ended_has_code;     /* and visits it */
  bool is_tagged;          /* references in the frame have tag bits, and `top` is a pointer */
} zpyabi_generator_t;

extern zhidden const zpyabi_generator_t *zpyabi_generator; /* of this version; NULL: not known */

/* Offsets of the references outside of the frame of instances of this type, and their number; -1: the type is
 * none of the three, or the layout is not known. */
int zpyabi_generator_fields(PyTypeObject *type, uint8_t fields[ZPYABI_GENERATOR_FIELDS + 1]);

/* A word of the frame without its tag bits; NULL also for a number. */
static inline void *zpyabi_frame_reference(const zpyabi_generator_t *layout, const void *word) {
  uintptr_t bits = (uintptr_t)word;
  if (!layout->is_tagged) return (void *)bits;
  return (bits & 3) == 3 ? NULL : (void *)(bits & ~(uintptr_t)1);
}

#endif
