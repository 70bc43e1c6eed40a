#include "preload/start/zsecond_gil.h"

#include "collector/python/zpyabi_interpreter.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/zallocator.h"
#include "heap/zthread_heap.h"

#define STATE_MIN (64 * ZK) /* a PyInterpreterState has 190 KiB and more */

static size_t state_min = SIZE_MAX;
static PyThreadState *(*current_thread)(void);
static PyInterpreterState *main_interpreter; /* a part of _PyRuntime: the same for each Py_Initialize */

/* Which interpreter works in which heap. A heap goes with the address of an interpreter's state, until that
 * memory is freed: then no thread has it as its own any more. */
static const PyInterpreterState *interpreter_of[ZHEAP_COUNT]; /* NULL: nobody works there */
static unsigned heaps_end = ZHEAP_COMMON + 1;

/* Which addresses are not among them, for all frees of the RAW domain: a bit by the low bits of an address. States are
 * large, so malloc places most at the start of an OS page, and few bits are set however many there are. Written under
 * the lock, a word at a time: a bit that is needed is never away. */
#define SEEN_BITS 1024
static uint64_t seen[SEEN_BITS / 64];

static size_t seen_place(const void *address) { return (uintptr_t)address / 16 % SEEN_BITS; }

static bool may_be_seen(const void *address) {
  size_t place = seen_place(address);
  return zload_relaxed(&seen[place / 64]) >> (place % 64) & 1;
}

static void set_seen(const void *address, bool value) {
  size_t place = seen_place(address);
  uint64_t bit = (uint64_t)1 << (place % 64), before = seen[place / 64];
  zstore_relaxed(&seen[place / 64], value ? before | bit : before & ~bit);
}

static bool shares_place(const void *address) {
  for (unsigned i = ZHEAP_COMMON + 1; i < heaps_end; i++) {
    if (interpreter_of[i] != NULL && seen_place(interpreter_of[i]) == seen_place(address)) return true;
  }
  return false;
}

static unsigned find(const PyInterpreterState *interpreter) {
  unsigned i = ZHEAP_COMMON + 1;
  while (i < heaps_end && interpreter_of[i] != interpreter) i++;
  return i;
}

static unsigned add_heap(void) {
  unsigned number = zallocator_new_heap();
  if (number != ZHEAP_COMMON) zstore_relaxed(&heaps_end, number + 1);
  return number;
}

static unsigned heap_for(const PyInterpreterState *interpreter) {
  if (interpreter == zload_relaxed(&main_interpreter)) return ZHEAP_FIRST;
  unsigned number = find(interpreter);
  if (number < heaps_end) return number;
  number = find(NULL);
  if (number == heaps_end) number = add_heap();
  if (number == ZHEAP_COMMON) return number;
  zstore_relaxed(&interpreter_of[number], interpreter);
  set_seen(interpreter, true);
  return number;
}

/* Where threads have their current state: written once, before `is_placed` is set. */
static zpyabi_thread_place_t place;
static bool is_placed;

/* CPython's variable of the calling thread, which has this state; NULL where it is not known. The proof was for one
 * thread at one time: so what each finds is compared with what CPython says. */
static const void *const *variable_of(const PyThreadState *thread, const PyInterpreterState *interpreter) {
  if (!zload_acquire(&is_placed)) return NULL;
  const void *const *variable = zpyabi_thread_variable(&place);
  const void *const *word = (const void *const *)((const char *)thread + place.interpreter);
  if (*variable == thread && *word == interpreter) return variable;
  zstore_relaxed(&is_placed, false);
  zlog_notice("a thread's state is not where it was at the start of CPython: each allocation asks CPython for it");
  return NULL;
}

/* An interpreter without a heap of its own is looked up each time. */
static znoinline unsigned look_up(const PyThreadState *thread, const PyInterpreterState *interpreter) {
  const void *const *variable = variable_of(thread, interpreter);
  zlock_take(ZLOCK_INTERPRETERS);
  unsigned number = heap_for(interpreter);
  if (number == ZHEAP_COMMON) interpreter = NULL;
  zthread_heap = (zthread_heap_t){variable, interpreter, zheap_of(number), number, zthread_heap_endings};
  zlock_drop(ZLOCK_INTERPRETERS);
  return number;
}

/* A thread's current state is of the interpreter whose GIL it holds: CPython sets it after it took the GIL and
 * takes it away before it lets it go. So no two threads have the same interpreter here at a time. That some
 * interpreters share a GIL makes no difference. */
static unsigned holder(void) {
  PyThreadState *thread = current_thread();
  if (zunlikely(thread == NULL)) return ZHEAP_COMMON;
  const PyInterpreterState *interpreter = zpy.PyThreadState_GetInterpreter(thread);
  if (zthread_heap_is_of(interpreter)) return zthread_heap.number;
  return look_up(thread, interpreter);
}

static void end(unsigned number) {
  const PyInterpreterState *interpreter = interpreter_of[number];
  zallocator_leave_heap(number);
  zstore_relaxed(&interpreter_of[number], NULL);
  if (!shares_place(interpreter)) set_seen(interpreter, false);
  zstore_relaxed(&zthread_heap_endings, zthread_heap_endings + 1);
}

/* Without the lock: the block is the caller's, and an interpreter's state is one that was given a heap before
 * it came to be freed. */
static bool is_interpreter(const void *block) {
  if (zlikely(!may_be_seen(block))) return false;
  for (unsigned i = ZHEAP_COMMON + 1; i < zload_relaxed(&heaps_end); i++) {
    if (zload_relaxed(&interpreter_of[i]) == block) return true;
  }
  return false;
}

void zsecond_gil_on_free(const void *block) {
  if (zlikely(!zheap_is_closed()) || block == NULL || !is_interpreter(block)) return;
  zlock_take(ZLOCK_INTERPRETERS);
  unsigned number = find(block);
  if (number < heaps_end) end(number);
  zlock_drop(ZLOCK_INTERPRETERS);
}

bool zsecond_gil_start(int minor) {
  if (minor < 12) return true;
  current_thread = zpyabi_current_thread();
  if (current_thread == NULL || zpy.PyThreadState_GetInterpreter == NULL) return false;
  state_min = STATE_MIN;
  return true;
}

size_t zsecond_gil_least(void) { return zload_relaxed(&state_min); }

static void find_place(void) {
  if (zload_relaxed(&is_placed)) return;
  if (!zpyabi_find_thread_place(&place)) {
    zlog_debug("gc,init", "a thread's current state was not found among its variables: allocations beside a second "
               "GIL ask for it");
    return;
  }
  zthread_heap_interpreter = place.interpreter;
  zstore_release(&is_placed, true);
  zlog_debug("gc,init", "threads see in their own variables which heap is theirs beside a second GIL");
}

void zsecond_gil_settle(void) {
  if (state_min == SIZE_MAX) return;
  size_t size = zpyabi_interpreter_size();
  if (size > state_min) zstore_relaxed(&state_min, size);
  find_place();
}

void zsecond_gil_expect(void) {
  PyInterpreterState *interpreter = zpy.PyInterpreterState_Main();
  if (interpreter == NULL) return; /* the next state is the main interpreter's own */
  if (!zheap_is_closed()) zlog_info("gc,heap", "another interpreter may be made: each has a heap from now on");
  zstore_relaxed(&main_interpreter, interpreter);
  zheap_close(holder);
}
