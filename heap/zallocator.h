/* Blocks of any size for the interpreter's OBJ and MEM domains.
 *
 * The caller holds a GIL, as Python asks for these domains, and works in the heap that goes with it (zheap.h): so
 * the fast paths are a pop and a push on a page's free list without lock or atomic step. Each has one exit.
 *
 * What the heap cannot give (the range is exhausted, a commit fails) comes from zfallback.h. */
#ifndef HEAP_ZALLOCATOR_H
#define HEAP_ZALLOCATOR_H

#include "heap/zheap.h"
#include "heap/zsampler.h"

/* Sets up range and tables; false: use the fallback for everything. Once, before any allocation. */
bool zallocator_start(size_t range_size);

/* NULL when memory is short. size 0 gives a distinct block. The block is 16-byte aligned. */
void *zallocator_alloc(size_t size);
void *zallocator_alloc_zeroed(size_t size);
void *zallocator_realloc(void *block, size_t size);
/* For a block that will hold a GC object. Only its place differs: up to ZSMALL_MAX such blocks have pages of their own.
 * realloc keeps the kind of the block, and free takes either. */
void *zallocator_alloc_gc(size_t size);
void *zallocator_realloc_gc(void *block, size_t size);
void zallocator_free(void *block);

/* The block lies in a page of sampled blocks (zsampler.h). */
bool zallocator_is_sampled(const void *block);

/* Bytes of the block that a request for `size` gets; bytes of a block that exists, 0 for one that is not ours. */
size_t zallocator_size_for(size_t size);
size_t zallocator_size_of(const void *block);

/* Gives back what lies free within sparse pages (zsparse.h) of the caller's heap, from granule *at on, until
 * the deadline; adds to *bytes, and is true when all pages have been looked at. Under a GIL. */
bool zallocator_trim(size_t *at, uint64_t deadline_ns, size_t *bytes);
/* About how much that would be in the first heap. Any thread; walks the page table. */
size_t zallocator_sparse_bytes(void);

/* A heap for one more interpreter; ZHEAP_COMMON when there is none. The caller lets in one thread at a time. */
unsigned zallocator_new_heap(void);

/* The interpreter has ended. No thread works in its heap until the caller gives it to another interpreter, together
 * with the blocks that are still in use. */
void zallocator_leave_heap(unsigned number);

void zallocator_reset_after_fork_in_child(void);

#endif
