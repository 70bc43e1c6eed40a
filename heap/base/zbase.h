/* Sizes, alignment and the few compiler helpers that every file uses. */
#ifndef HEAP_BASE_ZBASE_H
#define HEAP_BASE_ZBASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define zlikely(x) __builtin_expect(!!(x), 1)
#define zunlikely(x) __builtin_expect(!!(x), 0)
#define znoinline __attribute__((noinline))
#define zcold __attribute__((cold, noinline))
#define zalways_inline inline __attribute__((always_inline))
/* On data that fast paths read: the compiler need not go by the table of symbols. */
#define zhidden __attribute__((visibility("hidden")))
#define zexport __attribute__((visibility("default")))
#define zprintf_like(fmt, args) __attribute__((format(printf, fmt, args)))

#define ZK ((size_t)1 << 10)
#define ZM ((size_t)1 << 20)
#define ZG ((size_t)1 << 30)

/* Bits of an address that a program has. Linux gives none above unless mmap is asked for one by such an address. */
#if defined(__x86_64__)
#define ZADDRESS_BITS 47
#elif defined(__aarch64__)
#define ZADDRESS_BITS 48
#else
#error "how many bits do addresses have here?"
#endif

#define ZARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define ZCACHE_LINE 64

static inline size_t zalign_up(size_t value, size_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

static inline size_t zalign_down(size_t value, size_t alignment) {
  return value & ~(alignment - 1);
}

static inline size_t zmin(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t zmax(size_t a, size_t b) { return a > b ? a : b; }

/* log2 of a power of two, or of the next lower one. value must not be 0. */
static inline unsigned zlog2(size_t value) { return 63u - (unsigned)__builtin_clzll(value); }

#endif
