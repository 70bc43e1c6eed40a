/* Where the collection under way stands. Changed only by zdriver.c, by compare-and-swap.
 *
 *   IDLE        nothing under way
 *   REQUESTED   a cause is set; the collector thread will begin      by a thread with the GIL
 *   CONCURRENT  the collector thread works, without the GIL          by the collector thread
 *   DEFERRING   it waits while safepoints run tp_traverse            by the collector thread
 *   RECLAIMING  garbage is found; safepoints feed it to CPython      by the collector thread
 *
 * IDLE -> REQUESTED -> CONCURRENT <-> DEFERRING
 * CONCURRENT -> RECLAIMING -> IDLE, and CONCURRENT -> IDLE when memory was short. A thread with the GIL may give
 * the collection up in any phase: then it is IDLE at once. Fork sets the child's to IDLE, whatever it was. */
#ifndef COLLECTOR_CPYTHON_ZPHASE_H
#define COLLECTOR_CPYTHON_ZPHASE_H

#include "heap/base/zbase.h"

typedef enum {
  ZPHASE_IDLE,
  ZPHASE_REQUESTED,
  ZPHASE_CONCURRENT,
  ZPHASE_DEFERRING,
  ZPHASE_RECLAIMING
} zphase_t;

static inline bool zphase_is_legal(zphase_t from, zphase_t to) {
  switch (from) {
    case ZPHASE_IDLE:
      return to == ZPHASE_REQUESTED;
    case ZPHASE_REQUESTED:
      return to == ZPHASE_CONCURRENT || to == ZPHASE_IDLE;
    case ZPHASE_CONCURRENT:
      return to == ZPHASE_DEFERRING || to == ZPHASE_RECLAIMING || to == ZPHASE_IDLE;
    case ZPHASE_DEFERRING:
      return to == ZPHASE_CONCURRENT || to == ZPHASE_IDLE;
    case ZPHASE_RECLAIMING:
      return to == ZPHASE_IDLE;
  }
  return false;
}

/* Why a collection was started; names are what logs and statistics show. */
#define ZCAUSE_TABLE(X)                       \
  X(NONE, "None", collections)                \
  X(GROWTH, "Growth", collections_growth)     \
  X(HEAP_GROWTH, "Heap Growth", collections_heap_growth) \
  X(MEMORY, "Memory Pressure", collections_memory)       \
  X(TIMER, "Timer", collections_timer)        \
  X(EXPLICIT, "Explicit", collections_explicit) \
  X(SYSTEM_GC, "System.gc", collections_system_gc) \
  X(ESCALATION, "Escalation", collections_escalation) \
  X(STRESS, "Stress", collections_stress)

typedef enum {
#define X(id, name, counter) ZCAUSE_##id,
  ZCAUSE_TABLE(X)
#undef X
} zcause_t;

const char *zcause_name(zcause_t cause);
/* Counts one more collection with this cause. */
void zcause_count(zcause_t cause);

#endif
