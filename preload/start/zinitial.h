/* The allocators of the next interpreter, where this process initialises one again.
 *
 * Up to 3.11 the allocators that were set stay for good. From 3.12 on they are part of _PyRuntime, which
 * a second Py_Initialize makes again from a constant of the interpreter's, without asking anybody. So
 * before the first interpreter ends, our functions are written where this constant has CPython's:
 * objects that outlive their interpreter (C code kept them) then die in the heap that they lie in, and
 * the new interpreter is served from its first object on.
 *
 * The constant is looked for among what the loader protected after relocation (RELRO), by the three
 * allocator tables and the one for arenas that the first interpreter was found with. A constant that is not
 * found, or found twice, is left alone. (An executable that is not position independent has its constants
 * elsewhere: none of these is known to initialise twice.) */
#ifndef PRELOAD_START_ZINITIAL_H
#define PRELOAD_START_ZINITIAL_H

#include "collector/python/zpyapi.h"

typedef struct {
  PyMemAllocatorEx raw, mem, object; /* in CPython's order */
} zinitial_allocators_t;

/* In place of `before`, the next interpreter gets `after`, and this allocator of arenas, which serves with
 * either. False: it gets `before`, or had been given `after` already. GIL held. */
bool zinitial_replace(const zinitial_allocators_t *before, const zinitial_allocators_t *after,
                      const PyObjectArenaAllocator *arenas_before,
                      const PyObjectArenaAllocator *arenas_after);

#endif
