#include "collector/cpython/zpass.h"

#include <string.h>

#include "collector/python/ztype_learning.h"
#include "collector/python/zuntrack.h"
#include "collector/python/zwalker.h"
#include "heap/base/zos.h"

#define CELL_NONE 0u
#define CELL_ZERO 1u /* a member all of whose references are accounted for */
#define CELL_MET 0xFDu  /* reached, and walked when the lanes come by */
#define CELL_MARKED 0xFEu
#define CELL_BIG 0xFFu
#define COUNT_MAX (CELL_MET - CELL_ZERO - 1)
#define UNITS_PER_GRANULE (ZGRANULE_SIZE >> ZOLD_UNIT_SHIFT)
#define AHEAD 8 /* objects whose first cache line is asked for in advance */
#define WORDS_PER_GRANULE (UNITS_PER_GRANULE / 64) /* of the old map */
#define CHUNK_WORDS (2 * WORDS_PER_GRANULE)
#define CHUNK_WORDS_HURRIED (WORDS_PER_GRANULE / 4) /* the clock is looked at between two chunks */
#define CHUNK_WORDS_EXACT (128 * WORDS_PER_GRANULE) /* world stopped: objects that lie together stay with one lane */
#define CHUNK_CANDIDATES 256
#define POLL_EVERY 128 /* objects walked between two looks at clock and flags; power of two */
#define LARGE 1000     /* references, more than which a lane in a hurry leaves to the driver */
#define GIVE_FROM 64 /* a lane with a larger stack gives some of it away */

#define LOOK_EVERY 1024  /* references, or cells of a line's, between two looks where nothing else counts */
#define CLEAR_SLICE (64 * ZK)
#define LOOKS_PER_US 1   /* in a hurry; a look takes longer than that, unless the clock stands still */
#define WAIT_MIN_NS 1000000u  /* for a helper that does not get on */
#define WAIT_ROUNDS_MIN 64
#define WAIT_ROUNDS_MAX (1u << 12) /* whatever the clock says */

enum { GATE_FREE, GATE_HELPER, GATE_DRIVER, GATE_LOST };

/* -- begin, end ------------------------------------------------------------------------------------- */

/* All but the gate, at which a helper of the last pass may still be. */
static void forget(zpass_t *pass) {
  memset((char *)pass + offsetof(zpass_t, cells), 0, sizeof *pass - offsetof(zpass_t, cells));
}

bool zpass_begin(zpass_t *pass, const bool *stop, bool exact) {
  forget(pass);
  pass->is_lost = false;
  pass->started_ns = zos_now_ns();
  pass->stop = stop;
  pass->exact = exact;
  if (!zcells_map(&pass->cells)) return false;
  for (int i = 0; i < ZPASS_LANES; i++) {
    zlane_t *lane = &pass->lanes[i];
    lane->minus = zos_scratch_map(pass->cells.count);
    if (lane->minus == NULL) return false;
  }
  pass->lanes[0].is_used = true;
  return true;
}

static void lane_free(zlane_t *lane, size_t cells) {
  zos_table_unmap(lane->minus, cells);
  lane->minus = NULL;
  zos_table_unmap(lane->stack, lane->size * sizeof(PyObject *));
  lane->stack = NULL;
  lane->size = 0;
  zmap_free(&lane->big);
  zmap_free(&lane->counts);
  zwords_free(&lane->deferred);
  zwords_free(&lane->untrackable);
  zwords_free(&lane->large);
}

void zpass_trim(zpass_t *pass) {
  for (int i = 0; i < ZPASS_LANES; i++) lane_free(&pass->lanes[i], pass->cells.count);
}

void zpass_end(zpass_t *pass) {
  for (int i = 0; i < ZPASS_LANES; i++) lane_free(&pass->lanes[i], pass->cells.count);
  zos_table_unmap(pass->at_start, pass->cells.count);
  zcells_unmap(&pass->cells);
  zos_table_unmap(pass->candidates, pass->candidates_size * sizeof(PyObject *));
  zdeferred_free(&pass->deferred);
  forget(pass);
}

static void fail(zpass_t *pass) { zstore_relaxed(&pass->failed, true); }

static uint8_t cell_get(const zpass_t *pass, size_t cell) {
  return zload_relaxed(&pass->cells.values[cell]);
}

static void cell_set(zpass_t *pass, size_t cell, unsigned value) {
  zstore_relaxed(&pass->cells.values[cell], (uint8_t)value);
}

/* -- chunks of members --------------------------------------------------------------------------------- */

typedef void (*member_t)(zpass_t *pass, zlane_t *lane, PyObject *object, size_t cell);

/* Members from `first` up to `end`: places among the candidates, or words of the old map. */
typedef struct {
  size_t first, end;
} chunk_t;

static size_t end_of(const zpass_t *pass) {
  return pass->candidates != NULL ? pass->candidate_count : pass->cells.granules * WORDS_PER_GRANULE;
}

static size_t chunk_size(const zpass_t *pass, const zlane_t *lane) {
  if (pass->candidates != NULL) return CHUNK_CANDIDATES;
  if (pass->exact) return CHUNK_WORDS_EXACT;
  return lane->is_hurried ? CHUNK_WORDS_HURRIED : CHUNK_WORDS;
}

static bool take_chunk(zpass_t *pass, const zlane_t *lane, chunk_t *chunk) {
  size_t end = end_of(pass), size = chunk_size(pass, lane);
  if (zload_relaxed(&pass->next_member) >= end) return false;
  chunk->first = zfetch_add_relaxed(&pass->next_member, size);
  chunk->end = zmin(chunk->first + size, end);
  return chunk->first < end;
}

/* Calls `visit` for each member, some objects behind the one whose memory is asked for if it is
 * `needed`. */
static zalways_inline void visit_candidates(zpass_t *pass, zlane_t *lane, chunk_t chunk,
                                            member_t visit, bool needed) {
  for (size_t i = chunk.first; i < chunk.end; i++) {
    if (needed && i + AHEAD < pass->candidate_count) __builtin_prefetch(pass->candidates[i + AHEAD]);
    visit(pass, lane, pass->candidates[i], zpass_cell(pass, pass->candidates[i]));
  }
}

typedef bool (*page_filter_t)(const zpass_t *pass, size_t granule);

/* One writer; the other lane, and who waits for this one, read it. */
static zalways_inline void note_look(zlane_t *lane) { zstore_relaxed(&lane->looks, lane->looks + 1); }

static zalways_inline bool is_old_page(const zpass_t *pass, size_t granule) {
  return pass->cells.pages[granule].first != 0;
}

static zalways_inline void visit_old(zpass_t *pass, zlane_t *lane, chunk_t chunk, member_t visit,
                                     bool needed, page_filter_t filter) {
  PyObject *ahead[AHEAD];
  size_t queued = 0;
  for (size_t w = chunk.first, next; w < chunk.end; w = next) {
    next = zmin((w / WORDS_PER_GRANULE + 1) * WORDS_PER_GRANULE, chunk.end);
    note_look(lane);
    if (!filter(pass, w / WORDS_PER_GRANULE)) continue;
    for (; w < next; w++) {
      uint64_t bits = pass->with_frozen ? zload_relaxed(&zold_map_bits[w]) : zold_map_members(w);
      for (; bits != 0; bits &= bits - 1) {
        size_t unit = w * 64 + (size_t)__builtin_ctzll(bits);
        PyObject *object = (PyObject *)(zgranules_range.base + (unit << ZOLD_UNIT_SHIFT));
        if (!needed) {
          visit(pass, lane, object, zpass_cell(pass, object));
          continue;
        }
        __builtin_prefetch(object);
        PyObject *due = ahead[queued % AHEAD];
        ahead[queued % AHEAD] = object;
        if (queued++ >= AHEAD) visit(pass, lane, due, zpass_cell(pass, due));
      }
    }
  }
  for (size_t i = queued > AHEAD ? queued - AHEAD : 0; i < queued; i++) {
    visit(pass, lane, ahead[i % AHEAD], zpass_cell(pass, ahead[i % AHEAD]));
  }
}

static zalways_inline void visit_chunk(zpass_t *pass, zlane_t *lane, chunk_t chunk,
                                       member_t visit, bool needed, page_filter_t filter) {
  if (pass->candidates != NULL) {
    visit_candidates(pass, lane, chunk, visit, needed);
  } else {
    visit_old(pass, lane, chunk, visit, needed, filter);
  }
}

static bool is_told_to_stop(const zpass_t *pass) {
  return zload_relaxed(pass->stop) || zload_relaxed(&pass->failed);
}

static bool must_leave(const zpass_t *pass, zlane_t *lane, uint64_t deadline) {
  note_look(lane);
  if (is_told_to_stop(pass)) return true;
  if (deadline == UINT64_MAX) return false;
  return lane->looks >= lane->looks_most || zos_now_ns() >= deadline;
}

bool zpass_look(zpass_t *pass) {
  note_look(&pass->lanes[0]);
  return is_told_to_stop(pass);
}

/* True when some were visited. */
static zalways_inline bool visit_chunks(zpass_t *pass, zlane_t *lane, uint64_t deadline,
                                        member_t visit, bool needed, page_filter_t filter) {
  bool worked = false;
  for (chunk_t chunk; !must_leave(pass, lane, deadline) && take_chunk(pass, lane, &chunk); worked = true) {
    visit_chunk(pass, lane, chunk, visit, needed, filter);
  }
  return worked;
}

/* -- count --------------------------------------------------------------------------------------------------- */

static zalways_inline void count_member(zpass_t *pass, zlane_t *lane, PyObject *object, size_t cell) {
  (void)lane;
  uint8_t before = zload_relaxed(&pass->at_start[cell]), print = zpass_print(zpyabi_refcount(object));
  bool is_moved = pass->is_counted && before != print;
  zstore_relaxed(&pass->at_start[cell], (uint8_t)(print | (is_moved ? ZPASS_MOVED : 0)));
}

/* -- subtract ------------------------------------------------------------------------------------------- */

/* Its address must not leave the loop over the references of an object: then the fields stay in registers. */
typedef struct {
  zpass_t *pass;
  zlane_t *lane;
  zcells_view_t cells;
  uint8_t *bytes; /* by cell: `minus`, or the values */
} visitor_t;

static zalways_inline visitor_t subtracter(zpass_t *pass, zlane_t *lane) {
  return (visitor_t){pass, lane, zcells_view(&pass->cells), lane->minus};
}

static zalways_inline visitor_t marker(zpass_t *pass, zlane_t *lane) {
  return (visitor_t){pass, lane, zcells_view(&pass->cells), pass->cells.values};
}

/* May the type's walker be used? With the world stopped only one that is described by what CPython's code
 * says; the others were found by trial, and what they overlook would be garbage for ever. */
static zalways_inline bool is_walked(const zpass_t *pass, const ztype_t *type) {
  if (zunlikely(type == NULL) || zunlikely(type->kind == ZTYPE_DEFERRED)) return false;
  return !(type->is_learned & pass->exact); /* no hint: else exact passes run in the cold section */
}

/* True when the object is left to the driver: it is too much for a short slice, or its tp_traverse is to
 * be called, which the collector thread may not do. */
static zalways_inline bool is_left_to_driver(zpass_t *pass, zlane_t *lane, const ztype_t *type, PyObject *object) {
  if (zlikely(lane == &pass->lanes[0])) return false;
  bool is_large = lane->is_hurried && type != NULL && zwalker_length(object, type) > LARGE;
  if (!is_large && (!pass->exact || is_walked(pass, type))) return false;
  if (!zwords_push(&lane->large, object)) fail(pass);
  return true;
}

static zcold void set_big(zpass_t *pass, zlane_t *lane, size_t cell, int64_t count) {
  int64_t *place = zmap_insert(&lane->counts, cell);
  if (place != NULL) *place = count;
  if (place == NULL) fail(pass);
  cell_set(pass, cell, CELL_BIG);
}

static zcold void carry(zpass_t *pass, zlane_t *lane, size_t cell) {
  int64_t *count = zmap_insert(&lane->big, cell);
  if (count == NULL) {
    fail(pass);
  } else {
    ++*count;
  }
}

static zalways_inline void subtract_reference(void *context, void *reference) {
  visitor_t *visitor = context;
  size_t cell = zcells_view_index(visitor->cells, reference);
  if (cell == 0) return;
  if (zunlikely(++visitor->bytes[cell] == 0)) carry(visitor->pass, visitor->lane, cell);
}

static int subtract_visit(PyObject *reference, void *context) {
  subtract_reference(context, reference);
  return 0;
}

/* Reports the references to `visit`, with this visitor. */
static znoinline void traverse_or_leave(zpass_t *pass, zlane_t *lane, PyObject *object, zpy_visit_t visit,
                                        visitor_t visitor) {
  if (lane == &pass->lanes[0]) {
    zdeferred_traverse(object, visit, &visitor);
  } else if (!zwords_push(&lane->large, object)) {
    fail(pass);
  }
}

/* An audit is queued with what is deferred. */
static znoinline void audit(zpass_t *pass, zlane_t *lane, ztype_t *type, PyObject *object) {
  if (!ztype_audit(type, object, pass->audit)) return;
  if (!zwords_push(&lane->deferred, zdeferred_audit(object))) fail(pass);
}

static zalways_inline void subtract_through(zpass_t *pass, zlane_t *lane, PyObject *object) {
  visitor_t visitor = subtracter(pass, lane);
  ztype_t *type = ztype_find(zpyabi_type(object));
  if (is_left_to_driver(pass, lane, type, object)) return;
  if (zlikely(is_walked(pass, type)) && zlikely(zwalker_walk(object, type, subtract_reference, &visitor))) {
    if (zunlikely(type->is_learned) && pass->audit != 0) audit(pass, lane, type, object);
    return;
  }
  if (pass->exact) {
    traverse_or_leave(pass, lane, object, subtract_visit, subtracter(pass, lane));
  } else if (!zwords_push(&lane->deferred, object)) {
    fail(pass);
  }
}

static zalways_inline void subtract_member(zpass_t *pass, zlane_t *lane, PyObject *object,
                                           size_t cell) {
  int64_t count = zpyabi_refcount(object);
  if (zpyabi_is_dead(object, count)) return;
  lane->members++;
  if (zunlikely(count > (int64_t)COUNT_MAX)) {
    set_big(pass, lane, cell, count);
  } else {
    cell_set(pass, cell, CELL_ZERO + (unsigned)count);
  }
  subtract_through(pass, lane, object);
}

static void subtract_deferred(zpass_t *pass) {
  visitor_t visitor = subtracter(pass, &pass->lanes[0]);
  size_t at = 0, count, met = 0;
  for (void **references; (references = zdeferred_next(&pass->deferred, &at, &count)) != NULL;) {
    for (size_t i = 0; i < count; i++) {
      if (++met % LOOK_EVERY == 0 && zpass_look(pass)) return;
      subtract_reference(&visitor, references[i]);
    }
  }
}

static zalways_inline unsigned minus_of(const zpass_t *pass, size_t cell) {
  unsigned minus = pass->lanes[0].minus[cell];
  return zunlikely(pass->lanes[1].is_used) ? minus + pass->lanes[1].minus[cell] : minus;
}

static zcold bool is_big_held(const zpass_t *pass, size_t cell) {
  const int64_t *count = zmap_find(&pass->lanes[0].counts, cell);
  if (count == NULL) count = zmap_find(&pass->lanes[1].counts, cell);
  if (count == NULL || *count == ZPYABI_IMMORTAL) return true;
  int64_t met = minus_of(pass, cell);
  for (int i = 0; i < ZPASS_LANES; i++) {
    const int64_t *carries = zmap_find(&pass->lanes[i].big, cell);
    if (carries != NULL) met += *carries * 256;
  }
  return *count > met;
}

static zalways_inline bool is_held_from_outside(const zpass_t *pass, size_t cell) {
  uint8_t value = cell_get(pass, cell);
  if (value == CELL_NONE || value == CELL_MARKED) return false;
  if (zunlikely(value == CELL_BIG)) return is_big_held(pass, cell);
  return value > CELL_ZERO + minus_of(pass, cell);
}

/* -- mark ------------------------------------------------------------------------------------------------ */

static zalways_inline void mark_cell(zpass_t *pass, zlane_t *lane, size_t cell, void *object) {
  cell_set(pass, cell, CELL_MARKED);
  lane->marked++;
  if (zunlikely(lane->top == lane->size)) {
    fail(pass);
    return;
  }
  lane->stack[lane->top++] = object;
}

/* In a chunk that no lane has taken so far. */
static zalways_inline bool is_ahead(const zpass_t *pass, const void *object) {
  size_t unit = (size_t)((const char *)object - zgranules_range.base) >> ZOLD_UNIT_SHIFT;
  return pass->candidates == NULL && unit / 64 >= zload_relaxed(&pass->next_member);
}

static zalways_inline void mark_due(zpass_t *pass, zlane_t *lane, size_t cell, void *object) {
  uint8_t value = cell_get(pass, cell);
  if (value == CELL_NONE || value == CELL_MARKED || value == CELL_MET) return;
  if (is_ahead(pass, object)) {
    cell_set(pass, cell, CELL_MET);
  } else {
    mark_cell(pass, lane, cell, object);
  }
}

/* The cell is asked for here and looked at some references later (Cher, Hosking, Vitek, "Software
 * prefetching for mark-sweep garbage collection", 2004). */
static zalways_inline void mark_reference(void *context, void *reference) {
  visitor_t *visitor = context;
  zpass_t *pass = visitor->pass;
  zlane_t *lane = visitor->lane;
  size_t cell = zcells_view_index(visitor->cells, reference);
  if (cell == 0) return;
  __builtin_prefetch(&visitor->bytes[cell]);
  unsigned slot = lane->next_reference++ % ZPASS_REFERENCES;
  size_t due = lane->references[slot].cell;
  void *object = lane->references[slot].object;
  lane->references[slot].cell = cell;
  lane->references[slot].object = reference;
  if (due != 0) mark_due(pass, lane, due, object);
}

static void flush_references(zpass_t *pass, zlane_t *lane) {
  for (unsigned i = 0; i < ZPASS_REFERENCES; i++) {
    unsigned slot = (lane->next_reference + i) % ZPASS_REFERENCES;
    size_t due = lane->references[slot].cell;
    lane->references[slot].cell = 0;
    if (due != 0) mark_due(pass, lane, due, lane->references[slot].object);
  }
}

static int mark_visit(PyObject *reference, void *context) {
  mark_reference(context, reference);
  return 0;
}

static znoinline void mark_logged(zpass_t *pass, zlane_t *lane, PyObject *object) {
  visitor_t visitor = marker(pass, lane);
  size_t count;
  void **references = zdeferred_references(&pass->deferred, object, &count);
  for (size_t i = 0; i < count; i++) mark_reference(&visitor, references[i]);
}

static zalways_inline void mark_through(zpass_t *pass, zlane_t *lane, PyObject *object) {
  visitor_t visitor = marker(pass, lane);
  const ztype_t *type = ztype_find(zpyabi_type(object));
  if (is_left_to_driver(pass, lane, type, object)) return;
  if (zunlikely(!is_walked(pass, type)) || zunlikely(!zwalker_walk(object, type, mark_reference, &visitor))) {
    if (pass->exact) {
      traverse_or_leave(pass, lane, object, mark_visit, marker(pass, lane));
    } else {
      mark_logged(pass, lane, object);
    }
  }
  if (!pass->exact) return;
  bool is_due = lane == &pass->lanes[0] ? zuntrack_is_due(object) : zuntrack_may_be_due(object);
  if (is_due && !zwords_push(&lane->untrackable, object)) fail(pass);
}

/* False: next time. Who would wait may wait for a lane that has lost its processor. */
static bool take_pool(zpass_pool_t *pool) {
  bool taken = false;
  return !zload_relaxed(&pool->is_taken) && zcas_acq_rel(&pool->is_taken, &taken, true);
}

static void leave_pool(zpass_pool_t *pool, size_t count) {
  zstore_relaxed(&pool->count, count);
  zstore_release(&pool->is_taken, false);
}

/* The bottom of the stack goes: what lies there was met first and leads furthest. */
static void give_work(zpass_pool_t *pool, zlane_t *lane) {
  if (!take_pool(pool)) return;
  size_t count = zmin(lane->top / 2, ZPASS_POOL - pool->count);
  memcpy(pool->objects + pool->count, lane->stack, count * sizeof pool->objects[0]);
  lane->top -= count;
  memcpy(lane->stack, lane->stack + lane->top, count * sizeof pool->objects[0]);
  leave_pool(pool, pool->count + count);
  zstore_relaxed(&pool->hungry, false);
}

static bool take_work(zpass_pool_t *pool, zlane_t *lane) {
  if (zload_relaxed(&pool->count) == 0 || !take_pool(pool)) return false;
  size_t count = zmin(pool->count, lane->size - lane->top);
  memcpy(lane->stack + lane->top, pool->objects + pool->count - count, count * sizeof pool->objects[0]);
  lane->top += count;
  leave_pool(pool, pool->count - count);
  return count > 0;
}

/* Walks what is on the stack. Objects wait in a short queue while their memory is fetched. */
static void drain(zpass_t *pass, zlane_t *lane, uint64_t deadline) {
  PyObject *near[AHEAD];
  size_t in = 0, out = 0;
  for (;;) {
    if (lane->top == 0 && in == out) flush_references(pass, lane);
    if (lane->top > 0 && in - out < AHEAD) {
      near[in % AHEAD] = lane->stack[--lane->top];
      __builtin_prefetch(near[in++ % AHEAD]);
      if (in - out < AHEAD && lane->top > 0) continue;
    }
    if (in == out) return;
    mark_through(pass, lane, near[out++ % AHEAD]);
    if (out % POLL_EVERY != 0) continue;
    if (zload_relaxed(&pass->pool.hungry) && lane->top >= GIVE_FROM) give_work(&pass->pool, lane);
    if (must_leave(pass, lane, deadline)) break;
  }
  for (; out < in; out++) { /* there is room: they stood there before */
    if (lane->top < lane->size) lane->stack[lane->top++] = near[out % AHEAD];
  }
}

static zalways_inline void mark_if_held(zpass_t *pass, zlane_t *lane, PyObject *object,
                                        size_t cell) {
  if (cell_get(pass, cell) != CELL_MET && !is_held_from_outside(pass, cell)) return;
  cell_set(pass, cell, CELL_MARKED);
  lane->marked++;
  mark_through(pass, lane, object);
}

static bool mark_chunks(zpass_t *pass, zlane_t *lane, uint64_t deadline) {
  bool worked = false;
  for (chunk_t chunk; !must_leave(pass, lane, deadline); worked = true) {
    if (lane->top > 0) {
      drain(pass, lane, deadline);
    } else if (take_chunk(pass, lane, &chunk)) {
      visit_chunk(pass, lane, chunk, mark_if_held, true, is_old_page);
    } else {
      flush_references(pass, lane);
      if (lane->top == 0 && !take_work(&pass->pool, lane)) break;
    }
  }
  return worked;
}

static zalways_inline void push_if_met(zpass_t *pass, zlane_t *lane, PyObject *object, size_t cell) {
  if (cell_get(pass, cell) == CELL_MET) mark_cell(pass, lane, cell, object);
}

/* What one lane has met just when the other took that chunk. */
static void push_overlooked(zpass_t *pass) {
  if (pass->candidates != NULL || pass->lanes[1].marked == 0) return;
  if (memchr(pass->cells.values, CELL_MET, pass->cells.count) == NULL) return;
  visit_chunk(pass, &pass->lanes[0], (chunk_t){0, end_of(pass)}, push_if_met, false, is_old_page);
}

static bool make_stacks(zpass_t *pass) {
  size_t size = pass->members + 64; /* objects that changed their cell by a race */
  for (int i = 0; i < ZPASS_LANES; i++) {
    zlane_t *lane = &pass->lanes[i];
    lane->top = lane->marked = 0;
    if (lane->size >= size) continue;
    zos_table_unmap(lane->stack, lane->size * sizeof(PyObject *));
    lane->stack = zos_scratch_map(size * sizeof(PyObject *));
    lane->size = lane->stack == NULL ? 0 : size;
    if (lane->stack == NULL) return false;
  }
  return true;
}

/* -- sweep ------------------------------------------------------------------------------------------------ */

/* Most pages have none. Plain loads: in the sweep of all old objects no one writes values. */
static zalways_inline bool has_unmarked(const zpass_t *pass, size_t granule) {
  if (!is_old_page(pass, granule)) return false;
  const char *start = zgranules_range.base + (granule << ZGRANULE_SHIFT);
  size_t first = zpass_cell(pass, start), last = zpass_cell(pass, start + ZGRANULE_SIZE - 1);
  const uint8_t *values = pass->cells.values;
  unsigned unmarked = 0;
  for (size_t cell = first; cell <= last; cell++) {
    unmarked |= (unsigned)(values[cell] != CELL_NONE) & (unsigned)(values[cell] != CELL_MARKED);
  }
  return unmarked != 0;
}

static zalways_inline bool is_member(const zpass_t *pass, const PyObject *object) {
  return pass->with_frozen ? zold_map_has(object) : zold_map_is_member(object);
}

static zalways_inline void sweep_member(zpass_t *pass, zlane_t *lane, PyObject *object,
                                        size_t cell) {
  uint8_t value = cell_get(pass, cell);
  if (pass->candidates != NULL) { /* else all are cleared at the end */
    cell_set(pass, cell, CELL_NONE);
    pass->lanes[0].minus[cell] = 0;
    if (pass->lanes[1].is_used) pass->lanes[1].minus[cell] = 0;
  }
  if (value == CELL_NONE || value == CELL_MARKED || !is_member(pass, object)) return;
  if (lane->top == lane->size) return; /* more than there were members: a race */
  lane->stack[lane->top++] = object;
}

static void clear_bytes(zpass_t *pass, uint8_t *bytes) {
  for (size_t at = 0; at < pass->cells.count && !zpass_look(pass); at += CLEAR_SLICE) {
    memset(bytes + at, 0, zmin(CLEAR_SLICE, pass->cells.count - at));
  }
}

/* Also of what has died meanwhile, which the sweep did not meet. */
static void clear_cells(zpass_t *pass) {
  _Static_assert(CELL_NONE == 0, "cleared bytewise");
  clear_bytes(pass, pass->cells.values);
  for (int i = 0; i < ZPASS_LANES; i++) {
    if (pass->lanes[i].is_used) clear_bytes(pass, pass->lanes[i].minus);
  }
}

/* The mark stack is empty now and large enough: it becomes the list of candidates. */
static void keep_candidates(zpass_t *pass) {
  zlane_t *lane = &pass->lanes[0], *helper = &pass->lanes[1];
  size_t count = zmin(helper->top, lane->size - lane->top);
  memcpy(lane->stack + lane->top, helper->stack, count * sizeof(PyObject *));
  PyObject **list = lane->stack;
  size_t size = lane->size;
  lane->stack = pass->candidates;
  lane->size = pass->candidates_size;
  pass->candidates = list;
  pass->candidates_size = size;
  pass->candidate_count = lane->top + count;
  lane->top = helper->top = 0;
}

/* -- steps, and who works on them --------------------------------------------------------------------------- */

static bool work(zpass_t *pass, zlane_t *lane, uint64_t deadline) {
  switch (pass->step) {
    case ZPASS_STEP_COUNT:
      return visit_chunks(pass, lane, deadline, count_member, true, is_old_page);
    case ZPASS_STEP_SUBTRACT:
      lane->is_used = true;
      return visit_chunks(pass, lane, deadline, subtract_member, true, is_old_page);
    case ZPASS_STEP_MARK:
      return mark_chunks(pass, lane, deadline);
    case ZPASS_STEP_SWEEP:
      return visit_chunks(pass, lane, deadline, sweep_member, false, has_unmarked);
    case ZPASS_STEP_NONE:
      break;
  }
  return false;
}

/* How long the driver has been waiting for a helper that does not get on. */
typedef struct {
  size_t looks;
  unsigned rounds; /* since then */
  unsigned all_rounds;
  uint64_t since_ns;
} wait_t;

static bool has_waited_enough(const zpass_t *pass, wait_t *wait) {
  size_t looks = zload_relaxed(&pass->lanes[1].looks);
  if (wait->rounds == 0 || looks != wait->looks) *wait = (wait_t){looks, 0, wait->all_rounds, zos_now_ns()};
  if (++wait->rounds < WAIT_ROUNDS_MIN || !pass->exact) return false;
  if (wait->rounds > WAIT_ROUNDS_MAX) return true;
  uint64_t most = zmax(wait->since_ns - pass->started_ns, WAIT_MIN_NS);
  return zos_now_ns() - wait->since_ns > most;
}

static bool try_gate(zpass_t *pass, uint32_t as) {
  uint32_t expected = GATE_FREE;
  return zcas_acq_rel(&pass->gate, &expected, as);
}

static void leave_gate(zpass_t *pass) { zstore_release(&pass->gate, GATE_FREE); }

/* The helper is in. True when it is left alone with the pass; it may just have gone, too. */
static bool leave_to_helper(zpass_t *pass) {
  uint32_t expected = GATE_HELPER;
  return zcas_acq_rel(&pass->gate, &expected, GATE_LOST);
}

/* False: the pass is lost. */
static bool wait_for_helper(zpass_t *pass, wait_t *wait) {
  if (has_waited_enough(pass, wait) && leave_to_helper(pass)) {
    pass->is_lost = true;
    return false;
  }
  zos_wait_round(wait->all_rounds++);
  return true;
}

/* False: the pass is lost. */
static bool open_step(zpass_t *pass, zpass_step_t step) {
  for (wait_t wait = {0}; !try_gate(pass, GATE_DRIVER);) {
    if (!wait_for_helper(pass, &wait)) return false;
  }
  zstore_relaxed(&pass->next_member, 0);
  zstore_relaxed(&pass->step, step);
  zstore_relaxed(&pass->pool.count, 0);
  zstore_relaxed(&pass->pool.hungry, false);
  pass->is_open = true;
  leave_gate(pass);
  return true;
}

/* What a helper that has left did not finish. */
static void take_over(zpass_t *pass) {
  zlane_t *lane = &pass->lanes[0], *left = &pass->lanes[1];
  zwords_t *large = &left->large;
  if (pass->step == ZPASS_STEP_SUBTRACT) {
    while (large->count > 0) subtract_through(pass, lane, large->words[--large->count]);
  }
  if (pass->step != ZPASS_STEP_MARK) return;
  while (large->count > 0 && lane->top < lane->size) {
    lane->stack[lane->top++] = large->words[--large->count];
  }
  flush_references(pass, left);
  flush_references(pass, lane);
  size_t count = zmin(left->top, lane->size - lane->top);
  memcpy(lane->stack + lane->top, left->stack, count * sizeof(PyObject *));
  lane->top += count;
  left->top = 0;
  take_work(&pass->pool, lane);
  if (lane->top == 0) push_overlooked(pass);
}

/* The driver has nothing more to do. False when the helper still has. */
static bool close_step(zpass_t *pass) {
  if (!try_gate(pass, GATE_DRIVER)) {
    zstore_relaxed(&pass->pool.hungry, true);
    return false;
  }
  take_over(pass);
  bool done = pass->step != ZPASS_STEP_MARK || pass->lanes[0].top == 0 || is_told_to_stop(pass);
  if (done) pass->is_open = false;
  leave_gate(pass);
  return done;
}

static bool run_step(zpass_t *pass, zpass_step_t step) {
  bool is_there = open_step(pass, step);
  wait_t wait = {0};
  while (is_there) {
    if (work(pass, &pass->lanes[0], UINT64_MAX)) wait.rounds = wait.all_rounds = 0;
    if (close_step(pass)) break;
    is_there = wait_for_helper(pass, &wait);
  }
  if (!is_there) return false;
  zstore_relaxed(&pass->step, ZPASS_STEP_NONE);
  return !is_told_to_stop(pass);
}

static zpass_help_t help_open(zpass_t *pass, uint64_t deadline) {
  zlane_t *lane = &pass->lanes[1];
  lane->is_hurried = deadline != UINT64_MAX;
  if (lane->is_hurried) {
    uint64_t at = zos_now_ns();
    lane->looks_most = lane->looks + 2 + (deadline > at ? (deadline - at) * LOOKS_PER_US / 1000 : 0);
  }
  bool worked = work(pass, lane, deadline);
  if (!worked) zstore_relaxed(&pass->pool.hungry, true);
  return worked ? ZPASS_HELP_DONE : ZPASS_HELP_NONE;
}

zpass_help_t zpass_help(zpass_t *pass, uint64_t deadline) {
  if (!try_gate(pass, GATE_HELPER)) return ZPASS_HELP_NONE;
  zpass_help_t did = pass->is_open ? help_open(pass, deadline) : ZPASS_HELP_NONE;
  if (zexchange_acq_rel(&pass->gate, GATE_FREE) != GATE_LOST) return did;
  pass->is_open = false;
  return ZPASS_HELP_INHERITED;
}

bool zpass_count(zpass_t *pass) {
  pass->at_start = zos_scratch_map(pass->cells.count);
  if (pass->at_start == NULL || !run_step(pass, ZPASS_STEP_COUNT)) return false;
  pass->is_counted = true;
  return run_step(pass, ZPASS_STEP_COUNT);
}

bool zpass_subtract(zpass_t *pass) {
  zdeferred_reset(&pass->deferred);
  for (int i = 0; i < ZPASS_LANES; i++) {
    zlane_t *lane = &pass->lanes[i];
    zmap_free(&lane->big);
    zmap_free(&lane->counts);
    lane->deferred.count = lane->members = 0;
  }
  bool done = run_step(pass, ZPASS_STEP_SUBTRACT);
  if (pass->is_lost) return false;
  pass->members = 0;
  for (int i = 0; i < ZPASS_LANES; i++) {
    if (!zwords_take(&pass->deferred.queue, &pass->lanes[i].deferred)) fail(pass);
    pass->members += pass->lanes[i].members;
  }
  return done && !pass->failed;
}

bool zpass_mark(zpass_t *pass) {
  subtract_deferred(pass);
  return make_stacks(pass) && run_step(pass, ZPASS_STEP_MARK);
}

bool zpass_sweep(zpass_t *pass) {
  bool is_first = pass->candidates == NULL;
  for (int i = 0; i < ZPASS_LANES; i++) pass->lanes[i].top = 0;
  if (!run_step(pass, ZPASS_STEP_SWEEP)) return false;
  if (is_first && !pass->exact) clear_cells(pass); /* no pass follows an exact one */
  keep_candidates(pass);
  pass->lanes[1].is_used = false;
  for (int i = 0; i < ZPASS_LANES; i++) zmap_free(&pass->lanes[i].counts);
  return !is_told_to_stop(pass);
}

/* -- asked from outside -------------------------------------------------------------------------------------- */

/* Shares of a pass's time, in thousandths, as measured on random links. */
#define COUNT_SHARE 100
#define SUBTRACT_SHARE 430
#define MARK_SHARE 400

unsigned zpass_progress(const zpass_t *pass) {
  size_t end = end_of(pass), at = zmin(zload_relaxed(&pass->next_member), end);
  unsigned done = end == 0 ? 1000 : (unsigned)(at * 1000 / end);
  switch (zload_relaxed(&pass->step)) {
    case ZPASS_STEP_NONE:
      return 0;
    case ZPASS_STEP_COUNT:
      return (done + (zload_relaxed(&pass->is_counted) ? 1000 : 0)) * COUNT_SHARE / 2000;
    case ZPASS_STEP_SUBTRACT:
      return COUNT_SHARE + done * SUBTRACT_SHARE / 1000;
    case ZPASS_STEP_MARK: {
      size_t marked = zload_relaxed(&pass->lanes[0].marked) + zload_relaxed(&pass->lanes[1].marked);
      size_t members = zload_relaxed(&pass->members);
      size_t share = members == 0 ? 1000 : zmin(marked * 1000 / members, 1000);
      return COUNT_SHARE + SUBTRACT_SHARE + (unsigned)share * MARK_SHARE / 1000;
    }
    case ZPASS_STEP_SWEEP:
      break;
  }
  unsigned before = COUNT_SHARE + SUBTRACT_SHARE + MARK_SHARE;
  return before + done * (1000 - before) / 1000;
}

void zpass_each_untrackable(const zpass_t *pass, void (*visit)(PyObject *)) {
  for (int i = 0; i < ZPASS_LANES; i++) {
    const zwords_t *words = &pass->lanes[i].untrackable;
    for (size_t j = 0; j < words->count; j++) visit(words->words[j]);
  }
}
