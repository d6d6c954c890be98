/* Products over panels, parts, groups and threads against sums in double. */
#include "tests/cmocka.h"
#include "tests/panel_cases.h"
#include "tests/product_cases.h"
#include <string.h>

static void draw_columns(ProductCase *c, Random *r)
{
    MultiplyShape *s = &c->shape;
    s->window = draw_window(r);
    s->window.plane = (size_t)(s->window.in[0] * s->window.in[1]);
    s->batch = random_between(r, 1, 2);
    s->groups = random_between(r, 0, 2) ? 1 : random_between(r, 2, 3);
    s->k = random_between(r, 1, random_between(r, 0, 2) ? 12 : 80) * s->window.kernel[0] * s->window.kernel[1];
    s->columns = s->window.out[0] * s->window.out[1];
    s->weights = (Weights) { NULL, (size_t)s->k, 1, random_between(r, 1, random_between(r, 0, 2) ? 20 : 150) };
}

/* Few channels, rows of whole vectors: no panels are packed where a few rows of the output fit. */
static void draw_phases(ProductCase *c, Random *r)
{
    draw_columns(c, r);
    MultiplyShape *s = &c->shape;
    PanelWindow *g = &s->window;
    g->stride[0] = random_between(r, 1, 3);
    g->stride[1] = random_between(r, 1, 2);
    g->kernel[1] = random_between(r, 2, 4);
    for (int i = 0, pads; i < 2; i++) {
        int reach = (g->kernel[i] - 1) * g->dilation[i] + 1;
        g->out[i] = i ? PANEL_VECTOR * random_between(r, 1, 4) : random_between(r, 1, 40);
        g->pad[i] = random_between(r, 0, reach - 1);
        pads = g->pad[i] + random_between(r, 0, g->pad[i]);
        g->in[i] = (g->out[i] - 1) * g->stride[i] + random_between(r, 0, g->stride[i] - 1) + reach - pads;
        if (g->in[i] < 1) g->in[i] = 1;
    }
    g->plane = (size_t)(g->in[0] * g->in[1]);
    s->batch = g->out[0] * g->out[1] < 1024 ? 1 : s->batch;
    s->k = random_between(r, 1, random_below(r, 2) ? 4 : 40) * g->kernel[0] * g->kernel[1];
    s->columns = g->out[0] * g->out[1];
    s->weights.row = (size_t)s->k;
}

static void test_phases(void **state)
{
    (void)state;
    int held = 0, parts = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        Random r = random_of(seed);
        ProductCase c = { 0 };
        draw_phases(&c, &r);
        product_make(&c, VARIANT_DENSE, 1, &r);
        held += c.trial.columns.multiply.phases.rows > 0;
        parts += c.trial.columns.multiply.phases.rows > 0 && c.trial.columns.multiply.phases.rows < c.shape.window.out[0];
        product_free(&c);
    }
    assert_true(held >= 90 && parts >= 5);
}

static const ProductTest dense = { draw_columns, VARIANT_DENSE, VARIANT_DENSE, product_error }, phases = { draw_phases, VARIANT_DENSE, VARIANT_DENSE, product_error },
                         sparse = { draw_columns, VARIANT_SPARSE, VARIANT_SPARSE, product_error };

static void test_random(void **state)
{
    (void)state;
    product_test_random(&dense, 125);
    product_test_random(&phases, 125);
    product_test_random(&sparse, 125);
}

static void test_in_place(void **state)
{
    (void)state;
    product_test_in_place(&dense, 20);
    product_test_in_place(&sparse, 20);
}

static void test_threads_agree(void **state)
{
    (void)state;
    product_test_threads(&dense, 20);
    product_test_threads(&phases, 20);
    product_test_threads(&sparse, 20);
}

/* A part of a product is the same to the bit, wherever it is cut, and nothing beside it is written. */
static void check_area(const ProductTest *t, uint64_t seed)
{
    Random r = random_of(seed);
    ProductCase c = { 0 };
    t->draw(&c, &r);
    c.shape.batch = c.shape.groups = 1;
    product_make(&c, t->first, random_between(&r, 1, 3), &r);
    trial_run(&c.trial, &c.run);
    const Multiply *m = &c.trial.columns.multiply;
    const int64_t columns = c.shape.columns, n0 = random_between(&r, 0, (int)columns - 1), n = random_between(&r, 1, (int)(columns - n0));
    MultiplyArea a = { .n0 = n0, .n = n, .first_chunk = random_between(&r, 0, m->packed.chunks - 1), .ld = (size_t)n };
    a.chunks = random_between(&r, 1, m->packed.chunks - a.first_chunk);
    const size_t first = (size_t)(a.first_chunk * m->packed.chunk_rows), rows = (size_t)multiply_area_rows(m, &a);
    Guard y = guard_new(rows * (size_t)n * sizeof(float), 0), scratch = guard_new(multiply_area_scratch(m, a.chunks) * sizeof(float), 0);
    a.y = y.data;
    a.scratch = scratch.data;
    for (size_t i = 0; c.run.residual && i < rows; i++) memcpy(a.y + i * (size_t)n, c.run.residual + (first + i) * (size_t)columns + n0, (size_t)n * sizeof(float));
    a.residual = c.run.residual ? a.y : NULL;
    multiply_area(m, &c.run, &a);
    for (size_t i = 0; i < rows; i++) assert_memory_equal(a.y + i * (size_t)n, c.run.y + (first + i) * (size_t)columns + n0, (size_t)n * sizeof(float));
    guard_free(&y);
    guard_free(&scratch);
    product_free(&c);
}

static void test_areas(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        check_area(&dense, seed);
        check_area(&sparse, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_areas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
