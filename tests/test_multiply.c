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

/* Layouts: what lies in panels or by channel gives the same to the bit. Products of one picture: `make` writes what `add` and `read` take, pixel by pixel. */
typedef struct Chain { ProductCase make, add, read; } Chain;

static void make_pixelwise(ProductCase *c, const ProductCase *before, int rows, int threads, Random *r)
{
    const MultiplyShape *s = &before->shape;
    c->shape = (MultiplyShape) { panel_matrix((int)s->columns, (size_t)s->columns), .batch = s->batch, .groups = 1, .k = s->weights.rows, .columns = s->columns };
    c->shape.weights = (Weights) { NULL, (size_t)s->weights.rows, 1, rows };
    product_make(c, VARIANT_SPARSE, threads, r);
}

/* read(add(make(x)) + make(x)), where both values between lie so. */
static Guard run_chain(const Chain *c, Layout first, Layout second)
{
    const MultiplyShape *s = &c->make.shape;
    const int64_t rows = s->weights.rows;
    Guard a = guard_new(multiply_panels_bytes(kernels_best(), rows, s->batch * s->columns), 0), b = guard_new(a.bytes, 0), y = guard_new(c->read.y.bytes, 0);
    MultiplyRun make = c->make.run, add = c->add.run, read = c->read.run;
    make.y = a.data;
    add.residual = a.data;
    make.residual = read.residual = NULL;
    make.y_lies = add.residual_lies = add.x_lies = first;
    add.x = a.data;
    add.y = b.data;
    read.x = b.data;
    add.y_lies = read.x_lies = second;
    read.y = y.data;
    trial_run(&c->make.trial, &make);
    trial_run(&c->add.trial, &add);
    trial_run(&c->read.trial, &read);
    guard_free(&a);
    guard_free(&b);
    return y;
}

static void check_chain(const Chain *c, Layout first, Layout second)
{
    Guard plain = run_chain(c, BY_IMAGE, BY_IMAGE), other = run_chain(c, first, second);
    assert_memory_equal(plain.data, other.data, plain.bytes);
    guard_free(&plain);
    guard_free(&other);
}

/* Every so many-th pixel of what `make` writes. */
static Guard run_strided(const ProductCase *make, const ProductCase *strided, Layout between)
{
    const MultiplyShape *s = &make->shape;
    Guard a = guard_new(multiply_panels_bytes(kernels_best(), s->weights.rows, s->columns), 0), y = guard_new(strided->y.bytes, 0);
    MultiplyRun first = make->run, second = strided->run;
    first.y = a.data;
    first.residual = second.residual = NULL;
    first.y_lies = second.x_lies = between;
    second.x = a.data;
    second.y = y.data;
    trial_run(&make->trial, &first);
    trial_run(&strided->trial, &second);
    guard_free(&a);
    return y;
}

static void test_strided(void **state)
{
    int in_panels = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Random r = random_of(seed);
        ProductCase make = { 0 }, strided = { 0 };
        draw_columns(&make, &r);
        make.shape.groups = make.shape.batch = 1;
        product_make(&make, VARIANT_SPARSE, random_below(&r, 5) ? 1 : 2, &r);
        MultiplyShape *s = &strided.shape;
        *s = (MultiplyShape) { .batch = 1, .groups = 1, .k = make.shape.weights.rows, .columns = 1 };
        s->window = (PanelWindow) { .plane = (size_t)make.shape.columns, .kernel = { 1, 1 }, .dilation = { 1, 1 } };
        for (int i = 0; i < 2; i++) {
            s->window.in[i] = make.shape.window.out[i];
            s->window.stride[i] = random_between(&r, 1, 3);
            s->window.out[i] = (s->window.in[i] + s->window.stride[i] - 1) / s->window.stride[i];
            if (seed % 16 == 0) s->window.out[i] += 2;         /* padding behind */
            s->columns *= s->window.out[i];
        }
        s->weights = (Weights) { NULL, (size_t)s->k, 1, random_between(&r, 1, 40) };
        product_make(&strided, VARIANT_SPARSE, make.trial.columns.multiply.packed.threads, &r);
        if (seed % 16 == 0) assert_false(multiply_reads_panels(&strided.trial.columns.multiply));
        if (multiply_reads_panels(&strided.trial.columns.multiply)) {
            Guard plain = run_strided(&make, &strided, BY_IMAGE), other = run_strided(&make, &strided, IN_PANELS);
            assert_memory_equal(plain.data, other.data, plain.bytes);
            guard_free(&plain);
            guard_free(&other);
            in_panels++;
        }
        product_free(&make);
        product_free(&strided);
    }
    assert_true(in_panels >= 100);
}

static void test_layouts(void **state)
{
    int in_panels = 0, by_channel = 0, wide = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Random r = random_of(seed);
        const int threads = random_between(&r, 1, 3);
        Chain c = { 0 };
        draw_columns(&c.make, &r);
        c.make.shape.groups = 1;
        c.make.shape.batch = random_between(&r, 1, 5);
        product_make(&c.make, VARIANT_SPARSE, threads, &r);
        make_pixelwise(&c.add, &c.make, c.make.shape.weights.rows, threads, &r);
        make_pixelwise(&c.read, &c.make, random_between(&r, 1, 40), threads, &r);
        const Multiply *m = &c.read.trial.columns.multiply;
        const bool several = m->shape.batch > 1, panels = multiply_reads_panels(m);
        assert_true(panels == multiply_writes_panels(&c.make.trial.columns.multiply));
        if (panels) check_chain(&c, IN_PANELS, IN_PANELS);
        if (panels) check_chain(&c, several ? BY_CHANNEL : BY_IMAGE, IN_PANELS);
        if (panels) check_chain(&c, IN_PANELS, several ? BY_CHANNEL : BY_IMAGE);
        if (m->together > 1) check_chain(&c, BY_CHANNEL, BY_CHANNEL);
        in_panels += panels;
        by_channel += m->together > 1;
        wide += panels && m->panels * m->packed.kernels->sizes.sparse < m->shape.columns * m->shape.batch;
        product_free(&c.make);
        product_free(&c.add);
        product_free(&c.read);
    }
    assert_true(in_panels >= 100 && by_channel >= 50 && wide >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_strided),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_areas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
