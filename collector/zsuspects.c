#include "collector/zsuspects.h"

#include <string.h>

#include "barrier/zbarrier.h"
#include "collector/zrelocate.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define BODIES_MAX ((size_t)1 << 20) /* more than that behind suspects: they all count as in use */
#define MAP_LENGTH (BODIES_MAX * 2)

typedef struct {
  uintptr_t body;
  uint32_t group;
} place_t;

typedef struct {
  uint32_t index, group;
} found_t;

static struct {
  zhandle_entry_t *entries[ZSUSPECTS_MAX];
  size_t count;
  bool walking, given_up;
  size_t walked;                      /* suspects done */
  uint32_t parent[ZSUSPECTS_MAX + 1]; /* union-find; group 0 is "in use" */

  place_t *map;      /* bodies walked */
  size_t map_count;
  uintptr_t *stack;
  size_t depth;
  found_t *references;
  size_t reference_count;
  found_t shapes[256];
  size_t shape_count;
  uint32_t generation_seq;

  zaddress_t *recorded; /* GIL, or a pause */
  size_t recorded_count, recorded_walked;
} s;

bool zsuspects_add(zhandle_entry_t *entry) {
  if (s.count == ZSUSPECTS_MAX) return false;
  zstore_relaxed(&entry->object, entry->object | ZHANDLE_SUSPECT);
  (void)zfetch_or_relaxed(&entry->word, ZCOLOR_SUSPECT);
  s.entries[s.count++] = entry;
  return true;
}

size_t zsuspects_count(void) { return s.count; }
bool zsuspects_has_results(void) { return s.generation_seq != 0; }
bool zsuspects_is_walking(void) { return s.walking; }

static void free_tables(void) {
  zos_table_unmap(s.map, MAP_LENGTH * sizeof *s.map);
  zos_table_unmap(s.stack, BODIES_MAX * sizeof *s.stack);
  zos_table_unmap(s.references, BODIES_MAX * sizeof *s.references);
  zos_table_unmap(s.recorded, BODIES_MAX * sizeof *s.recorded);
  s.map = NULL;
  s.stack = NULL;
  s.references = NULL;
  s.recorded = NULL;
}

void zsuspects_clear(void) {
  for (size_t i = 0; i < s.count; i++) {
    zhandle_entry_t *entry = s.entries[i];
    if (!(entry->object & ZHANDLE_SUSPECT) || (entry->object & ZHANDLE_FREE)) continue;
    zstore_relaxed(&entry->object, entry->object & ~(uintptr_t)ZHANDLE_SUSPECT);
    (void)zfetch_and_relaxed(&entry->word, ~ZCOLOR_SUSPECT);
  }
  free_tables();
  memset(&s, 0, sizeof s);
}

static bool is_suspect(const zhandle_entry_t *entry) {
  return (zload_relaxed(&entry->object) & (ZHANDLE_SUSPECT | ZHANDLE_FREE)) == ZHANDLE_SUSPECT;
}

bool zsuspects_begin(void) {
  bool any = false;
  /* All of them: the mark has left these words uncoloured. */
  for (size_t i = 0; i < s.count; i++) {
    if (!is_suspect(s.entries[i])) continue;
    zaddress_t body = zmark_heal_entry(&s.entries[i]->word);
    any |= !zaddress_is_null(body) && zmark_is_dead(body);
  }
  if (!any) {
    s.generation_seq = zbody_space.seq[1]; /* a result too: no groups */
    return false;
  }
  s.map = zos_table_map(MAP_LENGTH * sizeof *s.map);
  s.stack = zos_table_map(BODIES_MAX * sizeof *s.stack);
  s.references = zos_table_map(BODIES_MAX * sizeof *s.references);
  s.recorded = zos_table_map(BODIES_MAX * sizeof *s.recorded);
  s.given_up = s.map == NULL || s.stack == NULL || s.references == NULL || s.recorded == NULL;
  for (uint32_t i = 0; i <= ZSUSPECTS_MAX; i++) s.parent[i] = i;
  s.walking = !s.given_up;
  return true;
}

static uint32_t root_of(uint32_t group) {
  while (s.parent[group] != group) group = s.parent[group] = s.parent[s.parent[group]];
  return group;
}

static void unite(uint32_t a, uint32_t b) {
  a = root_of(a);
  b = root_of(b);
  if (a < b) s.parent[b] = a; /* the lower number stays: 0 wins */
  if (b < a) s.parent[a] = b;
}

static void give_up(void) {
  s.given_up = true;
  for (uint32_t i = 0; i <= ZSUSPECTS_MAX; i++) s.parent[i] = 0;
}

static place_t *place_of(uintptr_t body) {
  for (size_t i = (body >> 3) * 0x9E3779B97F4A7C15u >> 40;; i++) {
    place_t *place = &s.map[i % MAP_LENGTH];
    if (place->body == body || place->body == 0) return place;
  }
}

static void reach(zaddress_t body, uint32_t group) {
  place_t *place = place_of(body.value);
  if (place->body != 0) {
    unite(place->group, group);
    return;
  }
  if (!zmark_is_dead(body)) return; /* reached by the mark, or born after its start */
  zmark_body(0, body);
  if (s.map_count == BODIES_MAX) {
    give_up();
    return;
  }
  *place = (place_t){body.value, group};
  s.map_count++;
  s.stack[s.depth++] = body.value;
}

static void visit(uint64_t *slot, void *context) {
  uint32_t group = *(uint32_t *)context;
  zcolored_t word = {zload_acquire(slot)};
  if (zcolored_kind(word) == ZKIND_PYTHON) {
    if (s.reference_count == BODIES_MAX) {
      give_up();
    } else {
      s.references[s.reference_count++] = (found_t){(uint32_t)zcolored_payload(word), group};
    }
  }
  if (!zcolored_is_body(word)) return;
  bool stale = (word.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) != 0;
  reach(stale ? zrelocate_remap(word) : zcolored_strip(word), group);
}

static void see_shape(const zshape_t *shape, uint32_t group) {
  if (shape->owner == NULL || zload_relaxed(&shape->seen_seq) >= zbody_space.seq[1]) return;
  for (size_t i = 0; i < s.shape_count; i++) {
    if (s.shapes[i].index != shape->id) continue;
    if (shape->shared_fate) {
      unite(s.shapes[i].group, group);
    } else if (root_of(s.shapes[i].group) != root_of(group)) {
      s.shapes[i].group = 0; /* of several groups: none of them can own the class's reference */
    }
    return;
  }
  if (s.shape_count < ZARRAY_LENGTH(s.shapes)) s.shapes[s.shape_count++] = (found_t){shape->id, group};
}

static void walk_from(zaddress_t body, uint32_t group, void (*yield)(void)) {
  reach(body, group);
  unsigned done = 0;
  while (s.depth > 0 && !s.given_up) {
    zaddress_t next = zaddress(s.stack[--s.depth]);
    const zshape_t *shape = zbody_shape(next);
    see_shape(shape, group);
    zbody_visit_slots(next, shape, 0, zbody_slot_steps(next, shape), visit, &group);
    if (++done % 128 == 0) yield();
  }
}

void zsuspects_walk(void (*yield)(void)) {
  for (; s.walked < s.count && !s.given_up; s.walked++) {
    zhandle_entry_t *entry = s.entries[s.walked];
    if (zload_relaxed(&entry->word) == 0) continue; /* ended: what it meant was recorded */
    zaddress_t body = zmark_heal_entry(&entry->word);
    if (zaddress_is_null(body)) continue;
    /* Reached by the mark itself: an ordinary handle. */
    if (place_of(body.value)->body == 0 && !zmark_is_dead(body)) unite(0, (uint32_t)s.walked + 1);
    walk_from(body, (uint32_t)s.walked + 1, yield);
  }
  size_t recorded = zload_acquire(&s.recorded_count);
  for (; s.recorded_walked < recorded && !s.given_up; s.recorded_walked++) {
    walk_from(s.recorded[s.recorded_walked], 0, yield);
  }
  if (!s.given_up) return;
  /* Too much: everything behind suspects is simply alive. */
  for (size_t i = 0; i < s.count; i++) {
    zaddress_t body = zmark_heal_entry(&s.entries[i]->word);
    if (!zaddress_is_null(body)) zmark_body(0, body);
  }
  for (size_t i = 0; i < zload_acquire(&s.recorded_count); i++) zmark_body(0, s.recorded[i]);
}

void zsuspects_record(const zaddress_t *bodies, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (s.recorded_count == BODIES_MAX) {
      give_up();
      zmark_take_unmarked(&bodies[i], 1);
      continue;
    }
    s.recorded[s.recorded_count] = bodies[i];
    zstore_release(&s.recorded_count, s.recorded_count + 1);
  }
}

bool zsuspects_end(void) {
  if (!s.given_up && s.recorded_walked < s.recorded_count) return false;
  for (size_t i = 0; i < s.count; i++) {
    if (!is_suspect(s.entries[i])) unite(0, (uint32_t)i + 1);
  }
  s.walking = false;
  s.generation_seq = zbody_space.seq[1];
  return true;
}

uint32_t zsuspects_group(size_t i, zhandle_entry_t **entry) {
  *entry = s.entries[i];
  if (s.map == NULL || s.given_up || !is_suspect(*entry)) return 0;
  return root_of((uint32_t)i + 1);
}

bool zsuspects_reference(size_t i, uint32_t *index, uint32_t *group) {
  if (s.given_up || i >= s.reference_count) return false;
  *index = s.references[i].index;
  *group = root_of(s.references[i].group);
  return true;
}

bool zsuspects_shape(size_t i, zshape_t **shape, uint32_t *group) {
  if (s.given_up || i >= s.shape_count) return false;
  *shape = zshape_table[s.shapes[i].index];
  *group = root_of(s.shapes[i].group);
  return true;
}
