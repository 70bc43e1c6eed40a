#include "collector/cpython/zdriver.h"

#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zconcurrent.h"
#include "collector/cpython/ztables.h"
#include "collector/cpython/zticket.h"
#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/base/zstat.h"
#include "heap/zold_map.h"

#define TRUST_FROM 2     /* collections with garbage in a row, whose first pass was right */
#define REST_SHARE 250   /* of a collection's progress, in thousandths: what follows the first pass */
#define DEFERRING_AT 360
#define DISCARD_MIN (256 * ZK) /* cells; smaller tables are given back on the spot */

zcollection_t zdriver_collection;
unsigned zdriver_abandoned;

static unsigned trust;       /* GIL; collections in a row whose first pass was right */
static bool is_stopped_open; /* GIL: a stopped collection has the record */

zphase_t zdriver_phase(void) { return zticket_phase(); }

uint64_t zdriver_beats(void) {
  const ztables_t *tables = zload_acquire(&ztables_current);
  return zticket_beats() + (tables != NULL ? zload_relaxed(&tables->pass.lanes[0].looks) : 0);
}

static void discard(ztables_t *tables, size_t size) {
  if (size < DISCARD_MIN || !zcollector_thread_runs()) {
    ztables_free(tables);
  } else {
    ztables_discard(tables);
    zticket_ring();
  }
}

void zdriver_begin_stopped(zcause_t cause) {
  zcheck(zdriver_phase() == ZPHASE_IDLE);
  zcollection_begin(&zdriver_collection, cause);
  is_stopped_open = true;
  zprobe_collection_start(zdriver_collection.sequence, zcause_name(cause));
}

void zdriver_end_stopped(void) {
  is_stopped_open = false;
  zdriver_abandoned = 0;
}

bool zdriver_request(zcause_t cause, bool counts) {
  uint64_t word = zticket_word();
  zcollector_thread_want();
  if (zticket_phase_of(word) != ZPHASE_IDLE || is_stopped_open || !zcollector_thread_ensure()) return false;
  zcollection_begin(&zdriver_collection, cause);
  ztables_t *tables = ztables_take();
  tables->ticket = zticket_of(word) + 1;
  tables->record = zdriver_collection;
  tables->counts = counts;
  tables->with_frozen = zold_map_frozen_count == 0;
  tables->is_trusted = trust >= TRUST_FROM;
  zstore_release(&ztables_current, tables);
  zticket_request(tables->ticket);
  return true;
}

zpass_t *zdriver_begin_pass(bool with_thread) {
  ztables_t *tables = ztables_take();
  if (!zpass_begin(&tables->pass, &tables->stop, true)) {
    ztables_free(tables);
    return NULL;
  }
  if (with_thread && zos_cpu_count() > 1 && zcollector_thread_ensure()) {
    zstore_release(&ztables_lent, tables);
    zticket_ring();
  }
  return &tables->pass;
}

void zdriver_end_pass(zpass_t *pass) {
  ztables_t *tables = ztables_of(pass);
  zstore_release(&ztables_lent, NULL);
  if (pass->is_lost) { /* the thread gives it back, soon */
    zstore_relaxed(&tables->stop, true);
  } else {
    discard(tables, pass->cells.count);
  }
}

bool zdriver_help(uint64_t deadline) {
  if (zdriver_phase() != ZPHASE_CONCURRENT) return false;
  ztables_t *tables = zload_acquire(&ztables_current);
  return tables != NULL && zpass_help(&tables->pass, deadline) == ZPASS_HELP_DONE;
}

unsigned zdriver_progress(void) {
  const ztables_t *tables = zload_acquire(&ztables_current);
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

zdeferred_t *zdriver_deferred(void) { return &ztables_current->pass.deferred; }

void zdriver_deferred_done(bool failed) {
  ztables_current->deferred_failed = failed;
  zticket_change(ztables_current->ticket, ZPHASE_DEFERRING, ZPHASE_CONCURRENT);
}

zcomponents_t *zdriver_garbage(void) {
  static zcomponents_t none; /* of a collection that has been given up */
  if (zdriver_phase() != ZPHASE_RECLAIMING) return &none;
  zdriver_collection.found = ztables_current->found;
  zdriver_collection.concurrent_ns = ztables_current->concurrent_ns;
  return &ztables_current->garbage;
}

void zdriver_leave(size_t objects) {
  ztables_current->found -= objects;
  zstat_add(found, -(uint64_t)objects);
  zstat_set(pending_garbage, ztables_current->found);
}

/* GIL, and the tables are not the thread's. */
static void discard_current(void) {
  ztables_t *tables = ztables_current;
  zstore_release(&ztables_current, NULL);
  discard(tables, tables->garbage.room);
  zstat_set(pending_garbage, 0);
}

/* The first pass is trusted where all of its candidates were garbage: by the second pass or, where that was left out,
 * by CPython. A collection without garbage says nothing: in a heap where all dies by reference count, the candidates
 * of the first pass are objects that changed while it read them. */
static void learn_trust(void) {
  const zcollection_t *c = &zdriver_collection;
  if (c->fed == 0) return;
  uint64_t survived = c->fed > c->reclaimed ? c->fed - c->reclaimed : 0;
  trust = ztables_current->is_stable && survived <= c->fed / ZCONCURRENT_STABLE_SHARE ? trust + 1 : 0;
}

void zdriver_finish(void) {
  zdriver_garbage();
  learn_trust();
  zcause_count(zdriver_collection.cause);
  zprobe_collection_done(zdriver_collection.sequence, zdriver_collection.found,
                         zdriver_collection.reclaimed);
  zcollection_log_end(&zdriver_collection);
  zticket_change(ztables_current->ticket, ZPHASE_RECLAIMING, ZPHASE_IDLE);
  discard_current();
  zdriver_abandoned = 0;
}

/* The word is the only one to say whose the tables are: the exchange tells in which phase they were left. */
void zdriver_abandon(const char *why) {
  if (zdriver_phase() == ZPHASE_IDLE) return;
  zphase_t left = zticket_give_up();
  if (left == ZPHASE_IDLE) return; /* the thread was faster: memory was short */
  zprobe_collection_abandoned(zdriver_collection.sequence, why);
  zlog_info("gc", "GC(%llu) Full Collection (%s) abandoned: %s", zcollection_number(&zdriver_collection),
            zcause_name(zdriver_collection.cause), why);
  zstat_add(collections_abandoned, 1);
  zdriver_abandoned++;
  if (left == ZPHASE_CONCURRENT || left == ZPHASE_DEFERRING) {
    zstore_relaxed(&ztables_current->stop, true);
    zstore_release(&ztables_current, NULL);
  } else {
    discard_current();
  }
  zticket_ring();
}

void zdriver_wait(unsigned ms) {
  uint32_t seen = zticket_bell();
  zphase_t phase = zdriver_phase();
  if (phase != ZPHASE_REQUESTED && phase != ZPHASE_CONCURRENT) return;
  zticket_sleep(seen, (uint64_t)ms * 1000000u);
}

void zdriver_fork_prepare(void) {
  if (!zcollector_thread_is_alone()) return;
  zphase_t phase = zdriver_phase();
  if (phase != ZPHASE_IDLE && phase != ZPHASE_RECLAIMING) zdriver_abandon("the process forks");
  zcollector_thread_end_for_fork();
}

void zdriver_fork_child(void) {
  ztables_fork_child();
  zticket_fork_child();
  zconcurrent_fork_child();
  zcollector_thread_fork_child();
  zstat_set(pending_garbage, 0);
}
