#include "preload/zmanaged_cycles.h"

#include <stdlib.h>
#include <string.h>

#include "collector/zsafepoint.h"
#include "collector/zsuspects.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "preload/zmanaged_sole.h"

#define NODES_FIRST 4096
#define NODES_CHEAP 10000  /* so many objects are looked at whenever a full collection comes */
#define GROWN_TIMES 2      /* more of them once the references have grown by this factor */
#define VAIN_MOST 5        /* a handle in vain is left out for up to 2^VAIN_MOST choices */

/* Stands for the bodies of a group in the eyes of Python's gc. */
typedef struct proxy {
  PyObject base;
  struct proxy *next, *previous; /* groups that exist */
  /* In one block of malloc's memory, which begins with the handles. */
  zhandle_t **handles;
  zclass_t **classes;
  uint32_t *references; /* indexes into the table of Python references */
  size_t handle_count, class_count, reference_count;
} proxy_t;

static proxy_t *groups;
static PyTypeObject *proxy_type;
static proxy_t **proxy_of; /* by handle id */
static size_t group_count;

size_t zmanaged_cycles_count(void) { return group_count; }

/* ---- the proxy ----------------------------------------------------------------------------------- */

static int proxy_traverse(PyObject *self, zpy_visit_t visit, void *argument) {
  proxy_t *proxy = (proxy_t *)self;
  for (size_t i = 0; i < proxy->reference_count; i++) {
    PyObject *object = (PyObject *)zpyref_table.entries[proxy->references[i]].object;
    int result = object == NULL ? 0 : visit(object, argument);
    if (result != 0) return result;
  }
  for (size_t i = 0; i < proxy->class_count; i++) {
    int result = proxy->classes[i]->is_held ? visit((PyObject *)proxy->classes[i]->type, argument) : 0;
    if (result != 0) return result;
  }
  return visit((PyObject *)self->type, argument);
}

/* Python's gc has found the group to be garbage: what its bodies hold is let go. Slots read as None
 * from now on, should a finalizer still look. An entry of the table cannot be given to another slot meanwhile:
 * that takes a collection which finds the body dead, and then zpyref_free. */
static int proxy_clear(PyObject *self) {
  proxy_t *proxy = (proxy_t *)self;
  size_t references = proxy->reference_count, classes = proxy->class_count;
  proxy->reference_count = proxy->class_count = 0;
  zpy.Py_IncRef(self); /* finalizers may end what holds it */
  for (size_t i = 0; i < references; i++) {
    zpyref_t *entry = &zpyref_table.entries[proxy->references[i]];
    PyObject *object = (PyObject *)entry->object;
    zstore_release(&entry->object, 0);
    if (object != NULL) zpy.Py_DecRef(object);
  }
  for (size_t i = 0; i < classes; i++) {
    zclass_t *class = proxy->classes[i];
    if (!class->is_held) continue;
    class->is_held = false;
    zpy.Py_DecRef((PyObject *)class->type);
  }
  zpy.Py_DecRef(self);
  return 0;
}

static void proxy_dealloc(PyObject *self) {
  proxy_t *proxy = (proxy_t *)self;
  zma.PyObject_GC_UnTrack(self);
  free(proxy->handles);
  PyObject *type = (PyObject *)self->type;
  zma.PyObject_GC_Del(self);
  zpy.Py_DecRef(type);
}

static PyType_Slot proxy_slots[] = {{Py_tp_traverse, proxy_traverse},
                                    {Py_tp_clear, proxy_clear},
                                    {Py_tp_dealloc, proxy_dealloc},
                                    {0, NULL}};
static PyType_Spec proxy_spec = {"zgc._Group", sizeof(proxy_t), 0,
                                 Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, proxy_slots};

bool zmanaged_cycles_start(void) {
  proxy_type = (PyTypeObject *)zma.PyType_FromSpecWithBases(&proxy_spec, NULL);
  return proxy_type != NULL;
}

/* ---- life of a group ----------------------------------------------------------------------------- */

static proxy_t *group_of(const zhandle_t *handle) {
  return proxy_of == NULL || handle->entry == NULL ? NULL : proxy_of[zhandle_id(handle->entry)];
}

static void unlink_group(proxy_t *proxy) {
  zmanaged_stat_values.cycle_groups_left = --group_count;
  if (proxy->next != NULL) proxy->next->previous = proxy->previous;
  *(proxy->previous != NULL ? &proxy->previous->next : &groups) = proxy->next;
}

/* The handle's reference to the proxy stays, for the caller to drop. */
static void leave_group(zhandle_t *handle) {
  proxy_of[zhandle_id(handle->entry)] = NULL;
  (void)zfetch_and_relaxed(&handle->entry->word, ~ZCOLOR_SUSPECT);
  zmanaged_handle_untrack(&handle->base);
}

/* The bodies take their references back. Runs no Python code: the proxy owns nothing by itself. */
static void dissolve(proxy_t *proxy) {
  size_t count = proxy->handle_count;
  proxy->handle_count = 0;
  unlink_group(proxy);
  zpy.Py_IncRef(&proxy->base);
  for (size_t i = 0; i < count; i++) {
    leave_group(proxy->handles[i]);
    zpy.Py_DecRef(&proxy->base);
  }
  zpy.Py_DecRef(&proxy->base);
}

static void remove_handle(proxy_t *proxy, const zhandle_t *handle) {
  size_t i = 0;
  while (proxy->handles[i] != handle) i++;
  proxy->handles[i] = proxy->handles[--proxy->handle_count];
}

/* A handle ends unused, so what was true of the group is so of the handles that are left. The last one takes with
 * it the only way to the group's bodies: they are dead, and what they hold is let go now, in the manner of other
 * dead bodies. A chain from body to Python object to body thus goes in one collection, and without recursion. */
void zmanaged_cycles_forget(PyObject *object) {
  zhandle_t *handle = (zhandle_t *)object;
  proxy_t *proxy = group_of(handle);
  if (proxy == NULL) return;
  remove_handle(proxy, handle);
  leave_group(handle);
  if (proxy->handle_count == 0) {
    unlink_group(proxy);
    zmanaged_release(proxy->references, proxy->reference_count);
    proxy->reference_count = 0;
  }
  zpy.Py_DecRef(&proxy->base);
}

void zmanaged_cycles_touch(zhandle_entry_t *entry) {
  proxy_t *proxy = proxy_of == NULL ? NULL : proxy_of[zhandle_id(entry)];
  if (proxy != NULL) dissolve(proxy);
}

int zmanaged_cycles_traverse(PyObject *handle, zpy_visit_t visit, void *argument) {
  proxy_t *proxy = group_of((zhandle_t *)handle);
  return proxy == NULL ? 0 : visit(&proxy->base, argument);
}

static proxy_t *new_proxy(const zsuspects_group_t *group) {
  size_t bytes = (group->suspect_count + group->shape_count) * sizeof(void *);
  void *block = malloc(bytes + group->reference_count * sizeof(uint32_t));
  proxy_t *proxy = block == NULL ? NULL : (proxy_t *)zma._PyObject_GC_New(proxy_type);
  if (proxy == NULL) {
    free(block);
    zpy.PyErr_Clear();
    return NULL;
  }
  memset((char *)proxy + sizeof proxy->base, 0, sizeof *proxy - sizeof proxy->base);
  proxy->handles = block;
  proxy->classes = (zclass_t **)(proxy->handles + group->suspect_count);
  proxy->references = (uint32_t *)(proxy->classes + group->shape_count);
  return proxy;
}

/* Classes whose reference the group owns. Bodies of a class made since the mark's start are in no group. */
static void add_classes(proxy_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->shape_count; i++) {
    zclass_t *class = zshape_table[group->shapes[i]]->owner;
    if (!class->is_held || class->alloc_seq >= zmanaged_last_full_seq()) continue;
    proxy->classes[proxy->class_count++] = class;
  }
}

static void add_handles(proxy_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->suspect_count; i++) {
    zhandle_entry_t *entry = zsuspects_entry(group->suspects[i]);
    zhandle_t *handle = zhandle_object(entry);
    proxy->handles[proxy->handle_count++] = handle;
    proxy_of[zhandle_id(entry)] = proxy;
    /* Out of the suspects' flags, so that zsuspects_clear leaves the S bit for us. */
    zstore_relaxed(&entry->object, entry->object & ~(uintptr_t)ZHANDLE_SUSPECT);
    zpy.Py_IncRef(&proxy->base);
    zma.PyObject_GC_Track(handle);
  }
}

/* Runs no Python code: the entries are untouched from the look at them to the end. (A new object may start a young
 * collection, on 3.11; so it is made before the look.) */
static bool form(void) {
  zsuspects_group_t group;
  if (!zsuspects_next(&group)) return false;
  proxy_t *proxy = new_proxy(&group);
  if (proxy == NULL) return true;
  if (zsuspects_is_untouched(&group)) {
    memcpy(proxy->references, group.references, group.reference_count * sizeof *group.references);
    proxy->reference_count = group.reference_count;
    add_classes(proxy, &group);
    add_handles(proxy, &group);
    zma.PyObject_GC_Track(proxy);
    proxy->next = groups;
    if (groups != NULL) groups->previous = proxy;
    groups = proxy;
    zmanaged_stat_values.cycle_groups_left = ++group_count;
    zmanaged_stat_values.cycle_groups++;
  }
  zpy.Py_DecRef(&proxy->base); /* now only the handles hold it */
  return true;
}

/* Groups that exist are left to Python's gc until a full collection of its has seen them: choosing would dissolve
 * them. One is asked for when young collections have made them old. */
static struct {
  bool is_due, is_asked;
  uint64_t young_at_form, collections_at_ask;
} verdict;

#define FORM_LOOK 16 /* groups between two looks at the clock */

bool zmanaged_cycles_take(uint64_t deadline) {
  if (!zsuspects_has_results()) return true;
  if (proxy_of == NULL) proxy_of = zos_table_map((size_t)zhandle_table.limit * sizeof *proxy_of);
  for (unsigned i = 1; proxy_of != NULL && form(); i++) {
    if (i % FORM_LOOK == 0 && zos_now_ns() >= deadline) return false;
  }
  zsuspects_clear();
  verdict.is_due = groups != NULL;
  verdict.is_asked = false;
  verdict.young_at_form = zstat_get(young_collections);
  return true;
}

/* ---- choosing suspects --------------------------------------------------------------------------- */

/* Trial deletion (Bacon, Rajan 2001; CPython's gc) over what bodies hold, and what can be reached from that: an
 * object more of whose references are counted than were found is held from elsewhere, and with it all that it
 * leads to. Handles that are left are held by bodies only, by way of Python objects. Modules are the border: they
 * are held from elsewhere, and walking into them would be walking everything. */
typedef struct {
  PyObject *object;
  uint32_t found; /* references */
  bool is_border, is_held;
} node_t;

static struct {
  node_t *nodes; /* open addressing */
  size_t room, count;
  PyObject **queue;
  size_t queued, queue_room;
  uint64_t *sole; /* by index: references that a sole handle visits */
  bool failed;
} walk;

static uint8_t *vain, *left_out; /* by handle id: choices in vain, choices that it is left out of */
static size_t references_looked_at, nodes_looked_at;

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

static bool grow_queue(void) {
  size_t room = walk.queue_room == 0 ? NODES_FIRST : walk.queue_room * 2;
  PyObject **queue = zos_table_map(room * sizeof *queue);
  if (queue == NULL) return false;
  if (walk.queue != NULL) {
    memcpy(queue, walk.queue, walk.queued * sizeof *queue);
    zos_table_unmap(walk.queue, walk.queue_room * sizeof *queue);
  }
  walk.queue = queue;
  walk.queue_room = room;
  return true;
}

static void enqueue(PyObject *object) {
  if (walk.queued == walk.queue_room && !grow_queue()) {
    walk.failed = true;
  } else {
    walk.queue[walk.queued++] = object;
  }
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

static int see(PyObject *object, void *unused) {
  (void)unused;
  bool is_handle = zmanaged_is_handle(object);
  if (walk.failed || (!is_handle && !is_walkable(object))) return 0;
  node_t *node = add_node(object);
  if (node == NULL || node->is_border) return 0;
  if (++node->found > 1) return 0;
  enqueue(object);
  return is_handle ? see((PyObject *)object->type, NULL) : 0; /* an instance of a class holds it */
}

static void traverse(PyObject *object, zpy_visit_t visit) {
  if (zmanaged_is_handle(object)) {
    zmanaged_sole_traverse(object, visit, NULL);
    return;
  }
  ((zpy_traverse_t)*zmanaged_type_word(object->type, ZMANAGED_TYPE_TRAVERSE))(object, visit, NULL);
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

/* What bodies hold, one reference each, but for those that a sole handle holds: it is an object of Python's. A class is held while it may have bodies. */
static void see_roots(void) {
  for (size_t i = 1; i < zpyref_table.top; i++) {
    zpyref_t *entry = &zpyref_table.entries[i];
    if (walk.sole[i / 64] >> i % 64 & 1) continue;
    if (!zpyref_is_free(entry) && entry->object != 0 && entry->old != 2) see((PyObject *)entry->object, NULL);
  }
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->is_held && class->alloc_seq != UINT32_MAX) see((PyObject *)class->type, NULL);
  }
}

static int hold(PyObject *object, void *unused) {
  (void)unused;
  node_t *node = node_of(object);
  if (node->object == NULL || node->is_border || node->is_held) return 0;
  node->is_held = true;
  enqueue(object);
  return zmanaged_is_handle(object) ? hold((PyObject *)object->type, NULL) : 0;
}

/* From here on the queue begins anew behind what has been walked. */
static void hold_from_outside(void) {
  size_t all = walk.queued;
  for (size_t i = 0; i < all; i++) {
    PyObject *object = walk.queue[i];
    if (zpyabi_refcount(object) > (int64_t)node_of(object)->found) hold(object, NULL);
  }
  for (size_t i = all; i < walk.queued && !walk.failed; i++) traverse(walk.queue[i], hold);
  walk.queued = all;
}

/* Each time that a handle's group was judged to be alive, it is left out for twice as long; but a collection that
 * the program asks for is exact. */
static bool is_left_out(const zhandle_entry_t *entry, bool is_asked_for) {
  uint32_t id = zhandle_id(entry);
  if (is_asked_for || left_out == NULL || left_out[id] == 0) return false;
  left_out[id]--;
  return true;
}

static void note_vain(const proxy_t *proxy) {
  if (vain == NULL) vain = zos_table_map(zhandle_table.limit);
  if (left_out == NULL) left_out = zos_table_map(zhandle_table.limit);
  if (vain == NULL || left_out == NULL) return;
  for (size_t i = 0; i < proxy->handle_count; i++) {
    uint32_t id = zhandle_id(proxy->handles[i]->entry);
    if (vain[id] < VAIN_MOST) vain[id]++;
    left_out[id] = (uint8_t)(1u << vain[id]) - 1;
  }
}

static void add_suspects(bool is_asked_for) {
  for (size_t i = 0; i < walk.queued; i++) {
    PyObject *object = walk.queue[i];
    if (!zmanaged_is_handle(object) || node_of(object)->is_held) continue;
    zhandle_entry_t *entry = ((zhandle_t *)object)->entry;
    if (entry == NULL || zhandle_is_weak(entry)) continue;
    zmanaged_sole_share(entry); /* other bodies are in the cycle, or Python's gc would have found it */
    if (zpyabi_is_tracked(object)) continue;
    if ((entry->object & ZHANDLE_SUSPECT) || is_left_out(entry, is_asked_for)) continue;
    if (!zsuspects_add(entry)) return;
  }
}

static void set_fates(void) {
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type == NULL) continue;
    const node_t *node = node_of((PyObject *)class->type);
    class->shape.shared_fate = node->object != NULL && !node->is_border && !node->is_held;
  }
}

/* Runs no Python code. */
static void choose(bool is_asked_for) {
  uint64_t start = zos_now_ns();
  /* What Python's gc has not taken so far is judged again: other bodies of its classes may have died. */
  while (groups != NULL) {
    note_vain(groups);
    dissolve(groups);
  }
  size_t words = zpyref_table.top / 64 + 1;
  walk.sole = zos_table_map(words * sizeof *walk.sole);
  walk.failed = walk.sole == NULL || !grow_nodes();
  if (!walk.failed) {
    zmanaged_sole_mark_references(walk.sole);
    set_borders();
    see_roots();
  }
  for (size_t i = 0; i < walk.queued && !walk.failed; i++) traverse(walk.queue[i], see);
  if (!walk.failed) hold_from_outside();
  if (!walk.failed) {
    set_fates();
    add_suspects(is_asked_for);
  }
  references_looked_at = zpyref_table.live;
  nodes_looked_at = walk.count;
  zlog_debug("gc,managed", "Pause Suspects %.3fms objects %zu suspects %zu%s", zlog_ms(zos_now_ns() - start), walk.count,
             zsuspects_count(), walk.failed ? " (memory is short)" : "");
  if (walk.nodes != NULL) zos_table_unmap(walk.nodes, walk.room * sizeof *walk.nodes);
  if (walk.sole != NULL) zos_table_unmap(walk.sole, words * sizeof *walk.sole);
  if (walk.queue != NULL) zos_table_unmap(walk.queue, walk.queue_room * sizeof *walk.queue);
  memset(&walk, 0, sizeof walk);
}

static bool may_choose(void) {
  return zmanaged_phase() == ZMANAGED_IDLE && zsuspects_count() == 0 &&
         (zpyref_table.live > 0 || zmanaged_class_all != NULL);
}

void zmanaged_cycles_choose(void) {
  if (zmanaged_phase() == ZMANAGED_IDLE) zmanaged_cycles_take(UINT64_MAX);
  if (may_choose()) choose(true);
}

#define YOUNG_UNTIL_OLD 3

bool zmanaged_cycles_await_collector(void) { return verdict.is_due && zsafepoint_is_on() && !zsafepoint_is_warm(); }

bool zmanaged_cycles_ask(void) {
  if (zmanaged_cycles_await_collector()) return true;
  if (!verdict.is_due || verdict.is_asked || !zsafepoint_is_on()) return false;
  if (zstat_get(young_collections) < verdict.young_at_form + YOUNG_UNTIL_OLD) return false;
  verdict.collections_at_ask = zstat_get(collections);
  verdict.is_asked = zsafepoint_begin(ZCAUSE_EXPLICIT);
  return false;
}

bool zmanaged_cycles_await_verdict(void) {
  if (groups == NULL || !verdict.is_due || !zsafepoint_is_on()) return false;
  zmanaged_cycles_ask();
  if (!verdict.is_asked || zstat_get(collections) == verdict.collections_at_ask) return true;
  verdict.is_due = verdict.is_asked = false;
  return false;
}

/* The walk holds the program up, as CPython's own collection of as many objects would. So a long one comes only when
 * as much has been added as there was: its cost for each reference is bounded. */
void zmanaged_cycles_choose_some(bool has_grown) {
  bool is_cheap = nodes_looked_at < NODES_CHEAP && zpyref_table.live < NODES_CHEAP;
  has_grown = has_grown || zpyref_table.live >= GROWN_TIMES * references_looked_at + NODES_CHEAP;
  if (may_choose() && zpyref_table.live > 0 && (is_cheap || has_grown) && !zmanaged_cycles_await_verdict()) choose(false);
}
