#include "heap/base/zoption.h"

#include "tests/support/ztest.h"

#define NAME(id) zoption_rows[id].name

/* What zoption_parse answers and prints with this one variable set. */
static bool parse_with(const char *name, const char *value, char *said, size_t size) {
  int ends[2], saved = dup(2);
  assert_int_equal(pipe(ends), 0);
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) unsetenv(NAME(id));
  if (name != NULL) setenv(name, value, 1);
  dup2(ends[1], 2);
  close(ends[1]);
  bool ok = zoption_parse();
  dup2(saved, 2); /* closes the last writing end */
  close(saved);
  ssize_t length = read(ends[0], said, size - 1);
  said[length > 0 ? length : 0] = '\0';
  close(ends[0]);
  return ok;
}

static void assert_all_default(void) {
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) {
    assert_true(zoption_is_default((zoption_id_t)id));
    assert_int_equal(zoption_number((zoption_id_t)id), zoption_rows[id].fallback);
    assert_string_equal(zoption_text_of((zoption_id_t)id), "");
  }
}

static void assert_accepts(zoption_id_t id, const char *value, uint64_t number) {
  char said[400];
  if (!parse_with(NAME(id), value, said, sizeof said)) fail_msg("%s=%s: %s", NAME(id), value, said);
  assert_string_equal(said, "");
  assert_int_equal(zoption_number(id), number);
}

static void assert_refuses(zoption_id_t id, const char *value) {
  char said[400], range[128], expected[800];
  zoption_describe_range(id, range, sizeof range);
  snprintf(expected, sizeof expected, "zgc: %s=%s not understood (%s); running as stock CPython\n",
           NAME(id), value, range);
  if (parse_with(NAME(id), value, said, sizeof said)) fail_msg("%s=%s accepted", NAME(id), value);
  assert_string_equal(said, expected);
  assert_all_default();
}

static void test_defaults(void **state) {
  (void)state;
  char said[400];
  assert_all_default(); /* before parsing */
  assert_true(parse_with(NULL, NULL, said, sizeof said));
  assert_all_default();
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) { /* empty is unset */
    assert_true(parse_with(NAME(id), "", said, sizeof said));
    assert_all_default();
  }
}

static void test_table_is_in_order(void **state) {
  (void)state;
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) {
    const zoption_row_t *row = &zoption_rows[id];
    assert_int_equal(strncmp(row->name, "ZGC_", 4), 0);
    assert_true(row->help[0] != '\0' && row->help[strlen(row->help) - 1] != '.');
    assert_true(row->min <= row->max);
    /* A default out of range is 0 and means automatic. */
    if (row->fallback < row->min) assert_int_equal(row->fallback, 0);
    assert_true(row->fallback <= row->max);
    for (unsigned other = 0; other < id; other++) assert_string_not_equal(row->name, NAME(other));
  }
}

static bool is_number(zoption_type_t type) {
  return type != ZOPTION_TEXT && type != ZOPTION_LEVEL && type != ZOPTION_BINDING && type != ZOPTION_EXIT;
}

static void test_every_number_at_its_edges(void **state) {
  (void)state;
  for (unsigned i = 0; i < ZOPTION_ID_COUNT; i++) {
    zoption_id_t id = (zoption_id_t)i;
    const zoption_row_t *row = &zoption_rows[id];
    if (!is_number(row->type)) continue;
    char text[32];
    uint64_t good[] = {row->fallback, row->min, row->min + 1, row->max - 1, row->max};
    for (size_t n = 0; n < ZARRAY_LENGTH(good); n++) {
      snprintf(text, sizeof text, "%llu", (unsigned long long)good[n]);
      assert_accepts(id, text, good[n]);
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)row->max + 1);
    assert_refuses(id, text);
    if (row->min > 0 && row->min - 1 != row->fallback) {
      snprintf(text, sizeof text, "%llu", (unsigned long long)row->min - 1);
      assert_refuses(id, text);
    }
  }
}

static void test_every_number_refuses_what_is_none(void **state) {
  (void)state;
  static const char *const bad[] = {"abc", "-1", "+1", " 1", "1 ", "1.5", "0x10", "1,000", "yes",
                                    "%", "k", "1kk", "1%%", "99999999999999999999999",
                                    "18446744073709551615T", "16777216T"};
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) {
    if (!is_number(zoption_rows[id].type)) continue;
    for (size_t n = 0; n < ZARRAY_LENGTH(bad); n++) assert_refuses((zoption_id_t)id, bad[n]);
  }
}

static void test_suffixes_belong_to_their_type(void **state) {
  (void)state;
  assert_accepts(ZOPTION_ID_heap_max, "65536k", 64 * ZM);
  assert_accepts(ZOPTION_ID_heap_max, "64M", 64 * ZM);
  assert_accepts(ZOPTION_ID_heap_max, "64m", 64 * ZM);
  assert_accepts(ZOPTION_ID_heap_max, "3G", 3 * ZG);
  assert_accepts(ZOPTION_ID_heap_max, "1T", (uint64_t)1 << 40);
  assert_refuses(ZOPTION_ID_heap_max, "15M");
  assert_refuses(ZOPTION_ID_heap_max, "17T");
  assert_refuses(ZOPTION_ID_heap_max, "64MB");
  assert_refuses(ZOPTION_ID_heap_max, "64%");
  assert_accepts(ZOPTION_ID_trigger, "50%", 50);
  assert_refuses(ZOPTION_ID_trigger, "50k");
  assert_refuses(ZOPTION_ID_interval, "5%");
  assert_refuses(ZOPTION_ID_interval, "5k");
  assert_refuses(ZOPTION_ID_stats, "1%");
}

static void test_level(void **state) {
  (void)state;
  assert_accepts(ZOPTION_ID_log_level, "info", 2);
  assert_accepts(ZOPTION_ID_log_level, "debug", 3);
  assert_accepts(ZOPTION_ID_log_level, "trace", 4);
  static const char *const bad[] = {"off", "warn", "INFO", "infos", "inf", "2"};
  for (size_t i = 0; i < ZARRAY_LENGTH(bad); i++) assert_refuses(ZOPTION_ID_log_level, bad[i]);
}

static void test_text_of_the_greatest_length(void **state) {
  (void)state;
  char text[ZOPTION_TEXT_MAX + 2], said[2000];
  memset(text, 'x', sizeof text);
  text[ZOPTION_TEXT_MAX + 1] = '\0';
  assert_false(parse_with("ZGC_LOG", text, said, sizeof said));
  assert_non_null(strstr(said, "text of at most 1000 bytes"));
  assert_all_default();
  text[ZOPTION_TEXT_MAX] = '\0';
  assert_true(parse_with("ZGC_LOG", text, said, sizeof said));
  assert_string_equal(zoption_text(log), text);
  assert_false(zoption_is_default(ZOPTION_ID_log));
}

static void test_one_bad_value_resets_the_good_ones(void **state) {
  (void)state;
  char said[400];
  assert_true(zoption_set(ZOPTION_ID_trigger, "50"));
  assert_true(zoption_set(ZOPTION_ID_log, "stderr"));
  assert_false(parse_with("ZGC_YOUNG", "9", said, sizeof said));
  assert_all_default();
}

static void test_set_leaves_the_value_when_it_fails(void **state) {
  (void)state;
  assert_true(zoption_set(ZOPTION_ID_trigger, "50"));
  assert_false(zoption_set(ZOPTION_ID_trigger, "1001"));
  assert_int_equal(zoption(trigger), 50);
}

static void test_format_gives_what_set_accepts(void **state) {
  (void)state;
  static const struct {
    zoption_id_t id;
    const char *value, *text;
  } cases[] = {
      {ZOPTION_ID_heap_max, "64M", "64M"},       {ZOPTION_ID_heap_max, "1536M", "1536M"},
      {ZOPTION_ID_heap_max, "2048M", "2G"},      {ZOPTION_ID_heap_max, "16777217", "16777217"},
      {ZOPTION_ID_heap_max, "0", "0"},           {ZOPTION_ID_trigger, "30%", "30"},
      {ZOPTION_ID_log_level, "trace", "trace"},  {ZOPTION_ID_log, "a b", "a b"},
      {ZOPTION_ID_stats, "1", "1"},
  };
  for (size_t i = 0; i < ZARRAY_LENGTH(cases); i++) {
    char text[64];
    assert_true(zoption_set(cases[i].id, cases[i].value));
    zoption_format(cases[i].id, text, sizeof text);
    assert_string_equal(text, cases[i].text);
    assert_true(zoption_set(cases[i].id, text));
  }
}

static void test_range_as_people_read_it(void **state) {
  (void)state;
  char range[128];
  zoption_describe_range(ZOPTION_ID_trigger, range, sizeof range);
  assert_string_equal(range, "a percentage from 1 to 1000");
  zoption_describe_range(ZOPTION_ID_heap_max, range, sizeof range);
  assert_string_equal(range, "a size from 16M to 16T, or 0 for automatic");
  zoption_describe_range(ZOPTION_ID_enable, range, sizeof range);
  assert_string_equal(range, "0 or 1");
  assert_string_equal(zoption_type_name(ZOPTION_PERCENT), "percent");
  assert_string_equal(zoption_type_name(ZOPTION_TEXT), "text");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_defaults),
    cmocka_unit_test(test_table_is_in_order),
    cmocka_unit_test(test_every_number_at_its_edges),
    cmocka_unit_test(test_every_number_refuses_what_is_none),
    cmocka_unit_test(test_suffixes_belong_to_their_type),
    cmocka_unit_test(test_level),
    cmocka_unit_test(test_text_of_the_greatest_length),
    cmocka_unit_test(test_one_bad_value_resets_the_good_ones),
    cmocka_unit_test(test_set_leaves_the_value_when_it_fails),
    cmocka_unit_test(test_format_gives_what_set_accepts),
    cmocka_unit_test(test_range_as_people_read_it),
};
ZTEST_MAIN(tests, NULL)
