/* Native stacks of the calling thread, by libunwind.
 *
 * libunwind is loaded when it is first asked for, and not linked: a program that wants no stacks does
 * not pay for it, the library starts where it is missing, and Debian's static libunwind.a is not
 * position independent. Its fast trace keeps unwinding rules in a cache of each thread and takes
 * about 10 ns for a frame; a walk that also tells stack pointers takes a microsecond for each.
 *
 * Safe wherever dl_iterate_phdr is: on any thread, inside an allocation, not in signal handlers.
 * Neither allocates from the program's heap. */
#ifndef HEAP_BASE_ZBACKTRACE_H
#define HEAP_BASE_ZBACKTRACE_H

#include "heap/base/zbase.h"

/* NULL, or why there will be no stacks: libunwind.so.8 cannot be loaded, or may not make its calls. Before other
 * threads start, or under a lock of the caller's. */
const char *zbacktrace_start(void);

/* Return addresses, innermost first, without the innermost ones that lie in this library. At most
 * `max`, cut at the outer end. */
unsigned zbacktrace(void **addresses, unsigned max);

/* The same, slowly, with each frame's stack pointer: what a frame keeps on the stack lies between
 * its own and the next one's. */
unsigned zbacktrace_with_stacks(void **addresses, uintptr_t *stacks, unsigned max);

/* Name of the function that holds `address`, from the symbols that the loader knows; else
 * "object+0x123" with the function's start where unwinding information tells it; else the address. */
void zbacktrace_name(uintptr_t address, char *name, size_t size);

#endif
