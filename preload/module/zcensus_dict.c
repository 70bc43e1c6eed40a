#include "preload/module/zcensus_dict.h"

#include <stdlib.h>
#include <string.h>

#include "collector/cpython/zcensus.h"
#include "collector/managed/zmanaged_census.h"
#include "preload/managed/zmanaged_class.h"

#define BODIES " (bodies)"

typedef struct {
  char name[160];
  zcensus_sum_t sum;
} named_t;

typedef struct {
  named_t *rows;
  size_t count, capacity;
  bool failed;
} table_t;

static void append(table_t *table, const char *name, const zcensus_sum_t *sum) {
  if (table->count == table->capacity) {
    size_t capacity = table->capacity == 0 ? 256 : table->capacity * 2;
    named_t *larger = realloc(table->rows, capacity * sizeof *larger);
    if (larger == NULL) {
      table->failed = true;
      return;
    }
    table->rows = larger;
    table->capacity = capacity;
  }
  named_t *row = &table->rows[table->count++];
  strncpy(row->name, name, sizeof row->name - 1);
  row->name[sizeof row->name - 1] = '\0';
  row->sum = *sum;
}

static void append_type(PyTypeObject *type, const zcensus_sum_t *sum, void *table) {
  char name[sizeof((named_t *)0)->name];
  zcensus_type_name(type, name, sizeof name);
  append(table, name, sum);
}

static void append_garbage(table_t *table, zcensus_garbage_t kind) {
  const char *name;
  zcensus_sum_t sum;
  for (unsigned i = 0; zcensus_garbage(kind, i, &name, &sum); i++) {
    if (sum.objects > 0) append(table, name, &sum);
  }
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const named_t *)a)->name, ((const named_t *)b)->name);
}

static int by_bytes(const void *a, const void *b) {
  uint64_t first = ((const named_t *)a)->sum.bytes, second = ((const named_t *)b)->sum.bytes;
  return first != second ? (first < second ? 1 : -1) : by_name(a, b);
}

/* Different types may have one name. */
static void merge(table_t *table) {
  qsort(table->rows, table->count, sizeof(named_t), by_name);
  size_t kept = 0;
  for (size_t i = 0; i < table->count; i++) {
    const named_t *row = &table->rows[i];
    if (kept > 0 && by_name(&table->rows[kept - 1], row) == 0) {
      table->rows[kept - 1].sum.objects += row->sum.objects;
      table->rows[kept - 1].sum.bytes += row->sum.bytes;
    } else {
      table->rows[kept++] = *row;
    }
  }
  table->count = kept;
  qsort(table->rows, table->count, sizeof(named_t), by_bytes);
}

static PyObject *as_dict(const table_t *table) {
  PyObject *dict = zpy.PyDict_New();
  for (size_t i = 0; dict != NULL && i < table->count; i++) {
    const named_t *row = &table->rows[i];
    PyObject *pair = zpy.Py_BuildValue("(KK)", (unsigned long long)row->sum.objects,
                                       (unsigned long long)row->sum.bytes);
    bool put = pair != NULL && zpy.PyDict_SetItemString(dict, row->name, pair) == 0;
    if (pair != NULL) zpy.Py_DecRef(pair);
    if (put) continue;
    zpy.Py_DecRef(dict);
    dict = NULL;
  }
  return dict;
}

/* By class; rows and tables, which are part of a list or a dict, together. */
static void append_bodies(const zshape_t *shape, const zmanaged_count_t *count, void *table) {
  char name[sizeof((named_t *)0)->name];
  zcensus_sum_t sum = {.objects = count->bodies, .bytes = count->bytes};
  const zclass_t *class = shape->owner;
  if (class != NULL && class->type != NULL) {
    zcensus_type_name(class->type, name, sizeof name - sizeof BODIES);
  } else {
    strcpy(name, "zgc rows and tables");
  }
  strcat(name, BODIES);
  append(table, name, &sum);
}

PyObject *zcensus_dict(const char *of) {
  table_t table = {NULL, 0, 0, false};
  zcensus_is_wanted = true;
  if (strcmp(of, "live") == 0) {
    table.failed = !zcensus_live(append_type, &table);
    if (!table.failed && zmanaged_is_started()) table.failed = !zmanaged_census(append_bodies, &table);
  } else if (strcmp(of, "last") == 0) {
    append_garbage(&table, ZCENSUS_LAST);
  } else if (strcmp(of, "total") == 0) {
    append_garbage(&table, ZCENSUS_TOTAL);
  } else {
    zpy.PyErr_Format(*zpy.PyExc_ValueError, "census of '%.100s': not one of 'live', 'last', 'total'",
                     of);
    return NULL;
  }
  PyObject *dict = NULL;
  if (table.failed) {
    zpy.PyErr_SetString(*zpy.PyExc_MemoryError, "zgc.census: no memory for its tables");
  } else {
    if (table.count > 0) merge(&table);
    dict = as_dict(&table);
  }
  free(table.rows);
  return dict;
}
