/* Every kernel of every level that this machine runs, against the scalar level, on random sizes and contents with guarded buffers. A failure prints level,
 * case and seed; ONESHOT_SEED=<seed> repeats it. */
#include "tests/cmocka.h"
#include "tests/kernel_cases.h"
#include "tests/panel_cases.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 400 };

/* What runs right now; empty between comparisons, so that the teardown knows what failed. */
static char running[128];

static int tell_failure(void **state)
{
    (void)state;
    if (running[0])
        print_message("failed: %s\n", running);
    return 0;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("ONESHOT_SEED");
    return text ? strtoull(text, NULL, 10) : 1;
}

static void test_every_level(void **state)
{
    (void)state;
    Kernels scalar = { 0 };
    kernels_fill(&scalar, 0);
    for (int level = 0; level < kernels_levels(); level++) {
        Kernels k = { 0 };
        kernels_fill(&k, level);
        for (int i = 0; i < kernel_case_count; i++)
            for (uint64_t seed = first_seed(); seed < first_seed() + ROUNDS; seed++) {
                snprintf(running, sizeof running, "level %s, entry %s, ONESHOT_SEED=%llu", kernels_isa(level), kernel_cases[i].name, (unsigned long long)seed);
                kernel_cases[i].compare(&scalar, &k, &(Random) { seed * 0x9e3779b97f4a7c15ull });
                running[0] = 0;
            }
    }
}

static void test_long_sums(void **state)
{
    (void)state;
    for (int level = 0; level < kernels_levels(); level++) {
        Kernels k = { 0 };
        kernels_fill(&k, level);
        check_long_sums(&k);
    }
}

static void test_table_is_complete(void **state)
{
    (void)state;
    for (int level = 0; level < kernels_levels(); level++) {
        Kernels k = { 0 };
        kernels_fill(&k, level);
        assert_string_equal(k.isa, kernels_isa(level));
        for (int i = 0; i < kernel_case_count; i++) {
            void (*entry)(void);
            memcpy(&entry, (char *)&k + kernel_cases[i].field, sizeof entry);
            assert_true(entry != NULL);
            for (int j = 0; j < i; j++)
                assert_int_not_equal(kernel_cases[i].field, kernel_cases[j].field);
        }
    }
}

static void test_few_bytes(void **state)
{
    (void)state;
    check_few_bytes();
}

static void test_best(void **state)
{
    (void)state;
    const char *wanted = getenv("ONESHOT_ISA");
    const Kernels *best = kernels_best();
    if (!wanted || !*wanted) {
        assert_string_equal(best->isa, kernels_isa(kernels_levels() - 1));
        return;
    }
    bool known = false;
    for (int level = 0; level < kernels_levels(); level++)
        known |= strcmp(kernels_isa(level), wanted) == 0;
    assert_int_equal(best != NULL, known);
    if (best)
        assert_string_equal(best->isa, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test_teardown(test_every_level, tell_failure),
        cmocka_unit_test(test_few_bytes),
        cmocka_unit_test(test_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
