/* Products of tokens with constant weights against sums in double. */
#include "engine/tokens.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include "tests/random.h"
#include <math.h>
#include <string.h>

typedef struct Case {
    Tokens t;
    MultiplyRun run;
    bool transposed;           /* w (k, features) */
    Guard w, x, bias, y, packed, scratch;
} Case;

static void make_case(Case *c, int threads, MultiplyChoice choice, Random *r)
{
    int features = random_between(r, 1, random_between(r, 0, 3) ? 70 : 500);
    Tokens *t = &c->t;
    t->tokens = random_between(r, 1, random_between(r, 0, 2) ? 20 : 200);
    t->packed.k = random_between(r, 1, random_between(r, 0, 2) ? 50 : 450);
    t->packed.kernels = kernels_best();
    t->packed.threads = threads;
    c->transposed = random_between(r, 0, 1);
    size_t tokens = (size_t)t->tokens, k = (size_t)t->packed.k;
    c->w = guard_floats((size_t)features * k, random_below(r, 11), r);
    c->x = guard_floats(tokens * k, 10, r);
    c->bias = guard_floats((size_t)features, 10, r);
    c->y = guard_new(tokens * (size_t)features * sizeof(float), 0);
    t->packed.weights = (Weights) { c->w.data, c->transposed ? 1 : k, c->transposed ? (size_t)features : 1, features };
    tokens_plan(t, choice);
    c->packed = guard_new(t->packed.bytes, 0);
    c->scratch = guard_new(t->scratch, 0);
    packed_fill(&t->packed, c->packed.data);
    c->run = (MultiplyRun) { .x = c->x.data, .bias = random_between(r, 0, 3) ? c->bias.data : NULL, .y = c->y.data, .lo = random_between(r, 0, 1) ? -INFINITY : -0.25f,
                             .hi = random_between(r, 0, 1) ? INFINITY : 0.5f, .scratch = c->scratch.data };
}

static void free_case(Case *c)
{
    Guard *all[] = { &c->w, &c->x, &c->bias, &c->y, &c->packed, &c->scratch };
    for (int i = 0; i < 6; i++)
        guard_free(all[i]);
}

static void check(const Case *c, Random *r)
{
    const Tokens *t = &c->t;
    const float *w = c->w.data, *x = c->x.data, *y = c->y.data;
    int features = t->packed.weights.rows;
    for (int64_t token = 0; token < t->tokens; token++)
        for (int f = random_between(r, 0, 4); f < features; f += 5) {
            double sum = c->run.bias ? c->run.bias[f] : 0, size = 4;
            for (int k = 0; k < t->packed.k; k++) {
                double term = (double)x[token * t->packed.k + k] * w[c->transposed ? k * features + f : f * t->packed.k + k];
                sum += term;
                size += fabs(term);
            }
            sum = fmin(fmax(sum, c->run.lo), c->run.hi);
            assert_true(fabs(y[token * features + f] - sum) <= (t->packed.k + 4) * 0x1p-23 * size);
        }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Random r = { seed * 0x9e3779b97f4a7c15ull };
        Case c = { 0 };
        make_case(&c, random_between(&r, 1, 3), (MultiplyChoice)random_between(&r, 0, 4), &r);
        tokens_run(&c.t, &c.run);
        check(&c, &r);
        free_case(&c);
    }
}

static void test_threads_agree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        Guard y[2];
        for (int i = 0; i < 2; i++) {
            Random r = { seed * 0x9e3779b97f4a7c15ull };
            Case c = { 0 };
            make_case(&c, i ? 5 : 1, (MultiplyChoice)(1 + seed % 4), &r);
            tokens_run(&c.t, &c.run);
            y[i] = guard_new(c.y.bytes, 0);
            memcpy(y[i].data, c.y.data, c.y.bytes);
            free_case(&c);
        }
        assert_memory_equal(y[0].data, y[1].data, y[0].bytes);
        guard_free(&y[0]);
        guard_free(&y[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
