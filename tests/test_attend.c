/* Attention in float32, by panels and blocks, against the same in float64, row by row. */
#include "engine/attend.h"
#include "kernels/kernels.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include <math.h>

typedef struct Case {
    Attend a[2];                   /* float32, float64 */
    Plan   plan;
    Guard  single[5], twice[5];    /* q, k, v, mask, y */
    int64_t keys[2];
    Guard  seen;
} Case;

static Guard widened(const Guard *g)
{
    size_t n = g->bytes / sizeof(float);
    Guard w = guard_new(n * sizeof(double), 0);
    for (size_t i = 0; i < n; i++) ((double *)w.data)[i] = ((float *)g->data)[i];
    return w;
}

/* Heads of rows x columns: one after the other, side by side, or turned. */
static HeadsOf draw_heads(int64_t heads, int64_t rows, int64_t columns, uint32_t kind)
{
    if (kind == 0) return (HeadsOf){ NULL, heads * rows * columns, rows * columns, columns, 1 };
    if (kind == 1) return (HeadsOf){ NULL, heads * rows * columns, columns, heads * columns, 1 };
    return (HeadsOf){ NULL, heads * rows * columns, rows * columns, 1, rows };
}

/* Which keys are seen, perhaps by all rows alike; the first always is, the last perhaps not. */
static void draw_seen(Case *c, Attend *a, Random *r)
{
    bool row = random_below(r, 2);
    Bias b = { .kind = BIAS_SEEN, .fill = -INFINITY, .stride = { row ? a->length * a->total : 0, 0, row ? a->total : 0, 1 }, .keys = a->total };
    size_t n = (size_t)(a->batch * a->length * a->total);
    c->seen = guard_new(n, 0);
    for (size_t i = 0; i < n; i++) ((uint8_t *)c->seen.data)[i] = i % (size_t)a->total == 0 || random_below(r, 4);
    if (a->total > 1 && random_below(r, 2)) b.keys = a->total - 1;
    b.data = c->seen.data;
    a->bias[random_below(r, 2)] = b;
}

static void make_case(Case *c, Random *r)
{
    int64_t kv = random_between(r, 1, 2), length = random_between(r, 1, random_between(r, 0, 2) ? 20 : 150);
    Attend a = { .dtype = DT_F32, .batch = random_between(r, 1, 2), .heads = kv * random_between(r, 1, 3), .kv_heads = kv, .length = length,
                 .total = length + random_between(r, 0, random_between(r, 0, 2) ? 20 : 300), .size = random_between(r, 1, 90), .value_size = random_between(r, 1, 130),
                 .scale = 0.3, .softcap = random_below(r, 4) ? 0 : 3, .causal = random_below(r, 3) == 0 };
    a.past = a.total - length;
    if (a.causal && random_below(r, 2)) a.window = random_between(r, 1, 30);
    a.q = draw_heads(a.heads, a.length, a.size, random_below(r, 3));
    a.k = draw_heads(a.kv_heads, a.total, a.size, random_below(r, 3));
    a.v = draw_heads(a.kv_heads, a.total, a.value_size, random_below(r, 3));
    a.y = draw_heads(a.heads, a.length, a.value_size, random_below(r, 2));
    const int64_t size[5] = { a.heads * a.length * a.size, kv * a.total * a.size, kv * a.total * a.value_size, a.length * a.total, a.heads * a.length * a.value_size };
    for (int i = 0; i < 5; i++) {
        c->single[i] = guard_floats((size_t)(a.batch * size[i]), 10, r);
        c->twice[i] = widened(&c->single[i]);
    }
    const bool one_mask = random_below(r, 2);
    c->plan.threads = (int)random_between(r, 1, 3);
    c->a[0] = c->a[1] = a;
    c->a[1].dtype = DT_F64;
    if (random_below(r, 2)) draw_seen(c, &c->a[0], r);
    for (int i = 0; i < 2; i++) c->a[1].bias[i] = c->a[0].bias[i];
    for (int i = 0; i < 2; i++) {
        Guard *g = i ? c->twice : c->single;
        HeadsOf *h[] = { &c->a[i].q, &c->a[i].k, &c->a[i].v };
        for (int k = 0; k < 3; k++) h[k]->data = g[k].data;
        c->a[i].y.data = g[4].data;
        if (!c->seen.data) c->a[i].bias[0] = (Bias){ .data = g[3].data, .stride = { a.length * a.total, 0, one_mask ? 0 : a.total, 1 }, .keys = a.total };
    }
}

static void free_case(Case *c)
{
    for (int i = 0; i < 5; i++) {
        guard_free(&c->single[i]);
        guard_free(&c->twice[i]);
    }
    if (c->seen.data) guard_free(&c->seen);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Random r = { seed * 0x9e3779b97f4a7c15ull };
        Case c = { 0 };
        make_case(&c, &r);
        for (int i = 0; i < 2; i++) {
            size_t bytes;
            assert_int_equal(attend_scratch(&c.plan, &c.a[i], &bytes), OK);
            Guard scratch = guard_new(bytes, 0);
            attend(&c.plan, &c.a[i], scratch.data);
            guard_free(&scratch);
        }
        const float *is = c.single[4].data;
        const double *wanted = c.twice[4].data;
        for (size_t i = 0; i < c.single[4].bytes / sizeof *is; i++)
            if (isnan(wanted[i]) ? !isnan(is[i]) : fabs(is[i] - wanted[i]) > 2e-5)
                fail_msg("seed %d, element %zu: %.9g instead of %.9g", (int)seed, i, (double)is[i], wanted[i]);
        free_case(&c);
    }
}

/* Panels ------------------------------------------------------------------------------------------------------------------------------------ */

enum { Q, K, V, Y, PARTS };

/* Tokens in rows of `features` into panels, or back. */
static void turn(const Guard *rows, const Guard *panels, int64_t features, int64_t panel, bool back)
{
    float *x = rows->data, *p = panels->data;
    int64_t tokens = (int64_t)(rows->bytes / sizeof *x) / features;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t f = 0; f < features; f++) {
            float *at = p + (t / panel * features + f) * panel + t % panel;
            if (back) x[t * features + f] = *at;
            else *at = x[t * features + f];
        }
}

static int64_t draw_length(int64_t batch, int64_t panel, Random *r)
{
    return batch > 1 ? panel * (int64_t)random_between(r, 1, 3) : (int64_t)random_between(r, 32, 200);
}

/* Heads in panels give what the same heads in rows do. */
static void compare_panels(Random *r, int64_t panel)
{
    int64_t batch = random_between(r, 1, 2), length = draw_length(batch, panel, r), total = draw_length(batch, panel, r), kv = random_between(r, 1, 2);
    Attend a = { .dtype = DT_F32, .batch = batch, .heads = kv * random_between(r, 1, 2), .kv_heads = kv, .length = length, .total = total,
                 .size = random_between(r, 1, 70), .value_size = random_between(r, 1, 70), .scale = 0.3 };
    const int64_t features[PARTS] = { a.heads * a.size, kv * a.size, kv * a.value_size, a.heads * a.value_size }, tokens[PARTS] = { length, total, total, length };
    Guard rows[PARTS], panels[PARTS], result, mask = guard_floats((size_t)(batch * length * total), 10, r);
    HeadsOf *h[PARTS] = { &a.q, &a.k, &a.v, &a.y };
    Plan plan = { .threads = (int)random_between(r, 1, 3) };
    size_t bytes;
    for (int i = 0; i < PARTS; i++) {
        *h[i] = draw_heads(i == Q || i == Y ? a.heads : kv, tokens[i], i < V ? a.size : a.value_size, 1);
        rows[i] = guard_floats((size_t)(batch * tokens[i] * features[i]), 10, r);
        panels[i] = guard_new((size_t)((batch * tokens[i] + panel - 1) / panel * panel * features[i]) * sizeof(float), 0);
        h[i]->data = rows[i].data;
        turn(&rows[i], &panels[i], features[i], panel, false);
    }
    int kind = (int)random_between(r, 0, 2);
    if (kind) a.bias[0] = (Bias){ .data = mask.data, .stride = { length * total, 0, kind == 2 ? total : 0, 1 }, .keys = total };
    assert_true(attend_columns_suit(&a, (int)panel));
    assert_int_equal(attend_scratch(&plan, &a, &bytes), OK);
    Guard scratch = guard_new(bytes, 0);
    attend(&plan, &a, scratch.data);
    for (int i = 0; i < PARTS; i++) h[i]->data = panels[i].data;
    a.panel = panel;
    attend(&plan, &a, scratch.data);
    result = guard_new(rows[Y].bytes, 0);
    turn(&result, &panels[Y], features[Y], panel, true);
    for (size_t i = 0; i < result.bytes / sizeof(float); i++) assert_true(fabs((double)((float *)result.data)[i] - (double)((float *)rows[Y].data)[i]) <= 2e-5);
    for (int i = 0; i < PARTS; i++) {
        guard_free(&rows[i]);
        guard_free(&panels[i]);
    }
    guard_free(&result);
    guard_free(&mask);
    guard_free(&scratch);
}

static void test_panels(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) compare_panels(&(Random){ seed * 0x9e3779b97f4a7c15ull }, kernels_best()->sizes.sparse);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_panels) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
