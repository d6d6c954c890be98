#include "tests/winograd_cases.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include <math.h>
#include <string.h>

static void free_all(Guard *const *guard, int n)
{
    for (int i = 0; i < n; i++)
        guard_free(guard[i]);
}

static void assert_close(const Guard *a, const Guard *b, double error)
{
    const float *x = a->data, *y = b->data;
    for (size_t i = 0; i < a->bytes / sizeof(float); i++)
        assert_true(fabs((double)x[i] - (double)y[i]) <= error || memcmp(x + i, y + i, sizeof *x) == 0);     /* equal: also what nobody wrote */
}

void compare_interleave(const Kernels *scalar, const Kernels *level, Random *r)
{
    int step = random_between(r, 1, 2), rows = random_between(r, 1, WINOGRAD_LANES), columns = random_between(r, 1, 50);
    size_t ldx = (size_t)random_between(r, columns * step, 110), floats = (size_t)columns * WINOGRAD_LANES;
    Guard x = guard_floats((size_t)(rows - 1) * ldx + (size_t)(columns * step - step + 1), 10, r), a = guard_new(floats * 4, 0), b = guard_new(floats * 4, 0);
    const float *row[WINOGRAD_LANES] = { 0 };
    for (int l = 0; l < rows; l++)
        if (random_between(r, 0, 4))
            row[random_between(r, 0, 3) ? l : WINOGRAD_LANES - 1 - l] = (float *)x.data + (size_t)l * ldx;
    level->interleave_f32(row, step, columns, a.data);
    scalar->interleave_f32(row, step, columns, b.data);
    assert_memory_equal(a.data, b.data, floats * 4);
    free_all((Guard *[]) { &x, &a, &b }, 3);
}

static WinogradTiles draw_tiles(Random *r)
{
    static const int FORM[][2] = { { 2, 3 }, { 4, 2 }, { 4, 3 }, { 4, 4 } };
    const int *form = FORM[random_between(r, 0, 3)];
    WinogradTiles t = { .m = form[0], .r = form[1], .tiles = random_between(r, 1, 10), .step = 1 };
    t.rows = random_between(r, 1, t.m);
    t.columns = (t.tiles - 1) * t.m + random_between(r, 1, t.m);
    t.pitch = (size_t)random_between(r, WINOGRAD_LANES, 40);
    t.position = (size_t)t.tiles * t.pitch + (size_t)random_between(r, 0, 3);
    return t;
}

static size_t position_floats(const WinogradTiles *t)
{
    const int a = t->m + t->r - 1;
    return (size_t)(a * a - 1) * t->position + (size_t)(t->tiles - 1) * t->pitch + WINOGRAD_LANES;
}

/* Inputs are below 1, rows of B' sum up to at most 9, and twice 5 roundings are made. */
void compare_winograd_input(const Kernels *scalar, const Kernels *level, Random *r)
{
    WinogradTiles t = draw_tiles(r);
    t.step = random_between(r, 1, 2);
    size_t width = (size_t)(((t.tiles * t.m + t.r - 2) * t.step + 1) * WINOGRAD_LANES);
    t.row = width + (size_t)random_between(r, 0, 5);
    Guard x = guard_floats((size_t)(t.m + t.r - 2) * t.row + width, 10, r), a = guard_new(position_floats(&t) * 4, 0), b = guard_new(position_floats(&t) * 4, 0);
    level->winograd_input_f32(&t, x.data, a.data);
    scalar->winograd_input_f32(&t, x.data, b.data);
    assert_close(&a, &b, 2 * 10 * 0x1p-24 * 9 * 9);
    free_all((Guard *[]) { &x, &a, &b }, 3);
}

/* Rows of A' sum up to at most 13.1. */
void compare_winograd_output(const Kernels *scalar, const Kernels *level, Random *r)
{
    WinogradTiles t = draw_tiles(r);
    t.row = (size_t)(t.columns * WINOGRAD_LANES + random_between(r, 0, 5));
    size_t floats = (size_t)(t.rows - 1) * t.row + (size_t)(t.columns * WINOGRAD_LANES);
    Guard x = guard_floats(position_floats(&t), 10, r), a = guard_new(floats * 4, 0), b = guard_new(floats * 4, 0);
    level->winograd_output_f32(&t, x.data, a.data);
    scalar->winograd_output_f32(&t, x.data, b.data);
    assert_close(&a, &b, 2 * 10 * 0x1p-24 * 13.1 * 13.1);
    free_all((Guard *[]) { &x, &a, &b }, 3);
}

void compare_winograd_product(const Kernels *scalar, const Kernels *level, Random *r)
{
    WinogradProduct p = { .rows = random_between(r, 1, 40), .k = random_between(r, 1, 60), .outputs = random_between(r, 1, WINOGRAD_PANEL) };
    p.ld = (size_t)random_between(r, p.k, 70);
    size_t floats = (size_t)(p.rows * WINOGRAD_PANEL);
    Guard v = guard_floats((size_t)(p.rows - 1) * p.ld + (size_t)p.k, 10, r), u = guard_floats((size_t)(p.k * WINOGRAD_PANEL), 10, r);
    Guard a = guard_new(floats * 4, 0), b = guard_new(floats * 4, 0);
    p.v = v.data;
    p.u = u.data;
    p.y = a.data;
    level->winograd_product_f32(&p);
    p.y = b.data;
    scalar->winograd_product_f32(&p);
    for (int i = 0; i < p.rows; i++)                           /* what lies beyond does not count */
        memset((float *)a.data + i * WINOGRAD_PANEL + p.outputs, 0xa5, (size_t)(WINOGRAD_PANEL - p.outputs) * sizeof(float));
    assert_close(&a, &b, 2 * p.k * 0x1p-24 * p.k);
    free_all((Guard *[]) { &v, &u, &a, &b }, 4);
}

void compare_winograd_finish(const Kernels *scalar, const Kernels *level, Random *r)
{
    int rows = random_between(r, 1, WINOGRAD_LANES), columns = random_between(r, 1, 90);
    size_t ld = (size_t)random_between(r, columns, 100), floats = (size_t)(rows - 1) * ld + (size_t)columns, residual_ld = (size_t)random_between(r, columns, 100);
    Guard x = guard_floats((size_t)columns * WINOGRAD_LANES, 10, r), bias = guard_floats((size_t)rows, 10, r);
    Guard residual = guard_floats((size_t)(rows - 1) * residual_ld + (size_t)columns, 10, r), a = guard_new(floats * 4, 0), b = guard_new(floats * 4, 0);
    PanelOutput o = { .columns = columns, .bias = random_between(r, 0, 3) ? bias.data : NULL, .residual = random_between(r, 0, 1) ? residual.data : NULL,
                      .residual_ld = residual_ld, .ld = ld, .lo = random_between(r, 0, 1) ? -INFINITY : -0.5f, .hi = random_between(r, 0, 1) ? INFINITY : 0.75f };
    ((float *)x.data)[random_below(r, (uint32_t)(columns * WINOGRAD_LANES))] = NAN;
    o.y = a.data;
    level->winograd_finish_f32(x.data, rows, &o);
    o.y = b.data;
    scalar->winograd_finish_f32(x.data, rows, &o);
    assert_memory_equal(a.data, b.data, floats * 4);
    free_all((Guard *[]) { &x, &bias, &residual, &a, &b }, 5);
}
