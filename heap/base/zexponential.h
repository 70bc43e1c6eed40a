/* The exponential distribution, for samples by the byte. Written out: libm would be mapped into each process that
 * the library is preloaded into, and few of them draw a sample. Exact to 12 digits. */
#ifndef HEAP_BASE_ZEXPONENTIAL_H
#define HEAP_BASE_ZEXPONENTIAL_H

#include <string.h>

#include "heap/base/zbase.h"

/* -log(x) for 0 < x <= 1, not a denormal number: x = mantissa * 2^exponent, and the mantissa's by a series of
 * atanh, which needs few terms near 1. */
static inline double zexponential_minus_log(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int exponent = (int)(bits >> 52) - 1023;
  bits = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1023 << 52;
  double mantissa;
  memcpy(&mantissa, &bits, sizeof mantissa);
  if (mantissa > 1.4142135623730951) {
    mantissa /= 2;
    exponent++;
  }
  double t = (mantissa - 1) / (mantissa + 1), sum = 0;
  for (int n = 19; n > 0; n -= 2) sum = sum * t * t + 1.0 / n;
  return -(exponent * 0.6931471805599453 + 2 * t * sum);
}

/* 1 - exp(-x) for x >= 0: that at least one sample falls into x when one falls into 1 on average. Halved until a
 * series needs few terms, then doubled again. */
static inline double zexponential_chance(double x) {
  if (x > 64) return 1;
  int halvings = 0;
  for (; x > 0.5; x /= 2) halvings++;
  double chance = 0;
  for (int n = 14; n > 0; n--) chance = x / n * (1 - chance);
  while (halvings-- > 0) chance *= 2 - chance;
  return chance;
}

#endif
