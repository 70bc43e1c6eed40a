/* What is learned of C types, from made-up instances of made-up layouts. No interpreter: a type is a row of
 * what its tp_traverse visits. */
#include "collector/python/ztype_learning.h"

#include <string.h>

#include "collector/python/zedges.h"
#include "collector/python/zwalker.h"
#include "heap/zallocator.h"
#include "tests/support/ztest.h"

/* -- the interpreter's part ------------------------------------------------------------------------- */

static const zpyabi_layout_t layout = {.minor = 11};
const zpyabi_layout_t *zpyabi_layout = &layout;
const zpyabi_generator_t *zpyabi_generator;
const void *zwalker_empty_keys[ZWALKER_EMPTY_KEYS];
zwalker_shared_values_t zwalker_shared_values;
const void *ztype_set_dummy;

int zpyabi_generator_fields(PyTypeObject *type, uint8_t fields[ZPYABI_GENERATOR_FIELDS + 1]) {
  (void)type;
  (void)fields;
  return -1;
}
bool zpy_is_code(const void *address) { return address != NULL; }

bool ztype_add_field(ztype_t *entry, size_t offset) {
  if (entry->field_count == ZTYPE_FIELDS_MAX) return false;
  entry->fields[entry->field_count++] = (uint16_t)offset;
  return true;
}

static const char *refuted;

void ztype_refute(ztype_t *entry, const char *why) {
  refuted = why;
  entry->lesson_in = 0;
  entry->is_refuted = true;
  entry->kind = ZTYPE_DEFERRED;
}

/* -- instances ------------------------------------------------------------------------------------------ */

#define WORDS 6 /* behind the header */

typedef struct {
  PyObject object;
  void *word[WORDS];
} instance_t;

/* What tp_traverse reports of the type under test. */
static bool visits_type;
static void *const *visits[WORDS + 1]; /* places; NULL ends them */
static PyTypeObject type;

static int traverse(PyObject *object, zpy_visit_t visit, void *context) {
  int status = visits_type ? visit(zpyabi_type(object), context) : 0;
  for (int i = 0; visits[i] != NULL && status == 0; i++) {
    if (*visits[i] != NULL) status = visit(*visits[i], context);
  }
  return status;
}

zpy_traverse_t zpyabi_traverse(PyTypeObject *unused) {
  (void)unused;
  return traverse;
}

static ztype_t entry;
static union {
  ztype_table_t table;
  ztype_t *words[3];
} types;
ztype_table_t *ztype_table = &types.table;
static instance_t *instance;
static char *things; /* objects to refer to, in the heap */

static void *thing(int i) { return things + i * 64; }

static int start(void **state) {
  (void)state;
  if (!zallocator_start(64 * ZM)) return -1;
  instance = zallocator_alloc_zeroed(sizeof *instance);
  things = zallocator_alloc_zeroed(4096);
  instance->object.refcount = 1;
  instance->object.type = &type;
  memset(&entry, 0, sizeof entry);
  types.table.slots[0] = &entry;
  memset(visits, 0, sizeof visits);
  visits_type = true;
  refuted = NULL;
  zpyabi_type_t t = {.basic_size = sizeof(instance_t), .traverse = traverse};
  uint64_t words;
  assert_true(ztype_words(&t, &words));
  assert_int_equal(words, 0xFC);
  entry.type = &type;
  ztype_learning_begin(&entry, words);
  return 0;
}

/* The next instance has these words; 0 is NULL, a small number a thing. */
static void show(uintptr_t a, uintptr_t b, uintptr_t c) {
  uintptr_t words[] = {a, b, c};
  for (int i = 0; i < 3; i++) {
    instance->word[i] = words[i] < 64 && words[i] != 0 ? thing((int)words[i]) : (void *)words[i];
  }
  ztype_learning_meet(&entry, &instance->object);
}

static bool is_readable(void) {
  zedges_t found;
  return entry.kind != ZTYPE_DEFERRED && zedges_from_walker(&instance->object, &entry, &found);
}

static void expect_fields(unsigned count) {
  assert_null(refuted);
  assert_int_equal(entry.kind, ZTYPE_PLAIN);
  assert_int_equal(entry.field_count, count);
}

/* -- tests ------------------------------------------------------------------------------------------------ */

static void test_words_become_known_one_after_the_other(void **state) {
  (void)state;
  visits[0] = &instance->word[0];
  visits[1] = &instance->word[2];
  show(0, 0, 0);
  expect_fields(0);
  show(0, 0, 3);
  expect_fields(1);
  show(2, 0, 3);
  expect_fields(2);
  assert_true(entry.visits_type && is_readable());
  assert_int_equal(entry.unknown, 0xFC & ~(1u << 2) & ~(1u << 4));
}

static void test_instance_with_an_unknown_pointer_is_not_read(void **state) {
  (void)state;
  visits[0] = &instance->word[0];
  show(2, 0, 0);
  assert_true(is_readable());
  show(2, 0x7f0012345000, 0);
  expect_fields(1);
  assert_false(is_readable());
  show(2, 0x7f0000000001, 0); /* an int, and above it padding with half of what was there before */
  assert_true(is_readable());
  show(2, 4711, 0); /* a number */
  assert_true(is_readable());
}

/* One reference in two words, both visited; two in one of them. */
static void test_same_reference_twice(void **state) {
  (void)state;
  visits[0] = &instance->word[0];
  visits[1] = &instance->word[1];
  show(5, 5, 0);
  expect_fields(2);
  assert_true(is_readable());
}

static void test_which_of_two_words_is_not_clear(void **state) {
  (void)state;
  visits[0] = &instance->word[0];
  show(5, 5, 0); /* one of them is borrowed, or is something else */
  expect_fields(0);
  assert_false(is_readable());
  show(5, 6, 0);
  expect_fields(1);
  assert_false(is_readable());
}

static void test_word_visited_twice_stays_unknown(void **state) {
  (void)state;
  visits[0] = visits[1] = &instance->word[0];
  show(0, 0, 0);
  expect_fields(0);
  show(5, 0, 0); /* it is a pointer: such an instance is not read, and that is not wrong */
  expect_fields(0);
  assert_false(is_readable());
}

static void test_reference_that_is_no_word_refutes(void **state) {
  (void)state;
  void *aside = NULL;
  visits[0] = &aside;
  show(0, 0, 0);
  expect_fields(0);
  aside = thing(1);
  show(7777, 0, 0);
  assert_non_null(refuted);
  assert_false(is_readable());
}

static void test_first_instance_may_refute(void **state) {
  (void)state;
  void *aside = thing(1);
  visits[0] = &aside;
  show(0, 0, 0);
  assert_non_null(refuted);
  assert_int_equal(entry.lesson_in, 0);
}

static void test_borrowed_word_refutes(void **state) {
  (void)state;
  visits[0] = &instance->word[0];
  show(4, 0, 0);
  expect_fields(1);
  visits[0] = NULL;
  show(4, 0, 0);
  assert_non_null(refuted);
}

static void test_type_not_always_visited_refutes(void **state) {
  (void)state;
  show(0, 0, 0);
  visits_type = false;
  show(0, 0, 0);
  assert_non_null(refuted);
}

static void test_type_visited_later_refutes(void **state) {
  (void)state;
  visits_type = false;
  show(0, 0, 0);
  expect_fields(0);
  assert_false(entry.visits_type);
  visits_type = true;
  show(0, 0, 0);
  assert_non_null(refuted);
}

static void test_memory_beside_the_object(void **state) {
  (void)state;
  void **array = zallocator_alloc_zeroed(64);
  visits[0] = &array[3];
  show(0, (uintptr_t)array, 0);
  expect_fields(0);
  array[3] = thing(2);
  show(0, (uintptr_t)array, 0); /* cannot be explained, nor need it: it is not read */
  expect_fields(0);
  assert_false(is_readable());
}

/* Lessons are rare after the first ones, but they do not end. */
static void test_lessons_never_end(void **state) {
  (void)state;
  void *aside = NULL;
  visits[0] = &aside;
  for (int i = 0; i < 100000; i++) show(0, 0, 0);
  expect_fields(0);
  aside = thing(1);
  int shown = 0;
  for (; refuted == NULL && shown < 1000; shown++) show(0, 0, 0);
  assert_in_range(shown, 1, ZTYPE_LESSON_EVERY);
}

static unsigned audit_all(size_t count, uint64_t audit, uint8_t *times) {
  unsigned audited = 0;
  for (size_t i = 0; i < count; i++) {
    bool is_audited = ztype_audit(&entry, things + i * 48, audit);
    if (times != NULL) times[i] += is_audited;
    audited += is_audited;
  }
  ztype_adapt_audits();
  return audited;
}

#define MANY 100000

static void test_audits_of_few_look_at_all(void **state) {
  (void)state;
  for (uint64_t audit = 1; audit < 5; audit++) {
    assert_int_equal(audit_all(ZTYPE_AUDIT_LEAST, audit, NULL), ZTYPE_AUDIT_LEAST);
  }
}

/* No collection looks at more than its share, also while nobody knows how many there are. */
static void test_audits_of_many_take_turns(void **state) {
  (void)state;
  uint64_t audit = 1;
  for (; entry.audit_every < ZTYPE_AUDIT_MOST; audit++) {
    assert_in_range(audit_all(MANY, audit, NULL), ZTYPE_AUDIT_LEAST, 4 * ZTYPE_AUDIT_LEAST);
    assert_true(audit < 8);
  }
  static uint8_t times[MANY];
  memset(times, 0, sizeof times);
  for (int i = 0; i < ZTYPE_AUDIT_MOST; i++, audit++) {
    assert_in_range(audit_all(MANY, audit, times), MANY / ZTYPE_AUDIT_MOST / 2, MANY / ZTYPE_AUDIT_MOST * 2);
  }
  for (size_t i = 0; i < MANY; i++) assert_int_equal(times[i], 1);
  for (int i = 0; i < 8; i++, audit++) audit_all(ZTYPE_AUDIT_LEAST, audit, NULL); /* most have gone */
  assert_in_range(audit_all(ZTYPE_AUDIT_LEAST, audit, NULL), ZTYPE_AUDIT_LEAST / 8, ZTYPE_AUDIT_LEAST);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words_become_known_one_after_the_other),
      cmocka_unit_test(test_instance_with_an_unknown_pointer_is_not_read),
      cmocka_unit_test(test_same_reference_twice),
      cmocka_unit_test(test_which_of_two_words_is_not_clear),
      cmocka_unit_test(test_word_visited_twice_stays_unknown),
      cmocka_unit_test(test_reference_that_is_no_word_refutes),
      cmocka_unit_test(test_first_instance_may_refute),
      cmocka_unit_test(test_borrowed_word_refutes),
      cmocka_unit_test(test_type_not_always_visited_refutes),
      cmocka_unit_test(test_type_visited_later_refutes),
      cmocka_unit_test(test_memory_beside_the_object),
      cmocka_unit_test(test_lessons_never_end),
      cmocka_unit_test(test_audits_of_few_look_at_all),
      cmocka_unit_test(test_audits_of_many_take_turns),
  };
  return ztest_run_each(tests, ZARRAY_LENGTH(tests), start);
}
