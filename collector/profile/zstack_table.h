/* The distinct stacks of an allocation profile, and what was allocated with each.
 *
 * A stack is native frames with the Python frames put where they belong: in place of the evaluation
 * loop that ran them. Which native frame that is, is found by stack pointers (a loop's Python frames
 * tell an address in its C frame) and remembered for each return address, so that the slow walk is
 * taken only for stacks with an address never seen before.
 *
 * Entries live as long as the process, in malloc's memory: a stack is one struct with its frames
 * behind it. Code objects are held by a reference: without one, another code object could come to
 * lie at the same address and get its neighbour's name.
 *
 * Lock: the caller's (zprofile.c). What a frame is called is written by one dump at a time, under the
 * GIL, and read by the same dump. */
#ifndef COLLECTOR_PROFILE_ZSTACK_TABLE_H
#define COLLECTOR_PROFILE_ZSTACK_TABLE_H

#include "collector/python/zpyabi_frame.h"

#define ZSTACK_NATIVE_MAX 128 /* frames; deeper stacks lose their outer end */
#define ZSTACK_PYTHON_MAX 192

/* A function of Python. */
typedef struct zcode {
  struct zcode *next;
  PyObject *code;
  uint32_t id;      /* from 1 on */
  int first_line;
  char *name, *file; /* NULL until a dump has asked */
} zcode_t;

/* A place in native code: a return address, less one. */
typedef struct znative {
  struct znative *next;
  uintptr_t address;
  uint32_t id;       /* from 1 on */
  bool runs_python;  /* in an evaluation loop */
  char *name;        /* NULL until a dump has asked: the loader takes microseconds to tell */
} znative_t;

typedef struct {
  zcode_t *code;
  int32_t instruction;
  int32_t line;   /* 0 until a dump has asked */
  int16_t native; /* index of the native frame that runs it; -1: not known */
} zstack_python_t;

/* Objects are numbers of allocations; growth by realloc has bytes only. Scaled up by the sampling. */
typedef struct {
  double objects, bytes, lifetime_ns;
} zstack_total_t;

/* What was freed, by its age: [i] under zstack_lifetimes[i].limit_ns. */
#define ZSTACK_LIFETIMES 7
typedef struct {
  uint64_t limit_ns;
  const char *name;
} zstack_lifetime_t;
extern const zstack_lifetime_t zstack_lifetimes[ZSTACK_LIFETIMES];

typedef struct zstack {
  struct zstack *next; /* of the same hash */
  uint64_t hash;
  uint32_t id;         /* from 0 on; 0: the one for all stacks that the table has no room for */
  uint16_t natives, pythons;
  zstack_total_t freed[ZSTACK_LIFETIMES];
  znative_t **native;      /* innermost first */
  zstack_python_t *python;
} zstack_t;

/* The stack of the calling thread, without the library's own frames at its inner end. NULL: no memory.
 * GIL and the caller's lock. */
zstack_t *zstack_here(void);

/* All that there are: ids are below. Array of `zstack_count` in order of their ids, to be freed by the
 * caller; NULL: no memory. */
zstack_t **zstack_all(uint32_t *count);
zcode_t **zstack_codes(uint32_t *count);
znative_t **zstack_natives(uint32_t *count);

/* One step from the innermost frame outwards, natives that run Python replaced by the Python frames. */
typedef struct {
  const zstack_t *stack;
  unsigned native, python;
} zstack_walk_t;

/* The next frame: exactly one of the two is set; false after the last. Frames of the interpreter's own
 * code (which has no first line) are left out once the codes have their names. */
bool zstack_next(zstack_walk_t *walk, const znative_t **native, const zstack_python_t **python);

unsigned zstack_lifetime_of(uint64_t ns);

#endif
