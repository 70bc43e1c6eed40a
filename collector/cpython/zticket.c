#include "collector/cpython/zticket.h"

#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define PHASE_BITS 3

/* All atomic. */
static uint64_t state; /* ticket and phase */
static uint32_t bell;
static uint64_t beats; /* the collector thread's */

uint64_t zticket_word(void) { return zload_acquire(&state); }
zphase_t zticket_phase_of(uint64_t word) { return (zphase_t)(word & ((1 << PHASE_BITS) - 1)); }
uint64_t zticket_of(uint64_t word) { return word >> PHASE_BITS; }
uint64_t zticket_make(uint64_t ticket, zphase_t phase) { return ticket << PHASE_BITS | phase; }

uint32_t zticket_bell(void) { return zload_acquire(&bell); }

void zticket_ring(void) {
  zfetch_add_acq_rel(&bell, 1);
  zos_wake(&bell);
}

bool zticket_sleep(uint32_t seen, uint64_t ns) { return zos_sleep_while(&bell, seen, ns); }

void zticket_beat(void) { zstore_relaxed(&beats, beats + 1); }
uint64_t zticket_beats(void) { return zload_relaxed(&beats); }

void zticket_request(uint64_t ticket) {
  zstore_release(&state, zticket_make(ticket, ZPHASE_REQUESTED));
  zstat_set(running, 1);
  zticket_ring();
}

bool zticket_change(uint64_t ticket, zphase_t from, zphase_t to) {
  zcheck(zphase_is_legal(from, to));
  uint64_t expected = zticket_make(ticket, from);
  if (!zcas_acq_rel(&state, &expected, zticket_make(ticket, to))) return false;
  zstat_set(running, to != ZPHASE_IDLE);
  zticket_ring();
  return true;
}

zphase_t zticket_give_up(void) {
  uint64_t idle = zticket_make(zticket_of(zticket_word()), ZPHASE_IDLE);
  zphase_t left = zticket_phase_of(zexchange_acq_rel(&state, idle));
  if (left != ZPHASE_IDLE) zstat_set(running, 0);
  return left;
}

void zticket_fork_child(void) {
  state = zticket_make(zticket_of(state), ZPHASE_IDLE);
  zstat_set(running, 0);
}
