#include "preload/start/zdebug_hooks.h"

#include <string.h>

#include "heap/zfallback.h"
#include "heap/zold_map.h"

/* debug_alloc_api_t (Objects/obmalloc.c), which the hooks have as their context. */
typedef struct {
  char id;
  PyMemAllocatorEx below;
} hook_t;

static PyMemAllocatorEx get(int domain) {
  PyMemAllocatorEx table;
  zpy.PyMem_GetAllocator(domain, &table);
  return table;
}

static void set(int domain, PyMemAllocatorEx table) { zpy.PyMem_SetAllocator(domain, &table); }

static bool equal(const PyMemAllocatorEx *a, const PyMemAllocatorEx *b) {
  return a->ctx == b->ctx && a->malloc == b->malloc && a->calloc == b->calloc &&
         a->realloc == b->realloc && a->free == b->free;
}

/* -- are they there? ------------------------------------------------------------------------------ */

/* The hooks of all domains are the same functions with contexts of their own in one array; pymalloc
 * and malloc have none. */
static bool look_like_hooks(const PyMemAllocatorEx *object, const PyMemAllocatorEx *mem) {
  return object->malloc == mem->malloc && object->ctx != NULL && mem->ctx != NULL &&
         (uintptr_t)object->ctx - (uintptr_t)mem->ctx == sizeof(hook_t);
}

/* PyMem_SetupDebugHooks leaves a domain alone that has them. */
bool zdebug_hooks_are_set(void) {
  if (zpy.PyMem_SetupDebugHooks == NULL) return false;
  PyMemAllocatorEx object = get(PYMEM_DOMAIN_OBJ), mem = get(PYMEM_DOMAIN_MEM);
  if (!look_like_hooks(&object, &mem)) return false;
  PyMemAllocatorEx raw = get(PYMEM_DOMAIN_RAW);
  zpy.PyMem_SetupDebugHooks();
  PyMemAllocatorEx object_after = get(PYMEM_DOMAIN_OBJ), mem_after = get(PYMEM_DOMAIN_MEM);
  if (equal(&object, &object_after) && equal(&mem, &mem_after)) return true;
  set(PYMEM_DOMAIN_OBJ, object);
  set(PYMEM_DOMAIN_MEM, mem);
  set(PYMEM_DOMAIN_RAW, raw);
  return false;
}

/* -- going below ------------------------------------------------------------------------------------ */

/* Sets `ours` and the hooks over it. True when the hooks are the same as before, and keep it where
 * hook_t says. */
static bool go_below(int domain, const PyMemAllocatorEx *hooks, const PyMemAllocatorEx *ours) {
  set(domain, *ours);
  zpy.PyMem_SetupDebugHooks();
  PyMemAllocatorEx after = get(domain);
  return equal(&after, hooks) && equal(&((const hook_t *)hooks->ctx)->below, ours);
}

bool zdebug_hooks_go_below(const PyMemAllocatorEx *object, const PyMemAllocatorEx *mem) {
  if (!zdebug_hooks_are_set()) return false;
  PyMemAllocatorEx object_hooks = get(PYMEM_DOMAIN_OBJ), mem_hooks = get(PYMEM_DOMAIN_MEM);
  hook_t object_before = *(const hook_t *)object_hooks.ctx;
  hook_t mem_before = *(const hook_t *)mem_hooks.ctx;
  bool below = equal(&object_before.below, &mem_before.below) && object_before.id == 'o' &&
               mem_before.id == 'm' && go_below(PYMEM_DOMAIN_OBJ, &object_hooks, object) &&
               go_below(PYMEM_DOMAIN_MEM, &mem_hooks, mem);
  if (!below) {
    set(PYMEM_DOMAIN_OBJ, object_before.below);
    set(PYMEM_DOMAIN_MEM, mem_before.below);
    zpy.PyMem_SetupDebugHooks();
    return false;
  }
  const PyMemAllocatorEx *b = &object_before.below;
  zfallback_use(&(zfallback_t){b->ctx, b->malloc, b->calloc, b->realloc, b->free});
  zold_map_block_header = ZDEBUG_HOOKS_HEADER;
  return true;
}

void zdebug_hooks_are_gone(void) { zold_map_block_header = 0; }

bool zdebug_hooks_are_over(const PyMemAllocatorEx *object) {
  if (!zdebug_hooks_are_set()) return false;
  PyMemAllocatorEx hooks = get(PYMEM_DOMAIN_OBJ);
  return equal(&((const hook_t *)hooks.ctx)->below, object);
}

/* -- arenas -------------------------------------------------------------------------------------------- */

static PyObjectArenaAllocator arenas;
static bool (*arena_request)(size_t size);

static void *arena_alloc(void *ctx, size_t size) {
  return arena_request(size) ? NULL : arenas.alloc(ctx, size);
}

void zdebug_hooks_watch_arenas(bool (*on_request)(size_t size)) {
  if (zpy.PyObject_GetArenaAllocator == NULL || zpy.PyObject_SetArenaAllocator == NULL) return;
  arena_request = on_request;
  zpy.PyObject_GetArenaAllocator(&arenas);
  PyObjectArenaAllocator own, watched;
  zdebug_hooks_arenas(&own, &watched);
  zpy.PyObject_SetArenaAllocator(&watched);
}

bool zdebug_hooks_arenas(PyObjectArenaAllocator *own, PyObjectArenaAllocator *watched) {
  *own = *watched = arenas;
  watched->alloc = arena_alloc;
  return arena_request != NULL;
}
