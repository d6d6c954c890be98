/* Products of two activations, in both orientations of their operands, against sums in double. */
#include "engine/matmul.h"
#include "tests/cmocka.h"
#include "tests/product_cases.h"
#include <math.h>

typedef struct Case {
    Matmul p;
    MatmulRun run;
    int64_t at[2][4];
    Guard a, b, y, scratch;
} Case;

static void make_case(Case *c, int threads, Random *r)
{
    bool ta = random_between(r, 0, 1), tb = random_between(r, 0, 1);
    int m = random_between(r, 1, random_between(r, 0, 3) ? 30 : 250), n = random_between(r, 1, 120), k = random_between(r, 1, random_between(r, 0, 9) ? 70 : 1500);
    size_t gap[2] = { (size_t)random_between(r, 0, 9), (size_t)random_between(r, 0, 9) };
    c->p = (Matmul) { kernels_best(), m, n, k, 1, 1, 1, 1, (size_t)(n + random_between(r, 0, 5)) };
    *(ta ? &c->p.a_column : &c->p.a_row) = (size_t)(ta ? m : k) + gap[0];
    *(tb ? &c->p.b_column : &c->p.b_row) = (size_t)(tb ? k : n) + gap[1];
    size_t size_a = (size_t)(m - 1) * c->p.a_row + (size_t)(k - 1) * c->p.a_column + 1, size_b = (size_t)(k - 1) * c->p.b_row + (size_t)(n - 1) * c->p.b_column + 1;
    int64_t count = random_between(r, 1, 4), last[2] = { 0, 0 };
    for (int i = 0; i < 2; i++)
        for (int64_t j = 0; j < count; j++) {
            c->at[i][j] = random_between(r, 0, 50);
            last[i] = c->at[i][j] > last[i] ? c->at[i][j] : last[i];
        }
    c->a = guard_floats(size_a + (size_t)last[0], 10, r);
    c->b = guard_floats(size_b + (size_t)last[1], 10, r);
    c->run = (MatmulRun) { .a = c->a.data, .b = c->b.data, .count = count, .at_a = c->at[0], .at_b = c->at[1], .y_step = (size_t)m * c->p.ldy, .threads = threads };
    c->y = guard_new(((size_t)count * c->run.y_step - (c->p.ldy - (size_t)n)) * sizeof(float), 0);
    c->scratch = guard_new((size_t)threads * matmul_scratch(&c->p) * sizeof(float), 0);
    c->run.y = c->y.data;
    c->run.scratch = c->scratch.data;
}

static void free_case(Case *c)
{
    guard_free(&c->a);
    guard_free(&c->b);
    guard_free(&c->y);
    guard_free(&c->scratch);
}

static void check(const Case *c, Random *r)
{
    const Matmul *p = &c->p;
    for (int64_t product = 0; product < c->run.count; product++)
        for (int i = random_between(r, 0, 2); i < p->m; i += 3)
            for (int j = random_between(r, 0, 4); j < p->n; j += 5) {
                const float *a = c->run.a + c->at[0][product] + (size_t)i * p->a_row, *b = c->run.b + c->at[1][product] + (size_t)j * p->b_column;
                double sum = 0, size = 0;
                for (int k = 0; k < p->k; k++) {
                    double term = (double)a[(size_t)k * p->a_column] * b[(size_t)k * p->b_row];
                    sum += term;
                    size += fabs(term);
                }
                assert_true(fabs(c->run.y[(size_t)product * c->run.y_step + (size_t)i * p->ldy + (size_t)j] - sum) <= (p->k + 4) * 0x1p-23 * size);
            }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Random r = random_of(seed);
        Case c = { 0 };
        make_case(&c, random_between(&r, 1, 3), &r);
        matmul_run(&c.p, &c.run);
        check(&c, &r);
        free_case(&c);
    }
}

static Guard result(const void *user, int threads, uint64_t seed)
{
    Random r = random_of(seed);
    Case c = { 0 };
    (void)user;
    make_case(&c, threads, &r);
    matmul_run(&c.p, &c.run);
    Guard y = guard_copy(&c.y);
    free_case(&c);
    return y;
}

static void test_threads_agree(void **state)
{
    (void)state;
    assert_threads_agree(result, NULL, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
