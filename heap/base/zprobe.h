/* USDT probes, provider `zgc`: what bpftrace, perf and SystemTap can attach to from outside.
 *
 *   collection__start(number, cause)             a full collection begins        collector thread, or GIL
 *   collection__done(number, found, reclaimed)   objects                         GIL
 *   collection__abandoned(number, why)           instead of done                 any thread
 *   phase__start(name), phase__done(name, ns)    an abandoned one has no done    collector threads
 *   pause__start(kind), pause__done(kind, ns)    the program stands still        GIL
 *   managed__start(number, generation, cause)    a collection of managed objects collector thread
 *   managed__done(number, moved, freed)          pages
 *   page__alloc(kind, bytes)                     pages taken, and ...            GIL, or heap lock
 *   page__free(kind, bytes)                      ... no longer in use
 *   alloc__stall(bytes, ns)                      a managed allocation had to wait     GIL
 *   safepoint__stall(ns)                         garbage outran the collection        GIL
 *
 * cause, why, name, kind and generation are pointers to C strings, the rest 64-bit numbers. All are
 * fired where the same event is counted (zstat.h) or logged, with the same number.
 *
 * Each probe has a semaphore that the kernel raises while somebody listens: unwatched, a probe
 * costs a load and a branch that is not taken. Built without <sys/sdt.h>, nothing is left of them. */
#ifndef HEAP_BASE_ZPROBE_H
#define HEAP_BASE_ZPROBE_H

#include "heap/base/zbase.h"

#define ZPROBE_TABLE(X)    \
  X(collection__start)     \
  X(collection__done)      \
  X(collection__abandoned) \
  X(phase__start)          \
  X(phase__done)           \
  X(pause__start)          \
  X(pause__done)           \
  X(managed__start)        \
  X(managed__done)         \
  X(page__alloc)           \
  X(page__free)            \
  X(alloc__stall)          \
  X(safepoint__stall)

#ifdef ZGC_PROBES
#define _SDT_HAS_SEMAPHORES 1
#define STAP_SDT_ARG_CONSTRAINT r /* else "name(%rip)", which listeners cannot find in a stripped library */
#include <sys/sdt.h>

/* In this section tools look for them; the kernel writes them in each process that is watched. */
#define ZPROBE_SEMAPHORE(name)                                                  \
  extern volatile unsigned short zgc_##name##_semaphore                         \
      __attribute__((section(".probes"), visibility("hidden")));
ZPROBE_TABLE(ZPROBE_SEMAPHORE)
#undef ZPROBE_SEMAPHORE

#define zprobe_is_watched(name) zunlikely(zgc_##name##_semaphore != 0)
#define ZPROBE1(name, a) DTRACE_PROBE1(zgc, name, a)
#define ZPROBE2(name, a, b) DTRACE_PROBE2(zgc, name, a, b)
#define ZPROBE3(name, a, b, c) DTRACE_PROBE3(zgc, name, a, b, c)
#else
#define zprobe_is_watched(name) false
#define ZPROBE1(name, a) ((void)(a))
#define ZPROBE2(name, a, b) ((void)(a), (void)(b))
#define ZPROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

/* The listener in the kernel takes no page faults: a string that was never read is not there yet. */
static inline const char *zprobe_text(const char *text) {
  (void)*(const volatile char *)text;
  return text;
}

static inline void zprobe_collection_start(uint64_t number, const char *cause) {
  if (zprobe_is_watched(collection__start)) {
    ZPROBE2(collection__start, number, zprobe_text(cause));
  }
}

static inline void zprobe_collection_done(uint64_t number, uint64_t found, uint64_t reclaimed) {
  if (zprobe_is_watched(collection__done)) ZPROBE3(collection__done, number, found, reclaimed);
}

static inline void zprobe_collection_abandoned(uint64_t number, const char *why) {
  if (zprobe_is_watched(collection__abandoned)) {
    ZPROBE2(collection__abandoned, number, zprobe_text(why));
  }
}

static inline void zprobe_phase_start(const char *name) {
  if (zprobe_is_watched(phase__start)) ZPROBE1(phase__start, zprobe_text(name));
}

static inline void zprobe_phase_done(const char *name, uint64_t ns) {
  if (zprobe_is_watched(phase__done)) ZPROBE2(phase__done, zprobe_text(name), ns);
}

static inline void zprobe_pause_start(const char *kind) {
  if (zprobe_is_watched(pause__start)) ZPROBE1(pause__start, zprobe_text(kind));
}

static inline void zprobe_pause_done(const char *kind, uint64_t ns) {
  if (zprobe_is_watched(pause__done)) ZPROBE2(pause__done, zprobe_text(kind), ns);
}

static inline void zprobe_managed_start(uint64_t number, const char *generation,
                                        const char *cause) {
  if (zprobe_is_watched(managed__start)) {
    ZPROBE3(managed__start, number, zprobe_text(generation), zprobe_text(cause));
  }
}

static inline void zprobe_managed_done(uint64_t number, uint64_t moved, uint64_t freed) {
  if (zprobe_is_watched(managed__done)) ZPROBE3(managed__done, number, moved, freed);
}

static inline void zprobe_page_alloc(const char *kind, uint64_t bytes) {
  if (zprobe_is_watched(page__alloc)) ZPROBE2(page__alloc, zprobe_text(kind), bytes);
}

static inline void zprobe_page_free(const char *kind, uint64_t bytes) {
  if (zprobe_is_watched(page__free)) ZPROBE2(page__free, zprobe_text(kind), bytes);
}

static inline void zprobe_alloc_stall(uint64_t bytes, uint64_t ns) {
  if (zprobe_is_watched(alloc__stall)) ZPROBE2(alloc__stall, bytes, ns);
}

static inline void zprobe_safepoint_stall(uint64_t ns) {
  if (zprobe_is_watched(safepoint__stall)) ZPROBE1(safepoint__stall, ns);
}

#endif
