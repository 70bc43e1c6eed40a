/* The populator: a thread that makes memory of the heap present before it is needed, in huge pages.
 *
 * A program that walks a large heap spends much of its time on address translation. With 2 MiB pages
 * the churn of perf/workloads/_heaps.py over 2 M objects ran 1.15 to 1.4 times as fast here. But the
 * first touch of a huge page clears 2 MiB, 0.1 to 5 ms, which no allocation should wait for. So memory
 * for a heap of more than 16 MiB is populated before it is handed out; where the program is faster than
 * that, allocations go round the chunk at work, in ordinary pages. Smaller heaps have no others.
 *
 * An option, not the default: on two processors, building a heap took a tenth longer (memory cleared by
 * another processor is not in this one's caches), peak RSS was 2 % higher, and the longest pauses rose
 * from 0.5 to some ms, because the populator competes with the program while the collector works.
 *
 * What lies ready is memory that the process has without needing it: about a 128th of the heap. Near a
 * cgroup's limit there is none.
 *
 * Threads: the allocating thread wakes this one through zgranules_low_hook; it claims chunks under the
 * granules' lock and populates them under none. A forked child gets the chunk at work back as ordinary
 * memory, and starts a thread of its own when it needs it. */
#ifndef HEAP_ZPOPULATOR_H
#define HEAP_ZPOPULATOR_H

#include "heap/zgranules.h"

/* From now on. Does nothing where the kernel has no huge pages. */
void zpopulator_start(void);
void zpopulator_reset_after_fork_in_child(void);

#endif
