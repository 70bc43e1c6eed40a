#include "collector/managed/zmanaged_census.h"

#include "collector/managed/zmanaged_verify.h"
#include "heap/base/zos.h"

typedef struct {
  uint64_t *visited; /* a bit per word of the space */
  uint64_t *stack;   /* has room for all bodies */
  size_t depth;
  zmanaged_count_t *counts; /* by shape */
} census_t;

static void meet(census_t *census, zcolored_t word) {
  zaddress_t body = zmanaged_peek(word);
  if (zbody_bit_set(census->visited, body.value)) census->stack[census->depth++] = body.value;
}

static void visit_slot(uint64_t *slot, void *context) {
  zcolored_t word = {zload_acquire(slot)};
  if (zcolored_is_body(word)) meet(context, word);
}

/* Weak handles do not keep their bodies. */
static void meet_roots(census_t *census) {
  for (size_t i = 1; i < zhandle_table.top; i++) {
    const zhandle_entry_t *entry = &zhandle_table.entries[i];
    zcolored_t word = {zload_acquire(&entry->word)};
    if (zcolored_is_body(word) && !zhandle_is_weak(entry)) meet(census, word);
  }
}

static void count_all(census_t *census) {
  meet_roots(census);
  while (census->depth > 0) {
    zaddress_t body = zaddress(census->stack[--census->depth]);
    const zshape_t *shape = zbody_shape(body);
    census->counts[shape->id].bodies++;
    census->counts[shape->id].bytes += zbody_size(body);
    zbody_visit_slots(body, shape, 0, zbody_slot_steps(body, shape), visit_slot, census);
  }
}

bool zmanaged_census(void (*visit)(const zshape_t *, const zmanaged_count_t *, void *), void *context) {
  size_t map_bytes = zbody_space.size / 64, count_bytes = ZSHAPE_MAX * sizeof(zmanaged_count_t);
  size_t stack_bytes = zmax((zbody_space.highest << ZUNIT_SHIFT) / 2, 64 * ZK); /* a body takes 16 bytes at least */
  census_t census = {zos_scratch_map(map_bytes), zos_scratch_map(stack_bytes), 0, zos_scratch_map(count_bytes)};
  bool ok = census.visited != NULL && census.stack != NULL && census.counts != NULL;
  if (ok) {
    zmanaged_stop_world();
    count_all(&census);
    zmanaged_resume_world();
  }
  for (uint32_t i = 0; ok && i < ZSHAPE_MAX; i++) {
    if (census.counts[i].bodies > 0) visit(zshape_table[i], &census.counts[i], context);
  }
  if (census.visited != NULL) zos_table_unmap(census.visited, map_bytes);
  if (census.stack != NULL) zos_table_unmap(census.stack, stack_bytes);
  if (census.counts != NULL) zos_table_unmap(census.counts, count_bytes);
  return ok;
}
