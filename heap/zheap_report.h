/* Reports on the heap: counts, and a check of its pages. */
#ifndef HEAP_ZHEAP_REPORT_H
#define HEAP_ZHEAP_REPORT_H

#include "heap/zheap.h"

typedef struct {
  size_t used_blocks;
  size_t used_bytes;      /* in blocks handed out */
  size_t page_bytes;      /* in pages */
  size_t pages[4];        /* by zpage_kind_t */
  size_t fallback_blocks; /* blocks that the heap could not give, over all time */
} zheap_report_t;

/* Walks the page table (about 1 ms per 4 GiB). Exact for the first heap under the first GIL, else approximate. */
void zheap_report(zheap_report_t *stats);

typedef struct {
  size_t pages, capacity, used; /* blocks there is room for, and those handed out */
} zheap_report_class_t;

/* Pages and blocks by size class. The pages of GC objects count with the others of their size. */
void zheap_report_classes(zheap_report_class_t classes[ZCLASS_COUNT]);

/* Checks every page of the caller's heap, and of the common one, against the equation in zpage.h; a message and
 * false where one is broken. Under a GIL. */
bool zheap_report_verify(char *message, size_t size);

#endif
