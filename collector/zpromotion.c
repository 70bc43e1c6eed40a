#include "collector/zpromotion.h"

#include "collector/ztype_registry.h"
#include "collector/zuntrack.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zallocator.h"
#include "heap/zold_map.h"

#define CLOCK_EVERY 64 /* objects between two looks at the clock */

static PyObject *marker; /* NULL: not started */
/* Tracked objects that cannot be old: met since the last rewind, and of those the ones that stood there
 * already, known once the list has been enumerated to its end. */
static size_t foreign, foreign_before;
static bool is_before_known;

static zgc_head_t *oldest(void) { return &zgc_state.generations[ZGC_GENERATIONS - 1].head; }

bool zpromotion_start(void) {
  if (zold_map_count > 0) zold_map_clear(); /* of an interpreter that has ended */
  marker = zpy.PyList_New(0);
  if (marker == NULL) {
    zpy.PyErr_Clear();
    return false;
  }
  zpromotion_rewind();
  return true;
}

void zpromotion_stop(void) {
  if (marker != NULL) zpy.Py_DecRef(marker);
  marker = NULL;
  zold_map_clear();
}

void zpromotion_rewind(void) {
  foreign = foreign_before = 0;
  is_before_known = false;
  zgc_list_unlink(zpyabi_head(marker));
  zgc_list_insert_before(zpyabi_head(marker), zgc_head_next(oldest()));
}

/* The registry has to be told of the death of its classes, also of those not enumerated again yet. */
static void keep_class(const ztype_t *entry, void *unused) {
  (void)unused;
  if (zold_map_admit(entry->type)) zold_map_add(entry->type);
}

void zpromotion_forget_all(void) {
  zold_map_clear();
  ztype_each(keep_class, NULL);
  zstat_set(old_objects, 0);
  zpromotion_rewind();
}

bool zpromotion_is_complete(void) {
  return zgc_head_next(zpyabi_head(marker)) == oldest();
}

static void enumerate(PyObject *object) {
  if (zold_map_is_old(object)) return;
  if (zunlikely(!zold_map_admit(object))) {
    foreign++;
    return;
  }
  if (zuntrack_is_tuple_due(object)) {
    zpy.PyObject_GC_UnTrack(object);
    return;
  }
  if (ztype_of(object) == NULL) return; /* memory is short: the object stays outside the old set */
  zold_map_add(object);
  zstat_add(promoted, 1);
}

size_t zpromotion_slice(uint64_t deadline, size_t least) {
  zgc_head_t *own = zpyabi_head(marker), *end = oldest();
  zgc_head_t *at = zgc_head_next(own);
  size_t count = 0;
  while (at != end) {
    zgc_head_t *next = zgc_head_next(at);
    __builtin_prefetch(next);
    enumerate(zpyabi_object(at));
    at = next;
    if (++count % CLOCK_EVERY == 0 && count >= least && zos_now_ns() > deadline) break;
  }
  if (count > 0) {
    zgc_list_unlink(own);
    zgc_list_insert_before(own, at);
    zstat_set(old_objects, zold_map_count);
  }
  if (at == end && !is_before_known) {
    foreign_before = foreign;
    is_before_known = true;
  }
  return count;
}

size_t zpromotion_foreign(void) { return foreign; }
size_t zpromotion_foreign_before(void) { return is_before_known ? foreign_before : foreign; }
