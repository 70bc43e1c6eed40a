/* What the files of the managed heap's collector share; nobody else includes this.
 *
 *   zmanaged.c           start, fork, statistics
 *   zmanaged_pause.c     safepoints: parking collector threads, running pauses
 *   zmanaged_phase.c     what each phase does, and which comes next
 *   zmanaged_driver.c    threads, requests
 *   zmanaged_director.c  when to collect; allocation
 *   zmanaged_release.c   what dead bodies held */
#ifndef COLLECTOR_MANAGED_ZMANAGED_STATE_H
#define COLLECTOR_MANAGED_ZMANAGED_STATE_H

#include <pthread.h>

#include "collector/managed/zmanaged.h"

/* What a young collection is for. */
typedef enum {
  ZYOUNG_ALONE,
  ZYOUNG_TENURE, /* a full collection's first: every survivor becomes old */
  ZYOUNG_ROOTS,  /* its second: the old mark starts with this one's mark, which finds its roots */
  ZYOUNG_WITHIN  /* beside the old mark */
} zyoung_role_t;

typedef struct {
  /* fixed once started */
  bool started;
  zmanaged_host_t host;
  unsigned threads;

  uint32_t changes; /* ZLOCK_MANAGED: grows whenever anything below has changed that a thread may wait for */

  /* ZLOCK_MANAGED */
  unsigned running;       /* collector threads that are not parked */
  bool thread_alive;
  uint64_t requested[2];  /* tickets, by generation: a collection with this number is wanted */
  uint64_t started_count[2], done[2];
  const char *cause[2];
  void (*pause)(void);    /* wanted; NULL none */
  bool pausing;           /* somebody runs it */
  unsigned job;           /* grows when helpers are wanted */
  bool job_open;
  unsigned helpers, helper_slots;

  /* stored under ZLOCK_MANAGED or in a pause, read relaxed by anyone */
  uint32_t stop;         /* collector threads shall park */
  uint32_t phase;
  uint32_t young_wanted; /* a young collection is requested that has not begun */
  bool inline_run;       /* the collection runs on the thread that holds the GIL */

  /* the running collections; driver, and the pauses that it waits for */
  bool full;             /* a full one is under way */
  uint32_t full_number;  /* the last or running full one's: of its first mark */
  size_t full_moved, full_freed; /* pages, by the young collections that it began with */
  zyoung_role_t role;    /* of the young one that is, or was last, under way */
  uint64_t started_ns[2];
  uint64_t young_ns;     /* how long the last young one took */
  uint64_t turn_end_ns;  /* the old mark need not give way before */
  size_t clear_cursor, promoted_cursor;
  zhandle_entry_t *weak[ZMANAGED_WEAK_MAX];
  size_t weak_count;
  bool weak_left_over;
  bool grouped;
  zrelocation_counts_t counts[2];
  zrelocate_target_t targets[ZMARK_WORKERS_MAX];

  /* GIL */
  bool results_final;    /* the old mark that zsuspects.h has results of has ended */
  void **ended;          /* hidden weak handles */
  size_t ended_count, ended_at, ended_capacity; /* count: also read relaxed by the driver */
  bool releasing;
  pthread_t releaser;    /* while releasing */
  uint32_t last_full_seq;
  size_t eden_units;     /* since the last young mark started */
  size_t units_since_full;

  /* stored by the driver, read relaxed */
  size_t old_base_units; /* used after the last full collection */
  uint64_t full_end_ns, full_ns; /* when the last full collection ended, how long it took */
} zmanaged_state_t;

extern zmanaged_state_t zm;

/* ---- zmanaged_pause.c */

/* Something has changed: whoever waits looks again. */
void zmanaged_changed_locked(void);
/* Lets go of the lock until something changes, for `ns` at most; false where nothing did. The time is relative:
 * the program may set its clock, or replace it. */
bool zmanaged_await_locked(uint64_t ns);
/* The same without an end, for loops that ask for a condition. */
void zmanaged_await_change_locked(void);

enum { ZPOLL_PAUSE = 1, ZPOLL_RELEASE = 2, ZPOLL_PACE = 4 };

void zmanaged_poll_set(uint32_t bit);
void zmanaged_poll_clear(uint32_t bit);

/* Collector threads: not parked from enter to leave; yield is a chance to park. */
void zmanaged_pause_enter(void);
void zmanaged_pause_leave(void);
void zmanaged_pause_enter_locked(void);
void zmanaged_pause_leave_locked(void);
void zmanaged_pause_yield(void);
/* Driver: has `pause` run at a safepoint, and returns when it has been. */
void zmanaged_pause_request(void (*pause)(void));
/* The same, where ZGC_VERIFY asks for it: checks the heap. */
void zmanaged_pause_verify(void);

/* ---- zmanaged_phase.c */

void zmanaged_phase_set(zmanaged_phase_t phase);
/* ZLOCK_MANAGED held: sets up the first young collection of what is to be done. */
void zmanaged_phase_begin_locked(bool full);
void zmanaged_phase_run(zmanaged_phase_t phase);
/* A helper's share of the open job. */
void zmanaged_phase_help(unsigned worker);
/* A mutator waits for a body to be moved, and no other thread will do it. GIL. */
void zmanaged_phase_relocate_here(void);

/* ---- zmanaged_driver.c */

void zmanaged_driver_open_job(void);
void zmanaged_driver_close_job(void); /* helpers that are at it finish it */
bool zmanaged_driver_ensure_thread_locked(void);
void zmanaged_driver_ensure_thread(void);

/* ---- zmanaged_release.c */

/* Driver, a generation's mark has ended: lists its dead Python references. */
void zmanaged_release_sweep(zgeneration_t generation);

#endif
