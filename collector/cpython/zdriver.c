#define _GNU_SOURCE
#include "collector/cpython/zdriver.h"

#include <string.h>

#include "collector/python/ztype_learning.h"
#include "heap/base/zassert.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

#define PASSES_MAX 10
#define STABLE_SHARE 32 /* the set is stable when a pass drops less than this share of it */
#define TRUST_FROM 2     /* collections with garbage, one behind the other, whose first pass was right */
#define TRUSTED_MOST 50000 /* candidates: all of them alive, CPython looks at them for two milliseconds */
#define WAKE_NS 3000000u /* a safepoint is asked for when none came for so long */
#define REST_SHARE 250  /* of a collection's progress, in thousandths: what follows the first pass */
#define DEFERRING_AT 360
#define TICK_NS 500000000u

zcollection_t zdriver_collection;
void (*zdriver_wake_program)(void);
void (*zdriver_tick)(void);
bool zdriver_is_trimming;
unsigned zdriver_trim_slices;
unsigned zdriver_abandoned;

/* A collection's tables, and who has them:
 *   FREE       nobody; there are none
 *   TAKEN      the collection under way, by its phase; a stopped one's driver; or the collector thread, which has
 *              found out, or will, that it is to give them back
 *   DISCARDED  nobody: the collector thread gives them back, since that takes long, or who needs the place
 * The program takes two places at most, and the thread can have been left with one. */
enum { FREE, TAKEN, DISCARDED };

#define TABLES 4
#define DISCARD_MIN (256 * ZK) /* cells; smaller tables are given back on the spot */

typedef struct {
  zpass_t pass; /* the first member: see zdriver_end_pass */
  zcomponents_t garbage;
  uint64_t ticket;
  zcollection_t record;        /* as at the start, for the thread's log */
  uint64_t found, concurrent_ns; /* handed over with RECLAIMING */
  bool stop;            /* atomic; set by a thread with the GIL, polled by who works */
  bool with_frozen;     /* for the passes */
  bool is_trusted;      /* the first pass is: see zdriver_finish */
  bool is_stable;       /* handed over with RECLAIMING: the second one, where there was one, left what the first had */
  bool is_first_pass;   /* atomic; the thread's, a hint for others */
  bool counts;          /* handed over with REQUESTED */
  bool deferred_failed; /* handed over with CONCURRENT */
  uint32_t use;         /* atomic */
} tables_t;

static tables_t all_tables[TABLES];
static tables_t *current; /* atomic; of the collection under way, written with the GIL */
static tables_t *lent;    /* atomic; of a stopped collection that the thread may help, written with the GIL */

#define PHASE_BITS 3
static uint64_t state; /* atomic: ticket and phase of the collection under way, or of the last one */
static uint32_t bell;  /* atomic; another number after each change that someone may be waiting for */
static uint64_t beats; /* atomic; the thread's */
static bool fault;     /* atomic; the last collection was abandoned for want of memory */
static unsigned trust;       /* GIL; collections in a row whose first pass was right */
static bool is_stopped_open; /* GIL: a stopped collection has the record */

/* To end it is asked for by a thread that forks (RUNS to ENDING), and taken back by that one or done by the thread
 * itself: by compare-and-swap, so it is the one or the other. Who forks makes NONE of GONE. */
static enum { THREAD_NONE, THREAD_STARTS, THREAD_RUNS, THREAD_ENDING, THREAD_GONE } thread; /* atomic */

static int thread_number; /* atomic; the kernel's, of the thread that runs; 0: it has not had a processor yet */

static bool is_asked_to_end(void) { return zload_acquire(&thread) == THREAD_ENDING; }

/* The thread has ended for a fork. GIL; `safepoints` is a hint for others. */
static struct {
  bool is_ended;
  unsigned safepoints; /* to come, until it may be started again */
  uint64_t since_ns;
} rest;

bool zdriver_is_resting(void) { return zload_relaxed(&rest.safepoints) > 0; }

/* -- phase -------------------------------------------------------------------------------------- */

static zphase_t phase_of(uint64_t word) { return (zphase_t)(word & ((1 << PHASE_BITS) - 1)); }
static uint64_t ticket_of(uint64_t word) { return word >> PHASE_BITS; }
static uint64_t word_of(uint64_t ticket, zphase_t phase) { return ticket << PHASE_BITS | phase; }

zphase_t zdriver_phase(void) { return phase_of(zload_acquire(&state)); }

/* After the change: who waits has read the bell before it looked. */
static void ring(void) {
  zfetch_add_acq_rel(&bell, 1);
  zos_wake(&bell);
}

/* False when the collection with this ticket is not in phase `from` any more: it has been given up. */
static bool change(uint64_t ticket, zphase_t from, zphase_t to) {
  zcheck(zphase_is_legal(from, to));
  uint64_t expected = word_of(ticket, from);
  if (!zcas_acq_rel(&state, &expected, word_of(ticket, to))) return false;
  zstat_set(running, to != ZPHASE_IDLE);
  ring();
  return true;
}

static void beat(void) { zstore_relaxed(&beats, beats + 1); }

uint64_t zdriver_beats(void) {
  const tables_t *tables = zload_acquire(&current);
  return zload_relaxed(&beats) + (tables != NULL ? zload_relaxed(&tables->pass.lanes[0].looks) : 0);
}

/* -- tables ------------------------------------------------------------------------------------- */

static void free_tables(tables_t *tables) {
  zpass_end(&tables->pass);
  zcomponents_free(&tables->garbage);
  zstore_release(&tables->use, FREE);
}

/* GIL. */
static tables_t *take_tables(void) {
  for (int i = 0; i < 2 * TABLES; i++) {
    tables_t *tables = &all_tables[i % TABLES];
    uint32_t use = i < TABLES ? FREE : DISCARDED;
    if (!zcas_acq_rel(&tables->use, &use, TAKEN)) continue;
    zpass_end(&tables->pass);
    zcomponents_free(&tables->garbage);
    zstore_relaxed(&tables->stop, false);
    return tables;
  }
  zcheck(false);
  return NULL;
}

static void discard(tables_t *tables, size_t size) {
  if (size < DISCARD_MIN || zload_relaxed(&thread) != THREAD_RUNS) {
    free_tables(tables);
  } else {
    zstore_release(&tables->use, DISCARDED);
    ring();
  }
}

static void free_discarded(void) {
  for (int i = 0; i < TABLES; i++) {
    uint32_t use = DISCARDED;
    if (zcas_acq_rel(&all_tables[i].use, &use, TAKEN)) free_tables(&all_tables[i]);
  }
}

/* -- the collection's record -------------------------------------------------------------------- */

static void begin_record(zcause_t cause) {
  uint64_t sequence = zdriver_collection.sequence + (zdriver_collection.cause != ZCAUSE_NONE);
  zdriver_collection = (zcollection_t){.sequence = sequence, .cause = cause,
                                       .started_ns = zos_now_ns(),
                                       .considered = zload_relaxed(&zold_map_count)};
  zdriver_collection.heap_before = zgranules_used_bytes();
  if (zlog_is(ZLOG_INFO)) zdriver_collection.rss_before = zos_rss_bytes();
}

void zdriver_begin_stopped(zcause_t cause) {
  zcheck(zdriver_phase() == ZPHASE_IDLE);
  begin_record(cause);
  is_stopped_open = true;
  zprobe_collection_start(zdriver_collection.sequence, zcause_name(cause));
}

void zdriver_end_stopped(void) {
  is_stopped_open = false;
  zdriver_abandoned = 0;
}

static unsigned long long number_of(const zcollection_t *record) { return (unsigned long long)record->sequence; }

static void note_start(const zcollection_t *record) {
  zprobe_collection_start(record->sequence, zcause_name(record->cause));
  zlog_info("gc,start", "GC(%llu) Full Collection (%s) old %zu heap %luM rss %luM", number_of(record),
            zcause_name(record->cause), zload_relaxed(&zold_map_count), zlog_mb(record->heap_before),
            zlog_mb(record->rss_before));
}

/* -- the collector thread ------------------------------------------------------------------------ */

static void wake_program(void) {
  if (zdriver_wake_program != NULL) zdriver_wake_program();
}

/* Waits for the safepoints to serve what the pass deferred; asks for one when none comes. */
static bool serve_deferred(tables_t *mine) {
  if (zdeferred_left(&mine->pass.deferred) == 0) return true;
  zprobe_phase_start("Concurrent Defer");
  mine->deferred_failed = false;
  if (!change(mine->ticket, ZPHASE_CONCURRENT, ZPHASE_DEFERRING)) return false;
  for (;;) {
    uint32_t seen = zload_acquire(&bell);
    if (zload_acquire(&state) != word_of(mine->ticket, ZPHASE_DEFERRING)) break;
    beat();
    if (!zos_sleep_while(&bell, seen, WAKE_NS)) wake_program();
  }
  return zload_acquire(&state) == word_of(mine->ticket, ZPHASE_CONCURRENT) && !mine->deferred_failed;
}

static bool one_pass(tables_t *mine, unsigned k) {
  zpass_t *pass = &mine->pass;
  zstore_relaxed(&mine->is_first_pass, k == 1);
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Pass");
  if (!zpass_subtract(pass)) return false;
  size_t in = pass->members;
  uint64_t before_deferred = zos_now_ns();
  if (!serve_deferred(mine)) return false;
  size_t served = pass->deferred.served, audited = pass->deferred.audited;
  if (served > 0) {
    uint64_t took = zos_now_ns() - before_deferred;
    zprobe_phase_done("Concurrent Defer", took);
    zlog_info("gc,phases", "GC(%llu) Concurrent Defer %.3fms objects %zu", number_of(&mine->record), zlog_ms(took),
              served);
    if (k == 1) zstat_set(deferred_objects, served - audited);
  }
  if (!zpass_mark(pass) || !zpass_sweep(pass)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Pass", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Pass %u %.3fms in %zu out %zu", number_of(&mine->record), k,
            zlog_ms(took), in, pass->candidate_count);
  return true;
}

/* Repeats the pass over what it left until that hardly shrinks. The rest of the live objects that a
 * race put there is CPython's to drop: a further pass would cost more than feeding them does. In a program that
 * drops what it has made and does not move it about, that holds for the first pass already. */
static bool concurrent_passes(tables_t *mine) {
  static uint64_t audits; /* the collector thread's */
  zpass_t *pass = &mine->pass;
  if (!zpass_begin(pass, &mine->stop, false)) return false;
  pass->with_frozen = mine->with_frozen;
  pass->audit = ++audits;
  mine->is_stable = true;
  if (mine->counts && !zpass_count(pass)) return false;
  for (unsigned k = 1; k <= PASSES_MAX; k++) {
    size_t before = k == 1 ? SIZE_MAX : pass->candidate_count;
    if (!one_pass(mine, k)) return false;
    if (k == 1) ztype_adapt_audits();
    pass->audit = 0; /* once a collection */
    if (k > 1 && pass->candidate_count >= before - before / STABLE_SHARE) return true;
    if (k > 1) mine->is_stable = false;
    if (pass->candidate_count == 0) return true;
    if (mine->is_trusted && pass->candidate_count <= TRUSTED_MOST) return true;
  }
  return true;
}

static bool concurrent_components(tables_t *mine) {
  uint64_t start = zos_now_ns();
  zprobe_phase_start("Concurrent Components");
  zpass_trim(&mine->pass);
  if (!zcomponents_make(&mine->garbage, &mine->pass)) return false;
  uint64_t took = zos_now_ns() - start;
  zprobe_phase_done("Concurrent Components", took);
  zlog_info("gc,phases", "GC(%llu) Concurrent Components %.3fms components %zu largest %zu",
            number_of(&mine->record), zlog_ms(took), mine->garbage.component_count, mine->garbage.largest);
  return true;
}

static void log_end(void) {
  const zcollection_t *c = &zdriver_collection;
  zlog_info("gc",
            "GC(%llu) Full Collection (%s) found %llu reclaimed %llu heap %luM->%luM rss %luM->%luM "
            "concurrent %.3fms pauses %llu max %.3fms total %.3fms",
            number_of(c), zcause_name(c->cause), (unsigned long long)c->found,
            (unsigned long long)c->reclaimed, zlog_mb(c->heap_before),
            zlog_mb(zgranules_used_bytes()), zlog_mb(c->rss_before), zlog_mb(zos_rss_bytes()),
            zlog_ms(c->concurrent_ns), (unsigned long long)c->pauses, zlog_ms(c->pause_max_ns),
            zlog_ms(c->pause_total_ns));
}

/* Nobody has given it up: memory was short. */
static void note_fault(const tables_t *mine) {
  zstore_release(&fault, true);
  zstat_add(faults, 1);
  zstat_add(collections_abandoned, 1);
  zprobe_collection_abandoned(mine->record.sequence, "no memory for a side table");
  zlog_warn("gc,fault", "GC(%llu) abandoned: no memory for a side table", number_of(&mine->record));
}

/* A safepoint ends it, also when there is no garbage. False: it has been given up. */
static bool hand_over_garbage(tables_t *mine) {
  mine->found = mine->garbage.object_count;
  zstat_set(pending_garbage, mine->found);
  if (!change(mine->ticket, ZPHASE_CONCURRENT, ZPHASE_RECLAIMING)) {
    zstat_set(pending_garbage, 0);
    return false;
  }
  return true;
}

static void collect(tables_t *mine) {
  uint64_t start = zos_now_ns(), cpu = zos_thread_cpu_ns();
  note_start(&mine->record);
  bool found = concurrent_passes(mine) && (mine->pass.candidate_count == 0 || concurrent_components(mine));
  zpass_end(&mine->pass);
  uint64_t took = zos_now_ns() - start;
  mine->concurrent_ns = took;
  zstat_add(concurrent_ns, took);
  zstat_add(concurrent_cpu_ns, zos_thread_cpu_ns() - cpu);
  if (found) zstat_add(found, mine->garbage.object_count);
  if (found && hand_over_garbage(mine)) return;
  if (!found && change(mine->ticket, ZPHASE_CONCURRENT, ZPHASE_IDLE)) note_fault(mine);
  if (is_asked_to_end()) {
    zstore_release(&mine->use, DISCARDED);
  } else {
    free_tables(mine);
  }
}

static void begin_requested(uint64_t word) {
  tables_t *mine = zload_acquire(&current); /* another's by now: then the change fails */
  if (change(ticket_of(word), ZPHASE_REQUESTED, ZPHASE_CONCURRENT)) collect(mine);
}

/* While garbage waits, safepoints are asked for at a steady pace, so that an idle program gets rid
 * of it too. */
static void wait_while_reclaiming(uint32_t seen) {
  uint64_t batches = zload_relaxed(&zdriver_collection.batches);
  if (zos_sleep_while(&bell, seen, WAKE_NS)) return;
  if (batches == zload_relaxed(&zdriver_collection.batches)) wake_program();
}

static void tick_when_due(uint64_t *last) {
  uint64_t at = zos_now_ns();
  if (at - *last < TICK_NS || zdriver_tick == NULL) return;
  *last = at;
  zdriver_tick();
}

/* Between two steps, and where the other lane has nothing to give, there is nothing to do for some
 * microseconds; while that one walks an object of millions, for milliseconds. */
static void help_exact_pass(void) {
  unsigned idle = 0;
  for (tables_t *tables; (tables = zload_acquire(&lent)) != NULL;) {
    beat();
    zpass_help_t did = zpass_help(&tables->pass, UINT64_MAX);
    if (did == ZPASS_HELP_INHERITED) free_tables(tables);
    if (did != ZPASS_HELP_NONE) {
      idle = 0;
    } else {
      zos_wait_round(idle++);
    }
  }
}

/* Safepoints are asked for at a steady pace as long as they come, and ever more seldom while none does: a
 * program that sleeps, or has switched collection off, is not woken for, and neither is this thread. */
static void wait_idle(uint32_t rung) {
  static unsigned seen;
  static uint64_t pace_ns = WAKE_NS;
  bool is_trimming = zload_relaxed(&zdriver_is_trimming);
  unsigned slices = zload_relaxed(&zdriver_trim_slices);
  pace_ns = is_trimming && slices == seen ? zmin(pace_ns * 2, TICK_NS) : WAKE_NS;
  seen = slices;
  bool is_quiet = !zos_sleep_while(&bell, rung, is_trimming ? pace_ns : TICK_NS);
  if (is_trimming && is_quiet) wake_program();
}

static void work_or_wait(void) {
  uint32_t seen = zload_acquire(&bell); /* before the look at what there is to do */
  uint64_t word = zload_acquire(&state);
  if (is_asked_to_end()) return;
  if (zload_acquire(&lent) != NULL) {
    help_exact_pass();
  } else if (phase_of(word) == ZPHASE_REQUESTED) {
    begin_requested(word);
  } else if (phase_of(word) == ZPHASE_RECLAIMING) {
    wait_while_reclaiming(seen);
  } else {
    wait_idle(seen);
  }
}

static bool ends(void) {
  __typeof__(thread) ending = THREAD_ENDING;
  return is_asked_to_end() && zcas_acq_rel(&thread, &ending, THREAD_GONE);
}

static void collector_thread(void *unused) {
  (void)unused;
  uint64_t last_tick = zos_now_ns();
  zstore_relaxed(&thread_number, zos_thread_number());
  while (!ends()) {
    beat();
    work_or_wait();
    if (is_asked_to_end()) continue; /* a fork waits for that; the next thread goes on */
    free_discarded();
    tick_when_due(&last_tick);
  }
}

/* Who finds another thread starting it may take it for running. */
bool zdriver_ensure_thread(void) {
  __typeof__(thread) none = THREAD_NONE;
  if (zunlikely(zdriver_is_resting())) return false;
  if (zload_acquire(&thread) != THREAD_NONE || !zcas_acq_rel(&thread, &none, THREAD_STARTS)) return true;
  zstore_relaxed(&thread_number, 0);
  int error = zos_thread_start(collector_thread, NULL, "zgc-collector");
  zstore_release(&thread, error == 0 ? THREAD_RUNS : THREAD_NONE);
  if (error != 0) {
    zstat_add(faults, 1);
    zlog_warn("gc,fault", "the collector thread cannot be started: %s", strerror(-error));
  }
  return error == 0;
}

/* -- safepoints' side ------------------------------------------------------------------------------ */

bool zdriver_request(zcause_t cause, bool counts) {
  uint64_t word = zload_acquire(&state);
  rest.safepoints = 0; /* it is asked for, whatever CPython counts */
  if (phase_of(word) != ZPHASE_IDLE || is_stopped_open || !zdriver_ensure_thread()) return false;
  begin_record(cause);
  tables_t *tables = take_tables();
  tables->ticket = ticket_of(word) + 1;
  tables->record = zdriver_collection;
  tables->counts = counts;
  tables->with_frozen = zold_map_frozen_count == 0;
  tables->is_trusted = trust >= TRUST_FROM;
  zstore_release(&current, tables);
  zstore_release(&state, word_of(tables->ticket, ZPHASE_REQUESTED)); /* in IDLE only who has the GIL writes it */
  zstat_set(running, 1);
  ring();
  return true;
}

bool zdriver_take_fault(void) { return zload_relaxed(&fault) && zexchange_acq_rel(&fault, false); }

zpass_t *zdriver_begin_pass(bool with_thread) {
  tables_t *tables = take_tables();
  if (!zpass_begin(&tables->pass, &tables->stop, true)) {
    free_tables(tables);
    return NULL;
  }
  if (with_thread && zos_cpu_count() > 1 && zdriver_ensure_thread()) {
    zstore_release(&lent, tables);
    ring();
  }
  return &tables->pass;
}

void zdriver_end_pass(zpass_t *pass) {
  tables_t *tables = (tables_t *)pass;
  zstore_release(&lent, NULL);
  if (pass->is_lost) { /* the thread gives it back, soon */
    zstore_relaxed(&tables->stop, true);
  } else {
    discard(tables, pass->cells.count);
  }
}

bool zdriver_help(uint64_t deadline) {
  if (zdriver_phase() != ZPHASE_CONCURRENT) return false;
  tables_t *tables = zload_acquire(&current);
  return tables != NULL && zpass_help(&tables->pass, deadline) == ZPASS_HELP_DONE;
}

unsigned zdriver_progress(void) {
  const tables_t *tables = zload_acquire(&current);
  switch (zdriver_phase()) {
    case ZPHASE_CONCURRENT:
      if (tables == NULL || !zload_relaxed(&tables->is_first_pass)) return 1000 - REST_SHARE;
      return zpass_progress(&tables->pass) * (1000 - REST_SHARE) / 1000;
    case ZPHASE_DEFERRING:
      return DEFERRING_AT;
    case ZPHASE_RECLAIMING:
      return 1000;
    default:
      return 0;
  }
}

zdeferred_t *zdriver_deferred(void) { return &current->pass.deferred; }

void zdriver_deferred_done(bool failed) {
  current->deferred_failed = failed;
  change(current->ticket, ZPHASE_DEFERRING, ZPHASE_CONCURRENT);
}

zcomponents_t *zdriver_garbage(void) {
  static zcomponents_t none; /* of a collection that has been given up */
  if (zdriver_phase() != ZPHASE_RECLAIMING) return &none;
  zdriver_collection.found = current->found;
  zdriver_collection.concurrent_ns = current->concurrent_ns;
  return &current->garbage;
}

void zdriver_leave(size_t objects) {
  current->found -= objects;
  zstat_add(found, -(uint64_t)objects);
  zstat_set(pending_garbage, current->found);
}

/* GIL, and the tables are not the thread's. */
static void discard_current(void) {
  tables_t *tables = current;
  zstore_release(&current, NULL);
  discard(tables, tables->garbage.room);
  zstat_set(pending_garbage, 0);
}

/* What the first pass took for garbage was garbage, by the second one or, where that was left out, by CPython. A
 * collection without garbage says nothing: in a heap where all dies by reference count, what the first pass takes for
 * garbage is what changed under it. */
static void learn_trust(void) {
  const zcollection_t *c = &zdriver_collection;
  if (c->fed == 0) return;
  uint64_t survived = c->fed > c->reclaimed ? c->fed - c->reclaimed : 0;
  trust = current->is_stable && survived <= c->fed / STABLE_SHARE ? trust + 1 : 0;
}

void zdriver_finish(void) {
  zdriver_garbage();
  learn_trust();
  zcause_count(zdriver_collection.cause);
  zprobe_collection_done(zdriver_collection.sequence, zdriver_collection.found,
                         zdriver_collection.reclaimed);
  if (zlog_is(ZLOG_INFO)) log_end();
  change(current->ticket, ZPHASE_RECLAIMING, ZPHASE_IDLE);
  discard_current();
  zdriver_abandoned = 0;
}

/* The word is the only one to say whose the tables are: the exchange tells in which phase they were left. */
void zdriver_abandon(const char *why) {
  uint64_t word = zload_acquire(&state);
  if (phase_of(word) == ZPHASE_IDLE) return;
  zphase_t left = phase_of(zexchange_acq_rel(&state, word_of(ticket_of(word), ZPHASE_IDLE)));
  if (left == ZPHASE_IDLE) return; /* the thread was faster: memory was short */
  zprobe_collection_abandoned(zdriver_collection.sequence, why);
  zlog_info("gc", "GC(%llu) Full Collection (%s) abandoned: %s", number_of(&zdriver_collection),
            zcause_name(zdriver_collection.cause), why);
  zstat_set(running, 0);
  zstat_add(collections_abandoned, 1);
  zdriver_abandoned++;
  if (left == ZPHASE_CONCURRENT || left == ZPHASE_DEFERRING) {
    zstore_relaxed(&current->stop, true);
    zstore_release(&current, NULL);
  } else {
    discard_current();
  }
  ring();
}

void zdriver_wait(unsigned ms) {
  uint32_t seen = zload_acquire(&bell);
  zphase_t phase = zdriver_phase();
  if (phase != ZPHASE_REQUESTED && phase != ZPHASE_CONCURRENT) return;
  zos_sleep_while(&bell, seen, (uint64_t)ms * 1000000u);
}

/* -- fork -------------------------------------------------------------------------------------------- */

#define REST_SAFEPOINTS 2
#define END_ROUNDS 3000 /* looks at the thread: 0.2 s */

static bool is_alone_with_thread(void) { return zos_own_threads() == 1 && zos_threads() == 2; }

static bool has_left(void) { return zload_acquire(&thread) != THREAD_ENDING; }
static bool has_vanished(void) { return zos_threads() <= 1; }

static bool is_runnable(void) {
  int number = zload_relaxed(&thread_number);
  return number == 0 || zos_thread_is_runnable(number);
}

/* The thread polls `stop` and waits for the bell, so all it needs to come to its end is a processor. This thread
 * sleeps meanwhile, so it gets one, however late. Hence the wait is not bounded while the thread is runnable. Where
 * it waits for something else (a log that nobody reads), the fork is not held up longer. */
static void await(bool (*is_done)(void)) {
  do {
    for (unsigned i = 0; i < END_ROUNDS; i++) {
      if (is_done()) return;
      zos_wait_round(i);
    }
  } while (is_runnable());
}

static bool has_ended(void) {
  __typeof__(thread) runs = THREAD_RUNS, ending = THREAD_ENDING;
  if (!zcas_acq_rel(&thread, &runs, THREAD_ENDING)) return false;
  ring();
  await(has_left);
  if (zcas_acq_rel(&thread, &ending, THREAD_RUNS)) return false;
  await(has_vanished);
  zstore_release(&thread, THREAD_NONE);
  return true;
}

void zdriver_fork_prepare(void) {
  if (zload_acquire(&thread) != THREAD_RUNS || zload_acquire(&lent) != NULL || !is_alone_with_thread()) return;
  zphase_t phase = zdriver_phase();
  if (phase != ZPHASE_IDLE && phase != ZPHASE_RECLAIMING) zdriver_abandon("the process forks");
  if (!has_ended()) return;
  rest.is_ended = true;
  rest.safepoints = REST_SAFEPOINTS;
  rest.since_ns = zos_now_ns();
}

/* What the thread does without being asked, it does again some time after the last fork. */
void zdriver_note_safepoint(void) {
  if (zlikely(!rest.is_ended)) return;
  if (rest.safepoints > 0) rest.safepoints--;
  if (rest.safepoints > 0) return;
  if (zdriver_phase() == ZPHASE_IDLE && zos_now_ns() - rest.since_ns < TICK_NS) return;
  rest.is_ended = false;
  zdriver_ensure_thread();
}

void zdriver_reset_after_fork_in_child(void) {
  /* Scratch tables were not inherited; there is nothing to unmap. */
  memset(all_tables, 0, sizeof all_tables);
  current = lent = NULL;
  state = word_of(ticket_of(state), ZPHASE_IDLE);
  thread = THREAD_NONE;
  memset(&rest, 0, sizeof rest);
  fault = false;
  zdriver_is_trimming = false;
  zstat_set(running, 0);
  zstat_set(pending_garbage, 0);
}
