#include "preload/zmanaged_cycles.h"

#include <string.h>

#include "collector/zsuspects.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define WALK_DEPTH 8
#define WALK_EXPLICIT 200000 /* objects looked at for zgc.collect("full") */
#define WALK_AUTOMATIC 2000  /* ... on the way to a collection that the program did not ask for */
#define TABLE_LENGTH (1u << 19)

/* Stands for the bodies of a group in the eyes of Python's gc. */
typedef struct proxy {
  PyObject base;
  struct proxy *next, *previous; /* groups that exist */
  uint32_t *references; /* indexes into the table of Python references */
  size_t reference_count, reference_room;
  zclass_t *classes[8];
  size_t class_count;
  zhandle_t **handles;
  size_t handle_count, handle_room;
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
 * from now on, should a finalizer still look. */
static int proxy_clear(PyObject *self) {
  proxy_t *proxy = (proxy_t *)self;
  size_t count = proxy->reference_count, classes = proxy->class_count;
  uint32_t *references = proxy->references;
  proxy->reference_count = proxy->reference_room = proxy->class_count = 0;
  proxy->references = NULL;
  PyObject **objects = count == 0 ? NULL : zos_table_map(count * sizeof *objects);
  for (size_t i = 0; i < count && objects != NULL; i++) {
    zpyref_t *entry = &zpyref_table.entries[references[i]];
    objects[i] = (PyObject *)entry->object;
    zstore_release(&entry->object, 0);
  }
  PyObject *types[8];
  for (size_t i = 0; i < classes; i++) {
    types[i] = proxy->classes[i]->is_held ? (PyObject *)proxy->classes[i]->type : NULL;
    proxy->classes[i]->is_held = false;
  }
  for (size_t i = 0; i < count && objects != NULL; i++) {
    if (objects[i] != NULL) zpy.Py_DecRef(objects[i]);
  }
  for (size_t i = 0; i < classes; i++) {
    if (types[i] != NULL) zpy.Py_DecRef(types[i]);
  }
  if (objects != NULL) zos_table_unmap(objects, count * sizeof *objects);
  if (references != NULL) zos_table_unmap(references, count * sizeof *references);
  return 0;
}

static void proxy_dealloc(PyObject *self) {
  proxy_t *proxy = (proxy_t *)self;
  zma.PyObject_GC_UnTrack(self);
  if (proxy->references != NULL) {
    zos_table_unmap(proxy->references, proxy->reference_room * sizeof *proxy->references);
  }
  zos_table_unmap(proxy->handles, proxy->handle_room * sizeof *proxy->handles);
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

/* The bodies take their references back. Runs no Python code: the proxy owns nothing by itself. */
static void dissolve(proxy_t *proxy) {
  size_t count = proxy->handle_count;
  proxy->handle_count = 0;
  group_count--;
  if (proxy->next != NULL) proxy->next->previous = proxy->previous;
  *(proxy->previous != NULL ? &proxy->previous->next : &groups) = proxy->next;
  zpy.Py_IncRef(&proxy->base);
  for (size_t i = 0; i < count; i++) {
    zhandle_t *handle = proxy->handles[i];
    proxy_of[zhandle_id(handle->entry)] = NULL;
    (void)zfetch_and_relaxed(&handle->entry->word, ~ZCOLOR_SUSPECT);
    zma.PyObject_GC_UnTrack(handle);
    zpy.Py_DecRef(&proxy->base);
  }
  zpy.Py_DecRef(&proxy->base);
}

void zmanaged_cycles_forget(PyObject *handle) {
  proxy_t *proxy = group_of((zhandle_t *)handle);
  if (proxy != NULL) dissolve(proxy);
}

void zmanaged_cycles_touch(zhandle_entry_t *entry) {
  proxy_t *proxy = proxy_of == NULL ? NULL : proxy_of[zhandle_id(entry)];
  if (proxy != NULL) dissolve(proxy);
}

int zmanaged_cycles_traverse(PyObject *handle, zpy_visit_t visit, void *argument) {
  proxy_t *proxy = group_of((zhandle_t *)handle);
  return proxy == NULL ? 0 : visit(&proxy->base, argument);
}

static proxy_t *new_proxy(size_t references, size_t handles) {
  proxy_t *proxy = (proxy_t *)zma._PyObject_GC_New(proxy_type);
  if (proxy == NULL) return NULL;
  memset((char *)proxy + sizeof proxy->base, 0, sizeof *proxy - sizeof proxy->base);
  proxy->handle_room = handles;
  proxy->handles = zos_table_map(handles * sizeof *proxy->handles);
  proxy->reference_room = references;
  if (references > 0) proxy->references = zos_table_map(references * sizeof *proxy->references);
  return proxy;
}

/* One group out of what the walk found; the entries are still untouched, so all of it holds. */
static bool form(uint32_t group) {
  size_t handles = 0, references = 0;
  zhandle_entry_t *entry;
  uint32_t index, of;
  size_t suspects = zsuspects_count();
  for (size_t i = 0; i < suspects; i++) handles += zsuspects_group(i, &entry) == group;
  for (size_t i = 0; zsuspects_reference(i, &index, &of); i++) references += of == group;
  proxy_t *proxy = new_proxy(references, handles);
  if (proxy == NULL || proxy->handles == NULL || (references > 0 && proxy->references == NULL)) {
    if (proxy != NULL) zpy.Py_DecRef(&proxy->base);
    zpy.PyErr_Clear();
    return false;
  }
  for (size_t i = 0; zsuspects_reference(i, &index, &of); i++) {
    if (of == group) proxy->references[proxy->reference_count++] = index;
  }
  zshape_t *shape;
  for (size_t i = 0; zsuspects_shape(i, &shape, &of); i++) {
    zclass_t *class = shape->owner;
    /* Bodies of the class made since the mark's start are in no group. */
    if (of != group || !class->is_held || class->alloc_seq >= zmanaged_last_full_seq()) continue;
    if (proxy->class_count < ZARRAY_LENGTH(proxy->classes)) proxy->classes[proxy->class_count++] = class;
  }
  for (size_t i = 0; i < suspects; i++) {
    if (zsuspects_group(i, &entry) != group) continue;
    zhandle_t *handle = zhandle_object(entry);
    proxy->handles[proxy->handle_count++] = handle;
    zpy.Py_IncRef(&proxy->base);
  }
  for (size_t i = 0; i < proxy->handle_count; i++) {
    zhandle_entry_t *own = proxy->handles[i]->entry;
    proxy_of[zhandle_id(own)] = proxy;
    /* Out of the suspects' flags, so that zsuspects_clear leaves the S bit for us. */
    zstore_relaxed(&own->object, own->object & ~(uintptr_t)ZHANDLE_SUSPECT);
    zma.PyObject_GC_Track(proxy->handles[i]);
  }
  zma.PyObject_GC_Track(proxy);
  zpy.Py_DecRef(&proxy->base); /* now only the handles hold it */
  proxy->next = groups;
  if (groups != NULL) groups->previous = proxy;
  groups = proxy;
  group_count++;
  zmanaged_stat_values.cycle_groups++;
  zlog_debug("gc,managed", "group of %zu handles, %zu references, %zu classes given to Python's gc", handles,
             references, proxy->class_count);
  return true;
}

void zmanaged_cycles_take(void) {
  if (!zsuspects_has_results()) return;
  if (proxy_of == NULL) proxy_of = zos_table_map((size_t)zhandle_table.limit * sizeof *proxy_of);
  zhandle_entry_t *entry;
  size_t count = zsuspects_count();
  for (size_t i = 0; i < count && proxy_of != NULL; i++) {
    /* form may let others run (a young collection): the group is asked for again inside. */
    uint32_t group = zsuspects_group(i, &entry);
    if (group != 0 && !form(group)) break;
  }
  zsuspects_clear();
}

/* ---- choosing suspects --------------------------------------------------------------------------- */

typedef struct {
  PyObject *object;
  uint32_t seen;  /* references found */
  uint32_t depth; /* 0: a handle */
} node_t;

static struct {
  node_t *table;
  PyObject **queue;
  size_t queued, limit;
  uint32_t depth;
  size_t cursor; /* in the table of Python references */
} walk;

static node_t *node_of(PyObject *object) {
  for (size_t i = ((uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u >> 40;; i++) {
    node_t *node = &walk.table[i % TABLE_LENGTH];
    if (node->object == object || node->object == NULL) return node;
  }
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
  if (zmanaged_is_handle(object)) {
    node_t *node = node_of(object);
    if (node->object == NULL) {
      if (walk.queued == walk.limit) return 0;
      *node = (node_t){object, 1, 0};
      walk.queue[walk.queued++] = object; /* counted against the limit; not walked */
      return see((PyObject *)object->type, NULL);
    }
    node->seen++;
    return 0;
  }
  node_t *node = node_of(object);
  if (node->object != NULL) {
    node->seen++;
    return 0;
  }
  if (walk.depth == WALK_DEPTH || walk.queued == walk.limit || !is_walkable(object)) return 0;
  *node = (node_t){object, 1, walk.depth + 1};
  walk.queue[walk.queued++] = object;
  return 0;
}

/* Module namespaces hold everything, and are held for good: walking into them would explain every
 * reference there is. */
static void block_modules(void) {
  PyObject *modules = zma.PyImport_GetModuleDict(), *name, *module;
  Py_ssize_t position = 0;
  while (zma.PyDict_Next(modules, &position, &name, &module)) {
    if (!zma.PyType_IsSubtype(module->type, (PyTypeObject *)zma.PyModule_Type)) continue;
    PyObject *blocked[2] = {module, zma.PyModule_GetDict(module)};
    for (int i = 0; i < 2 && blocked[i] != NULL; i++) *node_of(blocked[i]) = (node_t){blocked[i], 0, 1};
  }
}

static void choose(size_t limit) {
  /* What Python's gc has not taken so far is judged anew: other bodies of its classes may have died. */
  while (groups != NULL) dissolve(groups);
  walk.limit = limit;
  walk.queued = 0;
  walk.depth = 0;
  walk.table = zos_table_map(TABLE_LENGTH * sizeof *walk.table);
  walk.queue = zos_table_map(WALK_EXPLICIT * sizeof *walk.queue);
  if (walk.table != NULL && walk.queue != NULL) {
    block_modules();
    size_t top = zpyref_table.top, looked = 0;
    for (; looked + 1 < top && looked < limit * 4 && walk.queued < limit / 2; looked++, walk.cursor++) {
      if (walk.cursor == 0 || walk.cursor >= top) walk.cursor = 1;
      zpyref_t *entry = &zpyref_table.entries[walk.cursor];
      if (!zpyref_is_free(entry) && entry->object != 0 && entry->old != 2) see((PyObject *)entry->object, NULL);
    }
    for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
      if (class->is_held && class->alloc_seq != UINT32_MAX) see((PyObject *)class->type, NULL);
    }
    for (size_t i = 0; i < walk.queued; i++) {
      PyObject *object = walk.queue[i];
      node_t *node = node_of(object);
      if (node->depth == 0) continue;
      walk.depth = node->depth;
      zpy_traverse_t traverse = (zpy_traverse_t)*zmanaged_type_word(object->type, ZMANAGED_TYPE_TRAVERSE);
      traverse(object, see, NULL);
    }
    for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
      if (class->type == NULL) continue;
      node_t *node = node_of((PyObject *)class->type);
      class->shape.shared_fate =
          node->object != NULL && node->seen == (uint32_t)((PyObject *)class->type)->refcount;
    }
    for (size_t i = 0; i < walk.queued; i++) {
      node_t *node = node_of(walk.queue[i]);
      if (node->depth != 0 || node->seen != (uint32_t)node->object->refcount) continue;
      zhandle_t *handle = (zhandle_t *)node->object;
      if (handle->entry == NULL || zpyabi_is_tracked(&handle->base)) continue;
      if (zhandle_is_weak(handle->entry) || (handle->entry->object & ZHANDLE_SUSPECT)) continue;
      if (!zsuspects_add(handle->entry)) break;
    }
  }
  zos_table_unmap(walk.table, TABLE_LENGTH * sizeof *walk.table);
  zos_table_unmap(walk.queue, WALK_EXPLICIT * sizeof *walk.queue);
}

static bool may_choose(void) {
  if (zmanaged_phase() != ZMANAGED_IDLE) return false;
  zmanaged_cycles_take();
  return zsuspects_count() == 0 && (zpyref_table.live > 0 || zmanaged_class_all != NULL);
}

void zmanaged_cycles_choose(void) {
  if (may_choose()) choose(WALK_EXPLICIT);
}

void zmanaged_cycles_choose_some(void) {
  /* Not from within an allocation: Python objects must not be made there. Groups found before wait. */
  if (zmanaged_phase() == ZMANAGED_IDLE && zsuspects_count() == 0 && zpyref_table.live > 0) {
    choose(WALK_AUTOMATIC);
  }
}
