/* Passes and components over made-up objects, against an oracle that walks the same graph plainly, with
 * one lane and with a helper on the second. No interpreter: what the collector asks of it is answered
 * here. */
#include "collector/cpython/zpass.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "collector/cpython/zcomponents.h"
#include "collector/python/ztype_learning.h"
#include "collector/python/zuntrack.h"
#include "collector/python/zwalker.h"
#include "collector/python/ztype_registry.h"
#include "heap/base/zos.h"
#include "heap/zallocator.h"
#include "tests/support/ztest.h"

#define FIELDS 6
#define OBJECTS 60000
#define POPULAR 3 /* objects that many refer to: their counts do not fit a cell */
#define UNKNOWN_EVERY 7 /* objects are of a type that is not known, or ... */
#define POINTER_EVERY 11 /* ... have a pointer where none is known to be: both are deferred */
#define NONE UINT32_MAX

typedef struct {
  zgc_head_t head;
  PyObject object;
  void *field[FIELDS];
  uintptr_t other;
  uint32_t number;
} node_t;

/* -- the interpreter's part ------------------------------------------------------------------------- */

static const zpyabi_layout_t layout = {.minor = 11};
const zpyabi_layout_t *zpyabi_layout = &layout;
static zgc_generation_t generations[ZGC_GENERATIONS];
zgc_state_t zgc_state = {.generations = generations};
const void *zwalker_empty_keys[ZWALKER_EMPTY_KEYS];
zwalker_shared_values_t zwalker_shared_values;

static int plain_type;
static ztype_t plain = {
    .type = (PyTypeObject *)&plain_type, .kind = ZTYPE_PLAIN, .field_count = FIELDS};
static union {
  ztype_table_t table;
  ztype_t *words[3];
} types;
ztype_table_t *ztype_table = &types.table;

const zpyabi_generator_t *zpyabi_generator;
static uint8_t audited[OBJECTS];

void ztype_learn_from(ztype_t *entry, PyObject *instance) {
  assert_ptr_equal(entry, &plain);
  audited[((const node_t *)((const char *)instance - offsetof(node_t, object)))->number]++;
}

ztype_t *ztype_of(PyObject *instance) { return ztype_find(zpyabi_type(instance)); }
bool zuntrack_is_due(PyObject *object) { return object == NULL; }
bool zuntrack_may_be_due(PyObject *object) { return object == NULL; }

static int unknown_type;

static bool is_deferred(uint32_t number) { return number % UNKNOWN_EVERY == 0 || number % POINTER_EVERY == 0; }

static int traverse(PyObject *object, int (*visit)(PyObject *, void *), void *argument) {
  node_t *node = (node_t *)((char *)object - offsetof(node_t, object));
  for (int f = 0; f < FIELDS; f++) {
    if (node->field[f] != NULL && visit(node->field[f], argument)) return 1;
  }
  return 0;
}

zpy_traverse_t zpyabi_traverse(PyTypeObject *type) {
  (void)type;
  return traverse;
}

/* -- the graph and the oracle -------------------------------------------------------------------------- */

static node_t *nodes[OBJECTS];
static uint32_t edges[OBJECTS][FIELDS];
static bool is_alive[OBJECTS];
static uint32_t component_of[OBJECTS]; /* among the garbage */

static int start(void **state) {
  (void)state;
  types.table.mask = 1;
  types.table.slots[ztype_hash(&plain_type) & 1] = &plain;
  for (int i = 0; i < FIELDS; i++) plain.fields[i] = (uint16_t)(sizeof(PyObject) + 8 * (size_t)i);
  plain.unknown = (uint64_t)1 << (sizeof(PyObject) / 8 + FIELDS);
  return zallocator_start(256 * ZM) ? 0 : -1;
}

static void point(uint32_t from, int field, uint32_t to) {
  edges[from][field] = to;
  nodes[from]->field[field] = &nodes[to]->object;
  nodes[to]->object.refcount++;
}

static uint32_t pick(uint32_t *seed, uint32_t near) {
  uint32_t r = ztest_random(seed);
  if (r % 16 == 0) return r / 16 % POPULAR;
  return r % 4 == 0 ? r / 4 % OBJECTS : (near + r / 4 % 64) % OBJECTS;
}

static void make_graph(uint32_t seed, unsigned held_of_1000) {
  memset(is_alive, 0, sizeof is_alive);
  for (uint32_t i = 0; i < OBJECTS; i++) {
    nodes[i] = zallocator_alloc_zeroed(sizeof(node_t) + i % 5 * 48);
    nodes[i]->object.type = (PyTypeObject *)(i % UNKNOWN_EVERY == 0 ? &unknown_type : &plain_type);
    nodes[i]->other = i % POINTER_EVERY == 0 ? (uintptr_t)nodes[i] : (uintptr_t)i % 2 << 32;
    nodes[i]->number = i;
    nodes[i]->head.next = nodes[i]->head.prev = (uintptr_t)&nodes[i]->head; /* a list of its own */
    for (int f = 0; f < FIELDS; f++) edges[i][f] = NONE;
    zold_map_add(&nodes[i]->object);
  }
  for (uint32_t i = 0; i < OBJECTS; i++) {
    unsigned count = ztest_random(&seed) % 3;
    for (unsigned f = 0; f < count; f++) point(i, (int)f, pick(&seed, i));
    if (ztest_random(&seed) % 1000 < held_of_1000) {
      nodes[i]->object.refcount += 1 + ztest_random(&seed) % 300; /* from outside */
      is_alive[i] = true;
    }
  }
  for (uint32_t i = 0; i < OBJECTS; i++) { /* what nobody refers to would be dead, not garbage */
    if (nodes[i]->object.refcount == 0) point(i, FIELDS - 1, i);
  }
}

/* Of a page of every size: one cell per block, whichever of its bytes one asks for. */
static void test_each_block_has_its_cell(void **state) {
  (void)state;
  char *first[ZCLASS_COUNT];
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    first[i] = zallocator_alloc(zsize_class_block_size(i));
    zold_map_add((PyObject *)(first[i] + (i == 0 ? 0 : 16)));
  }
  zcells_t cells;
  assert_true(zcells_map(&cells));
  size_t last = 0;
  for (unsigned i = 0; i < ZCLASS_COUNT; i++) {
    const zpage_t *page = zpage_find(first[i]);
    size_t before = zcells_index(&cells, first[i]);
    for (uint32_t n = 0; n < page->capacity; n++) {
      const char *block = first[i] + (size_t)n * page->block_size;
      assert_int_equal(zcells_index(&cells, block), before + n);
      assert_int_equal(zcells_index(&cells, block + page->block_size - 1), before + n);
    }
    assert_true(before > last && before + page->capacity <= cells.count);
    last = zcells_index(&cells, zpage_start(page) + zpage_granules_of(page->block_size) * ZGRANULE_SIZE - 1);
    assert_true(last < cells.count);
    assert_true(zcells_index(&cells, zpage_start(page)) > 0);
  }
  zcells_unmap(&cells);
}

static void test_what_may_be_a_pointer(void **state) {
  (void)state;
  int local;
  assert_true(zwalker_may_be_pointer((uintptr_t)&local));
  assert_true(zwalker_may_be_pointer((uintptr_t)malloc)); /* of a library */
  assert_true(zwalker_may_be_pointer(0x10000));           /* the lowest that Linux gives away */
  assert_true(zwalker_may_be_pointer(((uintptr_t)1 << ZADDRESS_BITS) - 1)); /* the highest */
  assert_int_equal(zwalker_may_be_pointer(0xffff8a3c0000), ZADDRESS_BITS == 48); /* a stack's, of arm64 */
  assert_true(zwalker_may_be_pointer(0x0f707010));        /* where `brk` is low */
  assert_false(zwalker_may_be_pointer(0xffff));
  assert_false(zwalker_may_be_pointer((uintptr_t)1 << ZADDRESS_BITS));
  assert_false(zwalker_may_be_pointer(0x100000001));      /* two ints that are 1 */
  assert_false(zwalker_may_be_pointer(UINTPTR_MAX));
}

static void mark_alive(void) {
  static uint32_t stack[OBJECTS];
  size_t top = 0;
  for (uint32_t i = 0; i < OBJECTS; i++) {
    if (is_alive[i]) stack[top++] = i;
  }
  while (top > 0) {
    uint32_t i = stack[--top];
    for (int f = 0; f < FIELDS; f++) {
      uint32_t to = edges[i][f];
      if (to == NONE || is_alive[to]) continue;
      is_alive[to] = true;
      stack[top++] = to;
    }
  }
}

static void number_components(void) {
  for (uint32_t i = 0; i < OBJECTS; i++) component_of[i] = i;
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = 0; i < OBJECTS; i++) {
      for (int f = 0; f < FIELDS && !is_alive[i]; f++) {
        uint32_t to = edges[i][f];
        if (to == NONE || is_alive[to] || component_of[i] == component_of[to]) continue;
        uint32_t least = component_of[i] < component_of[to] ? component_of[i] : component_of[to];
        component_of[i] = component_of[to] = least;
        changed = true;
      }
    }
  }
}

static uint32_t number_of(const PyObject *object) {
  return ((const node_t *)((const char *)object - offsetof(node_t, object)))->number;
}

/* -- a pass, and what it found -------------------------------------------------------------------------- */

static bool never;
static bool helping;
static zpass_t pass_here; /* outlives its helpers, who may come when it has ended */

static void *help(void *unused) {
  (void)unused;
  for (uint32_t seed = 7; zload_acquire(&helping);) {
    /* now in a hurry, now not */
    uint64_t until = ztest_random(&seed) % 2 ? UINT64_MAX : zos_now_ns() + ztest_random(&seed) % 50000;
    if (zpass_help(&pass_here, until) == ZPASS_HELP_NONE) sched_yield();
  }
  return NULL;
}

static bool run(zpass_t *pass) {
  bool all;
  return zpass_begin(pass, &never, false) && zpass_subtract(pass) &&
         zdeferred_serve(&pass->deferred, UINT64_MAX, &all) && zpass_mark(pass) && zpass_sweep(pass);
}

/* Each deferred object once, with what it refers to, however the queue was split between the lanes. */
static void expect_deferred_references(const zdeferred_t *deferred) {
  static bool seen[OBJECTS];
  memset(seen, 0, sizeof seen);
  size_t at = 0, count, objects = 0;
  for (void **references; (references = zdeferred_next(deferred, &at, &count)) != NULL; objects++) {
    uint32_t number = number_of(references[-2]);
    assert_true(is_deferred(number) && !seen[number]);
    seen[number] = true;
    size_t again;
    assert_ptr_equal(zdeferred_references(deferred, &nodes[number]->object, &again), references);
    assert_int_equal(again, count);
    size_t next = 0;
    for (int f = 0; f < FIELDS; f++) {
      if (edges[number][f] == NONE) continue;
      assert_true(next < count);
      assert_ptr_equal(references[next++], &nodes[edges[number][f]]->object);
    }
    assert_int_equal(next, count);
  }
  size_t all = 0;
  for (uint32_t i = 0; i < OBJECTS; i++) all += is_deferred(i);
  assert_int_equal(objects, all);
  assert_int_equal(deferred->served, all);
  assert_null(zdeferred_references(deferred, &nodes[1]->object, &count));
}

static void expect_exactly_garbage(const zpass_t *pass) {
  static bool found[OBJECTS];
  memset(found, 0, sizeof found);
  for (size_t i = 0; i < pass->candidate_count; i++) found[number_of(pass->candidates[i])] = true;
  for (uint32_t i = 0; i < OBJECTS; i++) assert_int_equal(found[i], !is_alive[i]);
}

/* Each component whole and by itself. */
static void expect_components(zpass_t *pass) {
  zcomponents_t components;
  number_components();
  zpass_trim(pass);
  assert_true(zcomponents_make(&components, pass));
  size_t next = 0;
  static uint32_t size_of[OBJECTS];
  memset(size_of, 0, sizeof size_of);
  for (uint32_t i = 0; i < OBJECTS; i++) size_of[component_of[i]] += !is_alive[i];
  for (size_t c = 0; c < components.component_count; c++) {
    uint32_t first = component_of[number_of(components.objects[next])];
    assert_int_equal(components.sizes[c], size_of[first]);
    for (uint32_t i = 0; i < components.sizes[c]; i++) {
      assert_int_equal(component_of[number_of(components.objects[next++])], first);
    }
  }
  assert_int_equal(next, components.object_count);
  zcomponents_free(&components);
}

static void check_graph(uint32_t seed, unsigned held_of_1000) {
  zpass_t *pass = &pass_here;
  make_graph(seed, held_of_1000);
  mark_alive();
  assert_true(run(pass));
  expect_deferred_references(&pass->deferred);
  expect_exactly_garbage(pass);
  if (pass->candidate_count > 0) { /* once more, over these alone: nothing is outside that holds them */
    size_t before = pass->candidate_count;
    bool all;
    assert_true(zpass_subtract(pass) && zdeferred_serve(&pass->deferred, UINT64_MAX, &all));
    assert_true(zpass_mark(pass) && zpass_sweep(pass));
    assert_int_equal(pass->candidate_count, before);
    expect_exactly_garbage(pass);
    expect_components(pass);
  }
  zpass_end(pass);
}

static void test_one_lane(void **state) {
  (void)state;
  check_graph(1, 2);
}

static void test_all_garbage(void **state) {
  (void)state;
  check_graph(2, 0);
}

static void test_nothing_is_garbage(void **state) {
  (void)state;
  check_graph(3, 1000);
}

static void with_helper(uint32_t seed, unsigned held_of_1000) {
  pthread_t helper;
  zstore_release(&helping, true);
  assert_int_equal(pthread_create(&helper, NULL, help, NULL), 0);
  check_graph(seed, held_of_1000);
  zstore_release(&helping, false);
  pthread_join(helper, NULL);
}

static void test_two_lanes(void **state) {
  (void)state;
  with_helper(4, 2);
}

static void test_two_lanes_few_held(void **state) {
  (void)state;
  with_helper(5, 1);
}

static void test_two_lanes_all_garbage(void **state) {
  (void)state;
  with_helper(6, 0);
}

#define AUDITS ZTYPE_AUDIT_MOST

static bool run_audit(zpass_t *pass, uint64_t number) {
  bool all;
  if (!zpass_begin(pass, &never, false)) return false;
  pass->audit = number;
  return zpass_subtract(pass) && zdeferred_serve(&pass->deferred, UINT64_MAX, &all) && zpass_mark(pass) &&
         zpass_sweep(pass);
}

/* In so many collections running, also where a helper takes a part of them; and the garbage is the same. */
static void test_each_learned_instance_is_audited_in_turn(void **state) {
  (void)state;
  pthread_t helper;
  zstore_release(&helping, true);
  assert_int_equal(pthread_create(&helper, NULL, help, NULL), 0);
  make_graph(9, 2);
  mark_alive();
  plain.is_learned = true;
  plain.audit_every = ZTYPE_AUDIT_MOST;
  for (uint64_t n = 0; n < AUDITS; n++) {
    zpass_t *pass = &pass_here;
    assert_true(run_audit(pass, 100 + n));
    expect_exactly_garbage(pass);
    assert_in_range(pass->deferred.audited, 1, 2 * OBJECTS / AUDITS);
    zpass_end(pass);
  }
  plain.is_learned = false;
  zstore_release(&helping, false);
  pthread_join(helper, NULL);
  for (uint32_t i = 0; i < OBJECTS; i++) assert_int_equal(audited[i], !is_deferred(i));
}

static void test_told_to_stop(void **state) {
  (void)state;
  zpass_t *pass = &pass_here;
  make_graph(7, 2);
  never = true;
  assert_false(run(pass));
  zpass_end(pass);
  assert_int_equal(zpass_help(pass, UINT64_MAX), ZPASS_HELP_NONE); /* and no one is let in afterwards */
}

/* It has joined and gets no processor: the driver of an exact pass leaves the pass to it, and does another. */
static void test_a_helper_that_does_not_get_on(void **state) {
  (void)state;
  static zpass_t lost;
  make_graph(7, 2);
  mark_alive();
  assert_true(zpass_begin(&lost, &never, true));
  lost.gate = 1; /* GATE_HELPER */
  assert_false(zpass_subtract(&lost));
  assert_true(lost.is_lost);
  assert_true(run(&pass_here));
  expect_exactly_garbage(&pass_here);
  zpass_end(&pass_here);
  zpass_end(&lost); /* what the helper does when it leaves */
  lost.gate = 0;
}

static void test_told_to_stop_while_components_are_made(void **state) {
  (void)state;
  zcomponents_t components;
  make_graph(2, 0);
  assert_true(run(&pass_here) && pass_here.candidate_count > 0);
  zpass_trim(&pass_here);
  never = true;
  assert_false(zcomponents_make(&components, &pass_here));
  zpass_end(&pass_here);
}

static void test_ends_by_work_when_the_clock_stands_still(void **state) {
  (void)state;
  zpass_t *pass = &pass_here;
  make_graph(7, 2);
  assert_true(zpass_begin(pass, &never, false));
  pass->step = ZPASS_STEP_SUBTRACT;
  pass->is_open = true;
  size_t looks = pass->lanes[1].looks;
  zpass_help(pass, zos_now_ns() + 1);
  assert_true(pass->lanes[1].looks - looks <= 4);
  pass->is_open = false;
  zpass_end(pass);
}

static void test_each_table_fails_once(void **state) {
  (void)state;
  make_graph(8, 2);
  for (uint64_t n = 1;; n++) {
    zos_fault_set(ZOS_FAULT_TABLE, n, n);
    bool done = run(&pass_here);
    zpass_end(&pass_here);
    if (done) {
      assert_true(n > 6); /* there were tables to fail */
      break;
    }
  }
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_block_has_its_cell),
      cmocka_unit_test(test_what_may_be_a_pointer),
      cmocka_unit_test(test_one_lane),           cmocka_unit_test(test_all_garbage),
      cmocka_unit_test(test_nothing_is_garbage), cmocka_unit_test(test_two_lanes),
      cmocka_unit_test(test_two_lanes_few_held), cmocka_unit_test(test_two_lanes_all_garbage),
      cmocka_unit_test(test_each_learned_instance_is_audited_in_turn),
      cmocka_unit_test(test_told_to_stop),
      cmocka_unit_test(test_a_helper_that_does_not_get_on),
      cmocka_unit_test(test_told_to_stop_while_components_are_made),
      cmocka_unit_test(test_ends_by_work_when_the_clock_stands_still),
      cmocka_unit_test(test_each_table_fails_once),
  };
  return ztest_run_each(tests, ZARRAY_LENGTH(tests), start);
}
