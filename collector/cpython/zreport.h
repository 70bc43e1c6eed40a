/* Our collections as the program sees them: the statistics of gc.get_stats(), the numbers that its callbacks get,
 * and our own counters.
 *
 * A full collection is many of CPython's young ones, one for each batch of garbage. Programs may do much
 * at the end of a full collection (an agent may count all objects by type). So it is reported as such once:
 * its last batch is of generation 2 and tells the sum of what all of them collected. Those before it are of generation
 * 1 and tell nothing. Each is a pause, from its start to its stop, and all sums are right.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZREPORT_H
#define COLLECTOR_CPYTHON_ZREPORT_H

#include "collector/cpython/zplan.h"

/* The collection under way has fed zplan_now.batch objects, and CPython says what became of them. */
void zreport_fed(long collected, long uncollectable);

/* CPython counts what was fed as its candidates (3.15 tells); those of the passes were all. */
void zreport_considered(void);

/* The collection of all garbage has ended: the census of its types is complete. */
void zreport_census(void);

/* Moves what CPython has added to the statistics of generation 0 since the last batch. */
void zreport_settle(void);
/* The interpreter ends. */
void zreport_reset(void);

#endif
