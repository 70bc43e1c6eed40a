#include "collector/python/zedges.h"

#include <stdlib.h>
#include <string.h>

#include "collector/python/zwalker.h"

static void add(void *context, void *reference) {
  zedges_t *edges = context;
  if (reference == ztype_set_dummy) return;
  if (edges->count == ZEDGES_MAX) {
    edges->overflow = true;
    return;
  }
  edges->edge[edges->count++] = reference;
}

static int visit(PyObject *reference, void *context) {
  zedges_t *edges = context;
  add(context, reference);
  return edges->overflow; /* stops the traversal */
}

bool zedges_from_traverse(PyObject *instance, zedges_t *edges) {
  edges->count = 0;
  edges->overflow = false;
  zpy_traverse_t traverse = zpyabi_traverse(zpyabi_type(instance));
  if (traverse != NULL) traverse(instance, visit, edges);
  return !edges->overflow;
}

bool zedges_from_walker(PyObject *instance, const ztype_t *type, zedges_t *edges) {
  edges->count = 0;
  edges->overflow = false;
  return zwalker_walk(instance, type, add, edges) && !edges->overflow;
}

static int compare_words(const void *a, const void *b) {
  uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
  return x < y ? -1 : x > y;
}

static void sort(zedges_t *edges) { qsort(edges->edge, edges->count, sizeof edges->edge[0], compare_words); }

bool zedges_equal(zedges_t *a, zedges_t *b) {
  if (a->count != b->count) return false;
  sort(a);
  sort(b);
  return memcmp(a->edge, b->edge, a->count * sizeof a->edge[0]) == 0;
}

bool zedges_take(zedges_t *edges, const void *reference) {
  for (size_t i = 0; i < edges->count; i++) {
    if (edges->edge[i] != reference) continue;
    edges->edge[i] = edges->edge[--edges->count];
    return true;
  }
  return false;
}

/* Both are sorted, and what is in both is passed over. */
bool zedges_take_all(zedges_t *edges, zedges_t *some) {
  sort(edges);
  sort(some);
  size_t kept = 0, at = 0, taken = 0;
  for (; at < edges->count; at++) {
    if (taken < some->count && some->edge[taken] == edges->edge[at]) {
      taken++;
    } else {
      edges->edge[kept++] = edges->edge[at];
    }
  }
  edges->count = kept;
  return taken == some->count;
}

bool zedges_have(PyObject *instance, const void *reference) {
  static zedges_t edges; /* GIL */
  return zedges_from_traverse(instance, &edges) && zedges_take(&edges, reference);
}
