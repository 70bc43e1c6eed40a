/* The managed heap without an interpreter: real mutator threads under a mutex that stands for the
 * GIL, real collector threads, and a plain array as the oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka needs those first */
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/managed/zmanaged.h"
#include "collector/managed/zmanaged_verify.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define SLOTS 3

/* ---- the host ---------------------------------------------------------------------------------- */

static pthread_mutex_t gil = PTHREAD_MUTEX_INITIALIZER;
static int released_objects, ended_handles;

/* A handle as the interpreter would hold it. */
typedef struct {
  int refcount;
  zhandle_entry_t *entry;
} handle_t;

static void request_safepoint(void) {}
static bool weak_is_held(void *object) { return ((handle_t *)object)->refcount > 1; }
static void weak_hide(void *object) {
  ((handle_t *)object)->refcount = 0;
  ((handle_t *)object)->entry = NULL;
}
static void weak_finish(void *object) {
  (void)object;
  ended_handles++;
}
static void release(void *object) {
  assert_true(*(int *)object > 0);
  --*(int *)object;
  released_objects++;
}

static const zmanaged_host_t host = {
    .request_safepoint = request_safepoint,
    .weak_is_held = weak_is_held,
    .weak_hide = weak_hide,
    .weak_finish = weak_finish,
    .release = release,
};

static zshape_t node_shape = {
    .id = 1, .kind = ZBODY_FIXED, .size = 8 * (2 + SLOTS), .slot_count = SLOTS,
    .slot_map = {((1u << SLOTS) - 1) << 2}};
static zshape_t array_shape = {.id = 2, .kind = ZBODY_ARRAY};
static zshape_t raw_shape = {.id = 3, .kind = ZBODY_RAW};

static int set_up(void **state) {
  (void)state;
  zshape_table[1] = &node_shape;
  zshape_table[2] = &array_shape;
  zshape_table[3] = &raw_shape;
  const char *log = getenv("ZGC_LOG");
  if (log != NULL) zlog_start(log, ZLOG_DEBUG);
  return zmanaged_start(96 * ZM, 2, &host) ? 0 : -1;
}

/* ---- mutator operations; GIL held ---------------------------------------------------------------- */

static zaddress_t body_of(zhandle_entry_t *entry) { return zbarrier_load_entry(zslot(&entry->word)); }

static zhandle_entry_t *new_entry(zaddress_t body, void *object) {
  uint32_t id = zhandle_table_alloc();
  assert_int_not_equal(id, 0);
  zhandle_entry_t *entry = &zhandle_table.entries[id];
  zstore_relaxed(&entry->object, (uintptr_t)object);
  zstore_release(&entry->word, zcolored_store_good(body).bits);
  return entry;
}

static void drop_entry(zhandle_entry_t *entry) {
  zbarrier_drop_root(zslot(&entry->word));
  zhandle_table_free(entry);
}

static zaddress_t alloc(const zshape_t *shape, uint64_t length) {
  zmanaged_poll();
  zaddress_t body = zmanaged_alloc(shape, length);
  for (int i = 0; zaddress_is_null(body) && i < 3; i++) {
    uint64_t ticket = zmanaged_request(ZGENERATION_OLD, "Stall");
    while (!zmanaged_is_done(ticket)) {
      zmanaged_safepoint();
      zmanaged_run_if_stuck();
      pthread_mutex_unlock(&gil);
      zmanaged_wait();
      pthread_mutex_lock(&gil);
    }
    body = zmanaged_alloc(shape, length);
  }
  return body;
}

static void collect(zgeneration_t generation) {
  uint64_t ticket = zmanaged_request(generation, "Test");
  while (!zmanaged_is_done(ticket)) {
    zmanaged_safepoint();
    zmanaged_run_if_stuck();
    pthread_mutex_unlock(&gil);
    zmanaged_wait();
    pthread_mutex_lock(&gil);
  }
  while (!zmanaged_release_some(1000000)) {
  }
}

static uint64_t *slot_of(zaddress_t body, unsigned i) { return &zbody_words(body)[2 + i]; }

static zaddress_t load(zaddress_t body, unsigned i) {
  return zcolored_strip(zbarrier_load(zslot(slot_of(body, i))));
}

static void store(zaddress_t body, unsigned i, zaddress_t value) {
  zcolored_t word = zaddress_is_null(value) ? zcolored_none() : zcolored_store_good(value);
  zbarrier_store(zslot(slot_of(body, i)), word);
}

static void verify(void) { /* the GIL is given back before a failure, for the tests that follow */
  char message[256];
  uint64_t bodies;
  zmanaged_stop_world();
  bool ok = zmanaged_verify(&bodies, message, sizeof message);
  zmanaged_resume_world();
  if (!ok) { pthread_mutex_unlock(&gil); fail_msg("%s", message); }
}

/* ---- a model ------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t child[SLOTS]; /* number of the node, 0 none */
} model_node_t;

static struct {
  model_node_t *nodes; /* by number; all that ever were */
  uint32_t count, limit;
  zhandle_entry_t **roots;
  uint32_t *root_numbers;
  uint32_t root_count;
} model;

static uint64_t number_of(zaddress_t body) { return zbody_words(body)[1]; }

static uint32_t random_below(unsigned *seed, uint32_t limit) {
  *seed = *seed * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)(*seed >> 8) * limit) >> 24);
}

static void set_root(uint32_t i, zaddress_t body) {
  if (model.roots[i] != NULL) drop_entry(model.roots[i]);
  model.roots[i] = new_entry(body, NULL);
  model.root_numbers[i] = (uint32_t)number_of(body);
}

static void check_node(zaddress_t body, uint32_t number) {
  if (number_of(body) != number) fail_msg("node %u reads as %lu", number, (unsigned long)number_of(body));
}

static void step(unsigned *seed) {
  zmanaged_poll();
  uint32_t i = random_below(seed, model.root_count);
  unsigned what = random_below(seed, 100);
  if (what < 40 && model.count < model.limit) {
    zaddress_t body = alloc(&node_shape, 0);
    if (zaddress_is_null(body)) return;
    uint32_t number = model.count++;
    zbody_words(body)[1] = number;
    for (unsigned s = 0; s < SLOTS; s++) {
      uint32_t r = random_below(seed, model.root_count);
      if (model.roots[r] == NULL) continue;
      store(body, s, body_of(model.roots[r]));
      model.nodes[number].child[s] = model.root_numbers[r];
    }
    set_root(i, body);
    return;
  }
  if (model.roots[i] == NULL) return;
  zaddress_t body = body_of(model.roots[i]);
  check_node(body, model.root_numbers[i]);
  unsigned s = random_below(seed, SLOTS);
  if (what < 70) { /* walk */
    uint32_t number = model.root_numbers[i];
    for (unsigned depth = 0; depth < 20; depth++) {
      zaddress_t next = load(body, s);
      uint32_t expected = model.nodes[number].child[s];
      if (zaddress_is_null(next) != (expected == 0)) fail_msg("child of %u lost", number);
      if (expected == 0) break;
      check_node(next, expected);
      body = next;
      number = expected;
      s = random_below(seed, SLOTS);
    }
    set_root(random_below(seed, model.root_count), body);
  } else if (what < 90) { /* store */
    uint32_t r = random_below(seed, model.root_count);
    if (model.roots[r] == NULL || what < 75) {
      store(body, s, zaddress(0));
      model.nodes[model.root_numbers[i]].child[s] = 0;
    } else {
      store(body, s, body_of(model.roots[r]));
      model.nodes[model.root_numbers[i]].child[s] = model.root_numbers[r];
    }
  } else if (model.root_count > 1) {
    drop_entry(model.roots[i]);
    model.roots[i] = NULL;
  }
}

static uint32_t operations = 100000;

static void *mutator(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  pthread_mutex_lock(&gil);
  for (uint32_t i = 0; i < operations; i++) {
    step(&seed);
    if (i % 64 == 0) {
      pthread_mutex_unlock(&gil);
      if (i % 1024 == 0) sched_yield();
      pthread_mutex_lock(&gil);
    }
  }
  pthread_mutex_unlock(&gil);
  return NULL;
}

static void start_model(uint32_t roots) {
  memset(&model, 0, sizeof model);
  model.limit = 4000000;
  model.nodes = zos_table_map(model.limit * sizeof *model.nodes);
  model.count = 1;
  model.root_count = roots;
  model.roots = calloc(roots, sizeof *model.roots);
  model.root_numbers = calloc(roots, sizeof *model.root_numbers);
}

static void end_model(void) {
  for (uint32_t i = 0; i < model.root_count; i++) {
    if (model.roots[i] != NULL) drop_entry(model.roots[i]);
  }
  zos_table_unmap(model.nodes, model.limit * sizeof *model.nodes);
  free(model.roots);
  free(model.root_numbers);
}

static bool stop_collecting;

/* Handles that the old mark shall leave out of its roots: wrong as the choice is, nothing may be lost. */
static void choose_suspects(unsigned seed) {
  if (zmanaged_phase() != ZMANAGED_IDLE || model.root_count < 4) return;
  if (zsuspects_has_results()) zsuspects_clear();
  for (unsigned i = 0; i < 8; i++) {
    zhandle_entry_t *entry = model.roots[random_below(&seed, model.root_count)];
    if (entry != NULL && (entry->object & ZHANDLE_SUSPECT) == 0) zsuspects_add(entry);
  }
}

static void *collector_pressure(void *argument) {
  unsigned n = 0;
  (void)argument;
  while (!zload_relaxed(&stop_collecting)) {
    zgeneration_t generation = n++ % 4 == 3 || zmanaged_give_way == ZGIVE_WAY_ALWAYS ? ZGENERATION_OLD : ZGENERATION_YOUNG;
    if (generation == ZGENERATION_OLD && n % 3 == 0) {
      pthread_mutex_lock(&gil);
      choose_suspects(n);
      pthread_mutex_unlock(&gil);
    }
    uint64_t ticket = zmanaged_request(generation, "Test");
    while (!zmanaged_is_done(ticket) && !zload_relaxed(&stop_collecting)) {
      pthread_mutex_lock(&gil);
      zmanaged_safepoint();
      pthread_mutex_unlock(&gil);
      zmanaged_wait();
    }
    pthread_mutex_lock(&gil);
    if (zmanaged_phase() == ZMANAGED_IDLE || n % 3 == 0) verify();
    pthread_mutex_unlock(&gil);
  }
  return NULL;
}

static void run_model(uint32_t roots, unsigned threads) {
  start_model(roots);
  pthread_t mutators[4], pressure;
  stop_collecting = false;
  pthread_create(&pressure, NULL, collector_pressure, NULL);
  for (unsigned i = 0; i < threads; i++) {
    pthread_create(&mutators[i], NULL, mutator, (void *)(uintptr_t)(i + 1));
  }
  for (unsigned i = 0; i < threads; i++) pthread_join(mutators[i], NULL);
  zstore_relaxed(&stop_collecting, true);
  pthread_join(pressure, NULL);
  pthread_mutex_lock(&gil);
  verify();
  end_model();
  collect(ZGENERATION_OLD);
  collect(ZGENERATION_OLD);
  pthread_mutex_unlock(&gil);
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_body_moves_and_keeps_its_words(void **state) {
  (void)state;
  pthread_mutex_lock(&gil);
  zaddress_t body = alloc(&node_shape, 0);
  uintptr_t before = body.value;
  zbody_words(body)[1] = 12345;
  zhandle_entry_t *entry = new_entry(body, NULL);
  zaddress_t child = alloc(&node_shape, 0);
  zbody_words(child)[1] = 777;
  store(body, 1, child);
  store(body, 2, body);
  collect(ZGENERATION_YOUNG);
  body = body_of(entry);
  assert_int_not_equal(body.value, before);
  assert_int_equal(zbody_words(body)[1], 12345);
  assert_int_equal(load(body, 2).value, body.value);
  assert_int_equal(zbody_words(load(body, 1))[1], 777);
  for (int i = 0; i < 5; i++) collect(ZGENERATION_YOUNG);
  body = body_of(entry);
  assert_true(zbody_page_is_old(zbody_page_of(body)));
  assert_int_equal(zbody_words(load(body, 1))[1], 777);
  verify();
  drop_entry(entry);
  collect(ZGENERATION_OLD);
  pthread_mutex_unlock(&gil);
}

static void test_young_body_held_by_an_old_one_only(void **state) {
  (void)state;
  pthread_mutex_lock(&gil);
  zhandle_entry_t *entry = new_entry(alloc(&node_shape, 0), NULL);
  collect(ZGENERATION_OLD);
  assert_true(zbody_page_is_old(zbody_page_of(body_of(entry))));
  for (unsigned i = 0; i < 8; i++) {
    zaddress_t child = alloc(&node_shape, 0);
    zbody_words(child)[1] = 100 + i;
    store(body_of(entry), 0, child);
    store(body_of(entry), 1, child);
    for (unsigned n = 0; n <= i; n++) {
      collect(ZGENERATION_YOUNG);
      verify();
      assert_int_equal(zbody_words(load(body_of(entry), 0))[1], 100 + i);
    }
  }
  drop_entry(entry);
  collect(ZGENERATION_OLD);
  pthread_mutex_unlock(&gil);
}

static void test_python_references_of_dead_bodies_are_released(void **state) {
  (void)state;
  static int counts[100];
  pthread_mutex_lock(&gil);
  zhandle_entry_t *entry = new_entry(alloc(&array_shape, 100), NULL);
  for (unsigned i = 0; i < 100; i++) {
    counts[i] = 1;
    uint32_t index = zpyref_alloc(&counts[i], false);
    zaddress_t node = alloc(&node_shape, 0);
    zbarrier_store(zslot(slot_of(node, 0)), zcolored_value(ZKIND_PYTHON, index));
    zbarrier_store(zslot(&zbody_elements(body_of(entry))[i]), zcolored_store_good(node));
  }
  for (unsigned i = 0; i < 100; i += 2) {
    zbarrier_store(zslot(&zbody_elements(body_of(entry))[i]), zcolored_none());
  }
  collect(ZGENERATION_YOUNG);
  for (unsigned i = 0; i < 100; i++) assert_int_equal(counts[i], i % 2);
  collect(ZGENERATION_OLD);
  for (unsigned i = 1; i < 50; i += 2) {
    zbarrier_store(zslot(&zbody_elements(body_of(entry))[i]), zcolored_none());
  }
  collect(ZGENERATION_YOUNG); /* they are old: not looked at */
  for (unsigned i = 0; i < 100; i++) assert_int_equal(counts[i], i % 2);
  collect(ZGENERATION_OLD);
  for (unsigned i = 0; i < 100; i++) assert_int_equal(counts[i], i >= 50 && i % 2);
  drop_entry(entry);
  collect(ZGENERATION_OLD);
  for (unsigned i = 0; i < 100; i++) assert_int_equal(counts[i], 0);
  assert_int_equal(zpyref_table.live, 0);
  pthread_mutex_unlock(&gil);
}

static void make_weak(zhandle_entry_t *entry) {
  zbarrier_drop_root(zslot(&entry->word));
  zstore_relaxed(&entry->object, entry->object | ZHANDLE_WEAK);
  (void)zfetch_or_relaxed(&entry->word, ZCOLOR_SUSPECT);
  zhandle_table.weak++;
}

static void test_weak_entry_ends_with_its_body(void **state) {
  (void)state;
  pthread_mutex_lock(&gil);
  zhandle_entry_t *root = new_entry(alloc(&node_shape, 0), NULL);
  handle_t weak = {1, NULL}, held = {2, NULL};
  store(body_of(root), 0, alloc(&node_shape, 0));
  weak.entry = new_entry(load(body_of(root), 0), &weak);
  held.entry = new_entry(alloc(&node_shape, 0), &held);
  make_weak(weak.entry);
  make_weak(held.entry);
  int before = ended_handles;
  collect(ZGENERATION_YOUNG);
  collect(ZGENERATION_OLD);
  assert_non_null(weak.entry); /* the body is still in use */
  assert_non_null(held.entry); /* the program has a reference again */
  store(body_of(root), 0, zaddress(0));
  collect(ZGENERATION_OLD);
  assert_null(weak.entry);
  assert_int_equal(ended_handles, before + 1);
  held.refcount = 1;
  collect(ZGENERATION_OLD);
  assert_null(held.entry);
  drop_entry(root);
  pthread_mutex_unlock(&gil);
}

static void test_large_and_medium_bodies(void **state) {
  (void)state;
  pthread_mutex_lock(&gil);
  size_t lengths[] = {1, ZBODY_SMALL_MAX / 8 - 3, ZBODY_SMALL_MAX / 8, ZBODY_MEDIUM_MAX / 8 - 2,
                      ZBODY_MEDIUM_MAX / 8, 300000};
  for (unsigned k = 0; k < ZARRAY_LENGTH(lengths); k++) {
    zhandle_entry_t *entry = new_entry(alloc(&array_shape, lengths[k]), NULL);
    for (size_t i = 0; i < lengths[k]; i += 1 + lengths[k] / 50) {
      zaddress_t node = alloc(&node_shape, 0);
      zbody_words(node)[1] = i;
      zbarrier_store(zslot(&zbody_elements(body_of(entry))[i]), zcolored_store_good(node));
    }
    for (unsigned c = 0; c < 6; c++) {
      collect(c == 3 ? ZGENERATION_OLD : ZGENERATION_YOUNG);
      verify();
      for (size_t i = 0; i < lengths[k]; i += 1 + lengths[k] / 50) {
        zaddress_t node = zcolored_strip(zbarrier_load(zslot(&zbody_elements(body_of(entry))[i])));
        assert_int_equal(zbody_words(node)[1], i);
      }
    }
    drop_entry(entry);
  }
  collect(ZGENERATION_OLD);
  assert_int_equal(zbody_space.used_units, 0);
  pthread_mutex_unlock(&gil);
}

static void test_garbage_gives_its_pages_back(void **state) {
  (void)state;
  pthread_mutex_lock(&gil);
  zhandle_entry_t *entry = new_entry(alloc(&array_shape, 100000), NULL);
  for (size_t i = 0; i < 1000000; i++) {
    zaddress_t node = alloc(&node_shape, 0);
    if (i % 10 != 0) continue;
    zbarrier_store(zslot(&zbody_elements(body_of(entry))[i / 10]), zcolored_store_good(node));
  }
  collect(ZGENERATION_OLD);
  collect(ZGENERATION_OLD);
  assert_in_range(zbody_space.used_units << ZUNIT_SHIFT, 4 * ZM, 8 * ZM);
  drop_entry(entry);
  collect(ZGENERATION_OLD);
  assert_int_equal(zbody_space.used_units, 0);
  pthread_mutex_unlock(&gil);
}

static void test_out_of_memory_is_no_loss(void **state) {
  (void)state;
  pthread_mutex_lock(&gil);
  zhandle_entry_t *list = NULL;
  uint64_t count = 0;
  for (;;) {
    zaddress_t node = alloc(&node_shape, 0);
    if (zaddress_is_null(node)) break;
    zbody_words(node)[1] = ++count;
    if (list != NULL) {
      store(node, 0, body_of(list));
      drop_entry(list);
    }
    list = new_entry(node, NULL);
  }
  assert_in_range(count, 80 * ZM / 40, 96 * ZM / 40);
  verify();
  zaddress_t node = body_of(list);
  for (uint64_t i = count; i > 0; i--) {
    assert_int_equal(zbody_words(node)[1], i);
    node = load(node, 0);
  }
  drop_entry(list);
  assert_false(zaddress_is_null(alloc(&node_shape, 0)));
  collect(ZGENERATION_OLD);
  pthread_mutex_unlock(&gil);
}

static void test_model_with_threads(void **state) {
  (void)state;
  run_model(1000, 3);
}

static void test_model_with_young_collections_beside_the_old_mark(void **state) {
  (void)state;
  uint64_t before = zmanaged_stat_values.young_within_full;
  zmanaged_give_way = ZGIVE_WAY_ALWAYS;
  for (int i = 0; i < 200 && zmanaged_stat_values.young_within_full < before + 10; i++) { /* by the scheduler */
    run_model(1000, 3);
    zstore_relaxed(&zrelocate_force_in_place, true);
    run_model(1000, 2);
    zstore_relaxed(&zrelocate_force_in_place, false);
  }
  zmanaged_give_way = ZGIVE_WAY_BY_TURNS;
  assert_true(zmanaged_stat_values.young_within_full >= before + 10);
}

static void test_model_small_graph(void **state) {
  (void)state;
  run_model(20, 2);
}

static void test_model_with_in_place_relocation(void **state) {
  (void)state;
  uint64_t before = zrelocate_in_place_count;
  zstore_relaxed(&zrelocate_force_in_place, true);
  for (int i = 0; i < 20 && zrelocate_in_place_count == before; i++) run_model(1000, 2);
  zstore_relaxed(&zrelocate_force_in_place, false);
  assert_true(zrelocate_in_place_count > before);
}

static void test_model_without_memory_for_tables(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_TABLE, 3, 40);
  run_model(500, 2);
  zos_fault_set(ZOS_FAULT_TABLE, 0, 0);
}

static void test_model_when_commits_fail(void **state) {
  (void)state;
  zos_fault_set(ZOS_FAULT_COMMIT, 1, 10);
  run_model(500, 2);
  zos_fault_set(ZOS_FAULT_COMMIT, 0, 0);
}

static void child_of_fork(unsigned seed) {
  zmanaged_fork_child();
  zmanaged_hold = 0;
  alarm(200);
  for (unsigned i = 0; i < 3000; i++) step(&seed);
  char message[256];
  uint64_t bodies;
  for (int i = 0; i < 2; i++) collect(ZGENERATION_OLD);
  for (unsigned i = 0; i < 3000; i++) step(&seed);
  zmanaged_stop_world();
  _exit(zmanaged_verify(&bodies, message, sizeof message) ? 0 : 1);
}

static void fork_now(unsigned seed) {
  zmanaged_fork_prepare();
  zlock_take_all();
  pid_t pid = fork();
  zlock_drop_all();
  if (pid == 0) child_of_fork(seed);
  zmanaged_fork_parent();
  int status;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
}

/* Lets a full collection come to the phase and wait there; false when it had no such phase. GIL. */
static bool reach(zmanaged_phase_t phase) {
  uint64_t ticket = zmanaged_request(ZGENERATION_OLD, "Test");
  while (!zmanaged_is_done(ticket)) {
    if (zmanaged_phase() == phase) return true;
    zmanaged_safepoint();
  }
  return false;
}

/* A child of a fork at any moment goes on with what it inherited. */
static void test_fork_in_every_phase(void **state) {
  (void)state;
#ifdef __SANITIZE_THREAD__
  skip(); /* it does not follow threads of a forked child */
#endif
  uint32_t met = 0;
  start_model(500);
  unsigned seed = 7;
  pthread_mutex_lock(&gil);
  for (unsigned i = 0; i < 3000; i++) step(&seed);
  for (unsigned phase = ZMANAGED_PREPARE; phase <= ZMANAGED_FINISH; phase++) {
    bool grouping = phase == ZMANAGED_GROUP || phase == ZMANAGED_GROUP_END;
    collect(ZGENERATION_YOUNG);
    zmanaged_give_way = phase % 2 ? ZGIVE_WAY_ALWAYS : ZGIVE_WAY_BY_TURNS;
    for (unsigned n = 0; n < 20 && !(met >> phase & 1); n++) {
      for (unsigned i = 0; i < 300; i++) step(&seed);
      if (grouping) choose_suspects(n);
      zstore_relaxed(&zmanaged_hold, phase);
      if (reach((zmanaged_phase_t)phase)) {
        met |= 1u << phase;
        fork_now(seed + phase);
      }
      zstore_relaxed(&zmanaged_hold, 0);
    }
  }
  collect(ZGENERATION_OLD);
  zmanaged_give_way = ZGIVE_WAY_BY_TURNS;
  end_model();
  collect(ZGENERATION_OLD);
  pthread_mutex_unlock(&gil);
  for (unsigned phase = ZMANAGED_PREPARE; phase <= ZMANAGED_FINISH; phase++) {
    if (!(met >> phase & 1)) fail_msg("not met: %s", zmanaged_phase_name((zmanaged_phase_t)phase));
  }
}

int main(int argc, char **argv) {
  /* Of each thread of a model. The sanitizers' runs take fewer, the long run more. */
  const char *wanted = argc > 1 ? argv[1] : getenv("ZGCTEST_OPERATIONS");
  if (wanted != NULL) operations = (uint32_t)atoi(wanted);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_body_moves_and_keeps_its_words),
      cmocka_unit_test(test_young_body_held_by_an_old_one_only),
      cmocka_unit_test(test_python_references_of_dead_bodies_are_released),
      cmocka_unit_test(test_weak_entry_ends_with_its_body),
      cmocka_unit_test(test_large_and_medium_bodies),
      cmocka_unit_test(test_garbage_gives_its_pages_back),
      cmocka_unit_test(test_model_small_graph),
      cmocka_unit_test(test_model_with_threads),
      cmocka_unit_test(test_model_with_young_collections_beside_the_old_mark),
      cmocka_unit_test(test_model_with_in_place_relocation),
      cmocka_unit_test(test_model_without_memory_for_tables),
      cmocka_unit_test(test_model_when_commits_fail),
      cmocka_unit_test(test_out_of_memory_is_no_loss),
      cmocka_unit_test(test_fork_in_every_phase),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
