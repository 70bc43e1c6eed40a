/* The statistics page: the counters of this process in a file that scripts/zgc-stat reads, without a
 * signal to the process and without stopping it.
 *
 *   $XDG_RUNTIME_DIR/zgcpreload/<pid>, or /dev/shm/zgcpreload-<uid>/<pid>     0600 in 0700
 *
 *   0   char[8]  "zgcstat1"
 *   8   u32      header size: where the counters begin
 *   12  u32      number of counters
 *   16  u64      pid
 *   24  u64      start time of the process in clock ticks (field 22 of /proc/PID/stat)
 *   32  u64      sequence, odd while counters are written
 *   40  u64      inode of the pid namespace in which the pid counts
 *   64  {char name[40]; u64 value} for each counter                           little endian
 *
 * The file is mapped and its memory reserved: publishing is some forty stores and cannot fail. (Who
 * truncates the file under the process, which only its owner and root can, ends it with SIGBUS.)
 *
 * Publishers are the GIL's holder at safepoints and the collector thread. One of them writes at a
 * time; who finds the other at it does not wait, since the collector thread comes again. The
 * counters are copied with relaxed loads: each is whole, and all are of about the same moment.
 * The sequence pairs with the reader's two looks at it, before and after the counters and each a read
 * of its own: odd before a release fence before the counters, even with release after them.
 *
 * Made at the first publishing, which waits until the collector takes part: small programs never have one.
 * Removed at the interpreter's end. The file of a killed process is known by its start time, and the next process
 * that makes or removes a page of its own in that directory removes it. */
#ifndef HEAP_BASE_ZSTATPAGE_H
#define HEAP_BASE_ZSTATPAGE_H

#include "heap/base/zbase.h"

/* From here on publishing has an effect. Once per interpreter; GIL (reads the environment). */
void zstatpage_enable(void);

/* Brings the page up to date, makes it at the first call. Any thread. */
void zstatpage_publish(void);

/* A process that has changed its user has its page where that user's are. Any thread, now and then. */
void zstatpage_follow_user(void);

/* Removes the page; publishing has no effect afterwards. */
void zstatpage_disable(void);

/* Path of the page; NULL while there is none. GIL: the string lasts until it is given back. */
const char *zstatpage_path(void);

/* The child makes a page of its own when it publishes. */
void zstatpage_reset_after_fork_in_child(void);

#endif
