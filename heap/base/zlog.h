/* The GC log: tagged lines in ZGC's manner, written without allocation.
 *
 *   [2.413s][info ][gc,phases ] GC(0) Concurrent Pass 1 312.114ms in 2000000 out 1520
 *
 * A line is formatted into a stack buffer (longer text is cut) and leaves in one write(2), so lines
 * of several threads do not mix and no lock is needed. Safe on every thread, with or without the
 * GIL; not in signal handlers.
 *
 * The descriptor is checked against the file's identity before each write: a program that closes
 * every descriptor (daemons do) must not find our lines in its own files. */
#ifndef HEAP_BASE_ZLOG_H
#define HEAP_BASE_ZLOG_H

#include "heap/base/zbase.h"

typedef enum { ZLOG_OFF, ZLOG_WARN, ZLOG_INFO, ZLOG_DEBUG, ZLOG_TRACE } zlog_level_t;

extern zlog_level_t zlog_level; /* written once at start-up */

static inline bool zlog_is(zlog_level_t level) { return zunlikely(level <= zlog_level); }

/* target: "stderr" (or "/dev/stderr") or a path, in which %p becomes the process id. Opened at the first
 * line, with mode 0600, never through a symbolic link. Nobody is waited for: a FIFO has to have a reader,
 * and what it does not take at once is lost, which is said on stderr once, as for a full disk. */
void zlog_start(const char *target, zlog_level_t level);

/* The child writes to a file of its own: %p renewed, or ".<pid>" appended. */
void zlog_after_fork_in_child(void);

/* tags: "gc,start". Use through the macros, which do not evaluate arguments when the level is off. */
void zlog_line(zlog_level_t level, const char *tags, const char *format, ...) zprintf_like(3, 4);

/* One line for the user on stderr, whatever the log: "zgc: " is put in front. */
void zlog_notice(const char *format, ...) zprintf_like(1, 2);

#define zlog_at(level, tags, ...) \
  do {                            \
    if (zlog_is(level)) zlog_line(level, tags, __VA_ARGS__); \
  } while (0)
#define zlog_warn(tags, ...) zlog_at(ZLOG_WARN, tags, __VA_ARGS__)
#define zlog_info(tags, ...) zlog_at(ZLOG_INFO, tags, __VA_ARGS__)
#define zlog_debug(tags, ...) zlog_at(ZLOG_DEBUG, tags, __VA_ARGS__)
#define zlog_trace(tags, ...) zlog_at(ZLOG_TRACE, tags, __VA_ARGS__)

/* Bytes in whole megabytes for log lines, as ZGC prints them. */
static inline unsigned long zlog_mb(size_t bytes) { return (unsigned long)(bytes >> 20); }
static inline double zlog_ms(uint64_t ns) { return (double)ns / 1e6; }

#endif
