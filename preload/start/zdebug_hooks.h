/* CPython's debug hooks over our heap: -X dev, PYTHONDEVMODE, debug builds.
 *
 * The hooks wrap an allocator, keep 16 bytes in front of each block and some behind it, and check
 * both. Where the interpreter is to have them, it sets its own allocators with the hooks on top,
 * after our constructor and before its first object. pymalloc's first request for an arena is the
 * moment at which that shows; there we take pymalloc's place below the hooks. pymalloc is told that
 * there is no arena, so what little it was asked for comes from malloc, and goes back the same way:
 * blocks that are not ours are handed on to it.
 *
 * That the hooks are there, and where they keep the allocator below, is proven by setting ours
 * through the public API and looking. Anything else than expected is put back as it was.
 *
 * All functions: GIL held, or before the interpreter exists. */
#ifndef PRELOAD_START_ZDEBUG_HOOKS_H
#define PRELOAD_START_ZDEBUG_HOOKS_H

#include "collector/python/zpyapi.h"

/* Bytes that the hooks keep in front of a block. */
#define ZDEBUG_HOOKS_HEADER 16

/* Whether the hooks stand over the OBJ and MEM domains: true in the constructor of a debug build. */
bool zdebug_hooks_are_set(void);

/* Puts these allocators below the hooks, in place of the interpreter's, which from then on serves
 * what the heap cannot. False: nothing was changed. */
bool zdebug_hooks_go_below(const PyMemAllocatorEx *object, const PyMemAllocatorEx *mem);

/* The next interpreter of the process came up without them. Before its first object is old. */
void zdebug_hooks_are_gone(void);

/* True when the hooks stand over the OBJ domain and this table is below them. */
bool zdebug_hooks_are_over(const PyMemAllocatorEx *object);

/* `on_request` is called when an arena of so many bytes is asked for; true refuses it. */
void zdebug_hooks_watch_arenas(bool (*on_request)(size_t size));

/* The interpreter's own allocator of arenas, and the one that watches. False: none was set. */
bool zdebug_hooks_arenas(PyObjectArenaAllocator *own, PyObjectArenaAllocator *watched);

#endif
