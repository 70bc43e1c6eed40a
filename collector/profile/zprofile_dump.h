/* Writes the allocation profile: three files, each replaced as a whole.
 *
 *   PATH                      for pprof (zpprof.h)
 *   PATH.live.collapsed       "root;...;leaf bytes" per line: what is alive
 *   PATH.allocated.collapsed  ... what was allocated since the start
 *
 * GIL held, at a place where Python code may run (names are asked of code objects through the API).
 * One dump at a time. */
#ifndef COLLECTOR_PROFILE_ZPROFILE_DUMP_H
#define COLLECTOR_PROFILE_ZPROFILE_DUMP_H

#include "heap/base/zbase.h"

#define ZPROFILE_PATH_BYTES 4096

/* To `path`, or to that of ZGC_PROFILE when NULL: %p there is the process id, and a forked child that
 * has no %p appends its own. *written: the path of the first file, in a buffer that the next dump
 * reuses. 0 or -errno; -EBUSY while another thread is writing. */
int zprofile_dump(const char *path, const char **written);

/* The same for a dump that nobody waits for: errors are one line on stderr. */
void zprofile_dump_quietly(void);

void zprofile_dump_after_fork_in_child(void);

#endif
