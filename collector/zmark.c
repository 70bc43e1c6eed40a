#include "collector/zmark.h"

#include <pthread.h>
#include <string.h>

#include "barrier/zstore_buffer.h"
#include "collector/zrelocate.h"
#include "collector/zsuspects.h"
#include "heap/base/zos.h"
#include "heap/zhandle_table.h"
#include "heap/zpyref_table.h"

#define CHUNK_BLOCK (256 * ZK)
#define RING 16 /* bodies on their way into the cache */

typedef struct {
  zmark_chunk_t *chunk; /* own stack top; NULL: none */
  uint64_t bodies, bytes;
  char padding[ZCACHE_LINE];
} worker_t;

static struct {
  zgeneration_t generation;
  uint64_t pairs; /* colour bits that the mark makes current: both of each pair */
  worker_t workers[ZMARK_WORKERS_MAX];
  size_t root_cursor;
  size_t page_cursor;
  uint32_t overflow;   /* something is marked that nobody will pop */
  bool recovering;     /* a pass over the live maps is under way */

  pthread_mutex_t lock;
  pthread_cond_t changed;
  zmark_chunk_t *full;  /* chunks with work */
  zmark_chunk_t *spare; /* empty ones */
  unsigned busy, waiting;
} mark = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void (*zmark_want_helpers)(void);

/* ---- the pool -------------------------------------------------------------------------------- */

static zmark_chunk_t *new_chunk_locked(void) {
  if (mark.spare == NULL) {
    char *block = zos_table_map(CHUNK_BLOCK);
    if (block == NULL) return NULL;
    for (size_t at = 0; at + sizeof(zmark_chunk_t) <= CHUNK_BLOCK; at += sizeof(zmark_chunk_t)) {
      zmark_chunk_t *chunk = (zmark_chunk_t *)(block + at);
      chunk->next = mark.spare;
      mark.spare = chunk;
    }
  }
  zmark_chunk_t *chunk = mark.spare;
  mark.spare = chunk->next;
  chunk->count = 0;
  return chunk;
}

static void give_locked(zmark_chunk_t *chunk) {
  chunk->next = mark.full;
  mark.full = chunk;
  if (mark.waiting > 0) pthread_cond_signal(&mark.changed);
}

/* A chunk with room, after giving the full one away; NULL: no memory. */
static znoinline zmark_chunk_t *next_chunk(worker_t *worker) {
  pthread_mutex_lock(&mark.lock);
  zmark_chunk_t *chunk = new_chunk_locked();
  if (chunk != NULL) {
    if (worker->chunk != NULL) give_locked(worker->chunk);
    worker->chunk = chunk;
  }
  pthread_mutex_unlock(&mark.lock);
  if (chunk != NULL && zmark_want_helpers != NULL) zmark_want_helpers();
  return chunk;
}

static inline bool push(worker_t *worker, uint64_t entry) {
  zmark_chunk_t *chunk = worker->chunk;
  if (zunlikely(chunk == NULL || chunk->count == ZMARK_CHUNK)) {
    chunk = next_chunk(worker);
    if (chunk == NULL) return false;
  }
  chunk->entries[chunk->count++] = entry;
  return true;
}

static inline bool pop(worker_t *worker, uint64_t *entry) {
  zmark_chunk_t *chunk = worker->chunk;
  if (chunk == NULL || chunk->count == 0) return false;
  *entry = chunk->entries[--chunk->count];
  return true;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* An entry is a body, or a body | 1 with the next step of a long one below it. */

static inline bool takes_part(const zbody_page_t *page) {
  return zbody_page_is_snapshot(page) &&
         (mark.generation == ZGENERATION_FULL || !zbody_page_is_old(page));
}

bool zmark_is_dead(zaddress_t body) {
  return takes_part(zbody_page_of(body)) && !zbody_is_marked(body);
}

static void count_body(worker_t *worker, zaddress_t body, zbody_page_t *page, size_t size) {
  zfetch_add_relaxed(&page->live_bytes, size);
  zfetch_add_relaxed(&page->live_count, 1);
  worker->bodies++;
  worker->bytes += size;
  (void)body;
}

static void lose(worker_t *worker, zaddress_t body) {
  count_body(worker, body, zbody_page_of(body), zbody_size(body));
  zstore_release(&mark.overflow, 1);
}

static inline void mark_body(worker_t *worker, zaddress_t body) {
  zbody_page_t *page = zbody_page_of(body);
  if (!takes_part(page) || !zbody_bit_set(zbody_space.live, body.value)) return;
  if (zunlikely(!push(worker, body.value))) lose(worker, body);
}

void zmark_body(unsigned worker, zaddress_t body) { mark_body(&mark.workers[worker], body); }

void zmark_keep_alive(zaddress_t body) {
  zbody_page_t *page = zbody_page_of(body);
  if (!takes_part(page)) return;
  if (zunlikely(zsuspects_is_walking())) { /* the walk marks it, and learns that it is in use */
    zstore_buffer_add(body);
  } else if (zbody_bit_set(zbody_space.live, body.value)) {
    zstore_buffer_add(body);
  }
}

/* GIL: from the store buffer. */
static void take_recorded(const zaddress_t *bodies, size_t count) {
  pthread_mutex_lock(&mark.lock);
  zmark_chunk_t *chunk = NULL;
  for (size_t i = 0; i < count; i++) {
    if (chunk == NULL || chunk->count == ZMARK_CHUNK) {
      if (chunk != NULL) give_locked(chunk);
      chunk = new_chunk_locked();
    }
    if (chunk == NULL) {
      lose(&mark.workers[0], bodies[i]);
      continue;
    }
    chunk->entries[chunk->count++] = bodies[i].value;
  }
  if (chunk != NULL) give_locked(chunk);
  pthread_mutex_unlock(&mark.lock);
}

static inline zaddress_t current_address(zcolored_t word) {
  return (word.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) ? zrelocate_remap(word) : zcolored_strip(word);
}

/* The word with its address and mark colours current, RM as given, S kept. */
static inline uint64_t colored(zcolored_t word, zaddress_t body, uint64_t remembered) {
  uint64_t marks = (word.bits & ZCOLOR_MARK_MASK & ~mark.pairs) | zcolor.mark_now;
  return (uint64_t)body.value << ZCOLOR_PAYLOAD_SHIFT | zcolor.remap | marks | remembered |
         (word.bits & ZCOLOR_SUSPECT);
}

/* Slot of a young body: RM means nothing there and is kept. */
static inline void visit_young_slot(uint64_t *slot, worker_t *worker) {
  zcolored_t word = {zload_acquire(slot)};
  if (!zcolored_is_body(word)) {
    if (zcolored_kind(word) == ZKIND_PYTHON) {
      zpyref_t *entry = &zpyref_table.entries[zcolored_payload(word)];
      if (zload_relaxed(&entry->seq) != zbody_space.seq) zstore_relaxed(&entry->seq, zbody_space.seq);
    }
    return;
  }
  mark_body(worker, current_address(word));
  while (zcolored_is_body(word)) {
    uint64_t good = colored(word, current_address(word), word.bits & ZCOLOR_REMEMBERED_MASK);
    if (good == word.bits) return;
    zassert(zcolor_is_legal_heal(word, (zcolored_t){good}));
    if (zcas_acq_rel(slot, &word.bits, good)) return;
    /* What the program stored instead is store-good, or this word healed: look again. */
  }
}

/* Slot of an old body, found by a full mark or through the remembered set: registered again when its
 * target is young, else cleaned, so that no RM bit of the other parity is left behind. */
static inline void visit_old_slot(uint64_t *slot, worker_t *worker, zbody_page_t *page) {
  zcolored_t word = {zload_acquire(slot)};
  if (zcolored_kind(word) == ZKIND_PYTHON) {
    zpyref_t *entry = &zpyref_table.entries[zcolored_payload(word)];
    if (zload_relaxed(&entry->seq) != zbody_space.seq) zstore_relaxed(&entry->seq, zbody_space.seq);
  }
  if (zcolored_is_body(word)) mark_body(worker, current_address(word));
  for (;;) {
    uint64_t good;
    if (zcolored_is_body(word)) {
      zaddress_t body = current_address(word);
      uint64_t remembered = word.bits & zcolor.remembered;
      if (!zbody_page_is_old(zbody_page_of(body))) {
        zbody_remember(slot, page);
        remembered = zcolor.remembered;
      }
      good = colored(word, body, remembered);
    } else {
      good = word.bits & ~(ZCOLOR_REMEMBERED_MASK & ~zcolor.remembered);
    }
    if (good == word.bits || zcas_acq_rel(slot, &word.bits, good)) return;
  }
}

typedef struct {
  worker_t *worker;
  zbody_page_t *page;
} visit_t;

static inline void visit_young(uint64_t *slot, void *context) {
  visit_young_slot(slot, ((visit_t *)context)->worker);
}
static inline void visit_old(uint64_t *slot, void *context) {
  visit_t *visit = context;
  visit_old_slot(slot, visit->worker, visit->page);
}

static zalways_inline void visit_steps(visit_t *visit, zaddress_t body, const zshape_t *shape,
                                       uint64_t from, uint64_t to) {
  if (zbody_page_is_old(visit->page)) {
    zbody_visit_slots(body, shape, from, to, visit_old, visit);
  } else {
    zbody_visit_slots(body, shape, from, to, visit_young, visit);
  }
}

static void follow_range(worker_t *worker, zaddress_t body, uint64_t from) {
  const zshape_t *shape = zbody_shape(body);
  visit_t visit = {worker, zbody_page_of(body)};
  uint64_t steps = zbody_slot_steps(body, shape);
  uint64_t to = zmin(from + ZMARK_STRIDE, steps);
  if (to < steps) {
    /* The rest goes below what this range pushes, so the stack stays shallow. */
    if (!push(worker, to)) {
      zstore_release(&mark.overflow, 1);
    } else if (!push(worker, body.value | 1)) {
      worker->chunk->count--;
      zstore_release(&mark.overflow, 1);
    }
  }
  visit_steps(&visit, body, shape, from, to);
}

static inline void follow_body(worker_t *worker, zaddress_t body) {
  zshape_t *shape = zshape_table[zload_relaxed(&zbody_header(body)->shape)];
  zbody_page_t *page = zbody_page_of(body);
  if (zload_relaxed(&shape->seen_seq) != zbody_space.seq) {
    zstore_relaxed(&shape->seen_seq, zbody_space.seq);
  }
  if (shape->kind == ZBODY_FIXED) {
    count_body(worker, body, page, shape->size);
    visit_t visit = {worker, page};
    visit_steps(&visit, body, shape, 0, 1);
  } else {
    count_body(worker, body, page, zbody_size_of(shape, zbody_length(body)));
    follow_range(worker, body, 0);
  }
}

/* ---- phases ---------------------------------------------------------------------------------- */

void zmark_begin(zgeneration_t generation) {
  mark.generation = generation;
  mark.pairs = generation == ZGENERATION_FULL ? ZCOLOR_MARK_MASK
                                              : ZCOLOR_PAIR(ZCOLOR_MARK_YOUNG_SHIFT);
  mark.root_cursor = 1;
  mark.page_cursor = 0;
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    mark.workers[i].bodies = mark.workers[i].bytes = 0;
  }
}

zaddress_t zmark_heal_entry(uint64_t *place) {
  zcolored_t word = {zload_acquire(place)};
  for (;;) {
    if (!zcolored_is_body(word)) return zaddress(0);
    zaddress_t body = current_address(word);
    uint64_t good = colored(word, body, word.bits & ZCOLOR_REMEMBERED_MASK);
    if (good == word.bits || zcas_acq_rel(place, &word.bits, good)) return body;
  }
}

static void visit_remembered(uint64_t *slot, void *context) { visit_old(slot, context); }

void zmark_roots(void (*yield)(void)) {
  worker_t *worker = &mark.workers[0];
  size_t top = zload_acquire(&zhandle_table.top);
  while (mark.root_cursor < top) {
    size_t end = zmin(mark.root_cursor + 512, top);
    for (size_t i = mark.root_cursor; i < end; i++) {
      zhandle_entry_t *entry = &zhandle_table.entries[i];
      if (zload_relaxed(&entry->word) == 0 || zhandle_is_weak(entry)) continue;
      if (mark.generation == ZGENERATION_FULL && (zload_relaxed(&entry->object) & ZHANDLE_SUSPECT)) continue;
      zaddress_t body = zmark_heal_entry(&entry->word);
      if (!zaddress_is_null(body)) mark_body(worker, body);
    }
    mark.root_cursor = end;
    yield();
  }
  size_t highest = zload_acquire(&zbody_space.highest);
  unsigned previous = 1 - zbody_space.current;
  for (; mark.page_cursor < highest; mark.page_cursor++) {
    zbody_page_t *page = &zbody_space.pages[mark.page_cursor];
    if (zload_acquire(&page->kind) == ZBODY_PAGE_FREE || page->inner != 0 ||
        !page->has_remembered[previous]) {
      continue;
    }
    /* A full mark visits all old bodies anyway; their old map is only to be emptied. */
    if (mark.generation == ZGENERATION_YOUNG && zbody_page_is_old(page)) {
      visit_t visit = {worker, page};
      zbody_page_visit_remembered(page, previous, visit_remembered, &visit);
    }
    zbody_page_clear_remembered(page, previous);
    yield();
  }
}

static bool take_chunk(worker_t *worker, void (*leave)(void), void (*enter)(void)) {
  pthread_mutex_lock(&mark.lock);
  if (worker->chunk != NULL) {
    worker->chunk->next = mark.spare;
    mark.spare = worker->chunk;
    worker->chunk = NULL;
  }
  mark.busy--;
  while (mark.full == NULL && mark.busy > 0) {
    mark.waiting++;
    pthread_mutex_unlock(&mark.lock);
    leave(); /* a thread that waits here does not hold up a fork */
    pthread_mutex_lock(&mark.lock);
    if (mark.full == NULL && mark.busy > 0) pthread_cond_wait(&mark.changed, &mark.lock);
    pthread_mutex_unlock(&mark.lock);
    enter();
    pthread_mutex_lock(&mark.lock);
    mark.waiting--;
  }
  bool found = mark.full != NULL;
  if (found) {
    worker->chunk = mark.full;
    mark.full = worker->chunk->next;
    mark.busy++;
  } else {
    pthread_cond_broadcast(&mark.changed);
  }
  pthread_mutex_unlock(&mark.lock);
  return found;
}

static void drain(worker_t *worker, void (*yield)(void)) {
  uint64_t entry;
  unsigned done = 0;
  uint64_t ring[RING];
  unsigned in = 0, out = 0;
  for (;;) {
    while (in - out < RING && pop(worker, &entry)) {
      if (entry & 1) {
        uint64_t from = 0;
        pop(worker, &from);
        follow_range(worker, zaddress((uintptr_t)entry & ~(uintptr_t)1), from);
        continue;
      }
      __builtin_prefetch((const void *)entry);
      ring[in++ % RING] = entry;
    }
    if (in == out) return;
    follow_body(worker, zaddress((uintptr_t)ring[out++ % RING]));
    if (++done % 256 == 0) {
      /* A parked worker must hold nothing outside its chunk. */
      while (in != out) follow_body(worker, zaddress((uintptr_t)ring[out++ % RING]));
      yield();
    }
  }
}

static void follow_lost(worker_t *worker, void (*yield)(void));

void zmark_follow(unsigned number, void (*yield)(void), void (*leave)(void), void (*enter)(void)) {
  worker_t *worker = &mark.workers[number];
  pthread_mutex_lock(&mark.lock);
  mark.busy++;
  pthread_mutex_unlock(&mark.lock);
  do {
    drain(worker, yield);
  } while (take_chunk(worker, leave, enter));
  if (number == 0) {
    while (zexchange_acq_rel(&mark.overflow, 0)) {
      mark.recovering = true;
      pthread_mutex_lock(&mark.lock);
      mark.busy++;
      pthread_mutex_unlock(&mark.lock);
      follow_lost(worker, yield);
      do {
        drain(worker, yield);
      } while (take_chunk(worker, leave, enter));
      mark.recovering = false;
    }
  }
}

/* Visits every marked body again, because some were marked without being pushed. They were counted
 * when they were lost; nothing is counted here. */
static void follow_lost(worker_t *worker, void (*yield)(void)) {
  size_t highest = zload_acquire(&zbody_space.highest);
  for (size_t i = 0; i < highest; i++) {
    zbody_page_t *page = &zbody_space.pages[i];
    if (zload_acquire(&page->kind) == ZBODY_PAGE_FREE || page->inner != 0 || !takes_part(page)) continue;
    visit_t visit = {worker, page};
    zaddress_t body = zbody_page_next_live(page, zbody_page_start(page));
    while (!zaddress_is_null(body)) {
      const zshape_t *shape = zbody_shape(body);
      visit_steps(&visit, body, shape, 0, zbody_slot_steps(body, shape));
      drain(worker, yield);
      if (page->kind == ZBODY_PAGE_LARGE) break;
      body = zbody_page_next_live(page, body.value + zbody_size(body));
    }
    yield();
  }
}

bool zmark_try_end(void) {
  zstore_buffer_flush();
  pthread_mutex_lock(&mark.lock);
  bool empty = mark.full == NULL && mark.busy == 0 && !zload_acquire(&mark.overflow);
  pthread_mutex_unlock(&mark.lock);
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    if (mark.workers[i].chunk != NULL && mark.workers[i].chunk->count > 0) empty = false;
  }
  return empty;
}

void zmark_follow_some(size_t bodies) {
  worker_t *worker = &mark.workers[0];
  zstore_buffer_flush();
  uint64_t entry;
  while (bodies > 0) {
    if (!pop(worker, &entry)) {
      pthread_mutex_lock(&mark.lock);
      zmark_chunk_t *chunk = mark.busy == 0 ? mark.full : NULL;
      if (chunk != NULL) {
        mark.full = chunk->next;
        if (worker->chunk != NULL) {
          worker->chunk->next = mark.spare;
          mark.spare = worker->chunk;
        }
        worker->chunk = chunk;
      }
      pthread_mutex_unlock(&mark.lock);
      if (chunk == NULL) return;
      continue;
    }
    bodies--;
    if (entry & 1) {
      uint64_t from = 0;
      pop(worker, &from);
      follow_range(worker, zaddress((uintptr_t)entry & ~(uintptr_t)1), from);
    } else {
      follow_body(worker, zaddress((uintptr_t)entry));
    }
  }
}

void zmark_end(void) { zcolor_end_mark(); }

void zmark_reset_workers(void) {
  mark.busy = mark.waiting = 0;
  pthread_cond_init(&mark.changed, NULL);
  if (mark.recovering) mark.overflow = 1; /* the pass over the live maps starts again */
  mark.recovering = false;
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    zmark_chunk_t *chunk = mark.workers[i].chunk;
    if (chunk == NULL) continue;
    mark.workers[i].chunk = NULL;
    chunk->next = mark.full;
    mark.full = chunk;
  }
}

zmark_counts_t zmark_counts(void) {
  zmark_counts_t counts = {0, 0};
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    counts.bodies += mark.workers[i].bodies;
    counts.bytes += mark.workers[i].bytes;
  }
  return counts;
}

void zmark_take_unmarked(const zaddress_t *bodies, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (zbody_bit_set(zbody_space.live, bodies[i].value)) take_recorded(&bodies[i], 1);
  }
}

void zmark_take_records(void) { zstore_buffer_flush_to = take_recorded; }
void zmark_start(void) { zmark_take_records(); }

void zmark_lock_for_fork(void) { pthread_mutex_lock(&mark.lock); }
void zmark_unlock_after_fork(void) { pthread_mutex_unlock(&mark.lock); }
