#define _GNU_SOURCE
#define UNW_LOCAL_ONLY
#include "heap/base/zbacktrace.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libunwind.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/base/zos.h"

static struct {
  int (*backtrace)(void **, int);
  int (*getcontext)(unw_context_t *);
  int (*init_local)(unw_cursor_t *, unw_context_t *);
  int (*step)(unw_cursor_t *);
  int (*get_reg)(unw_cursor_t *, int, unw_word_t *);
  int (*get_proc_info_by_ip)(unw_addr_space_t, unw_word_t, unw_proc_info_t *, void *);
  unw_addr_space_t *local_space;
} lib;

static bool is_started;

#define TEXT(name) #name
#define SYMBOL_OF(name) TEXT(name) /* libunwind's headers give its functions names with prefixes */

static bool find(void *library, const char *name, void *where) {
  void *symbol = dlsym(library, name);
  *(void **)where = symbol;
  return symbol != NULL;
}

/* The calls by which libunwind sets itself up for the validation of addresses. */
static void try_calls(void) {
  int ends[2];
  unsigned char present;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) close(ends[0]), close(ends[1]);
  mincore((void *)zalign_down((uintptr_t)&present, zos_page_size()), 1, &present);
}

static bool find_all(void *library) {
  return find(library, SYMBOL_OF(unw_backtrace), &lib.backtrace) &&
         find(library, SYMBOL_OF(UNW_ARCH_OBJ(getcontext)), &lib.getcontext) &&
         find(library, SYMBOL_OF(unw_init_local), &lib.init_local) &&
         find(library, SYMBOL_OF(unw_step), &lib.step) &&
         find(library, SYMBOL_OF(unw_get_reg), &lib.get_reg) &&
         find(library, SYMBOL_OF(unw_get_proc_info_by_ip), &lib.get_proc_info_by_ip) &&
         find(library, SYMBOL_OF(unw_local_addr_space), &lib.local_space);
}

const char *zbacktrace_start(void) {
  if (is_started) return NULL;
  if (!zos_survives(try_calls)) return "a seccomp filter kills for mincore or pipe2, which libunwind calls";
  void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
  is_started = library != NULL && find_all(library);
  return is_started ? NULL : "libunwind.so.8 cannot be loaded (Debian's libunwind8)";
}

/* From the linker: where this library (in a unit test: the program) begins, and its code ends. */
#define FROM_LINKER extern const char __attribute__((visibility("hidden")))
FROM_LINKER __ehdr_start[];
FROM_LINKER etext[];

static bool is_ours(const void *address) {
  return (const char *)address >= __ehdr_start && (const char *)address < etext;
}

unsigned zbacktrace(void **addresses, unsigned max) {
  if (!is_started) return 0;
  int found = lib.backtrace(addresses, (int)max);
  unsigned count = found > 0 ? (unsigned)found : 0, own = 0;
  while (own < count && is_ours(addresses[own])) own++;
  memmove(addresses, addresses + own, (count - own) * sizeof *addresses);
  return count - own;
}

unsigned zbacktrace_with_stacks(void **addresses, uintptr_t *stacks, unsigned max) {
  unw_context_t context;
  unw_cursor_t cursor;
  if (!is_started || lib.getcontext(&context) != 0 || lib.init_local(&cursor, &context) != 0) return 0;
  unsigned count = 0;
  bool begun = false;
  do {
    unw_word_t address, stack;
    if (lib.get_reg(&cursor, UNW_REG_IP, &address) != 0 || address == 0) break;
    if (lib.get_reg(&cursor, UNW_REG_SP, &stack) != 0) break;
    begun = begun || !is_ours((const void *)address);
    if (!begun) continue;
    addresses[count] = (void *)address;
    stacks[count++] = (uintptr_t)stack;
  } while (count < max && lib.step(&cursor) > 0);
  return count;
}

void zbacktrace_name(uintptr_t address, char *name, size_t size) {
  Dl_info info;
  if (dladdr((void *)address, &info) == 0) {
    snprintf(name, size, "0x%lx", (unsigned long)address);
    return;
  }
  if (info.dli_sname != NULL) {
    snprintf(name, size, "%s", info.dli_sname);
    return;
  }
  unw_proc_info_t function;
  uintptr_t start = address;
  if (is_started && lib.get_proc_info_by_ip(*lib.local_space, address, &function, NULL) == 0) {
    start = (uintptr_t)function.start_ip;
  }
  const char *slash = strrchr(info.dli_fname, '/');
  snprintf(name, size, "%s+0x%lx", slash == NULL ? info.dli_fname : slash + 1,
           (unsigned long)(start - (uintptr_t)info.dli_fbase));
}
