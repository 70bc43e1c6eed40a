/* The operating system, as a table of functions: the sole place of memory and thread system calls.
 *
 * Every entry can be made to fail on purpose (option ZGC_FAULT, or zos_fault_set in a test), which
 * is how "a fault never costs more than stock" is tested. All are safe on any thread. */
#ifndef HEAP_BASE_ZOS_H
#define HEAP_BASE_ZOS_H

#include <sys/types.h>

#include "heap/base/zbase.h"

/* The calls that can fail, and their names in ZGC_FAULT. */
#define ZOS_FAULT_TABLE(X)                                                  \
  X(RESERVE, "reserve")   /* mmap of address space */                       \
  X(COMMIT, "commit")     /* mprotect: making it usable */                  \
  X(UNCOMMIT, "uncommit") /* madvise: giving memory back */                 \
  X(REMAP, "remap")       /* mremap: moving pages of a large block */       \
  X(TABLE, "table")       /* mmap of a side table */                        \
  X(ADVISE, "advise")     /* madvise: keeping a table out of children */    \
  X(POPULATE, "populate") /* madvise: memory ahead of need, in huge pages */ \
  X(PEEK, "peek")         /* process_vm_readv: looking at unproven memory */ \
  X(CONSTANT, "constant") /* mprotect: the interpreter's constants */         \
  X(MOVE, "move")         /* memory to move a managed body to */            \
  X(THREAD, "thread")     /* pthread_create, and what it is told */       \
  X(ATFORK, "atfork")     /* pthread_atfork */                              \
  X(FALLBACK, "fallback") /* malloc, for what the heap cannot give */

typedef enum {
#define X(id, name) ZOS_FAULT_##id,
  ZOS_FAULT_TABLE(X)
#undef X
      ZOS_FAULT_COUNT
} zos_fault_t;

/* The system calls for memory; unit tests replace them by another kernel. `page_size` is what it
 * gives and takes: 4 KiB, on some machines 16 or 64. Fixed before the first call. */
typedef struct {
  size_t page_size; /* 0: not asked yet */
  void *(*mmap)(void *start, size_t size, int protection, int flags, int fd, off_t offset);
  int (*munmap)(void *start, size_t size);
  int (*mprotect)(void *start, size_t size, int protection);
  int (*madvise)(void *start, size_t size, int advice);
  void *(*mremap)(void *start, size_t size, size_t new_size, int flags, ...);
} zos_calls_t;

extern zos_calls_t zos_calls;

#define ZOS_PAGE_MIN (4 * ZK)
#define ZOS_PAGE_MAX (64 * ZK)
size_t zos_ask_page_size(void);
static inline size_t zos_page_size(void) {
  return zlikely(zos_calls.page_size != 0) ? zos_calls.page_size : zos_ask_page_size();
}

/* Address space without memory behind it, aligned to `alignment` (a power of two); NULL when the
 * system refuses. */
void *zos_reserve(size_t size, size_t alignment);

/* Addresses where nothing is mapped and the kernel will not place what is mapped next. They are not
 * reserved: limits of address space and of locked memory, and dumps of the process, do not see them.
 * 0: there is no such place. */
uintptr_t zos_find_space(size_t size, size_t alignment);

/* Maps memory at unmapped addresses, or in a reservation: readable, writable, zero. 0 or -errno; -EEXIST
 * where something else lies by now. Fails on purpose only where its callers say so. */
int zos_map_at(void *start, size_t size, bool is_reserved);

/* Makes [start, start + size) of a reservation readable and writable, zero-filled on first touch.
 * 0 or -errno. */
int zos_commit(void *start, size_t size);

/* Gives the memory back; the range stays readable and writable and reads as zeros. 0 or -errno; -EINVAL for
 * what is not made of whole pages of the kernel's, which would take from the neighbours. */
int zos_uncommit(void *start, size_t size);

/* Makes a huge page's worth of a committed range present, as one, where the kernel has one to give;
 * else it stays to be touched as it is needed. Nobody else may touch it meanwhile. 0 or -errno. */
int zos_populate_huge(void *start, size_t size);
bool zos_has_huge_pages(void); /* for those who ask for them */

/* Moves the memory of [from, from + size) to `to`, leaving `from` mapped and zero. Both lie in committed
 * ranges and do not overlap; `to` may not be readable for a moment. 0; -errno: both are mapped, and `to` may
 * have become zeros; errno: `to` is not mapped any more. */
int zos_move_pages(void *from, void *to, size_t size);

/* Writes to memory that the loader made read-only, and leaves it so. Only whole pages of the kind lie
 * there. 0 or -errno. */
int zos_write_constant(void *to, const void *from, size_t size);

/* A private zeroed mapping for side tables, not counted against overcommit; NULL on failure. */
void *zos_table_map(size_t size);
void zos_table_unmap(void *table, size_t size);
/* A table with another size, perhaps elsewhere; what is new is zeroed. `table` may be NULL. NULL on failure; then the
 * table is as it was. */
void *zos_table_resize(void *table, size_t size, size_t new_size);

/* A table for the duration of one collection: a forked child does not inherit it (the thread that
 * was writing there does not exist in the child), or where the kernel refuses that, only wastes it.
 * Given back with zos_table_unmap. */
void *zos_scratch_map(size_t size);

/* Makes such a table larger, perhaps at another address; NULL on failure, then it is unchanged. Untouched parts take no
 * memory, so it may be much larger than needed. */
void *zos_scratch_resize(void *table, size_t size, size_t new_size);

/* A shared mapping of an open file; NULL on failure. Given back with zos_table_unmap. */
void *zos_file_map(int fd, size_t size);

/* pthread_atfork. 0 or -errno. */
int zos_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* Starts a detached thread with every signal blocked, so that it never runs a handler of the
 * program. `name` has at most 15 characters. 0 or -errno. */
int zos_thread_start(void (*run)(void *), void *argument, const char *name);

/* Bytes of stack below the caller: the calling thread's, or of a signal handler. A great number where code has
 * changed to a stack of its own. */
size_t zos_stack_left(void);

/* Sleeps while *word is `seen`, `ns` at most; false when it still is so then. A thread that changes the
 * word calls zos_wake afterwards. Neither takes a lock, as a condition would: zos_wake never waits for a sleeper that
 * is about to wake and gets no processor. */
bool zos_sleep_while(const uint32_t *word, uint32_t seen, uint64_t ns);
void zos_wake(uint32_t *word);

/* One round of a wait for another thread that should be done soon, counted from 0: early ones take a fraction of a
 * microsecond, later ones give way. */
void zos_wait_round(unsigned round);

/* Threads of this process, as the kernel counts them, and those of them that were started by zos_thread_start.
 * The first is 0 when it cannot be told. */
unsigned zos_threads(void);
unsigned zos_own_threads(void);

/* The calling thread's number, and what the kernel says of the thread of this process that has it: it waits for a
 * processor or has one, or it waits for something else. Of one that has ended, or where that
 * cannot be told: false. */
int zos_thread_number(void);
bool zos_thread_is_runnable(int number);

/* Around a fork. A child of a fork in a thread other than the first ends when that thread returns, as
 * it would without us: then its threads of ours do not count. GIL or not, any thread. */
void zos_thread_fork_prepare(void);
void zos_thread_fork_child(void);

/* Where processors are short, the calling thread gives way to the program's. */
void zos_thread_lower_priority(int nice);

/* Copies memory of this process that may not be mapped; false then (or where the kernel refuses to
 * look: a seccomp filter). */
bool zos_peek(const void *from, void *to, size_t size);

uint64_t zos_now_ns(void);        /* monotonic clock */
void zos_sleep_ns(uint64_t ns);   /* by futex, the one call to wait with that every filter lets through */
uint64_t zos_thread_cpu_ns(void); /* CPU time of the calling thread */
uint64_t zos_process_cpu_ns(void); /* ... of all threads of this process */
uint64_t zos_start_ns(void);      /* monotonic time of the first call in this process */
uint64_t zos_process_start_ticks(void); /* field 22 of /proc/self/stat; 0 when unknown */
size_t zos_rss_bytes(void);       /* resident set now; 0 when unknown */
size_t zos_memory_bytes(void);    /* physical memory of the machine */
size_t zos_memory_and_swap(void);  /* the kernel refuses single requests for more; so do we */
size_t zos_memory_limit(void);    /* cgroup limit if there is one below physical memory, else 0. GIL */
size_t zos_data_limit(void);      /* RLIMIT_DATA, SIZE_MAX where there is none */
unsigned zos_cpu_count(void);     /* processors this process might use when it was first asked */

/* Called once, before there are threads. From then on a thread is restricted that has got a filter of system
 * calls (seccomp) since: no thread can be started from it. Filters set before the program started do not count:
 * they were chosen for Python and the preloaded library. */
void zos_note_filters(void);
bool zos_is_restricted(void); /* opens a file */

/* Whether the process outlives these calls: where there are filters a child tries, which the program cannot wait
 * for. Some kill instead of refusing. */
bool zos_survives(void (*calls)(void));

/* Counts a call; true when it shall fail. For callers whose failure is no system call's. */
bool zos_fault_hit(zos_fault_t fault);

/* Makes calls number `from`..`to` (counting from 1, both inclusive) of `fault` fail. */
void zos_fault_set(zos_fault_t fault, uint64_t from, uint64_t to);

/* Calls of `fault` since it was set, and how many of them failed on purpose; its name. Calls are
 * counted only while a range is set, which may be one that no program reaches: "commit=1000000000". */
uint64_t zos_fault_calls(zos_fault_t fault);
uint64_t zos_fault_injected(zos_fault_t fault);
const char *zos_fault_name(zos_fault_t fault);

/* Parses "commit=3,thread=1+,table=2-4"; false (and nothing set) when it is not understood. */
bool zos_fault_parse(const char *text);

#endif
