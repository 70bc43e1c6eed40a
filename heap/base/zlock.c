#include "heap/base/zlock.h"

#include <stdio.h>

#include "heap/base/zassert.h"

zlock_row_t zlock_rows[ZLOCK_COUNT] = {
#define X(id, guards) {PTHREAD_MUTEX_INITIALIZER},
    ZLOCK_TABLE(X)
#undef X
};

const char *zlock_guards(zlock_t lock) {
  static const char *const guards[] = {
#define X(id, guards) guards,
      ZLOCK_TABLE(X)
#undef X
  };
  return guards[lock];
}

void zlock_take_all(void) {
  for (int i = 0; i < ZLOCK_COUNT; i++) zlock_take((zlock_t)i);
}

void zlock_drop_all(void) {
  for (int i = ZLOCK_COUNT - 1; i >= 0; i--) zlock_drop((zlock_t)i);
}

#if ZGC_DEBUG >= 1
_Static_assert(ZLOCK_COUNT <= 32, "a bit for each");

static __thread uint32_t held; /* a bit for each lock that this thread holds */

static _Noreturn void fail(const char *what, zlock_t lock) {
  char text[160];
  snprintf(text, sizeof text, "%s: lock %d (%s), held %#x", what, (int)lock, zlock_guards(lock), (unsigned)held);
  zassert_failed(text, __FILE__, __LINE__);
}

void zlock_note_take(zlock_t lock) {
  if (!zlock_is_legal(held, lock)) fail("taken out of order", lock);
  held |= 1u << lock;
}

void zlock_note_try(zlock_t lock) { held |= 1u << lock; }

void zlock_note_drop(zlock_t lock) {
  if ((held >> lock & 1) == 0) fail("dropped without being held", lock);
  held &= ~(1u << lock);
}
#endif
