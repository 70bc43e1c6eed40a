/* A kernel with larger pages, preloaded: ZGCTEST_PAGE bytes. Maps, unmaps, protects and gives memory back as
 * such a kernel does: an address that does not begin a page is refused, and a length is rounded up. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Asked by constructors of others before ours. */
static uintptr_t page_size(void) {
  static uintptr_t page;
  const char *wish = page == 0 ? getenv("ZGCTEST_PAGE") : NULL;
  if (page == 0) page = wish == NULL ? 4096 : strtoul(wish, NULL, 10);
  return page;
}
#define page page_size()

static size_t up(size_t size) { return (size + page - 1) & ~(page - 1); }
static int is_inside(const void *address) { return ((uintptr_t)address & (page - 1)) != 0; }

/* The mappings made here. The loader's and libc's are not: theirs have no whole page to themselves, and may begin one by
 * chance. */
#define OURS 4096
static struct {
  char *start, *end;
} ours[OURS];

static void note_ours(char *start, char *end) {
  for (unsigned i = 0; i < OURS; i++) {
    char *none = NULL;
    if (__atomic_compare_exchange_n(&ours[i].end, &none, end, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
      __atomic_store_n(&ours[i].start, start, __ATOMIC_RELEASE);
      return;
    }
  }
}

static int is_ours(const char *address) {
  for (unsigned i = 0; i < OURS && __atomic_load_n(&ours[i].end, __ATOMIC_ACQUIRE) != NULL; i++) {
    char *start = __atomic_load_n(&ours[i].start, __ATOMIC_ACQUIRE);
    if (start != NULL && address >= start && address < ours[i].end) return 1;
  }
  return 0;
}

static int refuse(void) {
  errno = EINVAL;
  return -1;
}

void *mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset) {
  if (flags & (MAP_FIXED | 0x100000)) {
    if (is_inside(start)) return (void *)(intptr_t)refuse();
    return (void *)syscall(SYS_mmap, start, fd < 0 ? up(size) : size, protection, flags, fd, offset);
  }
  char *mapped = (char *)syscall(SYS_mmap, NULL, up(size) + page, fd < 0 ? protection : PROT_NONE,
                                 fd < 0 ? flags : MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return mapped;
  char *first = (char *)up((uintptr_t)mapped);
  if (first > mapped) syscall(SYS_munmap, mapped, first - mapped);
  syscall(SYS_munmap, first + up(size), mapped + page - first);
  note_ours(first, first + up(size));
  if (fd < 0) return first;
  /* A file, too, has whole pages to itself, so that unmapping them takes nothing of a neighbour's. */
  void *file = (void *)syscall(SYS_mmap, first, size, protection, flags | MAP_FIXED, fd, offset);
  if (file == MAP_FAILED) {
    int reason = errno;
    syscall(SYS_munmap, first, up(size));
    errno = reason;
  }
  return file;
}

int munmap(void *start, size_t size) {
  if (((uintptr_t)start & 4095) == 0 && !is_ours(start)) return (int)syscall(SYS_munmap, start, size);
  return is_inside(start) ? refuse() : (int)syscall(SYS_munmap, start, up(size));
}

int mprotect(void *start, size_t size, int protection) {
  return is_inside(start) ? refuse() : (int)syscall(SYS_mprotect, start, up(size), protection);
}

int madvise(void *start, size_t size, int advice) {
  return is_inside(start) ? refuse() : (int)syscall(SYS_madvise, start, up(size), advice);
}

void *mremap(void *start, size_t size, size_t new_size, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  void *to = va_arg(rest, void *);
  va_end(rest);
  if (is_inside(start) || ((flags & MREMAP_FIXED) && is_inside(to))) return (void *)(intptr_t)refuse();
  if (flags & MREMAP_FIXED) return (void *)syscall(SYS_mremap, start, up(size), up(new_size), flags, to);
  void *larger = mmap(NULL, new_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (larger == MAP_FAILED) return larger;
  return (void *)syscall(SYS_mremap, start, up(size), up(new_size), flags | MREMAP_FIXED, larger);
}

unsigned long getauxval(unsigned long type) {
  unsigned long (*real)(unsigned long) = (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
  return type == AT_PAGESZ ? page : real(type);
}
