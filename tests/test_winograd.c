/* Winograd convolutions against sums in double, on random shapes, and how far they are from the direct product. */
#include "tests/cmocka.h"
#include "tests/product_cases.h"
#include <math.h>

static void draw_columns(ProductCase *c, int kernel, int stride, Random *r)
{
    MultiplyShape *s = &c->shape;
    PanelWindow *g = &s->window;
    for (int i = 0; i < 2; i++) {
        g->kernel[i] = kernel;
        g->stride[i] = stride;
        g->dilation[i] = 1;
        g->pad[i] = random_between(r, 0, kernel - 1);
        g->in[i] = random_between(r, kernel, random_between(r, 0, 9) ? 20 : 260);
        g->out[i] = (g->in[i] + g->pad[i] + random_between(r, 0, kernel - 1) - kernel) / stride + 1;
    }
    g->plane = (size_t)(g->in[0] * g->in[1]);
    s->batch = random_between(r, 1, 4);
    s->groups = random_between(r, 0, 2) ? 1 : random_between(r, 2, 3);
    s->k = random_between(r, 1, random_between(r, 0, 1) ? 20 : 60) * kernel * kernel;
    s->columns = (int64_t)g->out[0] * g->out[1];
    s->weights = (Weights) { NULL, (size_t)s->k, 1, random_between(r, 1, random_between(r, 0, 1) ? 20 : 70) };
}

static void draw_3x3(ProductCase *c, Random *r)
{
    draw_columns(c, 3, 1, r);
}

/* All kernels and strides that F(4 x 4) has a form for. */
static void draw_4(ProductCase *c, Random *r)
{
    int stride = random_between(r, 1, 2);
    draw_columns(c, random_between(r, stride + 1, 4 * stride), stride, r);
}

static double error(const ProductCase *c, double size)
{
    const Winograd *w = &c->trial.columns.winograd;
    double growth = winograd_growth(w->form.m, w->form.r);
    (void)size;
    return (w->channels + 30) * 0x1p-24 * w->channels * growth + 4 * 0x1p-24;
}

static const ProductTest TESTS[] = { { draw_3x3, VARIANT_WINOGRAD_2, VARIANT_WINOGRAD_4, error }, { draw_4, VARIANT_WINOGRAD_4, VARIANT_WINOGRAD_4, error } };
enum { N_TEST = sizeof TESTS / sizeof *TESTS };

static void test_random(void **state)
{
    (void)state;
    for (int i = 0; i < N_TEST; i++)
        product_test_random(&TESTS[i], 200);
}

static void test_in_place(void **state)
{
    (void)state;
    for (int i = 0; i < N_TEST; i++)
        product_test_in_place(&TESTS[i], 20);
}

static void test_threads_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_TEST; i++)
        product_test_threads(&TESTS[i], 40);
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
    for (Variant v = VARIANT_WINOGRAD_2; v <= VARIANT_WINOGRAD_4; v++) {
        ProductCase c = { .shape = square_shape(128, 16, 12) };
        product_make(&c, v, 1, &r);
        c.run.bias = c.run.residual = NULL;
        c.run.lo = -INFINITY;
        c.run.hi = INFINITY;
        trial_run(&c.trial, &c.run);
        double largest = 0, worst = 0;
        for (size_t i = 0; i < 16 * 144; i++) {
            double size, wanted = product_exact(&c, i, &size);
            largest = fmax(largest, fabs(wanted));
            worst = fmax(worst, fabs((double)c.run.y[i] - wanted));
        }
        assert_true(worst <= (v == VARIANT_WINOGRAD_2 ? 1e-6 : 3e-6) * largest);
        product_free(&c);
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

/* Of stride 2: many taps or many channels. */
static void test_choice_of_strided(void **state)
{
    static const struct { int kernel, channels, outputs, size, choice; } CASES[] = {
        { 7, 3, 64, 112, 4 }, { 6, 3, 32, 320, 4 }, { 3, 64, 128, 40, 4 }, { 3, 3, 16, 320, 0 }, { 9, 3, 64, 112, 0 }, { 1, 64, 64, 56, 0 }, { 2, 64, 64, 56, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        MultiplyShape s = square_shape(1, CASES[i].outputs, CASES[i].size);
        for (int axis = 0; axis < 2; axis++) {
            s.window.in[axis] *= 2;
            s.window.stride[axis] = 2;
            s.window.kernel[axis] = CASES[i].kernel;
        }
        s.k = CASES[i].channels * CASES[i].kernel * CASES[i].kernel;
        assert_int_equal(winograd_choose(&s), CASES[i].choice);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_usual_error),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_choice_of_strided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
