/* Which heap a thread works in, once there are several GILs (zallocator.h), found without a call.
 *
 * It is the heap of the interpreter that the thread runs, and which one that is, CPython alone knows: a variable of
 * each thread leads to its state, and a word of the state to the interpreter. Where the two lie is proven by
 * collector/zpyabi_interpreter.h. The variable's place is a distance from our own variable here: the loader lays both
 * out in one block, the same for each thread. Nobody but the thread itself writes its variables; its current state
 * stays what it is, and is not freed, until the thread sets another.
 *
 * An answer that is remembered holds as long as no interpreter has ended since: another one may come to the same
 * address. Who sees that address as its own comes after the ending was counted. */
#ifndef HEAP_ZTHREAD_HEAP_H
#define HEAP_ZTHREAD_HEAP_H

#include "heap/base/zatomic.h"

typedef struct {
  const void *nothing;     /* NULL */
  const void *interpreter; /* what the answer is for; NULL: nothing is remembered */
  void *heap;              /* the answer, as zallocator.c knows it, ... */
  unsigned number;         /* ... and its number: never that of a heap with a lock */
  unsigned endings;
} zthread_heap_t;

extern zhidden __thread __attribute__((tls_model("initial-exec"))) zthread_heap_t zthread_heap;

/* From zthread_heap to CPython's variable, and from a state to its interpreter. The second is fixed before the
 * first is set; until then, and while there is one GIL, that leads to `nothing`. */
#define ZTHREAD_HEAP_NO_STATE ((ptrdiff_t)offsetof(zthread_heap_t, nothing))
extern zhidden ptrdiff_t zthread_heap_state;
extern zhidden size_t zthread_heap_interpreter;

extern zhidden unsigned zthread_heap_endings; /* how many interpreters have ended */

static inline bool zthread_heap_is_of(const void *interpreter) {
  return interpreter == zthread_heap.interpreter && zthread_heap.endings == zload_relaxed(&zthread_heap_endings);
}

/* Whether zthread_heap.number is the calling thread's heap now; if not, it has to be asked for. */
static inline bool zthread_heap_is_known(void) {
  const char *state = *(const char *const *)((const char *)&zthread_heap + zload_acquire(&zthread_heap_state));
  if (zunlikely(state == NULL)) return false;
  return zlikely(zthread_heap_is_of(*(const void *const *)(state + zthread_heap_interpreter)));
}

#endif
