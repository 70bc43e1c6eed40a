#include "collector/managed/zmanaged_state.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define RELEASE_CHUNK 1022
#define SWEEP_STEP 4096 /* entries */

typedef struct release_chunk {
  struct release_chunk *next;
  size_t count;
  uint32_t indexes[RELEASE_CHUNK];
} release_chunk_t;

static struct {
  release_chunk_t *dead, *spare; /* dead: also read without the lock, to see whether there is any */
  release_chunk_t *taken;        /* GIL: its items are being dropped */
} list;

/* lock */
static bool add_dead(uint32_t index) {
  if (list.dead == NULL || list.dead->count == RELEASE_CHUNK) {
    release_chunk_t *chunk = list.spare;
    if (chunk != NULL) {
      list.spare = chunk->next;
    } else {
      chunk = zos_table_map(sizeof *chunk);
      if (chunk == NULL) return false;
    }
    chunk->count = 0;
    chunk->next = list.dead;
    zstore_release(&list.dead, chunk);
  }
  list.dead->indexes[list.dead->count++] = index;
  return true;
}

static bool is_dead(const zpyref_t *entry, zgeneration_t generation) {
  return !zpyref_is_free(entry) && zload_acquire(&entry->old) == (uint32_t)generation &&
         zload_relaxed(&entry->seq) != zbody_space.seq[generation];
}

/* Lists the dead ones of [from, to). True when there were some. */
static bool list_dead(size_t from, size_t to, zgeneration_t generation) {
  bool found = false;
  zlock_take(ZLOCK_RELEASE);
  for (size_t i = from; i < to; i++) {
    zpyref_t *entry = &zpyref_table.entries[i];
    if (!is_dead(entry, generation)) continue;
    if (!add_dead((uint32_t)i)) break; /* found again by the next collection */
    zstore_relaxed(&entry->old, 2);
    found = true;
  }
  zlock_drop(ZLOCK_RELEASE);
  return found;
}

/* In steps: the program's thread waits for the lock with the GIL, and a fork for this one to park. */
void zmanaged_release_sweep(zgeneration_t generation) {
  size_t top = zload_acquire(&zpyref_table.top);
  bool found = false;
  for (size_t i = 1; i < top; i += SWEEP_STEP) {
    found = list_dead(i, zmin(i + SWEEP_STEP, top), generation) || found;
    zmanaged_pause_yield();
  }
  if (found) zmanaged_poll_set(ZPOLL_RELEASE);
}

void zmanaged_release(const uint32_t *references, size_t count) {
  zlock_take(ZLOCK_RELEASE);
  for (size_t i = 0; i < count; i++) {
    zpyref_t *entry = &zpyref_table.entries[references[i]];
    if (zpyref_is_free(entry) || zload_relaxed(&entry->old) == 2) continue;
    if (!add_dead(references[i])) break; /* found by the next collection */
    zstore_relaxed(&entry->old, 2);
  }
  zlock_drop(ZLOCK_RELEASE);
  zmanaged_poll_set(ZPOLL_RELEASE);
}

bool zmanaged_has_releases(void) {
  return zm.ended_at < zm.ended_count || list.taken != NULL || zload_acquire(&list.dead) != NULL;
}

/* The next chunk, whose items are taken without the lock. */
static void take_chunk(void) {
  zlock_take(ZLOCK_RELEASE);
  release_chunk_t *chunk = list.dead;
  if (chunk != NULL) zstore_release(&list.dead, chunk->next);
  list.taken = chunk;
  zlock_drop(ZLOCK_RELEASE);
}

static void give_chunk_back(void) {
  zlock_take(ZLOCK_RELEASE);
  list.taken->next = list.spare;
  list.spare = list.taken;
  list.taken = NULL;
  zlock_drop(ZLOCK_RELEASE);
}

/* 0: none. A chunk always has an item. */
static uint32_t take_dead(void) {
  if (list.taken == NULL) take_chunk();
  if (list.taken == NULL) return 0;
  uint32_t index = list.taken->indexes[--list.taken->count];
  if (list.taken->count == 0) give_chunk_back();
  return index;
}

/* True when there was one. */
static bool finish_ended(void) {
  if (zm.ended_at == zm.ended_count) return false;
  void *object = zm.ended[zm.ended_at++];
  if (zm.ended_at == zm.ended_count) {
    zm.ended_at = 0;
    zstore_relaxed(&zm.ended_count, 0);
  }
  zm.host.weak_finish(object);
  zmanaged_stat_values.weak_ended++;
  return true;
}

static bool release_dead(void) {
  uint32_t index = take_dead();
  if (index == 0) return false;
  if (zm.host.keeps_reference != NULL && zm.host.keeps_reference(index)) {
    zstore_release(&zpyref_table.entries[index].old, 1); /* the next full collection finds it again */
    return true;
  }
  void *object = zpyref_free(index);
  if (object != NULL) zm.host.release(object);
  zmanaged_stat_values.released_references++;
  return true;
}

bool zmanaged_has_groups(void) { return zsuspects_has_results() && zm.results_final; }

static bool release_until(uint64_t end) {
  bool empty = false;
  if (zmanaged_has_groups() && zm.host.take_groups != NULL && !zm.host.take_groups(end)) return false;
  for (unsigned i = 1; !empty; i++) {
    empty = !finish_ended() && !release_dead();
    if (i % 16 == 0 && zos_now_ns() > end) break;
  }
  if (empty) {
    zmanaged_poll_clear(ZPOLL_RELEASE);
    if (zmanaged_has_releases()) zmanaged_poll_set(ZPOLL_RELEASE);
  }
  return empty;
}

bool zmanaged_release_some(uint64_t ns) {
  if (zm.releasing) return false; /* a finalizer came back here */
  zm.releasing = true;
  zm.releaser = pthread_self();
  uint64_t start = zos_now_ns();
  bool empty = release_until(start + ns);
  uint64_t took = zos_now_ns() - start;
  if (took > 2 * ns) zlog_debug("gc,managed", "Pause Release %.3fms", zlog_ms(took));
  zm.releasing = false;
  return empty;
}
