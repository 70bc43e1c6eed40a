#include "collector/profile/zstack_table.h"

#include <stdlib.h>
#include <string.h>

#include "heap/base/zbacktrace.h"

#define STACK_BUCKETS 4096 /* fixed: a program has a few thousand stacks, and 64 MiB bound their number */
#define PLACE_BUCKETS 4096
#define BYTES_MAX (64 * ZM)

#define MS 1000000u
#define SECOND (1000u * (uint64_t)MS)

const zstack_lifetime_t zstack_lifetimes[ZSTACK_LIFETIMES] = {
    {MS, "under 1 ms"},         {10 * MS, "under 10 ms"},      {100 * MS, "under 100 ms"},
    {SECOND, "under 1 s"},      {10 * SECOND, "under 10 s"},   {100 * SECOND, "under 100 s"},
    {UINT64_MAX, "100 s and more"}};

static zstack_t *stacks[STACK_BUCKETS];
static zcode_t *codes[PLACE_BUCKETS];
static znative_t *natives[PLACE_BUCKETS];
static uint32_t stack_count = 1, code_count, native_count;
static size_t bytes_used;
static zstack_t others; /* for stacks beyond BYTES_MAX; id 0 */

unsigned zstack_lifetime_of(uint64_t ns) {
  unsigned i = 0;
  while (ns >= zstack_lifetimes[i].limit_ns && i + 1 < ZSTACK_LIFETIMES) i++;
  return i;
}

/* -- places --------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

static size_t bucket_of(const void *key) { return mix(0, (uintptr_t)key) >> 32 & (PLACE_BUCKETS - 1); }

static void *grow(size_t size) {
  void *memory = calloc(1, size);
  if (memory != NULL) bytes_used += size;
  return memory;
}

static zcode_t *code_entry(PyObject *code) {
  zcode_t **bucket = &codes[bucket_of(code)];
  for (zcode_t *c = *bucket; c != NULL; c = c->next) {
    if (c->code == code) return c;
  }
  zcode_t *c = grow(sizeof *c);
  if (c == NULL) return NULL;
  zpy.Py_IncRef(code);
  *c = (zcode_t){.next = *bucket, .code = code, .id = ++code_count};
  *bucket = c;
  return c;
}

static znative_t *native_entry(uintptr_t address, bool *is_new) {
  znative_t **bucket = &natives[bucket_of((void *)address)];
  for (znative_t *n = *bucket; n != NULL; n = n->next) {
    if (n->address == address) return n;
  }
  znative_t *n = grow(sizeof *n);
  if (n == NULL) return NULL;
  *n = (znative_t){.next = *bucket, .address = address, .id = ++native_count};
  *bucket = n;
  *is_new = true;
  return n;
}

/* -- which native frames run Python -------------------------------------------------------------- */

/* A loop's address on the stack lies in the frame with the next lower stack pointer. */
static znoinline void classify(const zpyabi_frame_t *frames, unsigned count) {
  void *addresses[ZSTACK_NATIVE_MAX];
  uintptr_t pointers[ZSTACK_NATIVE_MAX];
  unsigned found = zbacktrace_with_stacks(addresses, pointers, ZSTACK_NATIVE_MAX), i = 0;
  for (unsigned j = 0; j < count; j++) {
    while (i + 1 < found && pointers[i + 1] <= frames[j].stack) i++;
    if (i >= found || frames[j].stack < pointers[i] || i + 1 == found) continue;
    bool is_new;
    znative_t *loop = native_entry((uintptr_t)addresses[i] - 1, &is_new);
    if (loop != NULL) loop->runs_python = true;
  }
}

/* The loops among the native frames and the runs of Python frames stand in the same order. Where
 * their numbers differ (the outer end was cut; greenlets keep their C stacks elsewhere), the inner
 * ones are matched as far as there are any. */
static void match(zstack_t *stack, const zpyabi_frame_t *frames) {
  unsigned native = 0;
  for (unsigned i = 0; i < stack->pythons; i++) {
    bool same_loop = i > 0 && frames[i].stack == frames[i - 1].stack;
    if (!same_loop) {
      if (i > 0) native++;
      while (native < stack->natives && !stack->native[native]->runs_python) native++;
    }
    stack->python[i].native = native < stack->natives ? (int16_t)native : -1;
  }
}

/* -- stacks ----------------------------------------------------------------------------------------- */

typedef struct {
  void *natives[ZSTACK_NATIVE_MAX];
  zpyabi_frame_t pythons[ZSTACK_PYTHON_MAX];
  unsigned native_count, python_count;
} raw_t;

static uint64_t hash_of(const raw_t *raw) {
  uint64_t hash = raw->native_count;
  for (unsigned i = 0; i < raw->native_count; i++) hash = mix(hash, (uintptr_t)raw->natives[i]);
  for (unsigned i = 0; i < raw->python_count; i++) {
    hash = mix(hash, (uintptr_t)raw->pythons[i].code + (uint64_t)raw->pythons[i].instruction * 3);
  }
  return hash;
}

static bool is_same(const zstack_t *stack, uint64_t hash, const raw_t *raw) {
  if (stack->hash != hash || stack->natives != raw->native_count ||
      stack->pythons != raw->python_count) {
    return false;
  }
  for (unsigned i = 0; i < stack->natives; i++) {
    if (stack->native[i]->address != (uintptr_t)raw->natives[i] - 1) return false;
  }
  for (unsigned i = 0; i < stack->pythons; i++) {
    if (stack->python[i].code->code != raw->pythons[i].code ||
        stack->python[i].instruction != raw->pythons[i].instruction) {
      return false;
    }
  }
  return true;
}

static znoinline zstack_t *new_stack(uint64_t hash, const raw_t *raw) {
  if (bytes_used > BYTES_MAX) return &others;
  zstack_t *stack = grow(sizeof *stack + raw->native_count * sizeof(znative_t *) +
                         raw->python_count * sizeof(zstack_python_t));
  if (stack == NULL) return NULL;
  stack->hash = hash;
  stack->natives = (uint16_t)raw->native_count;
  stack->pythons = (uint16_t)raw->python_count;
  stack->native = (znative_t **)(stack + 1);
  stack->python = (zstack_python_t *)(stack->native + raw->native_count);
  bool has_new = false, whole = true;
  for (unsigned i = 0; i < raw->native_count && whole; i++) {
    stack->native[i] = native_entry((uintptr_t)raw->natives[i] - 1, &has_new);
    whole = stack->native[i] != NULL;
  }
  for (unsigned i = 0; i < raw->python_count && whole; i++) {
    stack->python[i].code = code_entry(raw->pythons[i].code);
    stack->python[i].instruction = raw->pythons[i].instruction;
    whole = stack->python[i].code != NULL;
  }
  if (!whole) {
    free(stack);
    return NULL;
  }
  if (has_new) classify(raw->pythons, raw->python_count);
  match(stack, raw->pythons);
  zstack_t **bucket = &stacks[hash & (STACK_BUCKETS - 1)];
  stack->id = stack_count++;
  stack->next = *bucket;
  return *bucket = stack;
}

zstack_t *zstack_here(void) {
  raw_t raw;
  raw.native_count = zbacktrace(raw.natives, ZSTACK_NATIVE_MAX);
  raw.python_count = zpyabi_frames(raw.pythons, ZSTACK_PYTHON_MAX);
  uint64_t hash = hash_of(&raw);
  for (zstack_t *s = stacks[hash & (STACK_BUCKETS - 1)]; s != NULL; s = s->next) {
    if (is_same(s, hash, &raw)) return s;
  }
  return new_stack(hash, &raw);
}

static bool next(zstack_walk_t *walk, const znative_t **native, const zstack_python_t **python) {
  const zstack_t *stack = walk->stack;
  *native = NULL;
  *python = NULL;
  if (walk->python < stack->pythons) {
    const zstack_python_t *frame = &stack->python[walk->python];
    if (frame->native < 0 || walk->native >= (unsigned)frame->native) {
      if (frame->native >= 0) walk->native = (unsigned)frame->native + 1;
      walk->python++;
      *python = frame;
      return true;
    }
  } else if (stack->pythons > 0 && stack->python[stack->pythons - 1].native < 0) {
    return false; /* what native frames are left, belongs somewhere in between */
  }
  if (walk->native >= stack->natives) return false;
  *native = stack->native[walk->native++];
  return true;
}

bool zstack_next(zstack_walk_t *walk, const znative_t **native, const zstack_python_t **python) {
  while (next(walk, native, python)) {
    bool is_interpreters = *python != NULL && (*python)->code->name != NULL && (*python)->code->first_line <= 0;
    if (!is_interpreters) return true;
  }
  return false;
}

/* -- all of them ------------------------------------------------------------------------------------- */

zstack_t **zstack_all(uint32_t *count) {
  *count = stack_count;
  zstack_t **all = calloc(stack_count, sizeof *all);
  if (all == NULL) return NULL;
  all[0] = &others;
  for (size_t i = 0; i < STACK_BUCKETS; i++) {
    for (zstack_t *s = stacks[i]; s != NULL; s = s->next) all[s->id] = s;
  }
  return all;
}

zcode_t **zstack_codes(uint32_t *count) {
  *count = code_count;
  zcode_t **all = calloc((size_t)code_count + 1, sizeof *all);
  for (size_t i = 0; all != NULL && i < PLACE_BUCKETS; i++) {
    for (zcode_t *c = codes[i]; c != NULL; c = c->next) all[c->id - 1] = c;
  }
  return all;
}

znative_t **zstack_natives(uint32_t *count) {
  *count = native_count;
  znative_t **all = calloc((size_t)native_count + 1, sizeof *all);
  for (size_t i = 0; all != NULL && i < PLACE_BUCKETS; i++) {
    for (znative_t *n = natives[i]; n != NULL; n = n->next) all[n->id - 1] = n;
  }
  return all;
}
