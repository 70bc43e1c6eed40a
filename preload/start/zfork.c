/* Fork runs in any thread, with the GIL or without. The child has that thread only. So every lock of ours is held over
 * the fork, in the order of zlock.h, and dropped on both sides: nothing that a lock guards is half done in the child.
 * Before the locks come the parts that wait for other threads, which may need a lock to get there. After them, the
 * child forgets what belonged to threads that it does not have.
 *
 *   part                    before the fork                   in the child
 *   collector thread        ends, where CPython counts        is not there; the collection under way is given up
 *   managed objects         their world is stopped            their threads are not there
 *   all locks               are taken                         are dropped
 *   statistics page         -                                 is the parent's: the child makes its own
 *   heap                    -                                 what a populator had claimed is free
 *   log, profile            -                                 files of the parent are not written to
 */
#include "preload/start/zfork.h"

#include "collector/cpython/zcollector.h"
#include "collector/profile/zprofile_dump.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/base/zstatpage.h"
#include "heap/zallocator.h"
#include "heap/zgranules.h"
#include "heap/zpopulator.h"
#include "preload/managed/zmanaged.h"

static void before_fork(void) {
  zcollector_fork_prepare();
  zos_thread_fork_prepare();
  zmanaged_fork_prepare();
  zlock_take_all();
}

static void after_fork_in_parent(void) {
  zlock_drop_all();
  zmanaged_fork_parent();
}

static void after_fork_in_child(void) {
  zlock_drop_all();
  zos_thread_fork_child();
  zstatpage_reset_after_fork_in_child();
  zallocator_reset_after_fork_in_child();
  zgranules_reset_after_fork_in_child();
  zpopulator_reset_after_fork_in_child();
  zprofile_dump_after_fork_in_child();
  zcollector_fork_child();
  zmanaged_fork_child();
  zlog_after_fork_in_child();
  zstat_add(forks, 1);
}

bool zfork_start(void) { return zos_at_fork(before_fork, after_fork_in_parent, after_fork_in_child) == 0; }
