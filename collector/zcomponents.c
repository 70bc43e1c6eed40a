#include "collector/zcomponents.h"

#include <string.h>

#include "collector/zwalker.h"
#include "heap/base/zos.h"

typedef struct {
  zpass_t *pass;
  uint32_t *index_of; /* by cell: 1 + candidate, 0 for none */
  uint32_t *parent;
  uint32_t current;
} union_t;

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
  uint32_t index = u->index_of[cell];
  if (index == 0) return;
  uint32_t a = root_of(u->parent, u->current), b = root_of(u->parent, index - 1);
  if (a < b) {
    u->parent[b] = a;
  } else {
    u->parent[a] = b;
  }
}

static void join_references(union_t *u, PyObject *object) {
  if (zwalker_try(object, join, u)) return;
  size_t count;
  void **references = zdeferred_references(&u->pass->deferred, object, &count);
  for (size_t i = 0; i < count; i++) join(u, references[i]);
}

static void index_candidates(union_t *u) {
  for (size_t i = 0; i < u->pass->candidate_count; i++) {
    u->index_of[zpass_cell(u->pass, u->pass->candidates[i])] = (uint32_t)i + 1;
    u->parent[i] = (uint32_t)i;
  }
}

#define AHEAD 8 /* objects whose first cache line is asked for in advance */
#define LARGE 4096 /* components from here on are fed last, each in a batch of its own */

/* Gives each component its place, small ones first; start_of is indexed by root. */
static void lay_out(zcomponents_t *c, const uint32_t *parent, const uint32_t *size_of,
                    uint32_t *start_of) {
  uint32_t next = 0, number = 0;
  for (int large = 0; large < 2; large++) {
    for (size_t i = 0; i < c->object_count; i++) {
      if (parent[i] != i || (size_of[i] >= LARGE) != large) continue;
      c->sizes[number++] = size_of[i];
      c->largest = zmax(c->largest, size_of[i]);
      start_of[i] = next;
      next += size_of[i];
    }
  }
  c->component_count = number;
}

static void arrange(zcomponents_t *c, PyObject *const *candidates, uint32_t *parent,
                    uint32_t *size_of, uint32_t *start_of) {
  for (size_t i = 0; i < c->object_count; i++) {
    parent[i] = root_of(parent, (uint32_t)i);
    size_of[parent[i]]++;
  }
  lay_out(c, parent, size_of, start_of);
  for (size_t i = 0; i < c->object_count; i++) {
    c->objects[start_of[parent[i]]++] = candidates[i];
  }
}

/* Scratch of zcomponents_make: three numbers per candidate. */
static size_t work_bytes(size_t count) { return 3 * count * sizeof(uint32_t) + 1; }
static size_t objects_bytes(size_t count) { return count * sizeof(PyObject *) + 1; }
static size_t sizes_bytes(size_t count) { return count * sizeof(uint32_t) + 1; }

bool zcomponents_make(zcomponents_t *components, zpass_t *pass) {
  memset(components, 0, sizeof *components);
  size_t count = pass->candidate_count;
  if (count >= UINT32_MAX) return false;
  components->object_count = count;
  components->objects = zos_scratch_map(objects_bytes(count));
  components->sizes = zos_scratch_map(sizes_bytes(count));
  uint32_t *work = zos_scratch_map(work_bytes(count));
  union_t u = {.pass = pass, .parent = work};
  u.index_of = zos_scratch_map(pass->cells.count * sizeof(uint32_t));
  bool made = components->objects != NULL && components->sizes != NULL && work != NULL &&
              u.index_of != NULL;
  if (made) {
    index_candidates(&u);
    for (size_t i = 0; i < count; i++) {
      if (i + AHEAD < count) __builtin_prefetch(pass->candidates[i + AHEAD]);
      u.current = (uint32_t)i;
      join_references(&u, pass->candidates[i]);
    }
    arrange(components, pass->candidates, work, work + count, work + 2 * count);
  }
  zos_table_unmap(u.index_of, pass->cells.count * sizeof(uint32_t));
  zos_table_unmap(work, work_bytes(count));
  if (!made) zcomponents_free(components);
  return made;
}

void zcomponents_free(zcomponents_t *components) {
  size_t count = components->object_count;
  zos_table_unmap(components->objects, objects_bytes(count));
  zos_table_unmap(components->sizes, sizes_bytes(count));
  memset(components, 0, sizeof *components);
}
