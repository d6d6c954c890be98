/* Random graphs of convolutions, products and what stands between them: the plan as it is built, fused and with sparse kernels, gives what a plan gives that
 * keeps every value and runs every product dense; so does every instruction set, each in a process of its own, with one thread and with three.
 *
 *   ONESHOT_SEED=n      another sequence of graphs; a failure prints the seed of its graph
 *   ONESHOT_GRAPHS=n    how many */
#include "engine/plan.h"
#include "kernels/kernels.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/levels.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 10, MAX_VALUES = 64, MAX_OUT = 4, GRAPHS = 60 };
static const double TOLERANCE = 2e-5;      /* of the output's largest magnitude */

/* A value: its name is its number. */
typedef struct Made { Build *b; Random r; Shape shape[MAX_VALUES]; int n; int inits; } Made;

static int between(Made *m, int low, int high) { return random_between(&m->r, low, high); }
static bool chance(Made *m, int percent) { return between(m, 0, 99) < percent; }

static const char *name_of(int value)
{
    static char text[8][16];
    static int next;
    snprintf(text[next % 8], sizeof *text, "v%d", value);
    return text[next++ % 8];
}

static const char *dims_text(const Shape *s)
{
    static char text[128];
    shape_text(s, NULL, text, sizeof text);
    for (char *c = text; *c; c++) if (*c == 'x') *c = ',';
    return text;
}

/* A constant of random numbers around `center`, a share of them zero. */
static const char *constant(Made *m, const Shape *s, float center, float width, int percent_zero)
{
    static char text[4][16];
    int64_t n;
    if (shape_count(s, &n) != OK) abort();
    float *v = malloc((size_t)n * sizeof *v + 1);
    for (int64_t i = 0; i < n; i++) v[i] = chance(m, percent_zero) ? 0 : center + width * random_float(&m->r);
    char *name = text[m->inits % 4];
    snprintf(name, sizeof *text, "c%d", m->inits++);
    build_init(m->b, name, DT_F32, dims_text(s), v);
    free(v);
    return name;
}

static int add_node(Made *m, const char *type, const char *in, const char *attributes, Shape shape)
{
    build_node(m->b, type, in, name_of(m->n), attributes);
    m->shape[m->n] = shape;
    return m->n++;
}

static int zeros(Made *m) { static const int SHARE[] = { 0, 0, 50, 80, 95, 100 }; return SHARE[between(m, 0, 5)]; }

static int add_conv(Made *m, int x)
{
    const Shape *s = &m->shape[x];
    int64_t c = s->dim[1], groups = 1;
    if (chance(m, 30)) groups = c;
    else if (chance(m, 30) && c % 2 == 0) groups = 2;
    int64_t out = groups * between(m, 1, groups == 1 ? 40 : 3);
    int k[2] = { 2 * between(m, 0, 2) + 1, 2 * between(m, 0, 2) + 1 }, stride[2] = { between(m, 1, 2), between(m, 1, 2) }, pad[4], dilation = chance(m, 20) ? 2 : 1;
    if (chance(m, 60)) k[1] = k[0], stride[1] = stride[0];
    Shape y = { 4, { s->dim[0], out } };
    for (int i = 0; i < 2; i++) {
        int reach = dilation * (k[i] - 1) + 1, most = reach - 1;
        if (chance(m, 70)) pad[i] = pad[i + 2] = reach / 2;
        else { pad[i] = between(m, 0, most); pad[i + 2] = between(m, 0, most); }
        y.dim[2 + i] = (s->dim[2 + i] + pad[i] + pad[i + 2] - reach) / stride[i] + 1;
        if (s->dim[2 + i] + pad[i] + pad[i + 2] < reach) return x;
    }
    Shape w = { 4, { out, c / groups, k[0], k[1] } };
    float width = sqrtf(3 / (float)(c / groups * k[0] * k[1]));
    char in[128], attributes[256];
    const char *weights = constant(m, &w, 0, width, zeros(m)), *bias = chance(m, 60) ? constant(m, &(Shape){ 1, { out } }, 0, 1, 0) : NULL;
    snprintf(in, sizeof in, bias ? "%s,%s,%s" : "%s,%s", name_of(x), weights, bias);
    snprintf(attributes, sizeof attributes, "kernel_shape:is=%d,%d strides:is=%d,%d pads:is=%d,%d,%d,%d dilations:is=%d,%d group:i=%d", k[0], k[1], stride[0], stride[1],
             pad[0], pad[1], pad[2], pad[3], dilation, dilation, (int)groups);
    return add_node(m, "Conv", in, attributes, y);
}

static int add_norm(Made *m, int x)
{
    Shape s = { 1, { m->shape[x].dim[1] } };
    char in[128];
    const char *scale = constant(m, &s, 1, 0.5f, 0), *shift = constant(m, &s, 0, 1, 0), *mean = constant(m, &s, 0, 1, 0), *variance = constant(m, &s, 1, 0.5f, 0);
    snprintf(in, sizeof in, "%s,%s,%s,%s,%s", name_of(x), scale, shift, mean, variance);
    return add_node(m, "BatchNormalization", in, "epsilon:f=0.001", m->shape[x]);
}

static int add_activation(Made *m, int x)
{
    static const char *const TYPE[] = { "Relu", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh", "Elu" };
    char in[64];
    if (chance(m, 30)) {                               /* SiLU, as exporters write it */
        int gate = add_node(m, "Sigmoid", name_of(x), "", m->shape[x]);
        snprintf(in, sizeof in, "%s,%s", name_of(x), name_of(gate));
        return add_node(m, "Mul", in, "", m->shape[x]);
    }
    if (chance(m, 20)) {
        const char *lo = constant(m, &(Shape){ 0 }, 0, 0, 0), *hi = constant(m, &(Shape){ 0 }, 6, 0, 0);
        snprintf(in, sizeof in, "%s,%s,%s", name_of(x), lo, hi);
        return add_node(m, "Clip", in, "", m->shape[x]);
    }
    return add_node(m, TYPE[between(m, 0, 5)], name_of(x), "", m->shape[x]);
}

static int add_pool(Made *m, int x)
{
    Shape y = m->shape[x];
    for (int i = 2; i < 4; i++) {
        if (y.dim[i] < 2) return x;
        y.dim[i] = (y.dim[i] + 2 - 3) / 2 + 1;
    }
    return add_node(m, chance(m, 50) ? "MaxPool" : "AveragePool", name_of(x), "kernel_shape:is=3,3 strides:is=2,2 pads:is=1,1,1,1", y);
}

/* With another value of the same shape, or with a constant for each channel or for all. */
static int add_arithmetic(Made *m, int x)
{
    static const char *const TYPE[] = { "Add", "Mul", "Sub" };
    const Shape *s = &m->shape[x];
    char in[64];
    int other = between(m, 0, m->n - 1);
    for (int i = 0; i < m->n && !shape_equal(&m->shape[other], s); i++) other = (other + 1) % m->n;
    const char *second = name_of(other);
    if (chance(m, 40)) {
        Shape c = { s->rank == 4 ? 3 : 1, { 1 } };
        if (chance(m, 70)) c.dim[0] = s->rank == 4 ? s->dim[1] : s->dim[s->rank - 1];
        if (s->rank == 4) c.dim[1] = c.dim[2] = 1;
        second = constant(m, &c, 1, 0.5f, 0);
    }
    const char *first = name_of(x);
    if (chance(m, 50)) { const char *t = first; first = second; second = t; }
    snprintf(in, sizeof in, "%s,%s", first, second);
    return add_node(m, TYPE[between(m, 0, 2)], in, "", *s);
}

static int add_concat(Made *m, int x)
{
    const Shape *s = &m->shape[x];
    int other = between(m, 0, m->n - 1);
    const Shape *t = &m->shape[other];
    if (s->rank != 4 || t->rank != 4 || s->dim[2] != t->dim[2] || s->dim[3] != t->dim[3] || s->dim[1] + t->dim[1] > 80) return x;
    Shape y = *s;
    char in[64];
    y.dim[1] += t->dim[1];
    snprintf(in, sizeof in, "%s,%s", name_of(x), name_of(other));
    return add_node(m, "Concat", in, "axis:i=1", y);
}

static int add_product(Made *m, int x)
{
    Shape y = m->shape[x];
    if (y.rank == 4) {
        y = (Shape){ 2, { y.dim[0], y.dim[1] * y.dim[2] * y.dim[3] } };
        x = add_node(m, "Flatten", name_of(x), "", y);
    }
    int64_t k = y.dim[y.rank - 1], n = between(m, 1, 70);
    if (!k || k > 4000) return x;
    bool gemm = y.rank == 2 && chance(m, 60), transposed = gemm && chance(m, 50);
    Shape w = transposed ? (Shape){ 2, { n, k } } : (Shape){ 2, { k, n } };
    char in[64];
    const char *weights = constant(m, &w, 0, sqrtf(3 / (float)k), zeros(m)), *bias = gemm && chance(m, 70) ? constant(m, &(Shape){ 1, { n } }, 0, 1, 0) : NULL;
    snprintf(in, sizeof in, bias ? "%s,%s,%s" : "%s,%s", name_of(x), weights, bias);
    y.dim[y.rank - 1] = n;
    return add_node(m, gemm ? "Gemm" : "MatMul", in, transposed ? "transB:i=1" : "", y);
}

static int add_any(Made *m, int x)
{
    int kind = between(m, 0, 99);
    if (m->shape[x].rank == 4) {
        if (kind < 40) return add_conv(m, x);
        if (kind < 50) return add_norm(m, x);
        if (kind < 56) return add_pool(m, x);
        if (kind < 66) return add_concat(m, x);
    }
    if (kind < 80) return add_activation(m, x);
    if (kind < 92) return add_arithmetic(m, x);
    return add_product(m, x);
}

/* A graph, as bytes; in: the shape of its input. */
static Bytes random_graph(uint64_t seed, Shape *in)
{
    Made m = { .b = build_new(), .r = { seed * 0x9E3779B97F4A7C15u | 1 } };
    for (int i = 0; i < 8; i++) random_bits(&m.r);
    *in = chance(&m, 75) ? (Shape){ 4, { between(&m, 1, 5), between(&m, 1, 40), between(&m, 1, 24), between(&m, 1, 24) } }
                         : (Shape){ between(&m, 2, 3), { between(&m, 1, 5), between(&m, 1, 40), between(&m, 1, 70) } };
    if (chance(&m, 4)) in->dim[0] = 0;
    build_input(m.b, "v0", DT_F32, dims_text(in));
    m.shape[0] = *in;
    m.n = 1;
    int x = 0, nodes = between(&m, 2, MAX_NODES);
    for (int i = 0; i < nodes; i++) x = add_any(&m, chance(&m, 80) ? x : between(&m, 0, m.n - 1));
    if (!x) x = add_node(&m, "Relu", "v0", "", *in);
    build_output(m.b, name_of(x), DT_F32, dims_text(&m.shape[x]));
    for (int i = 1; i < m.n && i < x; i++) if (chance(&m, 10) && i != x) { build_output(m.b, name_of(i), DT_F32, dims_text(&m.shape[i])); break; }
    return build_finish(m.b, 8, 17);
}

/* The outputs of one plan, one behind the other. */
typedef struct Values { float *at; size_t n; Shape shape[MAX_OUT]; size_t count[MAX_OUT]; int outputs, steps; bool sparse; } Values;

static void must(Err e, uint64_t seed)
{
    if (e != OK) fail_msg("ONESHOT_SEED=%llu ONESHOT_GRAPHS=1: %s", (unsigned long long)seed, err_text());
}

static Values run_plan(Model *m, const Shape *shape, const float *x, const PlanOptions *o, uint64_t seed)
{
    Plan *p;
    int64_t n;
    Values v = { 0 };
    must(shape_count(shape, &n), seed);
    must(plan_build(m, &(PlanInput){ "v0", DT_F32, *shape }, 1, o, &p), seed);
    for (int turn = 0; turn < 2; turn++)               /* what the first run leaves behind must not matter */
        must(plan_run(p, &(Tensor){ DT_F32, *shape, (size_t)n * sizeof *x, (void *)(uintptr_t)x }, 1), seed);
    for (int i = 0; i < p->n_out; i++) {
        const Buffer *b = p->out[i];
        v.at = realloc(v.at, v.n * sizeof *v.at + b->bytes + 1);
        if (b->bytes) memcpy(v.at + v.n, b->data, b->bytes);
        v.n += (size_t)b->count;
        v.shape[i] = b->shape;
        v.count[i] = (size_t)b->count;
    }
    v.outputs = p->n_out;
    v.steps = p->n_step;
    for (int i = 0; i < p->n_step; i++) v.sparse = v.sparse || (p->step[i]->variant && strstr(p->step[i]->variant, "sparse"));
    plan_free(p);
    return v;
}

static void compare(const Values *want, const Values *got, const char *what, uint64_t seed)
{
    assert_int_equal(want->n, got->n);
    for (size_t i = 0, at = 0; i < (size_t)want->outputs; at += want->count[i++]) {
        double largest = 1e-6, worst = 0;
        assert_true(shape_equal(&want->shape[i], &got->shape[i]));
        for (size_t k = 0; k < want->count[i]; k++) {
            largest = fmax(largest, fabs((double)want->at[at + k]));
            double d = fabs((double)want->at[at + k] - (double)got->at[at + k]);
            worst = d <= worst ? worst : d;            /* NaN counts */
        }
        if (!(worst <= TOLERANCE * largest))
            fail_msg("%s, output %zu is %g of %g off; ONESHOT_SEED=%llu ONESHOT_GRAPHS=1", what, i, worst, largest, (unsigned long long)seed);
    }
}

static uint64_t setting(const char *name, uint64_t otherwise) { return getenv(name) ? strtoull(getenv(name), NULL, 10) : otherwise; }

/* All graphs at the instruction set of this process; what the plain plans give goes to `path`. */
static void run_graphs(const char *path)
{
    uint64_t first = setting("ONESHOT_SEED", 1), n = setting("ONESHOT_GRAPHS", GRAPHS), shorter = 0, sparse = 0;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (uint64_t seed = first; seed < first + n; seed++) {
        Shape shape;
        Model *m;
        Bytes bytes = random_graph(seed, &shape);
        must(model_parse(bytes.at, bytes.size, &m), seed);
        must(ops_bind(m), seed);
        float x[5 * 40 * 70 * 24] = { 0 };
        Random r = { seed + 12345 };
        for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = random_float(&r);
        Values plain = run_plan(m, &shape, x, &(PlanOptions){ .threads = 1, .keep = true, .dense = true }, seed);
        for (int threads = 1; threads <= 3; threads += 2) {
            Values fused = run_plan(m, &shape, x, &(PlanOptions){ .threads = threads }, seed);
            compare(&plain, &fused, threads == 1 ? "fused, 1 thread" : "fused, 3 threads", seed);
            shorter += fused.steps < plain.steps;
            sparse += fused.sparse;
            free(fused.at);
        }
        assert_int_equal(fwrite(plain.at, sizeof *plain.at, plain.n, f), plain.n);
        free(plain.at);
        model_free(m);
        bytes_free(bytes);
    }
    assert_int_equal(fclose(f), 0);
    if (n < GRAPHS) return;
    assert_true(shorter > n / 4);          /* otherwise these graphs test nothing */
    assert_true(sparse > n / 8);
}

static const char *results;                /* of the level of this process */

static void test_level(void **state)
{
    (void)state;
    run_graphs(results);
}

static void test_levels(void **state)
{
    (void)state;
    char path[2][4096];
    for (int level = 0; level < kernels_levels(); level++) {
        snprintf(path[!!level], sizeof *path, "%s", test_path(level ? "results" : "scalar"));
        run_level(level, path[!!level]);
        Bytes want = read_file(path[0]), got = read_file(path[!!level]);
        assert_int_equal(want.size, got.size);
        const float *a = (const float *)want.at, *b = (const float *)got.at;
        for (size_t i = 0; i < want.size / sizeof *a; i++)
            if (!(fabsf(a[i] - b[i]) <= 1e-3f * (1 + fabsf(a[i]))))
                fail_msg("level %s, value %zu of all graphs: %g, scalar %g", kernels_isa(level), i, (double)b[i], (double)a[i]);
        bytes_free(want);
        bytes_free(got);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest all[] = { cmocka_unit_test(test_levels) }, one[] = { cmocka_unit_test(test_level) };
    results = argc > 1 ? argv[1] : NULL;
    return results ? cmocka_run_group_tests(one, NULL, NULL) : cmocka_run_group_tests(all, NULL, NULL);
}
