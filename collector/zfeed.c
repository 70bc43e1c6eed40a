#include "collector/zfeed.h"

#include <stdio.h>
#include <string.h>

#include "heap/base/zlog.h"
#include "heap/zold_map.h"

#define CENSUS_TYPES 64 /* power of two */
#define CENSUS_NAME 40
#define CENSUS_SHOWN 8

static zgc_head_t *generation(int i) { return &zgc_state.generations[i].head; }

/* Types of fed objects, for the log. Names are copied: the types may be part of the garbage. */
static struct {
  const void *type;
  uint64_t count;
  char name[CENSUS_NAME];
} census[CENSUS_TYPES];

static void census_add(PyObject *object) {
  const void *type = zpyabi_type(object);
  size_t home = ((uintptr_t)type >> 6) % CENSUS_TYPES;
  for (size_t i = 0; i < 8; i++) { /* what finds no place is left out */
    size_t at = (home + i) % CENSUS_TYPES;
    if (census[at].type == NULL) {
      census[at].type = type;
      snprintf(census[at].name, CENSUS_NAME, "%s", zpyabi_read_type(zpyabi_type(object)).name);
    }
    if (census[at].type == type) {
      census[at].count++;
      return;
    }
  }
}

void zfeed_describe_types(char *text, size_t size) {
  size_t at = 0;
  text[0] = '\0';
  for (int shown = 0; shown < CENSUS_SHOWN; shown++) {
    size_t best = 0;
    for (size_t i = 1; i < CENSUS_TYPES; i++) {
      if (census[i].count > census[best].count) best = i;
    }
    if (census[best].count == 0) break;
    at += (size_t)snprintf(text + at, size - at, "%s%s %llu", shown > 0 ? " " : "",
                           census[best].name, (unsigned long long)census[best].count);
    if (at >= size) break;
    census[best].count = 0;
  }
  memset(census, 0, sizeof census);
}

void zfeed_open(void) { zgc_list_splice(generation(0), generation(1)); }
void zfeed_close(void) { zgc_list_splice(generation(1), generation(0)); }

static bool feed(PyObject *object) {
  if (!zold_map_is_old(object) || !zpyabi_is_tracked(object)) return false;
  if (zpyabi_refcount(object) <= 0) return false; /* on a free list or in the trashcan */
  zgc_list_unlink(zpyabi_head(object));
  zgc_list_insert_before(zpyabi_head(object), generation(0));
  if (zlog_is(ZLOG_INFO)) census_add(object);
  return true;
}

size_t zfeed_candidates(PyObject *const *candidates, size_t count) {
  size_t fed = 0;
  for (size_t i = 0; i < count; i++) {
    if (i + 8 < count) __builtin_prefetch(zpyabi_head(candidates[i + 8]));
    fed += feed(candidates[i]);
  }
  return fed;
}

size_t zfeed_components(zcomponents_t *c, size_t objects) {
  size_t fed = 0;
  while (c->next_component < c->component_count) {
    size_t size = c->sizes[c->next_component];
    if (fed > 0 && fed + size > objects) break;
    fed += zfeed_candidates(c->objects + c->next_object, size);
    c->next_object += size;
    c->next_component++;
  }
  return fed;
}
