/* Atomics with the memory order in the name, so that a reviewer can grep for it.
 *
 * The macros work on plain objects (GCC __atomic builtins): memory that belongs to the interpreter
 * cannot be declared _Atomic, and one spelling for both keeps the cast in this file. */
#ifndef HEAP_BASE_ZATOMIC_H
#define HEAP_BASE_ZATOMIC_H

#include "heap/base/zbase.h"

#define zload_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define zload_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define zstore_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define zstore_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define zstore_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define zload_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define zfetch_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define zfetch_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define zfetch_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define zfetch_or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define zfetch_and_relaxed(p, v) __atomic_fetch_and((p), (v), __ATOMIC_RELAXED)
#define zexchange_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)

/* True when *p was *expected and is now desired; else *expected holds what was seen. */
#define zcas_relaxed(p, expected, desired) \
  __atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
#define zcas_acq_rel(p, expected, desired) \
  __atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

/* For a loop that waits for another thread's store. */
static inline void zspin_hint(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
