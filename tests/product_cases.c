#include "tests/product_cases.h"
#include "tests/cmocka.h"
#include <math.h>
#include <string.h>

static size_t taps_of(const MultiplyShape *s)
{
    return (size_t)(s->window.kernel[0] * s->window.kernel[1]);
}

void product_make(ProductCase *c, Variant v, int threads, Random *r)
{
    bool tokens = variant_is_tokens(v);
    MultiplyShape *s = &c->shape;
    Packed *p = &c->tokens.packed;
    Weights *w = tokens ? &p->weights : &s->weights;
    size_t k = (size_t)(tokens ? p->k : s->k), rows = (size_t)w->rows * (size_t)(tokens ? 1 : s->groups);
    size_t outputs = rows * (size_t)(tokens ? c->tokens.tokens : s->batch * s->columns);
    size_t inputs = tokens ? (size_t)c->tokens.tokens * k : (size_t)(s->batch * s->groups) * (k / taps_of(s)) * s->window.plane;
    c->w = guard_floats(rows * k, variant_is_winograd(v) ? 10 : random_below(r, 11), r);
    c->x = guard_floats(inputs, 10, r);
    c->bias = guard_floats(rows, 10, r);
    c->residual = guard_floats(outputs, 10, r);
    c->y = guard_new(outputs * sizeof(float), 0);
    w->w = c->w.data;
    p->kernels = kernels_best();
    p->threads = threads;
    trial_plan(&(Product) { s, &c->tokens, p->kernels, threads }, v, &c->trial);
    c->packed = guard_new(c->trial.bytes, 0);
    c->scratch = guard_new(c->trial.scratch, 0);
    trial_pack(&c->trial, c->packed.data);
    c->run = (MultiplyRun) { .x = c->x.data, .bias = random_between(r, 0, 3) ? c->bias.data : NULL, .y = c->y.data, .scratch = c->scratch.data,
                             .residual = !tokens && random_between(r, 0, 1) ? c->residual.data : NULL,
                             .lo = random_between(r, 0, 1) ? -INFINITY : -0.25f, .hi = random_between(r, 0, 1) ? INFINITY : 0.5f };
}

void product_free(ProductCase *c)
{
    Guard *all[] = { &c->w, &c->x, &c->bias, &c->residual, &c->y, &c->packed, &c->scratch };
    for (int i = 0; i < 7; i++)
        guard_free(all[i]);
}

/* Row k of X in column n of an image. */
static float input_at(const MultiplyShape *s, const float *image, int k, int64_t n)
{
    const PanelWindow *g = &s->window;
    int taps = (int)taps_of(s), tap = k % taps;
    int64_t iy = n / g->out[1] * g->stride[0] + tap / g->kernel[1] * g->dilation[0] - g->pad[0];
    int64_t ix = n % g->out[1] * g->stride[1] + tap % g->kernel[1] * g->dilation[1] - g->pad[1];
    return iy < 0 || ix < 0 || iy >= g->in[0] || ix >= g->in[1] ? 0 : image[(size_t)(k / taps) * g->plane + (size_t)(iy * g->in[1] + ix)];
}

/* A token counts as an image of one column. */
double product_exact(const ProductCase *c, size_t at, double *size)
{
    const MultiplyShape *s = &c->shape;
    bool tokens = variant_is_tokens(c->trial.variant);
    const Weights *w = tokens ? &c->tokens.packed.weights : &s->weights;
    int k = tokens ? c->tokens.packed.k : s->k;
    size_t rows = (size_t)w->rows, columns = tokens ? 1 : (size_t)s->columns, image = at / columns / rows;
    size_t row = (tokens ? 0 : image % (size_t)s->groups * rows) + at / columns % rows;
    const float *x = (float *)c->x.data + image * (tokens ? (size_t)k : (size_t)k / taps_of(s) * s->window.plane);
    double sum = (double)(c->run.bias ? c->run.bias[row] : 0) + (double)(c->run.residual ? c->run.residual[at] : 0);
    *size = 4;
    for (int i = 0; i < k; i++) {
        double term = (double)w->w[row * w->row + (size_t)i * w->column] * (double)(tokens ? x[i] : input_at(s, x, i, (int64_t)(at % columns)));
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

double product_error(const ProductCase *c, double size)
{
    return ((variant_is_tokens(c->trial.variant) ? c->tokens.packed.k : c->shape.k) + 4) * 0x1p-23 * size;
}

/* Elements here and there, fewer of large results. */
static void check(const ProductTest *t, const ProductCase *c, Random *r)
{
    size_t n = c->y.bytes / sizeof(float);
    int step = n > 100000 ? 97 : 5;
    for (size_t at = random_below(r, (uint32_t)step); at < n; at += (size_t)random_between(r, 1, 2 * step - 1)) {
        double size, wanted = fmin(fmax(product_exact(c, at, &size), (double)c->run.lo), (double)c->run.hi);
        assert_true(fabs((double)c->run.y[at] - wanted) <= t->error(c, size));
    }
}

static Variant draw_variant(const ProductTest *t, Random *r)
{
    return (Variant)random_between(r, (int)t->first, (int)t->last);
}

Random random_of(uint64_t seed)
{
    return (Random) { seed * 0x9e3779b97f4a7c15ull };
}

void product_test_random(const ProductTest *t, int rounds)
{
    for (uint64_t seed = 1; seed <= (uint64_t)rounds; seed++) {
        Random r = random_of(seed);
        ProductCase c = { 0 };
        t->draw(&c, &r);
        product_make(&c, draw_variant(t, &r), random_between(&r, 1, 3), &r);
        trial_run(&c.trial, &c.run);
        check(t, &c, &r);
        product_free(&c);
    }
}

void product_test_in_place(const ProductTest *t, int rounds)
{
    for (uint64_t seed = 1; seed <= (uint64_t)rounds; seed++) {
        Random r = random_of(seed);
        ProductCase c = { 0 };
        t->draw(&c, &r);
        product_make(&c, draw_variant(t, &r), 2, &r);
        memcpy(c.y.data, c.residual.data, c.y.bytes);
        c.run.residual = c.residual.data;
        MultiplyRun in_place = c.run;
        in_place.residual = in_place.y;
        trial_run(&c.trial, &in_place);
        check(t, &c, &r);
        product_free(&c);
    }
}

void assert_threads_agree(Guard (*result)(const void *user, int threads, uint64_t seed), const void *user, int rounds)
{
    for (uint64_t seed = 1; seed <= (uint64_t)rounds; seed++) {
        Guard one = result(user, 1, seed), five = result(user, 5, seed);
        assert_int_equal(one.bytes, five.bytes);
        assert_memory_equal(one.data, five.data, one.bytes);
        guard_free(&one);
        guard_free(&five);
    }
}

static Guard product_result(const void *user, int threads, uint64_t seed)
{
    const ProductTest *t = user;
    Random r = random_of(seed);
    ProductCase c = { 0 };
    t->draw(&c, &r);
    product_make(&c, draw_variant(t, &r), threads, &r);
    trial_run(&c.trial, &c.run);
    Guard y = guard_copy(&c.y);
    product_free(&c);
    return y;
}

void product_test_threads(const ProductTest *t, int rounds)
{
    assert_threads_agree(product_result, t, rounds);
}
