#include "preload/managed/zmanaged_cycles.h"

#include <stdlib.h>
#include <string.h>

#include "collector/cpython/zconsult.h"
#include "collector/cpython/zjudge.h"
#include "collector/cpython/zmode.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "preload/managed/zmanaged_sole.h"
#include "preload/managed/zmanaged_trial.h"

#define NODES_CHEAP 3000   /* so many objects are looked at whenever a full collection comes */
#define TRIAL_REFERENCES 512 /* from which one trial of a sweep begins */
#define TRIAL_OBJECTS 4000   /* that it walks at most: about 1 ms */
#define SUSPECTS_MOST 200000 /* that a sweep looks for: they are sorted and forgotten in pauses */
#define SWEEP_HANDLES 4096 /* looked at, at one time */
#define BATCH_REFERENCES 512
#define BATCH_OBJECTS 1500
#define VAIN_MOST 5        /* a handle in vain is left out for up to 2^VAIN_MOST choices */

/* Stands for the bodies of a group in the eyes of Python's gc. */
typedef struct proxy {
  PyObject base;
  struct proxy *next, *previous; /* groups that exist */
  /* In one block of malloc's memory, which begins with the handles. */
  zhandle_t **handles;
  zclass_t **classes;
  zhandle_t **weak;     /* handles of its bodies that only weak references keep: the group has the count of each */
  uint32_t *references; /* indexes into the table of Python references */
  size_t handle_count, class_count, weak_count, reference_count;
  bool is_new; /* not judged by itself yet */
} proxy_t;

static proxy_t *groups; /* new ones first */
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
  for (size_t i = 0; i < proxy->weak_count; i++) {
    int result = visit(&proxy->weak[i]->base, argument);
    if (result != 0) return result;
  }
  return visit((PyObject *)self->type, argument);
}

/* By index: references that groups visit. Their entries must stay what they are, although a body may be found dead
 * when a handle of its group has ended. */
static uint64_t *kept;

bool zmanaged_cycles_keep(uint32_t reference) {
  return kept != NULL && (kept[reference / 64] >> reference % 64 & 1) != 0;
}

static void keep_references(const proxy_t *proxy) {
  for (size_t i = 0; i < proxy->reference_count; i++) {
    kept[proxy->references[i] / 64] |= (uint64_t)1 << proxy->references[i] % 64;
  }
}

static void give_back(uint32_t reference) { kept[reference / 64] &= ~((uint64_t)1 << reference % 64); }

/* The number of those that it had. */
static size_t give_references_back(proxy_t *proxy) {
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
static void let_weak_go(proxy_t *proxy) {
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
  proxy_t *proxy = (proxy_t *)self;
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
  proxy_t *proxy = (proxy_t *)self;
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

static void leave_strong(zhandle_t *handle) {
  (void)zfetch_and_relaxed(&handle->entry->word, ~ZCOLOR_SUSPECT);
  leave_group(handle);
}

/* The bodies take their references back. Runs no Python code: the proxy owns nothing by itself. */
static void dissolve(proxy_t *proxy) {
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

static void remove_handle(proxy_t *proxy, const zhandle_t *handle) {
  size_t i = 0;
  while (proxy->handles[i] != handle) i++;
  proxy->handles[i] = proxy->handles[--proxy->handle_count];
}

/* A handle ends unused, so what was true of the group is so of the handles that are left. The last one takes with
 * it the only way to the group's bodies, but for weak references: they are dead, and what they hold is let go now, in
 * the manner of other dead bodies. A chain from body to Python object to body thus goes in one collection, and without
 * recursion. */
void zmanaged_cycles_forget(PyObject *object) {
  zhandle_t *handle = (zhandle_t *)object;
  proxy_t *proxy = group_of(handle);
  if (proxy == NULL) return;
  if (proxy->handle_count == 1 && proxy->weak_count > 0) {
    dissolve(proxy);
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

void zmanaged_cycles_touch(zhandle_entry_t *entry) {
  proxy_t *proxy = proxy_of == NULL ? NULL : proxy_of[zhandle_id(entry)];
  if (proxy != NULL) dissolve(proxy);
}

int zmanaged_cycles_traverse(PyObject *handle, zpy_visit_t visit, void *argument) {
  proxy_t *proxy = group_of((zhandle_t *)handle);
  return proxy == NULL ? 0 : visit(&proxy->base, argument);
}

/* ---- the verdict ---------------------------------------------------------------------------------- */

/* Groups that are judged together, with the Python objects that they lead to and that nothing from elsewhere holds:
 * CPython's young collection over these says of each group whether it is garbage. One that is held by a group of
 * another batch is alive, for now: Python's gc sees it like any other object.
 *
 * The batch is the new groups, as many as there are still: Python code that runs before it is judged may end them. It
 * is gathered when it is judged, and from then on to the collection no Python code runs. */
static struct {
  size_t waiting_references, waiting_objects; /* of the groups formed since the last one was judged */
  PyObject **objects;
  size_t count, room;
  uint32_t references[BATCH_REFERENCES];
  size_t reference_count;
  bool is_failed;
} batch;

static bool make_room(void) {
  if (batch.count < batch.room) return true;
  size_t room = batch.room == 0 ? 4096 : 2 * batch.room;
  PyObject **objects = zos_table_resize(batch.objects, batch.room * sizeof *objects, room * sizeof *objects);
  if (objects == NULL) return false;
  batch.objects = objects;
  batch.room = room;
  return true;
}

static bool put(PyObject *object, void *unused) {
  (void)unused;
  if (!make_room()) batch.is_failed = true;
  if (!batch.is_failed) batch.objects[batch.count++] = object;
  return !batch.is_failed;
}

static void put_group(proxy_t *group) {
  for (size_t i = 0; i < group->reference_count && batch.reference_count < BATCH_REFERENCES; i++) {
    batch.references[batch.reference_count++] = group->references[i];
  }
  put((PyObject *)group, NULL);
  for (size_t i = 0; i < group->handle_count; i++) put(&group->handles[i]->base, NULL);
  for (size_t i = 0; i < group->weak_count; i++) put(&group->weak[i]->base, NULL);
}

static void gather(void) {
  batch.waiting_references = batch.waiting_objects = 0;
  batch.count = batch.reference_count = 0;
  batch.is_failed = false;
  for (proxy_t *group = groups; group != NULL && group->is_new; group = group->next) {
    group->is_new = false;
    put_group(group);
  }
}

static bool is_batch_full(void) {
  return batch.waiting_references >= BATCH_REFERENCES || batch.waiting_objects >= BATCH_OBJECTS;
}

/* A body that a live Python object holds looks like one that only bodies hold, where a body holds that object. What
 * refers to it is in its group, and lives with it. So the handles that were not found within the batch are ordinary
 * roots of the next mark: what merely refers to them is a group of its own then. That may show more of them, which
 * are left out, too, and so on; once no more come the next choice leaves none out, because a handle may have been
 * held by what has gone since. */
static struct {
  uint8_t *round_of; /* by handle id: the round in which it was found to be held */
  uint8_t round;     /* 0: no handle is left out */
  bool has_more;     /* some were found since the last choice */
} held;

static bool is_held(const zhandle_entry_t *entry) {
  return held.round != 0 && held.round_of[zhandle_id(entry)] == held.round;
}

static void set_held(const zhandle_entry_t *entry) {
  static uint8_t last;
  if (held.round == 0) held.round = last = last == UINT8_MAX ? 1 : last + 1;
  held.round_of[zhandle_id(entry)] = held.round;
  held.has_more = true;
}

static void note_held(void) {
  if (held.round_of == NULL) held.round_of = zos_table_map(zhandle_table.limit);
  for (size_t i = 0; held.round_of != NULL && i < batch.count; i++) {
    PyObject *object = batch.objects[i];
    if (!zmanaged_is_handle(object) || zmanaged_trial_has(object)) continue;
    const zhandle_entry_t *entry = ((zhandle_t *)object)->entry;
    if (!zhandle_is_weak(entry) && !is_held(entry)) set_held(entry);
  }
}

static void begin_choice(void) {
  if (!held.has_more) held.round = 0;
  held.has_more = false;
}

bool zmanaged_cycles_may_find_more(void) { return held.has_more; }

static bool put_unless_handle(PyObject *object, void *unused) {
  return zmanaged_is_handle(object) || put(object, unused);
}

/* Runs Python code. True: the batch was judged. */
static bool judge_batch(void) {
  gather();
  bool ok = zjudge_is_possible() && zmanaged_trial_of(batch.references, batch.reference_count, TRIAL_OBJECTS);
  if (ok) {
    note_held();
    zmanaged_trial_each(put_unless_handle, NULL);
  }
  zmanaged_trial_forget();
  return ok && !batch.is_failed && zjudge(batch.objects, batch.count);
}

/* Cycles through sole handles alone are Python's gc's to find; this is for a program that asks for a full collection
 * of bodies only. */
static bool gather_sole(void) {
  batch.count = batch.reference_count = 0;
  batch.is_failed = false;
  bool ok = zmanaged_trial_of_sole();
  if (ok) zmanaged_trial_each(put, NULL);
  zmanaged_trial_forget();
  return ok && !batch.is_failed && batch.count > 0;
}

static void forget_batch(void) {
  if (batch.objects != NULL) zos_table_unmap(batch.objects, batch.room * sizeof *batch.objects);
  memset(&batch, 0, sizeof batch);
}

void zmanaged_cycles_judge_sole(void) {
  if (zjudge_is_possible() && gather_sole()) zjudge(batch.objects, batch.count);
  if (batch.waiting_objects == 0) forget_batch();
}

/* ---- forming groups -------------------------------------------------------------------------------- */

/* Made before a group is looked at: on 3.11 a new object may start a young collection, and so run Python code. */
static proxy_t *spare;

static void make_spare(void) {
  proxy_t *proxy = spare != NULL ? NULL : (proxy_t *)zma._PyObject_GC_New(proxy_type);
  if (proxy == NULL) return zpy.PyErr_Clear();
  memset((char *)proxy + sizeof proxy->base, 0, sizeof *proxy - sizeof proxy->base);
  if (spare == NULL) {
    spare = proxy;
  } else {
    zpy.Py_DecRef(&proxy->base); /* what ran meanwhile made one, too */
  }
}

/* Room for what the group may have. False when memory is short. */
static bool make_block(proxy_t *proxy, const zsuspects_group_t *group) {
  size_t bytes = (group->suspect_count + group->shape_count + group->weak_count) * sizeof(void *);
  proxy->handles = malloc(bytes + group->reference_count * sizeof(uint32_t));
  if (proxy->handles == NULL) return false;
  proxy->classes = (zclass_t **)(proxy->handles + group->suspect_count);
  proxy->weak = (zhandle_t **)(proxy->classes + group->shape_count);
  proxy->references = (uint32_t *)(proxy->weak + group->weak_count);
  return true;
}

/* Classes whose reference the group owns. Bodies of a class made since the mark's start are in no group. */
static void add_classes(proxy_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->shape_count; i++) {
    zclass_t *class = zshape_table[group->shapes[i]]->owner;
    if (!class->is_held || class->alloc_seq >= zmanaged_last_full_seq()) continue;
    proxy->classes[proxy->class_count++] = class;
  }
}

static void enter_group(proxy_t *proxy, const zhandle_entry_t *entry, PyObject *handle) {
  proxy_of[zhandle_id(entry)] = proxy;
  zpy.Py_IncRef(&proxy->base);
  zma.PyObject_GC_Track(handle);
}

static void add_weak(proxy_t *proxy, const zsuspects_group_t *group) {
  for (size_t i = 0; i < group->weak_count; i++) {
    const zhandle_entry_t *entry = &zhandle_table.entries[group->weak[i]];
    if (proxy_of[group->weak[i]] != NULL) continue; /* walked twice */
    proxy->weak[proxy->weak_count++] = zhandle_object(entry);
    enter_group(proxy, entry, zhandle_object(entry));
  }
}

static void add_handles(proxy_t *proxy, const zsuspects_group_t *group) {
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

static void link_group(proxy_t *proxy) {
  proxy->next = groups;
  if (groups != NULL) groups->previous = proxy;
  groups = proxy;
  zmanaged_stat_values.cycle_groups_left = ++group_count;
  zmanaged_stat_values.cycle_groups++;
  proxy->is_new = true;
  batch.waiting_references += proxy->reference_count;
  batch.waiting_objects += 1 + proxy->handle_count + proxy->weak_count;
}

/* False: no group was left. After the spare is made this runs no Python code: the group is untouched from the look at
 * it to the end. */
static bool form(void) {
  zsuspects_group_t group;
  make_spare();
  if (!zmanaged_has_groups() || !zsuspects_next(&group)) return false;
  proxy_t *proxy = spare;
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
  zpy.Py_DecRef(&proxy->base); /* now only the handles hold it */
  return true;
}

/* ---- taking groups -------------------------------------------------------------------------------- */

/* Groups that could not be judged by themselves are left to Python's gc until a full collection of its has seen
 * them: choosing would dissolve them. One is asked for when young collections have made them old. */
static struct {
  bool is_due, is_asked, is_left; /* left: a group was not judged */
  uint64_t young_at_form, collections_at_ask;
} verdict;

#define FORM_LOOK 16 /* groups between two looks at the clock */

static bool is_time_up(unsigned groups_done, uint64_t deadline) {
  return (batch.waiting_objects == 0 || groups_done % FORM_LOOK == 0) && zos_now_ns() >= deadline;
}

/* What runs meanwhile may come by here as well, in another thread, and take the rest. */
bool zmanaged_cycles_take(uint64_t deadline) {
  if (!zmanaged_has_groups()) return true;
  if (proxy_of == NULL) proxy_of = zos_table_map((size_t)zhandle_table.limit * sizeof *proxy_of);
  if (kept == NULL) kept = zos_table_map(zpyref_table.limit / 64 * sizeof *kept);
  for (unsigned i = 1; proxy_of != NULL && kept != NULL && form(); i++) {
    if (is_batch_full() && !judge_batch()) verdict.is_left = true;
    if (is_time_up(i, deadline)) return false;
  }
  if (zmanaged_has_groups()) zsuspects_clear();
  if (batch.waiting_objects > 0 && !judge_batch()) verdict.is_left = true;
  if (batch.waiting_objects == 0) forget_batch();
  verdict.is_due = groups != NULL && verdict.is_left;
  verdict.is_asked = verdict.is_left = false;
  verdict.young_at_form = zstat_get(young_collections);
  return true;
}

/* ---- choosing suspects --------------------------------------------------------------------------- */

static uint8_t *vain, *left_out; /* by handle id: choices in vain, choices that it is left out of */
static size_t references_looked_at, nodes_looked_at;

/* Each time that a handle's group was judged to be alive, it is left out for twice as long; but a collection that
 * the program asks for is exact. */
static bool is_left_out(const zhandle_entry_t *entry, bool is_asked_for) {
  uint32_t id = zhandle_id(entry);
  if (is_held(entry)) return true;
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

/* A sole one would have been found by Python's gc, were there not other bodies in the cycle. */
static bool suspect(PyObject *handle, void *is_asked_for) {
  if (!zmanaged_is_handle(handle)) return true;
  zhandle_entry_t *entry = ((zhandle_t *)handle)->entry;
  if (entry == NULL || zhandle_is_weak(entry)) return true; /* in use by nothing of Python's */
  zmanaged_sole_share(entry);
  if (zpyabi_is_tracked(handle) || (entry->object & ZHANDLE_SUSPECT)) return true;
  return is_left_out(entry, *(const bool *)is_asked_for) || zsuspects_add(entry);
}

static void set_fates(void) {
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type != NULL) class->shape.shared_fate = zmanaged_trial_has((PyObject *)class->type);
  }
}

static void log_choice(const char *what, uint64_t start, bool ok) {
  zlog_debug("gc,managed", "Pause Suspects%s %.3fms objects %zu suspects %zu%s", what, zlog_ms(zos_now_ns() - start),
             zmanaged_trial_count(), zsuspects_count(), ok ? "" : " (memory is short)");
}

/* What Python's gc has not taken so far is judged again: other bodies of its classes may have died. */
static void dissolve_all(void) {
  begin_choice();
  while (groups != NULL) {
    note_vain(groups);
    dissolve(groups);
  }
}

/* From all references at once. Runs no Python code. */
static void choose(bool is_asked_for) {
  uint64_t start = zos_now_ns();
  dissolve_all();
  bool ok = zmanaged_trial_of_all();
  if (ok) {
    set_fates();
    zmanaged_trial_each(suspect, &is_asked_for);
  }
  references_looked_at = zpyref_held();
  nodes_looked_at = zmanaged_trial_count();
  log_choice("", start, ok);
  zmanaged_trial_forget();
}

static bool may_choose(void) { return zmanaged_phase() == ZMANAGED_IDLE && !zsuspects_has_results(); }

void zmanaged_cycles_choose(void) {
  if (zmanaged_phase() == ZMANAGED_IDLE) zmanaged_cycles_take(UINT64_MAX);
  if (may_choose() && (zpyref_table.live > 0 || zmanaged_class_all != NULL)) choose(true);
}

/* A walk over all would hold the program up, as CPython's own collection of as many objects would. So, other than
 * that which the program asks for, it is done in parts: trials that begin at some references each. What two parts
 * have in common looks to each as if it were held from elsewhere; so a sweep that has found little is followed by
 * a walk over all, the next time. */
static struct {
  uint32_t next, next_handle; /* 0: none under way */
  uint32_t end, end_handle;   /* of the tables when it began: what is made meanwhile waits for the next one */
  uint64_t *sole; /* references that are left out: sole handles hold them (or did when they were looked at) */
  size_t sole_words;
  size_t references, suspects; /* at its start */
  size_t found; /* suspects, by the last one that has ended */
  bool is_done, is_whole_due;
} sweep;

static bool begin_sweep(void) {
  sweep.sole_words = zpyref_table.top / 64 + 1;
  sweep.sole = zos_table_map(sweep.sole_words * sizeof *sweep.sole);
  if (sweep.sole == NULL) return false;
  dissolve_all();
  sweep.next = sweep.next_handle = 1;
  sweep.end = zpyref_table.top;
  sweep.end_handle = zhandle_table.top;
  sweep.references = zpyref_held();
  sweep.suspects = zsuspects_count();
  return true;
}

static bool is_left_to_sole(uint32_t i) {
  return (sweep.sole[i / 64] >> i % 64 & 1) != 0;
}

/* References that came after the sweep's start are not in the map. */
static void look_at_handles(void) {
  uint32_t to = (uint32_t)zmin(sweep.next_handle + SWEEP_HANDLES, sweep.end_handle);
  zmanaged_sole_mark_references(sweep.sole, sweep.sole_words * 64, sweep.next_handle, to);
  sweep.next_handle = to;
}

static void end_sweep(void) {
  sweep.found = zsuspects_count() - sweep.suspects;
  bool is_cut = sweep.next < sweep.end;
  sweep.is_whole_due = !is_cut && sweep.found < (sweep.references - zmin(references_looked_at, sweep.references)) / 8;
  references_looked_at = zpyref_held();
  zos_table_unmap(sweep.sole, sweep.sole_words * sizeof *sweep.sole);
  sweep.next = 0;
  sweep.is_done = true;
}

static void sweep_some(void) {
  uint32_t references[TRIAL_REFERENCES];
  size_t count = 0;
  uint64_t start = zos_now_ns();
  bool is_asked_for = false;
  for (; sweep.next < sweep.end && count < TRIAL_REFERENCES; sweep.next++) {
    if (!is_left_to_sole(sweep.next) && !zpyref_is_free(&zpyref_table.entries[sweep.next])) {
      references[count++] = sweep.next;
    }
  }
  bool ok = zmanaged_trial_of(references, count, TRIAL_OBJECTS);
  if (ok) zmanaged_trial_each(suspect, &is_asked_for);
  log_choice(" (part)", start, ok);
  zmanaged_trial_forget();
  if (sweep.next >= sweep.end || zsuspects_count() >= SUSPECTS_MOST) end_sweep();
}

/* True: a full collection that comes now finds suspects. */
static bool is_ready(void) {
  bool is_cheap = nodes_looked_at < NODES_CHEAP && zpyref_held() < NODES_CHEAP;
  if (sweep.is_done || sweep.is_whole_due || is_cheap) return true;
  if (sweep.next == 0 && !begin_sweep()) return true;
  if (sweep.next_handle < sweep.end_handle) {
    look_at_handles();
  } else {
    sweep_some();
  }
  return sweep.is_done;
}

#define YOUNG_UNTIL_OLD 3

bool zmanaged_cycles_await_collector(void) { return verdict.is_due && zmode_is_on() && !zmode_is_warm(); }

bool zmanaged_cycles_ask(void) {
  if (zmanaged_cycles_await_collector()) return true;
  if (!verdict.is_due || verdict.is_asked || !zmode_is_on()) return false;
  if (zstat_get(young_collections) < verdict.young_at_form + YOUNG_UNTIL_OLD) return false;
  verdict.collections_at_ask = zstat_get(collections);
  verdict.is_asked = zconsult_begin(ZCAUSE_EXPLICIT);
  return false;
}

static bool awaits_gc(void) {
  if (groups == NULL || !verdict.is_due || !zmode_is_on()) return false;
  zmanaged_cycles_ask();
  if (!verdict.is_asked || zstat_get(collections) == verdict.collections_at_ask) return true;
  verdict.is_due = verdict.is_asked = false;
  return false;
}

bool zmanaged_cycles_await_verdict(void) { return awaits_gc() || (may_choose() && !is_ready()); }

void zmanaged_cycles_choose_some(bool is_whole) {
  bool is_cheap = nodes_looked_at < NODES_CHEAP && zpyref_held() < NODES_CHEAP;
  bool is_due = is_whole ? !sweep.is_done : is_cheap;
  if (may_choose() && zpyref_held() > 0 && is_due && !awaits_gc()) {
    choose(false);
    sweep.is_whole_due = false;
  }
  sweep.is_done = false;
}
