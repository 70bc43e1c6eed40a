#include "collector/cpython/zplan.h"

zplan_now_t zplan_now;

const zplan_t *zplan_settled(const zplan_t *plan) {
  while (plan->is_due != NULL && !plan->is_due()) plan = plan->otherwise;
  return plan;
}
