#include "collector/cpython/zpayload.h"

#include <string.h>

#define YOUNG_MIN (4 * ZM) /* what is new may always hold so much, or ... */
#define YOUNG_SHARE 32      /* ... such a share of the heap */
#define RISING_FROM (1u << 20) /* objects: fewer are at most doubled at a time, for they say little */
#define RISE_MIN (4 * ZM)   /* the same, for what grows old */
#define RISE_SHARE 16
#define HEAVY 1024          /* bytes with each object that grows old; else counting objects is enough */

static struct {
  size_t at_end; /* bytes, of the last collection */
  size_t fits;
  size_t lowest; /* bytes, since the last rise */
  uint64_t promoted; /* when it was that low */
} payload = {.fits = SIZE_MAX};

static size_t share(size_t bytes, size_t part, size_t least) { return zmax(bytes / part, least); }

void zpayload_note_start(size_t bytes, size_t new_objects) {
  size_t most = share(payload.at_end, YOUNG_SHARE, YOUNG_MIN);
  size_t come = payload.at_end > 0 && bytes > payload.at_end ? bytes - payload.at_end : 0;
  size_t before = payload.fits, fits = SIZE_MAX;
  if (come > 0) fits = (size_t)((double)most * (double)new_objects / (double)come);
  payload.fits = before < RISING_FROM ? zmin(fits, zmax(2 * before, 1)) : fits;
}

void zpayload_note_end(size_t bytes) { payload.at_end = bytes; }

size_t zpayload_fits(void) { return payload.fits; }

bool zpayload_is_rising(size_t bytes, uint64_t promoted) {
  bool is_lower = payload.lowest == 0 || bytes < payload.lowest;
  size_t risen = is_lower ? 0 : bytes - payload.lowest;
  uint64_t objects = promoted - payload.promoted;
  bool is_rise = risen > share(payload.lowest, RISE_SHARE, RISE_MIN);
  if (is_lower || is_rise) {
    payload.lowest = bytes;
    payload.promoted = promoted;
  }
  return is_rise && objects > 0 && risen / objects >= HEAVY;
}

void zpayload_reset(void) {
  memset(&payload, 0, sizeof payload);
  payload.fits = SIZE_MAX;
}
