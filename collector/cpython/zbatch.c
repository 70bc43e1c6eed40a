#include "collector/cpython/zbatch.h"

static size_t size = ZBATCH_FIRST;

void zbatch_begin(void) { size = zmin(size, ZBATCH_FIRST); }

size_t zbatch_size(void) { return size; }

void zbatch_note(size_t objects, uint64_t took_ns, uint64_t budget_ns) {
  if (objects < ZBATCH_TELLING) return;
  uint64_t fits = objects * budget_ns / (took_ns + 1);
  if (fits > size) fits = (size * 3 + fits) / 4;
  size = fits < ZBATCH_MIN ? ZBATCH_MIN : (size_t)zmin(fits, ZBATCH_MAX);
}
