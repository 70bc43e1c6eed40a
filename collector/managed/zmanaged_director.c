#include "collector/managed/zmanaged_state.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/zgranules.h"

zbody_page_t *zmanaged_eden_small;
zbody_page_t *zmanaged_eden_medium;

/* ---- when to collect ---------------------------------------------------------------------------- */

/* Each rule returns a cause or NULL. */
static const char *rule_young(void) {
  size_t used = zload_relaxed(&zbody_space.used_units);
  size_t step = zmax((32 * ZM) >> ZUNIT_SHIFT, used / 8);
  step = zmin(step, zbody_space.capacity_units / 4 + 1);
  if (zm.eden_units >= step) return "Allocation";
  return zoption(stress) ? "Stress" : NULL;
}

static const char *rule_full(void) {
  size_t used = zload_relaxed(&zbody_space.used_units);
  size_t base = zload_relaxed(&zm.old_base_units);
  size_t limit = base + base * 3 / 4 + ((64 * ZM) >> ZUNIT_SHIFT);
  if (used >= limit) return "Growth";
  /* Near the limit a collection must be under way before the stall. */
  if (used * 100 >= zbody_space.capacity_units * 85 && zm.eden_units * 50 >= zbody_space.capacity_units) {
    return "High Usage";
  }
  return NULL;
}

/* Now and then, in proportion to what was allocated: a program may have dropped much since, and what it
 * dropped is not known before it is looked for. At most a twentieth of the time. */
static const char *rule_proactive(void) {
  if (zm.units_since_full < zload_relaxed(&zbody_space.used_units) / 16 + 32) return NULL;
  uint64_t quiet = zmax(5000000000u, 20 * zload_relaxed(&zm.full_ns));
  return zos_now_ns() - zload_relaxed(&zm.full_end_ns) > quiet ? "Proactive" : NULL;
}

/* What dead bodies hold outside the managed heap: its memory is CPython's, and grows without a body's page being
 * taken. The lowest use seen since a collection was asked for is what lives: what dead bodies held goes back in
 * slices, some time after the collection. GIL. */
#define REFERENCES_LOOK 256       /* new references between two looks */
#define REFERENCES_LOOK_DUE 32    /* while each look prepares a part of a full collection (host.awaits_verdict) */
#define PACE_FROM 1               /* times as many references as the next full collection begins with */
#define REFERENCES_YOUNG 200000   /* new references, whatever they refer to */
#define REFERENCES_FULL 20000     /* more references than twice those that lived */

static struct {
  size_t heap, references; /* lowest since the last collection of this generation was asked for */
} lowest[2] = {{SIZE_MAX, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}};
static size_t new_references;

/* What was held when a full collection became due, and cycles have not given up since. What came later may be
 * garbage, and says nothing of what lives. */
typedef struct {
  size_t held, emptied;
} references_t;
static references_t when_due, when_last_due = {.held = SIZE_MAX};
static bool is_due;

static void note_due(void) {
  if (!is_due) when_due = (references_t){zpyref_held(), zpyref_table.ever_emptied};
  is_due = true;
}

static size_t known_references(void) {
  size_t emptied = zpyref_table.ever_emptied - when_last_due.emptied;
  return when_last_due.held > emptied ? when_last_due.held - emptied : 0;
}

static void look_outside(zgeneration_t generation, size_t heap) {
  lowest[generation].heap = zmin(lowest[generation].heap, heap);
  lowest[generation].references = zmin(lowest[generation].references, zpyref_held());
}

static void note_asked_for(zgeneration_t generation) {
  lowest[ZGENERATION_YOUNG].heap = zgranules_used_bytes();
  if (generation == ZGENERATION_OLD) {
    lowest[ZGENERATION_OLD].heap = lowest[ZGENERATION_YOUNG].heap;
    lowest[ZGENERATION_OLD].references = zpyref_held();
    note_due();
    when_last_due = when_due;
    is_due = false;
  }
  new_references = 0;
}

static const char *rule_outside(zgeneration_t generation, size_t heap) {
  size_t least = lowest[generation].heap;
  if (generation == ZGENERATION_OLD) {
    size_t known = zmin(lowest[generation].references, known_references());
    if (zpyref_held() > 2 * known + REFERENCES_FULL) return "References";
    return heap > least + least / 2 + 64 * ZM ? "Python Heap" : NULL;
  }
  if (new_references >= REFERENCES_YOUNG) return "References";
  return heap > least + least / 4 + 16 * ZM ? "Python Heap" : NULL;
}

static void direct_full(const char *cause, bool has_grown_outside) {
  note_asked_for(ZGENERATION_OLD);
  if (zm.host.choose_suspects != NULL) zm.host.choose_suspects(has_grown_outside);
  zm.units_since_full = 0;
  zmanaged_request(ZGENERATION_OLD, cause);
}

static void direct(void) {
  bool idle = zmanaged_phase() == ZMANAGED_IDLE;
  /* A fork's child takes its parent's collection up. */
  if (!idle && !zload_relaxed(&zm.thread_alive)) zmanaged_driver_ensure_thread();
  if (idle) {
    const char *cause = rule_full();
    if (cause == NULL) cause = rule_proactive();
    if (cause != NULL) {
      direct_full(cause, false);
      return;
    }
  } else if (zmanaged_phase() != ZMANAGED_OLD_MARK || zload_relaxed(&zm.young_wanted)) {
    return;
  }
  const char *cause = rule_young();
  if (cause != NULL) zmanaged_request(ZGENERATION_YOUNG, cause);
}

/* How many new references there may be until the program waits for the collection under way: the fewer the more it
 * has outrun it. 0: any number. */
static unsigned references_per_wait;

static void set_pace(void) {
  size_t known = zmin(lowest[ZGENERATION_OLD].references, known_references());
  size_t times = zpyref_held() / (2 * known + REFERENCES_FULL);
  references_per_wait = times < PACE_FROM ? 0 : REFERENCES_LOOK >> 2 * zmin(times - PACE_FROM + 1, 3);
}

void zmanaged_note_reference(void) {
  new_references++;
  if (references_per_wait != 0 && new_references % references_per_wait == 0) zmanaged_poll_set(ZPOLL_PACE);
  if (new_references % (is_due ? REFERENCES_LOOK_DUE : REFERENCES_LOOK) != 0) return;
  set_pace();
  size_t heap = zgranules_used_bytes();
  if (zm.host.ask_verdict != NULL && zm.host.ask_verdict()) zm.host.request_safepoint();
  look_outside(ZGENERATION_YOUNG, heap);
  look_outside(ZGENERATION_OLD, heap);
  if (zmanaged_phase() != ZMANAGED_IDLE) return;
  const char *full = rule_outside(ZGENERATION_OLD, heap), *young = rule_outside(ZGENERATION_YOUNG, heap);
  if (full != NULL) note_due();
  bool is_early = full != NULL && zm.host.awaits_verdict != NULL && zm.host.awaits_verdict();
  if (full != NULL && !is_early) {
    direct_full(full, true);
  } else if (young != NULL) {
    note_asked_for(ZGENERATION_YOUNG);
    zmanaged_request(ZGENERATION_YOUNG, young);
  }
}

/* ---- allocation ----------------------------------------------------------------------------------- */

static zbody_page_t *eden_page(zbody_page_kind_t kind, size_t units) {
  zm.eden_units += units;
  zm.units_since_full += units;
  direct();
  return zbody_page_alloc(kind, units, ZAGE_EDEN, false);
}

static zaddress_t alloc_in(zbody_page_t **current, zbody_page_kind_t kind, size_t units, size_t size) {
  if (*current != NULL) {
    zaddress_t body = zbody_page_bump(*current, size);
    if (!zaddress_is_null(body)) return body;
  }
  zbody_page_t *page = eden_page(kind, units);
  if (page == NULL) return zaddress(0);
  *current = page;
  return zbody_page_bump(page, size);
}

zaddress_t zmanaged_alloc(const zshape_t *shape, uint64_t length) {
  if (shape->kind != ZBODY_FIXED && length > zbody_space.size / 8) return zaddress(0);
  size_t size = zbody_size_of(shape, length);
  zaddress_t body;
  if (size <= ZBODY_SMALL_MAX && !shape->is_pinned) {
    body = alloc_in(&zmanaged_eden_small, ZBODY_PAGE_SMALL, 1, size);
  } else if (size <= ZBODY_MEDIUM_MAX && !shape->is_pinned &&
             zbody_space.capacity_units >= 8 * ZBODY_PAGE_MEDIUM_UNITS) {
    body = alloc_in(&zmanaged_eden_medium, ZBODY_PAGE_MEDIUM, ZBODY_PAGE_MEDIUM_UNITS, size);
  } else {
    zbody_page_t *page = NULL;
    size_t units = zalign_up(size, ZUNIT_SIZE) >> ZUNIT_SHIFT;
    if (units <= zbody_space.capacity_units) page = eden_page(ZBODY_PAGE_LARGE, units);
    body = page == NULL ? zaddress(0) : zbody_page_bump(page, size);
  }
  if (zaddress_is_null(body)) return body;
  zstore_relaxed(&zbody_header(body)->shape, shape->id);
  if (shape->kind != ZBODY_FIXED) zbody_words(body)[1] = length;
  return body;
}
