/* Censuses: objects and bytes by type, of what full collections reclaimed and of what is alive.
 *
 * Bytes are those of the blocks that an object has for itself, headers and rounding included: its own,
 * and the items of a list, the table of a dict or set, the blocks of a deque, the attribute values of
 * an instance. What two share (keys of instances' dicts) and what only the type itself knows (the
 * buffer of a bytearray or an array) is not counted.
 *
 * All functions: GIL held. */
#ifndef COLLECTOR_CPYTHON_ZCENSUS_H
#define COLLECTOR_CPYTHON_ZCENSUS_H

#include "collector/python/zpyabi.h"

typedef struct {
  uint64_t objects, bytes;
} zcensus_sum_t;

/* -- garbage ------------------------------------------------------------------------------------- */

typedef enum {
  ZCENSUS_CURRENT, /* fed in the collection under way */
  ZCENSUS_LAST,    /* reclaimed by the last full collection that reclaimed anything */
  ZCENSUS_TOTAL,   /* by all of them */
  ZCENSUS_GARBAGE_KINDS
} zcensus_garbage_t;

#define ZCENSUS_TYPES 255 /* types told apart; the others count as one, named "(other)" */
#define ZCENSUS_NAME 96

/* Set by the first who asks for a census. */
extern bool zcensus_is_wanted;

/* Objects counted from here on belong to the collection with this number. */
void zcensus_begin(uint64_t sequence);
/* One object more (1) or less (-1: it was fed and has survived). */
void zcensus_add(PyObject *object, int sign);
/* The collection has ended: what was counted becomes the last one's. */
void zcensus_finish(void);
/* The type object at this address is being freed. Only where something has been counted: until then, a
 * program has no memory for this file's code. */
void zcensus_forget(const void *type);
extern unsigned zcensus_row_count;

/* Row `i`; false past the last. Rows with no objects occur. */
bool zcensus_garbage(zcensus_garbage_t kind, unsigned i, const char **name, zcensus_sum_t *sum);

/* Writes "Node 900 dict 600" for the last collection, most frequent first; "" for nothing. */
void zcensus_describe(char *text, size_t size);

/* -- the living ---------------------------------------------------------------------------------- */

/* Counts everything that CPython's collector knows of (gc.freeze'd objects too), and what that holds
 * directly of the other objects in our heap: strings, numbers, bytes, untracked tuples and dicts. Takes
 * about 0.2 s per million objects, the GIL held throughout. Calls visit(type, sum, arg) per type at
 * the end. False, and nothing is called, when memory is short. */
bool zcensus_live(void (*visit)(PyTypeObject *type, const zcensus_sum_t *sum, void *arg), void *arg);

/* "module.Class", without builtins and __main__; cut to `size`. May run code of a metaclass. */
void zcensus_type_name(PyTypeObject *type, char *name, size_t size);

#endif
