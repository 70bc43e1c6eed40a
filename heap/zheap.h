/* Heaps: who may work in which, and what they hold.
 *
 * Lock: the GIL. Python's contract for the OBJ and MEM domains is that the caller holds it, so nothing in a heap
 * needs a lock or an atomic step. While one GIL is all there is, all pages belong to one heap, the first.
 *
 * Before there is a second GIL (a sub-interpreter with its own), zheap_close() is called, by any thread, while
 * the one that holds the first GIL may be anywhere in here. From then on
 *   - the fast paths lead nowhere: what they pop from is an empty page, and every page has a flag that sends
 *     frees to the slow path; there the thread asks whose heap is its own;
 *   - the first heap and its pages are still touched only by the holder of the first GIL. Each other interpreter
 *     has a heap of its own, with pages of its own, which is touched by the threads of that interpreter: one
 *     at a time, whichever GIL it has. A thread that is not known to be of one, and interpreters for which there
 *     is no heap left, work in the common heap, under its lock.
 *   - a block that is freed outside of its heap is returned: pushed on an atomic list, which the heap takes.
 * So no handshake is needed, and it does not matter when the holder of the first GIL notices: it goes on
 * touching pages that no other thread ever touches. What both touch are the granules (their own lock), the flags
 * of pages and zheap_open_page[], which change by atomic steps that lose neither side's part.
 * Other threads see the closed state, on any processor, because the second GIL's first holder comes after the
 * closer: in the same thread, or by a lock or thread start that orders the two. */
#ifndef HEAP_ZHEAP_H
#define HEAP_ZHEAP_H

#include "heap/base/zlock.h"
#include "heap/zpage.h"
#include "heap/zthread_heap.h"

enum { ZHEAP_FIRST, ZHEAP_COMMON, ZHEAP_COUNT = 256 };

/* Functions that the heap calls, each if it is set. None may run Python or allocate. */
typedef struct {
  /* On the way through the slow path of an allocation in the first heap, about once per page: the caller holds the
   * first GIL. */
  void (*slow)(void);
  /* Once, when empty pages hold ZHEAP_IDLE_MIN bytes: from now on zgranules_uncommit_aged has to be called now and
   * then. In the middle of a free in the first heap; again after a fork in the child. */
  void (*idle)(void);
  /* An old object of at least ZOLD_HOOK_SIZE bytes is freed: a type may be dying. In the middle of a free: it must not
   * change the old map. */
  void (*old_freed)(void *object);
} zheap_hooks_t;

extern zheap_hooks_t zheap_hooks;
#define ZHEAP_IDLE_MIN (8 * ZM)

/* The pages that blocks come from. */
typedef struct {
  zpage_t *current[ZCLASS_ALL]; /* the page that the class allocates from; never NULL */
  zpage_t *listed[ZCLASS_ALL];  /* other pages of the class with free blocks, doubly linked */
} zheap_pages_t;

/* The fast path pops from `front`. Only its list and two numbers are used: `carved` blocks were
 * put on the list, `used` of them have been handed out. All blocks of a batch count as used in their
 * page, and go back there when they are freed. */
typedef struct {
  zpage_t front;
  zblock_t *reserve;
  uint32_t reserve_count;
  uint64_t before_sample; /* blocks to go */
} zheap_batch_t;

typedef struct {
  zpage_t *front[ZCLASS_ALL];         /* blocks are popped from these: the current pages, or the batches' fronts */
  zheap_pages_t plain, sampled;       /* sampled: those with ZPAGE_FLAG_SAMPLED */
  zheap_batch_t batches[ZCLASS_ALL];  /* with zheap_has_batches */
  zblock_t *returned;                 /* freed outside of the heap; any thread pushes, the heap takes all at once */
  uint32_t page_flags;                /* the heap's number, above ZPAGE_HEAP_SHIFT */
  size_t debt;                        /* granules of growth to make up for */
  size_t next_look, next_recut;       /* where to look for sparse pages, and for those to cut again */
  uint64_t kept[ZCLASS_ALL / 64 + 1]; /* classes that may keep an empty page at hand */
} zheap_t;

extern zheap_t zheap_first, zheap_common;

/* Where a class has no page: nothing is free in it, so the fast path takes its exit. */
extern zpage_t zheap_empty_page;

/* The fast path pops from these pages: the first heap's `front`, and once closed an empty page for good. A thread that
 * works in the first heap writes by compare and swap, the closer by a store: so the closer's value stays. */
extern zpage_t *zheap_open_page[ZCLASS_ALL];

/* Small blocks are handed out in batches (zsampler.h). Set before the first allocation. */
extern bool zheap_has_batches;

extern bool zheap_closed; /* zheap_is_closed() */

void zheap_start(void);

/* Any thread, before a second GIL exists; there is no way back. `holder` tells in which heap the calling thread works.
 * Of no heap but ZHEAP_COMMON is it the answer for two threads at a time, and ZHEAP_FIRST for none that does not hold
 * the first GIL. It must not allocate. */
void zheap_close(unsigned (*holder)(void));
static inline bool zheap_is_closed(void) { return zload_relaxed(&zheap_closed); }

/* A heap for one more interpreter, NULL when there is none; then its number, from which on other threads may meet it.
 * One thread at a time, as the caller sees to. */
zheap_t *zheap_make(void);
unsigned zheap_publish(zheap_t *heap);

zheap_t *zheap_of(unsigned number);
unsigned zheap_count(void);

/* The calling thread's heap where no question and no lock is needed for it, or NULL. */
static inline zheap_t *zheap_known(void) { return zthread_heap_is_known() ? zthread_heap.heap : NULL; }

/* The heap that the calling thread works in, until it leaves. */
zheap_t *zheap_enter_closed(void);
static inline zheap_t *zheap_enter(void) {
  return zlikely(!zload_acquire(&zheap_closed)) ? &zheap_first : zheap_enter_closed();
}
static inline void zheap_leave(zheap_t *heap) {
  if (zunlikely(heap == &zheap_common)) zlock_drop(ZLOCK_COMMON_HEAP);
}

/* -- by a thread that works in the heap --------------------------------------------------------------- */

static inline bool zheap_owns(const zheap_t *heap, const zpage_t *page) {
  return ((zpage_flags(page) ^ heap->page_flags) & ZPAGE_HEAP_MASK) == 0;
}

/* Flags of a page that is made. The granules' lock has been taken since the closer looked for pages, or will
 * be before it does: one of the two sets CLOSED. */
static inline uint32_t zheap_new_page_flags(const zheap_t *heap) {
  return heap->page_flags | (zheap_is_closed() ? ZPAGE_FLAG_CLOSED : 0);
}

static inline zheap_pages_t *zheap_pages_of(zheap_t *heap, uint32_t page_flags) {
  return page_flags & ZPAGE_FLAG_SAMPLED ? &heap->sampled : &heap->plain;
}

static inline zpage_t *zheap_current(zheap_t *heap, unsigned size_class, uint32_t page_flags) {
  return zheap_pages_of(heap, page_flags)->current[size_class];
}

static inline void zheap_set_front(zheap_t *heap, unsigned size_class, zpage_t *page) {
  zpage_t *before = heap->front[size_class];
  heap->front[size_class] = page;
  if (heap == &zheap_first) zcas_relaxed(&zheap_open_page[size_class], &before, page);
}

static inline void zheap_set_current(zheap_t *heap, unsigned size_class, uint32_t page_flags, zpage_t *page) {
  zheap_pages_t *pages = zheap_pages_of(heap, page_flags);
  pages->current[size_class] = page;
  if (pages == &heap->plain && !zheap_has_batches) zheap_set_front(heap, size_class, page);
}

#endif
