#include "collector/cpython/zcomponents.h"

#include <string.h>

#include "collector/python/zwalker.h"
#include "heap/base/zos.h"

/* A candidate's number is its rank: how many candidates' cells come before its own. The cells mark them
 * (the passes are done with those), and a count per line of cells makes the rank a matter of one line:
 * a sixteenth of a byte per cell, where a number per cell would take four. */
typedef struct {
  zpass_t *pass;
  uint32_t *ranks; /* of the first cell of each line */
  uint32_t *parent;
  uint32_t current;
} union_t;

#define CANDIDATE 1u /* in its cell */
#define CLEAR_SLICE (64 * ZK)

/* Cells with a candidate among the first `count` of a line. */
static uint32_t candidates_in(const uint8_t *line, size_t count) {
  uint32_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += line[i];
  return sum;
}

static zalways_inline uint32_t rank_of(const union_t *u, size_t cell) {
  size_t line = cell / ZCACHE_LINE, before = cell % ZCACHE_LINE;
  const uint8_t *cells = &u->pass->cells.values[line * ZCACHE_LINE];
  uint32_t sum = 0;
  for (size_t word = 0; word < before / 8; word++) { /* eight cells at a time, each 0 or 1 */
    uint64_t eight;
    memcpy(&eight, cells + word * 8, 8);
    sum += (uint32_t)(eight * 0x0101010101010101u >> 56);
  }
  return u->ranks[line] + sum + candidates_in(cells + before / 8 * 8, before % 8);
}

#define LOOK_EVERY 1024 /* objects, or lines of cells, between two looks at whether to stop */

static bool must_stop(const union_t *u, size_t i) { return i % LOOK_EVERY == 0 && zpass_look(u->pass); }

static uint32_t root_of(uint32_t *parent, uint32_t i) {
  while (parent[i] != i) {
    parent[i] = parent[parent[i]];
    i = parent[i];
  }
  return i;
}

static void join(void *context, void *reference) {
  union_t *u = context;
  size_t cell = zpass_cell(u->pass, reference);
  if (cell == 0) return;
  if (u->pass->cells.values[cell] != CANDIDATE) return;
  uint32_t a = root_of(u->parent, u->current), b = root_of(u->parent, rank_of(u, cell));
  if (a < b) {
    u->parent[b] = a;
  } else {
    u->parent[a] = b;
  }
}

static void join_referent(union_t *u, PyObject *object) {
  const ztype_t *type = ztype_find(zpyabi_type(object));
  if (type == NULL || !type->is_weakref) return;
  void *referent = zpyabi_word(object, ZPYABI_WEAKREF_OBJECT);
  if (referent != NULL) join(u, referent);
}

static void join_references(union_t *u, PyObject *object) {
  join_referent(u, object);
  if (zwalker_try(object, join, u)) return;
  size_t count;
  void **references = zdeferred_references(&u->pass->deferred, object, &count);
  for (size_t i = 0; i < count; i++) join(u, references[i]);
}

static size_t lines_of(const zpass_t *pass) { return pass->cells.count / ZCACHE_LINE + 1; }

static void mark_candidates(const union_t *u) {
  zpass_t *pass = u->pass;
  for (size_t at = 0; at < pass->cells.count; at += CLEAR_SLICE) {
    memset(pass->cells.values + at, 0, zmin(CLEAR_SLICE, pass->cells.count - at));
    zpass_look(pass);
  }
  for (size_t i = 0; i < pass->candidate_count; i++) {
    pass->cells.values[zpass_cell(pass, pass->candidates[i])] = CANDIDATE;
    if (must_stop(u, i)) return;
  }
}

/* Leaves the candidates in `ranked`, by rank; returns how many: one that is there twice counts once. */
static size_t rank_candidates(union_t *u, PyObject **ranked) {
  zpass_t *pass = u->pass;
  mark_candidates(u);
  uint32_t rank = 0;
  for (size_t line = 0; line < lines_of(pass); line++) {
    size_t first = line * ZCACHE_LINE;
    u->ranks[line] = rank;
    rank += candidates_in(pass->cells.values + first, zmin(ZCACHE_LINE, pass->cells.count - first));
    if (must_stop(u, line)) return 0;
  }
  for (size_t i = 0; i < pass->candidate_count; i++) {
    if (must_stop(u, i)) return 0;
    ranked[rank_of(u, zpass_cell(pass, pass->candidates[i]))] = pass->candidates[i];
  }
  for (uint32_t i = 0; i < rank; i++) u->parent[i] = i;
  return rank;
}

#define AHEAD 8 /* objects whose first cache line is asked for in advance */
#define LARGE 4096 /* components from here on are fed last, each in a batch of its own */

static uint32_t seen_by(const PyObject *object) {
  const ztype_t *type = ztype_find(zpyabi_type(object));
  if (type == NULL) return 0;
  bool has_refs = type->weaklist_offset != 0 && zpyabi_word(object, type->weaklist_offset) != NULL;
  return (has_refs ? ZCOMPONENTS_OBSERVED : 0) | (type->has_finalizer ? ZCOMPONENTS_FINAL : 0);
}

#define MOVED ZCOMPONENTS_MOST /* while it is made: the refcount was another one just before it was noted */

/* Garbage holds still: racy reading is enough. */
static uint32_t history_of(const union_t *u, PyObject *object) {
  if (u->pass->at_start == NULL) return 0;
  uint8_t known = u->pass->at_start[zpass_cell(u->pass, object)];
  if ((known & ~ZPASS_MOVED) != zpass_print(zpyabi_refcount(object))) return ZCOMPONENTS_CHANGED;
  return known & ZPASS_MOVED ? MOVED : 0;
}

/* Gives each component its place, small ones first; start_of is indexed by root. */
static void lay_out(const union_t *u, zcomponents_t *c, const uint32_t *size_of, uint32_t *start_of) {
  uint32_t next = 0, number = 0;
  for (int large = 0; large < 2; large++) {
    for (size_t i = 0; i < c->object_count; i++) {
      if (must_stop(u, i)) return;
      uint32_t size = size_of[i] & ~ZCOMPONENTS_FLAGS, flags = size_of[i] & ZCOMPONENTS_FLAGS;
      if (u->parent[i] != i || (size >= LARGE) != large) continue;
      if ((flags & MOVED) != 0) {
        bool is_seen = (flags & (ZCOMPONENTS_OBSERVED | ZCOMPONENTS_FINAL)) != 0;
        c->is_blurred |= is_seen && (flags & ZCOMPONENTS_CHANGED) == 0;
        flags = (flags & ~MOVED) | ZCOMPONENTS_CHANGED;
      }
      c->sizes[number++] = size | flags;
      c->largest = zmax(c->largest, size);
      start_of[i] = next;
      next += size;
    }
  }
  c->component_count = number;
}

static void arrange(const union_t *u, zcomponents_t *c, PyObject *const *candidates, uint32_t *size_of,
                    uint32_t *start_of) {
  uint32_t *parent = u->parent;
  const uint8_t *at_start = u->pass->at_start;
  for (size_t i = 0; i < c->object_count; i++) {
    if (must_stop(u, i)) return;
    parent[i] = root_of(parent, (uint32_t)i);
    size_of[parent[i]]++;
    size_of[parent[i]] |= history_of(u, candidates[i]) | seen_by(candidates[i]);
  }
  lay_out(u, c, size_of, start_of);
  for (size_t i = 0; i < c->object_count; i++) {
    if (must_stop(u, i)) return;
    uint32_t place = start_of[parent[i]]++;
    c->objects[place] = candidates[i];
    if (at_start != NULL) c->at_start[place] = at_start[zpass_cell(u->pass, candidates[i])];
  }
}

/* Scratch of zcomponents_make: three numbers per candidate. */
static size_t work_bytes(size_t count) { return 3 * count * sizeof(uint32_t) + 1; }
static size_t objects_bytes(size_t count) { return count * sizeof(PyObject *) + 1; }
static size_t at_start_bytes(size_t count) { return count + 1; }
static size_t sizes_bytes(size_t count) { return count * sizeof(uint32_t) + 1; }

bool zcomponents_make(zcomponents_t *components, zpass_t *pass) {
  memset(components, 0, sizeof *components);
  size_t count = pass->candidate_count;
  if (count >= ZCOMPONENTS_MOST) return false;
  components->room = count;
  components->objects = zos_scratch_map(objects_bytes(count));
  components->at_start = zos_scratch_map(at_start_bytes(count));
  components->sizes = zos_scratch_map(sizes_bytes(count));
  uint32_t *work = zos_scratch_map(work_bytes(count));
  PyObject **ranked = zos_scratch_map(objects_bytes(count));
  union_t u = {.pass = pass, .parent = work};
  u.ranks = zos_scratch_map(lines_of(pass) * sizeof(uint32_t));
  bool made = components->objects != NULL && components->at_start != NULL && components->sizes != NULL &&
              work != NULL && ranked != NULL && u.ranks != NULL;
  if (made) {
    components->object_count = rank_candidates(&u, ranked);
    for (size_t i = 0; i < components->object_count && !must_stop(&u, i); i++) {
      if (i + AHEAD < components->object_count) __builtin_prefetch(ranked[i + AHEAD]);
      u.current = (uint32_t)i;
      join_references(&u, ranked[i]);
    }
    arrange(&u, components, ranked, work + count, work + 2 * count);
    made = !zpass_look(pass);
  }
  zos_table_unmap(u.ranks, lines_of(pass) * sizeof(uint32_t));
  zos_table_unmap(ranked, objects_bytes(count));
  zos_table_unmap(work, work_bytes(count));
  if (!made) zcomponents_free(components);
  return made;
}

void zcomponents_free(zcomponents_t *components) {
  size_t count = components->room;
  zos_table_unmap(components->objects, objects_bytes(count));
  zos_table_unmap(components->at_start, at_start_bytes(count));
  zos_table_unmap(components->sizes, sizes_bytes(count));
  memset(components, 0, sizeof *components);
}
