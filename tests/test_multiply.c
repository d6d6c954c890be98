/* Products over panels, parts, groups and threads against sums in double. */
#include "engine/multiply.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include "tests/panel_cases.h"
#include <math.h>
#include <string.h>

enum { ROUNDS = 250 };

typedef struct Case {
    MultiplyShape shape;
    Multiply m;
    MultiplyRun run;
    Guard w, x, bias, residual, y, packed, scratch;
} Case;

static void draw_shape(MultiplyShape *s, Random *r)
{
    s->window = draw_window(r);
    s->window.plane = (size_t)(s->window.in[0] * s->window.in[1]);
    s->batch = random_between(r, 1, 2);
    s->groups = random_between(r, 0, 2) ? 1 : random_between(r, 2, 3);
    s->k = random_between(r, 1, random_between(r, 0, 2) ? 12 : 80) * s->window.kernel[0] * s->window.kernel[1];
    s->columns = s->window.out[0] * s->window.out[1];
    s->weights = (Weights) { NULL, (size_t)s->k, 1, random_between(r, 1, random_between(r, 0, 2) ? 20 : 150) };
}

static size_t input_count(const MultiplyShape *s)
{
    return (size_t)s->batch * (size_t)s->groups * (size_t)(s->k / (s->window.kernel[0] * s->window.kernel[1])) * s->window.plane;
}

static void make_case(Case *c, int threads, MultiplyChoice choice, Random *r)
{
    MultiplyShape *s = &c->shape;
    size_t rows = (size_t)s->groups * (size_t)s->weights.rows, outputs = (size_t)s->batch * rows * (size_t)s->columns;
    c->w = guard_floats(rows * (size_t)s->k, random_below(r, 11), r);
    c->x = guard_floats(input_count(s), 10, r);
    c->bias = guard_floats(rows, 10, r);
    c->residual = guard_floats(outputs, 10, r);
    c->y = guard_new(outputs * sizeof(float), 0);
    s->weights.w = c->w.data;
    multiply_plan(s, kernels_best(), threads, choice, &c->m);
    c->packed = guard_new(c->m.packed.bytes, 0);
    c->scratch = guard_new(c->m.scratch, 0);
    packed_fill(&c->m.packed, c->packed.data);
    c->run = (MultiplyRun) { .x = c->x.data, .bias = random_between(r, 0, 3) ? c->bias.data : NULL, .residual = random_between(r, 0, 1) ? c->residual.data : NULL,
                             .y = c->y.data, .lo = random_between(r, 0, 1) ? -INFINITY : -0.25f, .hi = random_between(r, 0, 1) ? INFINITY : 0.5f,
                             .scratch = c->scratch.data };
}

static void free_case(Case *c)
{
    Guard *all[] = { &c->w, &c->x, &c->bias, &c->residual, &c->y, &c->packed, &c->scratch };
    for (int i = 0; i < 7; i++)
        guard_free(all[i]);
}

static float input_at(const MultiplyShape *s, const float *x, int k, int64_t n)
{
    const PanelWindow *g = &s->window;
    int taps = g->kernel[0] * g->kernel[1], tap = k % taps;
    int64_t iy = n / g->out[1] * g->stride[0] + tap / g->kernel[1] * g->dilation[0] - g->pad[0];
    int64_t ix = n % g->out[1] * g->stride[1] + tap % g->kernel[1] * g->dilation[1] - g->pad[1];
    return iy < 0 || ix < 0 || iy >= g->in[0] || ix >= g->in[1] ? 0 : x[(size_t)(k / taps) * g->plane + (size_t)(iy * g->in[1] + ix)];
}

/* Element n of row m (of a group) of group `group` of all images. */
static void check_element(const Case *c, int group, int m, int64_t n)
{
    const MultiplyShape *s = &c->shape;
    size_t row = (size_t)(group % s->groups * s->weights.rows + m), at = ((size_t)group * (size_t)s->weights.rows + (size_t)m) * (size_t)s->columns + (size_t)n;
    const float *w = (float *)c->w.data + row * (size_t)s->k;
    const float *x = (float *)c->x.data + (size_t)group * (size_t)(s->k / (s->window.kernel[0] * s->window.kernel[1])) * s->window.plane;
    double sum = (c->run.bias ? c->run.bias[row] : 0) + (c->run.residual ? c->run.residual[at] : 0), size = 4;
    for (int k = 0; k < s->k; k++) {
        double term = (double)w[k] * input_at(s, x, k, n);
        sum += term;
        size += fabs(term);
    }
    sum = fmin(fmax(sum, c->run.lo), c->run.hi);
    assert_true(fabs(((float *)c->y.data)[at] - sum) <= (s->k + 4) * 0x1p-23 * size);
}

static void check(const Case *c, Random *r)
{
    const MultiplyShape *s = &c->shape;
    for (int group = 0; group < s->batch * s->groups; group++)
        for (int m = 0; m < s->weights.rows; m++)
            for (int64_t n = random_between(r, 0, 6); n < s->columns; n += 7)
                check_element(c, group, m, n);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        Random r = { seed * 0x9e3779b97f4a7c15ull };
        Case c = { 0 };
        draw_shape(&c.shape, &r);
        make_case(&c, random_between(&r, 1, 3), (MultiplyChoice)random_between(&r, 0, 2), &r);
        multiply_run(&c.m, &c.run);
        check(&c, &r);
        free_case(&c);
    }
}

/* Residual and result in one place, as after memory planning. */
static void test_in_place(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        Random r = { seed * 0x9e3779b97f4a7c15ull };
        Case c = { 0 };
        draw_shape(&c.shape, &r);
        make_case(&c, 2, seed % 2 ? MULTIPLY_DENSE : MULTIPLY_SPARSE, &r);
        memcpy(c.y.data, c.residual.data, c.y.bytes);
        c.run.residual = c.residual.data;
        MultiplyRun in_place = c.run;
        in_place.residual = in_place.y;
        multiply_run(&c.m, &in_place);
        check(&c, &r);
        free_case(&c);
    }
}

static void test_threads_agree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        Guard y[2];
        for (int i = 0; i < 2; i++) {
            Random r = { seed * 0x9e3779b97f4a7c15ull };
            Case c = { 0 };
            draw_shape(&c.shape, &r);
            make_case(&c, i ? 5 : 1, seed % 2 ? MULTIPLY_DENSE : MULTIPLY_SPARSE, &r);
            multiply_run(&c.m, &c.run);
            y[i] = guard_new(c.y.bytes, 0);
            memcpy(y[i].data, c.y.data, c.y.bytes);
            free_case(&c);
        }
        assert_memory_equal(y[0].data, y[1].data, y[0].bytes);
        guard_free(&y[0]);
        guard_free(&y[1]);
    }
}

static void test_choice(void **state)
{
    (void)state;
    for (int zeros = 0; zeros <= 10; zeros++) {
        float w[100 * 10];
        for (int i = 0; i < 1000; i++)
            w[i] = i % 10 < zeros ? 0 : 1;
        MultiplyShape s = { .window = { 10, 0, { 1, 10 }, { 1, 10 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0 } }, .batch = 1, .groups = 1, .k = 10, .columns = 10,
                            .weights = { w, 10, 1, 100 } };
        Multiply m;
        multiply_plan(&s, kernels_best(), 1, MULTIPLY_AUTO, &m);
        if (zeros <= 3 || zeros >= 5)
            assert_int_equal(m.packed.form, zeros >= 5 ? MULTIPLY_SPARSE : MULTIPLY_DENSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
