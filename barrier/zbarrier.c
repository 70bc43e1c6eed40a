#include "barrier/zbarrier_inline.h"

#include "heap/managed/zbody_page.h"

zbarrier_ops_t zbarrier_ops;

static zcolored_t heal(zslot_t slot, zcolored_t seen) {
  for (;;) {
    zaddress_t body = zbarrier_ops.remap(seen);
    zcolored_t good = {((uint64_t)body.value << ZCOLOR_PAYLOAD_SHIFT) | zcolor.remap |
                       (seen.bits & (ZCOLOR_MASK & ~ZCOLOR_REMAP_MASK))};
    zassert(zcolor_is_legal_heal(seen, good));
    if (zcas_acq_rel(slot.word, &seen.bits, good.bits)) return good;
    /* Someone else healed or coloured it; under the GIL nobody can have stored another body. */
    if ((seen.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) == 0) return seen;
  }
}

zcold zcolored_t zbarrier_load_slow(zslot_t slot, zcolored_t seen) { return heal(slot, seen); }

zcold zcolored_t zbarrier_load_entry_slow(zslot_t entry, zcolored_t seen) {
  if (seen.bits & ZCOLOR_SUSPECT) {
    zbarrier_ops.touch(entry);
    seen.bits = zload_acquire(entry.word);
  }
  return zcolored_is_load_good(seen) ? seen : heal(entry, seen);
}

static bool is_unmarked(zcolored_t word) {
  return zcolor.mark_now != 0 && (word.bits & zcolor.mark_now) != zcolor.mark_now;
}

static void keep_alive(zcolored_t word) { zbarrier_ops.keep_alive(zbarrier_peek(word)); }

znoinline void zbarrier_store_slow(zslot_t slot, zcolored_t overwritten) {
  if (is_unmarked(overwritten) && zcolored_is_body(overwritten)) keep_alive(overwritten);
  if ((overwritten.bits & zcolor.remembered) == 0) {
    zbody_page_t *page = zbody_page_of(zaddress((uintptr_t)slot.word));
    if (zbody_page_is_old(page)) zbody_remember(slot.word, page);
  }
}

void zbarrier_drop_root(zslot_t entry) {
  zcolored_t word = {zload_acquire(entry.word)};
  if (is_unmarked(word) && zcolored_is_body(word)) keep_alive(word);
}
