#include "preload/module/zprometheus.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cpython/zmode.h"
#include "collector/managed/zmanaged.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zpause.h"
#include "heap/base/zstat.h"
#include "preload/start/zstage.h"

#define NAME_MAX_BYTES 80
#define CAUSE_PREFIX "collections_"

/* A growing text. */
typedef struct {
  char *text; /* NULL once memory was short */
  size_t length, capacity;
} text_t;

#define PIECE_MAX 256

static void zprintf_like(2, 3) put(text_t *out, const char *format, ...) {
  if (out->text == NULL) return;
  if (out->capacity - out->length < PIECE_MAX) {
    char *larger = realloc(out->text, out->capacity * 2);
    if (larger == NULL) free(out->text);
    out->text = larger;
    out->capacity *= 2;
    if (larger == NULL) return;
  }
  va_list arguments;
  va_start(arguments, format);
  int written = vsnprintf(out->text + out->length, PIECE_MAX, format, arguments);
  va_end(arguments);
  out->length += zmin((size_t)(written > 0 ? written : 0), PIECE_MAX - 1);
}

static void head(text_t *out, const char *name, const char *type, const char *help) {
  put(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Not %g: the program's locale may have a decimal comma. */
static void seconds(text_t *out, uint64_t ns) {
  char text[32];
  int length = snprintf(text, sizeof text, "%llu.%09llu", (unsigned long long)(ns / 1000000000u),
                        (unsigned long long)(ns % 1000000000u));
  while (text[length - 1] == '0' && text[length - 2] != '.') length--;
  put(out, "%.*s", length, text);
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void cut(char *text, const char *end) {
  if (ends_with(text, end)) text[strlen(text) - strlen(end)] = '\0';
}

/* A row of a table of counters. */
typedef struct {
  const char *name, *help;
  uint8_t kind, unit; /* zstat_kind_t, zstat_unit_t */
} row_t;

/* "pause_total_ns", a counter of nanoseconds, becomes "zgc_pause_seconds_total". */
static void metric_name(const char *prefix, row_t row, char name[NAME_MAX_BYTES]) {
  static const char units[][12] = {"", "_objects", "_bytes", "_seconds"};
  snprintf(name, NAME_MAX_BYTES, "%s%s", prefix, row.name);
  cut(name, "_ns");
  cut(name, "_total");
  size_t length = strlen(name);
  bool has_unit = ends_with(name, units[row.unit]);
  snprintf(name + length, NAME_MAX_BYTES - length, "%s%s", has_unit ? "" : units[row.unit],
           row.kind == ZSTAT_COUNTER ? "_total" : "");
}

/* Counters that labels or a histogram show already. */
static bool is_a_sum(const char *name) {
  return strcmp(name, "collections") == 0 || strcmp(name, "pauses") == 0 ||
         strcmp(name, "pause_total_ns") == 0;
}

static void put_head(text_t *out, const char *name, row_t row) {
  head(out, name, row.kind == ZSTAT_GAUGE ? "gauge" : "counter", row.help);
}

static void put_value(text_t *out, row_t row, uint64_t value) {
  put(out, " ");
  if (row.unit == ZSTAT_NS) {
    seconds(out, value);
  } else {
    put(out, "%llu", (unsigned long long)value);
  }
  put(out, "\n");
}

static void put_counter(text_t *out, const char *prefix, row_t row, uint64_t value) {
  char name[NAME_MAX_BYTES];
  if (row.kind == ZSTAT_CAUSE || is_a_sum(row.name)) return;
  metric_name(prefix, row, name);
  put_head(out, name, row);
  put(out, "%s", name);
  put_value(out, row, value);
}

static void put_counters(text_t *out) {
  const char *name;
  uint64_t value;
  for (unsigned i = 0; zstat_at(i, &name, &value); i++) {
    put_counter(out, "zgc_", (row_t){name, zstat_rows[i].help, zstat_rows[i].kind, zstat_rows[i].unit}, value);
  }
}

static void put_causes(text_t *out) {
  head(out, "zgc_collections_total", "counter", "full collections finished, by cause");
  const char *name;
  uint64_t value;
  for (unsigned i = 0; zstat_at(i, &name, &value); i++) {
    if (zstat_rows[i].kind != ZSTAT_CAUSE) continue;
    put(out, "zgc_collections_total{cause=\"%s\"} %llu\n", name + strlen(CAUSE_PREFIX),
            (unsigned long long)value);
  }
}

static void put_histogram(text_t *out, const char *metric, const char *kind, zpause_histogram_t histogram) {
  uint64_t count = 0;
  for (unsigned i = 0; i < ZPAUSE_BUCKETS; i++) {
    count += histogram.counts[i];
    put(out, "%s_bucket{kind=\"%s\",le=\"", metric, kind);
    if (i == ZPAUSE_BUCKETS - 1) {
      put(out, "+Inf");
    } else {
      seconds(out, zpause_bounds_ns[i]);
    }
    put(out, "\"} %llu\n", (unsigned long long)count);
  }
  put(out, "%s_sum{kind=\"%s\"} ", metric, kind);
  seconds(out, histogram.total_ns);
  put(out, "\n%s_count{kind=\"%s\"} %llu\n", metric, kind, (unsigned long long)count);
}

static void put_pauses(text_t *out) {
  static const char metric[] = "zgc_pause_seconds";
  head(out, metric, "histogram",
       "safepoints at which we did something: young collections, batches of garbage, full stops");
  for (int i = 0; i < ZPAUSE_KINDS; i++) {
    zpause_kind_t kind = (zpause_kind_t)i;
    put_histogram(out, metric, zpause_name(kind), zpause_read(kind));
  }
}

/* -- managed objects: zgc.stats()["managed"] ---------------------------------------------------------- */

#define ROW(field, kind, unit, help) {#field, help, ZSTAT_##kind, ZSTAT_##unit},
static const row_t managed_rows[] = {ZMANAGED_STATS(ROW)};
static const row_t generation_rows[] = {ZMANAGED_GENERATION_STATS(ROW)};
#undef ROW

_Static_assert(sizeof(zmanaged_stats_t) == ZARRAY_LENGTH(managed_rows) * sizeof(uint64_t),
               "the values, as the rows, are one for each line of the table");

static void put_managed_pauses(text_t *out) {
  static const char metric[] = "zgc_managed_pause_seconds";
  head(out, metric, "histogram", "pauses of collections of managed objects");
  for (int kind = 0; kind < ZMANAGED_PAUSE_KINDS; kind++) {
    put_histogram(out, metric, zmanaged_pause_names[kind],
                  zpause_histogram_read(&zmanaged_pause_histograms[kind]));
  }
}

static void put_by_generation(text_t *out, row_t row, uint64_t young, uint64_t old) {
  char name[NAME_MAX_BYTES];
  metric_name("zgc_managed_generation_", row, name);
  put_head(out, name, row);
  put(out, "%s{generation=\"young\"}", name);
  put_value(out, row, young);
  put(out, "%s{generation=\"old\"}", name);
  put_value(out, row, old);
}

static void put_managed_usage(text_t *out) {
  static const row_t rows[] = {
      {"pages", "units of pages of a generation in use", ZSTAT_GAUGE, ZSTAT_PLAIN},
      {"bytes", "bytes in pages of a generation, up to the last body", ZSTAT_GAUGE, ZSTAT_BYTES},
  };
  zmanaged_usage_t usage[2];
  zmanaged_usage_read(usage);
  put_by_generation(out, rows[0], usage[ZGENERATION_YOUNG].pages, usage[ZGENERATION_OLD].pages);
  put_by_generation(out, rows[1], usage[ZGENERATION_YOUNG].bytes, usage[ZGENERATION_OLD].bytes);
}

static void put_managed_generations(text_t *out) {
  const uint64_t *young = (const uint64_t *)&zmanaged_generation_values[ZGENERATION_YOUNG];
  const uint64_t *old = (const uint64_t *)&zmanaged_generation_values[ZGENERATION_OLD];
  for (size_t i = 0; i < ZARRAY_LENGTH(generation_rows); i++) {
    put_by_generation(out, generation_rows[i], young[i], old[i]);
  }
}

static void put_managed(text_t *out) {
  zmanaged_stats_t stats;
  zmanaged_stats_read(&stats);
  put_managed_pauses(out);
  for (size_t i = 0; i < ZARRAY_LENGTH(managed_rows); i++) {
    put_counter(out, "zgc_managed_", managed_rows[i], ((const uint64_t *)&stats)[i]);
  }
  put_managed_generations(out);
  put_managed_usage(out);
}

/* gc.get_stats(), under the names that OpenTelemetry has for it. */
static void put_generations(text_t *out) {
  static const struct {
    const char *name, *help;
    size_t offset;
  } rows[] = {
      {"cpython_gc_collections_total", "collections by generation, as gc.get_stats counts them",
       offsetof(zgc_generation_stats_t, collections)},
      {"cpython_gc_collected_objects_total", "objects collected inside a generation",
       offsetof(zgc_generation_stats_t, collected)},
      {"cpython_gc_uncollectable_objects_total", "objects found uncollectable inside a generation",
       offsetof(zgc_generation_stats_t, uncollectable)},
  };
  for (size_t i = 0; i < ZARRAY_LENGTH(rows); i++) {
    head(out, rows[i].name, "counter", rows[i].help);
    for (int g = 0; g < ZGC_GENERATIONS; g++) {
      zgc_generation_stats_t stats = zpyabi_stats(g);
      const char *field = (const char *)&stats + rows[i].offset;
      put(out, "%s{generation=\"%d\"} %zd\n", rows[i].name, g, *(const Py_ssize_t *)field);
    }
  }
}

static void put_info(text_t *out, bool is_active) {
  const char *version = zpy.Py_GetVersion();
  head(out, "zgc_info", "gauge", "what runs here");
  put(out, "zgc_info{version=\"%s\",interpreter=\"%.*s\",collector=\"%s\"} 1\n", ZVERSION,
          (int)strcspn(version, " \"\\\n"), version,
          is_active && zmode_is_on() ? "zgc" : "stock");
}

PyObject *zprometheus_text(void) {
  bool is_active = zstage() == ZSTAGE_ACTIVE;
  text_t out = {.text = malloc(16 * ZK), .capacity = 16 * ZK};
  put_info(&out, is_active);
  put_causes(&out);
  put_pauses(&out);
  put_counters(&out);
  if (is_active) put_generations(&out);
  if (zmanaged_is_started()) put_managed(&out);
  if (out.text == NULL) {
    zpy.PyErr_SetString(*zpy.PyExc_MemoryError, "zgc.prometheus: no memory for the text");
    return NULL;
  }
  PyObject *result = zpy.PyUnicode_FromString(out.text);
  free(out.text);
  return result;
}
