/* Winograd convolutions against sums in double, on random shapes, and how far they are from the direct product. */
#include "engine/winograd.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include <math.h>
#include <string.h>

enum { ROUNDS = 200 };

typedef struct Case {
    MultiplyShape shape;
    Winograd w;
    MultiplyRun run;
    Guard weights, x, bias, residual, y, packed, scratch;
} Case;

static void draw_shape(MultiplyShape *s, Random *r)
{
    PanelWindow *g = &s->window;
    for (int i = 0; i < 2; i++) {
        g->kernel[i] = 3;
        g->stride[i] = g->dilation[i] = 1;
        g->pad[i] = random_between(r, 0, 2);
        g->in[i] = random_between(r, 3, random_between(r, 0, 9) ? 20 : 260);
        g->out[i] = g->in[i] + g->pad[i] + random_between(r, 0, 2) - 2;
    }
    g->plane = (size_t)(g->in[0] * g->in[1]);
    s->batch = random_between(r, 1, 4);
    s->groups = random_between(r, 0, 2) ? 1 : random_between(r, 2, 3);
    s->k = random_between(r, 1, random_between(r, 0, 1) ? 20 : 60) * 9;
    s->columns = (int64_t)g->out[0] * g->out[1];
    s->weights = (Weights) { NULL, (size_t)s->k, 1, random_between(r, 1, random_between(r, 0, 1) ? 20 : 70) };
}

static void make_case(Case *c, int threads, int m, Random *r)
{
    MultiplyShape *s = &c->shape;
    size_t rows = (size_t)s->groups * (size_t)s->weights.rows, outputs = (size_t)s->batch * rows * (size_t)s->columns;
    c->weights = guard_floats(rows * (size_t)s->k, 10, r);
    c->x = guard_floats((size_t)s->batch * (size_t)s->groups * (size_t)(s->k / 9) * s->window.plane, 10, r);
    c->bias = guard_floats(rows, 10, r);
    c->residual = guard_floats(outputs, 10, r);
    c->y = guard_new(outputs * sizeof(float), 0);
    s->weights.w = c->weights.data;
    winograd_plan(s, kernels_best(), threads, m, &c->w);
    c->packed = guard_new(c->w.bytes, 0);
    c->scratch = guard_new(c->w.scratch, 0);
    winograd_pack(&c->w, c->packed.data);
    c->run = (MultiplyRun) { .x = c->x.data, .bias = random_between(r, 0, 3) ? c->bias.data : NULL, .residual = random_between(r, 0, 1) ? c->residual.data : NULL,
                             .y = c->y.data, .lo = random_between(r, 0, 1) ? -INFINITY : -0.25f, .hi = random_between(r, 0, 1) ? INFINITY : 0.5f,
                             .scratch = c->scratch.data };
}

static void free_case(Case *c)
{
    Guard *all[] = { &c->weights, &c->x, &c->bias, &c->residual, &c->y, &c->packed, &c->scratch };
    for (int i = 0; i < 7; i++)
        guard_free(all[i]);
}

/* Element n of row m of group `group` of all images, before the clamp. */
static double direct(const Case *c, int group, int m, int64_t n)
{
    const MultiplyShape *s = &c->shape;
    const PanelWindow *g = &s->window;
    size_t row = (size_t)(group % s->groups * s->weights.rows + m), at = ((size_t)group * (size_t)s->weights.rows + (size_t)m) * (size_t)s->columns + (size_t)n;
    const float *w = (float *)c->weights.data + row * (size_t)s->k, *x = (float *)c->x.data + (size_t)group * (size_t)(s->k / 9) * g->plane;
    double sum = (double)(c->run.bias ? c->run.bias[row] : 0) + (double)(c->run.residual ? c->run.residual[at] : 0);
    for (int k = 0; k < s->k; k++) {
        int64_t iy = n / g->out[1] + k % 9 / 3 - g->pad[0], ix = n % g->out[1] + k % 3 - g->pad[1];
        if (iy >= 0 && ix >= 0 && iy < g->in[0] && ix < g->in[1])
            sum += (double)w[k] * (double)x[(size_t)(k / 9) * g->plane + (size_t)(iy * g->in[1] + ix)];
    }
    return sum;
}

/* Every element, or of large results a part. */
static void check(const Case *c, Random *r)
{
    const MultiplyShape *s = &c->shape;
    const float *y = c->run.y;
    int channels = s->k / 9, step = s->columns > 2000 ? 97 : 3;
    double bound = ((channels + 20) * 0x1p-24 * channels * (c->w.m == 2 ? WINOGRAD_GROWTH_2 : WINOGRAD_GROWTH_4)) + 4 * 0x1p-24;
    for (int group = 0; group < s->batch * s->groups; group++)
        for (int m = 0; m < s->weights.rows; m++)
            for (int64_t n = random_between(r, 0, step - 1); n < s->columns; n += step) {
                double wanted = fmin(fmax(direct(c, group, m, n), (double)c->run.lo), (double)c->run.hi);
                float got = y[((size_t)group * (size_t)s->weights.rows + (size_t)m) * (size_t)s->columns + (size_t)n];
                assert_true(fabs((double)got - wanted) <= bound);
            }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        Random r = { seed * 0x9e3779b97f4a7c15ull };
        Case c = { 0 };
        draw_shape(&c.shape, &r);
        make_case(&c, random_between(&r, 1, 3), random_between(&r, 0, 1) ? 2 : 4, &r);
        winograd_run(&c.w, &c.run);
        check(&c, &r);
        free_case(&c);
    }
}

/* Residual and result in one place, as after memory planning. */
static void test_in_place(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        Random r = { seed * 0x9e3779b97f4a7c15ull };
        Case c = { 0 };
        draw_shape(&c.shape, &r);
        make_case(&c, 2, 4, &r);
        memcpy(c.y.data, c.residual.data, c.y.bytes);
        c.run.residual = c.residual.data;
        MultiplyRun in_place = c.run;
        in_place.residual = in_place.y;
        winograd_run(&c.w, &in_place);
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
            make_case(&c, i ? 5 : 1, seed % 2 ? 2 : 4, &r);
            winograd_run(&c.w, &c.run);
            y[i] = guard_new(c.y.bytes, 0);
            memcpy(y[i].data, c.y.data, c.y.bytes);
            free_case(&c);
        }
        assert_memory_equal(y[0].data, y[1].data, y[0].bytes);
        guard_free(&y[0]);
        guard_free(&y[1]);
    }
}

static MultiplyShape square_shape(int channels, int outputs, int size)
{
    const PanelWindow window = { .plane = (size_t)(size * size), .in = { size, size }, .out = { size, size }, .kernel = { 3, 3 }, .stride = { 1, 1 },
                                 .dilation = { 1, 1 }, .pad = { 1, 1 } };
    return (MultiplyShape) { .window = window, .batch = 1, .groups = 1, .k = channels * 9, .columns = size * size,
                             .weights = { NULL, (size_t)(channels * 9), 1, outputs } };
}

/* The bound is for the worst case; random operands of a usual layer stay far below. */
static void test_usual_error(void **state)
{
    (void)state;
    Random r = { 7 };
    for (int m = 2; m <= 4; m += 2) {
        Case c = { .shape = square_shape(128, 16, 12) };
        make_case(&c, 1, m, &r);
        c.run = (MultiplyRun) { .x = c.x.data, .y = c.y.data, .lo = -INFINITY, .hi = INFINITY, .scratch = c.scratch.data };
        winograd_run(&c.w, &c.run);
        double largest = 0, error = 0;
        for (int i = 0; i < 16 * 144; i++) {
            double wanted = direct(&c, 0, i / 144, i % 144);
            largest = fmax(largest, fabs(wanted));
            error = fmax(error, fabs((double)c.run.y[i] - wanted));
        }
        assert_true(error <= (m == 2 ? 1e-6 : 3e-6) * largest);
        free_case(&c);
    }
}

static void test_choice(void **state)
{
    (void)state;
    MultiplyShape s = square_shape(64, 64, 56);
    assert_int_equal(winograd_choose(&s), 4);
    s.window.stride[1] = 2;
    assert_int_equal(winograd_choose(&s), 0);
    s.window.stride[1] = 1;
    s.window.dilation[0] = 2;
    assert_int_equal(winograd_choose(&s), 0);
    s.window.dilation[0] = 1;
    s.window.kernel[0] = 1;
    assert_int_equal(winograd_choose(&s), 0);
    s.window.kernel[0] = 3;
    s.k = 9;
    assert_int_equal(winograd_choose(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_usual_error),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
