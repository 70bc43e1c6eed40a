/* The verdict on groups: the essay is in zmanaged_cycles.h. */
#include "preload/managed/zmanaged_verdict.h"

#include <string.h>

#include "collector/cpython/zjudge.h"
#include "heap/base/zos.h"
#include "preload/managed/zmanaged_trial.h"

#define TRIAL_OBJECTS 4000 /* that are walked at most: about 1 ms */
#define BATCH_REFERENCES 512
#define BATCH_OBJECTS 1500

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

static void put_group(zmanaged_group_t *group) {
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
  for (zmanaged_group_t *group = zmanaged_groups; group != NULL && group->is_new; group = group->next) {
    group->is_new = false;
    put_group(group);
  }
}

void zmanaged_verdict_add(const zmanaged_group_t *group) {
  batch.waiting_references += group->reference_count;
  batch.waiting_objects += 1 + group->handle_count + group->weak_count;
}

bool zmanaged_verdict_is_empty(void) { return batch.waiting_objects == 0; }
bool zmanaged_verdict_is_full(void) {
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

bool zmanaged_verdict_is_held(const zhandle_entry_t *entry) {
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
    if (!zhandle_is_weak(entry) && !zmanaged_verdict_is_held(entry)) set_held(entry);
  }
}

void zmanaged_verdict_begin_choice(void) {
  if (!held.has_more) held.round = 0;
  held.has_more = false;
}

bool zmanaged_verdict_has_more(void) { return held.has_more; }

static bool put_unless_handle(PyObject *object, void *unused) {
  return zmanaged_is_handle(object) || put(object, unused);
}

bool zmanaged_verdict_judge(void) {
  gather();
  bool ok = zjudge_is_possible() && zmanaged_trial_of(batch.references, batch.reference_count, TRIAL_OBJECTS);
  if (ok) {
    note_held();
    zmanaged_trial_each(put_unless_handle, NULL);
  }
  zmanaged_trial_forget();
  return ok && !batch.is_failed && zjudge(batch.objects, batch.count);
}

static bool gather_sole(void) {
  batch.count = batch.reference_count = 0;
  batch.is_failed = false;
  bool ok = zmanaged_trial_of_sole();
  if (ok) zmanaged_trial_each(put, NULL);
  zmanaged_trial_forget();
  return ok && !batch.is_failed && batch.count > 0;
}

void zmanaged_verdict_forget(void) {
  if (batch.objects != NULL) zos_table_unmap(batch.objects, batch.room * sizeof *batch.objects);
  memset(&batch, 0, sizeof batch);
}

void zmanaged_verdict_judge_sole(void) {
  if (zjudge_is_possible() && gather_sole()) zjudge(batch.objects, batch.count);
  if (zmanaged_verdict_is_empty()) zmanaged_verdict_forget();
}
