#include "collector/cpython/zthresholds.h"

#include <limits.h>

#include "collector/cpython/zmode.h"
#include "collector/cpython/ztenuring.h"
#include "heap/base/zoption.h"

#define STOCK_YOUNG_MAX 2000 /* largest default of a CPython served */
#define STRESS_YOUNG 20

static int users[ZGC_GENERATIONS];

/* A program that asked for rarer young collections gets them; CPython's defaults become ours. */
static int inner_young(void) {
  int wished = users[0];
  if (wished <= 0) return wished; /* 0 switches collection off */
  if (zoption(stress)) return STRESS_YOUNG;
  if (zoption(young) != 0) return (int)zoption(young);
  bool is_theirs = wished > STOCK_YOUNG_MAX || wished < ZTENURING_THRESHOLD_MIN;
  return is_theirs ? wished : (int)ztenuring_threshold();
}

void zthresholds_apply(void) {
  bool ours = zmode_is_ours();
  zgc_state.generations[0].threshold = ours ? inner_young() : users[0];
  zgc_state.generations[1].threshold = ours ? INT_MAX : users[1];
  zgc_state.generations[2].threshold = ours ? INT_MAX : users[2];
}

void zthresholds_get(int thresholds[ZGC_GENERATIONS]) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) thresholds[i] = users[i];
}

void zthresholds_lend(void) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) zgc_state.generations[i].threshold = users[i];
}

void zthresholds_start(void) {
  for (int i = 0; i < ZGC_GENERATIONS; i++) users[i] = zgc_state.generations[i].threshold;
}

void zthresholds_take(void) {
  zthresholds_start();
  zthresholds_apply();
}
