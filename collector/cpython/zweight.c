#include "collector/cpython/zweight.h"

#include "collector/python/zwalker.h"

typedef struct {
  size_t count, most;
} counter_t;

/* A visitor that returns something else than 0 ends the traversal (Py_VISIT). A type that goes on all the
 * same costs what CPython's own visit of it does, and is too heavy to be looked at again. */
static int count_reference(PyObject *reference, void *raw) {
  (void)reference;
  counter_t *counter = raw;
  return ++counter->count > counter->most;
}

static size_t count_references(PyObject *object, size_t most) {
  zpy_traverse_t traverse = zpyabi_read_type(zpyabi_type(object)).traverse;
  counter_t counter = {0, most};
  if (traverse != NULL) traverse(object, count_reference, &counter);
  return counter.count;
}

static zalways_inline size_t weight_of(PyObject *object, size_t most) {
  const ztype_t *type = ztype_find(zpyabi_type(object));
  bool is_known = type != NULL && type->kind != ZTYPE_DEFERRED && zload_relaxed(&type->unknown) == 0;
  return zlikely(is_known) ? zwalker_length(object, type) : count_references(object, most);
}

size_t zweight_of(PyObject *object, size_t most) { return weight_of(object, most); }

zweight_sum_t zweight_of_list(const zgc_head_t *list, const zgc_head_t *mark, size_t most) {
  zweight_sum_t sum = {0, 0, 0, 0};
  for (zgc_head_t *at = zgc_head_next(list); at != list; at = zgc_head_next(at)) {
    if (zunlikely(at == mark)) sum.members_before = sum.members, sum.weight_before = sum.weight;
    sum.members++;
    sum.weight += weight_of(zpyabi_object(at), most);
  }
  return sum;
}
