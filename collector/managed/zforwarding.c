#include "collector/managed/zforwarding.h"


#include "heap/base/zos.h"

zforwarding_t **zforwarding_directory[2];
zforwarding_t *zforwarding_hazard;

bool zforwarding_start(void) {
  size_t bytes = zbody_space.unit_limit * sizeof(zforwarding_t *);
  zforwarding_directory[0] = zos_table_map(bytes);
  zforwarding_directory[1] = zos_table_map(bytes);
  if (zforwarding_directory[0] != NULL && zforwarding_directory[1] != NULL) return true;
  zforwarding_stop();
  return false;
}

void zforwarding_stop(void) {
  size_t bytes = zbody_space.unit_limit * sizeof(zforwarding_t *);
  for (int i = 0; i < 2; i++) {
    zos_table_unmap(zforwarding_directory[i], bytes);
    zforwarding_directory[i] = NULL;
  }
}

static size_t hash(size_t from) { return (from * 0x9E3779B97F4A7C15u) >> 40; }

static zaddress_t entry_to(uint64_t entry) {
  return zaddress(zbody_space.base + (uintptr_t)(entry >> ZFORWARDING_FROM_BITS << 3));
}

zaddress_t zforwarding_find(const zforwarding_t *forwarding, size_t from) {
  for (size_t i = hash(from);; i++) {
    uint64_t entry = zload_acquire(&forwarding->entries[i & forwarding->mask]);
    if (entry == 0) return zaddress(0);
    if ((entry & ZFORWARDING_FROM_MASK) == from + 1) return entry_to(entry);
  }
}

zaddress_t zforwarding_insert(zforwarding_t *forwarding, size_t from, zaddress_t to) {
  uint64_t mine = (uint64_t)((to.value - zbody_space.base) >> 3) << ZFORWARDING_FROM_BITS | (from + 1);
  for (size_t i = hash(from);; i++) {
    uint64_t *place = &forwarding->entries[i & forwarding->mask];
    uint64_t entry = zload_acquire(place);
    if (entry == 0 && zcas_acq_rel(place, &entry, mine)) return to;
    if ((entry & ZFORWARDING_FROM_MASK) == from + 1) return entry_to(entry);
  }
}

bool zforwarding_is_legal(zforwarding_state_t from, zforwarding_state_t to) {
  return (from == ZFORWARDING_WAITING && to != ZFORWARDING_WAITING) ||
         (from == ZFORWARDING_IN_PLACE && to == ZFORWARDING_DONE);
}

void zforwarding_set_state(zforwarding_t *forwarding, zforwarding_state_t state) {
  zassert(zforwarding_is_legal((zforwarding_state_t)zload_relaxed(&forwarding->state), state));
  /* seq_cst: must not pass the load of the hazard in zforwarding_await_mutator. */
  zstore_seq_cst(&forwarding->state, (uint32_t)state);
}

void zforwarding_await_mutator(const zforwarding_t *forwarding) {
  for (unsigned round = 0; zload_seq_cst(&zforwarding_hazard) == forwarding; round++) zos_wait_round(round);
}
