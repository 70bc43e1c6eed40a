/* Small heaps: their full collections are CPython's own, which are faster there (ZGC_SMALL).
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZSMALL_H
#define COLLECTOR_CPYTHON_ZSMALL_H

#include "heap/base/zbase.h"

/* A full collection that the program asks for is CPython's. */
bool zsmall_is_heap(void);
/* A full collection that is due because garbage has outrun us is CPython's: here a larger heap counts as small. */
bool zsmall_is_heap_to_stop(void);

/* Tracked objects in these generations, counted up to `most`. */
size_t zsmall_count(int first, int last, size_t most);

/* This process is a forked child: from now on no heap is small. Before it runs anything else. */
void zsmall_fork_child(void);

#endif
