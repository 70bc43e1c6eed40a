#include "collector/cpython/ztables.h"

#include <string.h>

#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"

enum { FREE, TAKEN, DISCARDED };

#define PLACES 4

ztables_t *ztables_current, *ztables_lent;

static ztables_t places[PLACES];

void ztables_free(ztables_t *tables) {
  zpass_end(&tables->pass);
  zcomponents_free(&tables->garbage);
  zstore_release(&tables->use, FREE);
}

ztables_t *ztables_take(void) {
  for (int i = 0; i < 2 * PLACES; i++) {
    ztables_t *tables = &places[i % PLACES];
    uint32_t use = i < PLACES ? FREE : DISCARDED;
    if (!zcas_acq_rel(&tables->use, &use, TAKEN)) continue;
    zpass_end(&tables->pass);
    zcomponents_free(&tables->garbage);
    zstore_relaxed(&tables->stop, false);
    return tables;
  }
  zcheck(false);
  return NULL;
}

void ztables_discard(ztables_t *tables) { zstore_release(&tables->use, DISCARDED); }

void ztables_free_discarded(void) {
  for (int i = 0; i < PLACES; i++) {
    uint32_t use = DISCARDED;
    if (zcas_acq_rel(&places[i].use, &use, TAKEN)) ztables_free(&places[i]);
  }
}

void ztables_fork_child(void) {
  memset(places, 0, sizeof places);
  ztables_current = ztables_lent = NULL;
}
