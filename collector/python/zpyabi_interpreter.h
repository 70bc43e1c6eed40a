/* The size of an interpreter's state, and how a thread's variables lead to the interpreter that it runs. */
#ifndef COLLECTOR_PYTHON_ZPYABI_INTERPRETER_H
#define COLLECTOR_PYTHON_ZPYABI_INTERPRETER_H

#include "collector/python/zpyapi.h"

/* sizeof(PyInterpreterState), or 0 where it is not proven. Interpreter up. */
size_t zpyabi_interpreter_size(void);

/* The calling thread's current state, NULL where it has none. Any thread of 3.12 and later; NULL where CPython has
 * no function for it. */
PyThreadState *(*zpyabi_current_thread(void))(void);

/* Where threads have their current state, and a state its interpreter. */
typedef struct {
  size_t module, offset; /* CPython's variable for what zpyabi_current_thread tells, as the loader knows it */
  size_t interpreter;    /* in a state */
} zpyabi_thread_place_t;

/* False: not proven. Lets the GIL go for a moment. Interpreter up, GIL held. */
bool zpyabi_find_thread_place(zpyabi_thread_place_t *place);

/* The calling thread's own variable of that place; good as long as the thread is. A thread that has a state. */
const void *const *zpyabi_thread_variable(const zpyabi_thread_place_t *place);

#endif
