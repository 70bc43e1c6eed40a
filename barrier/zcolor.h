/* Coloured words: what a slot or a handle entry holds.
 *
 *    63                                     16 15 14 13  12 11  10 9   8 7   6 5   4  3  2   0
 *   +-----------------------------------------+-----+------+-----+-----+-----+-----+---+------+
 *   | payload                                 | 0 0 | RM   | MO  | MY  | RO  | RY  | S | kind |
 *   +-----------------------------------------+-----+------+-----+-----+-----+-----+---+------+
 *
 *   kind  0 managed: payload is the address of a body; the word 0 is None
 *         1 int: payload is a signed 48-bit number
 *         2 float: the upper 48 bits of a double whose lower 16 are 0
 *         3 python: payload is an index into the table of Python references
 *         4 bool: payload 0 or 1
 *   RY RO remapped for the young, the old generation: one bit of two each, 00 unless managed
 *   MY MO visited by the young, the old mark: one bit of two each, or 00
 *   RM    in the remembered set: one bit of two, or 00
 *   S     handle entries only: the entry is a suspect (collector/managed/zsuspects.h)
 *
 * Each pair has one current bit. A flip, in a pause, makes the other one current, so that every word
 * in the heap changes its meaning at once:
 *
 *   pair   flips at              a current bit says
 *   RY     young relocate start  the address is where the body is now, as far as the young one goes
 *   RO     old relocate start    the same of the old generation
 *   MY     young mark start      the body, if young, was marked by this, or the last, young mark
 *   MO     old mark start        the body, if old, was marked by this, or the last, old mark
 *   RM     young mark start      the slot's bit in the current remembered map is set, if its body is old
 *
 * An old mark starts in the pause that starts a young one, so that the young mark finds its roots
 * (collector/managed/zmark.h); young collections come and go while it runs, and flip their own pairs only.
 *
 * Why one bit of parity is enough. RY, MY: slots that may hold a young address (those of young bodies,
 * remembered ones, handle entries) are all visited by every young mark, so none is two flips behind; in
 * the others they say nothing, because no forwarding table of the young generation covers their target.
 * RO, MO: between two flips lies a whole old mark, and it, with the young mark that began it, visits
 * every slot of every live body; bodies that become old meanwhile have been visited while they were
 * young, or born with current colours. RM: a slot of an old body with the current bit is in the current
 * map, so the next young mark visits and cleans it; in young bodies RM means nothing, and promotion
 * cleans or registers it.
 *
 * Legal changes of one word, and who may make them; zcolor_is_legal_heal is asserted at each heal:
 *   load heal    stale R -> current R with the new address; the rest stays     anyone, CAS
 *   mark heal    stale M -> current M, R made current, RM cleaned or set       marking threads, CAS
 *                (the pairs of the mark that visits; the other M stays)
 *   store        anything -> current M and RM, R current or 00                 mutator (GIL), store */
#ifndef BARRIER_ZCOLOR_H
#define BARRIER_ZCOLOR_H

#include "heap/managed/zbody.h"

typedef struct {
  uint64_t bits;
} zcolored_t;

typedef enum { ZKIND_MANAGED, ZKIND_INT, ZKIND_FLOAT, ZKIND_PYTHON, ZKIND_BOOL } zkind_t;

#define ZCOLOR_KIND_MASK ((uint64_t)7)
#define ZCOLOR_SUSPECT ((uint64_t)1 << 3)
#define ZCOLOR_REMAP_YOUNG_SHIFT 4
#define ZCOLOR_REMAP_OLD_SHIFT 6
#define ZCOLOR_MARK_YOUNG_SHIFT 8
#define ZCOLOR_MARK_OLD_SHIFT 10
#define ZCOLOR_REMEMBERED_SHIFT 12
#define ZCOLOR_PAYLOAD_SHIFT 16

#define ZCOLOR_PAIR(shift) ((uint64_t)3 << (shift))
#define ZCOLOR_REMAP_MASK (ZCOLOR_PAIR(ZCOLOR_REMAP_YOUNG_SHIFT) | ZCOLOR_PAIR(ZCOLOR_REMAP_OLD_SHIFT))
#define ZCOLOR_MARK_MASK (ZCOLOR_PAIR(ZCOLOR_MARK_YOUNG_SHIFT) | ZCOLOR_PAIR(ZCOLOR_MARK_OLD_SHIFT))
#define ZCOLOR_REMEMBERED_MASK ZCOLOR_PAIR(ZCOLOR_REMEMBERED_SHIFT)
#define ZCOLOR_STORE_MASK (ZCOLOR_MARK_MASK | ZCOLOR_REMEMBERED_MASK)
#define ZCOLOR_MASK (((uint64_t)1 << ZCOLOR_PAYLOAD_SHIFT) - 1)

/* Written in pauses while collector threads idle; read by anyone. */
typedef struct {
  uint64_t remap;      /* current RY | RO */
  uint64_t load_bad;   /* a managed word with one of these must not be used as it is */
  uint64_t mark;       /* current MY | MO */
  uint64_t remembered; /* current RM */
  uint64_t store_good; /* mark | remembered */
  uint64_t mark_now;   /* bits that the running marks, of either generation, make current; 0: none */
} zcolor_state_t;

extern zhidden zcolor_state_t zcolor;

/* Of bodies, of marks, and of collections: one of the old generation is a full one, which begins with
 * collections of the young. */
typedef enum { ZGENERATION_YOUNG, ZGENERATION_OLD } zgeneration_t;

void zcolor_start(void);
void zcolor_flip_mark(zgeneration_t generation);
void zcolor_end_mark(zgeneration_t generation);
void zcolor_flip_remap(zgeneration_t generation);

static inline zkind_t zcolored_kind(zcolored_t word) { return (zkind_t)(word.bits & ZCOLOR_KIND_MASK); }
static inline uint64_t zcolored_payload(zcolored_t word) { return word.bits >> ZCOLOR_PAYLOAD_SHIFT; }
static inline bool zcolored_is_load_good(zcolored_t word) { return (word.bits & zcolor.load_bad) == 0; }
static inline bool zcolored_is_store_good(zcolored_t word) {
  return ((word.bits ^ zcolor.store_good) & ZCOLOR_STORE_MASK) == 0;
}
/* Holds the address of a body. */
static inline bool zcolored_is_body(zcolored_t word) {
  return zcolored_kind(word) == ZKIND_MANAGED && zcolored_payload(word) != 0;
}
/* Only for words that are load-good, and for callers that remap what they get. */
static inline zaddress_t zcolored_strip(zcolored_t word) { return zaddress(zcolored_payload(word)); }

static inline zcolored_t zcolored_store_good(zaddress_t body) {
  return (zcolored_t){((uint64_t)body.value << ZCOLOR_PAYLOAD_SHIFT) | zcolor.remap | zcolor.store_good};
}
static inline zcolored_t zcolored_value(zkind_t kind, uint64_t payload) {
  return (zcolored_t){(payload << ZCOLOR_PAYLOAD_SHIFT) | zcolor.store_good | (uint64_t)kind};
}
static inline zcolored_t zcolored_none(void) { return (zcolored_t){zcolor.store_good}; }

/* May a heal replace `from` by `to` now? */
bool zcolor_is_legal_heal(zcolored_t from, zcolored_t to);

#endif
