#include "barrier/zstore_buffer.h"
#include "collector/managed/zmanaged_state.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"

#define WEAK_STEP 4096 /* handle entries between two chances to park */
#define TURN_MAX_NS 100000000u /* of the old mark, before it gives way again */

void zmanaged_phase_set(zmanaged_phase_t phase) { zstore_release(&zm.phase, (uint32_t)phase); }

/* ---- which young collection comes ----------------------------------------------------------------- */

static const char *cause_of(zgeneration_t generation) {
  return zm.cause[generation] != NULL ? zm.cause[generation] : "?";
}

static void begin_young_locked(zyoung_role_t role) {
  zm.role = role;
  zm.started_count[ZGENERATION_YOUNG] = zm.requested[ZGENERATION_YOUNG];
  zstore_relaxed(&zm.young_wanted, 0);
  zm.clear_cursor = 0;
  zm.started_ns[ZGENERATION_YOUNG] = zos_now_ns();
  if (role == ZYOUNG_ALONE || role == ZYOUNG_WITHIN) {
    zprobe_managed_start(zbody_space.number + 1, "young", cause_of(ZGENERATION_YOUNG));
  }
  zmanaged_phase_set(ZMANAGED_PREPARE);
}

static void begin_young(zyoung_role_t role) {
  zlock_take(ZLOCK_MANAGED);
  begin_young_locked(role);
  zlock_drop(ZLOCK_MANAGED);
}

void zmanaged_phase_begin_locked(bool full) {
  zm.full = full;
  if (full) {
    zm.full_number = zbody_space.number + 1;
    zm.full_moved = zm.full_freed = 0;
    zm.started_ns[ZGENERATION_OLD] = zos_now_ns();
    zprobe_managed_start(zm.full_number, "full", cause_of(ZGENERATION_OLD));
  }
  begin_young_locked(full ? ZYOUNG_TENURE : ZYOUNG_ALONE);
}

static void end_young(void) {
  zlock_take(ZLOCK_MANAGED);
  zm.done[ZGENERATION_YOUNG] = zm.started_count[ZGENERATION_YOUNG];
  zmanaged_changed_locked();
  zlock_drop(ZLOCK_MANAGED);
}

/* ---- marking, either generation ------------------------------------------------------------------- */

/* The old mark gives way to a young collection, but after one it has a turn as long as that took. */
static bool must_give_way(void) {
  if (zmanaged_give_way == ZGIVE_WAY_ALWAYS) return true;
  return zload_relaxed(&zm.young_wanted) && zos_now_ns() >= zm.turn_end_ns;
}

static const zmark_calls_t steady = {zmanaged_pause_yield, zmanaged_pause_leave, zmanaged_pause_enter, NULL};
static const zmark_calls_t by_turns = {zmanaged_pause_yield, zmanaged_pause_leave,
                                       zmanaged_pause_enter, must_give_way};

static bool follow_all(const zmark_calls_t *calls) {
  zmanaged_driver_open_job();
  bool done = zmark_follow(0, calls);
  zmanaged_driver_close_job();
  return done;
}

/* Weak entries whose bodies nothing else reaches. A pause hides ZMANAGED_WEAK_MAX of them at most; while some
 * are left the mark comes back here before it ends, so that all end in this collection. In between the program
 * may use one that is left: then its body lives, and what it refers to, although a weak reference to that may
 * have ended a moment before. All get the current address, so this runs in every mark. */
static void collect_weak(void) {
  zm.weak_count = 0;
  zm.weak_left_over = false;
  if (zload_relaxed(&zhandle_table.weak) == 0) return;
  /* The program makes ended_count smaller only, while no pause runs. */
  size_t limit = zmin(ZMANAGED_WEAK_MAX, zm.ended_capacity - zload_relaxed(&zm.ended_count)), kept = 0;
  size_t top = zload_acquire(&zhandle_table.top);
  for (size_t i = 1; i < top; i++) {
    zhandle_entry_t *entry = &zhandle_table.entries[i];
    if (i % WEAK_STEP == 0) zmanaged_pause_yield();
    if (!zhandle_is_weak(entry)) continue;
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body) || !zmark_is_dead(body)) continue;
    if (zm.weak_count < limit) {
      zm.weak[zm.weak_count++] = entry;
    } else if (limit > 0) {
      zm.weak_left_over = true;
    } else { /* the program does not take what has ended: another time */
      zmark_body(0, body);
      kept++;
    }
  }
  if (kept > 0) follow_all(&steady);
}

/* True when no weak entry's body came, or has to come, back to life. */
static bool end_weak(void) {
  bool all = true;
  for (size_t i = 0; i < zm.weak_count; i++) {
    zhandle_entry_t *entry = zm.weak[i];
    if (!zhandle_is_weak(entry)) continue; /* in use again, or gone */
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body) || !zmark_is_dead(body)) continue;
    if (zm.host.weak_is_held(zhandle_object(entry))) {
      zmark_body(0, body);
      all = false;
    }
  }
  return all;
}

static void hide_weak(void) {
  for (size_t i = 0; i < zm.weak_count; i++) {
    zhandle_entry_t *entry = zm.weak[i];
    if (!zhandle_is_weak(entry)) continue;
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body) || !zmark_is_dead(body)) continue;
    void *object = zhandle_object(entry);
    zm.host.weak_hide(object);
    zhandle_table_free(entry);
    zhandle_table.weak--;
    zm.ended[zm.ended_count] = object;
    zstore_relaxed(&zm.ended_count, zm.ended_count + 1);
  }
  if (zmanaged_has_releases()) zmanaged_poll_set(ZPOLL_RELEASE);
}

/* ---- a young collection --------------------------------------------------------------------------- */

static void concurrent_prepare(void) {
  size_t highest = zload_acquire(&zbody_space.highest);
  bool all = zm.role == ZYOUNG_ROOTS; /* the old mark starts with this one's */
  for (; zm.clear_cursor < highest; zm.clear_cursor++) {
    zbody_page_t *page = &zbody_space.pages[zm.clear_cursor];
    if (zload_acquire(&page->kind) == ZBODY_PAGE_FREE || page->inner != 0) continue;
    if (!all && page->age == ZAGE_OLD) continue;
    zbody_page_clear_live(page);
    zmanaged_pause_yield();
  }
  zmanaged_phase_set(ZMANAGED_MARK_START);
}

static void pause_mark_start(void) {
  zbody_space.seq[ZGENERATION_YOUNG] = ++zbody_space.number;
  zbody_space.current ^= 1;
  zmanaged_eden_small = zmanaged_eden_medium = NULL;
  zrelocate_retire(&zrelocate_mutator_target);
  zm.eden_units = 0;
  zcolor_flip_mark(ZGENERATION_YOUNG);
  if (zm.role == ZYOUNG_ROOTS) {
    zbody_space.seq[ZGENERATION_OLD] = zbody_space.number;
    zcolor_flip_mark(ZGENERATION_OLD);
    zm.grouped = false;
    zm.results_final = false;
    if (zsuspects_has_results()) zsuspects_clear(); /* nobody took them */
  }
  zmark_begin(zm.role == ZYOUNG_ROOTS);
  zmanaged_phase_set(ZMANAGED_MARK);
}

static void concurrent_mark(void) {
  zmark_roots(zmanaged_pause_yield);
  follow_all(&steady);
  collect_weak();
  zmanaged_phase_set(ZMANAGED_MARK_END);
}

static void pause_mark_end(void) {
  zmark_follow_some(ZMANAGED_PAUSE_BODIES);
  if (!zmark_try_end() || !end_weak()) {
    zmanaged_phase_set(ZMANAGED_MARK);
    return;
  }
  hide_weak();
  if (zm.weak_left_over) {
    zmanaged_phase_set(ZMANAGED_MARK);
    return;
  }
  zmark_end();
  zmanaged_phase_set(ZMANAGED_SELECT);
}

static void select_pages(zgeneration_t generation, bool tenure) {
  zrelocation_counts_t *counts = &zm.counts[generation];
  zrelocation_set_release(generation);
  zmanaged_release_sweep(generation);
  zrelocation_set_select(generation, tenure, counts);
  zrelocation_set_install(generation);
  zm.promoted_cursor = 0;
  zlog_debug("gc,managed", "GC(m%u) selected %zu %s pages, freed %zu, promoted %zu in place, live %luM",
             zbody_space.seq[generation], counts->pages_selected,
             generation == ZGENERATION_OLD ? "old" : "young", counts->pages_freed, counts->pages_promoted,
             zlog_mb(counts->live_bytes));
}

static void concurrent_select(void) {
  select_pages(ZGENERATION_YOUNG, zm.role == ZYOUNG_TENURE);
  zmanaged_phase_set(ZMANAGED_RELOCATE_START);
}

static void pause_relocate_start(void) {
  zcolor_flip_remap(ZGENERATION_YOUNG);
  zmanaged_phase_set(ZMANAGED_RELOCATE);
}

static void relocate_claimed(zgeneration_t generation, unsigned worker) {
  zrelocation_set_t *set = &zrelocation_sets[generation];
  for (;;) {
    size_t i = zfetch_add_relaxed(&set->next, 1);
    if (i >= set->count) break;
    zrelocate_page(&set->forwardings[i], &zm.targets[worker], zmanaged_pause_yield);
    zmanaged_pause_yield();
  }
}

static void relocate_all(zgeneration_t generation) {
  size_t index;
  while ((index = zrelocation_set_promoted(zm.promoted_cursor)) != SIZE_MAX) {
    zrelocate_register_promoted(&zbody_space.pages[index], zmanaged_pause_yield);
    zm.promoted_cursor++;
  }
  zrelocation_sets[generation].next = 0;
  zmanaged_driver_open_job();
  relocate_claimed(generation, 0);
  zmanaged_driver_close_job();
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) zrelocate_retire(&zm.targets[i]);
}

static void concurrent_relocate(void) {
  relocate_all(ZGENERATION_YOUNG);
  zmanaged_phase_set(ZMANAGED_YOUNG_FINISH);
}

/* Adds what a generation's collection did; its time. */
static uint64_t count_collection(zgeneration_t generation) {
  zmark_counts_t marked = zmark_counts(generation);
  const zrelocation_counts_t *counts = &zm.counts[generation];
  zmanaged_stats_t *stats = &zmanaged_stat_values;
  stats->marked_bodies += marked.bodies;
  stats->marked_bytes += marked.bytes;
  stats->relocated_pages += counts->pages_selected;
  stats->freed_pages += counts->pages_freed;
  stats->promoted_pages += counts->pages_promoted;
  stats->in_place_pages = zload_relaxed(&zrelocate_in_place_count);
  uint64_t ns = zos_now_ns() - zm.started_ns[generation];
  zmanaged_generation_stats_t *own = &zmanaged_generation_values[generation];
  own->marks++;
  own->marked_bodies += marked.bodies;
  own->marked_bytes += marked.bytes;
  own->concurrent_ns += ns;
  own->moved_pages += counts->pages_selected;
  own->freed_pages += counts->pages_freed;
  own->promoted_pages += counts->pages_promoted;
  return ns;
}

static size_t used_bytes(void) { return zload_relaxed(&zbody_space.used_units) << ZUNIT_SHIFT; }

/* A full collection's pages include those of the young ones that it began with. */
static void report(zgeneration_t generation, size_t given, uint64_t ns) {
  bool full = generation == ZGENERATION_OLD;
  zmark_counts_t marked = zmark_counts(generation);
  uint32_t number = full ? zm.full_number : zbody_space.seq[ZGENERATION_YOUNG];
  size_t moved = zm.counts[generation].pages_selected + (full ? zm.full_moved : 0);
  size_t freed = zm.counts[generation].pages_freed + (full ? zm.full_freed : 0);
  zlog_info("gc,managed",
            "GC(m%u) Managed %s (%s%s) marked %llu bodies %luM live, moved %zu freed %zu pages, used %luM, "
            "gave back %luM, %.1fms",
            number, full ? "full" : "young", cause_of(generation),
            !full && zm.role == ZYOUNG_WITHIN ? ", beside an old mark" : "", (unsigned long long)marked.bodies,
            zlog_mb(marked.bytes), moved, freed, zlog_mb(used_bytes()), zlog_mb(given), zlog_ms(ns));
  zprobe_managed_done(number, moved, freed);
}

/* A fork's child goes through this phase again, so what takes time, and lets a fork in, comes before what counts. */
static void concurrent_young_finish(void) {
  zmanaged_stats_t *stats = &zmanaged_stat_values;
  bool is_last = zm.role == ZYOUNG_ALONE || zm.role == ZYOUNG_WITHIN;
  /* The memory is wanted again soon. */
  size_t given = is_last ? zbody_space_uncommit(zmax(64 * ZM, used_bytes() / 4), zmanaged_pause_yield) : 0;
  uint64_t ns = zm.young_ns = count_collection(ZGENERATION_YOUNG);
  if (is_last) {
    stats->young_concurrent_ns += ns;
    if (zm.role == ZYOUNG_WITHIN) stats->young_within_full++;
    zstore_relaxed(&stats->young_collections, stats->young_collections + 1);
    report(ZGENERATION_YOUNG, given, ns);
  } else {
    zm.full_moved += zm.counts[ZGENERATION_YOUNG].pages_selected;
    zm.full_freed += zm.counts[ZGENERATION_YOUNG].pages_freed;
  }
  end_young();
  if (zm.role == ZYOUNG_TENURE) {
    begin_young(ZYOUNG_ROOTS);
  } else {
    zmanaged_phase_set(zm.full ? ZMANAGED_OLD_MARK : ZMANAGED_IDLE);
  }
}

/* ---- the old generation ---------------------------------------------------------------------------- */

static void concurrent_old_mark(void) {
  if (zm.grouped) zsuspects_arrange(zmanaged_pause_yield);
  zmark_take_up_old();
  zm.turn_end_ns = zmanaged_give_way == ZGIVE_WAY_BY_TURNS ? zos_now_ns() + zmin(zm.young_ns, TURN_MAX_NS) : 0;
  bool done = follow_all(zm.inline_run ? &steady : &by_turns);
  if (!done) { /* somebody wants a young collection; it comes back here */
    begin_young(ZYOUNG_WITHIN);
    return;
  }
  collect_weak();
  zmanaged_phase_set(ZMANAGED_OLD_MARK_END);
}

static void concurrent_group(void) {
  zsuspects_walk(zmanaged_pause_yield);
  zmanaged_phase_set(ZMANAGED_GROUP_END);
}

static void pause_group_end(void) {
  zstore_buffer_flush();
  bool final = zsuspects_end();
  if (final) zmark_take_records();
  zmanaged_phase_set(final ? ZMANAGED_OLD_MARK : ZMANAGED_GROUP);
}

/* The first time that nothing is left: what only suspects reach is put into groups. */
static bool begin_groups(void) {
  if (zm.grouped) return false;
  zm.grouped = true;
  if (zsuspects_count() == 0 || !zsuspects_begin()) return false;
  if (zsuspects_is_walking()) zstore_buffer_flush_to = zsuspects_record;
  return true;
}

static void pause_old_mark_end(void) {
  zmark_follow_some(ZMANAGED_PAUSE_BODIES);
  bool empty = zmark_try_end();
  if (empty && begin_groups()) {
    zmanaged_phase_set(ZMANAGED_GROUP);
  } else if (empty && end_weak()) {
    hide_weak();
    if (zm.weak_left_over) {
      zmanaged_phase_set(ZMANAGED_OLD_MARK);
      return;
    }
    zmark_end();
    zm.last_full_seq = zbody_space.seq[ZGENERATION_OLD];
    zm.results_final = true;
    if (zsuspects_has_results()) zmanaged_poll_set(ZPOLL_RELEASE);
    zmanaged_phase_set(ZMANAGED_OLD_SELECT);
  } else {
    zmanaged_phase_set(ZMANAGED_OLD_MARK);
  }
}

static void concurrent_old_select(void) {
  select_pages(ZGENERATION_OLD, false);
  zmanaged_phase_set(ZMANAGED_OLD_RELOCATE_START);
}

static void pause_old_relocate_start(void) {
  zcolor_flip_remap(ZGENERATION_OLD);
  zmanaged_phase_set(ZMANAGED_OLD_RELOCATE);
}

static void concurrent_old_relocate(void) {
  relocate_all(ZGENERATION_OLD);
  zmanaged_phase_set(ZMANAGED_FINISH);
}

static void concurrent_finish(void) {
  zmanaged_stats_t *stats = &zmanaged_stat_values;
  size_t given = zbody_space_uncommit(zmax(8 * ZM, used_bytes() / 16), zmanaged_pause_yield);
  uint64_t ns = count_collection(ZGENERATION_OLD);
  stats->full_concurrent_ns += ns;
  zstore_relaxed(&stats->full_collections, stats->full_collections + 1);
  stats->live_bytes = zm.counts[ZGENERATION_OLD].live_bytes;
  zstore_relaxed(&zm.full_ns, ns);
  zstore_relaxed(&zm.full_end_ns, zos_now_ns());
  zstore_relaxed(&zm.old_base_units, zload_relaxed(&zbody_space.used_units));
  report(ZGENERATION_OLD, given, ns);
  zmanaged_phase_set(ZMANAGED_IDLE);
}

/* ---- the list --------------------------------------------------------------------------------------- */

static void (*pause_of(zmanaged_phase_t phase))(void) {
  switch (phase) {
    case ZMANAGED_MARK_START:
      return pause_mark_start;
    case ZMANAGED_MARK_END:
      return pause_mark_end;
    case ZMANAGED_RELOCATE_START:
      return pause_relocate_start;
    case ZMANAGED_GROUP_END:
      return pause_group_end;
    case ZMANAGED_OLD_MARK_END:
      return pause_old_mark_end;
    case ZMANAGED_OLD_RELOCATE_START:
      return pause_old_relocate_start;
    default:
      return NULL;
  }
}

static void (*concurrent_of(zmanaged_phase_t phase))(void) {
  switch (phase) {
    case ZMANAGED_PREPARE:
      return concurrent_prepare;
    case ZMANAGED_MARK:
      return concurrent_mark;
    case ZMANAGED_SELECT:
      return concurrent_select;
    case ZMANAGED_RELOCATE:
      return concurrent_relocate;
    case ZMANAGED_YOUNG_FINISH:
      return concurrent_young_finish;
    case ZMANAGED_OLD_MARK:
      return concurrent_old_mark;
    case ZMANAGED_GROUP:
      return concurrent_group;
    case ZMANAGED_OLD_SELECT:
      return concurrent_old_select;
    case ZMANAGED_OLD_RELOCATE:
      return concurrent_old_relocate;
    case ZMANAGED_FINISH:
      return concurrent_finish;
    default:
      return NULL;
  }
}

/* Every phase but the one: while bodies are to be moved, a program that needs one waits for the collector
 * and reaches no safepoint. */
static bool is_verifiable(zmanaged_phase_t next) {
  return next != ZMANAGED_RELOCATE && next != ZMANAGED_OLD_RELOCATE;
}

/* The time of a phase that is a pause includes the wait for a safepoint. */
void zmanaged_phase_run(zmanaged_phase_t phase) {
  while (zunlikely(zload_relaxed(&zmanaged_hold) == (uint32_t)phase)) {
    zmanaged_pause_yield();
    zos_sleep_ns(100000);
  }
  uint64_t start = zos_now_ns();
  zprobe_phase_start(zmanaged_phase_name(phase));
  void (*pause)(void) = pause_of(phase);
  if (pause != NULL) {
    zmanaged_pause_request(pause);
  } else {
    concurrent_of(phase)();
  }
  zprobe_phase_done(zmanaged_phase_name(phase), zos_now_ns() - start);
  if (is_verifiable(zmanaged_phase())) zmanaged_pause_verify();
}

void zmanaged_phase_help(unsigned worker) {
  switch (zmanaged_phase()) {
    case ZMANAGED_MARK:
      zmark_follow(worker, &steady);
      break;
    case ZMANAGED_OLD_MARK:
      zmark_follow(worker, &by_turns);
      break;
    case ZMANAGED_RELOCATE:
      relocate_claimed(ZGENERATION_YOUNG, worker);
      break;
    case ZMANAGED_OLD_RELOCATE:
      relocate_claimed(ZGENERATION_OLD, worker);
      break;
    default:
      break;
  }
}

void zmanaged_phase_relocate_here(void) {
  zmanaged_phase_t phase = zmanaged_phase();
  if (phase == ZMANAGED_RELOCATE || phase == ZMANAGED_OLD_RELOCATE) concurrent_of(phase)();
}
