#include "barrier/zcolor.h"

zcolor_state_t zcolor;

static uint64_t other(uint64_t current, unsigned shift) {
  return (current ^ ZCOLOR_PAIR(shift)) & ZCOLOR_PAIR(shift);
}

static void derive(void) {
  zcolor.load_bad = (ZCOLOR_REMAP_MASK & ~zcolor.remap) | ZCOLOR_SUSPECT;
  zcolor.store_good = zcolor.mark | zcolor.remembered;
}

void zcolor_start(void) {
  zcolor.remap = (uint64_t)1 << ZCOLOR_REMAP_YOUNG_SHIFT | (uint64_t)1 << ZCOLOR_REMAP_OLD_SHIFT;
  zcolor.mark = (uint64_t)1 << ZCOLOR_MARK_YOUNG_SHIFT | (uint64_t)1 << ZCOLOR_MARK_OLD_SHIFT;
  zcolor.remembered = (uint64_t)1 << ZCOLOR_REMEMBERED_SHIFT;
  zcolor.mark_now = 0;
  derive();
}

static uint64_t flip(uint64_t state, zgeneration_t generation, unsigned young, unsigned old) {
  uint64_t flipped = other(state, young);
  flipped |= generation == ZGENERATION_FULL ? other(state, old) : state & ZCOLOR_PAIR(old);
  return flipped;
}

void zcolor_flip_mark(zgeneration_t generation) {
  zcolor.mark = flip(zcolor.mark, generation, ZCOLOR_MARK_YOUNG_SHIFT, ZCOLOR_MARK_OLD_SHIFT);
  zcolor.remembered = other(zcolor.remembered, ZCOLOR_REMEMBERED_SHIFT);
  zcolor.mark_now = zcolor.mark & (generation == ZGENERATION_FULL
                                       ? ZCOLOR_MARK_MASK
                                       : ZCOLOR_PAIR(ZCOLOR_MARK_YOUNG_SHIFT));
  derive();
}

void zcolor_end_mark(void) { zcolor.mark_now = 0; }

void zcolor_flip_remap(zgeneration_t generation) {
  zcolor.remap = flip(zcolor.remap, generation, ZCOLOR_REMAP_YOUNG_SHIFT, ZCOLOR_REMAP_OLD_SHIFT);
  derive();
}

bool zcolor_is_legal_heal(zcolored_t from, zcolored_t to) {
  if (zcolored_kind(from) != zcolored_kind(to)) return false;
  if ((to.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) != 0) return false;
  if ((from.bits & ZCOLOR_SUSPECT) < (to.bits & ZCOLOR_SUSPECT)) return false;
  /* Marks only move towards current. */
  uint64_t from_mark = from.bits & ZCOLOR_MARK_MASK, to_mark = to.bits & ZCOLOR_MARK_MASK;
  if (from_mark != to_mark && (to_mark & zcolor.mark_now) != zcolor.mark_now) return false;
  if (zcolored_kind(from) != ZKIND_MANAGED || zcolored_payload(from) == 0) {
    return zcolored_payload(from) == zcolored_payload(to);
  }
  /* An address changes only together with its R bits. */
  if (((from.bits ^ to.bits) & ZCOLOR_REMAP_MASK) == 0) {
    return zcolored_payload(from) == zcolored_payload(to);
  }
  return true;
}
