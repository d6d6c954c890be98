/* The short ways between float16, bfloat16 and wider floats: mini_encode and mini_decode are the judges, for all numbers, midpoints and their neighbours. */
#include "engine/element.h"
#include "tests/cmocka.h"
#include <math.h>

static void same_float(float a, double b)
{
    assert_true(isnan(a) ? isnan(b) : (double)a == b && !signbit(a) == !signbit(b));
}

static void test_widen(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        same_float(f16_to_f32((uint16_t)h), mini_decode(mini_float(DT_F16), h));
        same_float(bf16_to_f32((uint16_t)h), mini_decode(mini_float(DT_BF16), h));
    }
}

static void narrows(float x)
{
    unsigned half = mini_encode(mini_float(DT_F16), (double)x, false);
    assert_int_equal(f32_to_f16(x), half);
    assert_int_equal(f64_to_f16((double)x), half);
    assert_int_equal(f32_to_bf16(x), mini_encode(mini_float(DT_BF16), (double)x, false));
}

static void test_narrow_single(void **state)
{
    (void)state;
    for (uint32_t high = 0; high < 1 << 20; high++)                /* sign, exponent and the last bit of float16 or more; around halves of it */
        for (int32_t low = -1; low <= 1; low++) narrows((SingleBits){ .u = (high << 12) + (uint32_t)low }.f);
    for (uint32_t high = 0; high < 1 << 17; high++)
        for (int32_t low = -1; low <= 1; low++) narrows((SingleBits){ .u = (high << 15) + (uint32_t)low }.f);
}

/* Beside a midpoint, closer than floats lie. */
static void test_narrow_double(void **state)
{
    (void)state;
    const MiniFloat *f = mini_float(DT_F16);
    for (unsigned h = 0; h < 0x7BFF; h++) {
        double middle = (mini_decode(f, h) + mini_decode(f, h + 1)) / 2, near[] = { middle, nextafter(middle, 0), nextafter(middle, 1e6) };
        for (int i = 0; i < 3; i++) {
            assert_int_equal(f64_to_f16(near[i]), mini_encode(f, near[i], false));
            assert_int_equal(f64_to_f16(-near[i]), mini_encode(f, -near[i], false));
        }
    }
    const double edges[] = { 65519.99, 65520, 65536, 1e300, HUGE_VAL, NAN, 0, 0x1p-25, 0x1.8p-25, 0x1p-1074, 0x1p-14 };
    for (unsigned i = 0; i < sizeof edges / sizeof *edges; i++) assert_int_equal(f64_to_f16(edges[i]), mini_encode(f, edges[i], false));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_widen), cmocka_unit_test(test_narrow_single), cmocka_unit_test(test_narrow_double) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
