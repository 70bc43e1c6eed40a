#include "collector/cpython/zteardown.h"

#include <pthread.h>

#include "collector/cpython/zcensus.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zendings.h"
#include "collector/cpython/zverdict.h"
#include "collector/python/zwalker.h"
#include "heap/base/zos.h"
#include "heap/zold_map.h"

#define PORTION 256 /* items of a long list that go at once */
#define LONG (4 * PORTION)

/* Work, in units of about 20 ns, between two looks at the clock, and at most in a slice, whatever the clock says. */
enum { WORK_HOLD = 1, WORK_CLEAR = 4, WORK_RELEASE = 4, WORK_LOOK = 500, WORK_PER_US = 100 };

typedef enum { STEP_NONE, STEP_HOLD, STEP_CLEAR, STEP_RELEASE } step_t;

/* Members before the step under way are in one list, behind it in the other. */
static struct {
  step_t step;
  zgc_head_t from, to;
} hidden = {.from = {(uintptr_t)&hidden.from, (uintptr_t)&hidden.from},
            .to = {(uintptr_t)&hidden.to, (uintptr_t)&hidden.to}};

/* Who is in a slice: code that it runs may ask for the end. */
static struct {
  bool is_open, must_finish;
  pthread_t thread;
} slice;

bool zteardown_is_pending(void) { return hidden.step != STEP_NONE; }

/* -- begin -------------------------------------------------------------------------------------------------- */

static void hide(PyObject *const *objects, size_t count) {
  for (size_t i = 0; i < count; i++) {
    zgc_ask_ahead(objects, i, count, true);
    zold_map_remove(objects[i]);
    zgc_list_move(zpyabi_head(objects[i]), &hidden.from);
  }
  hidden.step = STEP_HOLD;
}

static void clear_weakrefs(PyObject *object) {
  Py_ssize_t offset = zendings_of(zpyabi_type(object))->weaklist_offset;
  PyObject **refs = offset == 0 ? NULL : (PyObject **)((char *)object + offset);
  while (refs != NULL && *refs != NULL) zpy._PyWeakref_ClearRef(*refs);
}

/* With a debug flag set the program wants to see CPython's own collection at work. */
bool zteardown_begin(PyObject *const *objects, size_t count) {
  if (zteardown_is_pending() || slice.is_open || *zgc_state.debug != 0) return false;
  size_t observed;
  if (!zverdict_is_garbage(objects, count, &observed)) return false;
  for (size_t i = 0; observed > 0 && i < count; i++) clear_weakrefs(objects[i]);
  zcensus_begin(zdriver_collection.sequence);
  hide(objects, count);
  return true;
}

/* -- steps: each takes the first member, and returns how much work that was ------------------------------------- */

static void move_on(zgc_head_t *head) {
  zgc_list_move(head, &hidden.to);
  __builtin_prefetch((void *)zgc_head_next(zgc_head_next(&hidden.from)), 1);
}

static size_t hold(PyObject *object) {
  zcensus_add(object, 1);
  zpy.Py_IncRef(object);
  move_on(zpyabi_head(object));
  return WORK_HOLD;
}

static void report(PyObject *object) {
  if (zunlikely(zpy.PyErr_Occurred() != NULL)) zpy.PyErr_WriteUnraisable((PyObject *)zpyabi_type(object));
}

/* False: it is no long list, or has become a short one. */
static bool shorten(PyObject *object, const ztype_t *entry) {
  if (entry == NULL || entry->kind != ZTYPE_LIST) return false;
  Py_ssize_t size = zpy.PyList_Size(object);
  if (size < LONG) return false;
  bool is_done = zpy.PyList_SetSlice(object, size - PORTION, size, NULL) == 0;
  report(object);
  return is_done;
}

static size_t clear(PyObject *object) {
  const zending_t *ending = zendings_of(zpyabi_type(object));
  if (shorten(object, ending->entry)) return PORTION * WORK_CLEAR;
  size_t length = ending->entry == NULL ? 0 : zwalker_length(object, ending->entry);
  move_on(zpyabi_head(object));
  if (ending->clear == NULL) return WORK_HOLD;
  ending->clear(object);
  report(object);
  if (zunlikely(!zpyabi_is_tracked(object))) zpy.Py_DecRef(object); /* it has left the list, and would be overlooked */
  return WORK_CLEAR + length;
}

/* Moved on before: it may be gone behind. */
static size_t release(PyObject *object) {
  move_on(zpyabi_head(object));
  zpy.Py_DecRef(object);
  return WORK_RELEASE;
}

static size_t (*const steps[])(PyObject *) = {[STEP_HOLD] = hold, [STEP_CLEAR] = clear, [STEP_RELEASE] = release};

/* Behind the last one, what is left lives: as with CPython it becomes a member of the next older generation. */
static void turn(void) {
  zgc_list_splice(&hidden.to, &hidden.from);
  hidden.step++;
  if (hidden.step <= STEP_RELEASE && !zgc_list_is_empty(&hidden.from)) return;
  zgc_list_splice(&hidden.from, &zgc_state.generations[1].head);
  hidden.step = STEP_NONE;
}

/* -- slices --------------------------------------------------------------------------------------------------- */

static size_t work_until(uint64_t deadline) {
  uint64_t at = zos_now_ns();
  if (slice.must_finish || deadline == UINT64_MAX) return SIZE_MAX;
  return deadline <= at ? 0 : (deadline - at) / 1000 * WORK_PER_US;
}

static void take_apart(uint64_t deadline) {
  size_t since = 0, most = work_until(deadline);
  for (size_t work = 0; hidden.step != STEP_NONE; work += since, since = 0) {
    if (!slice.must_finish && (work >= most || zos_now_ns() >= deadline) && work > 0) break;
    while (since < WORK_LOOK && !zgc_list_is_empty(&hidden.from)) {
      since += steps[hidden.step](zpyabi_object(zgc_head_next(&hidden.from)));
    }
    if (zgc_list_is_empty(&hidden.from)) turn();
  }
}

/* As in CPython's own: no collection begins in it. */
void zteardown_slice(uint64_t deadline) {
  if (slice.is_open || !zteardown_is_pending()) return;
  int collecting = *zgc_state.collecting;
  slice.is_open = true;
  slice.must_finish = false;
  slice.thread = pthread_self();
  *zgc_state.collecting = 1;
  zendings_reset();
  take_apart(deadline);
  *zgc_state.collecting = collecting;
  slice.is_open = false;
}

void zteardown_finish(void) {
  slice.must_finish = true;
  zteardown_slice(UINT64_MAX);
}

/* Other threads are not in the child. */
void zteardown_fork_child(void) {
  if (slice.is_open && !pthread_equal(slice.thread, pthread_self())) slice.is_open = false;
}
