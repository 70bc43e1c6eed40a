/* What others do with the blocks of CPython's allocators, loaded with ctypes or LD_PRELOAD:
 *   wrap(domains, header)  allocators that keep a header before each block, as profilers do; unwrap() takes them off.
 *                          Preloaded, with ZGCTEST_WRAP="DOMAINS HEADER", from the start. Domains: bits RAW, MEM, OBJ.
 *   slab_type(...)         a type whose instances are cut from slabs, or whose blocks go to a pool; what is left
 *                          behind of a dead one looks like an object, but its type is none.
 * No Python.h: it works with every CPython. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
} PyMemAllocatorEx;

#define PYTHON(result, name, arguments) extern result name arguments __attribute__((weak))
PYTHON(void, PyMem_GetAllocator, (int domain, PyMemAllocatorEx *allocator));
PYTHON(void, PyMem_SetAllocator, (int domain, PyMemAllocatorEx *allocator));

/* -- blocks that were given out with a header: those from before know nothing of it -- */

#define PLACES ((size_t)1 << 22)
#define GONE ((void *)1)

static void *places[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t place_of(const void *block) {
  size_t at = (size_t)((uintptr_t)block * 0x9E3779B97F4A7C15u >> 42);
  while (places[at] != NULL && places[at] != block) at = (at + 1) % PLACES;
  return at;
}

static void *note(void *block) {
  if (block == NULL) return NULL;
  pthread_mutex_lock(&lock);
  size_t at = (size_t)((uintptr_t)block * 0x9E3779B97F4A7C15u >> 42);
  while (places[at] != NULL && places[at] != GONE) at = (at + 1) % PLACES;
  places[at] = block;
  pthread_mutex_unlock(&lock);
  return block;
}

static bool forget(const void *block) {
  pthread_mutex_lock(&lock);
  size_t at = place_of(block);
  bool was_there = places[at] == block;
  if (was_there) places[at] = GONE;
  pthread_mutex_unlock(&lock);
  return was_there;
}

/* -- the wrapper -- */

static PyMemAllocatorEx inner[3];
static size_t header;
static int wrapped;

static void *behind(char *block) { return block == NULL ? NULL : note(block + header); }

static void *header_malloc(void *ctx, size_t size) {
  PyMemAllocatorEx *a = ctx;
  return behind(a->malloc(a->ctx, size + header));
}

static void *header_calloc(void *ctx, size_t count, size_t size) {
  PyMemAllocatorEx *a = ctx;
  return behind(a->calloc(a->ctx, 1, count * size + header));
}

static void header_free(void *ctx, void *block) {
  PyMemAllocatorEx *a = ctx;
  if (block == NULL) return;
  a->free(a->ctx, forget(block) ? (char *)block - header : block);
}

static void *header_realloc(void *ctx, void *block, size_t size) {
  PyMemAllocatorEx *a = ctx;
  if (block == NULL) return header_malloc(ctx, size);
  if (!forget(block)) return a->realloc(a->ctx, block, size);
  char *moved = a->realloc(a->ctx, (char *)block - header, size + header);
  return moved == NULL ? (note(block), NULL) : behind(moved);
}

void wrap(int domains, size_t bytes) {
  header = bytes;
  wrapped = domains;
  for (int domain = 0; domain < 3; domain++) {
    if (!(domains >> domain & 1)) continue;
    PyMem_GetAllocator(domain, &inner[domain]);
    PyMemAllocatorEx mine = {&inner[domain], header_malloc, header_calloc, header_realloc, header_free};
    PyMem_SetAllocator(domain, &mine);
  }
}

/* Still looked at on their way: the blocks with a header must find their way back. */
static void *plain_malloc(void *ctx, size_t size) {
  PyMemAllocatorEx *a = ctx;
  return a->malloc(a->ctx, size);
}

static void *plain_calloc(void *ctx, size_t count, size_t size) {
  PyMemAllocatorEx *a = ctx;
  return a->calloc(a->ctx, count, size);
}

void unwrap(void) {
  for (int domain = 0; domain < 3; domain++) {
    if (!(wrapped >> domain & 1)) continue;
    PyMemAllocatorEx mine = {&inner[domain], plain_malloc, plain_calloc, header_realloc, header_free};
    PyMem_SetAllocator(domain, &mine);
  }
}

__attribute__((constructor)) static void wrap_from_the_start(void) {
  const char *wish = getenv("ZGCTEST_WRAP");
  int domains;
  size_t bytes;
  if (wish == NULL || PyMem_SetAllocator == NULL || sscanf(wish, "%d %zu", &domains, &bytes) != 2) return;
  wrap(domains, bytes);
}

/* -- a type with storage of its own -- */

typedef struct type Type;
typedef struct object {
  intptr_t refcount;
  Type *type;
} Object;
typedef int (*visit_t)(Object *, void *);
typedef struct {
  const char *name;
  Object *(*function)(Object *, Object *);
  int flags;
  const char *doc;
} PyMethodDef;
typedef struct {
  int slot;
  void *function;
} PyType_Slot;
typedef struct {
  const char *name;
  int basicsize, itemsize;
  unsigned flags;
  PyType_Slot *slots;
} PyType_Spec;

PYTHON(Object *, PyType_FromSpec, (PyType_Spec * spec));
PYTHON(Object *, PyObject_Init, (Object * object, Type *type));
PYTHON(void, PyObject_GC_Track, (void *object));
PYTHON(void, PyObject_GC_UnTrack, (void *object));
PYTHON(void *, PyMem_Malloc, (size_t size));
PYTHON(void, PyMem_Free, (void *block));
PYTHON(void, Py_IncRef, (Object * object));
PYTHON(void, Py_DecRef, (Object * object));

enum { HAVE_GC = 1 << 14, METH_O = 8 };
enum { TP_ALLOC = 47, TP_CLEAR = 51, TP_DEALLOC = 52, TP_METHODS = 64, TP_TRAVERSE = 71 };
#define GC_HEAD 16

typedef struct {
  int live;
  int is_full;
} slab_t;

typedef struct {
  Object base;
  Object *reference;
  slab_t *slab;
} Node;

static int per_slab;
static size_t slab_header, stride; /* without a header nothing is kept there: a pool needs none */
static bool is_pool;        /* a dead one's block is kept, and used for other things */
static void *free_slots[1 << 20];
static int free_count;
static slab_t *current;
static int current_count, live;

/* Tracked and with references, if the words were believed. */
static void leave_rubbish(char *slot) {
  uintptr_t *word = (uintptr_t *)slot;
  for (size_t i = 0; i < stride / sizeof *word; i++) word[i] = 0x123456789abcd0u + i;
  word[2] = 3;
}

static char *take_slot(void) {
  if (is_pool && free_count > 0) return free_slots[--free_count];
  if (current == NULL || current_count == per_slab) {
    current = PyMem_Malloc(slab_header + stride * (size_t)per_slab);
    current_count = 0;
    if (slab_header > 0) *current = (slab_t){0, 0};
  }
  char *slot = (char *)current + slab_header + stride * (size_t)current_count++;
  if (slab_header > 0) current->is_full = current_count == per_slab;
  return slot;
}

static void give_slot(slab_t *slab, char *slot) {
  leave_rubbish(slot);
  if (is_pool) {
    free_slots[free_count++] = slot;
  } else if (--slab->live == 0 && slab->is_full) {
    if (slab == current) current = NULL;
    PyMem_Free(slab);
  }
}

static Object *node_alloc(Type *type, intptr_t items) {
  (void)items;
  char *slot = take_slot();
  slab_t *slab = is_pool ? NULL : current;
  memset(slot, 0, stride);
  Node *node = (Node *)(slot + GC_HEAD);
  PyObject_Init(&node->base, type);
  node->slab = slab;
  if (slab != NULL) slab->live++;
  live++;
  PyObject_GC_Track(node);
  return &node->base;
}

static int node_traverse(Object *object, visit_t visit, void *argument) {
  Node *node = (Node *)object;
  int result = visit((Object *)object->type, argument);
  if (result == 0 && node->reference != NULL) result = visit(node->reference, argument);
  return result;
}

static int node_clear(Object *object) {
  Object *reference = ((Node *)object)->reference;
  ((Node *)object)->reference = NULL;
  if (reference != NULL) Py_DecRef(reference);
  return 0;
}

static void node_dealloc(Object *object) {
  Type *type = object->type;
  PyObject_GC_UnTrack(object);
  node_clear(object);
  live--;
  give_slot(((Node *)object)->slab, (char *)object - GC_HEAD);
  Py_DecRef((Object *)type);
}

static Object *node_set(Object *self, Object *reference) {
  Py_IncRef(reference);
  node_clear(self);
  ((Node *)self)->reference = reference;
  Py_IncRef(self);
  return self;
}

/* One type in a process. */
Object *slab_type(int count, size_t header_bytes, size_t slot_bytes, bool pool) {
  static PyMethodDef methods[] = {{"set", node_set, METH_O, NULL}, {NULL, NULL, 0, NULL}};
  static PyType_Slot slots[] = {
      {TP_ALLOC, node_alloc}, {TP_TRAVERSE, node_traverse}, {TP_CLEAR, node_clear},
      {TP_DEALLOC, node_dealloc}, {TP_METHODS, methods}, {0, NULL}};
  static PyType_Spec spec = {"zgctest.Node", sizeof(Node), 0, HAVE_GC, slots};
  per_slab = count;
  slab_header = header_bytes;
  stride = slot_bytes;
  is_pool = pool;
  return PyType_FromSpec(&spec);
}

int slab_live(void) { return live; }
