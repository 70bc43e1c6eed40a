#define _GNU_SOURCE
#include "heap/base/zstatpage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"

#define MAGIC "zgcstat1"
#define DIRECTORY "zgcpreload"
#define PARENT_MAX 200   /* bytes of $XDG_RUNTIME_DIR */
#define SWEEPS_MAX 20    /* of 2 KiB of names, some sixty */
#define LOCK_WAIT_NS 20000u

typedef struct {
  char magic[8];
  uint32_t header_size, count;
  uint64_t pid, start_ticks, sequence, pid_namespace;
  uint64_t reserved[2];
} header_t;

typedef struct {
  char name[40];
  uint64_t value;
} entry_t;

typedef struct {
  header_t header;
  entry_t entries[ZSTAT_LENGTH];
} page_t;

_Static_assert(sizeof zstat_rows[0].name <= sizeof((entry_t *)0)->name, "names fit");
_Static_assert(sizeof(header_t) == 64 && sizeof(entry_t) == 48, "the layout that readers know");

/* Guarded by ZLOCK_STATPAGE, but for is_enabled, which a publisher reads first. */
static bool is_enabled;
static bool has_failed; /* one attempt, one line */
static page_t *page;
static uid_t owner;
static char runtime_directory[PARENT_MAX];
static char path[PARENT_MAX + 40];

/* -- the directory ------------------------------------------------------------------------------ */

/* Opens, and makes if need be, a directory that nobody else can enter; -1 with errno set. What stands
 * there already may be another user's, or a link to anywhere. */
static int open_private(int parent, const char *name) {
  bool is_new = mkdirat(parent, name, 0700) == 0;
  if (!is_new && errno != EEXIST) return -1;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  if (is_new) fchmod(fd, 0700); /* whatever the umask was */
  struct stat status;
  if (fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 077) == 0) return fd;
  close(fd);
  errno = EPERM;
  return -1;
}

/* The directory in `parent`, which must be the user's own unless everybody is known to share it with
 * its sticky bit set. */
static int open_in(const char *parent, const char *name, bool must_own) {
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat status;
  int found = -1;
  errno = EPERM;
  if (fstat(fd, &status) == 0 && (!must_own || status.st_uid == geteuid())) {
    found = open_private(fd, name);
  }
  int error = errno;
  close(fd);
  errno = error;
  return found;
}

/* Leaves the directory's path, with a slash behind it, in `path`. */
static int open_directory(void) {
  if (runtime_directory[0] == '/') {
    snprintf(path, sizeof path, "%s/" DIRECTORY "/", runtime_directory);
    int fd = open_in(runtime_directory, DIRECTORY, true);
    if (fd >= 0) return fd;
    zlog_info("gc,init", "no statistics page as %s (%s)", path, strerror(errno));
  }
  char name[40];
  snprintf(name, sizeof name, DIRECTORY "-%u", (unsigned)geteuid());
  snprintf(path, sizeof path, "/dev/shm/%s/", name);
  return open_in("/dev/shm", name, false);
}

/* -- pages of the dead -------------------------------------------------------------------------- */

static uint64_t pid_namespace(void) {
  struct stat status;
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

/* A directory may be shared between containers, in which one pid means different processes. */
static bool is_left_over(int directory, const char *name, uint64_t namespace) {
  char *end;
  errno = 0;
  long pid = strtol(name, &end, 10);
  if (name[0] < '1' || name[0] > '9' || *end != '\0' || errno != 0 || pid > INT32_MAX) return false;
  if (kill((pid_t)pid, 0) == 0 || errno != ESRCH) return false;
  int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  header_t header;
  bool is_page = read(fd, &header, sizeof header) == (ssize_t)sizeof header &&
                 memcmp(header.magic, MAGIC, sizeof header.magic) == 0 &&
                 header.pid == (uint64_t)pid && header.pid_namespace == namespace;
  close(fd);
  return is_page;
}

static void sweep_names(int directory, const char *names, ssize_t bytes, uint64_t namespace) {
  for (const struct dirent64 *entry; bytes > 0; names += entry->d_reclen, bytes -= entry->d_reclen) {
    entry = (const struct dirent64 *)names;
    if (is_left_over(directory, entry->d_name, namespace)) unlinkat(directory, entry->d_name, 0);
  }
}

/* Not by opendir: that calls malloc, which would set up an arena, of 64 MiB of address space, for the collector
 * thread. */
static void sweep(int directory) {
  _Alignas(struct dirent64) char names[2048];
  int listing = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listing < 0) return;
  uint64_t namespace = pid_namespace();
  for (int i = 0; i < SWEEPS_MAX; i++) {
    long bytes = syscall(SYS_getdents64, listing, names, sizeof names);
    if (bytes <= 0) break;
    sweep_names(directory, names, bytes, namespace);
  }
  close(listing);
}

/* -- the page ----------------------------------------------------------------------------------- */

/* Reserves the memory too: a full /dev/shm must show here, not as SIGBUS in the program. */
static page_t *map_new_file(int directory, const char *name) {
  int fd = openat(directory, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return NULL;
  int error = fchmod(fd, 0600) == 0 ? posix_fallocate(fd, 0, sizeof(page_t)) : errno;
  page_t *made = NULL;
  if (error == 0) {
    made = zos_file_map(fd, sizeof(page_t));
    if (made == NULL) error = ENOMEM;
  }
  close(fd);
  if (made == NULL) unlinkat(directory, name, 0);
  errno = error;
  return made;
}

static void fill_in(page_t *new, uint64_t start_ticks) {
  new->header = (header_t){.header_size = sizeof(header_t),
                           .count = ZSTAT_LENGTH,
                           .pid = (uint64_t)getpid(),
                           .start_ticks = start_ticks,
                           .pid_namespace = pid_namespace()};
  memcpy(new->header.magic, MAGIC, sizeof new->header.magic);
  for (unsigned i = 0; i < ZSTAT_LENGTH; i++) {
    memcpy(new->entries[i].name, zstat_rows[i].name, sizeof zstat_rows[i].name);
  }
}

/* Appears under its name when it is complete, in the place of what a dead process may have left. */
static page_t *make_in(int directory) {
  uint64_t start_ticks = zos_process_start_ticks();
  char name[16], unfinished[24];
  snprintf(name, sizeof name, "%d", (int)getpid());
  snprintf(unfinished, sizeof unfinished, "%s.new", name);
  errno = ENOENT; /* of /proc, if anything */
  page_t *made = start_ticks == 0 ? NULL : map_new_file(directory, unfinished);
  if (made == NULL) return NULL;
  fill_in(made, start_ticks);
  if (renameat(directory, unfinished, directory, name) == 0) {
    strncat(path, name, sizeof path - strlen(path) - 1);
    return made;
  }
  int error = errno;
  unlinkat(directory, unfinished, 0);
  zos_table_unmap(made, sizeof *made);
  errno = error;
  return NULL;
}

static void make_locked(void) {
  int saved = errno; /* called where the program's errno must not change */
  bool is_restricted = zos_is_restricted();
  int directory = is_restricted ? -1 : open_directory();
  if (is_restricted) errno = EPERM;
  if (directory >= 0) page = make_in(directory);
  if (page == NULL) {
    has_failed = true;
    zlog_info("gc,init", "no statistics page as %s (%s); zgc-stat cannot see this process", path,
              strerror(errno));
    path[0] = '\0';
  }
  if (directory >= 0) {
    owner = geteuid();
    sweep(directory);
    close(directory);
  }
  errno = saved;
}

static void remove_files(void) {
  unlink(path);
  *strrchr(path, '/') = '\0';
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return;
  sweep(directory); /* of our children, many end without an end of their interpreter */
  close(directory);
}

static void remove_locked(void) {
  if (page == NULL) return;
  int saved = errno;
  zos_table_unmap(page, sizeof *page);
  page = NULL;
  if (!zos_is_restricted()) remove_files(); /* or the next process's sweep does */
  path[0] = '\0';
  errno = saved;
}

static void copy_counters(void) {
  uint64_t sequence = page->header.sequence;
  zstore_relaxed(&page->header.sequence, sequence + 1);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  const uint64_t *values = (const uint64_t *)&zstat_values;
  for (unsigned i = 0; i < ZSTAT_LENGTH; i++) {
    zstore_relaxed(&page->entries[i].value, zload_relaxed(&values[i]));
  }
  zstore_release(&page->header.sequence, sequence + 2);
}

/* -- entries ------------------------------------------------------------------------------------- */

void zstatpage_enable(void) {
  const char *runtime = getenv("XDG_RUNTIME_DIR");
  zlock_take(ZLOCK_STATPAGE);
  if (runtime != NULL && runtime[0] == '/' && strlen(runtime) < PARENT_MAX) {
    strcpy(runtime_directory, runtime);
  }
  zstore_relaxed(&is_enabled, true);
  zlock_drop(ZLOCK_STATPAGE);
}

void zstatpage_publish(void) {
  if (!zload_relaxed(&is_enabled) || !zlock_try(ZLOCK_STATPAGE)) return;
  if (page == NULL && is_enabled && !has_failed) make_locked();
  if (page != NULL) copy_counters();
  zlock_drop(ZLOCK_STATPAGE);
}

void zstatpage_follow_user(void) {
  if (!zload_relaxed(&is_enabled) || !zlock_try(ZLOCK_STATPAGE)) return;
  if (page != NULL && owner != geteuid()) remove_locked();
  zlock_drop(ZLOCK_STATPAGE);
}

void zstatpage_disable(void) {
  zlock_take(ZLOCK_STATPAGE);
  zstore_relaxed(&is_enabled, false);
  has_failed = false;
  remove_locked();
  zlock_drop(ZLOCK_STATPAGE);
}

const char *zstatpage_path(void) { return zload_relaxed(&page) != NULL ? path : NULL; }

void zstatpage_reset_after_fork_in_child(void) {
  if (page != NULL) zos_table_unmap(page, sizeof *page);
  page = NULL;
  path[0] = '\0';
}
