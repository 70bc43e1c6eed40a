#include "collector/zpass.h"

#include <string.h>

#include "collector/zwalker.h"
#include "heap/base/zos.h"

#define CELL_NONE 0u
#define CELL_ZERO 1u /* a member all of whose references are accounted for */
#define CELL_MARKED 0xFFFEu
#define CELL_BIG 0xFFFFu
#define COUNT_MAX (CELL_MARKED - CELL_ZERO - 1)
#define UNITS_PER_GRANULE (ZGRANULE_SIZE >> ZOLD_UNIT_SHIFT)
#define AHEAD 8 /* objects whose first cache line is asked for in advance */
#define POLL_EVERY 1024

/* -- tables ----------------------------------------------------------------------------------------- */

/* Granules and blocks of the page that starts at granule g, from one racy read of its block size. */
static bool page_shape(size_t g, size_t limit, size_t *granules, size_t *blocks,
                       uint64_t *reciprocal) {
  const zpage_t *page = &zpage_table[g];
  if (zload_relaxed(&page->inner) != 0 || !(zload_relaxed(&page->flags) & ZPAGE_FLAG_OLD)) {
    return false;
  }
  size_t block_size = zload_relaxed(&page->block_size);
  if (block_size != 0) {
    *granules = zpage_granules_of(block_size);
    *blocks = *granules * ZGRANULE_SIZE / block_size;
    *reciprocal = zpage_reciprocal(block_size);
  } else {
    *granules = zpage_large_size(page) >> ZGRANULE_SHIFT;
    *blocks = 1;
    *reciprocal = 0;
  }
  return *granules > 0 && *granules <= limit - g;
}

bool zpass_begin(zpass_t *pass, const bool *stop) {
  memset(pass, 0, sizeof *pass);
  pass->stop = stop;
  pass->granules = zload_acquire(&zgranules_range.committed_end) >> ZGRANULE_SHIFT;
  pass->pages = zos_scratch_map(pass->granules * sizeof(zcell_page_t) + 1);
  if (pass->pages == NULL) return false;
  size_t next = 1; /* cell 0 means "none" */
  for (size_t g = 0; g < pass->granules;) {
    size_t granules, blocks;
    uint64_t reciprocal;
    if (!page_shape(g, pass->granules, &granules, &blocks, &reciprocal)) {
      g++;
      continue;
    }
    for (size_t i = 0; i < granules; i++) {
      pass->pages[g + i] = (zcell_page_t){(uint32_t)next, (uint32_t)i, reciprocal};
    }
    next += blocks + 1; /* rounding of the reciprocal may name one past the last */
    g += granules;
  }
  pass->cell_count = next;
  pass->cells = zos_scratch_map(next * sizeof(uint16_t));
  return pass->cells != NULL;
}

void zpass_end(zpass_t *pass) {
  zos_table_unmap(pass->pages, pass->granules * sizeof(zcell_page_t) + 1);
  zos_table_unmap(pass->cells, pass->cell_count * sizeof(uint16_t));
  zos_table_unmap(pass->stack, pass->stack_size * sizeof(PyObject *));
  zos_table_unmap(pass->candidates, pass->candidates_size * sizeof(PyObject *));
  zmap_free(&pass->big);
  zdeferred_free(&pass->deferred);
  memset(pass, 0, sizeof *pass);
}

/* -- members ------------------------------------------------------------------------------------------ */

typedef void (*member_t)(zpass_t *pass, PyObject *object, size_t cell);

/* Calls `visit` for each member, some objects behind the one whose memory is asked for. */
static zalways_inline bool each_candidate(zpass_t *pass, member_t visit) {
  size_t count = pass->candidate_count;
  for (size_t i = 0; i < count; i++) {
    if (i % POLL_EVERY == 0 && zload_relaxed(pass->stop)) return false;
    if (i + AHEAD < count) __builtin_prefetch(pass->candidates[i + AHEAD]);
    visit(pass, pass->candidates[i], zpass_cell(pass, pass->candidates[i]));
  }
  return !pass->failed;
}

static zalways_inline bool each_old(zpass_t *pass, member_t visit) {
  PyObject *ahead[AHEAD];
  size_t queued = 0;
  for (size_t g = 0; g < pass->granules; g++) {
    if (pass->pages[g].first == 0) continue;
    if (zload_relaxed(pass->stop)) return false;
    size_t first_unit = g * UNITS_PER_GRANULE;
    for (size_t w = 0; w < UNITS_PER_GRANULE / 64; w++) {
      uint64_t bits = zload_relaxed(&zold_map_bits[first_unit / 64 + w]);
      for (; bits != 0; bits &= bits - 1) {
        size_t unit = first_unit + w * 64 + (size_t)__builtin_ctzll(bits);
        PyObject *object = (PyObject *)(zgranules_range.base + (unit << ZOLD_UNIT_SHIFT));
        __builtin_prefetch(object);
        PyObject *due = ahead[queued % AHEAD];
        ahead[queued % AHEAD] = object;
        if (queued++ >= AHEAD) visit(pass, due, zpass_cell(pass, due));
      }
    }
  }
  for (size_t i = queued > AHEAD ? queued - AHEAD : 0; i < queued; i++) {
    visit(pass, ahead[i % AHEAD], zpass_cell(pass, ahead[i % AHEAD]));
  }
  return !pass->failed;
}

static zalways_inline bool each_member(zpass_t *pass, member_t visit) {
  return pass->candidates != NULL ? each_candidate(pass, visit) : each_old(pass, visit);
}

/* -- count -------------------------------------------------------------------------------------------- */

static zcold void set_big(zpass_t *pass, size_t cell, int64_t count) {
  int64_t *place = zmap_insert(&pass->big, cell);
  pass->big_count = NULL; /* places may have moved */
  pass->big_cell = 0;
  if (place == NULL) {
    pass->failed = true;
    return;
  }
  *place = count;
  pass->cells[cell] = CELL_BIG;
}

static zalways_inline void count_member(zpass_t *pass, PyObject *object, size_t cell) {
  int64_t count = zpyabi_refcount(object);
  if (zpyabi_is_dead(object, count)) return;
  pass->members++;
  if (zunlikely(count > (int64_t)COUNT_MAX)) {
    set_big(pass, cell, count);
    return;
  }
  pass->cells[cell] = (uint16_t)(CELL_ZERO + (uint64_t)count);
}

bool zpass_count(zpass_t *pass) {
  pass->members = 0;
  return each_member(pass, count_member);
}

/* -- subtract ----------------------------------------------------------------------------------------- */

static zcold void subtract_big(zpass_t *pass, size_t cell) {
  if (pass->big_cell != cell) {
    pass->big_count = zmap_find(&pass->big, cell);
    pass->big_cell = cell;
  }
  if (pass->big_count != NULL && *pass->big_count > 0 && *pass->big_count != ZPYABI_IMMORTAL) {
    --*pass->big_count;
  }
}

static zalways_inline void subtract_reference(void *context, void *reference) {
  zpass_t *pass = context;
  size_t cell = zpass_cell(pass, reference);
  if (cell == 0) return;
  uint16_t value = pass->cells[cell];
  if (zlikely(value > CELL_ZERO && value < CELL_MARKED)) {
    pass->cells[cell] = (uint16_t)(value - 1);
  } else if (zunlikely(value == CELL_BIG)) {
    subtract_big(pass, cell);
  }
}

static zalways_inline void subtract_member(zpass_t *pass, PyObject *object, size_t cell) {
  if (pass->cells[cell] == CELL_NONE) return;
  if (zlikely(zwalker_try(object, subtract_reference, pass))) return;
  if (!zdeferred_add(&pass->deferred, object)) pass->failed = true;
}

bool zpass_subtract(zpass_t *pass) {
  zdeferred_reset(&pass->deferred);
  return each_member(pass, subtract_member);
}

static void subtract_deferred(zpass_t *pass) {
  for (size_t i = 0; i < pass->deferred.queue.count; i++) {
    size_t count;
    void **references = zdeferred_references(&pass->deferred, pass->deferred.queue.words[i], &count);
    for (size_t j = 0; j < count; j++) subtract_reference(pass, references[j]);
  }
}

/* -- mark --------------------------------------------------------------------------------------------- */

/* A member is pushed at most once, so the stack never outgrows the number of members. */
static zalways_inline void mark_cell(zpass_t *pass, size_t cell, void *object) {
  pass->cells[cell] = CELL_MARKED;
  if (zunlikely(pass->stack_top == pass->stack_size)) {
    pass->failed = true;
    return;
  }
  __builtin_prefetch(object);
  pass->stack[pass->stack_top++] = object;
}

static zalways_inline void mark_reference(void *context, void *reference) {
  zpass_t *pass = context;
  size_t cell = zpass_cell(pass, reference);
  if (cell == 0) return;
  uint16_t value = pass->cells[cell];
  if (value == CELL_NONE || value == CELL_MARKED) return;
  mark_cell(pass, cell, reference);
}

static void mark_through(zpass_t *pass, PyObject *object) {
  if (zlikely(zwalker_try(object, mark_reference, pass))) return;
  size_t count;
  void **references = zdeferred_references(&pass->deferred, object, &count);
  for (size_t i = 0; i < count; i++) mark_reference(pass, references[i]);
}

static void drain(zpass_t *pass) {
  for (size_t n = 0; pass->stack_top > 0; n++) {
    if (n % POLL_EVERY == 0 && zload_relaxed(pass->stop)) return;
    mark_through(pass, pass->stack[--pass->stack_top]);
  }
}

static bool is_held_from_outside(zpass_t *pass, size_t cell) {
  uint16_t value = pass->cells[cell];
  if (value == CELL_BIG) {
    const int64_t *count = zmap_find(&pass->big, cell);
    return count == NULL || *count > 0;
  }
  return value > CELL_ZERO && value != CELL_MARKED;
}

static zalways_inline void mark_if_held(zpass_t *pass, PyObject *object, size_t cell) {
  if (!is_held_from_outside(pass, cell)) return;
  mark_cell(pass, cell, object);
  drain(pass);
}

bool zpass_mark(zpass_t *pass) {
  subtract_deferred(pass);
  size_t size = pass->members + 64; /* objects that changed their cell by a race */
  if (pass->stack_size < size) {
    zos_table_unmap(pass->stack, pass->stack_size * sizeof(PyObject *));
    pass->stack = zos_scratch_map(size * sizeof(PyObject *));
    pass->stack_size = pass->stack == NULL ? 0 : size;
    if (pass->stack == NULL) return false;
  }
  pass->stack_top = 0;
  return each_member(pass, mark_if_held) && !zload_relaxed(pass->stop);
}

/* -- sweep -------------------------------------------------------------------------------------------- */

/* The list of candidates is compacted in place: the write index never passes the read index. */
static zalways_inline void sweep_member(zpass_t *pass, PyObject *object, size_t cell) {
  uint16_t value = pass->cells[cell];
  pass->cells[cell] = CELL_NONE;
  if (value == CELL_NONE || value == CELL_MARKED) return;
  if (!zold_map_has(object) || zpyabi_is_dead(object, zpyabi_refcount(object))) return;
  if (pass->stack_top == pass->stack_size) return; /* more than there were members: a race */
  pass->stack[pass->stack_top++] = object;
}

bool zpass_sweep(zpass_t *pass) {
  pass->stack_top = 0;
  bool complete = each_member(pass, sweep_member);
  if (!complete) return false;
  /* The mark stack is empty now and large enough: it becomes the list of candidates. */
  PyObject **list = pass->stack;
  size_t size = pass->stack_size;
  pass->stack = pass->candidates;
  pass->stack_size = pass->candidates_size;
  pass->candidates = list;
  pass->candidates_size = size;
  pass->candidate_count = pass->stack_top;
  zmap_free(&pass->big);
  pass->big_cell = 0;
  return true;
}
