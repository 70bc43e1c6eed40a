/* The C API functions that the library exports in front of an interpreter's own.
 *
 * Where libpython is a shared library (or an extension module calls), these are what PyObject_Malloc
 * and its neighbours resolve to. They exist in every process that the library is loaded into, so
 * each one first asks whether the interpreter's allocator table holds our functions at this moment:
 *
 *   it does        the heap serves at once, without the hop through the table
 *   it does not    closed (no interpreter, passive), or somebody wrapped or replaced the allocators
 *                  (tracemalloc, debug hooks, PyMem_SetAllocator): the interpreter's own function runs
 *
 * The table is read where it lies, so no notification is needed and none can be missed: zbinding.c
 * finds it and proves it. The _PyObject_GC_ functions always call the interpreter's own; all they add
 * is a hint that the next block will hold a GC object (zallocator_alloc_gc), which is a matter of
 * place only.
 *
 * Threads: the caller holds the GIL, as the API demands. With several GILs two threads may disturb
 * each other's hint, and a block then lies among the others. All words are read and written relaxed. */
#ifndef PRELOAD_START_ZSYMBOLS_H
#define PRELOAD_START_ZSYMBOLS_H

#include "collector/python/zpyapi.h"

/* True when a look-up of PyObject_Malloc in this process finds ours: no executable comes first. */
bool zsymbols_are_first(void);

/* False where LD_PRELOAD names another copy of this library before this one, from another path. Any thread. */
bool zsymbols_are_of_first_copy(void);

/* For programs that know the library by dlsym only. The version, such as "0.2.0"; never freed. */
const char *zgcpreload_version(void);

/* From now on compare with `ours`; object and mem are the interpreter's live tables. Before other
 * threads, or with the GIL. */
void zsymbols_open(const PyMemAllocatorEx *object, const PyMemAllocatorEx *mem,
                   const PyMemAllocatorEx *ours);
bool zsymbols_are_open(void);

/* Whether the interpreter's own allocations come through here: calls some API and looks. GIL held. */
bool zsymbols_reach_interpreter(void);

#endif
