#include "collector/managed/zrelocate.h"

#include <string.h>
#include <time.h>

#include "heap/base/zos.h"
#include "heap/managed/zpyref_table.h"

zrelocate_target_t zrelocate_mutator_target;
uint64_t zrelocate_in_place_count;
bool zrelocate_force_in_place;
void (*zrelocate_ensure_worker)(void);

static zaddress_t target_alloc(zrelocate_target_t *target, uint8_t age, size_t size) {
  bool is_small = size <= ZBODY_SMALL_MAX;
  zbody_page_t **current = is_small ? &target->small[age] : &target->medium[age];
  if (zload_relaxed(&zrelocate_force_in_place)) return zaddress(0);
  if (*current != NULL) {
    zaddress_t to = zbody_page_bump(*current, size);
    if (!zaddress_is_null(to)) return to;
  }
  if (zos_fault_hit(ZOS_FAULT_MOVE)) return zaddress(0);
  zbody_page_t *page = is_small
                           ? zbody_page_alloc(ZBODY_PAGE_SMALL, 1, age, true)
                           : zbody_page_alloc(ZBODY_PAGE_MEDIUM, ZBODY_PAGE_MEDIUM_UNITS, age, true);
  if (page == NULL) return zaddress(0);
  *current = page;
  return zbody_page_bump(page, size);
}

/* Another thread moved the body first. The copy is the last thing in its page. */
static void target_undo(zaddress_t to, size_t size) {
  zbody_page_t *page = zbody_page_of(to);
  zstore_relaxed(&page->top, page->top - size);
}

static void prepare_old_slot(uint64_t *slot, void *context) {
  (void)context;
  zcolored_t word = {*slot};
  if (zcolored_kind(word) == ZKIND_PYTHON) {
    zpyref_set_old(&zpyref_table.entries[zcolored_payload(word)]);
  }
  *slot = word.bits & ~ZCOLOR_REMEMBERED_MASK;
}

/* Must the next young mark visit an old slot with this word: does it mean a young body, or is its
 * address one that only the tables of the young generation can translate? Those are dropped when
 * that mark ends, even if the body itself has become old. */
static bool needs_young_mark(zcolored_t word) {
  uint64_t stale = word.bits & ZCOLOR_REMAP_MASK & ~zcolor.remap;
  zaddress_t target = zcolored_strip(word);
  if ((stale & ZCOLOR_PAIR(ZCOLOR_REMAP_OLD_SHIFT)) && zforwarding_of(true, target) != NULL) return false;
  if ((stale & ZCOLOR_PAIR(ZCOLOR_REMAP_YOUNG_SHIFT)) && zforwarding_of(false, target) != NULL) return true;
  return !zbody_page_is_old(zbody_page_of(target));
}

static void register_moved_slot(uint64_t *slot, void *context) {
  zcolored_t word = {zload_relaxed(slot)};
  if (zcolored_is_body(word) && needs_young_mark(word)) zbody_remember(slot, context);
}

static void prepare_old(zaddress_t to) {
  const zshape_t *shape = zbody_shape(to);
  zbody_visit_slots(to, shape, 0, zbody_slot_steps(to, shape), prepare_old_slot, NULL);
}

static void register_moved(zaddress_t to) {
  const zshape_t *shape = zbody_shape(to);
  zbody_visit_slots(to, shape, 0, zbody_slot_steps(to, shape), register_moved_slot, zbody_page_of(to));
}

/* The body's new place, or 0 when there is no memory for a copy. */
static zaddress_t move_body(zforwarding_t *forwarding, zaddress_t from, size_t index,
                            zrelocate_target_t *target) {
  size_t size = zbody_size(from);
  zaddress_t to = target_alloc(target, forwarding->to_age, size);
  if (zaddress_is_null(to)) return to;
  memcpy((void *)to.value, (const void *)from.value, size);
  if (forwarding->to_age == ZAGE_OLD) prepare_old(to);
  zaddress_t winner = zforwarding_insert(forwarding, index, to);
  if (winner.value != to.value) {
    target_undo(to, size);
  } else if (forwarding->to_age == ZAGE_OLD) {
    register_moved(to);
  }
  return winner;
}

static zaddress_t await_worker(zforwarding_t *forwarding, size_t index) {
  for (;;) {
    zaddress_t to = zforwarding_find(forwarding, index);
    if (!zaddress_is_null(to)) return to;
    zcheck(zload_acquire(&forwarding->state) != ZFORWARDING_DONE);
    if (zrelocate_ensure_worker != NULL) zrelocate_ensure_worker();
    /* The worker may have a lower priority: a yield would not let it run. */
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
  }
}

static znoinline zaddress_t move_as_mutator(zforwarding_t *forwarding, zaddress_t from, size_t index) {
  /* seq_cst store, then seq_cst load of the state: see zforwarding.h. */
  zstore_seq_cst(&zforwarding_hazard, forwarding);
  zaddress_t to = zaddress(0);
  if (zload_seq_cst(&forwarding->state) == ZFORWARDING_WAITING) {
    to = move_body(forwarding, from, index, &zrelocate_mutator_target);
  }
  zstore_release(&zforwarding_hazard, NULL);
  return zaddress_is_null(to) ? await_worker(forwarding, index) : to;
}

static zaddress_t remap_in(zforwarding_t *forwarding, zaddress_t from) {
  size_t index = zforwarding_from(forwarding, from);
  zaddress_t to = zforwarding_find(forwarding, index);
  return zaddress_is_null(to) ? move_as_mutator(forwarding, from, index) : to;
}

zaddress_t zrelocate_remap(zcolored_t stale) {
  zaddress_t from = zcolored_strip(stale);
  uint64_t bits = stale.bits & ZCOLOR_REMAP_MASK & ~zcolor.remap;
  if (bits & ZCOLOR_PAIR(ZCOLOR_REMAP_OLD_SHIFT)) {
    zforwarding_t *forwarding = zforwarding_of(true, from);
    if (forwarding != NULL) return remap_in(forwarding, from);
  }
  if (bits & ZCOLOR_PAIR(ZCOLOR_REMAP_YOUNG_SHIFT)) {
    zforwarding_t *forwarding = zforwarding_of(false, from);
    if (forwarding != NULL) return remap_in(forwarding, from);
  }
  return from;
}

/* Slides what is left of the page to its start. Mutators that need a body of it wait for its entry. */
static void slide(zforwarding_t *forwarding) {
  zbody_page_t *page = forwarding->page;
  zforwarding_set_state(forwarding, ZFORWARDING_IN_PLACE);
  zforwarding_await_mutator(forwarding);
  if (page->has_remembered[0]) zbody_page_clear_remembered(page, 0);
  if (page->has_remembered[1]) zbody_page_clear_remembered(page, 1);
  if (forwarding->to_age == ZAGE_OLD) {
    zbody_page_set_old(page);
  } else {
    zstore_release(&page->age, forwarding->to_age);
  }
  uintptr_t end = zbody_page_start(page);
  zaddress_t from = zbody_page_next_live(page, end);
  while (!zaddress_is_null(from)) {
    size_t index = zforwarding_from(forwarding, from);
    size_t size = zbody_size(from);
    uintptr_t after = from.value + size;
    if (zaddress_is_null(zforwarding_find(forwarding, index))) {
      zaddress_t to = zaddress(end);
      memmove((void *)to.value, (const void *)from.value, size);
      if (forwarding->to_age == ZAGE_OLD) prepare_old(to);
      zforwarding_insert(forwarding, index, to);
      if (forwarding->to_age == ZAGE_OLD) register_moved(to);
      end += size;
    }
    from = zbody_page_next_live(page, after);
  }
  zbody_page_clear_live(page);
  zstore_relaxed(&page->top, end - zbody_page_start(page));
  zstore_relaxed(&page->since_seq[0], zbody_space.seq[0]);
  zfetch_add_relaxed(&zrelocate_in_place_count, 1);
  zforwarding_set_state(forwarding, ZFORWARDING_DONE);
}

void zrelocate_page(zforwarding_t *forwarding, zrelocate_target_t *target, void (*yield)(void)) {
  if (zload_acquire(&forwarding->state) == ZFORWARDING_DONE) return;
  zbody_page_t *page = forwarding->page;
  unsigned moved = 0;
  zaddress_t from = zbody_page_next_live(page, forwarding->start);
  while (!zaddress_is_null(from)) {
    size_t index = zforwarding_from(forwarding, from);
    uintptr_t after = from.value + zbody_size(from);
    if (zaddress_is_null(zforwarding_find(forwarding, index)) &&
        zaddress_is_null(move_body(forwarding, from, index, target))) {
      slide(forwarding);
      return;
    }
    if (++moved % 64 == 0) yield();
    from = zbody_page_next_live(page, after);
  }
  zforwarding_set_state(forwarding, ZFORWARDING_DONE);
  zforwarding_await_mutator(forwarding);
  zbody_page_free(page);
}

static void register_flipped_slot(uint64_t *slot, void *context) {
  zcolored_t word = {zload_acquire(slot)};
  if (zcolored_kind(word) == ZKIND_PYTHON) {
    zpyref_set_old(&zpyref_table.entries[zcolored_payload(word)]);
  }
  /* So far RM meant nothing here, whichever parity; from now on a current one says that the bit is
   * set. A word that changes under the CAS was healed again, or stored: then the new one counts. */
  do {
    if (zcolored_is_body(word) && needs_young_mark(word)) zbody_remember(slot, context);
    if ((word.bits & ZCOLOR_REMEMBERED_MASK) == 0) return;
  } while (!zcas_acq_rel(slot, &word.bits, word.bits & ~ZCOLOR_REMEMBERED_MASK));
}

void zrelocate_register_promoted(zbody_page_t *page, void (*yield)(void)) {
  unsigned done = 0;
  zaddress_t body = zbody_page_next_live(page, zbody_page_start(page));
  while (!zaddress_is_null(body)) {
    const zshape_t *shape = zbody_shape(body);
    uint64_t steps = zbody_slot_steps(body, shape);
    for (uint64_t i = 0; i < steps; i += 1024) {
      zbody_visit_slots(body, shape, i, zmin(i + 1024, steps), register_flipped_slot, page);
      if (i != 0) yield();
    }
    if (++done % 64 == 0) yield();
    if (page->kind == ZBODY_PAGE_LARGE) break;
    body = zbody_page_next_live(page, body.value + zbody_size(body));
  }
}

void zrelocate_retire(zrelocate_target_t *target) { memset(target, 0, sizeof *target); }
