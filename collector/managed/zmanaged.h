/* The managed heap's collector: phases, pauses, requests.
 *
 *   phase              on                  does
 *   PREPARE            collector thread    clears live maps
 *   MARK_START         pause               new collection number, flips mark colours, retires eden pages
 *   MARK               collector threads   roots, follow; weak entries
 *   MARK_END           pause               nothing left to follow? weak entries of dead bodies end here
 *   SELECT             collector thread    drops the last forwardings, finds dead references, builds the set
 *   RELOCATE_START     pause               flips remap colours
 *   RELOCATE           collector threads   registers promoted pages, moves bodies
 *   YOUNG_FINISH       collector thread    gives memory back, statistics
 *
 *   OLD_MARK           collector threads   follows old bodies; weak entries
 *   OLD_MARK_END       pause               as MARK_END
 *   GROUP              collector thread    where there are suspects (zsuspects.h); then OLD_MARK again
 *   GROUP_END          pause               nothing left to walk?
 *   OLD_SELECT, OLD_RELOCATE_START, OLD_RELOCATE, FINISH: as their namesakes, for old pages
 *
 * A young collection is the first list. A full collection is two of these, of which the first makes all
 * survivors old, so that all garbage there is will be found, and the second finds the roots of the old
 * mark (zmark.h); then the second list. Whenever young collections are wanted while the old mark runs,
 * the two take turns: OLD_MARK is left for PREPARE, and YOUNG_FINISH leads back to it. So the program
 * can go on making garbage as fast as before, however long the old mark takes.
 *
 * A pause is run by whoever holds the GIL, at a safepoint: the entry of an accessor, an allocation's
 * slow path, or a pending call (zmanaged_host_t.request_safepoint asks for one). The collector thread
 * never takes the GIL. What a pause does takes the same time whatever the heap: most are a few stores,
 * a mark's end follows at most ZMANAGED_PAUSE_BODIES bodies and looks at no more than
 * ZMANAGED_WEAK_MAX weak entries; what is left over is marked concurrently and the pause tried again.
 *
 * Each phase ends by storing the next one, and can be started again from its beginning: that is how a
 * forked child takes up the collection that its parent had under way. Collector threads park at yield
 * points, holding nothing, while zmanaged_stop_world lasts.
 *
 * Addresses of bodies must not be kept across a safepoint. */
#ifndef COLLECTOR_MANAGED_ZMANAGED_H
#define COLLECTOR_MANAGED_ZMANAGED_H

#include "barrier/zbarrier_inline.h"
#include "collector/managed/zmark.h"
#include "collector/managed/zrelocate.h"
#include "heap/base/zpause.h"
#include "heap/managed/zhandle_table.h"
#include "heap/managed/zpyref_table.h"

#define ZMANAGED_WEAK_MAX 2048
#define ZMANAGED_PAUSE_BODIES 256

#define ZMANAGED_PHASES(X)  \
  X(IDLE, "idle")                                                                                   \
  X(PREPARE, "prepare")                                                                             \
  X(MARK_START, "mark start")                                                                       \
  X(MARK, "mark")                                                                                   \
  X(MARK_END, "mark end")                                                                           \
  X(SELECT, "select")                                                                               \
  X(RELOCATE_START, "relocate start")                                                               \
  X(RELOCATE, "relocate")                                                                           \
  X(YOUNG_FINISH, "young finish")                                                                   \
  X(OLD_MARK, "old mark")                                                                           \
  X(GROUP, "group")                                                                                 \
  X(GROUP_END, "group end")                                                                         \
  X(OLD_MARK_END, "old mark end")                                                                   \
  X(OLD_SELECT, "old select")                                                                       \
  X(OLD_RELOCATE_START, "old relocate start")                                                       \
  X(OLD_RELOCATE, "old relocate")                                                                   \
  X(FINISH, "finish")

typedef enum {
#define X(id, name) ZMANAGED_##id,
  ZMANAGED_PHASES(X)
#undef X
} zmanaged_phase_t;

/* What the collector needs from preload/ (or a test). All but request_safepoint: GIL. */
typedef struct {
  void (*request_safepoint)(void);       /* any thread */
  bool (*weak_is_held)(void *object);    /* has the program got hold of a weak handle again? */
  void (*weak_hide)(void *object);       /* pause: from now on nobody can; no Python may run */
  void (*weak_finish)(void *object);     /* later: weak references are told, the handle ends */
  void (*release)(void *object);         /* drops a reference that a dead body held */
  void (*touch)(zhandle_entry_t *entry); /* a weak entry, or one in a group, is used */
  /* A full collection is about to be asked for; because of what bodies hold outside? No Python code. */
  void (*choose_suspects)(bool has_grown_outside);
  void (*wait)(void);                    /* zmanaged_wait, without the GIL; runs Python code of other threads */
  bool (*ask_verdict)(void);             /* now and then: may groups be judged by Python's gc? No Python code. True:
                                          * it asks for a safepoint */
  bool (*awaits_verdict)(void);          /* would a full collection find more a little later? Then that is prepared */
  bool (*keeps_reference)(uint32_t index); /* may this reference, of a dead body, not be dropped yet? */
  bool (*take_groups)(uint64_t deadline); /* what zsuspects.h found; a mark has ended since. True: all of it */
} zmanaged_host_t;

extern zhidden uint32_t zmanaged_poll_wanted; /* not 0: a safepoint is wanted */

/* capacity in bytes; threads that mark and move, 0 = automatic. GIL. */
bool zmanaged_start(size_t capacity, unsigned threads, const zmanaged_host_t *host);
bool zmanaged_is_started(void);

/* A new body: zeroed, header and length set; 0 when memory is short (then zmanaged_stall). GIL; no
 * safepoint. length only for shapes that are not fixed. */
zaddress_t zmanaged_alloc(const zshape_t *shape, uint64_t length);
/* Same for sizes that fit the current page; 0 otherwise. */
static inline zaddress_t zmanaged_try_alloc_fixed(const zshape_t *shape);

/* A body has been given a reference to a Python object: now and then a look at whether a collection would give
 * memory back outside the managed heap. GIL; runs no Python code. */
void zmanaged_note_reference(void);

/* A safepoint: runs a wanted pause, and a slice of releases. GIL. May run Python code. */
void zmanaged_safepoint(void);
static inline void zmanaged_poll(void) {
  if (zunlikely(zload_relaxed(&zmanaged_poll_wanted) != 0)) zmanaged_safepoint();
}

/* When the old mark gives way to young collections: if one is wanted, and its turn is over; if one is
 * wanted (ZGC_STRESS); or at every chance, wanted or not (tests). Set while no collection runs. */
typedef enum { ZGIVE_WAY_BY_TURNS, ZGIVE_WAY_AT_ONCE, ZGIVE_WAY_ALWAYS } zgive_way_t;
extern zgive_way_t zmanaged_give_way;
/* Tests: the collector waits before this phase, parking when asked to. 0: none. */
extern uint32_t zmanaged_hold;

/* Asks for a collection, ZGENERATION_OLD for a full one; a ticket for zmanaged_is_done. Any thread. */
uint64_t zmanaged_request(zgeneration_t generation, const char *cause);
bool zmanaged_is_done(uint64_t ticket);
/* Waits a little for progress: a pause wanted, or a collection finished. GIL not held. */
void zmanaged_wait(void);
/* Runs a requested collection on the calling thread when no collector thread can be had. GIL. */
void zmanaged_run_if_stuck(void);

/* What these entries of the table hold belongs to dead bodies: zmanaged_release_some will drop it. GIL. */
void zmanaged_release(const uint32_t *references, size_t count);
/* Has an old mark ended whose groups (zsuspects.h) wait to be taken? GIL. */
bool zmanaged_has_groups(void);
/* Is there something for zmanaged_release_some? */
bool zmanaged_has_releases(void);
/* Drops references of dead bodies for about `ns`; GIL, runs Python code. True when nothing is left. */
bool zmanaged_release_some(uint64_t ns);

zmanaged_phase_t zmanaged_phase(void);
/* Number of the last full collection whose mark has ended. */
uint32_t zmanaged_last_full_seq(void);
const char *zmanaged_phase_name(zmanaged_phase_t phase);

void zmanaged_fork_prepare(void);
void zmanaged_fork_parent(void);
void zmanaged_fork_child(void);

/* Collector threads park until resume; for verification and tests. GIL. */
void zmanaged_stop_world(void);
void zmanaged_resume_world(void);

/* ---- statistics ------------------------------------------------------------------------------ */

/* X(field, kind, unit, help), as in zstat.h. */
#define ZMANAGED_STATS(X)                                                                           \
  X(young_collections, COUNTER, PLAIN, "collections of young bodies")                               \
  X(young_within_full, COUNTER, PLAIN, "collections of young bodies beside an old mark")            \
  X(full_collections, COUNTER, PLAIN, "collections of all bodies")                                  \
  X(pauses, COUNTER, PLAIN, "pauses of both generations")                                           \
  X(pause_max_ns, GAUGE, NS, "longest pause so far")                                                \
  X(pause_max_cpu_ns, GAUGE, NS, "longest pause by the CPU clock of its thread")                    \
  X(pause_total_ns, COUNTER, NS, "all pauses together")                                             \
  X(young_concurrent_ns, COUNTER, NS, "wall time of concurrent phases of young collections")        \
  X(full_concurrent_ns, COUNTER, NS, "wall time of concurrent phases of full collections")          \
  X(marked_bodies, COUNTER, PLAIN, "bodies marked")                                                 \
  X(marked_bytes, COUNTER, BYTES, "bytes of bodies marked")                                         \
  X(relocated_pages, COUNTER, PLAIN, "units of pages evacuated or slid")                            \
  X(in_place_pages, COUNTER, PLAIN, "units of pages slid in place")                                 \
  X(freed_pages, COUNTER, PLAIN, "units of pages freed because nothing in them lived")              \
  X(promoted_pages, COUNTER, PLAIN, "units of pages that became old where they are")                \
  X(released_references, COUNTER, PLAIN, "references to Python objects dropped with dead bodies")   \
  X(weak_ended, COUNTER, PLAIN, "weak references whose body was found dead")                        \
  X(cycle_groups, COUNTER, PLAIN, "groups of cycles handed to Python's collector")                  \
  X(cycle_groups_left, GAUGE, PLAIN, "of them, those that it has not reclaimed")                    \
  X(allocation_stalls, COUNTER, PLAIN, "allocations that had to wait for a collection")             \
  X(paced, COUNTER, PLAIN, "short waits of a program that makes references faster than they are collected")  \
  X(stall_total_ns, COUNTER, NS, "time for which they waited")                                      \
  X(used_bytes, GAUGE, BYTES, "memory in pages with bodies")                                        \
  X(resident_bytes, GAUGE, BYTES, "resident memory, that of empty pages included")                  \
  X(capacity_bytes, GAUGE, BYTES, "the most that pages may take (ZGC_MANAGED_MAX)")                 \
  X(live_bytes, GAUGE, BYTES, "bytes of bodies alive after the last full collection")               \
  X(handles, GAUGE, PLAIN, "handles in Python's hands")                                             \
  X(weak_handles, GAUGE, PLAIN, "handles held only by a weak reference")                            \
  X(python_references, GAUGE, PLAIN, "references from bodies to Python objects")                    \
  X(faults, COUNTER, PLAIN, "failures that were survived")                                          \
  X(verified_bodies, COUNTER, PLAIN, "bodies looked at by ZGC_VERIFY")

typedef struct {
#define X(field, ...) uint64_t field;
  ZMANAGED_STATS(X)
#undef X
} zmanaged_stats_t;

extern zmanaged_stats_t zmanaged_stat_values;

/* Of each generation, over all time. The young one's include the collections that a full one begins with. */
#define ZMANAGED_GENERATION_STATS(X)                                                                \
  X(marks, COUNTER, PLAIN, "marks of a generation")                                                 \
  X(marked_bodies, COUNTER, PLAIN, "bodies marked in a generation")                                 \
  X(marked_bytes, COUNTER, BYTES, "bytes of bodies marked in a generation")                         \
  X(concurrent_ns, COUNTER, NS, "wall time of concurrent phases of a generation")                   \
  X(moved_pages, COUNTER, PLAIN, "units of pages of a generation that were moved")                  \
  X(freed_pages, COUNTER, PLAIN, "units of pages of a generation that were freed")                  \
  X(promoted_pages, COUNTER, PLAIN, "units of pages of a generation that were promoted")            \
  X(pauses, COUNTER, PLAIN, "pauses of a generation")                                               \
  X(pause_max_ns, GAUGE, NS, "longest pause of a generation so far")                                \
  X(pause_total_ns, COUNTER, NS, "all pauses of a generation together")

typedef struct {
#define X(field, ...) uint64_t field;
  ZMANAGED_GENERATION_STATS(X)
#undef X
} zmanaged_generation_stats_t;

extern zmanaged_generation_stats_t zmanaged_generation_values[2]; /* by zgeneration_t */
void zmanaged_stats_read(zmanaged_stats_t *stats);

/* What is in use now, by zgeneration_t: units of pages, and bytes in them up to the last body. A walk over
 * the page table. GIL. */
typedef struct {
  uint64_t pages, bytes;
} zmanaged_usage_t;
void zmanaged_usage_read(zmanaged_usage_t usage[2]);

/* Pauses by kind: mark start, mark end, relocate start. One writer, the thread that pauses. */
enum { ZMANAGED_PAUSE_KINDS = 3 };
extern const char *const zmanaged_pause_names[ZMANAGED_PAUSE_KINDS];
extern zpause_histogram_t zmanaged_pause_histograms[ZMANAGED_PAUSE_KINDS];

/* The same in log-linear buckets, 8 per power of 2. */
#define ZMANAGED_PAUSE_BUCKETS 256
extern uint64_t zmanaged_pauses[ZMANAGED_PAUSE_KINDS][ZMANAGED_PAUSE_BUCKETS];
uint64_t zmanaged_pause_bucket_ns(unsigned bucket); /* upper bound */

/* ---- allocation's fast path ------------------------------------------------------------------- */

extern zhidden zbody_page_t *zmanaged_eden_small, *zmanaged_eden_medium; /* GIL */

static inline zaddress_t zmanaged_try_alloc_fixed(const zshape_t *shape) {
  zbody_page_t *page = zmanaged_eden_small;
  if (zunlikely(page == NULL)) return zaddress(0);
  zaddress_t body = zbody_page_bump(page, shape->size);
  if (zlikely(!zaddress_is_null(body))) zstore_relaxed(&zbody_header(body)->shape, shape->id);
  return body;
}

#endif
