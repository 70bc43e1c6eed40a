#include "heap/base/zstat.h"

#include <pthread.h>

#include "tests/support/ztest.h"

static void test_walk_names_every_counter_once(void **state) {
  (void)state;
  const char *name, *others[200];
  uint64_t value;
  unsigned count = 0;
  while (zstat_at(count, &name, &value)) {
    assert_int_equal(value, 0);
    for (unsigned i = 0; i < count; i++) assert_string_not_equal(name, others[i]);
    others[count++] = name;
  }
  assert_int_equal(count * sizeof(uint64_t), sizeof(zstat_t));
  assert_false(zstat_at(count, &name, &value));
  assert_false(zstat_at(UINT32_MAX, &name, &value));
}

static void test_walk_reads_the_field_it_names(void **state) {
  (void)state;
#define X(field, ...) zstat_set(field, strlen(#field) * 1000 + #field[0]);
  ZSTAT_TABLE(X)
#undef X
  const char *name;
  uint64_t value;
  for (unsigned i = 0; zstat_at(i, &name, &value); i++) {
    assert_int_equal(value, strlen(name) * 1000 + (unsigned char)name[0]);
  }
}

static void test_max_keeps_the_larger(void **state) {
  (void)state;
  zstat_max(pause_max_ns, 5);
  zstat_max(pause_max_ns, 4);
  assert_int_equal(zstat_get(pause_max_ns), 5);
  zstat_max(pause_max_ns, 6);
  assert_int_equal(zstat_get(pause_max_ns), 6);
}

static void *add(void *unused) {
  (void)unused;
  for (int i = 0; i < 100000; i++) zstat_add(faults, 1);
  return NULL;
}

static void test_no_add_is_lost_between_threads(void **state) {
  (void)state;
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, add, NULL);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  assert_int_equal(zstat_get(faults), 300000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_walk_names_every_counter_once),
    cmocka_unit_test(test_walk_reads_the_field_it_names),
    cmocka_unit_test(test_max_keeps_the_larger),
    cmocka_unit_test(test_no_add_is_lost_between_threads),
};
ZTEST_MAIN(tests, NULL)
