#include "collector/cpython/zcensus.h"

#include <stdio.h>
#include <string.h>

#include "collector/python/zwalker.h"
#include "heap/base/zos.h"
#include "heap/zpage.h"

/* -- bytes of one object ------------------------------------------------------------------------- */

#define FLAG_LIST_SUBCLASS (1ul << 25)
#define FLAG_DICT_SUBCLASS (1ul << 29)

/* Where a type's instances keep what lies outside their own block. */
enum {
  STORE_LIST = 1,
  STORE_DICT = 2,
  STORE_SET = 4,
  STORE_DEQUE = 8,
  STORE_VALUES = 16,
  MANAGED_DICT_313 = 32 /* no storage, but a dict that tp_traverse may pass over */
};

static bool inherits(PyTypeObject *type, PyTypeObject *from) {
  while (type != NULL && type != from) type = zpyabi_read_type(type).base;
  return type != NULL;
}

static bool is_deque(PyTypeObject *type) {
  for (; type != NULL; type = zpyabi_read_type(type).base) {
    const ztype_t *known = ztype_find(type);
    if (known != NULL && known->kind == ZTYPE_DEQUE) return true;
  }
  return false;
}

static uint8_t stores_of(PyTypeObject *type) {
  unsigned long flags = zpyabi_read_type(type).flags;
  uint8_t stores = 0;
  if (flags & FLAG_LIST_SUBCLASS) stores |= STORE_LIST;
  if (flags & FLAG_DICT_SUBCLASS) stores |= STORE_DICT;
  if (inherits(type, zpy.PySet_Type) || inherits(type, zpy.PyFrozenSet_Type)) stores |= STORE_SET;
  if (is_deque(type)) stores |= STORE_DEQUE;
  if (flags & ZPYABI_FLAG_MANAGED_DICT) {
    bool is_313 = zpyabi_layout->attributes == ZPYABI_ATTRIBUTES_313;
    stores |= is_313 ? MANAGED_DICT_313 : STORE_VALUES;
  }
  return stores;
}

static size_t block_size(const void *address) {
  const char *start, *end;
  return zpage_block_of(address, &start, &end) ? (size_t)(end - start) : 0;
}

static size_t dict_bytes(const PyObject *dict) {
  const void *values = zpyabi_word(dict, ZPYABI_DICT_VALUES);
  if (values == NULL) return block_size(zpyabi_word(dict, ZPYABI_DICT_KEYS));
  bool is_inline = zpyabi_layout->attributes == ZPYABI_ATTRIBUTES_313 &&
                   *((const uint8_t *)values + ZPYABI_VALUES_EMBEDDED) != 0;
  return is_inline ? 0 : block_size(values); /* split: the keys are shared */
}

static size_t set_bytes(const PyObject *set) {
  const char *table = zpyabi_word(set, ZPYABI_SET_TABLE);
  const char *start, *end;
  bool own = zpage_block_of(set, &start, &end) && table >= start && table < end;
  return own ? 0 : block_size(table);
}

static size_t deque_bytes(const PyObject *deque) {
  const void *block = zpyabi_word(deque, ZPYABI_DEQUE_LEFT_BLOCK);
  const void *last = zpyabi_word(deque, ZPYABI_DEQUE_RIGHT_BLOCK);
  size_t bytes = 0;
  for (; block != NULL; block = zpyabi_word(block, ZPYABI_DEQUE_BLOCK_RIGHT)) {
    bytes += block_size(block);
    if (block == last) break;
  }
  return bytes;
}

static size_t values_bytes(const PyObject *object) {
  if (zpyabi_layout->attributes == ZPYABI_ATTRIBUTES_311) {
    return block_size(zpyabi_word(object, ZPYABI_VALUES_311));
  }
  uintptr_t word = (uintptr_t)zpyabi_word(object, ZPYABI_MANAGED_DICT);
  return word & 1 ? block_size((const char *)word + 1) : 0; /* else a dict, counted as one */
}

/* Of an object outside our heap only the type knows the size. */
static size_t own_bytes(PyObject *object) {
  size_t bytes = block_size(object);
  return bytes != 0 ? bytes : (size_t)zpyabi_read_type(zpyabi_type(object)).basic_size;
}

static size_t bytes_of(PyObject *object, uint8_t stores) {
  size_t bytes = own_bytes(object);
  if (zlikely(stores == 0)) return bytes;
  if (stores & STORE_LIST) bytes += block_size(zpyabi_word(object, ZPYABI_LIST_ITEMS));
  if (stores & STORE_DICT) bytes += dict_bytes(object);
  if (stores & STORE_SET) bytes += set_bytes(object);
  if (stores & STORE_DEQUE) bytes += deque_bytes(object);
  if (stores & STORE_VALUES) bytes += values_bytes(object);
  return bytes;
}

/* -- names ------------------------------------------------------------------------------------------ */

/* A new reference to the attribute if it is a str, else NULL. */
static PyObject *text_attribute(PyTypeObject *type, const char *attribute, const char **text) {
  PyObject *value = zpy.PyObject_GetAttrString(type, attribute);
  *text = value == NULL ? NULL : zpy.PyUnicode_AsUTF8AndSize(value, NULL);
  if (*text != NULL) return value;
  zpy.PyErr_Clear();
  if (value != NULL) zpy.Py_DecRef(value);
  return NULL;
}

/* A cut through a character of UTF-8 takes all of it away. */
static void cut_at_character(char *text, size_t length) {
  size_t start = length;
  while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
  if (start == 0) return;
  unsigned char first = (unsigned char)text[start - 1];
  size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  if (length - (start - 1) < wanted) text[start - 1] = '\0';
}

/* Returns the new length: less than size. */
static size_t append(char *text, size_t size, size_t length, const char *more) {
  size_t bytes = zmin(strlen(more), size - 1 - length);
  memcpy(text + length, more, bytes);
  text[length + bytes] = '\0';
  return length + bytes;
}

void zcensus_type_name(PyTypeObject *type, char *name, size_t size) {
  const char *module, *qualified;
  PyObject *first = text_attribute(type, "__module__", &module);
  PyObject *second = text_attribute(type, "__qualname__", &qualified);
  if (qualified == NULL) qualified = zpyabi_read_type(type).name;
  bool is_plain = module == NULL || strcmp(module, "builtins") == 0 || strcmp(module, "__main__") == 0;
  size_t length = 0; /* not by snprintf, which takes 1.5 KB of the program's stack */
  if (!is_plain) length = append(name, size, append(name, size, length, module), ".");
  length = append(name, size, length, qualified);
  if (length == size - 1) cut_at_character(name, length);
  if (first != NULL) zpy.Py_DecRef(first);
  if (second != NULL) zpy.Py_DecRef(second);
}

/* -- garbage ---------------------------------------------------------------------------------------- */

typedef struct {
  const void *type; /* NULL once it is dead: its name and sums stay */
  uint8_t stores;
  zcensus_sum_t sums[ZCENSUS_GARBAGE_KINDS];
  char name[ZCENSUS_NAME];
} row_t;

#define INDEX_SIZE 1024 /* power of two, at least twice the rows: probing always ends */
#define OTHER ZCENSUS_TYPES

static row_t rows[ZCENSUS_TYPES + 1]; /* zero, so that who never collects has no memory for them */
unsigned zcensus_row_count;
static uint16_t row_index[INDEX_SIZE]; /* 1 + row, by the type's address; 0 is free */
static uint64_t current_sequence;
bool zcensus_is_wanted;

static const char *name_of(const row_t *row) { return row == &rows[OTHER] ? "(other)" : row->name; }

static size_t home_of(const void *type) { return ((uintptr_t)type >> 4) * 0x9E3779B97F4A7C15u >> 54; }
_Static_assert(INDEX_SIZE == 1 << (64 - 54), "home_of() is a place in the index");

static size_t find_place(const void *type) {
  size_t at = home_of(type);
  while (row_index[at] != 0 && rows[row_index[at] - 1].type != type) at = (at + 1) % INDEX_SIZE;
  return at;
}

/* Classes that are made again and again (in a function, by a reload) share one row. */
static unsigned row_of_name(const char *name) {
  for (unsigned i = 0; i < zcensus_row_count; i++) {
    if (rows[i].type == NULL && strcmp(rows[i].name, name) == 0) return i;
  }
  return zcensus_row_count < ZCENSUS_TYPES ? zcensus_row_count++ : OTHER;
}

static unsigned used_places;

/* Places of dead types are free again afterwards. */
static void make_index(void) {
  memset(row_index, 0, sizeof row_index);
  used_places = 0;
  for (unsigned i = 0; i < zcensus_row_count; i++) {
    if (rows[i].type == NULL) continue;
    row_index[find_place(rows[i].type)] = (uint16_t)(i + 1);
    used_places++;
  }
}

static zcold row_t *new_row(PyTypeObject *type) {
  if (used_places >= INDEX_SIZE / 2) make_index();
  char name[ZCENSUS_NAME];
  zcensus_type_name(type, name, sizeof name);
  for (char *at = name; *at != '\0'; at++) {
    if ((unsigned char)*at <= ' ') *at = '_'; /* names are words in the log */
  }
  unsigned i = row_of_name(name);
  if (i == OTHER) return &rows[OTHER];
  memcpy(rows[i].name, name, sizeof name);
  rows[i].stores = stores_of(type);
  rows[i].type = type;
  size_t at = find_place(type); /* again: a metaclass may have run code */
  if (row_index[at] == 0) used_places++;
  row_index[at] = (uint16_t)(i + 1);
  return &rows[i];
}

void zcensus_begin(uint64_t sequence) {
  if (sequence == current_sequence) return;
  zcensus_finish(); /* of one that was abandoned; its garbage is gone all the same */
  current_sequence = sequence;
}

void zcensus_add(PyObject *object, int sign) {
  PyTypeObject *type = zpyabi_type(object);
  uint16_t found = row_index[find_place(type)];
  row_t *row = zlikely(found != 0) ? &rows[found - 1] : new_row(type);
  row->sums[ZCENSUS_CURRENT].objects += (uint64_t)(int64_t)sign;
  row->sums[ZCENSUS_CURRENT].bytes += (uint64_t)((int64_t)bytes_of(object, row->stores) * sign);
}

/* What survived may have changed its type or grown since it was counted. */
static void clamp(uint64_t *sum) {
  if ((int64_t)*sum < 0) *sum = 0;
}

void zcensus_finish(void) {
  uint64_t objects = 0;
  for (unsigned i = 0; i <= ZCENSUS_TYPES; i++) {
    clamp(&rows[i].sums[ZCENSUS_CURRENT].objects);
    clamp(&rows[i].sums[ZCENSUS_CURRENT].bytes);
    objects += rows[i].sums[ZCENSUS_CURRENT].objects;
  }
  if (objects == 0) return;
  for (unsigned i = 0; i <= ZCENSUS_TYPES; i++) {
    zcensus_sum_t *sums = rows[i].sums;
    sums[ZCENSUS_TOTAL].objects += sums[ZCENSUS_CURRENT].objects;
    sums[ZCENSUS_TOTAL].bytes += sums[ZCENSUS_CURRENT].bytes;
    sums[ZCENSUS_LAST] = sums[ZCENSUS_CURRENT];
    sums[ZCENSUS_CURRENT] = (zcensus_sum_t){0, 0};
  }
}

/* Its place in the index stays taken, so that others are still found behind it. */
void zcensus_forget(const void *type) {
  uint16_t found = row_index[find_place(type)];
  if (found != 0) rows[found - 1].type = NULL;
}

bool zcensus_garbage(zcensus_garbage_t kind, unsigned i, const char **name, zcensus_sum_t *sum) {
  if (i > zcensus_row_count) return false;
  const row_t *row = &rows[i < zcensus_row_count ? i : OTHER];
  *name = name_of(row);
  *sum = row->sums[kind];
  return true;
}

#define SHOWN 8

void zcensus_describe(char *text, size_t size) {
  bool shown[ZCENSUS_TYPES + 1] = {false};
  size_t at = 0;
  text[0] = '\0';
  for (int n = 0; n < SHOWN; n++) {
    unsigned best = OTHER;
    for (unsigned i = 0; i < zcensus_row_count; i++) {
      bool more = rows[i].sums[ZCENSUS_LAST].objects > rows[best].sums[ZCENSUS_LAST].objects;
      if (!shown[i] && (more || shown[best])) best = i;
    }
    uint64_t objects = rows[best].sums[ZCENSUS_LAST].objects;
    if (shown[best] || objects == 0) break;
    shown[best] = true;
    char one[ZCENSUS_NAME + 32];
    int length = snprintf(one, sizeof one, "%s%s %llu", n > 0 ? " " : "", name_of(&rows[best]),
                          (unsigned long long)objects);
    if (at + (size_t)length >= size) break;
    memcpy(text + at, one, (size_t)length + 1);
    at += (size_t)length;
  }
}

/* -- the living ------------------------------------------------------------------------------------- */

typedef struct {
  PyTypeObject *type;
  zcensus_sum_t sum;
  uint8_t stores;
} live_row_t;

typedef struct {
  live_row_t *rows; /* open addressing by the type's address */
  size_t capacity, used;
  uint64_t *seen; /* one bit per 16 bytes of the heap: counted, though in no list */
  PyObject **stack; /* of these, to be traversed */
  size_t depth, limit;
  bool failed;
} live_t;

static size_t table_bytes(size_t capacity) { return capacity * sizeof(live_row_t); }

static live_row_t *live_place(const live_t *live, const PyTypeObject *type) {
  size_t at = (((uintptr_t)type >> 4) * 0x9E3779B97F4A7C15u >> 32) & (live->capacity - 1);
  while (live->rows[at].type != NULL && live->rows[at].type != type) {
    at = (at + 1) & (live->capacity - 1);
  }
  return &live->rows[at];
}

static bool grow(live_t *live) {
  live_t larger = *live;
  larger.capacity = live->capacity == 0 ? 1024 : live->capacity * 2;
  larger.rows = zos_scratch_map(table_bytes(larger.capacity));
  if (larger.rows == NULL) return false;
  for (size_t i = 0; i < live->capacity; i++) {
    if (live->rows[i].type != NULL) *live_place(&larger, live->rows[i].type) = live->rows[i];
  }
  zos_table_unmap(live->rows, table_bytes(live->capacity));
  *live = larger;
  return true;
}

/* Where the object's storage is; 0 also when memory was short. */
static uint8_t count_live(live_t *live, PyObject *object) {
  PyTypeObject *type = zpyabi_type(object);
  live_row_t *row = live_place(live, type);
  if (row->type == NULL) {
    if (live->used * 2 >= live->capacity && !grow(live)) {
      live->failed = true;
      return 0;
    }
    row = live_place(live, type);
    *row = (live_row_t){.type = type, .stores = stores_of(type)};
    live->used++;
  }
  row->sum.objects++;
  row->sum.bytes += bytes_of(object, row->stores);
  return row->stores;
}

/* True for the first one who asks. */
static bool see(live_t *live, const PyObject *object) {
  size_t unit = (size_t)((const char *)object - zgranules_range.base) >> 4;
  uint64_t *word = &live->seen[unit / 64], mask = (uint64_t)1 << (unit % 64);
  if (*word & mask) return false;
  *word |= mask;
  return true;
}

/* Types that CPython takes out of its lists when they hold nothing that could be part of a cycle.
 * Others may be untracked because they are not finished, and are not looked into. */
static bool may_be_untracked(const PyTypeObject *type) {
  return type == zpy.PyTuple_Type || type == zpy.PyDict_Type || type == zpy.PyFrozenSet_Type;
}

/* What a member of the lists refers to. */
static int meet(PyObject *object, void *arg) {
  live_t *live = arg;
  if (!zgranules_contains(object)) return 0;
  PyTypeObject *type = zpyabi_type(object);
  bool has_head = (zpyabi_read_type(type).flags & ZPYABI_FLAG_HAVE_GC) != 0;
  if (has_head && zpyabi_is_tracked(object)) return 0; /* in a list */
  if (!see(live, object)) return 0;
  count_live(live, object);
  if (!may_be_untracked(type)) return 0;
  if (live->depth < live->limit) {
    live->stack[live->depth++] = object;
  } else {
    live->failed = true;
  }
  return 0;
}

static void meet_reference(void *live, void *object) { meet(object, live); }

/* tp_traverse passes over keys where all are strings. */
static void meet_string_keys(live_t *live, const PyObject *dict) {
  const char *keys = zpyabi_word(dict, ZPYABI_DICT_KEYS);
  zwalker_bounds_t bounds;
  if (!zwalker_bounds(keys, &bounds)) return;
  if (*((const uint8_t *)keys + ZPYABI_KEYS_KIND) == ZPYABI_KEYS_GENERAL) return;
  unsigned log2_index = *((const uint8_t *)keys + ZPYABI_KEYS_LOG2_INDEX_BYTES);
  const char *entries = keys + ZPYABI_KEYS_INDICES + ((size_t)1 << log2_index);
  size_t count = (size_t)zpyabi_word(keys, ZPYABI_KEYS_ENTRIES);
  zwalker_words(entries, bounds.end, count, 16, meet_reference, live);
}

static void meet_managed_dict(live_t *live, const PyObject *object) {
  PyObject *dict = zpyabi_word(object, ZPYABI_MANAGED_DICT);
  if (dict != NULL) meet(dict, live);
}

static void traverse(live_t *live, PyObject *object, uint8_t stores) {
  zpy_traverse_t visit_all = zpyabi_read_type(zpyabi_type(object)).traverse;
  if (visit_all != NULL) visit_all(object, meet, live);
  if (stores & STORE_DICT) meet_string_keys(live, object);
  if (stores & MANAGED_DICT_313) meet_managed_dict(live, object);
}

static void traverse_untracked(live_t *live) {
  while (live->depth > 0 && !live->failed) {
    PyObject *object = live->stack[--live->depth];
    traverse(live, object, zpyabi_type(object) == zpy.PyDict_Type ? STORE_DICT : 0);
  }
}

static void count_list(live_t *live, const zgc_head_t *list) {
  for (zgc_head_t *at = zgc_head_next(list); at != list && !live->failed; at = zgc_head_next(at)) {
    __builtin_prefetch(zgc_head_next(at));
    uint8_t stores = count_live(live, zpyabi_object(at));
    traverse(live, zpyabi_object(at), stores);
    traverse_untracked(live);
  }
}

bool zcensus_live(void (*visit)(PyTypeObject *, const zcensus_sum_t *, void *), void *arg) {
  size_t end = zgranules_range.committed_end;
  /* Nobody else is given memory meanwhile. An untracked container takes 32 bytes at least. */
  size_t seen_bytes = (end >> 4 >> 3) + sizeof(uint64_t), stack_bytes = (end >> 5) * sizeof(void *) + 8;
  live_t live = {.seen = zos_scratch_map(seen_bytes), .stack = zos_scratch_map(stack_bytes)};
  live.limit = stack_bytes / sizeof(void *);
  live.failed = live.seen == NULL || live.stack == NULL || !grow(&live);
  for (int i = 0; i < ZGC_GENERATIONS && !live.failed; i++) {
    count_list(&live, &zgc_state.generations[i].head);
  }
  if (!live.failed) count_list(&live, zgc_state.permanent);
  zos_table_unmap(live.seen, seen_bytes);
  zos_table_unmap(live.stack, stack_bytes);
  /* `visit` may make objects, collections run, and types end. */
  for (size_t i = 0; i < live.capacity; i++) {
    if (live.rows[i].type != NULL) zpy.Py_IncRef(live.rows[i].type);
  }
  for (size_t i = 0; i < live.capacity; i++) {
    if (live.rows[i].type == NULL) continue;
    if (!live.failed) visit(live.rows[i].type, &live.rows[i].sum, arg);
    zpy.Py_DecRef(live.rows[i].type);
  }
  if (live.rows != NULL) zos_table_unmap(live.rows, table_bytes(live.capacity));
  return !live.failed;
}
