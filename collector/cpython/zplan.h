/* Plans: what is done with a collection that CPython starts.
 *
 * A plan is a constant row of the table in zplan_table.c, and no other place asks which one it is. One is chosen at
 * the start of each collection (zsafepoint.c), opened, and closed at the stop. A caller who starts a collection
 * of CPython's for a purpose of ours names the row that shall be chosen (zstock.h).
 *
 * `zplan_now` describes the collection under way, from its start to its stop. There is one at a time: CPython's flag
 * `collecting` is set meanwhile, so none starts within another.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZPLAN_H
#define COLLECTOR_CPYTHON_ZPLAN_H

#include "collector/python/zcallbacks.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zoption.h"
#include "heap/base/zpause.h"

#define ZPLAN_NO_PAUSE (-1)
#define ZPLAN_AS_ASKED (-1)

typedef struct zplan {
  const char *name;
  int pause;      /* the kind of pause that it is, or ZPLAN_NO_PAUSE: it is CPython's own affair */
  int generation; /* that callbacks and gc.get_stats() are told, or ZPLAN_AS_ASKED */
  bool is_silent; /* the program's callbacks are not called */
  bool is_turn;   /* one of the many that the collector's work is done at: slices of it follow at the stop */
  bool (*is_due)(void);          /* asked before and after the program's callbacks; NULL: always */
  const struct zplan *otherwise; /* the plan where it is not due */
  void (*open)(void);            /* or NULL */
  void (*close)(PyObject *info); /* `info` is the stop's, as CPython's callbacks get it */
} zplan_t;

/* The plan itself, or what replaces it where it is not due. */
const zplan_t *zplan_settled(const zplan_t *plan);

typedef struct {
  /* zsafepoint.c */
  const zplan_t *asked; /* by a caller of ours; NULL: CPython starts it by itself */
  const zplan_t *plan;
  long generation;      /* that CPython collects */
  bool is_hurried; /* zrequest.h has brought it on, not the count */
  bool is_cramped; /* no room on the stack for anything of ours */
  bool is_open;    /* start has done its part, which stop has to close; nothing else may */
  uint64_t start_ns;
  uint64_t start_cpu_ns; /* time of this thread, where it is asked for; else 0 */

  /* zreport.c */
  zcallbacks_report_t report;         /* for the program's callbacks */
  zgc_generation_stats_t young_stats; /* of generation 0, at start */

  /* zyoung.c: members of generation 0 that were looked at, those among them that were looked at before, ... */
  size_t looked, aged, weight;
  size_t promoted;   /* of the survivors */
  bool is_rethought; /* another threshold fits their weight */
  bool is_large;     /* looked at as an exception */
  bool is_left_out;  /* not looked at, for it would be in vain */

  /* zreclaim.c, zfull.c */
  size_t batch;    /* objects fed */
  size_t doomed;   /* members of large components that are sure to go since (zteardown.h) */
  int young_count; /* of generation 0, put back after a batch */
  bool has_failed; /* a full collection: memory was short, nothing was fed */

  uint64_t paced_ns; /* zpace.c: lent to the collection under way */
} zplan_now_t;

extern zplan_now_t zplan_now;

static inline zgc_head_t *zplan_list(int generation) { return &zgc_state.generations[generation].head; }
static inline uint64_t zplan_budget_ns(void) { return zoption(pause_target) * 1000u; }

#endif
