#include "collector/cpython/zsmall.h"

#include "collector/cpython/zcensus.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zoption.h"
#include "heap/zold_map.h"

#define OBJECT_BYTES 64 /* of a small container, with its header */
#define STOPPED_TIMES 3 /* how many times ZGC_SMALL a heap may hold that is stopped and left to CPython */

static bool is_forked;

void zsmall_fork_child(void) { is_forked = true; }

size_t zsmall_count(int first, int last, size_t most) {
  size_t count = 0;
  for (int i = first; i <= last; i++) {
    const zgc_head_t *list = &zgc_state.generations[i].head, *at = zgc_head_next(list);
    for (; at != list && count < most; count++) at = zgc_head_next(at);
  }
  return count;
}

/* CPython's own collection writes to each object, and so copies all memory that a child shares with its parent. And
 * a census of garbage shall have all of it, while CPython does not tell what it reclaims. */
static bool must_be_ours(void) { return is_forked || zcensus_is_wanted || zoption(verify); }

/* Passes pay where objects are more than the caches hold. Counting them takes a tenth of a collection: it is done
 * again when the heap has grown by what so many more may take. */
bool zsmall_is_heap(void) {
  static size_t counted = SIZE_MAX, counted_bytes;
  size_t limit = zoption(small), bytes = zgranules_used_bytes();
  if (must_be_ours() || zoption(stress)) return false;
  if (zold_map_count >= limit) return false;
  counted_bytes = zmin(counted_bytes, bytes); /* what has left may make room for objects */
  if (counted < limit && counted + (bytes - counted_bytes) / OBJECT_BYTES < limit) return true;
  counted = zsmall_count(0, ZGC_GENERATIONS - 1, limit);
  counted_bytes = bytes;
  return counted < limit;
}

bool zsmall_is_heap_to_stop(void) {
  return zold_map_count < STOPPED_TIMES * zoption(small) && !must_be_ours();
}
