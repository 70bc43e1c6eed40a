/* Coloured words: the layout, flips, and which heals are legal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka needs those first */
#include <cmocka.h>

#include "barrier/zbarrier_inline.h"
#include "barrier/zstore_buffer.h"
#include "heap/base/zos.h"
#include "heap/managed/zbody_page.h"

#define BODY ((uintptr_t)0x7f1234567898)

static zaddress_t moved_to;
static unsigned remaps, kept;
static zaddress_t last_kept;

static zaddress_t remap(zcolored_t stale) {
  remaps++;
  return zaddress_is_null(moved_to) ? zcolored_strip(stale) : moved_to;
}
static void keep_alive(zaddress_t body) {
  kept++;
  last_kept = body;
}
static void touch(zslot_t entry) { *entry.word &= ~ZCOLOR_SUSPECT; }

static int set_up(void **state) {
  (void)state;
  zcolor_start();
  zbarrier_ops = (zbarrier_ops_t){remap, keep_alive, touch};
  moved_to = zaddress(0);
  remaps = kept = 0;
  return 0;
}

static void test_layout_has_no_overlap(void **state) {
  (void)state;
  uint64_t pairs[] = {ZCOLOR_PAIR(ZCOLOR_REMAP_YOUNG_SHIFT), ZCOLOR_PAIR(ZCOLOR_REMAP_OLD_SHIFT),
                      ZCOLOR_PAIR(ZCOLOR_MARK_YOUNG_SHIFT), ZCOLOR_PAIR(ZCOLOR_MARK_OLD_SHIFT),
                      ZCOLOR_PAIR(ZCOLOR_REMEMBERED_SHIFT), ZCOLOR_KIND_MASK, ZCOLOR_SUSPECT};
  uint64_t all = 0;
  for (size_t i = 0; i < ZARRAY_LENGTH(pairs); i++) {
    assert_int_equal(all & pairs[i], 0);
    all |= pairs[i];
  }
  assert_int_equal(all & ~ZCOLOR_MASK, 0);
}

static void test_none_is_the_zero_word_and_load_good_for_ever(void **state) {
  (void)state;
  zcolored_t zero = {0};
  for (int i = 0; i < 8; i++) {
    assert_true(zcolored_is_load_good(zero));
    assert_false(zcolored_is_store_good(zero));
    assert_false(zcolored_is_body(zero));
    zgeneration_t generation = i % 2 ? ZGENERATION_OLD : ZGENERATION_YOUNG;
    zcolor_flip_mark(generation);
    zcolor_end_mark(generation);
    zcolor_flip_remap(generation);
  }
}

static void test_values_survive_flips(void **state) {
  (void)state;
  zcolored_t values[] = {zcolored_value(ZKIND_INT, (uint64_t)-5), zcolored_value(ZKIND_BOOL, 1),
                         zcolored_value(ZKIND_PYTHON, 123456)};
  zcolor_flip_remap(ZGENERATION_OLD);
  for (size_t i = 0; i < ZARRAY_LENGTH(values); i++) assert_true(zcolored_is_load_good(values[i]));
  assert_int_equal((int64_t)values[0].bits >> ZCOLOR_PAYLOAD_SHIFT, -5);
  assert_int_equal(zcolored_payload(values[2]), 123456);
}

static void test_flips_make_words_stale_and_back(void **state) {
  (void)state;
  zcolored_t word = zcolored_store_good(zaddress(BODY));
  assert_true(zcolored_is_load_good(word));
  assert_true(zcolored_is_store_good(word));
  zcolor_flip_remap(ZGENERATION_YOUNG);
  assert_false(zcolored_is_load_good(word));
  assert_true(zcolored_is_store_good(word)); /* R is not the store barrier's business */
  zcolor_flip_remap(ZGENERATION_YOUNG);
  assert_true(zcolored_is_load_good(word));
  zcolor_flip_remap(ZGENERATION_OLD);
  assert_false(zcolored_is_load_good(word)); /* RO alone is stale */
  zcolor_flip_mark(ZGENERATION_YOUNG);
  assert_false(zcolored_is_store_good(word));
}

static void test_mark_now_names_what_the_running_marks_visit(void **state) {
  (void)state;
  uint64_t young = ZCOLOR_PAIR(ZCOLOR_MARK_YOUNG_SHIFT), old = ZCOLOR_PAIR(ZCOLOR_MARK_OLD_SHIFT);
  assert_int_equal(zcolor.mark_now, 0);
  zcolor_flip_mark(ZGENERATION_OLD);
  assert_int_equal(zcolor.mark_now, zcolor.mark & old);
  uint64_t before = zcolor.mark;
  for (int i = 0; i < 3; i++) { /* young marks beside the old one leave its colours alone */
    zcolor_flip_mark(ZGENERATION_YOUNG);
    assert_int_equal(zcolor.mark_now, zcolor.mark & (young | old));
    assert_int_equal(zcolor.mark & old, before & old);
    zcolor_end_mark(ZGENERATION_YOUNG);
    assert_int_equal(zcolor.mark_now, zcolor.mark & old);
  }
  zcolor_end_mark(ZGENERATION_OLD);
  assert_int_equal(zcolor.mark_now, 0);
}

static void test_only_young_marks_flip_the_remembered_bit(void **state) {
  (void)state;
  uint64_t remembered = zcolor.remembered;
  zcolor_flip_mark(ZGENERATION_OLD);
  assert_int_equal(zcolor.remembered, remembered);
  zcolor_flip_mark(ZGENERATION_YOUNG);
  assert_int_equal(zcolor.remembered, remembered ^ ZCOLOR_REMEMBERED_MASK);
}

static void test_legal_heals(void **state) {
  (void)state;
  zcolored_t old = zcolored_store_good(zaddress(BODY));
  zcolor_flip_remap(ZGENERATION_YOUNG);
  zcolored_t other_place = {((uint64_t)(BODY + 64) << ZCOLOR_PAYLOAD_SHIFT) | zcolor.remap |
                            (old.bits & ZCOLOR_STORE_MASK)};
  assert_true(zcolor_is_legal_heal(old, other_place));
  assert_false(zcolor_is_legal_heal(other_place, old)); /* back to stale */
  zcolored_t moved_again = {((uint64_t)(BODY + 128) << ZCOLOR_PAYLOAD_SHIFT) |
                            (other_place.bits & ZCOLOR_MASK)};
  assert_false(zcolor_is_legal_heal(other_place, moved_again)); /* a good address never changes */
  zcolored_t number = zcolored_value(ZKIND_INT, 5);
  assert_false(zcolor_is_legal_heal(other_place, number));
  zcolor_flip_mark(ZGENERATION_OLD);
  zcolored_t marked = zcolored_store_good(zaddress(BODY + 64));
  assert_true(zcolor_is_legal_heal(other_place, marked));
  assert_false(zcolor_is_legal_heal(marked, other_place)); /* marks do not go back */
  zcolor_flip_mark(ZGENERATION_YOUNG);
  zcolored_t both = zcolored_store_good(zaddress(BODY + 64));
  zcolored_t one = {(both.bits & ~ZCOLOR_PAIR(ZCOLOR_MARK_OLD_SHIFT)) |
                    (other_place.bits & ZCOLOR_PAIR(ZCOLOR_MARK_OLD_SHIFT))};
  assert_true(zcolor_is_legal_heal(other_place, one)); /* of two marks the visiting one's pair alone */
  assert_true(zcolor_is_legal_heal(one, both));
  assert_false(zcolor_is_legal_heal(both, one));
  zcolor_end_mark(ZGENERATION_YOUNG);
  assert_false(zcolor_is_legal_heal(marked, both)); /* no young mark runs */
}

static void test_load_heals_the_slot_once(void **state) {
  (void)state;
  uint64_t word = zcolored_store_good(zaddress(BODY)).bits;
  uint64_t marks = word & ZCOLOR_STORE_MASK;
  assert_int_equal(zcolored_strip(zbarrier_load(zslot(&word))).value, BODY);
  assert_int_equal(remaps, 0);
  zcolor_flip_remap(ZGENERATION_YOUNG);
  moved_to = zaddress(BODY + 800);
  assert_int_equal(zcolored_strip(zbarrier_load(zslot(&word))).value, BODY + 800);
  assert_int_equal(zcolored_strip(zbarrier_load(zslot(&word))).value, BODY + 800);
  assert_int_equal(remaps, 1);
  assert_int_equal(word & ZCOLOR_STORE_MASK, marks);
}

static void test_suspect_entry_is_touched_before_it_is_read(void **state) {
  (void)state;
  uint64_t word = zcolored_store_good(zaddress(BODY)).bits | ZCOLOR_SUSPECT;
  assert_int_equal(zbarrier_load_entry(zslot(&word)).value, BODY);
  assert_int_equal(word & ZCOLOR_SUSPECT, 0);
}

static void test_store_keeps_what_it_overwrites_while_a_mark_runs(void **state) {
  (void)state;
  assert_true(zbody_space_start(16 * ZM));
  zbody_page_t *page = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
  uint64_t *slot = (uint64_t *)zbody_page_bump(page, 64).value;
  zaddress_t value = zbody_page_bump(page, 64);
  zbarrier_store(zslot(slot), zcolored_store_good(value));
  assert_int_equal(kept, 0);
  zcolor_flip_mark(ZGENERATION_OLD);
  zbarrier_store(zslot(slot), zcolored_none());
  assert_int_equal(kept, 1);
  assert_int_equal(last_kept.value, value.value);
  zbarrier_store(zslot(slot), zcolored_store_good(value)); /* stored since the start: marked */
  zbarrier_store(zslot(slot), zcolored_none());
  assert_int_equal(kept, 1);
  zbarrier_store(zslot(slot), zcolored_store_good(value));
  zcolor_flip_mark(ZGENERATION_YOUNG); /* beside the old mark: either may miss it */
  zbarrier_store(zslot(slot), zcolored_none());
  assert_int_equal(kept, 2);
  zcolor_end_mark(ZGENERATION_YOUNG);
  zcolor_end_mark(ZGENERATION_OLD);
  zbody_space_stop();
}

static void test_store_into_an_old_body_is_remembered_once(void **state) {
  (void)state;
  assert_true(zbody_space_start(16 * ZM));
  zbody_page_t *old = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_OLD, false);
  zbody_page_t *young = zbody_page_alloc(ZBODY_PAGE_SMALL, 1, ZAGE_EDEN, false);
  uint64_t *slot = (uint64_t *)zbody_page_bump(old, 64).value;
  uint64_t *young_slot = (uint64_t *)zbody_page_bump(young, 64).value;
  unsigned current = zbody_space.current;
  zbarrier_store(zslot(young_slot), zcolored_store_good(zaddress((uintptr_t)slot)));
  assert_false(young->has_remembered[current]);
  zbarrier_store(zslot(slot), zcolored_store_good(zaddress((uintptr_t)young_slot)));
  assert_true(old->has_remembered[current]);
  assert_true(zbody_bit_test(zbody_space.remembered[current], (uintptr_t)slot));
  zcolor_flip_mark(ZGENERATION_YOUNG);
  zcolor_end_mark(ZGENERATION_YOUNG);
  zbody_space.current ^= 1;
  assert_false(old->has_remembered[zbody_space.current]);
  zbarrier_store(zslot(slot), zcolored_store_good(zaddress((uintptr_t)young_slot)));
  assert_true(zbody_bit_test(zbody_space.remembered[zbody_space.current], (uintptr_t)slot));
  zbody_space.current = 0;
  zbody_space_stop();
}

static size_t flushed;
static void count_flushed(const zaddress_t *bodies, size_t count) {
  for (size_t i = 0; i < count; i++) assert_int_not_equal(bodies[i].value, 0);
  flushed += count;
}

static void test_store_buffer_hands_over_when_full_and_when_asked(void **state) {
  (void)state;
  size_t sizes[] = {0, 1, 2, ZSTORE_BUFFER_LENGTH - 1, ZSTORE_BUFFER_LENGTH, ZSTORE_BUFFER_LENGTH + 1};
  zstore_buffer_flush_to = count_flushed;
  for (size_t k = 0; k < ZARRAY_LENGTH(sizes); k++) {
    flushed = 0;
    for (size_t i = 0; i < sizes[k]; i++) zstore_buffer_add(zaddress(8 + i));
    zstore_buffer_flush();
    assert_int_equal(flushed, sizes[k]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_layout_has_no_overlap, set_up),
      cmocka_unit_test_setup(test_none_is_the_zero_word_and_load_good_for_ever, set_up),
      cmocka_unit_test_setup(test_values_survive_flips, set_up),
      cmocka_unit_test_setup(test_flips_make_words_stale_and_back, set_up),
      cmocka_unit_test_setup(test_mark_now_names_what_the_running_marks_visit, set_up),
      cmocka_unit_test_setup(test_only_young_marks_flip_the_remembered_bit, set_up),
      cmocka_unit_test_setup(test_legal_heals, set_up),
      cmocka_unit_test_setup(test_load_heals_the_slot_once, set_up),
      cmocka_unit_test_setup(test_suspect_entry_is_touched_before_it_is_read, set_up),
      cmocka_unit_test_setup(test_store_keeps_what_it_overwrites_while_a_mark_runs, set_up),
      cmocka_unit_test_setup(test_store_into_an_old_body_is_remembered_once, set_up),
      cmocka_unit_test_setup(test_store_buffer_hands_over_when_full_and_when_asked, set_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
