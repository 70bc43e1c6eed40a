#include "collector/zfeed.h"

#include "collector/zcensus.h"
#include "collector/zdriver.h"
#include "heap/zold_map.h"

static zgc_head_t *generation(int i) { return &zgc_state.generations[i].head; }

void zfeed_open(void) { zgc_list_splice(generation(0), generation(1)); }

/* The last of those that stood aside when the feeding began, or the list's head; compared only. */
static const zgc_head_t *last_aside;

/* CPython has put survivors behind the objects that stand aside; those are young, but for survivors
 * of a batch just before. */
void zfeed_note_survivors(void) {
  const zgc_head_t *list = generation(1);
  for (zgc_head_t *at = zgc_head_prev(list); at != list && at != last_aside; at = zgc_head_prev(at)) {
    if (!zold_map_is_old(zpyabi_object(at))) break;
    zcensus_add(zpyabi_object(at), -1);
  }
}

void zfeed_close(void) {
  zfeed_note_survivors();
  zgc_list_splice(generation(1), generation(0));
}

static bool feed(PyObject *object) {
  if (!zold_map_is_old(object) || !zpyabi_is_tracked(object)) return false;
  if (zpyabi_refcount(object) <= 0) return false; /* on a free list or in the trashcan */
  zgc_list_unlink(zpyabi_head(object));
  zgc_list_insert_before(zpyabi_head(object), generation(0));
  zcensus_add(object, 1);
  return true;
}

size_t zfeed_candidates(PyObject *const *candidates, size_t count) {
  size_t fed = 0;
  zcensus_begin(zdriver_collection.sequence);
  last_aside = zgc_head_prev(generation(1));
  for (size_t i = 0; i < count; i++) {
    if (i + 8 < count) __builtin_prefetch(zpyabi_head(candidates[i + 8]));
    fed += feed(candidates[i]);
  }
  return fed;
}

size_t zfeed_components(zcomponents_t *c, size_t objects) {
  size_t fed = 0;
  while (c->next_component < c->component_count) {
    size_t size = c->sizes[c->next_component];
    if (fed > 0 && fed + size > objects) break;
    fed += zfeed_candidates(c->objects + c->next_object, size);
    c->next_object += size;
    c->next_component++;
  }
  return fed;
}
