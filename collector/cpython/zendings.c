#include "collector/cpython/zendings.h"

#include <string.h>

#include "collector/python/zpyabi_generator.h"

#define KINDS 256u /* a power of two; two types that fall together take turns */

static zending_t endings[KINDS];

void zendings_reset(void) { memset(endings, 0, sizeof endings); }

static const ztype_t *walker_of(PyTypeObject *type) {
  const ztype_t *entry = ztype_find(type);
  bool is_known = entry != NULL && entry->kind != ZTYPE_DEFERRED && !entry->is_learned;
  return is_known && zload_relaxed(&entry->unknown) == 0 ? entry : NULL;
}

/* From 3.14 on a frame may refer to an object without a reference of its own, and tp_traverse tells nobody but
 * CPython's own trial deletion which ones do (Python/gc.c, _PyGC_VisitStackRef). */
static bool may_borrow(const ztype_t *entry) { return entry->kind == ZTYPE_GENERATOR && zpyabi_generator->is_tagged; }

/* Known to the library by CPython's own code, and none of those that the header names. */
static bool is_plain(const ztype_t *entry, PyTypeObject *type) {
  if (entry == NULL || entry->is_weakref || may_borrow(entry)) return false;
  return !(zpyabi_flags(type) & ZPYABI_FLAG_TYPE_SUBCLASS) && !zpyabi_has_legacy_finalizer(type);
}

static znoinline void ask(zending_t *ending, PyTypeObject *type) {
  ending->type = type;
  ending->entry = walker_of(type);
  ending->clear = (zpy_clear_t)zpy.PyType_GetSlot(type, ZPYABI_SLOT_CLEAR);
  ending->weaklist_offset = zpyabi_read_type(type).weaklist_offset;
  ending->has_finalizer = zpyabi_has_finalizer(type);
  ending->is_plain = is_plain(ending->entry, type);
}

const zending_t *zendings_of(PyTypeObject *type) {
  zending_t *ending = &endings[ztype_hash(type) & (KINDS - 1)];
  if (zunlikely(ending->type != type)) ask(ending, type);
  return ending;
}
