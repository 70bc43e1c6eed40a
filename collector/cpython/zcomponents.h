/* Groups candidates into components: objects connected by references, in either direction.
 *
 * A component must be fed whole. Its members hold each other, so CPython would take a part of it
 * for alive; and a weak reference to one member can bring all back to life. Union-find with path
 * halving (Tarjan, van Leeuwen 1984).
 *
 * A weak reference among the candidates joins its referent's component. Otherwise its referent could be fed
 * first: CPython would then call the callback of a weak reference that is garbage itself, and a finalizer could
 * use a weak reference to garbage of a later batch. One full collection of CPython's never shows either. */
#ifndef COLLECTOR_CPYTHON_ZCOMPONENTS_H
#define COLLECTOR_CPYTHON_ZCOMPONENTS_H

#include "collector/cpython/zpass.h"
#include "heap/base/zoption.h"

typedef struct {
  PyObject **objects;  /* members of one component stand together */
  uint8_t *at_start;   /* of the objects, in the same order: see zpass.h; 0: not known */
  uint32_t *sizes;     /* of the components, in the same order: small ones first; see zcomponents_size */
  size_t object_count, component_count;
  size_t room; /* objects that the tables were made for */
  size_t next_object, next_component; /* what has been fed */
  size_t largest;
  size_t refused; /* by our own verdict: components up to here are CPython's, whatever their size; see zteardown.h */
  bool is_blurred; /* see zweakrefs.h */
} zcomponents_t;

/* From the candidates of a finished pass, whose cells are used up. False when memory is short, or it
 * was told to stop. */
bool zcomponents_make(zcomponents_t *components, zpass_t *pass);
void zcomponents_free(zcomponents_t *components);

/* Beside the size of a component. When it was made, a member ... */
#define ZCOMPONENTS_OBSERVED ((uint32_t)1 << 31) /* had weak references */
#define ZCOMPONENTS_FINAL ((uint32_t)1 << 30)    /* had a finalizer */
#define ZCOMPONENTS_CHANGED ((uint32_t)1 << 29)  /* had another refcount than before the first pass, or was moved */
#define ZCOMPONENTS_MOST ((uint32_t)1 << 28)     /* objects */
#define ZCOMPONENTS_FLAGS (~(ZCOMPONENTS_MOST - 1))

static inline size_t zcomponents_size(const zcomponents_t *components, size_t component) {
  return components->sizes[component] & ~ZCOMPONENTS_FLAGS;
}

static inline uint32_t zcomponents_flags(const zcomponents_t *components, size_t component) {
  return components->sizes[component] & ZCOMPONENTS_FLAGS;
}

/* It is taken apart in slices, if it is garbage. */
static inline bool zcomponents_is_large(const zcomponents_t *components, size_t component) {
  if (component >= components->component_count || component < components->refused) return false;
  return zcomponents_size(components, component) >= zoption(component_max);
}

static inline size_t zcomponents_left(const zcomponents_t *components) {
  return components->object_count - components->next_object;
}

#endif
