/* Notices that the process may get a second GIL, before it does.
 *
 * An interpreter with a GIL of its own needs a PyInterpreterState, and the one place that makes such a state,
 * alloc_interpreter() in CPython's pystate.c, asks the RAW domain for it: PyMem_RawCalloc(1, sizeof). (The
 * main interpreter's is a part of _PyRuntime.) So a request of that size or more, once there is a main
 * interpreter, is taken for an interpreter, and the heap is closed (zheap.h) before the request is served.
 * An allocator that wraps the RAW domain may ask for more, and by malloc: then those requests are looked at, too.
 * One that replaces it, which is allowed before the interpreter is up and not later, is noticed before that
 * (zbinding_check_raw), and the heap is closed from the start. The GIL when an interpreter is made:
 *   3.11        one GIL in all the process, whatever interpreters there are: nothing is looked at
 *   3.12        PyInterpreterState_New holds HEAD_LOCK. _xxsubinterpreters.create holds the GIL of the caller's
 *               interpreter, C code may come without any. new_interpreter() lets the caller's GIL go only later,
 *               and makes the new one in init_interp_create_gil(), before the first object
 *   3.13-3.15   the same, but _interpreters and InterpreterPoolExecutor come here with no thread state at all
 *               (_PyXI_NewInterpreter swaps it out first): any other thread may hold the main GIL
 * In no version is the main GIL known to be held, and none may be waited for here, because HEAD_LOCK is held.
 * zheap_close needs neither. Any C thread may ask the RAW domain for as much, at any time: a false
 * alarm, which costs some speed and nothing else. */
#ifndef PRELOAD_START_ZSECOND_GIL_H
#define PRELOAD_START_ZSECOND_GIL_H

#include "heap/base/zbase.h"

/* Whether threads can be told apart by interpreter, which versions with several GILs need. `minor` of the
 * running 3.x. In the constructor. */
bool zsecond_gil_start(int minor);

/* No request of fewer bytes is an interpreter. Any thread. */
size_t zsecond_gil_least(void);

/* It is what CPython says, where that is proven. Interpreter up, GIL held. */
void zsecond_gil_settle(void);

/* Any thread, any state: there may be a second GIL from now on. */
void zsecond_gil_expect(void);

/* The RAW domain gets a block back. */
void zsecond_gil_on_free(const void *block);

#endif
