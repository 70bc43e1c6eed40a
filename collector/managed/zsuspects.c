#include "collector/managed/zsuspects.h"

#include <string.h>

#include "barrier/zbarrier_inline.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

/* A table that grows by copying: readers of another thread must not be at it. Inherited by a forked child, which
 * takes the collection up. */
typedef struct {
  void *items;
  size_t count, room;
} table_t;

typedef struct {
  uintptr_t body;
  uint32_t group;
} place_t;

typedef struct {
  uint32_t index, group;
} found_t;

#define RECORDED_CHUNK ((size_t)1 << 16)
#define RECORDED_CHUNKS 4096
#define TABLE_FIRST 1024
#define YIELD 4096 /* items between two chances to park */

/* What a suspect's number is, is also its group's to begin with, plus 1: group 0 is "in use". */
static struct {
  table_t entries; /* zhandle_entry_t *; GIL */
  bool walking, given_up;
  size_t walked;    /* suspects done */
  uint32_t *parent; /* union-find, one more than there are suspects */

  table_t map;        /* place_t: bodies walked; open addressing, `room` is a power of two */
  table_t stack;      /* uintptr_t */
  table_t references; /* found_t */
  table_t shapes;     /* found_t */
  table_t weak;       /* found_t: handle ids */
  uint32_t *shape_at; /* by shape: 1 + its place in `shapes` */
  uint32_t generation_seq;
  uint64_t *weak_since; /* GIL; by handle id: those that have become weak since the walk began */

  zaddress_t *recorded[RECORDED_CHUNKS]; /* GIL, or a pause */
  size_t recorded_count, recorded_walked;

  /* The results, by group: made by the collector thread, then read with the GIL. */
  struct {
    uint32_t *suspects, *references, *shapes, *weak; /* sorted by group */
    uint32_t *number;                         /* of each group, by root; while they are made */
    uint32_t *first[4];                       /* of each group in those, one more than there are groups */
    uint32_t groups, next;
    size_t sizes[4];
    bool is_made;
  } result;
} s;

/* ---- tables ---------------------------------------------------------------------------------------- */

static bool make_room(table_t *table, size_t item) {
  if (table->count < table->room) return true;
  size_t room = table->room == 0 ? TABLE_FIRST : table->room * 2;
  void *items = zos_table_resize(table->items, table->room * item, room * item);
  if (items == NULL) return false;
  table->items = items;
  table->room = room;
  return true;
}

static void free_table(table_t *table, size_t item) {
  if (table->items != NULL) zos_table_unmap(table->items, table->room * item);
  memset(table, 0, sizeof *table);
}

static void free_words(uint32_t **words, size_t count) {
  if (*words != NULL) zos_table_unmap(*words, count * sizeof **words);
  *words = NULL;
}

static zhandle_entry_t *entry_of(size_t i) { return ((zhandle_entry_t **)s.entries.items)[i]; }

/* ---- suspects -------------------------------------------------------------------------------------- */

bool zsuspects_add(zhandle_entry_t *entry) {
  if (s.entries.count >= UINT32_MAX / 2 || !make_room(&s.entries, sizeof entry)) return false;
  zstore_relaxed(&entry->object, entry->object | ZHANDLE_SUSPECT);
  (void)zfetch_or_relaxed(&entry->word, ZCOLOR_SUSPECT);
  ((zhandle_entry_t **)s.entries.items)[s.entries.count++] = entry;
  return true;
}

size_t zsuspects_count(void) { return s.entries.count; }
bool zsuspects_has_results(void) { return s.generation_seq != 0; }
bool zsuspects_is_walking(void) { return s.walking; }

static bool is_suspect(const zhandle_entry_t *entry) {
  return (zload_relaxed(&entry->object) & (ZHANDLE_SUSPECT | ZHANDLE_FREE)) == ZHANDLE_SUSPECT;
}

static void free_results(void) {
  for (size_t i = 0; i < ZARRAY_LENGTH(s.result.first); i++) free_words(&s.result.first[i], s.result.groups + 2);
  free_words(&s.result.number, s.entries.count + 1);
  free_words(&s.result.suspects, s.result.sizes[0]);
  free_words(&s.result.references, s.result.sizes[1]);
  free_words(&s.result.shapes, s.result.sizes[2]);
  free_words(&s.result.weak, s.result.sizes[3]);
}

static size_t weak_since_bytes(void) { return (zhandle_table.limit / 64 + 1) * sizeof *s.weak_since; }

void zsuspects_clear(void) {
  for (size_t i = 0; i < s.entries.count; i++) {
    zhandle_entry_t *entry = entry_of(i);
    if (!is_suspect(entry)) continue;
    zstore_relaxed(&entry->object, entry->object & ~(uintptr_t)ZHANDLE_SUSPECT);
    (void)zfetch_and_relaxed(&entry->word, ~ZCOLOR_SUSPECT);
  }
  free_results();
  free_words(&s.parent, s.entries.count + 1);
  free_words(&s.shape_at, ZSHAPE_MAX);
  for (size_t i = 0; i < RECORDED_CHUNKS && s.recorded[i] != NULL; i++) {
    zos_table_unmap(s.recorded[i], RECORDED_CHUNK * sizeof *s.recorded[i]);
  }
  free_table(&s.entries, sizeof(zhandle_entry_t *));
  free_table(&s.map, sizeof(place_t));
  free_table(&s.stack, sizeof(uintptr_t));
  free_table(&s.references, sizeof(found_t));
  free_table(&s.shapes, sizeof(found_t));
  free_table(&s.weak, sizeof(found_t));
  if (s.weak_since != NULL) zos_table_unmap(s.weak_since, weak_since_bytes());
  memset(&s, 0, sizeof s);
}

bool zsuspects_begin(void) {
  s.parent = zos_table_map((s.entries.count + 1) * sizeof *s.parent);
  s.shape_at = zos_table_map(ZSHAPE_MAX * sizeof *s.shape_at);
  s.weak_since = zos_table_map(weak_since_bytes());
  s.given_up = s.parent == NULL || s.shape_at == NULL || s.weak_since == NULL;
  s.walking = true;
  return true;
}

/* ---- groups ---------------------------------------------------------------------------------------- */

/* 0 in the table: its own parent. So the table need not be filled in a pause. */
static uint32_t parent_of(uint32_t group) { return s.parent[group] == 0 ? group : s.parent[group] - 1; }

static uint32_t root_of(uint32_t group) {
  for (uint32_t parent; (parent = parent_of(group)) != group; group = parent) {
    s.parent[group] = parent_of(parent) + 1;
  }
  return group;
}

static void unite(uint32_t a, uint32_t b) {
  a = root_of(a);
  b = root_of(b);
  if (a < b) s.parent[b] = a + 1; /* the lower number stays: 0 wins */
  if (b < a) s.parent[a] = b + 1;
}

static place_t *place_in(const table_t *map, uintptr_t body) {
  place_t *places = map->items;
  size_t mask = map->room - 1;
  size_t i = (size_t)((body >> 3) * 0x9E3779B97F4A7C15u >> 24) & mask;
  while (places[i].body != body && places[i].body != 0) i = (i + 1) & mask;
  return &places[i];
}

static bool grow_map(void) {
  table_t larger = {NULL, s.map.count, s.map.room == 0 ? TABLE_FIRST : s.map.room * 2};
  larger.items = zos_table_map(larger.room * sizeof(place_t));
  if (larger.items == NULL) return false;
  for (size_t i = 0; i < s.map.room; i++) {
    const place_t *place = (const place_t *)s.map.items + i;
    if (place->body != 0) *place_in(&larger, place->body) = *place;
  }
  if (s.map.items != NULL) zos_table_unmap(s.map.items, s.map.room * sizeof(place_t));
  s.map = larger;
  return true;
}

static void reach(zaddress_t body, uint32_t group) {
  if (s.map.count * 2 >= s.map.room && !grow_map()) {
    s.given_up = true;
    return;
  }
  place_t *place = place_in(&s.map, body.value);
  if (place->body != 0) {
    unite(place->group, group);
    return;
  }
  if (!zmark_is_dead(body)) return; /* reached by the mark, or born after its start */
  if (!make_room(&s.stack, sizeof(uintptr_t))) {
    s.given_up = true;
    return;
  }
  zmark_body(0, body);
  *place = (place_t){body.value, group};
  s.map.count++;
  ((uintptr_t *)s.stack.items)[s.stack.count++] = body.value;
}

static void note_found(table_t *table, uint32_t index, uint32_t group) {
  if (make_room(table, sizeof(found_t))) {
    ((found_t *)table->items)[table->count++] = (found_t){index, group};
  } else {
    s.given_up = true;
  }
}

static void visit(uint64_t *slot, void *context) {
  uint32_t group = *(uint32_t *)context;
  zcolored_t word = {zload_acquire(slot)};
  if (zcolored_kind(word) == ZKIND_PYTHON) note_found(&s.references, (uint32_t)zcolored_payload(word), group);
  if (!zcolored_is_body(word)) return;
  reach(zbarrier_peek(word), group);
}

static void see_shape(const zshape_t *shape, uint32_t group) {
  if (shape->owner == NULL || zload_relaxed(&shape->seen_seq) >= zbody_space.seq[1]) return;
  uint32_t at = s.shape_at[shape->id];
  if (at == 0) {
    note_found(&s.shapes, shape->id, group);
    s.shape_at[shape->id] = (uint32_t)s.shapes.count;
    return;
  }
  found_t *found = (found_t *)s.shapes.items + (at - 1);
  if (shape->shared_fate) {
    unite(found->group, group);
  } else if (root_of(found->group) != root_of(group)) {
    found->group = 0; /* of several groups: none of them can own the class's reference */
  }
}

/* Its handle may be one that only weak references keep: it belongs to the group. The entry may be another's by the
 * time that the group is formed, so is_untouched looks again. */
static void see_handle(zaddress_t body, uint32_t group) {
  uint32_t id = zload_relaxed(&zbody_header(body)->handle);
  if (id == 0 || id >= zload_acquire(&zhandle_table.top)) return; /* none, or a hash */
  zhandle_entry_t *entry = &zhandle_table.entries[id];
  if (zhandle_is_weak(entry) && zmark_heal_entry(&entry->word).value == body.value) note_found(&s.weak, id, group);
}

void zsuspects_note_weak(const zhandle_entry_t *entry) {
  uint32_t id = zhandle_id(entry);
  if (s.weak_since != NULL) s.weak_since[id / 64] |= (uint64_t)1 << id % 64;
}

static void walk_from(zaddress_t body, uint32_t group, void (*yield)(void)) {
  reach(body, group);
  unsigned done = 0;
  while (s.stack.count > 0 && !s.given_up) {
    zaddress_t next = zaddress(((uintptr_t *)s.stack.items)[--s.stack.count]);
    const zshape_t *shape = zbody_shape(next);
    see_shape(shape, group);
    see_handle(next, group);
    zbody_visit_slots(next, shape, 0, zbody_slot_steps(next, shape), visit, &group);
    if (++done % 128 == 0) yield();
  }
}

static zaddress_t recorded(size_t i) { return s.recorded[i / RECORDED_CHUNK][i % RECORDED_CHUNK]; }

static void walk_suspect(size_t i, void (*yield)(void)) {
  zhandle_entry_t *entry = entry_of(i);
  if (zload_relaxed(&entry->word) == 0) return; /* ended: what it meant was recorded */
  zaddress_t body = zmark_heal_entry(&entry->word);
  if (zaddress_is_null(body)) return;
  /* Reached by the mark itself: an ordinary handle. */
  bool is_known = s.map.room > 0 && place_in(&s.map, body.value)->body != 0;
  if (!is_known && !zmark_is_dead(body)) unite(0, (uint32_t)i + 1);
  walk_from(body, (uint32_t)i + 1, yield);
}

/* Memory is short: everything behind suspects is simply alive. What the walk has reached is on the mark's stack. */
static void keep_all(void) {
  for (size_t i = 0; i < s.entries.count; i++) {
    zaddress_t body = zmark_heal_entry(&entry_of(i)->word);
    if (!zaddress_is_null(body)) zmark_body(0, body);
  }
  size_t count = zload_acquire(&s.recorded_count);
  for (size_t i = 0; i < count; i++) zmark_body(0, recorded(i));
}

void zsuspects_walk(void (*yield)(void)) {
  for (; s.walked < s.entries.count && !s.given_up; s.walked++) {
    walk_suspect(s.walked, yield);
    if (s.walked % 128 == 0) yield();
  }
  size_t count = zload_acquire(&s.recorded_count);
  for (; s.recorded_walked < count && !s.given_up; s.recorded_walked++) {
    walk_from(recorded(s.recorded_walked), 0, yield);
  }
  if (s.given_up) keep_all();
}

void zsuspects_record(const zaddress_t *bodies, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t chunk = s.recorded_count / RECORDED_CHUNK, at = s.recorded_count % RECORDED_CHUNK;
    if (chunk < RECORDED_CHUNKS && s.recorded[chunk] == NULL) {
      s.recorded[chunk] = zos_table_map(RECORDED_CHUNK * sizeof *s.recorded[chunk]);
    }
    if (chunk == RECORDED_CHUNKS || s.recorded[chunk] == NULL) {
      zstore_release(&s.given_up, true);
      zmark_take_unmarked(&bodies[i], 1);
      continue;
    }
    s.recorded[chunk][at] = bodies[i];
    zstore_release(&s.recorded_count, s.recorded_count + 1);
  }
}

bool zsuspects_end(void) {
  if (!s.given_up && s.recorded_walked < s.recorded_count) return false;
  s.walking = false;
  s.generation_seq = zbody_space.seq[1];
  return true;
}

/* ---- results --------------------------------------------------------------------------------------- */

/* Numbers the groups 1, 2, ... by root; 0 stays 0. */
static uint32_t number_groups(void (*yield)(void)) {
  uint32_t groups = 0, *number = s.result.number;
  for (size_t i = 1; i <= s.entries.count; i++) {
    uint32_t root = root_of((uint32_t)i);
    if (root != 0 && number[root] == 0) number[root] = ++groups;
    if (i % YIELD == 0) yield();
  }
  return groups;
}

/* Counting sort: item i of `count` has the group `group_of(i)`, and stands for `value_of(i)`. Those of group 0 are
 * left out. */
static bool sort_by_group(int kind, size_t count, uint32_t (*group_of)(size_t), uint32_t (*value_of)(size_t),
                          uint32_t **sorted, void (*yield)(void)) {
  const uint32_t *number = s.result.number;
  uint32_t groups = s.result.groups, *first = zos_table_map((groups + 2) * sizeof *first);
  s.result.first[kind] = first;
  s.result.sizes[kind] = count + 1;
  *sorted = zos_table_map((count + 1) * sizeof **sorted);
  if (first == NULL || *sorted == NULL) return false;
  for (size_t i = 0; i < count; i++) {
    first[number[root_of(group_of(i))]]++;
    if (i % YIELD == 0) yield();
  }
  uint32_t at = 0;
  for (uint32_t group = 0; group <= groups; group++) {
    uint32_t size = group == 0 ? 0 : first[group];
    first[group] = at;
    at += size;
  }
  for (size_t i = 0; i < count; i++) {
    uint32_t group = number[root_of(group_of(i))];
    if (group != 0) (*sorted)[first[group]++] = value_of(i);
    if (i % YIELD == 0) yield();
  }
  /* Each start has moved to its group's end, which is the next one's start. */
  for (uint32_t group = groups + 1; group > 0; group--) first[group] = first[group - 1];
  first[0] = 0;
  return true;
}

static uint32_t suspect_group(size_t i) { return (uint32_t)i + 1; }
static uint32_t suspect_value(size_t i) { return (uint32_t)i; }
static uint32_t reference_group(size_t i) { return ((found_t *)s.references.items)[i].group; }
static uint32_t reference_value(size_t i) { return ((found_t *)s.references.items)[i].index; }
static uint32_t shape_group(size_t i) { return ((found_t *)s.shapes.items)[i].group; }
static uint32_t shape_value(size_t i) { return ((found_t *)s.shapes.items)[i].index; }
static uint32_t weak_group(size_t i) { return ((found_t *)s.weak.items)[i].group; }
static uint32_t weak_value(size_t i) { return ((found_t *)s.weak.items)[i].index; }

void zsuspects_arrange(void (*yield)(void)) {
  if (!zsuspects_has_results() || s.given_up || s.result.is_made) return;
  free_results(); /* of a forked child's parent */
  s.result.number = zos_table_map((s.entries.count + 1) * sizeof *s.result.number);
  if (s.result.number == NULL) return;
  s.result.groups = number_groups(yield);
  s.result.next = 1;
  s.result.is_made =
      sort_by_group(0, s.entries.count, suspect_group, suspect_value, &s.result.suspects, yield) &&
      sort_by_group(1, s.references.count, reference_group, reference_value, &s.result.references, yield) &&
      sort_by_group(2, s.shapes.count, shape_group, shape_value, &s.result.shapes, yield) &&
      sort_by_group(3, s.weak.count, weak_group, weak_value, &s.result.weak, yield);
  free_words(&s.result.number, s.entries.count + 1);
}

zhandle_entry_t *zsuspects_entry(uint32_t suspect) { return entry_of(suspect); }

/* A weak handle that was used became an ordinary one, if only for a time. */
static bool is_weak_still(uint32_t id) {
  bool was_used = (s.weak_since[id / 64] >> id % 64 & 1) != 0;
  return !was_used && zhandle_is_weak(&zhandle_table.entries[id]);
}

/* One whose handle has been used since is alive, all of it. */
static bool is_untouched(const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->weak_count; i++) {
    if (!is_weak_still(group->weak[i])) return false;
  }
  for (size_t i = 0; i < group->suspect_count; i++) {
    if (!is_suspect(entry_of(group->suspects[i]))) return false;
  }
  return group->suspect_count > 0;
}

bool zsuspects_next(zsuspects_group_t *group) {
  while (s.result.is_made && s.result.next <= s.result.groups) {
    uint32_t i = s.result.next++, *const *first = s.result.first;
    *group = (zsuspects_group_t){
        s.result.suspects + first[0][i],   first[0][i + 1] - first[0][i],
        s.result.references + first[1][i], first[1][i + 1] - first[1][i],
        s.result.shapes + first[2][i],     first[2][i + 1] - first[2][i],
        s.result.weak + first[3][i],       first[3][i + 1] - first[3][i],
    };
    if (is_untouched(group)) return true;
  }
  return false;
}
