/* Groups of bodies in the eyes of Python's gc: the essay is in zmanaged_cycles.h. */
#include "preload/managed/zmanaged_group.h"

#include <stdlib.h>
#include <string.h>

#include "collector/managed/zsuspects.h"
#include "heap/base/zos.h"

zmanaged_group_t *zmanaged_groups;
static PyTypeObject *proxy_type;
static zmanaged_group_t **proxy_of; /* by handle id */
static size_t group_count;

size_t zmanaged_group_count(void) { return group_count; }

/* ---- the proxy ----------------------------------------------------------------------------------- */

static int proxy_traverse(PyObject *self, zpy_visit_t visit, void *argument) {
  zmanaged_group_t *proxy = (zmanaged_group_t *)self;
  for (size_t i = 0; i < proxy->reference_count; i++) {
    PyObject *object = (PyObject *)zpyref_table.entries[proxy->references[i]].object;
    int result = object == NULL ? 0 : visit(object, argument);
    if (result != 0) return result;
  }
  for (size_t i = 0; i < proxy->class_count; i++) {
    int result = proxy->classes[i]->is_held ? visit((PyObject *)proxy->classes[i]->type, argument) : 0;
    if (result != 0) return result;
  }
  for (size_t i = 0; i < proxy->weak_count; i++) {
    int result = visit(&proxy->weak[i]->base, argument);
    if (result != 0) return result;
  }
  return visit((PyObject *)self->type, argument);
}

/* By index: references that groups visit. Their entries must stay what they are, although a body may be found dead
 * when a handle of its group has ended. */
static uint64_t *kept;

bool zmanaged_group_keeps(uint32_t reference) {
  return kept != NULL && (kept[reference / 64] >> reference % 64 & 1) != 0;
}

static void keep_references(const zmanaged_group_t *proxy) {
  for (size_t i = 0; i < proxy->reference_count; i++) {
    kept[proxy->references[i] / 64] |= (uint64_t)1 << proxy->references[i] % 64;
  }
}

static void give_back(uint32_t reference) { kept[reference / 64] &= ~((uint64_t)1 << reference % 64); }

/* The number of those that it had. */
static size_t give_references_back(zmanaged_group_t *proxy) {
  size_t count = proxy->reference_count;
  proxy->reference_count = 0;
  for (size_t i = 0; i < count; i++) give_back(proxy->references[i]);
  return count;
}

/* The handle's reference to the proxy stays, for the caller to drop. */
static void leave_group(zhandle_t *handle) {
  proxy_of[zhandle_id(handle->entry)] = NULL;
  zmanaged_handle_untrack(&handle->base);
}

/* They are what they were before. */
static void let_weak_go(zmanaged_group_t *proxy) {
  size_t count = proxy->weak_count;
  proxy->weak_count = 0;
  for (size_t i = 0; i < count; i++) {
    leave_group(proxy->weak[i]);
    zpy.Py_DecRef(&proxy->base);
  }
}

/* Python's gc has found the group to be garbage: what its bodies hold is let go. Slots read as None
 * from now on, should a finalizer still look. An entry is kept until it is empty, so it cannot be given to another
 * slot by what runs meanwhile. */
static int proxy_clear(PyObject *self) {
  zmanaged_group_t *proxy = (zmanaged_group_t *)self;
  size_t references = proxy->reference_count, classes = proxy->class_count;
  proxy->reference_count = proxy->class_count = 0;
  zpy.Py_IncRef(self); /* finalizers may end what holds it */
  let_weak_go(proxy);  /* their weak references have ended; the collector of bodies finds theirs dead */
  for (size_t i = 0; i < references; i++) {
    PyObject *object = zpyref_empty(&zpyref_table.entries[proxy->references[i]]);
    give_back(proxy->references[i]);
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
  zmanaged_group_t *proxy = (zmanaged_group_t *)self;
  zma.PyObject_GC_UnTrack(self);
  give_references_back(proxy);
  free(proxy->handles);
  PyObject *type = (PyObject *)self->type;
  zma.PyObject_GC_Del(self);
  zpy.Py_DecRef(type);
}

static PyType_Slot proxy_slots[] = {{Py_tp_traverse, proxy_traverse},
                                    {Py_tp_clear, proxy_clear},
                                    {Py_tp_dealloc, proxy_dealloc},
                                    {0, NULL}};
static PyType_Spec proxy_spec = {"zgc._Group", sizeof(zmanaged_group_t), 0,
                                 Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, proxy_slots};

bool zmanaged_group_start(void) {
  proxy_type = (PyTypeObject *)zma.PyType_FromSpecWithBases(&proxy_spec, NULL);
  return proxy_type != NULL;
}

/* ---- life of a group ----------------------------------------------------------------------------- */

static zmanaged_group_t *group_of(const zhandle_t *handle) {
  return proxy_of == NULL || handle->entry == NULL ? NULL : proxy_of[zhandle_id(handle->entry)];
}

static void unlink_group(zmanaged_group_t *proxy) {
  zmanaged_stat_values.cycle_groups_left = --group_count;
  if (proxy->next != NULL) proxy->next->previous = proxy->previous;
  *(proxy->previous != NULL ? &proxy->previous->next : &zmanaged_groups) = proxy->next;
}

static void leave_strong(zhandle_t *handle) {
  (void)zfetch_and_relaxed(&handle->entry->word, ~ZCOLOR_SUSPECT);
  leave_group(handle);
}

/* The bodies take their references back. Runs no Python code: the proxy owns nothing by itself. */
void zmanaged_group_dissolve(zmanaged_group_t *proxy) {
  size_t count = proxy->handle_count;
  proxy->handle_count = proxy->class_count = 0;
  give_references_back(proxy);
  unlink_group(proxy);
  zpy.Py_IncRef(&proxy->base);
  let_weak_go(proxy);
  for (size_t i = 0; i < count; i++) {
    leave_strong(proxy->handles[i]);
    zpy.Py_DecRef(&proxy->base);
  }
  zpy.Py_DecRef(&proxy->base);
}

static void remove_handle(zmanaged_group_t *proxy, const zhandle_t *handle) {
  size_t i = 0;
  while (proxy->handles[i] != handle) i++;
  proxy->handles[i] = proxy->handles[--proxy->handle_count];
}

/* A handle ends unused, so what was true of the group is so of the handles that are left. The last one takes with
 * it the only way to the group's bodies, but for weak references: they are dead, and what they hold is let go now, in
 * the manner of other dead bodies. A chain from body to Python object to body thus goes in one collection, and without
 * recursion. */
void zmanaged_group_forget(PyObject *object) {
  zhandle_t *handle = (zhandle_t *)object;
  zmanaged_group_t *proxy = group_of(handle);
  if (proxy == NULL) return;
  if (proxy->handle_count == 1 && proxy->weak_count > 0) {
    zmanaged_group_dissolve(proxy);
    return;
  }
  remove_handle(proxy, handle);
  leave_strong(handle);
  if (proxy->handle_count == 0) {
    unlink_group(proxy);
    zmanaged_release(proxy->references, give_references_back(proxy));
  }
  zpy.Py_DecRef(&proxy->base);
}

void zmanaged_group_touch(zhandle_entry_t *entry) {
  zmanaged_group_t *proxy = proxy_of == NULL ? NULL : proxy_of[zhandle_id(entry)];
  if (proxy != NULL) zmanaged_group_dissolve(proxy);
}

int zmanaged_group_traverse(PyObject *handle, zpy_visit_t visit, void *argument) {
  zmanaged_group_t *proxy = group_of((zhandle_t *)handle);
  return proxy == NULL ? 0 : visit(&proxy->base, argument);
}

/* ---- forming groups -------------------------------------------------------------------------------- */

/* Made before a group is looked at: on 3.11 a new object may start a young collection, and so run Python code. */
static zmanaged_group_t *spare;

static void make_spare(void) {
  if (spare != NULL) return;
  zmanaged_group_t *proxy = (zmanaged_group_t *)zma._PyObject_GC_New(proxy_type);
  if (proxy == NULL) return zpy.PyErr_Clear();
  memset((char *)proxy + sizeof proxy->base, 0, sizeof *proxy - sizeof proxy->base);
  if (spare == NULL) {
    spare = proxy;
  } else {
    zpy.Py_DecRef(&proxy->base); /* what ran meanwhile made one, too */
  }
}

/* Room for what the group may have. False when memory is short. */
static bool make_block(zmanaged_group_t *proxy, const zsuspects_group_t *group) {
  size_t bytes = (group->suspect_count + group->shape_count + group->weak_count) * sizeof(void *);
  proxy->handles = malloc(bytes + group->reference_count * sizeof(uint32_t));
  if (proxy->handles == NULL) return false;
  proxy->classes = (zclass_t **)(proxy->handles + group->suspect_count);
  proxy->weak = (zhandle_t **)(proxy->classes + group->shape_count);
  proxy->references = (uint32_t *)(proxy->weak + group->weak_count);
  return true;
}

/* Classes whose reference the group owns. Bodies of a class made since the mark's start are in no group. */
static void add_classes(zmanaged_group_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->shape_count; i++) {
    zclass_t *class = zshape_table[group->shapes[i]]->owner;
    if (!class->is_held || class->alloc_seq >= zmanaged_last_full_seq()) continue;
    proxy->classes[proxy->class_count++] = class;
  }
}

static void enter_group(zmanaged_group_t *proxy, const zhandle_entry_t *entry, PyObject *handle) {
  proxy_of[zhandle_id(entry)] = proxy;
  zpy.Py_IncRef(&proxy->base);
  zma.PyObject_GC_Track(handle);
}

static void add_weak(zmanaged_group_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->weak_count; i++) {
    const zhandle_entry_t *entry = &zhandle_table.entries[group->weak[i]];
    if (proxy_of[group->weak[i]] != NULL) continue; /* walked twice */
    proxy->weak[proxy->weak_count++] = zhandle_object(entry);
    enter_group(proxy, entry, zhandle_object(entry));
  }
}

static void add_handles(zmanaged_group_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->suspect_count; i++) {
    zhandle_entry_t *entry = zsuspects_entry(group->suspects[i]);
    zhandle_t *handle = zhandle_object(entry);
    if (zpyabi_is_tracked(&handle->base)) continue; /* its entry was chosen twice, for two handles */
    proxy->handles[proxy->handle_count++] = handle;
    /* Out of the suspects' flags, so that zsuspects_clear leaves the S bit for us. */
    zstore_relaxed(&entry->object, entry->object & ~(uintptr_t)ZHANDLE_SUSPECT);
    enter_group(proxy, entry, &handle->base);
  }
}

static void link_group(zmanaged_group_t *proxy) {
  proxy->next = zmanaged_groups;
  if (zmanaged_groups != NULL) zmanaged_groups->previous = proxy;
  zmanaged_groups = proxy;
  zmanaged_stat_values.cycle_groups_left = ++group_count;
  zmanaged_stat_values.cycle_groups++;
  proxy->is_new = true;
}

bool zmanaged_group_prepare(void) {
  if (proxy_of == NULL) proxy_of = zos_table_map((size_t)zhandle_table.limit * sizeof *proxy_of);
  if (kept == NULL) kept = zos_table_map(zpyref_table.limit / 64 * sizeof *kept);
  return proxy_of != NULL && kept != NULL;
}

/* After the spare is made this runs no Python code: the group is untouched from the look at it to the end. */
bool zmanaged_group_form(const zmanaged_group_t **formed) {
  zsuspects_group_t group;
  *formed = NULL;
  make_spare();
  if (!zmanaged_has_groups() || !zsuspects_next(&group)) return false;
  zmanaged_group_t *proxy = spare;
  if (proxy == NULL || !make_block(proxy, &group)) return true;
  spare = NULL;
  memcpy(proxy->references, group.references, group.reference_count * sizeof *group.references);
  proxy->reference_count = group.reference_count;
  keep_references(proxy);
  add_classes(proxy, &group);
  add_handles(proxy, &group);
  add_weak(proxy, &group);
  zma.PyObject_GC_Track(proxy);
  link_group(proxy);
  *formed = proxy;
  zpy.Py_DecRef(&proxy->base); /* now only the handles hold it */
  return true;
}
