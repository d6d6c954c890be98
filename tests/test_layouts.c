/* Values of images that lie in panels between convolutions: which ones do, and that the results stay those of a plan that keeps all values as they are. */
#include "engine/infer.h"
#include "engine/panels.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHANNELS = 64, MOST = 3 * CHANNELS * 40 * 40 };
static float numbers[MOST];

static void draw(Random *r, int n, uint32_t zeros_in_100)
{
    for (int i = 0; i < n; i++) numbers[i] = random_below(r, 100) < zeros_in_100 ? 0 : random_float(r) / 4;
}

/* Of 64 channels, with a bias and a kernel of so many rows by 1: none that Winograd's way is for. */
static void add_conv(Build *b, const char *x, const char *y, int rows, const char *attributes)
{
    static Random r = { 5 };
    char w[32], bias[32], in[128], dims[32];
    snprintf(w, sizeof w, "w_%s", y);
    snprintf(bias, sizeof bias, "bias_%s", y);
    snprintf(in, sizeof in, "%s,%s,%s", x, w, bias);
    snprintf(dims, sizeof dims, "64,64,%d,1", rows);
    draw(&r, CHANNELS * CHANNELS * rows, 95);
    build_init(b, w, DT_F32, dims, numbers);
    build_init(b, bias, DT_F32, "64", numbers);
    build_node(b, "Conv", in, y, attributes);
}

/* A block of a residual network behind a convolution of what it adds, and what reads its result: pixel by pixel, as a residual, with strides, with an activation
 * behind that is no clamp. */
static Build *blocks(const char *skip)
{
    Build *b = build_new();
    char sum[64];
    build_input(b, "x", DT_F32, "n,64,h,w");
    add_conv(b, "x", "skip", 1, NULL);
    add_conv(b, "x", "a", 1, NULL);
    build_node(b, "Relu", "a", "a.", NULL);
    add_conv(b, "a.", "b", 3, "pads:is=1,0,1,0");
    build_node(b, "Relu", "b", "b.", NULL);
    add_conv(b, "b.", "c", 1, NULL);
    snprintf(sum, sizeof sum, "c,%s", skip);
    build_node(b, "Add", sum, "z", NULL);
    build_node(b, "Relu", "z", "z.", NULL);
    add_conv(b, "z.", "e", 1, NULL);
    build_node(b, "Relu", "e", "e.", NULL);
    add_conv(b, "e.", "f", 1, NULL);
    build_node(b, "Add", "f,z.", "r", NULL);
    add_conv(b, "r", "s", 3, "pads:is=1,0,1,0 strides:is=2,2");
    add_conv(b, "z.", "g", 1, NULL);
    build_node(b, "Sigmoid", "g", "gate", NULL);
    build_node(b, "Mul", "g,gate", "t", NULL);
    build_output(b, "s", DT_F32, NULL);
    build_output(b, "t", DT_F32, NULL);
    return b;
}

static Plan *run(Model *m, const Tensor *x, int threads, bool keep)
{
    Plan *p;
    const PlanInput input = { "x", DT_F32, x->shape };
    if (plan_build(m, &input, 1, &(PlanOptions){ .threads = threads, .keep = keep, .whole = true }, &p) != OK || plan_run(p, x, 1) != OK) fail_msg("%s", err_text());
    return p;
}

static void check_outputs(const Plan *p, const Plan *apart)
{
    for (int i = 0; i < p->n_out; i++) {
        const float *y = p->out[i]->data, *z = apart->out[i]->data;
        float most = 0;
        for (int64_t k = 0; k < p->out[i]->count; k++) most = fmaxf(most, fabsf(z[k]));
        assert_true(most > 0);
        for (int64_t k = 0; k < p->out[i]->count; k++) assert_true(fabsf(y[k] - z[k]) <= 2e-6f * most);
    }
}

static int lie_so(const Plan *p, Layout layout)
{
    int n = 0;
    for (int i = 0; i < p->n_step; i++) n += p->step[i]->out[0]->panel == (int)layout;
    return n;
}

/* Runs it with images of this size, and gives the values that lie so. */
static void check(const char *skip, Shape shape, int in_panels, int by_channel)
{
    Bytes bytes = build_finish(blocks(skip), 8, 20);
    Model *m;
    int64_t n = 0;
    Random r = { 7 };
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK || shape_count(&shape, &n) != OK) fail_msg("%s", err_text());
    draw(&r, (int)n, 0);
    const Tensor x = { .dtype = DT_F32, .shape = shape, .bytes = (size_t)n * sizeof(float), .data = numbers };
    Plan *apart = run(m, &x, 1, true);
    for (int threads = 1; threads <= 3; threads++) {
        Plan *p = run(m, &x, threads, false);
        assert_int_equal(lie_so(p, IN_PANELS), in_panels);
        assert_int_equal(lie_so(p, BY_CHANNEL), by_channel);
        check_outputs(p, apart);
        plan_free(p);
    }
    plan_free(apart);
    model_free(m);
    bytes_free(bytes);
}

/* Columns of one panel, of several, of a longer one at the end; of images that share panels; of large images, each of which has its own. */
static void test_blocks(void **state)
{
    (void)state;
    check("skip", (Shape){ 4, { 1, 64, 5, 7 } }, 4, 0);
    check("skip", (Shape){ 4, { 1, 64, 14, 14 } }, 4, 0);
    check("skip", (Shape){ 4, { 1, 64, 40, 40 } }, 4, 0);
    check("skip", (Shape){ 4, { 2, 64, 7, 7 } }, 4, 2);
    check("skip", (Shape){ 4, { 3, 64, 14, 14 } }, 4, 2);
    check("skip", (Shape){ 4, { 3, 64, 40, 40 } }, 0, 0);
}

/* What is added comes from outside of the plan: of one image it is read as it is, of several the sum lies as it does. */
static void test_sum_with_input(void **state)
{
    (void)state;
    check("x", (Shape){ 4, { 1, 64, 14, 14 } }, 3, 0);
    check("x", (Shape){ 4, { 3, 64, 14, 14 } }, 2, 1);
}

/* Steps of sizes that are not known before they run are prepared in every run. */
static void test_late(void **state)
{
    Build *b = build_new();
    Model *m;
    Plan *p;
    Random r = { 3 };
    (void)state;
    build_input(b, "x", DT_F32, "1,64,6,7");
    build_input(b, "start", DT_I64, "1");
    build_init(b, "end", DT_I64, "1", (int64_t[]){ 6 });
    build_init(b, "axis", DT_I64, "1", (int64_t[]){ 2 });
    build_node(b, "Slice", "x,start,end,axis", "s", NULL);
    add_conv(b, "s", "a", 1, NULL);
    add_conv(b, "a", "c", 1, NULL);
    build_output(b, "c", DT_F32, NULL);
    Bytes bytes = build_finish(b, 8, 20);
    const Shape shape = { 4, { 1, 64, 6, 7 } }, one = { 1, { 1 } };
    const PlanInput input[] = { { "x", DT_F32, shape }, { "start", DT_I64, one } };
    draw(&r, CHANNELS * 6 * 7, 0);
    int64_t start = 0;
    const Tensor in[] = { { .dtype = DT_F32, .shape = shape, .bytes = CHANNELS * 6 * 7 * sizeof(float), .data = numbers },
                          { .dtype = DT_I64, .shape = one, .bytes = sizeof start, .data = &start } };
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK || plan_build(m, input, 2, &(PlanOptions){ .threads = 1 }, &p) != OK) fail_msg("%s", err_text());
    for (int i = 0; i < 12; i++) {
        start = i % 5;
        if (plan_run(p, in, 2) != OK) fail_msg("%s", err_text());
        assert_int_equal(p->out[0]->shape.dim[2], 6 - start);
        for (int l = 0; l < p->n_step; l++) assert_true(!p->step[l]->allowed[0].panel || p->step[l]->allowed[0].panel != p->step[l]->allowed[1].panel);
    }
    plan_free(p);
    model_free(m);
    bytes_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_blocks), cmocka_unit_test(test_sum_with_input), cmocka_unit_test(test_late) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
