#define _GNU_SOURCE
#include "preload/start/zbinding.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

#include "collector/python/zpyapi.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/zallocator.h"
#include "preload/start/zdebug_hooks.h"
#include "preload/start/zinitial.h"
#include "preload/start/zsecond_gil.h"
#include "preload/start/zsymbols.h"

static bool is_bound, is_debug_build;
static const char *reason = "the library is passive"; /* why not symbols */

/* -- the table ----------------------------------------------------------------------------------- */

static void *object_malloc(void *ctx, size_t size) {
  (void)ctx;
  return zallocator_alloc(size);
}

static void *object_calloc(void *ctx, size_t count, size_t size) {
  (void)ctx;
  size_t total;
  if (__builtin_mul_overflow(count, size, &total)) return NULL;
  return zallocator_alloc_zeroed(total);
}

static void *object_realloc(void *ctx, void *block, size_t size) {
  (void)ctx;
  return zallocator_realloc(block, size);
}

static void object_free(void *ctx, void *block) {
  (void)ctx;
  zallocator_free(block);
}

/* The contexts are not used: they tell the two tables apart when we look for them. */
static char contexts[3];
static const PyMemAllocatorEx object_table = {&contexts[0], object_malloc, object_calloc,
                                              object_realloc, object_free};
static const PyMemAllocatorEx mem_table = {&contexts[1], object_malloc, object_calloc,
                                           object_realloc, object_free};

static void set_table(int domain, const PyMemAllocatorEx *table) {
  PyMemAllocatorEx copy = *table;
  zpy.PyMem_SetAllocator(domain, &copy);
}

/* The RAW domain stays what it was, malloc: programs (perf is one) and extensions hand its blocks to
 * free(). Requests are only looked at on their way. */
static PyMemAllocatorEx raw_before;
static zinitial_allocators_t before; /* as the interpreter was found */

/* -X dev sets hooks meanwhile, and the next interpreter begins without them: whose context is it? */
static const PyMemAllocatorEx *raw_of(const void *ctx) {
  return ctx == before.raw.ctx ? &before.raw : &raw_before;
}

static void *raw_calloc(void *ctx, size_t count, size_t size);

/* Another allocator wraps ours, and may pass requests on in its own way. */
static bool raw_is_wrapped(void) {
  PyMemAllocatorEx raw;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
  return raw.calloc != raw_calloc;
}

static bool is_probing, is_reached; /* by zbinding_check_raw, in this thread: */
static pthread_t prober;

/* A request that may be for an interpreter. */
static zcold void on_large(bool is_zeroed) {
  if (zload_acquire(&is_probing) && pthread_equal(prober, pthread_self())) {
    is_reached = true;
  } else if (is_zeroed || raw_is_wrapped()) {
    zsecond_gil_expect();
  }
}

static void *raw_malloc(void *ctx, size_t size) {
  if (zunlikely(size >= zsecond_gil_least())) on_large(false);
  return raw_of(ctx)->malloc(ctx, size);
}

static void *raw_calloc(void *ctx, size_t count, size_t size) {
  size_t bytes;
  if (!__builtin_mul_overflow(count, size, &bytes) && bytes >= zsecond_gil_least()) on_large(true);
  return raw_of(ctx)->calloc(ctx, count, size);
}

static void *raw_realloc(void *ctx, void *block, size_t size) {
  if (zunlikely(size >= zsecond_gil_least())) on_large(false);
  return raw_of(ctx)->realloc(ctx, block, size);
}

static void raw_free(void *ctx, void *block) {
  zsecond_gil_on_free(block);
  raw_of(ctx)->free(ctx, block);
}

/* CPython knows its debug hooks by their malloc, and would put them over themselves where it does not see it:
 * over them, only calloc is ours. They pass requests on to the table that we set before they were. */
static bool is_of_hooks(const PyMemAllocatorEx *table) {
  return is_debug_build || table->ctx != before.raw.ctx;
}

static PyMemAllocatorEx watched(const PyMemAllocatorEx *table) {
  PyMemAllocatorEx raw = *table;
  raw.calloc = raw_calloc;
  if (is_of_hooks(table)) return raw;
  raw.malloc = raw_malloc;
  raw.realloc = raw_realloc;
  raw.free = raw_free;
  return raw;
}

static void watch_raw(void) {
  PyMemAllocatorEx raw = watched(&raw_before);
  set_table(PYMEM_DOMAIN_RAW, &raw);
}

/* pymalloc turns here with the request for which it was refused an arena. It becomes the first block
 * of the heap, so that no object lies outside. */
static pthread_t refused_thread;

static void *raw_malloc_once(void *ctx, size_t size) {
  if (!pthread_equal(refused_thread, pthread_self())) return raw_malloc(ctx, size);
  watch_raw();
  return zallocator_alloc(size);
}

static void serve_next_raw(void) {
  refused_thread = pthread_self();
  PyMemAllocatorEx raw = watched(&raw_before);
  raw.malloc = raw_malloc_once;
  set_table(PYMEM_DOMAIN_RAW, &raw);
}

static void (*raw_hook)(void);

static void *raw_malloc_watched(void *ctx, size_t size) {
  raw_hook();
  return raw_malloc(ctx, size);
}

/* Another thread may be on its way through the table without the GIL: the context stays the same, so
 * it makes no difference to it which of the two functions it finds there. */
void zbinding_watch_raw(void (*hook)(void)) {
  PyMemAllocatorEx raw;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
  if (raw.calloc != raw_calloc) return; /* another allocator wraps ours */
  if (hook != NULL) raw_hook = hook;
  raw.malloc = hook != NULL ? raw_malloc_watched : watched(raw_of(raw.ctx)).malloc;
  set_table(PYMEM_DOMAIN_RAW, &raw);
}

void zbinding_check_raw(void) {
  static void *(*checked)(void *, size_t, size_t) = raw_calloc;
  PyMemAllocatorEx raw;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
  if (zlikely(raw.calloc == checked) || zsecond_gil_least() == SIZE_MAX) return;
  if (zpy.PyInterpreterState_Main() == NULL) return; /* there is time */
  checked = raw.calloc;
  is_reached = raw.calloc == raw_calloc;
  prober = pthread_self();
  zstore_release(&is_probing, true);
  raw.free(raw.ctx, raw.calloc(raw.ctx, 1, zsecond_gil_least()));
  zstore_release(&is_probing, false);
  if (is_reached) return;
  zlog_info("gc,init", "the RAW domain has another allocator: the heap expects several GILs");
  zsecond_gil_expect();
}

static bool is_below_hooks;

bool zbinding_is_replaced(void) {
  PyMemAllocatorEx object;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &object);
  return object.malloc != object_table.malloc;
}

static bool go_below_hooks(void) {
  if (!zdebug_hooks_go_below(&object_table, &mem_table)) return false;
  is_below_hooks = true;
  reason = "CPython's debug hooks stand over the allocators (-X dev, or a debug build)";
  return true;
}

/* pymalloc has something to do: the interpreter set up its own allocators after all, and a second time
 * where it is initialised again. (Stacks of Python frames come from here too, in smaller pieces.) */
#define ARENA_MIN (256 * ZK)

static bool on_arena_request(size_t size) {
  if (size < ARENA_MIN || !zbinding_is_replaced()) return false;
  if (zdebug_hooks_are_over(&object_table) || !go_below_hooks()) return false;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw_before);
  serve_next_raw();
  return true;
}

static void bind_table(void) {
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw_before);
  before.raw = raw_before;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &before.mem);
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &before.object);
  is_debug_build = zdebug_hooks_are_set();
  watch_raw();
  if (!is_debug_build || !go_below_hooks()) {
    set_table(PYMEM_DOMAIN_MEM, &mem_table);
    set_table(PYMEM_DOMAIN_OBJ, &object_table);
  }
  zdebug_hooks_watch_arenas(on_arena_request);
  is_bound = true;
}

/* In a debug build the next interpreter has its hooks, and asks for an arena. */
void zbinding_stay_for_next(void) {
  zinitial_allocators_t after = {watched(&before.raw), mem_table, object_table};
  if (raw_hook != NULL) after.raw.malloc = raw_malloc_watched;
  PyObjectArenaAllocator arenas, watched;
  if (!zdebug_hooks_arenas(&arenas, &watched)) return;
  zinitial_replace(&before, is_debug_build ? &before : &after, &arenas, &watched);
}

/* -- where the tables lie ------------------------------------------------------------------------- */

typedef struct {
  const char *start, *end; /* written after relocation; start == end: none */
} data_t;

/* dl_iterate_phdr: the data of the module that has PyMem_SetAllocator. The part that is not in the file
 * (bss) is left out: a table has an initial value. */
static int find_data(struct dl_phdr_info *module, size_t size, void *result) {
  (void)size;
  data_t *data = result;
  uintptr_t function = (uintptr_t)zpy.PyMem_SetAllocator - module->dlpi_addr;
  bool is_it = false;
  uintptr_t start = 0, end = 0, fixed_end = 0;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &module->dlpi_phdr[i];
    if (p->p_type == PT_GNU_RELRO) fixed_end = p->p_vaddr + p->p_memsz;
    if (p->p_type != PT_LOAD) continue;
    if (function - p->p_vaddr < p->p_memsz) is_it = true;
    if (p->p_flags & PF_W) {
      start = p->p_vaddr;
      end = p->p_vaddr + p->p_filesz;
    }
  }
  if (!is_it || start == 0) return 0;
  if (fixed_end > start && fixed_end < end) start = fixed_end;
  data->start = (const char *)(module->dlpi_addr + zalign_up(start, sizeof(void *)));
  data->end = (const char *)(module->dlpi_addr + end);
  return 1;
}

/* The only place in [start, end) that holds these words, or NULL. */
static const PyMemAllocatorEx *find_copy(const char *start, const char *end,
                                         const PyMemAllocatorEx *table) {
  for (; start + sizeof *table <= end; start += sizeof(void *)) {
    if (*(void *const *)start == table->ctx && memcmp(start, table, sizeof *table) == 0) {
      return (const PyMemAllocatorEx *)start;
    }
  }
  return NULL;
}

/* A table that is written through the API must change there. */
static bool is_live(const PyMemAllocatorEx *found, int domain, const PyMemAllocatorEx *table) {
  PyMemAllocatorEx changed = *table;
  changed.ctx = &contexts[2];
  set_table(domain, &changed);
  bool seen = ((const volatile PyMemAllocatorEx *)found)->ctx == &contexts[2];
  set_table(domain, table);
  return seen && ((const volatile PyMemAllocatorEx *)found)->ctx == table->ctx;
}

/* 3.12 and later keep the tables in _PyRuntime, near its start; looking there first leaves a megabyte
 * of pages untouched. */
#define RUNTIME_HEAD (64 * ZK)

static const PyMemAllocatorEx *find_table(int domain, const PyMemAllocatorEx *table) {
  data_t data = {NULL, NULL};
  dl_iterate_phdr(find_data, &data);
  const char *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
  const PyMemAllocatorEx *found = NULL;
  if (runtime >= data.start && runtime < data.end) {
    size_t near = zmin((size_t)(data.end - runtime), RUNTIME_HEAD);
    found = find_copy(runtime, runtime + near, table);
  }
  if (found == NULL) found = find_copy(data.start, data.end, table);
  return found != NULL && is_live(found, domain, table) ? found : NULL;
}

/* -- symbols ---------------------------------------------------------------------------------------- */

static void bind_symbols(void) {
  const PyMemAllocatorEx *object, *mem;
  if (is_below_hooks) return;
  if (zoption(binding) == ZBINDING_TABLE) {
    reason = "ZGC_BINDING=table";
  } else if (!zsymbols_are_first()) {
    reason = "the executable holds the interpreter (a static build), whose calls never look beyond it";
  } else if ((object = find_table(PYMEM_DOMAIN_OBJ, &object_table)) == NULL ||
             (mem = find_table(PYMEM_DOMAIN_MEM, &mem_table)) == NULL) {
    reason = "the interpreter's allocator tables were not found where they could be watched";
  } else {
    zsymbols_open(object, mem, &object_table);
    reason = "";
  }
}

static void complain_where_asked_for(void) {
  if (reason[0] == '\0' || zoption(binding) != ZBINDING_SYMBOLS) return;
  zlog_notice("ZGC_BINDING=symbols is not possible: %s; using the allocator table", reason);
}

void zbinding_bind(void) {
  bind_table();
  bind_symbols();
  complain_where_asked_for();
}

void zbinding_settle(void) {
  if (is_below_hooks && !zdebug_hooks_are_over(&object_table)) {
    is_below_hooks = false;
    zdebug_hooks_are_gone();
    reason = "an earlier interpreter of this process had CPython's debug hooks";
  }
  zsecond_gil_settle();
  if (!zsymbols_are_open() || zbinding_is_replaced() || reason[0] != '\0') return;
  if (zsymbols_reach_interpreter()) return;
  reason = "the interpreter's library binds its calls to itself (-Bsymbolic or the like)";
  zlog_info("gc,init", "binding table: %s", reason);
  complain_where_asked_for();
}

const char *zbinding_name(void) { return !is_bound ? "none" : reason[0] == '\0' ? "symbols" : "table"; }
const char *zbinding_reason(void) { return reason; }
