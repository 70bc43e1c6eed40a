#include "collector/zmanaged.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/zmanaged_verify.h"
#include "collector/zsuspects.h"
#include "barrier/zstore_buffer.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"

#define RELEASE_CHUNK 1022
#define THREAD_NICE 5 /* a busy machine slows the collection more than the program */

uint32_t zmanaged_poll_wanted;
zbody_page_t *zmanaged_eden_small;
static zbody_page_t *eden_medium; /* GIL */
zmanaged_stats_t zmanaged_stat_values;
uint64_t zmanaged_pauses[3][ZMANAGED_PAUSE_BUCKETS];

enum { POLL_PAUSE = 1, POLL_RELEASE = 2 };

typedef struct release_chunk {
  struct release_chunk *next;
  size_t count;
  uint32_t indexes[RELEASE_CHUNK];
} release_chunk_t;

static struct {
  /* fixed once started */
  bool started;
  zmanaged_host_t host;
  unsigned threads;

  pthread_mutex_t lock;
  pthread_cond_t changed; /* anything below */

  /* lock */
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

  uint32_t stop; /* collector threads shall park; set under lock, read relaxed */
  uint32_t phase;
  bool inline_run; /* the collection runs on the thread that holds the GIL */

  /* the running collection; its threads, in turn */
  zgeneration_t generation;
  uint64_t started_ns;
  size_t clear_cursor, promoted_cursor;
  zhandle_entry_t *weak[ZMANAGED_WEAK_MAX];
  size_t weak_count, weak_limit;
  bool weak_left_over;
  bool mark_ended;
  bool grouped;
  zrelocation_counts_t counts;
  zrelocate_target_t targets[ZMARK_WORKERS_MAX];
  size_t relocated_before;

  /* GIL */
  void **ended; /* hidden weak handles */
  size_t ended_count, ended_at, ended_capacity;
  bool releasing;
  uint32_t last_full_seq;
  size_t eden_units;      /* since the last collection started */
  size_t old_base_units;  /* used after the last full collection */
  uint64_t full_end_ns, full_ns; /* when the last full collection ended, how long it took */
  size_t units_since_full;

  /* release lock */
  pthread_mutex_t release_lock;
  release_chunk_t *dead, *spare;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER,
       .changed = PTHREAD_COND_INITIALIZER,
       .release_lock = PTHREAD_MUTEX_INITIALIZER};

bool zmanaged_is_started(void) { return m.started; }
zmanaged_phase_t zmanaged_phase(void) { return (zmanaged_phase_t)zload_acquire(&m.phase); }

uint32_t zmanaged_last_full_seq(void) { return m.last_full_seq; }

const char *zmanaged_phase_name(zmanaged_phase_t phase) {
  static const char *const names[] = {
#define X(id, name) name,
      ZMANAGED_PHASES(X)
#undef X
  };
  return names[phase];
}

static void set_phase(zmanaged_phase_t phase) { zstore_release(&m.phase, (uint32_t)phase); }

static const char *generation_name(void) {
  return m.generation == ZGENERATION_FULL ? "full" : "young";
}

/* ---- parking ----------------------------------------------------------------------------------- */

static void enter_locked(void) {
  while (zload_relaxed(&m.stop)) pthread_cond_wait(&m.changed, &m.lock);
  m.running++;
}
static void leave_locked(void) {
  m.running--;
  pthread_cond_broadcast(&m.changed);
}
static void enter(void) {
  if (m.inline_run) return;
  pthread_mutex_lock(&m.lock);
  enter_locked();
  pthread_mutex_unlock(&m.lock);
}
static void leave(void) {
  if (m.inline_run) return;
  pthread_mutex_lock(&m.lock);
  leave_locked();
  pthread_mutex_unlock(&m.lock);
}
static void yield(void) {
  if (zlikely(!zload_relaxed(&m.stop)) || m.inline_run) return;
  leave();
  enter();
}

void zmanaged_stop_world(void) {
  pthread_mutex_lock(&m.lock);
  zstore_relaxed(&m.stop, 1);
  while (m.running > 0) pthread_cond_wait(&m.changed, &m.lock);
  pthread_mutex_unlock(&m.lock);
}

void zmanaged_resume_world(void) {
  pthread_mutex_lock(&m.lock);
  zstore_relaxed(&m.stop, 0);
  pthread_cond_broadcast(&m.changed);
  pthread_mutex_unlock(&m.lock);
}

/* ---- pauses ------------------------------------------------------------------------------------ */

static void verify_pause(void);

static unsigned bucket_of(uint64_t ns) {
  if (ns < 8) return (unsigned)ns;
  unsigned power = zlog2((size_t)ns);
  return (power - 2) * 8 + (unsigned)(ns >> (power - 3) & 7);
}

uint64_t zmanaged_pause_bucket_ns(unsigned bucket) {
  if (bucket < 8) return bucket;
  unsigned power = bucket / 8 + 2;
  return ((uint64_t)(8 + bucket % 8) << (power - 3)) + ((uint64_t)1 << (power - 3)) - 1;
}

static void run_timed(void (*pause)(void), zmanaged_phase_t phase) {
  uint64_t start = zos_now_ns();
  pause();
  if (pause == verify_pause) return; /* verify mode is not about time */
  uint64_t ns = zos_now_ns() - start;
  unsigned kind = phase == ZMANAGED_MARK_START ? 0 : phase == ZMANAGED_RELOCATE_START ? 2 : 1;
  zmanaged_pauses[kind][zmin(bucket_of(ns), ZMANAGED_PAUSE_BUCKETS - 1)]++;
  zmanaged_stat_values.pauses++;
  zmanaged_stat_values.pause_total_ns += ns;
  if (ns > zmanaged_stat_values.pause_max_ns) zmanaged_stat_values.pause_max_ns = ns;
  zlog_debug("gc,managed", "GC(m%u) %s Pause %s %.3fms", zbody_space.seq, generation_name(),
             zmanaged_phase_name(phase), zlog_ms(ns));
}

static void set_poll(uint32_t bit) { (void)zfetch_or_relaxed(&zmanaged_poll_wanted, bit); }
static void clear_poll(uint32_t bit) { (void)zfetch_and_relaxed(&zmanaged_poll_wanted, ~bit); }

/* Collector thread: has `pause` run at a safepoint, and returns when it has been. */
static void request_pause(void (*pause)(void)) {
  if (m.inline_run) {
    run_timed(pause, zmanaged_phase());
    return;
  }
  pthread_mutex_lock(&m.lock);
  m.pause = pause;
  leave_locked();
  set_poll(POLL_PAUSE);
  pthread_cond_broadcast(&m.changed);
  unsigned asked = 0;
  while (m.pause != NULL || m.pausing) {
    /* A pending call can be refused (its queue is short) or be served late: ask again. */
    if (asked++ % 8 == 0) {
      pthread_mutex_unlock(&m.lock);
      m.host.request_safepoint();
      pthread_mutex_lock(&m.lock);
      if (m.pause == NULL && !m.pausing) break;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000;
    if (until.tv_nsec >= 1000000000) {
      until.tv_nsec -= 1000000000;
      until.tv_sec++;
    }
    pthread_cond_timedwait(&m.changed, &m.lock, &until);
  }
  enter_locked();
  pthread_mutex_unlock(&m.lock);
}

static void run_wanted_pause(void) {
  pthread_mutex_lock(&m.lock);
  void (*pause)(void) = m.pause;
  if (pause == NULL || m.pausing) {
    pthread_mutex_unlock(&m.lock);
    return;
  }
  m.pausing = true;
  clear_poll(POLL_PAUSE);
  pthread_mutex_unlock(&m.lock);
  run_timed(pause, zmanaged_phase());
  pthread_mutex_lock(&m.lock);
  m.pause = NULL;
  m.pausing = false;
  pthread_cond_broadcast(&m.changed);
  pthread_mutex_unlock(&m.lock);
}

void zmanaged_safepoint(void) {
  if (zload_relaxed(&zmanaged_poll_wanted) & POLL_PAUSE) run_wanted_pause();
  if (zload_relaxed(&zmanaged_poll_wanted) & POLL_RELEASE) zmanaged_release_some(100000);
}

/* ---- the phases -------------------------------------------------------------------------------- */

static void concurrent_prepare(void) {
  size_t highest = zload_acquire(&zbody_space.highest);
  for (; m.clear_cursor < highest; m.clear_cursor++) {
    zbody_page_t *page = &zbody_space.pages[m.clear_cursor];
    if (zload_acquire(&page->kind) == ZBODY_PAGE_FREE || page->inner != 0) continue;
    if (m.generation == ZGENERATION_YOUNG && page->age == ZAGE_OLD) continue;
    zbody_page_clear_live(page);
    yield();
  }
  set_phase(ZMANAGED_MARK_START);
}

static void pause_mark_start(void) {
  zbody_space.seq++;
  zbody_space.current ^= 1;
  zmanaged_eden_small = eden_medium = NULL;
  zrelocate_retire(&zrelocate_mutator_target);
  m.eden_units = 0;
  zcolor_flip_mark(m.generation);
  zmark_begin(m.generation);
  m.weak_count = 0;
  m.weak_limit = zmin(ZMANAGED_WEAK_MAX, m.ended_capacity - m.ended_count);
  m.weak_left_over = false;
  m.mark_ended = false;
  m.grouped = false;
  if (m.generation == ZGENERATION_FULL && zsuspects_has_results()) zsuspects_clear(); /* nobody took them */
  set_phase(ZMANAGED_MARK);
}

/* Weak entries whose bodies nothing else reaches. No more than ZMANAGED_WEAK_MAX of them can end at one
 * mark's end, because they are looked at in its pause; the bodies of the others are kept. */
static void collect_weak(void) {
  if (zload_relaxed(&zhandle_table.weak) == 0) return;
  m.weak_count = 0;
  size_t top = zload_acquire(&zhandle_table.top);
  for (size_t i = 1; i < top; i++) {
    zhandle_entry_t *entry = &zhandle_table.entries[i];
    if (!zhandle_is_weak(entry)) continue;
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body) || !zmark_is_dead(body)) continue;
    if (m.weak_count < m.weak_limit) {
      m.weak[m.weak_count++] = entry;
    } else {
      m.weak_left_over = true;
      zmark_body(0, body);
    }
  }
}

static void open_job(void) {
  if (m.inline_run || m.threads <= 1) return;
  pthread_mutex_lock(&m.lock);
  m.job_open = true;
  m.job++;
  pthread_cond_broadcast(&m.changed);
  pthread_mutex_unlock(&m.lock);
}

/* Helpers that are at the job finish it; the driver waits for them. */
static void close_job(void) {
  if (m.inline_run || m.threads <= 1) return;
  pthread_mutex_lock(&m.lock);
  m.job_open = false;
  leave_locked();
  while (m.helpers > 0) pthread_cond_wait(&m.changed, &m.lock);
  enter_locked();
  pthread_mutex_unlock(&m.lock);
}

static void follow_all(void) {
  open_job();
  zmark_follow(0, yield, leave, enter);
  close_job();
}

static void concurrent_mark(void) {
  zmark_roots(yield);
  follow_all();
  collect_weak();
  if (m.weak_left_over) follow_all();
  set_phase(ZMANAGED_MARK_END);
}

/* True when no weak entry's body came, or has to come, back to life. */
static bool end_weak(void) {
  bool all = true;
  for (size_t i = 0; i < m.weak_count; i++) {
    zhandle_entry_t *entry = m.weak[i];
    if (!zhandle_is_weak(entry)) continue; /* in use again, or gone */
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body) || !zmark_is_dead(body)) continue;
    void *object = zhandle_object(entry);
    if (m.host.weak_is_held(object)) {
      zmark_body(0, body);
      all = false;
    }
  }
  return all;
}

static void hide_weak(void) {
  for (size_t i = 0; i < m.weak_count; i++) {
    zhandle_entry_t *entry = m.weak[i];
    if (!zhandle_is_weak(entry)) continue;
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body) || !zmark_is_dead(body)) continue;
    void *object = zhandle_object(entry);
    m.host.weak_hide(object);
    zhandle_table_free(entry);
    zhandle_table.weak--;
    m.ended[m.ended_count++] = object;
  }
}

static void concurrent_group(void) {
  zsuspects_walk(yield);
  set_phase(ZMANAGED_GROUP_END);
}

static void pause_group_end(void) {
  zstore_buffer_flush();
  bool final = zsuspects_end();
  if (final) zmark_take_records();
  set_phase(final ? ZMANAGED_MARK : ZMANAGED_GROUP);
}

static void pause_mark_end(void) {
  zmark_follow_some(ZMANAGED_PAUSE_BODIES);
  bool empty = zmark_try_end();
  if (empty && !m.grouped && m.generation == ZGENERATION_FULL) {
    m.grouped = true;
    if (zsuspects_count() > 0 && zsuspects_begin()) {
      if (zsuspects_is_walking()) zstore_buffer_flush_to = zsuspects_record;
      set_phase(ZMANAGED_GROUP);
      return;
    }
  }
  if (empty && end_weak()) {
    hide_weak();
    zmark_end();
    if (m.generation == ZGENERATION_FULL) m.last_full_seq = zbody_space.seq;
    if (m.ended_at < m.ended_count || zsuspects_has_results()) set_poll(POLL_RELEASE);
    m.mark_ended = true;
    set_phase(ZMANAGED_SELECT);
  } else {
    set_phase(ZMANAGED_MARK);
  }
}

static bool list_dead(uint32_t index) {
  if (m.dead == NULL || m.dead->count == RELEASE_CHUNK) {
    release_chunk_t *chunk = m.spare;
    if (chunk != NULL) {
      m.spare = chunk->next;
    } else {
      chunk = zos_table_map(sizeof *chunk);
      if (chunk == NULL) return false;
    }
    chunk->count = 0;
    chunk->next = m.dead;
    m.dead = chunk;
  }
  m.dead->indexes[m.dead->count++] = index;
  return true;
}

/* Python references whose bodies the mark did not reach. old = 2: listed. */
static void sweep_references(void) {
  size_t top = zload_acquire(&zpyref_table.top);
  bool found = false;
  pthread_mutex_lock(&m.release_lock);
  for (size_t i = 1; i < top; i++) {
    zpyref_t *entry = &zpyref_table.entries[i];
    uintptr_t object = zload_acquire(&entry->object);
    if (object & 1) continue;
    if (zload_relaxed(&entry->seq) == zbody_space.seq) continue;
    uint32_t old = zload_relaxed(&entry->old);
    if (old == 2 || (old == 1 && m.generation == ZGENERATION_YOUNG)) continue;
    if (!list_dead((uint32_t)i)) break; /* found again by the next collection */
    zstore_relaxed(&entry->old, 2);
    found = true;
  }
  pthread_mutex_unlock(&m.release_lock);
  if (found) set_poll(POLL_RELEASE);
}

static void concurrent_select(void) {
  zrelocation_set_release(m.generation);
  sweep_references();
  zrelocation_set_select(m.generation, &m.counts);
  zrelocation_set_install();
  m.promoted_cursor = 0;
  zlog_debug("gc,managed", "GC(m%u) selected %zu pages, freed %zu, promoted %zu in place, live %luM",
             zbody_space.seq, m.counts.pages_selected, m.counts.pages_freed, m.counts.pages_promoted,
             zlog_mb(m.counts.live_bytes));
  set_phase(ZMANAGED_RELOCATE_START);
}

static void pause_relocate_start(void) {
  zcolor_flip_remap(m.generation);
  set_phase(ZMANAGED_RELOCATE);
}

static void relocate_claimed(unsigned worker) {
  for (int old = 0; old < 2; old++) {
    if (old == 1 && m.generation == ZGENERATION_YOUNG) break;
    zrelocation_set_t *set = &zrelocation_sets[old];
    for (;;) {
      size_t i = zfetch_add_relaxed(&set->next, 1);
      if (i >= set->count) break;
      zrelocate_page(&set->forwardings[i], &m.targets[worker], yield);
      yield();
    }
  }
}

static void concurrent_relocate(void) {
  size_t index;
  while ((index = zrelocation_set_promoted(m.promoted_cursor)) != SIZE_MAX) {
    zrelocate_register_promoted(&zbody_space.pages[index], yield);
    m.promoted_cursor++;
  }
  zrelocation_sets[0].next = zrelocation_sets[1].next = 0;
  open_job();
  relocate_claimed(0);
  close_job();
  set_phase(ZMANAGED_FINISH);
}

static void concurrent_finish(void) {
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) zrelocate_retire(&m.targets[i]);
  zmark_counts_t marked = zmark_counts();
  zmanaged_stats_t *stats = &zmanaged_stat_values;
  uint64_t ns = zos_now_ns() - m.started_ns;
  stats->marked_bodies += marked.bodies;
  stats->marked_bytes += marked.bytes;
  stats->relocated_pages += m.counts.pages_selected;
  stats->freed_pages += m.counts.pages_freed;
  stats->promoted_pages += m.counts.pages_promoted;
  stats->in_place_pages = zload_relaxed(&zrelocate_in_place_count);
  if (m.generation == ZGENERATION_FULL) {
    stats->full_concurrent_ns += ns;
    zstore_relaxed(&stats->full_collections, stats->full_collections + 1);
    stats->live_bytes = m.counts.live_bytes;
    zstore_relaxed(&m.full_ns, ns);
    zstore_relaxed(&m.full_end_ns, zos_now_ns());
    zstore_relaxed(&m.old_base_units, zload_relaxed(&zbody_space.used_units));
  } else {
    stats->young_concurrent_ns += ns;
    zstore_relaxed(&stats->young_collections, stats->young_collections + 1);
  }
  size_t used = zload_relaxed(&zbody_space.used_units) << ZUNIT_SHIFT;
  /* After a young collection the memory is wanted again soon. */
  size_t keep = m.generation == ZGENERATION_FULL ? zmax(8 * ZM, used / 16) : zmax(64 * ZM, used / 4);
  size_t given = zbody_space_uncommit(keep);
  zlog_info("gc,managed",
            "GC(m%u) Managed %s (%s) marked %llu bodies %luM live, moved %zu freed %zu pages, used %luM, "
            "gave back %luM, %.1fms",
            zbody_space.seq, generation_name(), m.cause[m.generation] ? m.cause[m.generation] : "?",
            (unsigned long long)marked.bodies, zlog_mb(marked.bytes), m.counts.pages_selected,
            m.counts.pages_freed, zlog_mb(used), zlog_mb(given),
            zlog_ms(ns));
  set_phase(ZMANAGED_IDLE);
}

static void verify_pause(void) {
  uint64_t bodies = 0;
  char message[256];
  if (!zmanaged_verify(&bodies, message, sizeof message)) {
    zlog_notice("managed heap broken after %s of collection m%u (%s): %s",
                zmanaged_phase_name(zmanaged_phase()), zbody_space.seq, generation_name(), message);
    abort();
  }
  zmanaged_stat_values.verified_bodies += bodies;
}

static void verify_here(void) {
  if (zoption(verify)) request_pause(verify_pause);
}

static void run_phase(zmanaged_phase_t phase) {
  switch (phase) {
    case ZMANAGED_PREPARE:
      concurrent_prepare();
      break;
    case ZMANAGED_MARK_START:
      request_pause(pause_mark_start);
      break;
    case ZMANAGED_MARK:
      concurrent_mark();
      break;
    case ZMANAGED_GROUP:
      concurrent_group();
      break;
    case ZMANAGED_GROUP_END:
      request_pause(pause_group_end);
      break;
    case ZMANAGED_MARK_END:
      request_pause(pause_mark_end);
      if (m.mark_ended) verify_here();
      break;
    case ZMANAGED_SELECT:
      concurrent_select();
      break;
    case ZMANAGED_RELOCATE_START:
      request_pause(pause_relocate_start);
      break;
    case ZMANAGED_RELOCATE:
      concurrent_relocate();
      verify_here();
      break;
    case ZMANAGED_FINISH:
      concurrent_finish();
      break;
    case ZMANAGED_IDLE:
      break;
  }
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* True when a collection has been set up. */
static bool begin_wanted_locked(void) {
  if (zmanaged_phase() != ZMANAGED_IDLE) return true;
  zgeneration_t generation;
  if (m.requested[ZGENERATION_FULL] > m.started_count[ZGENERATION_FULL]) {
    generation = ZGENERATION_FULL;
  } else if (m.requested[ZGENERATION_YOUNG] > m.started_count[ZGENERATION_YOUNG]) {
    generation = ZGENERATION_YOUNG;
  } else {
    return false;
  }
  m.generation = generation;
  m.started_count[generation] = m.requested[generation];
  /* What a full collection finds includes what a young one would. */
  if (generation == ZGENERATION_FULL) {
    m.started_count[ZGENERATION_YOUNG] = m.requested[ZGENERATION_YOUNG];
  }
  m.clear_cursor = 0;
  m.started_ns = zos_now_ns();
  set_phase(ZMANAGED_PREPARE);
  return true;
}

static void finish_locked(void) {
  m.done[m.generation] = m.started_count[m.generation];
  if (m.generation == ZGENERATION_FULL) {
    m.done[ZGENERATION_YOUNG] = m.started_count[ZGENERATION_YOUNG];
  }
  pthread_cond_broadcast(&m.changed);
}

static void helper_main(void *argument) {
  unsigned worker = (unsigned)(uintptr_t)argument;
  unsigned seen = 0;
  zos_thread_lower_priority(THREAD_NICE);
  pthread_mutex_lock(&m.lock);
  for (;;) {
    while (!m.job_open || m.job == seen || zload_relaxed(&m.stop)) {
      pthread_cond_wait(&m.changed, &m.lock);
    }
    seen = m.job;
    m.helpers++;
    enter_locked();
    bool open = m.job_open; /* may have closed while a stop lasted */
    pthread_mutex_unlock(&m.lock);
    if (open && zmanaged_phase() == ZMANAGED_MARK) zmark_follow(worker, yield, leave, enter);
    if (open && zmanaged_phase() == ZMANAGED_RELOCATE) relocate_claimed(worker);
    pthread_mutex_lock(&m.lock);
    m.helpers--;
    leave_locked();
  }
}

static void start_helpers(void) {
  while (m.helper_slots + 1 < m.threads) {
    if (zos_thread_start(helper_main, (void *)(uintptr_t)(m.helper_slots + 1), "zgc-managed-w") != 0) {
      m.threads = m.helper_slots + 1; /* the driver marks alone */
      break;
    }
    m.helper_slots++;
  }
}

static void driver_main(void *argument) {
  (void)argument;
  zos_thread_lower_priority(THREAD_NICE);
  start_helpers();
  pthread_mutex_lock(&m.lock);
  enter_locked();
  for (;;) {
    if (!begin_wanted_locked()) {
      leave_locked();
      uint64_t interval = zoption(interval);
      if (interval == 0) {
        pthread_cond_wait(&m.changed, &m.lock);
      } else {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)interval;
        if (pthread_cond_timedwait(&m.changed, &m.lock, &until) != 0) {
          m.requested[ZGENERATION_FULL] = m.started_count[ZGENERATION_FULL] + 1;
          m.cause[ZGENERATION_FULL] = "Timer";
        }
      }
      enter_locked();
      continue;
    }
    pthread_mutex_unlock(&m.lock);
    while (zmanaged_phase() != ZMANAGED_IDLE) run_phase(zmanaged_phase());
    pthread_mutex_lock(&m.lock);
    finish_locked();
  }
}

/* lock. False: no thread can be had. */
static bool ensure_thread_locked(void) {
  if (m.thread_alive) return true;
  if (zos_thread_start(driver_main, NULL, "zgc-managed") != 0) {
    zmanaged_stat_values.faults++;
    return false;
  }
  m.thread_alive = true;
  return true;
}

uint64_t zmanaged_request(zgeneration_t generation, const char *cause) {
  pthread_mutex_lock(&m.lock);
  uint64_t ticket = m.started_count[generation] + 1;
  if (m.requested[generation] < ticket) {
    m.requested[generation] = ticket;
    m.cause[generation] = cause;
  }
  ensure_thread_locked();
  pthread_cond_broadcast(&m.changed);
  pthread_mutex_unlock(&m.lock);
  return ticket << 1 | (uint64_t)generation;
}

bool zmanaged_is_done(uint64_t ticket) {
  pthread_mutex_lock(&m.lock);
  bool done = m.done[ticket & 1] >= ticket >> 1;
  pthread_mutex_unlock(&m.lock);
  return done;
}

void zmanaged_wait(void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 2000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  pthread_mutex_lock(&m.lock);
  if (m.pause == NULL || m.pausing) pthread_cond_timedwait(&m.changed, &m.lock, &until);
  pthread_mutex_unlock(&m.lock);
}

void zmanaged_run_if_stuck(void) {
  pthread_mutex_lock(&m.lock);
  bool run = !m.inline_run && !ensure_thread_locked() && begin_wanted_locked();
  if (run) m.inline_run = true;
  pthread_mutex_unlock(&m.lock);
  if (!run) return;
  zlog_warn("gc,managed", "no collector thread: collecting on the program's thread");
  while (zmanaged_phase() != ZMANAGED_IDLE) run_phase(zmanaged_phase());
  pthread_mutex_lock(&m.lock);
  m.inline_run = false;
  finish_locked();
  pthread_mutex_unlock(&m.lock);
}

/* A mutator waits for a body to be moved, and has the GIL. */
static void ensure_worker(void) {
  if (m.inline_run) return;
  pthread_mutex_lock(&m.lock);
  bool alone = !ensure_thread_locked();
  if (alone) m.inline_run = true;
  pthread_mutex_unlock(&m.lock);
  if (!alone) return;
  concurrent_relocate();
  m.inline_run = false;
}

/* ---- what dead bodies held ---------------------------------------------------------------------- */

bool zmanaged_has_releases(void) {
  return m.ended_at < m.ended_count || zload_acquire(&m.dead) != NULL;
}

static uint32_t take_dead(void) {
  pthread_mutex_lock(&m.release_lock);
  release_chunk_t *chunk = m.dead;
  uint32_t index = 0;
  if (chunk != NULL) {
    index = chunk->indexes[--chunk->count];
    if (chunk->count == 0) {
      m.dead = chunk->next;
      chunk->next = m.spare;
      m.spare = chunk;
    }
  }
  pthread_mutex_unlock(&m.release_lock);
  return index;
}

bool zmanaged_release_some(uint64_t ns) {
  if (m.releasing) return false; /* a finalizer came back here */
  m.releasing = true;
  uint64_t end = zos_now_ns() + ns;
  bool empty = false;
  if (zsuspects_has_results() && m.mark_ended && m.host.take_groups != NULL) m.host.take_groups();
  for (unsigned i = 1;; i++) {
    if (m.ended_at < m.ended_count) {
      m.host.weak_finish(m.ended[m.ended_at++]);
      zmanaged_stat_values.weak_ended++;
      if (m.ended_at == m.ended_count) m.ended_at = m.ended_count = 0;
    } else {
      uint32_t index = take_dead();
      empty = index == 0;
      if (empty) break;
      void *object = zpyref_free(index);
      if (object != NULL) m.host.release(object);
      zmanaged_stat_values.released_references++;
    }
    if (i % 16 == 0 && zos_now_ns() > end) break;
  }
  if (empty) {
    clear_poll(POLL_RELEASE);
    if (zmanaged_has_releases()) set_poll(POLL_RELEASE);
  }
  m.releasing = false;
  return empty;
}

/* ---- allocation, and when to collect ------------------------------------------------------------ */

/* Each rule returns a cause or NULL. */
static const char *rule_young(void) {
  size_t used = zload_relaxed(&zbody_space.used_units);
  size_t step = zmax((32 * ZM) >> ZUNIT_SHIFT, used / 8);
  step = zmin(step, zbody_space.capacity_units / 4 + 1);
  return m.eden_units >= step ? "Allocation" : NULL;
}

static const char *rule_full(void) {
  size_t used = zload_relaxed(&zbody_space.used_units);
  size_t base = zload_relaxed(&m.old_base_units);
  size_t limit = base + base * 3 / 4 + ((64 * ZM) >> ZUNIT_SHIFT);
  if (used >= limit) return "Growth";
  /* Near the limit a collection must be under way before the stall. */
  if (used * 100 >= zbody_space.capacity_units * 85 && m.eden_units * 50 >= zbody_space.capacity_units) {
    return "High Usage";
  }
  return NULL;
}

/* Now and then, in proportion to what was allocated: a program may have dropped much since, and what it
 * dropped is not known before it is looked for. At most a twentieth of the time. */
static const char *rule_proactive(void) {
  if (m.units_since_full < zload_relaxed(&zbody_space.used_units) / 16 + 32) return NULL;
  uint64_t quiet = zmax(5000000000u, 20 * zload_relaxed(&m.full_ns));
  return zos_now_ns() - zload_relaxed(&m.full_end_ns) > quiet ? "Proactive" : NULL;
}

static void direct(void) {
  if (zmanaged_phase() != ZMANAGED_IDLE) {
    if (!zload_relaxed(&m.thread_alive)) { /* a fork's child takes its parent's collection up */
      pthread_mutex_lock(&m.lock);
      ensure_thread_locked();
      pthread_mutex_unlock(&m.lock);
    }
    return;
  }
  const char *cause = rule_full();
  if (cause == NULL) cause = rule_proactive();
  if (cause != NULL) {
    if (m.host.choose_suspects != NULL) m.host.choose_suspects();
    m.units_since_full = 0;
    zmanaged_request(ZGENERATION_FULL, cause);
    return;
  }
  cause = rule_young();
  if (cause == NULL && zoption(stress)) cause = "Stress";
  if (cause != NULL) zmanaged_request(ZGENERATION_YOUNG, cause);
}

static zbody_page_t *eden_page(zbody_page_kind_t kind, size_t units) {
  m.eden_units += units;
  m.units_since_full += units;
  direct();
  return zbody_page_alloc(kind, units, ZAGE_EDEN, false);
}

static zaddress_t alloc_in(zbody_page_t **current, zbody_page_kind_t kind, size_t units, size_t size) {
  if (*current != NULL) {
    zaddress_t body = zbody_page_bump(*current, size);
    if (!zaddress_is_null(body)) return body;
  }
  zbody_page_t *page = eden_page(kind, units);
  if (page == NULL) return zaddress(0);
  *current = page;
  return zbody_page_bump(page, size);
}

zaddress_t zmanaged_alloc(const zshape_t *shape, uint64_t length) {
  if (shape->kind != ZBODY_FIXED && length > zbody_space.size / 8) return zaddress(0);
  size_t size = zbody_size_of(shape, length);
  zaddress_t body;
  if (size <= ZBODY_SMALL_MAX) {
    body = alloc_in(&zmanaged_eden_small, ZBODY_PAGE_SMALL, 1, size);
  } else if (size <= ZBODY_MEDIUM_MAX &&
             zbody_space.capacity_units >= 8 * ZBODY_PAGE_MEDIUM_UNITS) {
    body = alloc_in(&eden_medium, ZBODY_PAGE_MEDIUM, ZBODY_PAGE_MEDIUM_UNITS, size);
  } else {
    zbody_page_t *page = NULL;
    size_t units = zalign_up(size, ZUNIT_SIZE) >> ZUNIT_SHIFT;
    if (units <= zbody_space.capacity_units) page = eden_page(ZBODY_PAGE_LARGE, units);
    body = page == NULL ? zaddress(0) : zbody_page_bump(page, size);
  }
  if (zaddress_is_null(body)) return body;
  zstore_relaxed(&zbody_header(body)->shape, shape->id);
  if (shape->kind != ZBODY_FIXED) zbody_words(body)[1] = length;
  return body;
}

/* ---- start, fork, statistics -------------------------------------------------------------------- */

static void touch(zslot_t entry) {
  zhandle_entry_t *handle = (zhandle_entry_t *)entry.word;
  if (zhandle_is_weak(handle)) {
    /* Found again through a weak reference: its body may be in no snapshot. S stays, so that each
     * mark hears of it. */
    if (zcolor.mark_now != 0) {
      zcolored_t word = {zload_acquire(entry.word)};
      bool stale = (word.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) != 0;
      zmark_keep_alive(stale ? zrelocate_remap(word) : zcolored_strip(word));
    }
    return;
  }
  if (handle->object & ZHANDLE_SUSPECT) { /* in use: an ordinary root from now on */
    zstore_relaxed(&handle->object, handle->object & ~(uintptr_t)ZHANDLE_SUSPECT);
    (void)zfetch_and_relaxed(&handle->word, ~ZCOLOR_SUSPECT);
    zcolored_t word = {zload_acquire(entry.word)};
    bool stale = (word.bits & zcolor.load_bad) != 0;
    if (zcolor.mark_now != 0) zmark_keep_alive(stale ? zrelocate_remap(word) : zcolored_strip(word));
    return;
  }
  (void)zfetch_and_relaxed(&handle->word, ~ZCOLOR_SUSPECT);
  if (m.host.touch != NULL) m.host.touch(handle);
}

static bool start_tables(size_t capacity) {
  m.ended_capacity = 1 << 16;
  m.ended = zos_table_map(m.ended_capacity * sizeof *m.ended);
  return m.ended != NULL && zbody_space_start(capacity) && zforwarding_start() &&
         zhandle_table_start() && zpyref_table_start();
}

static void stop_tables(void) {
  zos_table_unmap(m.ended, m.ended_capacity * sizeof *m.ended);
  m.ended = NULL;
  if (zhandle_table.entries != NULL) zhandle_table_stop();
  if (zpyref_table.entries != NULL) zpyref_table_stop();
  zforwarding_stop();
  if (zbody_space.base != 0) zbody_space_stop();
}

bool zmanaged_start(size_t capacity, unsigned threads, const zmanaged_host_t *host) {
  if (m.started) return true;
  if (!start_tables(capacity)) {
    stop_tables();
    return false;
  }
  zcolor_start();
  zmark_start();
  zbarrier_ops = (zbarrier_ops_t){zrelocate_remap, zmark_keep_alive, touch};
  zrelocate_ensure_worker = ensure_worker;
  m.host = *host;
  m.full_end_ns = zos_now_ns();
  unsigned automatic = (unsigned)zmin(zmax(zos_cpu_count() / 4, 1), 8);
  m.threads = threads == 0 ? automatic : (unsigned)zmin(threads, ZMARK_WORKERS_MAX);
  m.started = true;
  zlog_info("gc,init", "managed heap: capacity %luM, %u collector threads",
            zlog_mb(zbody_space.capacity_units << ZUNIT_SHIFT), m.threads);
  return true;
}

void zmanaged_fork_prepare(void) {
  if (!m.started) return;
  zmanaged_stop_world();
  pthread_mutex_lock(&m.lock);
  pthread_mutex_lock(&m.release_lock);
  zmark_lock_for_fork();
  zbody_space_lock_for_fork();
}

static void unlock_all(void) {
  zbody_space_unlock_after_fork();
  zmark_unlock_after_fork();
  pthread_mutex_unlock(&m.release_lock);
  pthread_mutex_unlock(&m.lock);
}

void zmanaged_fork_parent(void) {
  if (!m.started) return;
  unlock_all();
  zmanaged_resume_world();
}

void zmanaged_fork_child(void) {
  if (!m.started) return;
  unlock_all();
  zmark_reset_workers();
  pthread_cond_init(&m.changed, NULL);
  m.running = m.helpers = m.helper_slots = 0;
  m.thread_alive = m.job_open = false;
  m.pause = NULL;
  m.pausing = false;
  clear_poll(POLL_PAUSE);
  zstore_relaxed(&m.stop, 0);
  /* The collection goes on when the next request, or a stuck mutator, starts the thread. */
}

void zmanaged_stats_read(zmanaged_stats_t *stats) {
  *stats = zmanaged_stat_values;
  stats->used_bytes = zload_relaxed(&zbody_space.used_units) << ZUNIT_SHIFT;
  stats->resident_bytes = zload_relaxed(&zbody_space.resident_units) << ZUNIT_SHIFT;
  stats->capacity_bytes = zbody_space.capacity_units << ZUNIT_SHIFT;
  stats->handles = zhandle_table.live;
  stats->weak_handles = zhandle_table.weak;
  stats->python_references = zpyref_table.live;
}
