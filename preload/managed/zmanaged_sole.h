/* Sole handles: nothing refers to the body but its handle. Such an object is one like any of Python's. What its
 * body holds of Python is held by the handle: Python's gc visits it, finds cycles through it when they are young,
 * and what the body held is let go when the handle ends. The collector of managed objects is not asked.
 *
 * A body is born so, and is so until its handle is stored in a body for the first time (zmanaged_sole_share); it
 * never is again. Every store of a handle goes through zmanaged_prepare, or one of the two fast paths of
 * zmanaged_object.c. A suspect (zmanaged_cycles.h) is none: its group visits what its body holds.
 *
 * The body of a list or a dict holds what its storage holds, which no one else refers to. A handle is tracked by
 * Python's gc from the first reference on that may be part of a cycle; that of a list or a dict from its birth,
 * because the storage does not lead back to it. Of more slots than SLOTS_MAX nothing is visited: their references look
 * as if they came from outside, as do those of any other body. What more slots than LET_GO_MAX hold is not let go
 * here, but found dead by the collector.
 *
 * GIL. The flags lie in the handle's entry. */
#ifndef PRELOAD_MANAGED_ZMANAGED_SOLE_H
#define PRELOAD_MANAGED_ZMANAGED_SOLE_H

#include "preload/managed/zmanaged_handle.h"

static inline bool zmanaged_is_sole(const zhandle_entry_t *entry) { return (entry->object & ZHANDLE_SOLE) != 0; }

/* The handle of a new body. */
void zmanaged_sole_begin_storage(PyObject *handle);
static inline void zmanaged_sole_begin(PyObject *handle, const zclass_t *class) {
  zhandle_entry_t *entry = ((zhandle_t *)handle)->entry;
  zstore_relaxed(&entry->object, entry->object | ZHANDLE_SOLE);
  bool has_storage = class->shape.use == ZFAMILY_LIST || class->shape.use == ZFAMILY_DICT;
  if (zunlikely(has_storage)) zmanaged_sole_begin_storage(handle);
}

/* From now on others may refer to the body. */
void zmanaged_sole_end(zhandle_entry_t *entry);
static inline void zmanaged_sole_share(zhandle_entry_t *entry) {
  if (zunlikely(zmanaged_is_sole(entry))) zmanaged_sole_end(entry);
}

/* `value`, an object of Python's, is about to be stored in a slot of `holder`. */
void zmanaged_sole_note_slow(zaddress_t holder, PyObject *value);
static inline void zmanaged_sole_note(zaddress_t holder, PyObject *value) {
  if (zload_relaxed(&zbody_header(holder)->handle) != 0) zmanaged_sole_note_slow(holder, value); /* no storage */
}

/* tp_traverse: what the handle holds. */
int zmanaged_sole_traverse(PyObject *handle, zpy_visit_t visit, void *argument);

/* Sets the bit of each reference, by its index, that a sole handle visits: of the handles of [from, to). */
void zmanaged_sole_mark_references(uint64_t *bits, size_t bit_count, uint32_t from, uint32_t to);

/* Takes what the handle holds out of its body: the slots are None from now on. It is dropped by zmanaged_sole_drop,
 * which takes what this returns; where many of these lie within each other by the outermost of them, so that a long
 * chain of objects goes without as deep a recursion. */
size_t zmanaged_sole_let_go(zhandle_entry_t *entry);
/* May run Python code. */
void zmanaged_sole_drop(size_t from);

#endif
