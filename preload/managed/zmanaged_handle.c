#include "preload/managed/zmanaged_handle.h"

#include "collector/managed/zmark.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/zold_map.h"
#include "preload/managed/zmanaged_group.h"
#include "preload/managed/zmanaged_number.h"
#include "preload/managed/zmanaged_sole.h"

#define SPARE_BATCH 64
#define SPARE_MAX 1024

PyObject *zmanaged_spare_handles; /* linked through weak_list */
static unsigned spare_count;
PyTypeObject *zmanaged_handle_type;

static inline PyObject *as_object(zhandle_t *handle) { return &handle->base; }

bool zmanaged_type_error(const char *what, PyObject *got) {
  zpy.PyErr_Format(*zpy.PyExc_TypeError, "%s, not %s", what,
                   (const char *)*zmanaged_type_word(got->type, ZMANAGED_TYPE_NAME));
  return false;
}

/* ---- life of a handle ---------------------------------------------------------------------------- */

static void keep_spare(zhandle_t *handle) {
  handle->entry = NULL;
  handle->weak_list = zmanaged_spare_handles;
  zmanaged_spare_handles = as_object(handle);
  spare_count++;
}

zcold bool zmanaged_refill_handles(void) {
  for (unsigned i = 0; i < SPARE_BATCH; i++) {
    zhandle_t *handle = (zhandle_t *)zma._PyObject_GC_New(zmanaged_handle_type);
    if (handle == NULL) break;
    zpy.Py_DecRef((PyObject *)handle->base.type); /* a spare one has no type of its own */
    handle->base.refcount = 0;
    keep_spare(handle);
  }
  if (zmanaged_spare_handles != NULL && zpy.PyErr_Occurred() != NULL) zpy.PyErr_Clear();
  return zmanaged_spare_handles != NULL;
}

static inline PyObject *take_spare(PyTypeObject *type) {
  zhandle_t *handle = (zhandle_t *)zmanaged_spare_handles;
  zmanaged_spare_handles = handle->weak_list;
  spare_count--;
  handle->base.refcount = 1;
  handle->base.type = type;
  handle->weak_list = NULL;
  ((PyObject *)type)->refcount++; /* classes made by a class statement are not immortal */
  return as_object(handle);
}

static inline PyObject *new_handle(zaddress_t body, zclass_t *class) {
  uint32_t id = zhandle_table_alloc();
  if (zunlikely(id == 0)) return zma.PyErr_NoMemory();
  zhandle_entry_t *entry = &zhandle_table.entries[id];
  PyObject *handle = take_spare(class->type);
  ((zhandle_t *)handle)->entry = entry;
  uint32_t hint = zload_relaxed(&zbody_header(body)->handle);
  bool is_hashed = (hint & ZBODY_HASHED) != 0;
  if (zunlikely(is_hashed)) zhandle_table.hashes[id] = hint & ~ZBODY_HASHED;
  zstore_relaxed(&entry->object, (uintptr_t)handle | (is_hashed ? ZHANDLE_HASHED : 0));
  zstore_release(&entry->word, zcolored_store_good(body).bits);
  zstore_relaxed(&zbody_header(body)->handle, id);
  return handle;
}

/* In use by the program again: the one count that was ours becomes the caller's. */
static zcold PyObject *strengthen(zhandle_entry_t *entry) {
  zstore_relaxed(&entry->object, entry->object & ~(uintptr_t)ZHANDLE_WEAK);
  (void)zfetch_and_relaxed(&entry->word, ~ZCOLOR_SUSPECT);
  zhandle_table.weak--;
  return zhandle_object(entry);
}

/* A mark that runs must hear of its body: it is a root that the snapshot lacks. */
void zmanaged_handle_use_again(zhandle_entry_t *entry) {
  PyObject *handle = zhandle_object(entry);
  if (handle->refcount < 2) return; /* nobody else's yet */
  if (zcolor.mark_now != 0) zmark_keep_alive(zbarrier_peek((zcolored_t){zload_acquire(&entry->word)}));
  strengthen(entry);
  handle->refcount--;
}

void zmanaged_handle_touch(zhandle_entry_t *entry) {
  zmanaged_group_touch(entry);
  if (zhandle_is_weak(entry)) zmanaged_handle_use_again(entry);
}

PyObject *zmanaged_handle_for(zaddress_t body) {
  uint32_t id = zload_relaxed(&zbody_header(body)->handle);
  if (id != 0 && id < zhandle_table.top) { /* a hash is beyond the top */
    zhandle_entry_t *entry = &zhandle_table.entries[id];
    zcolored_t word = {zload_acquire(&entry->word)};
    bool same = word.bits != 0 && zbarrier_peek(word).value == body.value;
    if (same && (entry->object & ZHANDLE_FREE) == 0) {
      if (zunlikely(entry->object & ZHANDLE_WEAK)) return strengthen(entry);
      PyObject *handle = zhandle_object(entry);
      handle->refcount++;
      return handle;
    }
  }
  zclass_t *class = zbody_shape(body)->owner;
  if (zunlikely(class->type == NULL)) return zpy_new_none(); /* the interpreter ends: zmanaged_class_let_go */
  return new_handle(body, class);
}

/* Drawn in order, so that 2^31 hashed bodies have different ones. */
static uint32_t draw_hash(void) {
  static uint32_t last;
  last = (last + 1) & ~ZBODY_HASHED;
  return last;
}

Py_ssize_t zmanaged_handle_hash(PyObject *self) {
  zhandle_entry_t *entry = ((zhandle_t *)self)->entry;
  if (zunlikely(entry == NULL)) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "the managed object has ended: it has no hash any more");
    return -1;
  }
  uint32_t *hash = &zhandle_table.hashes[zhandle_id(entry)];
  if ((entry->object & ZHANDLE_HASHED) == 0) {
    *hash = draw_hash();
    zstore_relaxed(&entry->object, entry->object | ZHANDLE_HASHED);
  }
  return (Py_ssize_t)*hash;
}

/* The handle ends, the body may live on: it keeps its hash itself from now on. */
static zcold void hand_back_hash(zhandle_entry_t *entry) {
  zaddress_t body = zbarrier_load_entry(zslot(&entry->word));
  zstore_relaxed(&zbody_header(body)->handle, ZBODY_HASHED | zhandle_table.hashes[zhandle_id(entry)]);
}

/* The program has let go, but weak references exist: from now on the body decides. What its group, or the choice of
 * suspects, took for true is so no longer. */
static zcold void weaken(zhandle_t *handle) {
  zhandle_entry_t *entry = handle->entry;
  zmanaged_group_touch(entry);
  zmanaged_handle_untrack(as_object(handle));
  zsuspects_note_weak(entry);
  zbarrier_drop_root(zslot(&entry->word));
  zstore_relaxed(&entry->object, (entry->object & ~(uintptr_t)ZHANDLE_SUSPECT) | ZHANDLE_WEAK);
  (void)zfetch_or_relaxed(&entry->word, ZCOLOR_SUSPECT);
  zhandle_table.weak++;
  handle->base.refcount = 1;
}

static void end_handle(zhandle_t *handle, bool spare) {
  PyObject *type = (PyObject *)handle->base.type;
  if (zlikely(spare && spare_count < SPARE_MAX)) {
    keep_spare(handle);
  } else {
    zma.PyObject_GC_Del(handle);
  }
  if (zunlikely(--type->refcount == 0)) { /* not ours to deallocate by hand */
    type->refcount = 1;
    zpy.Py_DecRef(type);
  }
}

void zmanaged_handle_finish_weak(PyObject *self) {
  zhandle_t *handle = (zhandle_t *)self;
  if (handle->weak_list != NULL) zma.PyObject_ClearWeakRefs(self);
  end_handle(handle, false);
}

void zmanaged_handle_dealloc(PyObject *self) {
  zhandle_t *handle = (zhandle_t *)self;
  zhandle_entry_t *entry = handle->entry;
  bool is_weak_next = handle->weak_list != NULL && entry != NULL && !zmanaged_is_sole(entry);
  if (zunlikely(is_weak_next)) {
    weaken(handle);
    return;
  }
  bool tracked = zpyabi_is_tracked(self);
  if (zunlikely(tracked)) {
    zmanaged_group_forget(self);
    zma.PyObject_GC_UnTrack(self);
  }
  bool holds = false;
  size_t dropped_from = SIZE_MAX;
  if (zlikely(entry != NULL)) {
    /* The body is dead, as surely as the handle. */
    if (zunlikely(handle->weak_list != NULL)) zma.PyObject_ClearWeakRefs(self);
    holds = (entry->object & ZHANDLE_HOLDS) != 0;
    if (zunlikely(holds)) dropped_from = zmanaged_sole_let_go(entry);
    if (zunlikely(entry->object & ZHANDLE_HASHED)) hand_back_hash(entry);
    zbarrier_drop_root(zslot(&entry->word));
    zhandle_table_free(entry);
  }
  end_handle(handle, !tracked);
  if (zunlikely(holds)) zmanaged_sole_drop(dropped_from);
}

void zmanaged_handle_untrack(PyObject *self) {
  zma.PyObject_GC_UnTrack(self);
  if (zold_map_is_old(self)) zold_map_remove(self);
}

int zmanaged_handle_traverse(PyObject *self, zpy_visit_t visit, void *argument) {
  int result = visit((PyObject *)self->type, argument);
  if (result == 0) result = zmanaged_sole_traverse(self, visit, argument);
  return result != 0 ? result : zmanaged_group_traverse(self, visit, argument);
}

/* In a group, breaking the cycle is left to the proxy, which releases what the bodies hold. */
int zmanaged_handle_clear(PyObject *self) {
  zhandle_entry_t *entry = ((zhandle_t *)self)->entry;
  if (entry == NULL || (entry->object & ZHANDLE_HOLDS) == 0) return 0;
  zmanaged_sole_drop(zmanaged_sole_let_go(entry));
  return 0;
}

/* ---- bodies -------------------------------------------------------------------------------------- */

zaddress_t zmanaged_new_body(const zshape_t *shape, uint64_t length) {
  zaddress_t body = zmanaged_alloc(shape, length);
  return zlikely(!zaddress_is_null(body)) ? body : zmanaged_stall(shape, length);
}

static inline PyObject *new_sole_handle(zaddress_t body, zclass_t *class) {
  PyObject *handle = new_handle(body, class);
  if (zlikely(handle != NULL)) zmanaged_sole_begin(handle, class);
  return handle;
}

static znoinline PyObject *new_object_slow(zclass_t *class, uint64_t length) {
  zaddress_t body = zmanaged_new_body(&class->shape, length);
  if (zaddress_is_null(body)) return NULL;
  if (zmanaged_spare_handles == NULL) { /* a stall ran Python code that took them: rare, try again */
    if (!zmanaged_refill_handles()) return NULL;
    return new_object_slow(class, length);
  }
  zmanaged_class_note_use(class);
  return new_sole_handle(body, class);
}

PyObject *zmanaged_new_object(zclass_t *class, uint64_t length) {
  if (class->shape.kind == ZBODY_FIXED && class->alloc_seq == zbody_space.number) {
    zaddress_t body = zmanaged_try_alloc_fixed(&class->shape);
    if (zlikely(!zaddress_is_null(body))) return new_sole_handle(body, class);
  }
  return new_object_slow(class, length);
}

/* ---- values -------------------------------------------------------------------------------------- */

PyObject *zmanaged_value_slow(zcolored_t word) {
  switch (zcolored_kind(word)) {
    case ZKIND_MANAGED:
      return zmanaged_handle_for(zcolored_strip(word));
    case ZKIND_INT:
      return zmanaged_new_int((int64_t)word.bits >> ZCOLOR_PAYLOAD_SHIFT);
    case ZKIND_FLOAT: {
      union {
        uint64_t bits;
        double number;
      } value = {word.bits & ~ZCOLOR_MASK};
      return zmanaged_new_float(value.number);
    }
    case ZKIND_BOOL:
      return zmanaged_incref(zcolored_payload(word) ? zma._Py_TrueStruct : zma._Py_FalseStruct);
    default: {
      PyObject *object = (PyObject *)zpyref_table.entries[zcolored_payload(word)].object;
      return object != NULL ? zmanaged_incref(object) : zpy_new_none();
    }
  }
}

static bool prepare_python(PyObject *value, zaddress_t holder, zcolored_t *word) {
  zpy.Py_IncRef(value);
  uint32_t index = zpyref_alloc(value, zbody_page_is_old(zbody_page_of(holder)));
  if (index == 0) {
    zpy.Py_DecRef(value); /* the caller's own reference keeps it alive */
    zma.PyErr_NoMemory();
    return false;
  }
  *word = zcolored_value(ZKIND_PYTHON, index);
  zmanaged_sole_note(holder, value);
  zmanaged_note_reference();
  return true;
}

bool zmanaged_prepare(PyObject *value, zaddress_t holder, zcolored_t *word) {
  PyObject *type = (PyObject *)value->type;
  if (zmanaged_is_handle(value)) {
    zmanaged_sole_share(((zhandle_t *)value)->entry);
    *word = zcolored_store_good(zmanaged_body(value));
    return true;
  }
  if (value == zpy_None()) {
    *word = zcolored_none();
    return true;
  }
  if (type == zma.PyLong_Type) {
    int overflow = 0;
    int64_t number;
    if (!zmanaged_int_value(value, &number)) number = zma.PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0 && number >= -((int64_t)1 << 47) && number < (int64_t)1 << 47) {
      *word = zcolored_value(ZKIND_INT, (uint64_t)number);
      return true;
    }
  } else if (type == zma.PyFloat_Type) {
    uint64_t bits = *(uint64_t *)((char *)value + ZMANAGED_FLOAT_VALUE);
    /* A NaN is equal to nothing: containers find it by its identity. */
    bool is_number = zmanaged_float_value(value) == zmanaged_float_value(value);
    if ((bits & ZCOLOR_MASK) == 0 && is_number) {
      *word = zcolored_value(ZKIND_FLOAT, bits >> ZCOLOR_PAYLOAD_SHIFT);
      return true;
    }
  } else if (type == zma.PyBool_Type) {
    *word = zcolored_value(ZKIND_BOOL, value == zma._Py_TrueStruct);
    return true;
  }
  return prepare_python(value, holder, word);
}

PyObject *zmanaged_replace(zslot_t slot, zcolored_t word) {
  zcolored_t overwritten = zbarrier_store(slot, word);
  if (zlikely(zcolored_kind(overwritten) != ZKIND_PYTHON)) return NULL;
  return zpyref_free((uint32_t)zcolored_payload(overwritten));
}
