/* Handles: the Python objects that stand for bodies, and the values that their slots hold.
 *
 * A body has at most one handle at a time, so identity holds. The body's header names the handle
 * table's entry; the entry names the handle; both are checked against each other on use. A handle's
 * reference count is the program's business: when it ends the entry is freed and the body lives or
 * dies by reachability. If weak references to the handle exist, the handle outlives its last count as
 * a weak one (heap/managed/zhandle_table.h) until its body dies.
 *
 * Handles are not tracked by Python's gc, except while they are part of a group that it shall judge
 * (preload/managed/zmanaged_cycles.h).
 *
 * The GIL discipline: an address of a body is never kept over a call that may run Python code or
 * allocate a Python object. Accessors therefore begin with zmanaged_enter, which is the safepoint and
 * makes sure that a handle can be had without an allocation, convert their arguments first, and then
 * load the address. */
#ifndef PRELOAD_MANAGED_ZMANAGED_HANDLE_H
#define PRELOAD_MANAGED_ZMANAGED_HANDLE_H

#include "preload/managed/zmanaged_class.h"

typedef struct zhandle {
  PyObject base;
  zhandle_entry_t *entry; /* NULL: the body is gone (the handle is being deallocated) */
  PyObject *weak_list;
} zhandle_t;

extern zhidden PyTypeObject *zmanaged_handle_type;

void zmanaged_handle_dealloc(PyObject *self);
/* Host op: an entry that is weak, or whose handle is in a group, is being used. GIL. */
void zmanaged_handle_touch(zhandle_entry_t *entry);
/* Of a weak handle that something of Python's holds: it is an ordinary one from now on. Runs no Python code. */
void zmanaged_handle_use_again(zhandle_entry_t *entry);
/* The end of a weak handle that weak_hide has taken out of reach. Runs Python code. */
void zmanaged_handle_finish_weak(PyObject *self);
int zmanaged_handle_traverse(PyObject *self, zpy_visit_t visit, void *argument);
int zmanaged_handle_clear(PyObject *self);

/* Out of the sight of Python's gc, while it lives on: an old one must not stay in the map of what is old. */
void zmanaged_handle_untrack(PyObject *self);

static inline bool zmanaged_is_handle(PyObject *object) {
  return *zmanaged_type_word(object->type, ZMANAGED_TYPE_DEALLOC) == (void *)zmanaged_handle_dealloc;
}
static inline zaddress_t zmanaged_body(PyObject *handle) {
  return zbarrier_load_entry(zslot(&((zhandle_t *)handle)->entry->word));
}

/* Handle objects in reserve; never empty after zmanaged_enter. */
extern zhidden PyObject *zmanaged_spare_handles;
bool zmanaged_refill_handles(void); /* false with an exception set */

/* Every accessor's first call: a safepoint. False with an exception set. */
static inline bool zmanaged_enter(void) {
  zmanaged_poll();
  return zlikely(zmanaged_spare_handles != NULL) || zmanaged_refill_handles();
}

/* The handle of a body, new reference. After zmanaged_enter, at most one per call of that. NULL with
 * MemoryError when the table is full. */
PyObject *zmanaged_handle_for(zaddress_t body);

/* A new body of the class; 0 with an exception set. May run Python code. */
zaddress_t zmanaged_new_body(const zshape_t *shape, uint64_t length);
zaddress_t zmanaged_stall(const zshape_t *shape, uint64_t length);

/* A new body and its handle. NULL with an exception set. */
PyObject *zmanaged_new_object(zclass_t *class, uint64_t length);

/* The hash of the body, the same for its whole life. -1 with an exception set. */
Py_ssize_t zmanaged_handle_hash(PyObject *self);

/* The value in a word that zbarrier_load returned; new reference. After zmanaged_enter. */
PyObject *zmanaged_value_slow(zcolored_t word);
static inline PyObject *zmanaged_value(zcolored_t word) {
  if (zlikely((word.bits & ~(ZCOLOR_MASK & ~ZCOLOR_KIND_MASK)) == 0)) return zpy_new_none();
  return zmanaged_value_slow(word);
}

static inline PyObject *zmanaged_none(void) {
  PyObject *none = zpy_None();
  if (!zpyabi_layout->immortal) none->refcount++;
  return none;
}

/* The same for None and for a body that has a handle in use; NULL for others. Needs no spare handle. */
static inline PyObject *zmanaged_known_value(zcolored_t word) {
  if ((word.bits & ~(ZCOLOR_MASK & ~ZCOLOR_KIND_MASK)) == 0) return zmanaged_none();
  if (zcolored_kind(word) != ZKIND_MANAGED) return NULL;
  uint32_t id = zload_relaxed(&zbody_header(zcolored_strip(word))->handle);
  if (zunlikely(id & ZBODY_HASHED)) return NULL;
  const zhandle_entry_t *entry = &zhandle_table.entries[id];
  zcolored_t root = {zload_acquire(&entry->word)};
  /* A free entry has no address, a weak one has the suspect bit, which is not load-good. */
  bool in_use = ((root.bits ^ word.bits) & ~ZCOLOR_MASK) == 0 && zcolored_is_load_good(root);
  if (zunlikely(!in_use)) return NULL;
  PyObject *handle = zhandle_object(entry);
  handle->refcount++;
  return handle;
}

/* Turns a value into what a slot holds. holder: the slot's body (for the
 * generation of Python references). Runs no Python code. False with MemoryError. */
bool zmanaged_prepare(PyObject *value, zaddress_t holder, zcolored_t *word);
/* Stores a prepared word; what the slot owned is returned for the caller to release once it is done
 * with addresses. */
PyObject *zmanaged_replace(zslot_t slot, zcolored_t word);
/* Both, and the release: no address is good afterwards. */
static inline bool zmanaged_set(zaddress_t holder, zslot_t slot, PyObject *value) {
  zcolored_t word;
  if (zunlikely(!zmanaged_prepare(value, holder, &word))) return false;
  PyObject *owned = zmanaged_replace(slot, word);
  if (zunlikely(owned != NULL)) zpy.Py_DecRef(owned);
  return true;
}

/* A load-good word on its way to another slot of the same owner: what it owns moves with it, and must
 * not be missed by a mark that has visited one place and not yet the other. */
static inline zcolored_t zmanaged_moved(zcolored_t word) {
  if (zcolored_is_body(word)) return zcolored_store_good(zcolored_strip(word));
  if (zcolored_kind(word) == ZKIND_PYTHON) {
    zpyref_set_seen(&zpyref_table.entries[zcolored_payload(word)]);
  }
  return (zcolored_t){(word.bits & ~(ZCOLOR_MASK & ~ZCOLOR_KIND_MASK)) | zcolor.store_good};
}

bool zmanaged_type_error(const char *what, PyObject *got);

/* Runs at the first use: types, heap. False with an exception set. */
bool zmanaged_ensure_started(void);

#endif
