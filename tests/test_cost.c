/* What products are thought to cost: fitting, the file that keeps it, and what the choice makes of it. */
#include "engine/cost.h"
#include "tests/cmocka.h"
#include "tests/files.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const ProductSize SIZES[] = {
    { 64, 64, 4096, 1, 56, 56, false, 3, 1 }, { 64, 576, 18432, 1, 56, 56, false, 3, 1 }, { 512, 128, 65536, 1, 28, 28, false, 3, 1 },
    { 512, 4608, 471859, 1, 7, 7, false, 3, 1 }, { 2048, 512, 1048576, 1, 7, 7, false, 3, 1 }, { 128, 1152, 147456, 2, 28, 28, false, 3, 1 },
    { 1000, 2048, 204800, 1, 1, 1, false, 3, 1 }, { 384, 384, 73728, 1, 1, 128, false, 3, 1 },
};
enum { N = sizeof SIZES / sizeof *SIZES };

/* Times that follow the formula give its coefficients back. */
static void test_fit(void **state)
{
    static const double TERM[COST_TERMS] = { 1.6e-11, 2e-10, 1e-10, 3e-11 };
    Cost cost = { 0 };
    CostSample sample[N];
    (void)state;
    for (int v = 0; v < (int)VARIANTS; v++) memcpy(cost.term[v], TERM, sizeof TERM);
    for (int v = 0; v < (int)VARIANTS; v++) {
        double term[COST_TERMS];
        for (int i = 0; i < N; i++) sample[i] = (CostSample){ SIZES[i], cost_seconds(&cost, (Variant)v, &SIZES[i]) };
        cost_fit((Variant)v, sample, N, term);
        for (int i = 0; i < COST_TERMS; i++) assert_true(fabs(term[i] / TERM[i] - 1) < 1e-6);
    }
}

/* No coefficient is negative, whatever the times are. */
static void test_fit_of_noise(void **state)
{
    CostSample sample[N];
    double term[COST_TERMS];
    (void)state;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < N; i++) sample[i] = (CostSample){ SIZES[i], 1e-6 * (1 + (i * 7919 + round * 104729) % 1000) };
        cost_fit(VARIANT_DENSE, sample, N, term);
        for (int i = 0; i < COST_TERMS; i++) assert_true(term[i] >= 0 && isfinite(term[i]));
    }
}

/* A sparse product gets cheaper with every zero; a dense one does not care. */
static void test_zeros(void **state)
{
    const Cost *cost = cost_here();
    ProductSize few = SIZES[1], many = SIZES[1];
    (void)state;
    many.nonzeros /= 4;
    assert_true(cost_seconds(cost, VARIANT_SPARSE, &many) < cost_seconds(cost, VARIANT_SPARSE, &few));
    assert_true(cost_seconds(cost, VARIANT_DENSE, &many) == cost_seconds(cost, VARIANT_DENSE, &few));
}

/* What is near is read faster, if it is dense. */
static void test_near(void **state)
{
    const Cost *cost = cost_here();
    ProductSize far = SIZES[6], near = SIZES[6];
    (void)state;
    near.near = true;
    assert_true(cost_seconds(cost, VARIANT_TOKENS_DENSE, &near) < cost_seconds(cost, VARIANT_TOKENS_DENSE, &far));
    assert_true(cost_seconds(cost, VARIANT_TOKENS_GATHER, &near) == cost_seconds(cost, VARIANT_TOKENS_GATHER, &far));
}

static void test_file(void **state)
{
    Cost cost = { 0 }, again;
    const char *path = test_path("cache/deeper/cost.txt");
    (void)state;
    for (int v = 0; v < (int)VARIANTS; v++) for (int i = 0; i < COST_TERMS; i++) cost.term[v][i] = 1e-12 * (v * COST_TERMS + i);
    assert_int_equal(cost_write(&cost, path), OK);
    assert_int_equal(cost_read(path, &again), OK);
    assert_true(again.measured);
    for (int v = 0; v < (int)VARIANTS; v++) for (int i = 0; i < COST_TERMS; i++) assert_true(fabs(again.term[v][i] - cost.term[v][i]) < 1e-20);
}

/* A file of another CPU or version, cut off, or with nonsense in it does not count. */
static void test_hostile_files(void **state)
{
    Cost cost = { 0 };
    char text[4096], whole[4096] = "";
    const char *path = test_path("cost.txt");
    (void)state;
    assert_int_equal(cost_write(&cost, path), OK);
    Bytes good = read_file(path);
    assert_true(good.size < sizeof whole);
    memcpy(whole, good.at, good.size);
    for (size_t cut = 0; cut + 1 < good.size; cut += 13) {
        write_file(path, good.at, cut);
        assert_int_not_equal(cost_read(path, &cost), OK);
    }
    static const char *const NONSENSE[] = { "nan", "-1", "1e300", "x" };
    for (size_t i = 0; i < sizeof NONSENSE / sizeof *NONSENSE; i++) {
        const char *line = strchr(whole, '\n') + 1;
        int n = snprintf(text, sizeof text, "%.*sdense %s 0 0 0%s", (int)(line - whole), whole, NONSENSE[i], strchr(line, '\n'));
        write_file(path, text, (size_t)n);
        assert_int_equal(cost_read(path, &cost), ERR_FORMAT);
    }
    text[0] = 'O';
    write_file(path, text, strlen(text));
    assert_int_equal(cost_read(path, &cost), ERR_FORMAT);
    assert_int_equal(cost_read(test_path("absent"), &cost), ERR_IO);
    bytes_free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit), cmocka_unit_test(test_fit_of_noise), cmocka_unit_test(test_zeros), cmocka_unit_test(test_near), cmocka_unit_test(test_file),
        cmocka_unit_test(test_hostile_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
