/* The tables of a collection, and who has them:
 *   FREE       nobody; there are none
 *   TAKEN      the collection under way, by its phase; a stopped one's driver; or the collector thread, which has
 *              found out, or will, that it is to give them back
 *   DISCARDED  nobody: the collector thread gives them back, since that takes long, or the next taker of the place
 * The program takes two places at most, and the thread can have been left with one. */
#ifndef COLLECTOR_CPYTHON_ZTABLES_H
#define COLLECTOR_CPYTHON_ZTABLES_H

#include "collector/cpython/zcollection.h"
#include "collector/cpython/zcomponents.h"

typedef struct {
  zpass_t pass; /* the first member: see ztables_of */
  zcomponents_t garbage;
  uint64_t ticket;
  zcollection_t record;          /* as at the start, for the thread's log */
  uint64_t found, concurrent_ns; /* handed over with RECLAIMING */
  bool stop;            /* atomic; set by a thread with the GIL, polled by the lanes at work */
  bool with_frozen;     /* for the passes */
  bool is_trusted;      /* the first pass is: learn_trust in zdriver.c */
  bool is_stable;       /* handed over with RECLAIMING: the second one, where there was one, left what the first had */
  bool is_first_pass;   /* atomic; the thread's, a hint for others */
  bool counts;          /* handed over with REQUESTED */
  bool deferred_failed; /* handed over with CONCURRENT */
  uint32_t use;         /* atomic */
} ztables_t;

extern ztables_t *ztables_current; /* atomic; of the collection under way, written with the GIL */
extern ztables_t *ztables_lent;    /* atomic; of a stopped collection that the thread may help, written with the GIL */

static inline ztables_t *ztables_of(zpass_t *pass) { return (ztables_t *)pass; }

ztables_t *ztables_take(void); /* GIL */
void ztables_free(ztables_t *tables);
void ztables_discard(ztables_t *tables);
/* What has been discarded is given back. The collector thread. */
void ztables_free_discarded(void);

/* Scratch tables are not inherited; there is nothing to unmap. */
void ztables_fork_child(void);

#endif
