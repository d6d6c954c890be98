/* Operators of float32, which run in kernels, against the same operators of float64, which run in plain loops: over random shapes, axes, broadcasts and windows,
 * with NaN, infinity and empty tensors among them, and with 1 and 2 threads, which must agree to the bit. */
#include "engine/element.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = 6, ROUNDS = 150 };
static const char *const NAME[MAX_INPUTS] = { "a", "b", "c", "d", "e", "f" };

typedef struct Trial {
    const char *op;
    char attributes[160];
    int64_t opset;
    int n_in, n_constant;      /* inputs 1 ... n_constant are initializers */
    int64_t count;             /* not 0: input 1 is this number, int64 */
    int absent;                /* this one is left out; 0: none */
    Shape shape[MAX_INPUTS];
    double low, high;          /* inputs are drawn from here; special: with NaN and infinity among them */
    bool special;
    int zeros;                 /* of 10 elements */
    double tolerance;          /* of the largest result */
} Trial;

static double *draw(const Trial *t, int64_t n, Random *r)
{
    static const double SPECIAL[] = { NAN, INFINITY, -INFINITY, 0, -0.0 };
    double *x = calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (double)(float)(t->low + (t->high - t->low) * (0.5 + 0.5 * (double)random_float(r)));
        if (t->special && !random_below(r, 40)) x[i] = SPECIAL[random_below(r, 5)];
        if (t->zeros && random_below(r, 10) < (uint32_t)t->zeros) x[i] = 0;
    }
    return x;
}

static void add_operand(Build *b, const Trial *t, int i, DType dtype, const char *dims, const double *x)
{
    int64_t n;
    size_t size;
    if (i == 1 && t->count) {
        build_init(b, NAME[i], DT_I64, "1", &t->count);
        return;
    }
    if (!i || i > t->n_constant) {
        build_input(b, NAME[i], dtype, dims);
        return;
    }
    assert_int_equal(shape_count(&t->shape[i], &n), OK);
    assert_int_equal(tensor_bytes(dtype, &t->shape[i], &size), OK);
    void *data = calloc(size + 1, 1);
    assert_non_null(data);
    elements_from_f64(dtype, x, n, data, 0);
    build_init(b, NAME[i], dtype, dims, data);
    free(data);
}

static Bytes model_of(const Trial *t, DType dtype, double *const x[])
{
    Build *b = build_new();
    char dims[200], names[24] = "";
    for (int i = 0; i < t->n_in; i++) {
        size_t at = 0;
        if (i && i == t->absent) { strcat(names, ","); continue; }
        dims[0] = '\0';
        for (int k = 0; k < t->shape[i].rank; k++) at += (size_t)snprintf(dims + at, sizeof dims - at, "%s%lld", k ? "," : "", (long long)t->shape[i].dim[k]);
        add_operand(b, t, i, dtype, dims, x[i]);
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%c", i ? "," : "", 'a' + i);
    }
    build_node(b, t->op, names, t->count ? "y,place" : "y", t->attributes);
    build_output(b, "y", dtype, NULL);
    return build_finish(b, 8, t->opset);
}

/* Runs the trial; the result as doubles, to be freed. */
static double *run(const Trial *t, DType dtype, PlanOptions options, double *const x[], int64_t *count)
{
    Bytes bytes = model_of(t, dtype, x);
    int k = 0;
    Model *m;
    Plan *plan;
    PlanInput input[MAX_INPUTS];
    Tensor in[MAX_INPUTS];
    assert_int_equal(model_parse(bytes.at, bytes.size, &m), OK);
    assert_int_equal(ops_bind(m), OK);
    for (int i = 0; i < t->n_in; i++) {
        int64_t n;
        size_t size;
        assert_int_equal(shape_count(&t->shape[i], &n), OK);
        assert_int_equal(tensor_bytes(dtype, &t->shape[i], &size), OK);
        if (i && (i <= t->n_constant || i == t->absent)) continue;
        input[k] = (PlanInput){ NAME[i], dtype, t->shape[i] };
        in[k] = (Tensor){ .dtype = dtype, .shape = t->shape[i], .bytes = size, .data = calloc(size + 1, 1) };
        assert_non_null(in[k].data);
        elements_from_f64(dtype, x[i], n, in[k++].data, 0);
    }
    if (plan_build(m, input, k, &options, &plan) != OK) fail_msg("%s", err_text());
    if (plan_run(plan, in, k) != OK) fail_msg("%s", err_text());
    *count = plan->out[0]->count;
    double *y = calloc((size_t)*count + 1, sizeof *y);
    assert_non_null(y);
    elements_to_f64(dtype, plan->out[0]->data, 0, *count, y);
    plan_free(plan);
    model_free(m);
    bytes_free(bytes);
    for (int i = 0; i < k; i++) free(in[i].data);
    return y;
}

/* Threads are compared without sparse variants: where these are close to dense ones the clock decides, in each plan anew. */
static void compare(const Trial *t, Random *r)
{
    const PlanOptions one = { .threads = 1, .dense = true }, two = { .threads = 2, .dense = true };
    double *x[MAX_INPUTS], most = 1;
    int64_t n[4];
    for (int i = 0; i < t->n_in; i++) {
        assert_int_equal(shape_count(&t->shape[i], &n[0]), OK);
        x[i] = draw(t, n[0], r);
    }
    double *want = run(t, DT_F64, one, x, &n[0]), *got = run(t, DT_F32, (PlanOptions){ .threads = 1 }, x, &n[1]);
    double *dense = run(t, DT_F32, one, x, &n[2]), *same = run(t, DT_F32, two, x, &n[3]);
    for (int i = 1; i < 4; i++) assert_int_equal(n[i], n[0]);
    for (int64_t i = 0; i < n[0]; i++) if (isfinite(want[i]) && fabs(want[i]) > most) most = fabs(want[i]);
    for (int64_t i = 0; i < n[0]; i++) {
        bool near = want[i] == got[i] || (isnan(want[i]) && isnan(got[i])) || fabs(want[i] - got[i]) <= t->tolerance * most;
        if (!near || memcmp(&dense[i], &same[i], sizeof *same))
            fail_msg("%s %s: element %lld is %.9g, dense %.9g and %.9g with 2 threads, expected %.9g", t->op, t->attributes, (long long)i, got[i], dense[i], same[i],
                     want[i]);
    }
    for (int i = 0; i < t->n_in; i++) free(x[i]);
    free(want);
    free(got);
    free(dense);
    free(same);
}

/* Up to `rank` axes; now and then an axis is empty, now and then there is enough for threads. */
static Shape draw_shape(int rank, Random *r)
{
    Shape s = { .rank = rank };
    int large = random_below(r, 4) ? -1 : random_between(r, 0, rank - 1);
    for (int i = 0; i < rank; i++) s.dim[i] = i == large ? random_between(r, 30, 700) : random_between(r, random_below(r, 12) ? 1 : 0, random_below(r, 2) ? 4 : 21);
    return s;
}

static void test_one_operand(void **state)
{
    (void)state;
    static const char *const OP[] = { "Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Mish", "Exp", "Sqrt", "Neg", "Swish" };
    Random r = { 11 };
    for (int i = 0; i < ROUNDS; i++) {
        Trial t = { .op = OP[i % 13], .opset = 24, .n_in = 1, .shape = { draw_shape(random_between(&r, 0, 4), &r) }, .low = -9, .high = 9, .tolerance = 1e-6,
                    .special = random_below(&r, 2) };
        if (!strcmp(t.op, "Gelu") && random_below(&r, 2)) snprintf(t.attributes, sizeof t.attributes, "approximate:s=tanh");
        compare(&t, &r);
    }
}

static void test_broadcasts(void **state)
{
    (void)state;
    static const char *const OP[] = { "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow" };
    Random r = { 12 };
    for (int i = 0; i < 2 * ROUNDS; i++) {
        Trial t = { .op = OP[i % 9], .opset = 17, .n_in = 2, .low = 0.5, .high = 3, .tolerance = 1e-6, .special = i % 9 < 8 && random_below(&r, 2) };
        if (i % 9 >= 4 && i % 9 < 8) t.n_in = random_between(&r, 1, 3);
        Shape full = draw_shape(random_between(&r, 0, 4), &r);
        for (int k = 0; k < t.n_in; k++) {
            int lost = k && random_below(&r, 2) ? random_between(&r, 0, full.rank) : 0;
            t.shape[k].rank = full.rank - lost;
            for (int a = 0; a < t.shape[k].rank; a++) t.shape[k].dim[a] = random_below(&r, 3) ? full.dim[a + lost] : 1;
        }
        compare(&t, &r);
    }
}

static void test_along_axes(void **state)
{
    (void)state;
    static const char *const OP[] = { "Softmax", "LogSoftmax", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare" };
    Random r = { 13 };
    for (int i = 0; i < 2 * ROUNDS; i++) {
        Shape s = draw_shape(random_between(&r, 1, 4), &r);
        int axis = random_between(&r, -s.rank, s.rank - 1), second = axis < 0 ? axis : random_between(&r, axis, s.rank - 1);
        Trial t = { .op = OP[i % 8], .opset = 13, .n_in = 1, .shape = { s }, .low = -20, .high = 20, .tolerance = 1e-5 };
        if (i % 8 < 2) snprintf(t.attributes, sizeof t.attributes, "axis:i=%d", axis);
        else {
            t.opset = 11;
            t.special = (i % 8 == 4 || i % 8 == 5) && random_below(&r, 2);
            if (second != axis) snprintf(t.attributes, sizeof t.attributes, "axes:is=%d,%d keepdims:i=%d", axis, second, random_between(&r, 0, 1));
            else snprintf(t.attributes, sizeof t.attributes, "axes:is=%d", axis);
        }
        compare(&t, &r);
    }
}

static void test_normalizations(void **state)
{
    (void)state;
    Random r = { 14 };
    for (int i = 0; i < ROUNDS; i++) {
        Shape s = draw_shape(random_between(&r, 3, 4), &r);
        Shape channels = { .rank = 1, .dim = { s.dim[1] } }, row = { .rank = 1, .dim = { s.dim[s.rank - 1] } };
        Trial t = { .opset = 21, .n_in = 3, .low = -2, .high = 3, .tolerance = 3e-5 };
        for (int k = 0; k < s.rank; k++) if (!s.dim[k]) s.dim[k] = 1;
        if (!row.dim[0]) row.dim[0] = 1;
        if (!channels.dim[0]) channels.dim[0] = 1;
        if (i % 3 == 0) { t.op = "LayerNormalization"; t.shape[1] = t.shape[2] = row; t.n_in = random_between(&r, 2, 3); }
        else { t.op = i % 3 == 1 ? "InstanceNormalization" : "GroupNormalization"; t.shape[1] = t.shape[2] = channels; }
        snprintf(t.attributes, sizeof t.attributes, i % 3 == 2 ? "epsilon:f=0.01 num_groups:i=%d" : "epsilon:f=0.01", channels.dim[0] % 2 ? 1 : 2);
        t.shape[0] = s;
        compare(&t, &r);
    }
}

static void test_pools(void **state)
{
    (void)state;
    static const char *const OP[] = { "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool" };
    Random r = { 15 };
    for (int i = 0; i < 2 * ROUNDS; i++) {
        int axes = random_between(&r, 1, 2);
        Trial t = { .op = OP[i % 4], .opset = 19, .n_in = 1, .low = -3, .high = 3, .tolerance = 1e-6, .special = i % 4 % 3 == 0 && random_below(&r, 2) };
        t.shape[0] = (Shape){ .rank = 2 + axes, .dim = { random_between(&r, 0, 2), random_between(&r, 1, 5), random_between(&r, 1, 40), random_between(&r, 1, 40) } };
        int kernel[2], pad[4], stride[2];
        for (int a = 0; a < 2; a++) {
            kernel[a] = random_between(&r, 1, random_below(&r, 3) ? 3 : 13);
            stride[a] = random_between(&r, 1, 3);
            pad[a] = random_between(&r, 0, kernel[a] - 1);
            pad[a + axes] = random_between(&r, 0, kernel[a] - 1);
            while (t.shape[0].dim[2 + a] < kernel[a]) t.shape[0].dim[2 + a]++;
        }
        char *text = t.attributes;
        if (i % 4 < 2 && axes == 1) snprintf(text, sizeof t.attributes, "kernel_shape:is=%d strides:is=%d pads:is=%d,%d", kernel[0], stride[0], pad[0], pad[1]);
        else if (i % 4 < 2)
            snprintf(text, sizeof t.attributes, "kernel_shape:is=%d,%d strides:is=%d,%d pads:is=%d,%d,%d,%d", kernel[0], kernel[1], stride[0], stride[1],
                     pad[0], pad[1], pad[2], pad[3]);
        if (i % 4 < 2 && random_below(&r, 2)) strcat(text, " ceil_mode:i=1");
        if (i % 4 == 1 && random_below(&r, 2)) strcat(text, " count_include_pad:i=1");
        compare(&t, &r);
    }
}

static void test_products(void **state)
{
    (void)state;
    Random r = { 16 };
    for (int i = 0; i < ROUNDS; i++) {
        int64_t m = random_between(&r, 1, 40), n = random_between(&r, 1, 70), k = random_between(&r, random_below(&r, 9) ? 1 : 0, 50), b = random_between(&r, 1, 3);
        Trial t = { .op = "MatMul", .opset = 17, .n_in = 2, .low = -1, .high = 1, .tolerance = 1e-5 };
        t.shape[0] = (Shape){ .rank = 4, .dim = { b, random_below(&r, 2) ? 4 : 1, m, k } };
        t.shape[1] = (Shape){ .rank = 4, .dim = { random_below(&r, 2) ? b : 1, 4, k, n } };
        if (random_below(&r, 3) == 0) t.shape[1] = (Shape){ .rank = 1, .dim = { k } };
        compare(&t, &r);
    }
}

/* Few of many are selected in another way than many of few; equal numbers keep their order in both. */
static void test_selection(void **state)
{
    (void)state;
    Random r = { 19 };
    for (int i = 0; i < ROUNDS / 3; i++) {
        int64_t n = random_between(&r, 1, 300), k = random_between(&r, 0, 3) ? (n + 9) / 10 : n, got, all;
        Trial t = { .op = "TopK", .opset = 11, .n_in = 2, .n_constant = 1, .count = n, .shape = { { .rank = 2, .dim = { 3, n } } },
                    .low = -1, .high = 1, .special = i % 2 };
        if (i % 3 == 0) snprintf(t.attributes, sizeof t.attributes, "largest:i=0");
        double *x = draw(&t, 3 * n, &r);
        for (int64_t at = 0; at < 3 * n; at++) if (isfinite(x[at])) x[at] = round(4 * x[at]);
        double *const operands[2] = { x, NULL }, *whole = run(&t, DT_F32, (PlanOptions){ .threads = 1 }, operands, &all);
        t.count = k;
        double *part = run(&t, DT_F32, (PlanOptions){ .threads = 1 }, operands, &got);
        assert_true(all == 3 * n && got == 3 * k);
        for (int64_t at = 0; at < got; at++) {
            double want = whole[at / k * n + at % k];
            assert_true(part[at] == want || (isnan(part[at]) && isnan(want)));
        }
        free(x);
        free(whole);
        free(part);
    }
}

/* Against the definition: y[i0, i1, ...] is x at the place where axis perm[a] has index i_a. */
static void test_transposes(void **state)
{
    (void)state;
    Random r = { 17 };
    for (int i = 0; i < ROUNDS; i++) {
        Trial t = { .op = "Transpose", .opset = 17, .n_in = 1, .shape = { draw_shape(random_between(&r, 1, 5), &r) }, .low = -1, .high = 1 };
        const Shape *s = &t.shape[0];
        int perm[5] = { 0, 1, 2, 3, 4 };
        int64_t stride[MAX_RANK], count, n;
        for (int a = s->rank - 1; a > 0; a--) {
            int b = random_between(&r, 0, a), swap = perm[a];
            perm[a] = perm[b];
            perm[b] = swap;
        }
        for (int a = 0; a < s->rank; a++)
            snprintf(t.attributes + strlen(t.attributes), sizeof t.attributes - strlen(t.attributes), "%s%d", a ? "," : "perm:is=", perm[a]);
        shape_strides(s, stride);
        assert_int_equal(shape_count(s, &count), OK);
        double *x = draw(&t, count, &r), *y = run(&t, DT_F32, (PlanOptions){ .threads = 1 + i % 2 }, &x, &n);
        assert_true(n == count);
        for (int64_t at = 0; at < n; at++) {
            int64_t rest = at, from = 0;
            for (int a = s->rank - 1; a >= 0; a--) {
                from += rest % s->dim[perm[a]] * stride[perm[a]];
                rest /= s->dim[perm[a]];
            }
            assert_true(y[at] == x[from]);
        }
        free(x);
        free(y);
    }
}

/* W, R and B constant, as exporters write them, dense or pruned; the first output has all states. */
static void test_recurrent(void **state)
{
    (void)state;
    Random r = { 18 };
    for (int i = 0; i < ROUNDS / 2; i++) {
        static const char *const DIRECTION[] = { "forward", "reverse", "bidirectional" };
        int direction = random_between(&r, 0, 2), lstm = i % 2, d = 1 + (direction == 2), gates = lstm ? 4 : 3;
        int64_t length = random_between(&r, 1, 9), batch = random_between(&r, 1, 4), width = random_between(&r, 1, 40), hidden = random_between(&r, 1, 50);
        Trial t = { .op = lstm ? "LSTM" : "GRU", .opset = 14, .n_in = random_between(&r, 3, 4), .low = -0.5, .high = 0.5, .tolerance = 2e-6 };
        t.n_constant = random_between(&r, 0, 3) ? t.n_in - 1 : 0;
        t.zeros = random_between(&r, 0, 1) ? random_between(&r, 3, 9) : 0;
        if (t.n_in == 4 && random_below(&r, 2)) { t.n_in = 6; t.absent = 4; }
        t.shape[0] = (Shape){ .rank = 3, .dim = { length, batch, width } };
        t.shape[1] = (Shape){ .rank = 3, .dim = { d, gates * hidden, width } };
        t.shape[2] = (Shape){ .rank = 3, .dim = { d, gates * hidden, hidden } };
        t.shape[3] = (Shape){ .rank = 2, .dim = { d, 2 * gates * hidden } };
        t.shape[5] = (Shape){ .rank = 3, .dim = { d, batch, hidden } };
        snprintf(t.attributes, sizeof t.attributes, "hidden_size:i=%d direction:s=%s%s", (int)hidden, DIRECTION[direction],
                 !lstm && random_below(&r, 3) ? " linear_before_reset:i=1" : "");
        compare(&t, &r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_operand), cmocka_unit_test(test_broadcasts), cmocka_unit_test(test_along_axes),
                                        cmocka_unit_test(test_normalizations), cmocka_unit_test(test_pools), cmocka_unit_test(test_products),
                                        cmocka_unit_test(test_transposes), cmocka_unit_test(test_recurrent),
                                        cmocka_unit_test(test_selection) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
