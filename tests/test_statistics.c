/* Figures of series against their definitions and known values of NumPy. */
#include "recipes/statistics.h"
#include "tests/cmocka.h"
#include <math.h>

static Series series_of(Arena *arena, const double *x, int n)
{
    Series s = { .arena = arena };
    for (int i = 0; i < n; i++) assert_int_equal(series_add(&s, x[i]), OK);
    return s;
}

static void near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-12 * (1 + fabs(b)));
}

static void quantiles(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Series s = series_of(arena, (double[]){ 7, 1, 10, 2 }, 4);
    near(series_median(&s), 4.5);
    assert_true(s.at[0] == 7);                         /* the order is kept */
    series_sort(&s);
    near(series_quantile(&s, 0), 1);
    near(series_quantile(&s, 0.25), 1.75);             /* numpy.quantile([7, 1, 10, 2], 0.25) */
    near(series_quantile(&s, 0.9), 9.1);
    near(series_quantile(&s, 1), 10);
    near(series_mean(&s), 5);
    near(series_deviation(&s), sqrt(13.5));            /* numpy.std */
    arena_free(arena);
}

static void few(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Series none = { .arena = arena }, one = series_of(arena, (double[]){ 3 }, 1);
    assert_true(isnan(series_quantile(&none, 0.5)) && isnan(series_median(&none)) && isnan(series_mean(&none)) && isnan(series_deviation(&none)));
    for (int i = 0; i <= 4; i++) near(series_quantile(&one, i / 4.0), 3);
    near(series_deviation(&one), 0);
    arena_free(arena);
}

static void many(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    Series s = { .arena = arena };
    for (int i = 0; i <= 1000; i++) assert_int_equal(series_add(&s, i * 379 % 1001), OK);      /* 0 ... 1000 in another order */
    near(series_median(&s), 500);
    series_sort(&s);
    for (int i = 0; i <= 1000; i++) assert_true(s.at[i] == i);
    near(series_quantile(&s, 0.999), 999);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(quantiles), cmocka_unit_test(few), cmocka_unit_test(many) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
