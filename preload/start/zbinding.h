/* How the interpreter's allocations reach the heap.
 *
 *   table     PyMem_SetAllocator for the OBJ and MEM domains. Always, on every build.
 *   symbols   on top of it where calls pass through the dynamic linker: the functions that zsymbols.h
 *             exports serve without a hop through the table, tell GC objects from others, and send C
 *             callers of PyGC_Collect to our collector.
 *
 * The symbols need the address of the interpreter's tables, to see at each call whether another
 * allocator wraps ours. It is found by looking for what PyMem_SetAllocator just wrote in the data of the
 * library that has this function, and proved by changing it through that function again. */
#ifndef PRELOAD_START_ZBINDING_H
#define PRELOAD_START_ZBINDING_H

#include "heap/base/zbase.h"

/* Sets the tables and opens the symbols as ZGC_BINDING says. In the constructor. */
void zbinding_bind(void);

/* Settles which of the two the interpreter's own calls take. GIL held, interpreter up. */
void zbinding_settle(void);

const char *zbinding_name(void);   /* "symbols", "table", or "none" */
const char *zbinding_reason(void); /* why it is not symbols; "" when it is */

/* Calls `hook` at each allocation of the RAW domain, on any thread, without the GIL; NULL ends it. GIL
 * held. Does nothing while somebody has wrapped that domain. */
void zbinding_watch_raw(void (*hook)(void));

/* While the interpreter comes up: does the RAW domain still lead to us? Any allocator may be put there until
 * then; later, CPython's documentation says, it must wrap the one it finds. GIL held. */
void zbinding_check_raw(void);

/* The interpreter ends: another one in this process finds these allocators, too. GIL held. */
void zbinding_stay_for_next(void);

/* The OBJ domain holds functions that are not ours. */
bool zbinding_is_replaced(void);

#endif
