#include "collector/cpython/zverdict.h"

#include <stdlib.h>

#include "collector/cpython/zalive.h"
#include "collector/cpython/zendings.h"
#include "collector/python/zwalker.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/zold_map.h"

/* Its address must not leave the loop over the references of an object: then the fields stay in registers. */
typedef struct {
  const uint64_t *bits; /* the members: a bit for each unit of the old map */
  size_t units;
  const char *base;
  size_t met;
} counter_t;

static zalways_inline void count_reference(void *context, void *reference) {
  counter_t *counter = context;
  size_t unit = (size_t)((const char *)reference - counter->base) >> ZOLD_UNIT_SHIFT;
  if (unit < counter->units) counter->met += counter->bits[unit / 64] >> (unit % 64) & 1;
}

static int count_visited(PyObject *reference, void *context) {
  count_reference(context, reference);
  return 0;
}

static bool have_callback(PyObject *ref) {
  while (ref != NULL && zpyabi_word(ref, ZPYABI_WEAKREF_CALLBACK) == NULL) ref = zpyabi_word(ref, ZPYABI_WEAKREF_NEXT);
  return ref != NULL;
}

/* Weak references have been cleared, and finalizers called. Who has one again was within reach since. */
static bool is_ended(PyObject *object, const zending_t *ending, PyObject *refs) {
  if (refs != NULL && (!zpyabi_layout->late_plain_weakrefs || have_callback(refs))) return false;
  return !ending->has_finalizer || zpyabi_is_finalized(object);
}

/* What is kept in registers over the loop. */
typedef struct {
  counter_t counter;
  size_t held, observed;
} sums_t;

static zalways_inline bool add(sums_t *sums, PyObject *object) {
  if (!zalive_is_member(object)) return false;
  const zending_t *ending = zendings_of(zpyabi_type(object));
  int64_t refcount = zpyabi_refcount(object);
  PyObject *refs = ending->weaklist_offset == 0 ? NULL : zpyabi_word(object, ending->weaklist_offset);
  if (!ending->is_plain || refcount == ZPYABI_IMMORTAL || !is_ended(object, ending, refs)) return false;
  sums->held += (size_t)refcount;
  sums->observed += refs != NULL;
  counter_t counter = sums->counter;
  if (!zwalker_walk(object, ending->entry, count_reference, &counter)) {
    counter = sums->counter;
    zpyabi_traverse(zpyabi_type(object))(object, count_visited, &counter);
  }
  sums->counter.met = counter.met;
  return true;
}

static bool add_all(sums_t *sums, PyObject *const *objects, size_t count) {
  for (size_t i = 0; i < count; i++) {
    zgc_ask_ahead(objects, i, count, false);
    if (!add(sums, objects[i])) return false;
  }
  return true;
}

static void verify(const sums_t *sums, PyObject *const *objects, size_t count) {
  counter_t counter = sums->counter;
  counter.met = 0;
  for (size_t i = 0; i < count; i++) zpyabi_traverse(zpyabi_type(objects[i]))(objects[i], count_visited, &counter);
  if (counter.met == sums->counter.met) return;
  zlog_notice("ZGC_VERIFY: in a component of %zu objects walkers find %zu references, tp_traverse %zu; we abort", count,
              sums->counter.met, counter.met);
  abort();
}

static size_t bytes_of(size_t units) { return units / 64 * sizeof(uint64_t); }

/* NULL where memory is short. An object that is not where old ones are gets no bit, so the sums differ. */
static uint64_t *map_members(PyObject *const *objects, size_t count, size_t units) {
  uint64_t *bits = zos_table_map(bytes_of(units));
  for (size_t i = 0; bits != NULL && i < count; i++) {
    size_t unit = zold_map_unit(objects[i]);
    if (unit < units) bits[unit / 64] |= (uint64_t)1 << (unit % 64);
  }
  return bits;
}

bool zverdict_is_garbage(PyObject *const *objects, size_t count, size_t *observed) {
  size_t units = zalign_up(zgranules_range.committed_end >> ZOLD_UNIT_SHIFT, 64);
  uint64_t *bits = map_members(objects, count, units);
  if (bits == NULL) return false;
  zendings_reset();
  sums_t sums = {.counter = {bits, units, zgranules_range.base, 0}};
  bool is_garbage = add_all(&sums, objects, count) && sums.held == sums.counter.met;
  if (is_garbage && zoption(verify)) verify(&sums, objects, count);
  zos_table_unmap(bits, bytes_of(units));
  *observed = sums.observed;
  return is_garbage;
}
