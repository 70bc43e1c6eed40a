#include "collector/managed/zmanaged_verify.h"

#include <stdio.h>
#include <string.h>

#include "collector/managed/zmanaged.h"
#include "heap/base/zos.h"

typedef struct {
  uint64_t *visited; /* a bit per word of the space */
  uint64_t *stack;
  size_t depth, capacity;
  uint64_t bodies;
  zmanaged_phase_t phase;
  bool remembered_whole; /* no mark is working off the other map, no promotion is half done */
  zaddress_t holder;
  char *message;
  size_t size;
  bool ok;
} verify_t;

static void fail(verify_t *verify, const char *what, uint64_t word) {
  if (!verify->ok) return;
  verify->ok = false;
  snprintf(verify->message, verify->size, "%s: word %#llx held by %#llx", what, (unsigned long long)word,
           (unsigned long long)verify->holder.value);
}

zaddress_t zmanaged_peek(zcolored_t word) {
  zaddress_t body = zcolored_strip(word);
  uint64_t stale = word.bits & ZCOLOR_REMAP_MASK & ~zcolor.remap;
  for (int old = 1; old >= 0; old--) {
    uint64_t pair = old ? ZCOLOR_PAIR(ZCOLOR_REMAP_OLD_SHIFT) : ZCOLOR_PAIR(ZCOLOR_REMAP_YOUNG_SHIFT);
    zforwarding_t *forwarding = (stale & pair) ? zforwarding_of(old, body) : NULL;
    if (forwarding == NULL) continue;
    zaddress_t to = zforwarding_find(forwarding, zforwarding_from(forwarding, body));
    return zaddress_is_null(to) ? body : to;
  }
  return body;
}

static void check_body(verify_t *verify, zcolored_t word, const uint64_t *slot) {
  zaddress_t body = zmanaged_peek(word);
  if (!zbody_space_contains(body.value) || (body.value & 7) != 0) {
    fail(verify, "address outside the space", word.bits);
    return;
  }
  zbody_page_t *page = zbody_page_of(body);
  if (page->kind == ZBODY_PAGE_FREE) {
    fail(verify, "body in a free page", word.bits);
    return;
  }
  if (body.value - zbody_page_start(page) >= page->top) {
    fail(verify, "body beyond the page's top", word.bits);
    return;
  }
  uint32_t shape = zbody_header(body)->shape;
  if (shape >= ZSHAPE_MAX || zshape_table[shape] == NULL) {
    fail(verify, "body of no shape", word.bits);
    return;
  }
  bool marked_all = verify->phase == ZMANAGED_SELECT || verify->phase == ZMANAGED_OLD_SELECT;
  if (marked_all && zmark_is_dead(body)) {
    fail(verify, "reachable body not marked", word.bits);
    return;
  }
  if (slot != NULL && verify->remembered_whole) {
    zbody_page_t *holder = zbody_page_of(zaddress((uintptr_t)slot));
    if (zbody_page_is_old(holder) && !zbody_page_is_old(page) &&
        !zbody_bit_test(zbody_space.remembered[zbody_space.current], (uintptr_t)slot)) {
      fail(verify, "old slot with a young body not remembered", word.bits);
      return;
    }
  }
  if (!zbody_bit_set(verify->visited, body.value)) return;
  if (verify->depth == verify->capacity) return; /* checked less deeply, never wrongly */
  verify->stack[verify->depth++] = body.value;
}

static void visit(uint64_t *slot, void *context) {
  verify_t *verify = context;
  zcolored_t word = {*slot};
  if (zcolored_kind(word) == ZKIND_PYTHON) {
    uint64_t index = zcolored_payload(word);
    if (index == 0 || index >= zpyref_table.top || zpyref_is_free(&zpyref_table.entries[index])) {
      fail(verify, "Python reference of no entry", word.bits);
    } else if (zpyref_table.entries[index].old == 2) {
      fail(verify, "Python reference of a live body is being dropped", word.bits);
    }
  }
  zbody_page_t *holder = zbody_page_of(zaddress((uintptr_t)slot));
  if (verify->remembered_whole && zbody_page_is_old(holder) && (word.bits & zcolor.remembered) &&
      !zbody_bit_test(zbody_space.remembered[zbody_space.current], (uintptr_t)slot)) {
    fail(verify, "old slot coloured remembered without its bit", word.bits);
  }
  if (zcolored_is_body(word)) check_body(verify, word, slot);
}

bool zmanaged_verify(uint64_t *bodies, char *message, size_t size) {
  size_t map_size = zbody_space.size / 64;
  size_t stack_size = zmax(zbody_space.highest << ZUNIT_SHIFT, 64 * ZK);
  verify_t verify = {
      .visited = zos_table_map(map_size),
      .stack = zos_table_map(stack_size),
      .capacity = stack_size / 8,
      .phase = zmanaged_phase(),
      .message = message,
      .size = size,
      .ok = true,
  };
  verify.remembered_whole = verify.phase <= ZMANAGED_MARK_START || verify.phase == ZMANAGED_SELECT ||
                            (verify.phase >= ZMANAGED_YOUNG_FINISH && verify.phase != ZMANAGED_OLD_RELOCATE);
  message[0] = '\0';
  if (verify.visited != NULL && verify.stack != NULL) {
    for (size_t i = 1; i < zhandle_table.top && verify.ok; i++) {
      zhandle_entry_t *entry = &zhandle_table.entries[i];
      zcolored_t word = {entry->word};
      if (!zcolored_is_body(word)) continue;
      verify.holder = zaddress((uintptr_t)entry);
      check_body(&verify, word, NULL);
    }
    while (verify.depth > 0 && verify.ok) {
      zaddress_t body = zaddress(verify.stack[--verify.depth]);
      verify.holder = body;
      verify.bodies++;
      const zshape_t *shape = zbody_shape(body);
      zbody_visit_slots(body, shape, 0, zbody_slot_steps(body, shape), visit, &verify);
    }
  }
  zos_table_unmap(verify.visited, map_size);
  zos_table_unmap(verify.stack, stack_size);
  *bodies = verify.bodies;
  return verify.ok;
}
