#include "collector/managed/zmark.h"

#include <pthread.h>
#include <string.h>

#include "barrier/zbarrier_inline.h"
#include "barrier/zstore_buffer.h"
#include "collector/managed/zrelocate.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlock.h"
#include "heap/base/zos.h"
#include "heap/managed/zhandle_table.h"
#include "heap/managed/zpyref_table.h"

#define CHUNK_BLOCK (256 * ZK)
#define RING 16 /* bodies on their way into the cache */

typedef struct {
  zmark_chunk_t *chunk[2]; /* own stack tops, by generation; NULL: none */
  uint64_t bodies[2], bytes[2];
  char padding[ZCACHE_LINE];
} worker_t;

static struct {
  /* changed in pauses */
  bool running[2]; /* whose mark runs: what barriers record */
  /* changed in pauses, or by the driver between two jobs */
  bool claims[2];        /* whose bodies marking threads claim */
  zgeneration_t follows; /* whose bodies they follow; its mark is the one that can end next */

  worker_t workers[ZMARK_WORKERS_MAX];
  size_t root_cursor;
  size_t page_cursor;
  uint32_t overflow[2]; /* something is marked that nobody will pop */
  bool recovering;      /* a pass over the live maps is under way */

  pthread_cond_t changed;
  zmark_chunk_t *full[2]; /* chunks with work, by generation */
  zmark_chunk_t *spare;   /* empty ones */
  unsigned busy, waiting;
} mark = {.changed = PTHREAD_COND_INITIALIZER};

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

static void give_locked(zmark_chunk_t *chunk, bool old) {
  chunk->next = mark.full[old];
  mark.full[old] = chunk;
  if (mark.waiting > 0) pthread_cond_signal(&mark.changed);
}

/* A chunk with room, after giving the full one away; NULL: no memory. */
static znoinline zmark_chunk_t *next_chunk(worker_t *worker, bool old) {
  zlock_take(ZLOCK_MARK);
  zmark_chunk_t *chunk = new_chunk_locked();
  if (chunk != NULL) {
    if (worker->chunk[old] != NULL) give_locked(worker->chunk[old], old);
    worker->chunk[old] = chunk;
  }
  zlock_drop(ZLOCK_MARK);
  if (chunk != NULL && zmark_want_helpers != NULL) zmark_want_helpers();
  return chunk;
}

static inline bool push(worker_t *worker, bool old, uint64_t entry) {
  zmark_chunk_t *chunk = worker->chunk[old];
  if (zunlikely(chunk == NULL || chunk->count == ZMARK_CHUNK)) {
    chunk = next_chunk(worker, old);
    if (chunk == NULL) return false;
  }
  chunk->entries[chunk->count++] = entry;
  return true;
}

static inline bool pop(worker_t *worker, uint64_t *entry) {
  zmark_chunk_t *chunk = worker->chunk[mark.follows];
  if (chunk == NULL || chunk->count == 0) return false;
  *entry = chunk->entries[--chunk->count];
  return true;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* An entry is a body, or a body | 1 with the next step of a long one below it. */

bool zmark_is_dead(zaddress_t body) {
  zbody_page_t *page = zbody_page_of(body);
  return zbody_page_is_old(page) == (mark.follows == ZGENERATION_OLD) && zbody_page_is_snapshot(page) &&
         !zbody_is_marked(body);
}

static void count_body(worker_t *worker, zbody_page_t *page, bool old, size_t size) {
  zfetch_add_relaxed(&page->live_bytes, size);
  zfetch_add_relaxed(&page->live_count, 1);
  worker->bodies[old]++;
  worker->bytes[old] += size;
}

static void lose(worker_t *worker, zaddress_t body, bool old) {
  count_body(worker, zbody_page_of(body), old, zbody_size(body));
  zstore_release(&mark.overflow[old], 1);
}

static inline void mark_body(worker_t *worker, zaddress_t body) {
  zbody_page_t *page = zbody_page_of(body);
  bool old = zbody_page_is_old(page);
  if (!mark.claims[old] || zload_relaxed(&page->since_seq[old]) == zbody_space.seq[old] ||
      !zbody_bit_set(zbody_space.live, body.value)) {
    return;
  }
  if (zunlikely(!push(worker, old, body.value))) lose(worker, body, old);
}

void zmark_body(unsigned worker, zaddress_t body) { mark_body(&mark.workers[worker], body); }

void zmark_keep_alive(zaddress_t body) {
  zbody_page_t *page = zbody_page_of(body);
  if (!mark.running[zbody_page_is_old(page)] || !zbody_page_is_snapshot(page)) return;
  if (zunlikely(zsuspects_is_walking())) { /* the walk marks it, and learns that it is in use */
    zstore_buffer_add(body);
  } else if (zbody_bit_set(zbody_space.live, body.value)) {
    zstore_buffer_add(body);
  }
}

/* GIL: from the store buffer. */
static void take_recorded(const zaddress_t *bodies, size_t count) {
  zlock_take(ZLOCK_MARK);
  zmark_chunk_t *chunks[2] = {NULL, NULL};
  for (size_t i = 0; i < count; i++) {
    bool old = zbody_page_is_old(zbody_page_of(bodies[i]));
    zmark_chunk_t *chunk = chunks[old];
    if (chunk == NULL || chunk->count == ZMARK_CHUNK) {
      if (chunk != NULL) give_locked(chunk, old);
      chunk = chunks[old] = new_chunk_locked();
    }
    if (chunk == NULL) {
      lose(&mark.workers[0], bodies[i], old);
      continue;
    }
    chunk->entries[chunk->count++] = bodies[i].value;
  }
  for (int old = 0; old < 2; old++) {
    if (chunks[old] != NULL) give_locked(chunks[old], old);
  }
  zlock_drop(ZLOCK_MARK);
}

/* The word with its address and the marks of `pairs` current, RM as given, S kept. */
static inline uint64_t colored(zcolored_t word, zaddress_t body, uint64_t pairs, uint64_t remembered) {
  uint64_t marks = (word.bits & ZCOLOR_MARK_MASK & ~pairs) | (zcolor.mark & pairs);
  return (uint64_t)body.value << ZCOLOR_PAYLOAD_SHIFT | zcolor.remap | marks | remembered |
         (word.bits & ZCOLOR_SUSPECT);
}

#define MY_PAIR ZCOLOR_PAIR(ZCOLOR_MARK_YOUNG_SHIFT)
#define MO_PAIR ZCOLOR_PAIR(ZCOLOR_MARK_OLD_SHIFT)

/* What a visit to a root, or a slot of a young body, makes current: bodies of both generations are
 * claimed by the young mark that begins an old one. */
static inline uint64_t claimed_pairs(void) {
  return (mark.claims[0] ? MY_PAIR : 0) | (mark.claims[1] ? MO_PAIR : 0);
}

/* A slot's target is marked and the slot made current; RM is kept. Slots of young bodies, in a young
 * mark (RM means nothing there), and slots of old ones in an old mark. A slot of an old body with a
 * young target gets its MO too: left behind, it would look current in the next old mark. */
static inline void visit_slot(uint64_t *slot, worker_t *worker, uint64_t pairs) {
  zcolored_t word = {zload_acquire(slot)};
  if (!zcolored_is_body(word)) {
    if (zcolored_kind(word) == ZKIND_PYTHON) zpyref_set_seen(&zpyref_table.entries[zcolored_payload(word)]);
    return;
  }
  mark_body(worker, zbarrier_peek(word));
  while (zcolored_is_body(word)) {
    uint64_t good = colored(word, zbarrier_peek(word), pairs, word.bits & ZCOLOR_REMEMBERED_MASK);
    if (good == word.bits) return;
    zassert(zcolor_is_legal_heal(word, (zcolored_t){good}));
    if (zcas_acq_rel(slot, &word.bits, good)) return;
    /* What the program stored instead is store-good, or this word healed: look again. */
  }
}

/* Remembered slot of an old body, in a young mark: registered again when its target is young, else
 * cleaned, so that no RM bit of the other parity is left behind. Old targets are the old mark's
 * business: the body need not be alive. */
static inline void visit_remembered_slot(uint64_t *slot, worker_t *worker, zbody_page_t *page) {
  zcolored_t word = {zload_acquire(slot)};
  for (;;) {
    uint64_t good;
    if (zcolored_is_body(word)) {
      zaddress_t body = zbarrier_peek(word);
      uint64_t remembered = word.bits & zcolor.remembered;
      if (!zbody_page_is_old(zbody_page_of(body))) {
        mark_body(worker, body);
        zbody_remember(slot, page);
        remembered = zcolor.remembered;
      }
      good = colored(word, body, MY_PAIR, remembered);
    } else {
      good = word.bits & ~(ZCOLOR_REMEMBERED_MASK & ~zcolor.remembered);
    }
    if (good == word.bits || zcas_acq_rel(slot, &word.bits, good)) return;
  }
}

typedef struct {
  worker_t *worker;
  zbody_page_t *page; /* of the remembered slots */
  uint64_t pairs;
  void (*yield)(void); /* for remembered slots, of which a large page may have millions */
  size_t done;
} visit_t;

static inline void visit(uint64_t *slot, void *context) {
  visit_slot(slot, ((visit_t *)context)->worker, ((visit_t *)context)->pairs);
}
static inline void visit_remembered(uint64_t *slot, void *context) {
  visit_t *at = context;
  visit_remembered_slot(slot, at->worker, at->page);
  if (++at->done % ZMARK_STRIDE == 0) at->yield();
}

static void follow_range(worker_t *worker, zaddress_t body, uint64_t from) {
  const zshape_t *shape = zbody_shape(body);
  uint64_t steps = zbody_slot_steps(body, shape);
  uint64_t to = zmin(from + ZMARK_STRIDE, steps);
  bool old = mark.follows;
  if (to < steps) {
    /* The rest goes below what this range pushes, so the stack stays shallow. */
    if (!push(worker, old, to)) {
      zstore_release(&mark.overflow[old], 1);
    } else if (!push(worker, old, body.value | 1)) {
      worker->chunk[old]->count--;
      zstore_release(&mark.overflow[old], 1);
    }
  }
  visit_t context = {.worker = worker, .pairs = claimed_pairs()};
  zbody_visit_slots(body, shape, from, to, visit, &context);
}

static inline void follow_body(worker_t *worker, zaddress_t body) {
  zshape_t *shape = zshape_table[zload_relaxed(&zbody_header(body)->shape)];
  zbody_page_t *page = zbody_page_of(body);
  if (zload_relaxed(&shape->seen_seq) != zbody_space.number) {
    zstore_relaxed(&shape->seen_seq, zbody_space.number);
  }
  if (shape->kind == ZBODY_FIXED) {
    count_body(worker, page, mark.follows, shape->size);
    visit_t context = {.worker = worker, .pairs = claimed_pairs()};
    zbody_visit_slots(body, shape, 0, 1, visit, &context);
  } else {
    count_body(worker, page, mark.follows, zbody_size_of(shape, zbody_length(body)));
    follow_range(worker, body, 0);
  }
}

/* ---- phases ---------------------------------------------------------------------------------- */

void zmark_begin(bool with_old) {
  mark.follows = ZGENERATION_YOUNG;
  mark.running[0] = mark.claims[0] = true;
  mark.claims[1] = with_old;
  if (with_old) mark.running[1] = true;
  mark.root_cursor = 1;
  mark.page_cursor = 0;
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    mark.workers[i].bodies[0] = mark.workers[i].bytes[0] = 0;
    if (with_old) mark.workers[i].bodies[1] = mark.workers[i].bytes[1] = 0;
  }
}

void zmark_take_up_old(void) {
  mark.follows = ZGENERATION_OLD;
  mark.claims[0] = false;
  mark.claims[1] = true;
}

static zaddress_t heal_entry(uint64_t *place, uint64_t pairs) {
  zcolored_t word = {zload_acquire(place)};
  for (;;) {
    if (!zcolored_is_body(word)) return zaddress(0);
    zaddress_t body = zbarrier_peek(word);
    uint64_t good = colored(word, body, pairs, word.bits & ZCOLOR_REMEMBERED_MASK);
    if (good == word.bits || zcas_acq_rel(place, &word.bits, good)) return body;
  }
}

zaddress_t zmark_heal_entry(uint64_t *place) {
  return heal_entry(place, mark.follows == ZGENERATION_OLD ? MO_PAIR : MY_PAIR);
}

/* A suspect is no root of the old mark: its word keeps its MO, so that the body is recorded when the
 * handle is dropped. */
static void visit_suspect(worker_t *worker, zhandle_entry_t *entry) {
  zaddress_t body = heal_entry(&entry->word, MY_PAIR);
  if (!zaddress_is_null(body) && !zbody_page_is_old(zbody_page_of(body))) mark_body(worker, body);
}

void zmark_roots(void (*yield)(void)) {
  worker_t *worker = &mark.workers[0];
  size_t top = zload_acquire(&zhandle_table.top);
  while (mark.root_cursor < top) {
    size_t end = zmin(mark.root_cursor + 512, top);
    for (size_t i = mark.root_cursor; i < end; i++) {
      zhandle_entry_t *entry = &zhandle_table.entries[i];
      if (zload_relaxed(&entry->word) == 0 || zhandle_is_weak(entry)) continue;
      if (mark.claims[1] && (zload_relaxed(&entry->object) & ZHANDLE_SUSPECT)) {
        visit_suspect(worker, entry);
        continue;
      }
      zaddress_t body = heal_entry(&entry->word, claimed_pairs());
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
    if (zbody_page_is_old(page)) {
      visit_t context = {worker, page, 0, yield, 0};
      zbody_page_visit_remembered(page, previous, visit_remembered, &context);
    }
    zbody_page_clear_remembered(page, previous);
    yield();
  }
}

static bool take_chunk(worker_t *worker, const zmark_calls_t *calls) {
  bool old = mark.follows;
  zlock_take(ZLOCK_MARK);
  if (worker->chunk[old] != NULL) {
    worker->chunk[old]->next = mark.spare;
    mark.spare = worker->chunk[old];
    worker->chunk[old] = NULL;
  }
  mark.busy--;
  while (mark.full[old] == NULL && mark.busy > 0) {
    mark.waiting++;
    zlock_drop(ZLOCK_MARK);
    calls->leave(); /* a thread that waits here does not hold up a fork */
    zlock_take(ZLOCK_MARK);
    if (mark.full[old] == NULL && mark.busy > 0) zlock_wait(ZLOCK_MARK, &mark.changed);
    zlock_drop(ZLOCK_MARK);
    calls->enter();
    zlock_take(ZLOCK_MARK);
    mark.waiting--;
  }
  bool found = mark.full[old] != NULL;
  if (found) {
    worker->chunk[old] = mark.full[old];
    mark.full[old] = worker->chunk[old]->next;
    mark.busy++;
  } else {
    pthread_cond_broadcast(&mark.changed);
  }
  zlock_drop(ZLOCK_MARK);
  return found;
}

/* The worker's own chunk goes back to the pool, for whoever goes on. */
static void put_down(worker_t *worker) {
  bool old = mark.follows;
  zlock_take(ZLOCK_MARK);
  if (worker->chunk[old] != NULL) give_locked(worker->chunk[old], old);
  worker->chunk[old] = NULL;
  mark.busy--;
  pthread_cond_broadcast(&mark.changed);
  zlock_drop(ZLOCK_MARK);
}

/* False: interrupted, with something left. */
static bool drain(worker_t *worker, const zmark_calls_t *calls) {
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
    if (in == out) return true;
    follow_body(worker, zaddress((uintptr_t)ring[out++ % RING]));
    if (++done % ZMARK_YIELD == 0) {
      /* A parked worker must hold nothing outside its chunk. */
      while (in != out) follow_body(worker, zaddress((uintptr_t)ring[out++ % RING]));
      calls->yield();
      if (calls->interrupted != NULL && calls->interrupted()) return false;
    }
  }
}

static bool follow_lost(worker_t *worker, const zmark_calls_t *calls);

static void be_busy(void) {
  zlock_take(ZLOCK_MARK);
  mark.busy++;
  zlock_drop(ZLOCK_MARK);
}

bool zmark_follow(unsigned number, const zmark_calls_t *calls) {
  worker_t *worker = &mark.workers[number];
  bool old = mark.follows;
  be_busy();
  for (;;) {
    do {
      if (drain(worker, calls)) continue;
      put_down(worker);
      return false;
    } while (take_chunk(worker, calls));
    if (number != 0 || !zexchange_acq_rel(&mark.overflow[old], 0)) return true;
    mark.recovering = true;
    be_busy();
    bool done = follow_lost(worker, calls);
    mark.recovering = false;
    if (done) continue;
    zstore_release(&mark.overflow[old], 1); /* from the beginning, then */
    put_down(worker);
    return false;
  }
}

/* Visits every marked body again, because some were marked without being pushed. They were counted
 * when they were lost; nothing is counted here. */
static bool follow_lost(worker_t *worker, const zmark_calls_t *calls) {
  bool old = mark.follows;
  size_t highest = zload_acquire(&zbody_space.highest);
  visit_t context = {.worker = worker, .pairs = claimed_pairs()};
  for (size_t i = 0; i < highest; i++) {
    zbody_page_t *page = &zbody_space.pages[i];
    if (zload_acquire(&page->kind) == ZBODY_PAGE_FREE || page->inner != 0) continue;
    if (zbody_page_is_old(page) != old || !zbody_page_is_snapshot(page)) continue;
    zaddress_t body = zbody_page_next_live(page, zbody_page_start(page));
    while (!zaddress_is_null(body)) {
      const zshape_t *shape = zbody_shape(body);
      zbody_visit_slots(body, shape, 0, zbody_slot_steps(body, shape), visit, &context);
      if (!drain(worker, calls)) return false;
      if (page->kind == ZBODY_PAGE_LARGE) break;
      body = zbody_page_next_live(page, body.value + zbody_size(body));
    }
    calls->yield();
  }
  return true;
}

bool zmark_try_end(void) {
  bool old = mark.follows;
  zstore_buffer_flush();
  zlock_take(ZLOCK_MARK);
  bool empty = mark.full[old] == NULL && mark.busy == 0 && !zload_acquire(&mark.overflow[old]);
  zlock_drop(ZLOCK_MARK);
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    zmark_chunk_t *chunk = mark.workers[i].chunk[old];
    if (chunk != NULL && chunk->count > 0) empty = false;
  }
  return empty;
}

void zmark_follow_some(size_t bodies) {
  worker_t *worker = &mark.workers[0];
  bool old = mark.follows;
  zstore_buffer_flush();
  uint64_t entry;
  while (bodies > 0) {
    if (!pop(worker, &entry)) {
      zlock_take(ZLOCK_MARK);
      zmark_chunk_t *chunk = mark.busy == 0 ? mark.full[old] : NULL;
      if (chunk != NULL) {
        mark.full[old] = chunk->next;
        if (worker->chunk[old] != NULL) {
          worker->chunk[old]->next = mark.spare;
          mark.spare = worker->chunk[old];
        }
        worker->chunk[old] = chunk;
      }
      zlock_drop(ZLOCK_MARK);
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

void zmark_end(void) {
  mark.running[mark.follows] = mark.claims[mark.follows] = false;
  zcolor_end_mark(mark.follows);
}

void zmark_reset_workers(void) {
  mark.busy = mark.waiting = 0;
  pthread_cond_init(&mark.changed, NULL);
  if (mark.recovering) mark.overflow[mark.follows] = 1; /* the pass over the live maps starts again */
  mark.recovering = false;
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX * 2; i++) {
    zmark_chunk_t **own = &mark.workers[i / 2].chunk[i % 2];
    if (*own == NULL) continue;
    give_locked(*own, i % 2);
    *own = NULL;
  }
}

zmark_counts_t zmark_counts(zgeneration_t generation) {
  zmark_counts_t counts = {0, 0};
  for (unsigned i = 0; i < ZMARK_WORKERS_MAX; i++) {
    counts.bodies += mark.workers[i].bodies[generation];
    counts.bytes += mark.workers[i].bytes[generation];
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
