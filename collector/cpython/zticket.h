/* The ticket: one word says which collection is under way, and in which phase it is. It is changed by
 * compare-and-swap, and nobody waits for a lock (zdriver.h says why). A change hands over what a phase owns (release);
 * a thread that sees the phase has it (acquire).
 *
 * Beside it a bell, another number after each change that someone may be waiting for, and the collector thread's
 * beats, another number whenever it has got on. */
#ifndef COLLECTOR_CPYTHON_ZTICKET_H
#define COLLECTOR_CPYTHON_ZTICKET_H

#include "collector/cpython/zphase.h"

/* Of the collection under way, or of the last one. Any thread. */
uint64_t zticket_word(void);
zphase_t zticket_phase_of(uint64_t word);
uint64_t zticket_of(uint64_t word);
uint64_t zticket_make(uint64_t ticket, zphase_t phase);
static inline zphase_t zticket_phase(void) { return zticket_phase_of(zticket_word()); }

/* IDLE to REQUESTED, for the next ticket. GIL: in IDLE nobody else writes the word. */
void zticket_request(uint64_t ticket);
/* False when the collection with this ticket is not in phase `from` any more: it has been given up. Rings. */
bool zticket_change(uint64_t ticket, zphase_t from, zphase_t to);
/* To IDLE, at once. The phase that was left tells whose the collection's tables are. GIL. Does not ring. */
zphase_t zticket_give_up(void);
void zticket_fork_child(void);

/* A waiter reads the bell before it looks for what it waits for. */
uint32_t zticket_bell(void);
void zticket_ring(void);
/* Sleeps until the bell is another one than `seen`, `ns` at most; false where it is still that one. */
bool zticket_sleep(uint32_t seen, uint64_t ns);

void zticket_beat(void); /* the collector thread */
uint64_t zticket_beats(void);

#endif
