#include "collector/python/ztype_table.h"

#include <string.h>

#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define FIRST_TABLE 1024
#define POOL_BYTES (256 * ZK)

ztype_table_t *ztype_table;
static size_t slots_used;
static ztype_t *free_entries;
static char *pool;
static size_t pool_left;

const void *ztype_set_dummy;
zpy_traverse_t ztype_class_traverse;

/* A reader may still look at a dead entry that is used again: it then sees another type's. */
static void recycle(ztype_t *dead) {
  dead->free_next = free_entries;
  free_entries = dead;
}

/* Takes an unused slot or that of a dead entry. */
static void insert(ztype_table_t *t, ztype_t *entry) {
  size_t i = ztype_hash(entry->type) & t->mask;
  while (t->slots[i] != NULL && t->slots[i]->type != NULL) i = (i + 1) & t->mask;
  if (t->slots[i] == NULL) {
    slots_used++;
  } else {
    recycle(t->slots[i]);
  }
  zstore_release(&t->slots[i], entry);
}

static bool grow(void) {
  size_t size = ztype_table == NULL ? FIRST_TABLE : (ztype_table->mask + 1) * 2;
  ztype_table_t *larger = zos_table_map(sizeof *larger + size * sizeof larger->slots[0]);
  if (larger == NULL) return false;
  larger->mask = size - 1;
  slots_used = 0;
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    ztype_t *entry = ztype_table->slots[i];
    if (entry == NULL) continue;
    if (entry->type != NULL) {
      insert(larger, entry);
    } else {
      recycle(entry);
    }
  }
  zstore_release(&ztype_table, larger);
  return true;
}

ztype_t *ztype_new_entry(void) {
  ztype_t *entry = free_entries;
  if (entry != NULL) {
    free_entries = entry->free_next;
    memset(entry, 0, sizeof *entry);
    return entry;
  }
  if (pool_left < sizeof *entry) {
    pool = zos_table_map(POOL_BYTES);
    pool_left = pool == NULL ? 0 : POOL_BYTES;
    if (pool == NULL) return NULL;
  }
  entry = (ztype_t *)pool;
  pool += sizeof *entry;
  pool_left -= sizeof *entry;
  return entry;
}

bool ztype_publish(ztype_t *entry) {
  if ((ztype_table == NULL || slots_used * 2 > ztype_table->mask) && !grow()) return false;
  insert(ztype_table, entry);
  zstat_add(types_registered, 1);
  if (entry->kind == ZTYPE_DEFERRED) zstat_add(types_deferred, 1);
  return true;
}

void ztype_forget(PyTypeObject *type) {
  ztype_t *entry = ztype_find(type);
  if (entry == NULL) return;
  /* The slot keeps pointing at the dead entry, so that probe chains stay whole. */
  if (entry->kind == ZTYPE_DEFERRED) zstat_add(types_deferred, -1);
  zstat_add(types_registered, -1);
  zstore_relaxed(&entry->type, NULL);
}

void ztype_registry_stop(void) {
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    const ztype_t *entry = ztype_table->slots[i];
    if (entry != NULL && entry->type != NULL) ztype_forget(entry->type);
  }
}

void ztype_each(void (*visit)(const ztype_t *, void *), void *arg) {
  for (size_t i = 0; ztype_table != NULL && i <= ztype_table->mask; i++) {
    const ztype_t *entry = ztype_table->slots[i];
    if (entry != NULL && entry->type != NULL) visit(entry, arg);
  }
}

void ztype_defer(ztype_t *entry, const char *why) {
  entry->lesson_in = entry->sample_tries = 0;
  entry->is_refuted = true;
  if (entry->kind == ZTYPE_DEFERRED) return;
  zlog_debug("gc,types", "type %.80s is deferred: %s", zpyabi_read_type(entry->type).name, why);
  entry->kind = ZTYPE_DEFERRED;
  zstat_add(types_deferred, 1);
}

static PyTypeObject *family_of(const ztype_t *entry) { return entry->c_base != NULL ? entry->c_base : entry->type; }

/* What is wrong with a learned type is wrong with its subclasses in Python. */
void ztype_refute(ztype_t *entry, const char *why) {
  PyTypeObject *family = family_of(entry);
  ztype_defer(entry, why);
  for (size_t i = 0; entry->is_learned && i <= ztype_table->mask; i++) {
    ztype_t *other = ztype_table->slots[i];
    if (other == NULL || other->type == NULL || other == entry || !other->is_learned) continue;
    if (family_of(other) == family) ztype_defer(other, why);
  }
}

bool ztype_add_field(ztype_t *entry, size_t offset) {
  if (entry->field_count == ZTYPE_FIELDS_MAX || offset + sizeof(void *) > ZTYPE_BASIC_SIZE_MAX) return false;
  entry->fields[entry->field_count++] = (uint16_t)offset;
  return true;
}
