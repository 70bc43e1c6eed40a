#include "collector/cpython/zfeed.h"

#include "collector/cpython/zalive.h"
#include "collector/cpython/zcensus.h"
#include "collector/cpython/zdriver.h"
#include "heap/zold_map.h"

static zgc_head_t *generation(int i) { return &zgc_state.generations[i].head; }

void zfeed_open(void) { zgc_list_splice(generation(0), generation(1)); }

/* The last of those that stood aside when the feeding began, or the list's head; compared only. */
static const zgc_head_t *last_aside;

/* CPython has put survivors behind the objects that were set aside; those are young, but for survivors
 * of a batch just before. */
void zfeed_note_survivors(size_t most) {
  const zgc_head_t *list = generation(1);
  zgc_head_t *at = zgc_head_prev(list);
  for (; most > 0 && at != list && at != last_aside; most--, at = zgc_head_prev(at)) {
    if (!zold_map_is_old(zpyabi_object(at))) break;
    zcensus_add(zpyabi_object(at), -1);
  }
}

void zfeed_close(size_t survivors_most) {
  zfeed_note_survivors(survivors_most);
  zgc_list_splice(generation(1), generation(0));
}

/* CPython calls callbacks and finalizers in the order of its list, which is by age, and programs notice: a generator
 * that closes a file in `finally` is older than the file. Candidates come in the order of their addresses.
 * So those with finalizers or weak references are marked (with CPython's own flag) and stay behind until the rest has
 * left the list; then each takes along, in the list's order, what is marked near it. */
#define NEAR 8 /* live objects between two that still count as near */

static bool is_marked(const zgc_head_t *head) { return (head->prev & ZPYABI_PREV_COLLECTING) != 0; }
static void unmark(zgc_head_t *head) { head->prev &= ~ZPYABI_PREV_COLLECTING; }

static bool is_list(const zgc_head_t *head) {
  return head >= generation(0) && head <= generation(ZGC_GENERATIONS - 1);
}

static void feed(zgc_head_t *head) {
  zgc_list_unlink(head);
  zgc_list_insert_before(head, generation(0));
  zcensus_add(zpyabi_object(head), 1);
}

static zgc_head_t *marked_before(zgc_head_t *head) {
  for (int i = 0; i <= NEAR; i++) {
    head = zgc_head_prev(head);
    if (is_list(head)) return NULL;
    if (is_marked(head)) return head;
  }
  return NULL;
}

static zgc_head_t *marked_behind(zgc_head_t *head) {
  for (int i = 0; i <= NEAR; i++) {
    head = zgc_head_next(head);
    if (is_list(head)) return NULL;
    if (is_marked(head)) return head;
  }
  return NULL;
}

static void feed_run(zgc_head_t *head) {
  for (zgc_head_t *older = head; older != NULL; older = marked_before(head)) head = older;
  while (head != NULL) {
    zgc_head_t *next = marked_behind(head);
    unmark(head);
    feed(head);
    head = next;
  }
}

static bool is_seen(PyObject *object) {
  return zpyabi_has_weakrefs(object) || zpyabi_has_finalizer(zpyabi_type(object));
}

/* Nothing of Python runs in here, so what is alive at first is so at the end. */
size_t zfeed_candidates(PyObject *const *candidates, size_t count) {
  size_t fed = 0, marked = 0;
  zcensus_begin(zdriver_collection.sequence);
  last_aside = zgc_head_prev(generation(1));
  for (size_t i = 0; i < count; i++) {
    if (i + 8 < count) __builtin_prefetch(zpyabi_head(candidates[i + 8]));
    if (!zalive_is_member(candidates[i])) continue;
    fed++;
    if (is_seen(candidates[i])) {
      zpyabi_head(candidates[i])->prev |= ZPYABI_PREV_COLLECTING;
      marked++;
    } else {
      feed(zpyabi_head(candidates[i]));
    }
  }
  for (size_t i = 0; i < count && marked > 0; i++) {
    zgc_head_t *head = zpyabi_head(candidates[i]);
    if (zalive_is_member(candidates[i]) && is_marked(head)) feed_run(head);
  }
  return fed;
}

/* gc.freeze freezes all or nothing of it, but what has died meanwhile is not frozen. */
bool zfeed_is_frozen(const zcomponents_t *c) {
  if (zold_map_frozen_count == 0) return false;
  for (size_t i = c->next_object; i < c->object_count; i++) {
    if (zold_map_is_old(c->objects[i])) return !zold_map_is_member(c->objects[i]);
  }
  return false;
}

size_t zfeed_reach(const zcomponents_t *c, size_t objects) {
  size_t reach = 0;
  for (size_t i = c->next_component; i < c->component_count; i++) {
    size_t size = zcomponents_size(c, i);
    if (zcomponents_is_large(c, i) || (reach > 0 && reach + size > objects)) break;
    reach += size;
  }
  return reach;
}

size_t zfeed_components(zcomponents_t *c, size_t objects, bool is_last) {
  size_t left = zfeed_reach(c, objects), fed = 0;
  while (left > 0 && c->next_component + !is_last < c->component_count) {
    size_t size = zcomponents_size(c, c->next_component);
    fed += zfeed_candidates(c->objects + c->next_object, size);
    c->next_object += size;
    c->next_component++;
    left -= size;
  }
  return fed;
}
