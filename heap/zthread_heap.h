/* Which heap a thread works in, once there are several GILs (zheap.h), found without a call.
 *
 * It is the heap of the interpreter that the thread runs, and which one that is, CPython alone knows: a variable of
 * each thread leads to its state, and a word of the state to the interpreter. Where the two lie is proven by
 * collector/python/zpyabi_interpreter.h. Each thread asks the loader once for the address of its variable: where
 * libpython was loaded late, or there is an auditor, the variables of two threads may have no distance in common. Only
 * the thread itself writes its variables; its current state stays what it is, and is not freed, until it sets another.
 *
 * A remembered answer holds as long as no interpreter has ended since: the next one may get the same address. A thread
 * of that interpreter runs after the ending was counted. */
#ifndef HEAP_ZTHREAD_HEAP_H
#define HEAP_ZTHREAD_HEAP_H

#include "heap/base/zatomic.h"

typedef struct {
  const void *const *state; /* CPython's variable of this thread; NULL: not known, or not looked for so far */
  const void *interpreter;  /* what the answer is for; NULL: nothing is remembered */
  void *heap;               /* the answer, as zallocator.c knows it, ... */
  unsigned number;          /* ... and its number: never that of a heap with a lock */
  unsigned endings;
} zthread_heap_t;

extern zhidden __thread __attribute__((tls_model("initial-exec"))) zthread_heap_t zthread_heap;

/* Where a state tells its interpreter. Fixed before any thread knows its variable. */
extern zhidden size_t zthread_heap_interpreter;

extern zhidden unsigned zthread_heap_endings; /* how many interpreters have ended */

static inline bool zthread_heap_is_of(const void *interpreter) {
  return interpreter == zthread_heap.interpreter && zthread_heap.endings == zload_relaxed(&zthread_heap_endings);
}

/* Whether zthread_heap.number is the calling thread's heap now; if not, it has to be asked for. */
static inline bool zthread_heap_is_known(void) {
  const void *const *variable = zthread_heap.state;
  if (zunlikely(variable == NULL)) return false;
  const char *state = *variable;
  if (zunlikely(state == NULL)) return false;
  return zlikely(zthread_heap_is_of(*(const void *const *)(state + zthread_heap_interpreter)));
}

#endif
