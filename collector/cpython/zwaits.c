#include "collector/cpython/zwaits.h"

#include <string.h>

#include "heap/base/zos.h"

#define ROOM_FIRST 1024 /* a power of two */
#define WAITS ((uintptr_t)ZWAITS_MOST) /* in an entry: these bits are 0 in addresses of old objects */

typedef struct {
  uintptr_t *slots; /* open addressing */
  size_t room, used;
} table_t;

static table_t left, added;

static void free_table(table_t *table) {
  if (table->slots != NULL) zos_table_unmap(table->slots, table->room * sizeof *table->slots);
  memset(table, 0, sizeof *table);
}

/* The slot of the object, or the free one where it belongs. */
static uintptr_t *slot_of(const table_t *table, uintptr_t object) {
  size_t i = (size_t)(object >> 4) * 0x9E3779B97F4A7C15u >> 16 & (table->room - 1);
  while (table->slots[i] != 0 && (table->slots[i] & ~WAITS) != object) i = (i + 1) & (table->room - 1);
  return &table->slots[i];
}

static bool grow(table_t *table) {
  table_t larger = {.room = table->room == 0 ? ROOM_FIRST : table->room * 2, .used = table->used};
  larger.slots = zos_table_map(larger.room * sizeof *larger.slots);
  if (larger.slots == NULL) return false;
  for (size_t i = 0; i < table->room; i++) {
    if (table->slots[i] != 0) *slot_of(&larger, table->slots[i] & ~WAITS) = table->slots[i];
  }
  free_table(table);
  *table = larger;
  return true;
}

unsigned zwaits_of(const PyObject *object) {
  return left.room == 0 ? 0 : (unsigned)(*slot_of(&left, (uintptr_t)object) & WAITS);
}

bool zwaits_add(PyObject *object, unsigned waits) {
  if (added.used * 2 >= added.room && !grow(&added)) return false;
  uintptr_t *slot = slot_of(&added, (uintptr_t)object);
  if (*slot == 0) added.used++;
  *slot = (uintptr_t)object | zmin(waits, ZWAITS_MOST);
  return true;
}

void zwaits_turn(void) {
  free_table(&left);
  left = added;
  memset(&added, 0, sizeof added);
}

void zwaits_drop(void) { free_table(&added); }

void zwaits_clear(void) {
  free_table(&left);
  free_table(&added);
}
