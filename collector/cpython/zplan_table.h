/* The table of plans. */
#ifndef COLLECTOR_CPYTHON_ZPLAN_TABLE_H
#define COLLECTOR_CPYTHON_ZPLAN_TABLE_H

#include "collector/cpython/zplan.h"

typedef enum {
  ZPLAN_FORWARD,    /* nothing of ours: an explicit gc.collect, an older generation, or we are off */
  ZPLAN_YOUNG,      /* CPython collects its young objects; survivors are promoted */
  ZPLAN_TAKE_OVER,  /* an oversized generation 0 is promoted without a walk */
  ZPLAN_BATCH,      /* a batch of garbage is fed */
  ZPLAN_LAST_BATCH, /* the last one of its collection */
  ZPLAN_FULL,       /* passes with the world stopped, then all their garbage is fed */
  ZPLAN_WHOLE,      /* CPython collects all objects as if they were young ones */
  ZPLAN_SMALL,      /* a full collection of CPython's own: the heap is small, or our passes would not see all */
  ZPLAN_SILENT,     /* of ours, without the oldest objects: the program is not told */
  ZPLAN_COUNT
} zplan_id_t;

extern const zplan_t zplan_table[ZPLAN_COUNT];

#endif
