#include "collector/managed/zmanaged.h"

#include "collector/managed/zmanaged_state.h"
#include "barrier/zbarrier_inline.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"

zmanaged_state_t zm;
zmanaged_stats_t zmanaged_stat_values;
zmanaged_generation_stats_t zmanaged_generation_values[2];
zgive_way_t zmanaged_give_way;
uint32_t zmanaged_hold;

bool zmanaged_is_started(void) { return zm.started; }
zmanaged_phase_t zmanaged_phase(void) { return (zmanaged_phase_t)zload_acquire(&zm.phase); }
uint32_t zmanaged_last_full_seq(void) { return zm.last_full_seq; }

const char *zmanaged_phase_name(zmanaged_phase_t phase) {
  static const char *const names[] = {
#define X(id, name) name,
      ZMANAGED_PHASES(X)
#undef X
  };
  return names[phase];
}

/* ---- what barriers ask ------------------------------------------------------------------------------ */

/* A mutator waits for a body to be moved, and has the GIL. */
static void ensure_worker(void) {
  if (zm.inline_run) return;
  zlock_take(ZLOCK_MANAGED);
  bool alone = !zmanaged_driver_ensure_thread_locked();
  if (alone) zm.inline_run = true;
  zlock_drop(ZLOCK_MANAGED);
  if (!alone) return;
  zmanaged_phase_relocate_here();
  zm.inline_run = false;
}

/* A mark that runs may have it in no snapshot. */
static void keep_alive(const zhandle_entry_t *entry) {
  zcolored_t word = {zload_acquire(&entry->word)};
  if (zcolor.mark_now != 0) zmark_keep_alive(zbarrier_peek(word));
}

static void touch(zslot_t slot) {
  zhandle_entry_t *entry = (zhandle_entry_t *)slot.word;
  bool is_suspect = (entry->object & ZHANDLE_SUSPECT) != 0;
  if (zhandle_is_weak(entry) || is_suspect) keep_alive(entry);
  if (!zhandle_is_weak(entry)) (void)zfetch_and_relaxed(&entry->word, ~ZCOLOR_SUSPECT);
  if (is_suspect) { /* an ordinary root from now on */
    zstore_relaxed(&entry->object, entry->object & ~(uintptr_t)ZHANDLE_SUSPECT);
  } else if (zm.host.touch != NULL) {
    zm.host.touch(entry);
  }
}

/* ---- start ------------------------------------------------------------------------------------------ */

static bool start_tables(size_t capacity) {
  if (!zbody_space_start(capacity) || !zforwarding_start() || !zhandle_table_start() || !zpyref_table_start()) {
    return false;
  }
  zm.ended_capacity = zhandle_table.limit; /* room for every weak handle; resident only as far as it is used */
  zm.ended = zos_table_map(zm.ended_capacity * sizeof *zm.ended);
  return zm.ended != NULL;
}

static void stop_tables(void) {
  if (zm.ended != NULL) zos_table_unmap(zm.ended, zm.ended_capacity * sizeof *zm.ended);
  zm.ended = NULL;
  if (zhandle_table.entries != NULL) zhandle_table_stop();
  if (zpyref_table.entries != NULL) zpyref_table_stop();
  zforwarding_stop();
  if (zbody_space.base != 0) zbody_space_stop();
}

bool zmanaged_start(size_t capacity, unsigned threads, const zmanaged_host_t *host) {
  if (zm.started) return true;
  if (!start_tables(capacity)) {
    stop_tables();
    return false;
  }
  zcolor_start();
  zmark_start();
  zbarrier_ops = (zbarrier_ops_t){zrelocate_remap, zmark_keep_alive, touch};
  zrelocate_ensure_worker = ensure_worker;
  zm.host = *host;
  zm.full_end_ns = zos_now_ns();
  if (zoption(stress)) zmanaged_give_way = ZGIVE_WAY_AT_ONCE;
  unsigned automatic = (unsigned)zmin(zmax(zos_cpu_count() / 4, 1), 8);
  zm.threads = threads == 0 ? automatic : (unsigned)zmin(threads, ZMARK_WORKERS_MAX);
  zm.started = true;
  if (zoption(interval) != 0) zmanaged_driver_ensure_thread(); /* it tells the time */
  zlog_info("gc,init", "managed heap: capacity %luM, %u collector threads",
            zlog_mb(zbody_space.capacity_units << ZUNIT_SHIFT), zm.threads);
  return true;
}

/* ---- fork ------------------------------------------------------------------------------------------- */

void zmanaged_fork_prepare(void) {
  if (zm.started) zmanaged_stop_world();
}

void zmanaged_fork_parent(void) {
  if (zm.started) zmanaged_resume_world();
}

void zmanaged_fork_child(void) {
  if (!zm.started) return;
  zmark_reset_workers();
  zm.running = zm.helpers = zm.helper_slots = 0;
  zm.thread_alive = zm.job_open = false;
  zm.pause = NULL;
  zm.pausing = false;
  zmanaged_poll_clear(ZPOLL_PAUSE);
  zstore_relaxed(&zm.stop, 0);
  /* A finalizer of another thread was running: that thread is not here to go on with the releases. */
  if (zm.releasing && !pthread_equal(zm.releaser, pthread_self())) zm.releasing = false;
  /* The collection goes on when the next request, or a stuck mutator, starts the thread. */
}

/* ---- statistics -------------------------------------------------------------------------------------- */

void zmanaged_stats_read(zmanaged_stats_t *stats) {
  *stats = zmanaged_stat_values;
  stats->used_bytes = zload_relaxed(&zbody_space.used_units) << ZUNIT_SHIFT;
  stats->resident_bytes = zload_relaxed(&zbody_space.resident_units) << ZUNIT_SHIFT;
  stats->capacity_bytes = zbody_space.capacity_units << ZUNIT_SHIFT;
  stats->handles = zhandle_table.live;
  stats->weak_handles = zhandle_table.weak;
  stats->python_references = zpyref_held();
}

void zmanaged_usage_read(zmanaged_usage_t usage[2]) {
  usage[ZGENERATION_YOUNG] = usage[ZGENERATION_OLD] = (zmanaged_usage_t){0};
  for (size_t i = 0; i < zbody_space.highest; i++) {
    zbody_page_t *page = &zbody_space.pages[i];
    if (page->kind == ZBODY_PAGE_FREE || page->inner != 0) continue;
    zmanaged_usage_t *of = &usage[zbody_page_is_old(page) ? ZGENERATION_OLD : ZGENERATION_YOUNG];
    of->pages += page->units;
    of->bytes += page->top;
  }
}
