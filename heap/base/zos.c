#define _GNU_SOURCE
#include "heap/base/zos.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "heap/base/zatomic.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define UNMAP_SLICE (2 * ZM) /* some 0.1 ms */
#define WAIT_SPINS 64 /* 20 us in all: as long as the sleep takes to end */
#define WAIT_SPIN_HINTS 8
#define WAIT_SLEEP_NS 20000u
#define THREAD_STACK (256 * ZK) /* the collector thread keeps its stacks in tables of its own */

/* `from` and `to` are fixed before other threads exist (tests: while none calls); counts are relaxed. */
static struct {
  uint64_t calls, injected, from, to;
} faults[ZOS_FAULT_COUNT];

static const char *const fault_names[] = {
#define X(id, text) text,
    ZOS_FAULT_TABLE(X)
#undef X
};

static bool faulty(zos_fault_t fault) {
  if (zlikely(faults[fault].to == 0)) return false;
  uint64_t call = zfetch_add_relaxed(&faults[fault].calls, 1) + 1;
  bool fails = call >= faults[fault].from && call <= faults[fault].to;
  if (fails) zfetch_add_relaxed(&faults[fault].injected, 1);
  return fails;
}

void zos_thread_lower_priority(int nice) {
  setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice); /* of this thread, on Linux */
}

bool zos_fault_hit(zos_fault_t fault) { return faulty(fault); }
uint64_t zos_fault_calls(zos_fault_t fault) { return zload_relaxed(&faults[fault].calls); }
uint64_t zos_fault_injected(zos_fault_t fault) { return zload_relaxed(&faults[fault].injected); }
const char *zos_fault_name(zos_fault_t fault) { return fault_names[fault]; }

void zos_fault_set(zos_fault_t fault, uint64_t from, uint64_t to) {
  faults[fault].calls = faults[fault].injected = 0;
  faults[fault].from = from;
  faults[fault].to = to;
}

static bool fault_named(const char *name, size_t length, zos_fault_t *fault) {
  for (unsigned i = 0; i < ZOS_FAULT_COUNT; i++) {
    if (strlen(fault_names[i]) == length && memcmp(fault_names[i], name, length) == 0) {
      *fault = (zos_fault_t)i;
      return true;
    }
  }
  return false;
}

bool zos_fault_parse(const char *text) {
  struct {
    zos_fault_t fault;
    uint64_t from, to;
  } parsed[ZOS_FAULT_COUNT];
  unsigned count = 0;
  const char *at = text;
  while (*at != '\0') {
    const char *equals = strchr(at, '=');
    if (equals == NULL || count == ZOS_FAULT_COUNT) return false;
    if (!fault_named(at, (size_t)(equals - at), &parsed[count].fault)) return false;
    char *end;
    errno = 0;
    if (equals[1] < '0' || equals[1] > '9') return false;
    parsed[count].from = parsed[count].to = strtoull(equals + 1, &end, 10);
    if (*end == '+') {
      parsed[count].to = UINT64_MAX;
      end++;
    } else if (*end == '-') {
      if (end[1] < '0' || end[1] > '9') return false;
      parsed[count].to = strtoull(end + 1, &end, 10);
    }
    if (errno != 0 || parsed[count].from == 0) return false;
    if (*end == ',') {
      end++;
    } else if (*end != '\0') {
      return false;
    }
    at = end;
    count++;
  }
  for (unsigned i = 0; i < count; i++) {
    zos_fault_set(parsed[i].fault, parsed[i].from, parsed[i].to);
  }
  return count > 0;
}

/* Reads a small file of /proc or /sys into buffer; false when that fails. */
static bool read_text(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = read(fd, buffer, size - 1);
  close(fd);
  if (length <= 0) return false;
  buffer[length] = '\0';
  return true;
}

zos_calls_t zos_calls = {
    .mmap = mmap, .munmap = munmap, .mprotect = mprotect, .madvise = madvise, .mremap = mremap};

/* In the constructor. What counts is at which addresses the kernel gives memory back; asked about none of it,
 * it looks at the address only. */
size_t zos_ask_page_size(void) {
  size_t size = zmax(getauxval(AT_PAGESZ), ZOS_PAGE_MIN);
  while (size < ZOS_PAGE_MAX && zos_calls.madvise((void *)size, 0, MADV_DONTNEED) != 0) size *= 2;
  return zos_calls.page_size = size;
}

#define ADDRESSES (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

#define SECCOMP_LINE "\nSeccomp"

/* The mode of seccomp and, from Linux 5.9 on, the number of filters. They are those of the calling thread: its
 * filters are the ones that its system calls meet, and that a thread it starts would have. The file is read in
 * pieces: its lines may be long, and the stack short. */
static unsigned long count_filters(void) {
  char text[256];
  size_t kept = 0;
  unsigned long count = 0;
  int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
  for (ssize_t got; fd >= 0 && (got = read(fd, text + kept, sizeof text - 1 - kept)) > 0;) {
    size_t length = kept + (size_t)got;
    text[length] = '\0';
    char *line = text, *end;
    while ((line = strstr(line, SECCOMP_LINE)) != NULL && (end = strchr(line + 1, '\n')) != NULL) {
      count += strtoul(line + strcspn(line, ":") + 1, NULL, 10);
      line = end;
    }
    kept = line != NULL ? (size_t)(text + length - line) : zmin(length, strlen(SECCOMP_LINE) - 1);
    memmove(text, text + length - kept, kept);
  }
  if (fd >= 0) close(fd);
  return count;
}

static unsigned long filters_at_start; /* written before there are threads */

void zos_note_filters(void) { filters_at_start = count_filters(); }
bool zos_is_restricted(void) { return count_filters() > filters_at_start; }

/* A fork without a signal at the child's end, so that wait() does not see it; and without what others do at a fork. */
bool zos_survives(void (*calls)(void)) {
  if (count_filters() == 0) return true;
  long child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
  if (child == 0) {
    prctl(PR_SET_DUMPABLE, 0);
    calls();
    _exit(0);
  }
  int status = -1;
  while (child > 0 && waitpid((pid_t)child, &status, __WALL) < 0 && errno == EINTR) continue;
  return child > 0 && WIFEXITED(status);
}

void *zos_reserve(size_t size, size_t alignment) {
  if (faulty(ZOS_FAULT_RESERVE)) return NULL;
  size = zalign_up(size, zos_page_size());
  size_t total = alignment <= zos_page_size() ? size : size + alignment;
  char *mapping = zos_calls.mmap(NULL, total, PROT_NONE, ADDRESSES, -1, 0);
  if (mapping == MAP_FAILED) return NULL;
  char *start = (char *)zalign_up((uintptr_t)mapping, alignment);
  if (start > mapping) zos_calls.munmap(mapping, (size_t)(start - mapping));
  size_t tail = (size_t)(mapping + total - (start + size));
  if (tail > 0) zos_calls.munmap(start + size, tail);
  return start;
}

#define SPACE_ABOVE_MIN (64 * ZG) /* left to others, to whom the kernel gives what is highest */

uintptr_t zos_find_space(size_t size, size_t alignment) {
  size_t distance = size + zmax(3 * size, SPACE_ABOVE_MIN), page = zos_page_size();
  void *placed = zos_calls.mmap(NULL, page, PROT_NONE, ADDRESSES, -1, 0);
  if (placed == MAP_FAILED) return 0;
  zos_calls.munmap(placed, page);
  return (uintptr_t)placed < 2 * distance ? 0 : zalign_down((uintptr_t)placed - distance, alignment);
}

int zos_map_at(void *start, size_t size, bool is_reserved) {
  if (is_reserved) return zos_calls.mprotect(start, size, PROT_READ | PROT_WRITE) == 0 ? 0 : -errno;
  void *mapped = zos_calls.mmap(start, size, PROT_READ | PROT_WRITE, ADDRESSES | MAP_FIXED_NOREPLACE, -1, 0);
  if (mapped == MAP_FAILED) return -errno;
  if (mapped == start) return 0;
  zos_calls.munmap(mapped, size); /* a kernel before 4.17 takes the address for a wish */
  return -EEXIST;
}

int zos_commit(void *start, size_t size) {
  if (faulty(ZOS_FAULT_COMMIT)) return -ENOMEM;
  return zos_calls.mprotect(start, size, PROT_READ | PROT_WRITE) == 0 ? 0 : -errno;
}

int zos_uncommit(void *start, size_t size) {
  if (faulty(ZOS_FAULT_UNCOMMIT) || (((uintptr_t)start | size) & (zos_page_size() - 1)) != 0) return -EINVAL;
  return zos_calls.madvise(start, size, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* Touched, not MADV_POPULATE_WRITE: that keeps every other thread from mapping memory meanwhile. */
int zos_populate_huge(void *start, size_t size) {
  if (faulty(ZOS_FAULT_POPULATE)) return -ENOMEM;
  if (zos_calls.madvise(start, size, MADV_HUGEPAGE) != 0) return -errno;
  zstore_relaxed((char *)start, 0);
  return 0;
}

bool zos_has_huge_pages(void) {
  char modes[128];
  return read_text("/sys/kernel/mm/transparent_hugepage/enabled", modes, sizeof modes) &&
         strstr(modes, "[never]") == NULL;
}

/* The kernel unmaps the new place before it looks at the old one: which it refuses, with EFAULT, where a block
 * was moved and then extended, because those are two mappings. */
int zos_move_pages(void *from, void *to, size_t size) {
  if (faulty(ZOS_FAULT_REMAP)) return -ENOMEM;
  if ((((uintptr_t)from | (uintptr_t)to | size) & (zos_page_size() - 1)) != 0) return -EINVAL;
  void *moved = zos_calls.mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
  if (moved != MAP_FAILED) return 0;
  int error = errno, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  return zos_calls.mmap(to, size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ? error : -error;
}

int zos_write_constant(void *to, const void *from, size_t size) {
  if (faulty(ZOS_FAULT_CONSTANT)) return -EACCES;
  char *start = (char *)zalign_down((uintptr_t)to, zos_page_size());
  size_t length = zalign_up((uintptr_t)to + size, zos_page_size()) - (uintptr_t)start;
  if (zos_calls.mprotect(start, length, PROT_READ | PROT_WRITE) != 0) return -errno;
  memcpy(to, from, size);
  return zos_calls.mprotect(start, length, PROT_READ) == 0 ? 0 : -errno;
}

void *zos_table_map(size_t size) {
  if (faulty(ZOS_FAULT_TABLE)) return NULL;
  void *table = zos_calls.mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return table == MAP_FAILED ? NULL : table;
}

void *zos_scratch_map(size_t size) {
  void *table = zos_table_map(size);
  if (table != NULL && !faulty(ZOS_FAULT_ADVISE)) zos_calls.madvise(table, size, MADV_DONTFORK);
  return table;
}

static void *resize(void *table, size_t size, size_t new_size, void *(*map)(size_t)) {
#ifdef __SANITIZE_THREAD__ /* it does not see mremap, and takes who wrote at the new address before for a race */
  void *resized = map(new_size);
  if (resized == NULL) return NULL;
  memcpy(resized, table, zmin(size, new_size));
  zos_table_unmap(table, size);
  return resized;
#else
  (void)map;
  if (faulty(ZOS_FAULT_TABLE)) return NULL;
  void *resized = zos_calls.mremap(table, size, new_size, MREMAP_MAYMOVE);
  return resized == MAP_FAILED ? NULL : resized;
#endif
}

void *zos_table_resize(void *table, size_t size, size_t new_size) {
  return table == NULL ? zos_table_map(new_size) : resize(table, size, new_size, zos_table_map);
}

void *zos_scratch_resize(void *table, size_t size, size_t new_size) {
  return resize(table, size, new_size, zos_scratch_map);
}

/* In slices: until the kernel has taken a mapping's pages back, no other thread can commit memory. */
void zos_table_unmap(void *table, size_t size) {
  if (table == NULL) return;
  while (size > UNMAP_SLICE) {
    size_t rest = zalign_up(size - UNMAP_SLICE, UNMAP_SLICE);
    zos_calls.munmap((char *)table + rest, size - rest);
    size = rest;
  }
  zos_calls.munmap(table, size);
}

void *zos_file_map(int fd, size_t size) {
  if (faulty(ZOS_FAULT_TABLE)) return NULL;
  void *mapping = zos_calls.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return mapping == MAP_FAILED ? NULL : mapping;
}

int zos_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  if (faulty(ZOS_FAULT_ATFORK)) return -ENOMEM;
  return -pthread_atfork(prepare, parent, child);
}

typedef struct {
  void (*run)(void *);
  void *argument;
  char name[16];
} thread_start_t;

static unsigned own_threads; /* those started here that have not ended; relaxed */

static void *thread_main(void *raw) {
  thread_start_t start = *(thread_start_t *)raw;
  zos_table_unmap(raw, sizeof start);
  pthread_setname_np(pthread_self(), start.name);
  start.run(start.argument);
  zfetch_add_relaxed(&own_threads, (unsigned)-1);
  return NULL;
}

int zos_thread_start(void (*run)(void *), void *argument, const char *name) {
  if (faulty(ZOS_FAULT_THREAD)) return -EAGAIN;
  if (zos_is_restricted()) return -EPERM;
  /* Not malloc: the thread would give the block back, and its first call makes an arena of its own for that. */
  thread_start_t *start = zos_table_map(sizeof *start);
  if (start == NULL) return -ENOMEM;
  start->run = run;
  start->argument = argument;
  snprintf(start->name, sizeof start->name, "%s", name);

  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, THREAD_STACK);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
  pthread_t thread;
  zfetch_add_relaxed(&own_threads, 1);
  int error = pthread_create(&thread, &attributes, thread_main, start);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    zfetch_add_relaxed(&own_threads, (unsigned)-1);
    zos_table_unmap(start, sizeof *start);
  }
  return -error;
}

/* Bounds of its stack, for each thread of the program: asking takes microseconds. 0: not asked yet. */
typedef struct {
  uintptr_t end, start; /* it grows down from `start` */
} bounds_t;
static __thread bounds_t stack __attribute__((tls_model("initial-exec")));

/* The first thread's: up to what the kernel put there before the program began. */
static bounds_t first_stack(void) {
  struct rlimit most = {.rlim_cur = 0};
  uintptr_t start = getauxval(AT_RANDOM);
  getrlimit(RLIMIT_STACK, &most);
  return (bounds_t){start - zmin((uintptr_t)most.rlim_cur, zmin(start - 1, ZG)), start};
}

static bounds_t find_stack(void) {
  bounds_t unknown = {1, UINTPTR_MAX};
  pthread_attr_t attributes;
  void *end;
  size_t size, guard;
  if (syscall(SYS_gettid) == getpid()) return getauxval(AT_RANDOM) == 0 ? unknown : first_stack();
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return unknown;
  bool known = pthread_attr_getstack(&attributes, &end, &size) == 0 &&
               pthread_attr_getguardsize(&attributes, &guard) == 0;
  pthread_attr_destroy(&attributes);
  return known ? (bounds_t){(uintptr_t)end + guard, (uintptr_t)end + size} : unknown;
}

/* The first thread's, beyond what was its limit; a signal handler's, which is known; or one that code has made. */
static znoinline size_t left_elsewhere(uintptr_t at) {
  stack_t signal_stack;
  bool is_signals = sigaltstack(NULL, &signal_stack) == 0 && (signal_stack.ss_flags & SS_ONSTACK) != 0;
  return is_signals ? at - (uintptr_t)signal_stack.ss_sp : SIZE_MAX;
}

size_t zos_stack_left(void) {
  uintptr_t at = (uintptr_t)__builtin_frame_address(0);
  if (zunlikely(stack.start == 0)) stack = find_stack();
  return zlikely(at - stack.end < stack.start - stack.end) ? at - stack.end : left_elsewhere(at);
}

/* The time is relative: no clock that the program could have replaced is asked. */
bool zos_sleep_while(const uint32_t *word, uint32_t seen, uint64_t ns) {
  struct timespec most = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &most, NULL, 0);
  return zload_acquire(word) != seen;
}

void zos_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

bool zos_peek(const void *from, void *to, size_t size) {
  if (faulty(ZOS_FAULT_PEEK)) return false;
  struct iovec local = {to, size}, remote = {(void *)from, size};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t zos_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t zos_thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }
uint64_t zos_process_cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

void zos_sleep_ns(uint64_t ns) {
  static const uint32_t never_changed;
  zos_sleep_while(&never_changed, 0, ns);
}

/* With one processor, the thread that is waited for needs it. */
void zos_wait_round(unsigned round) {
  if (round < WAIT_SPINS && zos_cpu_count() > 1) {
    for (int i = 0; i < WAIT_SPIN_HINTS; i++) zspin_hint();
  } else {
    zos_sleep_ns(WAIT_SLEEP_NS);
  }
}

uint64_t zos_start_ns(void) {
  static uint64_t start;
  if (start == 0) start = zos_now_ns();
  return start;
}

/* A field of /proc/self/stat; 0 when it cannot be read. */
static uint64_t own_number(int field) {
  char text[1024];
  if (!read_text("/proc/self/stat", text, sizeof text)) return 0;
  char *at = strrchr(text, ')'); /* the second field is the name, which may hold anything */
  for (int i = 2; at != NULL && i < field; i++) at = strchr(at + 1, ' ');
  return at == NULL ? 0 : strtoull(at, NULL, 10);
}

uint64_t zos_process_start_ticks(void) { return own_number(22); }

static bool fork_by_leader; /* of the process; between prepare and child */
static pthread_key_t leader_key;
static bool leader_key_made;

unsigned zos_own_threads(void) { return zload_relaxed(&own_threads); }
unsigned zos_threads(void) { return (unsigned)own_number(20); }

int zos_thread_number(void) { return (int)syscall(SYS_gettid); }

/* R: runnable; D: in the kernel, which lets it go by itself. */
bool zos_thread_is_runnable(int number) {
  char path[48], text[256];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", number);
  if (!read_text(path, text, sizeof text)) return false;
  const char *at = strrchr(text, ')');
  return at != NULL && at[1] == ' ' && (at[2] == 'R' || at[2] == 'D');
}

/* Threads of this process that are not ours, 0 when unknown. */
static unsigned foreign_threads(void) {
  unsigned count = zos_threads(), own = zos_own_threads();
  return count > own ? count - own : 0;
}

/* The leader is ending as a thread does. With the last thread the C library ends the process, and
 * ours would be in the way of that. Other destructors run first: they come round several times. */
static void leader_ends(void *rounds) {
  if (zload_relaxed(&own_threads) == 0) return;
  if ((uintptr_t)rounds + 1 < PTHREAD_DESTRUCTOR_ITERATIONS) {
    pthread_setspecific(leader_key, (void *)((uintptr_t)rounds + 1));
    return;
  }
  unsigned others;
  for (uint64_t ns = 200000; (others = foreign_threads()) > 1; ns += ns < 20000000 ? ns / 2 : 0) {
    zos_sleep_ns(ns);
  }
  if (others == 1) exit(0); /* as the C library does */
}

void zos_thread_fork_prepare(void) { fork_by_leader = syscall(SYS_gettid) == getpid(); }

void zos_thread_fork_child(void) {
  zstore_relaxed(&own_threads, 0);
  if (fork_by_leader) return; /* or it has the key already, from a fork before */
  if (!leader_key_made) leader_key_made = pthread_key_create(&leader_key, leader_ends) == 0;
  if (leader_key_made) pthread_setspecific(leader_key, (void *)1);
}

size_t zos_rss_bytes(void) {
  char text[128];
  if (!read_text("/proc/self/statm", text, sizeof text)) return 0;
  char *resident; /* behind the total. Not by sscanf, which takes 2 KB of stack */
  strtoul(text, &resident, 10);
  return (size_t)strtoul(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Asked once, as the processors below: by the next time a filter of system calls may refuse. */
size_t zos_memory_bytes(void) {
  static size_t bytes; /* racing threads write the same */
  size_t known = zload_relaxed(&bytes);
  if (known == 0) {
    known = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    zstore_relaxed(&bytes, known);
  }
  return known;
}

size_t zos_memory_and_swap(void) {
  static size_t bytes; /* racing threads write the same */
  struct sysinfo info;
  if (bytes == 0) {
    bytes = sysinfo(&info) == 0 ? ((size_t)info.totalram + info.totalswap) * info.mem_unit
                                : zos_memory_bytes();
  }
  return bytes;
}

/* The path of this process in a hierarchy, from a /proc/self/cgroup line such as
 * "0::/system.slice/a" (v2) or "9:memory:/a" (v1). */
static bool cgroup_limit(const char *line_key, const char *root, const char *file, size_t *limit) {
  static char text[4096], path[4400]; /* the stack may be short; callers hold the GIL */
  if (!read_text("/proc/self/cgroup", text, sizeof text)) return false;
  char *line = strstr(text, line_key);
  if (line == NULL) return false;
  line += strlen(line_key);
  line[strcspn(line, "\n")] = '\0';
  char value[64];
  /* A container may show its own cgroup as the root of the mount: try the path, then the root. */
  for (int attempt = 0; attempt < 2; attempt++) {
    snprintf(path, sizeof path, "%s%s/%s", root, attempt == 0 ? line : "", file);
    if (!read_text(path, value, sizeof value)) continue;
    char *end;
    unsigned long long bytes = strtoull(value, &end, 10);
    if (end == value) return false; /* "max" */
    *limit = (size_t)bytes;
    return true;
  }
  return false;
}

size_t zos_memory_limit(void) {
  size_t limit = 0;
  bool known = cgroup_limit("0::", "/sys/fs/cgroup", "memory.max", &limit) ||
               cgroup_limit(":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", &limit);
  return known && limit < zos_memory_bytes() ? limit : 0;
}

size_t zos_data_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return (size_t)limit.rlim_cur;
}

static unsigned count_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int count = CPU_COUNT(&set);
  return count > 0 ? (unsigned)count : 1;
}

unsigned zos_cpu_count(void) {
  static unsigned processors; /* racing threads write the same, or one of two that were right */
  unsigned known = zload_relaxed(&processors);
  if (known == 0) {
    known = count_processors();
    zstore_relaxed(&processors, known);
  }
  return known;
}
