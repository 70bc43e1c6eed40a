/* Three strengths of check (levels set by the CMake option ZGC_DEBUG):
 *   zassert        O(1), debug builds only
 *   zassert_heavy  walks something, ZGC_DEBUG=2
 *   zcheck         always on: damage that would otherwise spread into a user's objects
 * Shortage of memory, a missing symbol or a strange option is never an assertion. */
#ifndef HEAP_BASE_ZASSERT_H
#define HEAP_BASE_ZASSERT_H

#include "heap/base/zbase.h"

#ifndef ZGC_DEBUG
#define ZGC_DEBUG 0
#endif

/* Writes one line to stderr and aborts. Safe anywhere: no allocation, no locks. */
_Noreturn zcold void zassert_failed(const char *condition, const char *file, int line);

#define zcheck(condition) \
  (zlikely(condition) ? (void)0 : zassert_failed(#condition, __FILE__, __LINE__))

#if ZGC_DEBUG >= 1
#define zassert(condition) zcheck(condition)
#else
#define zassert(condition) ((void)sizeof(condition))
#endif

#if ZGC_DEBUG >= 2
#define zassert_heavy(condition) zcheck(condition)
#else
#define zassert_heavy(condition) ((void)sizeof(condition))
#endif

#endif
