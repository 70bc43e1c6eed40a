/* The size of an interpreter's state. */
#ifndef COLLECTOR_ZPYABI_INTERPRETER_H
#define COLLECTOR_ZPYABI_INTERPRETER_H

#include "collector/zpyapi.h"

/* sizeof(PyInterpreterState), or 0 where it is not proven. Interpreter up. */
size_t zpyabi_interpreter_size(void);

#endif
