/* Every option of the library: one table that the parser, zgc-run --help, the tests and the
 * documentation walk. Values come from environment variables of the same name and are fixed once
 * zoption_parse has returned.
 *
 * X(field, name, type, default, min, max, help). Types:
 *   BOOL     0 or 1
 *   COUNT    a whole number
 *   PERCENT  a whole number, an optional % behind it
 *   SIZE     bytes, with an optional suffix k, M, G or T
 *   LEVEL    info, debug or trace
 *   BINDING  auto, table or symbols
 *   EXIT     exact or fast
 *   TEXT     any text of at most 1000 bytes */
#ifndef HEAP_BASE_ZOPTION_H
#define HEAP_BASE_ZOPTION_H

#include "heap/base/zbase.h"

#define ZOPTION_TABLE(X)                                                                           \
  X(enable, "ZGC_ENABLE", BOOL, 1, 0, 1, "0 leaves the process exactly as it would be without us") \
  X(binding, "ZGC_BINDING", BINDING, 0, 0, 2,                                                      \
    "how allocations reach the heap: table, symbols (shared builds only), or what there is")       \
  X(log, "ZGC_LOG", TEXT, 0, 0, 0, "GC log: stderr or a path; %p becomes the process id")          \
  X(log_level, "ZGC_LOG_LEVEL", LEVEL, 2, 2, 4, "detail of the GC log")                            \
  X(stats, "ZGC_STATS", BOOL, 0, 0, 1, "print a summary on stderr at exit")                        \
  X(verify, "ZGC_VERIFY", BOOL, 0, 0, 1,                                                           \
    "after each collection let CPython's own algorithm check everything, world stopped (slow)")    \
  X(stress, "ZGC_STRESS", BOOL, 0, 0, 1, "collect at every chance (slow)")                         \
  X(heap_max, "ZGC_HEAP_MAX", SIZE, 0, 16 * ZM, (size_t)16 << 40,                                  \
    "address range reserved for the heap; 0 = four times physical memory")                         \
  X(trigger, "ZGC_TRIGGER", PERCENT, 25, 1, 1000,                                                  \
    "growth of the old objects, in percent, that starts a collection")                             \
  X(interval, "ZGC_INTERVAL", COUNT, 0, 0, 86400,                                                  \
    "seconds after which a collection is started in any case; 0 = never")                          \
  X(pause_target, "ZGC_PAUSE_TARGET", COUNT, 500, 50, 100000,                                      \
    "microseconds of our own work that one safepoint may take")                                    \
  X(young, "ZGC_YOUNG", COUNT, 0, 10, 1000000,                                                     \
    "container allocations between two young collections; 0 = automatic")                          \
  X(small, "ZGC_SMALL", COUNT, 100000, 0, 1000000,                                                 \
    "container objects, below which gc.collect() is CPython's own")                                \
  X(component_max, "ZGC_COMPONENT_MAX", COUNT, 5000, 1, 1000000000,                                \
    "objects of garbage that hold each other, from which on they are freed in slices")             \
  X(uncommit_delay, "ZGC_UNCOMMIT_DELAY", COUNT, 1, 0, 86400,                                      \
    "seconds that free memory is kept before it goes back to the system")                          \
  X(huge_pages, "ZGC_HUGE_PAGES", BOOL, 0, 0, 1,                                                   \
    "heaps over 16 MB: huge pages, populated ahead of need by a thread")                           \
  X(managed_max, "ZGC_MANAGED_MAX", SIZE, 0, 4 * ZM, (size_t)4 << 40,                              \
    "memory for managed objects; 0 = three quarters of physical memory")                           \
  X(managed_threads, "ZGC_MANAGED_THREADS", COUNT, 0, 1, 16,                                       \
    "threads that mark and move managed objects; 0 = automatic")                                   \
  X(exit, "ZGC_EXIT", EXIT, 0, 0, 1,                                                               \
    "fast: run all finalizers at the end of the interpreter, and leave the memory to the kernel")   \
  X(statpage, "ZGC_STATPAGE", BOOL, 1, 0, 1,                                                       \
    "keep the statistics page that zgc-stat reads")                                                \
  X(profile, "ZGC_PROFILE", TEXT, 0, 0, 0,                                                         \
    "allocation profile: path[,rate], rate = mean bytes between samples (512k); %p becomes the "   \
    "process id")                                                                                  \
  X(profile_signal, "ZGC_PROFILE_SIGNAL", TEXT, 0, 0, 0,                                           \
    "signal that writes the allocation profile: a name (default USR2), a number, or 0 for none")   \
  X(fault, "ZGC_FAULT", TEXT, 0, 0, 0,                                                             \
    "for tests: make our own calls fail, as in commit=3,thread=1+,table=2-4")

#define ZOPTION_TEXT_MAX 1000

typedef enum {
  ZOPTION_BOOL,
  ZOPTION_COUNT,
  ZOPTION_PERCENT,
  ZOPTION_SIZE,
  ZOPTION_LEVEL,
  ZOPTION_BINDING,
  ZOPTION_EXIT,
  ZOPTION_TEXT
} zoption_type_t;

enum { ZBINDING_AUTO, ZBINDING_TABLE, ZBINDING_SYMBOLS }; /* values of ZGC_BINDING */
enum { ZEXIT_EXACT, ZEXIT_FAST };                         /* values of ZGC_EXIT */

/* A 0 default outside [min, max] means "automatic" and is accepted as a value too. */
typedef struct {
  const char *name;
  zoption_type_t type;
  uint64_t fallback, min, max;
  const char *help;
} zoption_row_t;

typedef enum {
#define X(field, ...) ZOPTION_ID_##field,
  ZOPTION_TABLE(X)
#undef X
      ZOPTION_ID_COUNT
} zoption_id_t;

extern const zoption_row_t zoption_rows[ZOPTION_ID_COUNT];

/* Number of an option, or its text ("" when unset). */
#define zoption(field) zoption_number(ZOPTION_ID_##field)
#define zoption_text(field) zoption_text_of(ZOPTION_ID_##field)
uint64_t zoption_number(zoption_id_t id);
const char *zoption_text_of(zoption_id_t id);
bool zoption_is_default(zoption_id_t id);

/* Reads the environment. False at the first value that is not understood: one line on stderr says
 * which, and all options have their defaults. */
bool zoption_parse(void);

/* Parses one value; false leaves the option as it was. */
bool zoption_set(zoption_id_t id, const char *value);

const char *zoption_type_name(zoption_type_t type);
/* "a percentage from 1 to 1000": what a value may be, for messages and help. */
void zoption_describe_range(zoption_id_t id, char *buffer, size_t size);
void zoption_format_default(zoption_id_t id, char *buffer, size_t size);
/* The value as text that zoption_set would accept. */
void zoption_format(zoption_id_t id, char *buffer, size_t size);

#endif
