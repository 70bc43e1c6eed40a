#include "preload/managed/zmanaged_trial.h"

#include <string.h>

#include "heap/base/zos.h"
#include "preload/managed/zmanaged_sole.h"

#define NODES_FIRST 4096

/* ---- the graph ----------------------------------------------------------------------------------- */

typedef struct {
  PyObject *object;
  uint32_t found; /* references */
  bool is_border, is_held, is_met;
} node_t;

typedef struct {
  PyObject **items;
  size_t count, room;
} list_t;

static struct {
  node_t *nodes; /* open addressing */
  size_t room, count;
  list_t stack;  /* met, and to be walked: depth first, so that what forms a cycle comes one after the other */
  list_t walked; /* in order */
  uint64_t *skipped; /* by index: references that a sole handle visits, or that were seen */
  size_t skipped_words;
  bool failed;
} walk;

static node_t *place_in(node_t *nodes, size_t room, PyObject *object) {
  size_t i = (size_t)(((uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u >> 24) & (room - 1);
  while (nodes[i].object != object && nodes[i].object != NULL) i = (i + 1) & (room - 1);
  return &nodes[i];
}

static node_t *node_of(PyObject *object) { return place_in(walk.nodes, walk.room, object); }

static bool grow_nodes(void) {
  size_t room = walk.room == 0 ? NODES_FIRST : walk.room * 2;
  node_t *nodes = zos_table_map(room * sizeof *nodes);
  if (nodes == NULL) return false;
  for (size_t i = 0; i < walk.room; i++) {
    if (walk.nodes[i].object != NULL) *place_in(nodes, room, walk.nodes[i].object) = walk.nodes[i];
  }
  if (walk.nodes != NULL) zos_table_unmap(walk.nodes, walk.room * sizeof *walk.nodes);
  walk.nodes = nodes;
  walk.room = room;
  return true;
}

static bool grow(list_t *list) {
  size_t room = list->room == 0 ? NODES_FIRST : list->room * 2;
  PyObject **items = zos_table_resize(list->items, list->room * sizeof *items, room * sizeof *items);
  if (items == NULL) return false;
  list->items = items;
  list->room = room;
  return true;
}

static void append(list_t *list, PyObject *object) {
  if (list->count == list->room && !grow(list)) {
    walk.failed = true;
  } else {
    list->items[list->count++] = object;
  }
}

static void free_list(list_t *list) {
  if (list->items != NULL) zos_table_unmap(list->items, list->room * sizeof *list->items);
}

static node_t *add_node(PyObject *object) {
  if (walk.count * 2 >= walk.room && !grow_nodes()) {
    walk.failed = true;
    return NULL;
  }
  node_t *node = node_of(object);
  if (node->object == NULL) {
    node->object = object;
    walk.count++;
  }
  return node;
}

static bool is_walkable(PyObject *object) {
  PyTypeObject *type = object->type;
  if (!(zpy.PyType_GetFlags(type) & ZPYABI_FLAG_HAVE_GC)) return false;
  if ((PyObject *)type != zpy.PyType_Type || zpy.PyType_GetFlags((PyTypeObject *)object) & ZPYABI_FLAG_HEAPTYPE) {
    /* Static types are headerless and hold nothing of a program's. */
    return *zmanaged_type_word(type, ZMANAGED_TYPE_TRAVERSE) != NULL;
  }
  return false;
}

/* A weak handle that Python objects hold again has a count of ours, which would look like one from outside; in a
 * group the group visits it. */
static void see_weak(PyObject *handle) {
  zhandle_entry_t *entry = ((zhandle_t *)handle)->entry;
  bool is_in_group = zpyabi_is_tracked(handle);
  if (entry != NULL && zhandle_is_weak(entry) && !is_in_group) zmanaged_handle_use_again(entry);
}

static int see(PyObject *object, void *unused) {
  (void)unused;
  bool is_handle = zmanaged_is_handle(object);
  if (is_handle) see_weak(object);
  if (walk.failed || (!is_handle && !is_walkable(object))) return 0;
  node_t *node = add_node(object);
  if (node == NULL || node->is_border) return 0;
  node->found++;
  if (node->is_met) return 0;
  node->is_met = true;
  append(&walk.stack, object);
  return is_handle ? see((PyObject *)object->type, NULL) : 0; /* an instance of a class holds it */
}

static void traverse(PyObject *object, zpy_visit_t visit, void *context) {
  if (zmanaged_is_handle(object)) {
    zmanaged_sole_traverse(object, visit, context);
  } else if (is_walkable(object)) {
    ((zpy_traverse_t)*zmanaged_type_word(object->type, ZMANAGED_TYPE_TRAVERSE))(object, visit, context);
  }
}

static void set_border(PyObject *object) {
  node_t *node = object == NULL ? NULL : add_node(object);
  if (node != NULL) node->is_border = true;
}

static void set_borders(void) {
  PyObject *modules = zma.PyImport_GetModuleDict(), *name, *module;
  Py_ssize_t position = 0;
  set_border(modules);
  while (zma.PyDict_Next(modules, &position, &name, &module)) {
    if (!zma.PyType_IsSubtype(module->type, (PyTypeObject *)zma.PyModule_Type)) continue;
    set_border(module);
    set_border(zma.PyModule_GetDict(module));
  }
}

static void see_reference(uint32_t i) {
  const zpyref_t *entry = &zpyref_table.entries[i];
  uint64_t bit = (uint64_t)1 << i % 64;
  if (walk.skipped[i / 64] & bit) return;
  walk.skipped[i / 64] |= bit;
  if (!zpyref_is_free(entry) && entry->object != 0 && entry->old != 2) see((PyObject *)entry->object, NULL);
}

/* What bodies hold, one reference each. A class is held while it may have bodies. */
static void see_all(void) {
  zmanaged_sole_mark_references(walk.skipped, walk.skipped_words * 64, 1, zhandle_table.top);
  for (uint32_t i = 1; i < zpyref_table.top; i++) see_reference(i);
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->is_held && class->alloc_seq != UINT32_MAX) see((PyObject *)class->type, NULL);
  }
}

static int hold(PyObject *object, void *unused) {
  (void)unused;
  node_t *node = node_of(object);
  if (node->object == NULL || node->is_border || node->is_held) return 0;
  node->is_held = true;
  append(&walk.stack, object);
  return zmanaged_is_handle(object) ? hold((PyObject *)object->type, NULL) : 0;
}

static void hold_from_outside(void) {
  for (size_t i = 0; i < walk.walked.count; i++) {
    PyObject *object = walk.walked.items[i];
    if (zpyabi_refcount(object) > (int64_t)node_of(object)->found) hold(object, NULL);
  }
  while (walk.stack.count > 0 && !walk.failed) traverse(walk.stack.items[--walk.stack.count], hold, NULL);
}

/* ---- trials --------------------------------------------------------------------------------------- */

void zmanaged_trial_forget(void) {
  if (walk.nodes != NULL) zos_table_unmap(walk.nodes, walk.room * sizeof *walk.nodes);
  if (walk.skipped != NULL) zos_table_unmap(walk.skipped, walk.skipped_words * sizeof *walk.skipped);
  free_list(&walk.stack);
  free_list(&walk.walked);
  memset(&walk, 0, sizeof walk);
}

static bool begin(void) {
  zmanaged_trial_forget();
  walk.skipped_words = zpyref_table.top / 64 + 1;
  walk.skipped = zos_table_map(walk.skipped_words * sizeof *walk.skipped);
  walk.failed = walk.skipped == NULL || !grow_nodes();
  if (!walk.failed) set_borders();
  return !walk.failed;
}

/* What is beyond `most` is met, but leads to nothing. */
static bool finish(size_t most) {
  while (walk.stack.count > 0 && !walk.failed) {
    PyObject *object = walk.stack.items[--walk.stack.count];
    append(&walk.walked, object);
    if (walk.walked.count <= most) traverse(object, see, NULL);
  }
  if (!walk.failed) hold_from_outside();
  return !walk.failed;
}

bool zmanaged_trial_of_all(void) {
  if (!begin()) return false;
  see_all();
  return finish(SIZE_MAX);
}

/* It leads to what it holds like any object of Python's. */
static void meet_sole(PyObject *handle) {
  node_t *node = add_node(handle);
  if (node == NULL || node->is_met) return;
  node->is_met = true;
  append(&walk.stack, handle);
  see((PyObject *)handle->type, NULL);
}

bool zmanaged_trial_of_sole(void) {
  if (!begin()) return false;
  for (uint32_t i = 1; i < zhandle_table.top && !walk.failed; i++) {
    const zhandle_entry_t *entry = &zhandle_table.entries[i];
    if ((entry->object & (ZHANDLE_HOLDS | ZHANDLE_FREE)) == ZHANDLE_HOLDS) meet_sole(zhandle_object(entry));
  }
  return finish(SIZE_MAX);
}

bool zmanaged_trial_of(const uint32_t *references, size_t count, size_t most) {
  if (!begin()) return false;
  for (size_t i = 0; i < count; i++) see_reference(references[i]);
  return finish(most);
}

size_t zmanaged_trial_count(void) { return walk.count; }

static node_t *suspect_node(PyObject *object) {
  node_t *node = walk.room == 0 ? NULL : node_of(object);
  return node != NULL && node->object != NULL && !node->is_border && !node->is_held ? node : NULL;
}

bool zmanaged_trial_has(PyObject *object) { return suspect_node(object) != NULL; }

void zmanaged_trial_each(bool (*look)(PyObject *, void *), void *context) {
  for (size_t i = 0; i < walk.walked.count && !walk.failed; i++) {
    PyObject *object = walk.walked.items[i];
    if (zmanaged_trial_has(object) && !look(object, context)) return;
  }
}
