#include "heap/base/zexponential.h"

#include <math.h>

#include "tests/support/ztest.h"

static void assert_close(double got, double expected) {
  if (!(fabs(got - expected) <= 1e-12 * fabs(expected))) fail_msg("%.17g, expected %.17g", got, expected);
}

static void test_as_libm_has_it(void **state) {
  (void)state;
  assert_close(zexponential_minus_log(0x1p-53), -log(0x1p-53));
  for (double x = 1; x > 0x1p-53; x *= 0.9973) assert_close(zexponential_minus_log(x), -log(x));
  for (double x = 0x1p-60; x < 100; x *= 1.0031) assert_close(zexponential_chance(x), -expm1(-x));
}

static void test_edges(void **state) {
  (void)state;
  assert_true(zexponential_minus_log(1) == 0);
  assert_true(zexponential_chance(0) == 0);
  assert_true(zexponential_chance(0.5) < zexponential_chance(nextafter(0.5, 1)));
  assert_true(zexponential_chance(64) <= 1 && zexponential_chance(1e300) == 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_as_libm_has_it),
    cmocka_unit_test(test_edges),
};
ZTEST_MAIN(tests, NULL)
