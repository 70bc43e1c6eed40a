#include "collector/cpython/zsurvivors.h"

#include "collector/python/zpyabi.h"
#include "collector/cpython/ztenuring.h"
#include "collector/cpython/zweight.h"

static PyObject *marker; /* NULL: not needed so far */
static size_t new_weight; /* of what was new when it was weighed last */

static zgc_head_t *list_of(int generation) { return &zgc_state.generations[generation].head; }

/* From both ends, until they meet: memory answers two at a time. */
static size_t count_members(const zgc_head_t *list, size_t most) {
  const zgc_head_t *front = list, *back = list;
  size_t count = 0;
  for (; count < most; count += 2) {
    front = zgc_head_next(front);
    if (front == back) return count;
    back = zgc_head_prev(back);
    if (front == back) return count + 1;
  }
  return most;
}

/* The same, with the marker looked for. */
static size_t count_aged(const zgc_head_t *list, const zgc_head_t *mark, size_t most, size_t *aged) {
  const zgc_head_t *front = list, *back = list;
  size_t count = 0, behind = 0; /* the marker, counted from the end */
  while (count < most) {
    front = zgc_head_next(front);
    if (front == back) break;
    if (front == mark) *aged = count / 2;
    count++;
    back = zgc_head_prev(back);
    if (front == back) break;
    count++;
    if (back == mark) behind = count / 2;
  }
  if (behind > 0 && count < most) *aged = count - behind;
  return zmin(count, most);
}

size_t zsurvivors_count(size_t most, size_t *aged) {
  *aged = 0;
  if (marker == NULL) return count_members(list_of(0), most);
  return count_aged(list_of(0), zpyabi_head(marker), most, aged);
}

static size_t garbage_among(size_t aged, size_t collected) {
  if (aged == 0) return 0;
  const zgc_head_t *list = list_of(1), *mark = zpyabi_head(marker);
  const zgc_head_t *at = zgc_head_next(list);
  size_t in_place = 0;
  for (; at != mark && at != list && in_place < aged; in_place++) at = zgc_head_next(at);
  return zmin(collected, aged - in_place);
}

static void promote(zgc_head_t *head) {
  zgc_list_unlink(head);
  zgc_list_insert_before(head, list_of(ZGC_GENERATIONS - 1));
}

/* The marker stands behind the aged, where it is still in the list. */
zsurvivors_look_t zsurvivors_weigh(size_t most) {
  zweight_sum_t sum = zweight_of_list(list_of(0), marker == NULL ? NULL : zpyabi_head(marker), most);
  new_weight = sum.weight - sum.weight_before;
  return (zsurvivors_look_t){.members = sum.members, .aged = sum.members_before, .new_weight = new_weight,
                             .aged_weight = sum.weight_before, .weight = sum.weight};
}

void zsurvivors_lighten(size_t most, zsurvivors_look_t *look) {
  zgc_head_t *young = list_of(0), *mark = marker == NULL ? NULL : zpyabi_head(marker);
  if (look->weight <= most) return;
  size_t each = most / look->members, old = 0, old_aged = 0;
  bool is_aged = look->aged > 0;
  for (zgc_head_t *at = zgc_head_next(young), *next; at != young && look->weight > most; at = next) {
    next = zgc_head_next(at);
    if (at == mark) is_aged = false;
    size_t its = zweight_of(zpyabi_object(at), most);
    if (its <= each) continue;
    promote(at);
    look->weight -= its;
    old++;
    if (is_aged) old_aged++;
  }
  look->members -= old;
  look->aged -= old_aged;
}

/* What is kept may weigh so much more. Heavy objects have a limit of their own: a few lists of thousands do not push
 * out what refers to them, with which they die. */
typedef struct {
  size_t light, heavy;
} allowance_t;

/* It is weighed no further than it matters. */
static bool is_allowed(PyObject *object, allowance_t *left) {
  size_t weight = zweight_of(object, zmax(left->heavy, ZTENURING_HEAVY));
  size_t *most = weight > ZTENURING_HEAVY ? &left->heavy : &left->light;
  if (weight > *most) return false;
  *most -= weight;
  return true;
}

/* The first of the last `count` members. Those among them that weigh more than is left (NULL: any weight is allowed)
 * are promoted, *heavy in number. */
static zgc_head_t *last_members(zgc_head_t *list, size_t count, allowance_t *left, size_t *heavy) {
  zgc_head_t *at = list;
  *heavy = 0;
  for (; count > 0 && zgc_head_prev(at) != list; count--) {
    zgc_head_t *before = zgc_head_prev(at);
    if (left == NULL || is_allowed(zpyabi_object(before), left)) {
      at = before;
    } else {
      promote(before);
      ++*heavy;
    }
  }
  return at;
}

/* While it is not known what has been kept before, nothing that is heavy is visited again and again. */
static size_t heavies(void) {
  if (!ztenuring_is_on()) return ZTENURING_HEAVY;
  return zmin(ztenuring_weight(0) / 4 * 3, new_weight * ZTENURING_VISITS / 2);
}

static size_t members_until(const zgc_head_t *list, const zgc_head_t *end) {
  size_t count = 0;
  for (const zgc_head_t *at = zgc_head_next(list); at != end; at = zgc_head_next(at)) count++;
  return count;
}

/* At the end of what is kept; in no list while nobody asks for it. */
static void place_marker(zgc_head_t *kept) {
  if (ztenuring_is_on() && marker == NULL) marker = zpy.PyList_New(0);
  if (marker == NULL) {
    zpy.PyErr_Clear();
    return;
  }
  zpy.PyObject_GC_UnTrack(marker);
  if (ztenuring_is_on()) zgc_list_insert_before(zpyabi_head(marker), kept);
}

size_t zsurvivors_settle(size_t aged, size_t collected, size_t weight, size_t *promoted) {
  zgc_head_t *young = list_of(0), *survivors = list_of(1);
  size_t garbage = garbage_among(aged, collected);
  size_t most = ztenuring_is_clearing() ? 0 : ztenuring_kept(), light = most * ZTENURING_KEPT_WEIGHT, heavy;
  allowance_t left = {light, zmin(light, heavies())};
  zgc_head_t *kept = last_members(survivors, most, weight <= left.heavy ? NULL : &left, &heavy);
  *promoted = members_until(survivors, kept) + heavy;
  zgc_list_splice_until(survivors, kept, list_of(2));
  place_marker(survivors);
  zgc_list_splice(young, survivors); /* what finalizers have made meanwhile is younger */
  zgc_list_splice(survivors, young);
  return garbage;
}

void zsurvivors_stop(void) {
  if (marker != NULL) zpy.Py_DecRef(marker);
  marker = NULL;
}
