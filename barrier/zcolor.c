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

static uint64_t flip(uint64_t state, unsigned shift) {
  return (state & ~ZCOLOR_PAIR(shift)) | other(state, shift);
}

static unsigned mark_shift(zgeneration_t generation) {
  return generation == ZGENERATION_OLD ? ZCOLOR_MARK_OLD_SHIFT : ZCOLOR_MARK_YOUNG_SHIFT;
}

void zcolor_flip_mark(zgeneration_t generation) {
  unsigned shift = mark_shift(generation);
  zcolor.mark = flip(zcolor.mark, shift);
  zcolor.mark_now = (zcolor.mark_now & ~ZCOLOR_PAIR(shift)) | (zcolor.mark & ZCOLOR_PAIR(shift));
  if (generation == ZGENERATION_YOUNG) {
    zcolor.remembered = flip(zcolor.remembered, ZCOLOR_REMEMBERED_SHIFT);
  }
  derive();
}

void zcolor_end_mark(zgeneration_t generation) {
  zcolor.mark_now &= ~ZCOLOR_PAIR(mark_shift(generation));
}

void zcolor_flip_remap(zgeneration_t generation) {
  zcolor.remap = flip(zcolor.remap, generation == ZGENERATION_OLD ? ZCOLOR_REMAP_OLD_SHIFT
                                                                  : ZCOLOR_REMAP_YOUNG_SHIFT);
  derive();
}

/* Of one pair: has it changed to anything but the colour that a running mark makes current? */
static bool is_marked_wrongly(uint64_t from, uint64_t to, unsigned shift) {
  uint64_t pair = ZCOLOR_PAIR(shift), current = zcolor.mark_now & pair;
  return ((from ^ to) & pair) != 0 && (current == 0 || (to & pair) != current);
}

bool zcolor_is_legal_heal(zcolored_t from, zcolored_t to) {
  if (zcolored_kind(from) != zcolored_kind(to)) return false;
  if ((to.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) != 0) return false;
  if ((from.bits & ZCOLOR_SUSPECT) < (to.bits & ZCOLOR_SUSPECT)) return false;
  if (is_marked_wrongly(from.bits, to.bits, ZCOLOR_MARK_YOUNG_SHIFT)) return false;
  if (is_marked_wrongly(from.bits, to.bits, ZCOLOR_MARK_OLD_SHIFT)) return false;
  if (zcolored_kind(from) != ZKIND_MANAGED || zcolored_payload(from) == 0) {
    return zcolored_payload(from) == zcolored_payload(to);
  }
  /* An address changes only together with its R bits. */
  if (((from.bits ^ to.bits) & ZCOLOR_REMAP_MASK) == 0) {
    return zcolored_payload(from) == zcolored_payload(to);
  }
  return true;
}
