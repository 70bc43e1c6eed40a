/* Passes: trial deletion over a set of old objects, by a thread without the GIL, while the program
 * runs, or while it is stopped.
 *
 * What a pass does. For each member of the set: refcount, minus references from other members. A
 * member with a rest is held from outside; what is reachable from those is alive; the others are the
 * candidates. This is CPython's own algorithm (Modules/gcmodule.c, deduce_unreachable), and it is
 * right for any set whatever: what is outside counts as holding.
 *
 * Why racy reading is enough. The verdict is not ours: candidates are fed to CPython's own young
 * collection, which runs the same arithmetic exactly (zfeed.h). A pass has to satisfy only this:
 *   - garbage stays in. Unreachable objects cannot change: no one has a reference to do it with. So
 *     their refcounts and edges hold still, whenever they are read, and no pass drops them, except
 *     where a stray edge read from an object in motion marks one: the next collection finds it.
 *   - live objects drop out soon. A reference moved behind the pass's back can leave its target
 *     unaccounted for, once. In the next pass, over the candidates only, its holder is outside.
 *
 * Side tables (zcells.h); PyGC_Head is never written. Per block
 *     value   0 not a member | 1 + refcount | 0xFD met | 0xFE marked | 0xFF refcount in `big`
 *     minus   references met, by each lane for itself, modulo 256; the carries are in lane->big
 * A value is set when its object is visited and the references are counted then and before: one visit
 * for both. `minus` of what is not a member may hold anything.
 *
 * Two lanes. A pass is driven by one thread, on lane 0. A second one may join any step on lane 1, for
 * as long as it likes (zpass_help): a safepoint that has to hold the program up anyway, or the
 * collector thread while gc.collect has stopped the world. Members are handed out in chunks by an
 * atomic counter, smaller ones to a lane that works against a deadline. No two lanes write the same word in a way that
 * can lose anything:
 *   - subtract: a value is written by the lane whose chunk its object is in, and each lane has its
 *     own `minus` (a lost decrement would hide garbage, and an atomic one costs more than a table);
 *     they are added up in the next step;
 *   - mark: a value goes to "met", then to "marked", once and for all. Two lanes may both do it and
 *     both walk the object, which is only work done twice. A lane pushes an object once, so no stack
 *     outgrows the members. Chunks are taken in the order of addresses, which is mostly the order of
 *     allocation: what is met in a chunk that nobody has taken yet is walked when its turn comes, with
 *     its neighbours and read ahead; only what lies behind goes on the stack. (A pass takes a quarter
 *     less time than depth first throughout: memory answers best in order.) One lane may meet
 *     an object just while the other takes its chunk: such ones are looked for at the end;
 *   - sweep: values and both `minus` are cleared by the lane whose chunk the object is in, or, after
 *     the first pass, all at once.
 * Exact passes. With the world stopped nothing races, so one pass is the verdict on what is fed, and what
 * it overlooks is not found by any other. A walker that was learned from instances may overlook something
 * for ever: it misses a reference, and the target counts as held from outside; or it sees one that is only
 * borrowed, and garbage counts as reached. So only what CPython's own code describes is read by walkers
 * there; for all else the driver calls tp_traverse, once a step, as CPython does. Survivors that need not
 * be tracked any more are noted, too.
 *
 * Audits. A concurrent pass does use learned walkers, and sends a share of their instances, another one in
 * each collection, to the safepoints, which compare (ztype_learning.h).
 *
 * A lane that runs dry asks for work (`hungry`); the other gives some of its stack to a pool.
 *
 * The gate, one word, says who may change what both lanes share: nobody (FREE), the driver (DRIVER), or the
 * helper (HELPER), from when it joins until it leaves. Each is taken by a compare-and-swap with acquire and left
 * with a release, so what one wrote in a step the other sees in the next. Nobody ever waits for a lock here.
 *
 * A helper that gets no processor. What it has taken is half done, and its marks cannot be told from finished
 * ones, so nobody can go on where it stands. The driver of an exact pass waits for it as long as it gets on
 * (`looks`), and else about as long as the pass has taken so far. Then it leaves the whole pass to the helper
 * (LOST) and does another one alone: at most twice the work, and no wait that somebody else could draw out. The
 * helper finds LOST when it leaves, and gives the tables back. The collector thread as driver waits for its
 * helper without end: that is a safepoint, which ends by itself. */
#ifndef COLLECTOR_CPYTHON_ZPASS_H
#define COLLECTOR_CPYTHON_ZPASS_H

#include "collector/cpython/zcells.h"
#include "collector/cpython/zdeferred.h"
#include "collector/cpython/zmap.h"
#include "collector/python/zpyabi.h"

#define ZPASS_LANES 2
#define ZPASS_REFERENCES 16 /* power of two */

typedef enum {
  ZPASS_STEP_NONE,
  ZPASS_STEP_COUNT,
  ZPASS_STEP_SUBTRACT,
  ZPASS_STEP_MARK,
  ZPASS_STEP_SWEEP
} zpass_step_t;

/* What one worker of a pass owns; no line of it is the other's. */
typedef struct __attribute__((aligned(2 * ZCACHE_LINE))) {
  PyObject **stack; /* of marked objects to walk; in the sweep, the candidates found */
  size_t top, size;
  struct {
    size_t cell;
    void *object;
  } references[ZPASS_REFERENCES]; /* met, and their cells asked for */
  unsigned next_reference;
  uint8_t *minus;   /* by cell */
  zmap_t big;       /* cell -> 256s of references that `minus` has no room for */
  zmap_t counts;    /* cell -> refcount, where it does not fit; read by the other once all is counted */
  bool is_used;     /* `minus` is */
  zwords_t deferred, untrackable;
  zwords_t large; /* left to the driver: the helper's time is short */
  bool is_hurried; /* works against a deadline */
  size_t looks;    /* at flags and the clock; written by the lane's thread, read by anyone: it gets on */
  size_t looks_most; /* leaves at this many, whatever the clock says */
  size_t members, marked;
} zlane_t;

/* What lanes give each other. */
#define ZPASS_POOL 1024
typedef struct {
  bool is_taken; /* atomic; who finds it taken comes again later. For a copy of some kilobytes */
  bool hungry;   /* atomic; a lane has nothing to do */
  size_t count;  /* read without it as a hint */
  PyObject *objects[ZPASS_POOL];
} zpass_pool_t;

typedef struct {
  uint32_t gate;  /* atomic; see above. These two outlive the pass: helpers may come late */
  bool is_open;   /* a step may be joined; under the gate */
  bool is_lost;   /* the driver's: it has left the pass to the helper */
  zcells_t cells;
  uint8_t *at_start; /* by cell: zpass_print of the refcount before the first pass, and ZPASS_MOVED; NULL: none */
  bool is_counted;   /* once; the driver's, before a step */
  PyObject **candidates; /* NULL: members are all old objects (the first pass) */
  size_t candidate_count, candidates_size, members;
  uint64_t audit;        /* its number; the driver's to set; 0: learned types are not audited */
  zlane_t lanes[ZPASS_LANES];
  zpass_step_t step;     /* written under the gate */
  size_t next_member __attribute__((aligned(2 * ZCACHE_LINE))); /* atomic */
  zdeferred_t deferred;
  bool with_frozen;      /* the driver's to set; nothing was frozen at the start, and what is since is a member */
  bool exact;            /* the world is stopped and the driver holds the GIL; see above */
  const bool *stop;      /* polled: abandon soon when it becomes true */
  bool failed;           /* atomic; memory for a table was short */
  uint64_t started_ns;
  zpass_pool_t pool;
} zpass_t;

/* Snapshots the page table and maps the cells. False when memory is short. The pass lies in memory that was
 * zero at first and outlives all helpers. */
bool zpass_begin(zpass_t *pass, const bool *stop, bool exact);

/* A refcount in seven bits that are never all 0: another one shows but for one in 127. */
static inline uint8_t zpass_print(int64_t refcount) {
  return (uint8_t)(((uint64_t)refcount * 0x9E3779B97F4A7C15u >> 32) % 127 + 1);
}
#define ZPASS_MOVED 0x80u /* it was another one a moment before */
/* Before the first pass: notes the refcounts of all members, twice one after the other. False when told to stop, or
 * memory is short. */
bool zpass_count(zpass_t *pass);

/* The steps of one pass, in this order, by the thread that drives it. Each returns false when it was
 * told to stop or failed. After zpass_subtract, the driver has pass->deferred served before
 * zpass_mark. When pass->is_lost is set, the pass is no longer the driver's: it must not touch it again. */
bool zpass_subtract(zpass_t *pass);
bool zpass_mark(zpass_t *pass);
bool zpass_sweep(zpass_t *pass); /* leaves the members not reached in `candidates` */

/* Gives back what only further passes need; cells and candidates stay. */
void zpass_trim(zpass_t *pass);

/* Gives all tables back, also those of the candidates. */
void zpass_end(zpass_t *pass);

typedef enum {
  ZPASS_HELP_NONE,     /* there was nothing to do */
  ZPASS_HELP_DONE,     /* it did some */
  ZPASS_HELP_INHERITED /* the driver has left the pass: the caller has to call zpass_end */
} zpass_help_t;

/* Works on the step under way, if there is one, until `deadline` (zos_now_ns; UINT64_MAX: none) or
 * until nothing is left to take. Any thread but the driving one; one at a time gets in. */
zpass_help_t zpass_help(zpass_t *pass, uint64_t deadline);

/* In the driver's other work on a pass: it gets on. True when it was told to stop, or failed. */
bool zpass_look(zpass_t *pass);

/* How much of the pass is done, in thousandths; a racy estimate. */
unsigned zpass_progress(const zpass_t *pass);

/* Calls visit(object) for the survivors an exact pass found that need not be tracked any more. */
void zpass_each_untrackable(const zpass_t *pass, void (*visit)(PyObject *));

static inline size_t zpass_cell(const zpass_t *pass, const void *address) {
  return zcells_index(&pass->cells, address);
}

#endif
