/* The Python stack of the calling thread, read from the interpreter's own frames.
 *
 * Why not through the API: PyThreadState_GetFrame and PyFrame_GetBack make frame objects. Inside an
 * allocation that is out of the question: a frame object is an allocation of its own, a tracked one,
 * which on 3.11 can start a garbage collection, that is, run any Python code while the interpreter is
 * half-way through resizing a dict. Reading is safe there: the frames belong to the thread, which
 * holds the GIL and stands still in our function; nothing is created, no error is set or looked at, so
 * neither a collection under way, nor an exception being raised, nor the end of the interpreter
 * matters. (tracemalloc reads them the same way, from inside.)
 *
 * The price is layout, which is kept here as in zpyabi.c: a row per minor version, and a proof at
 * start-up that compares whole stacks (calls, a generator, C code in between) with what the API says
 * of them, by reads that cannot fault. Where the proof fails there are no Python stacks. */
#ifndef COLLECTOR_PYTHON_ZPYABI_FRAME_H
#define COLLECTOR_PYTHON_ZPYABI_FRAME_H

#include "collector/python/zpyabi.h"

typedef struct {
  PyObject *code;       /* borrowed: alive while the frame runs */
  int32_t instruction;  /* bytes from the start of the code, for PyCode_Addr2Line */
  uintptr_t stack;      /* an address in the C frame of the evaluation loop that runs it; 0: unknown.
                           Frames of one loop follow one another and have the same. */
} zpyabi_frame_t;

/* Frames of the calling thread, innermost first, cut at the outer end. 0 before the proof, without a
 * thread state, and in sub-interpreters. GIL held. */
unsigned zpyabi_frames(zpyabi_frame_t *frames, unsigned max);

/* Once zpyabi_prove has succeeded, in the main interpreter with the GIL held: runs a little Python.
 * False: *why names what was not as expected, and there are no frames. */
bool zpyabi_frames_prove(const char **why);

/* No frames from here on: the interpreter ends. */
void zpyabi_frames_stop(void);

#endif
