/* What steps take over from the steps behind them: how many steps are left, and that the results stay those of a plan where nothing is fused. */
#include "engine/infer.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SOME = 4096 };
static float numbers[SOME];

/* An initializer of random numbers in [low, low + 2). */
static void add_constant(Build *b, const char *name, const char *dims, float low)
{
    static Random r = { 5 };
    for (int i = 0; i < SOME; i++) numbers[i] = low + 1 + random_float(&r);
    build_init(b, name, DT_F32, dims, numbers);
}

static void add_conv(Build *b, const char *x, const char *y, const char *w_dims, const char *attributes)
{
    char w[32], in[64];
    snprintf(w, sizeof w, "w_%s", y);
    snprintf(in, sizeof in, "%s,%s", x, w);
    add_constant(b, w, w_dims, -1);
    build_node(b, "Conv", in, y, attributes);
}

static void add_norm(Build *b, const char *x, const char *y)
{
    char in[256], name[4][32];
    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof name[i], "%s_%d", y, i);
        add_constant(b, name[i], "8", i == 3 ? 0.5f : -1);
    }
    snprintf(in, sizeof in, "%s,%s,%s,%s,%s", x, name[0], name[1], name[2], name[3]);
    build_node(b, "BatchNormalization", in, y, NULL);
}

static void build_and_run(Model *m, const PlanInput *input, const Tensor *x, bool keep, Plan **out)
{
    if (plan_build(m, input, 1, &(PlanOptions){ .threads = 1, .keep = keep }, out) != OK || plan_run(*out, x, 1) != OK) fail_msg("%s", err_text());
}

static bool overwritten;           /* whether a step of the last fused plan wrote over its input */
static char variant[64];           /* of its first step */
static int in_panels;              /* values of it that lie in panels */
static int64_t read_by_last;       /* input channels of its last step's weight */

/* Runs fused and kept apart; the fused plan must have `steps` steps, and its outputs be those of the other up to rounding. */
static void check(Build *b, Shape shape, int steps)
{
    Bytes bytes = build_finish(b, 8, 20);
    Model *m;
    Plan *fused, *apart;
    int64_t n = 0;
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK || shape_count(&shape, &n) != OK) fail_msg("%s", err_text());
    for (int i = 0; i < SOME; i++) numbers[i] = sinf((float)i * 0.7f);
    Tensor x = { .dtype = DT_F32, .shape = shape, .bytes = (size_t)n * sizeof(float), .data = numbers };
    PlanInput input = { "x", DT_F32, shape };
    build_and_run(m, &input, &x, false, &fused);
    build_and_run(m, &input, &x, true, &apart);
    assert_int_equal(fused->n_step, steps);
    overwritten = false;
    in_panels = 0;
    read_by_last = steps && fused->step[steps - 1]->n_in > 1 ? fused->step[steps - 1]->in[1]->shape.dim[1] : 0;
    for (int i = 0; i < steps; i++) in_panels += fused->step[i]->out[0]->panel > 0;
    snprintf(variant, sizeof variant, "%s", fused->step[0]->variant ? fused->step[0]->variant : "");
    for (int i = 0; i < steps; i++) overwritten |= fused->step[i]->over && fused->step[i]->over->data == fused->step[i]->out[0]->data;
    for (int i = 0; i < fused->n_out; i++) {
        const float *y = fused->out[i]->data, *z = apart->out[i]->data;
        float most = 0;
        for (int64_t k = 0; k < fused->out[i]->count; k++) most = fmaxf(most, fabsf(z[k]));
        assert_true(most > 0);
        for (int64_t k = 0; k < fused->out[i]->count; k++)
            if (!(fabsf(y[k] - z[k]) <= 2e-6f * most)) fail_msg("output %d element %lld: %g, apart %g", i, (long long)k, (double)y[k], (double)z[k]);
    }
    plan_free(fused);
    plan_free(apart);
    model_free(m);
    bytes_free(bytes);
}

static Build *begin(const char *dims)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, dims);
    return b;
}

static const Shape image = { 4, { 2, 8, 6, 7 } };

static void test_residual(void **state)
{
    (void)state;
    Build *b = begin("2,8,6,7");
    add_conv(b, "x", "a", "8,8,3,3", "pads:is=1,1,1,1");
    add_norm(b, "a", "an");
    add_conv(b, "x", "c", "8,8,1,1", NULL);                    /* the shortcut comes later: the first convolution moves behind it */
    add_norm(b, "c", "cn");
    build_node(b, "Add", "an,cn", "sum", NULL);
    build_node(b, "Relu", "sum", "y", NULL);
    build_output(b, "y", DT_F32, "2,8,6,7");
    check(b, image, 2);
}

/* Sums are written over what they add to where nobody else wants it: not over an input, a value with another reader, or the convolution's own pixels. */
static void test_overwrites(void **state)
{
    (void)state;
    const struct { const char *conv, *adds, *also; bool same; int steps; } CASE[] = {
        { "b", "a", NULL, true, 3 }, { "b", "x", NULL, false, 3 }, { "b", "a", "a", false, 4 }, { "a", "a", NULL, false, 2 },
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        Build *b = begin("2,8,6,7");
        char in[32];
        add_conv(b, "x", "a", "8,8,3,3", "pads:is=1,1,1,1");
        if (*CASE[i].conv == 'b') add_conv(b, "a", "b", "8,8,1,1", NULL);
        add_conv(b, CASE[i].conv, "c", "8,8,3,3", "pads:is=1,1,1,1");
        snprintf(in, sizeof in, "c,%s", CASE[i].adds);
        build_node(b, "Add", in, "sum", NULL);
        build_node(b, "Relu", "sum", "y", NULL);
        build_output(b, "y", DT_F32, "2,8,6,7");
        if (CASE[i].also) build_node(b, "Neg", CASE[i].also, "z", NULL), build_output(b, "z", DT_F32, "2,8,6,7");
        check(b, image, CASE[i].steps);
        assert_int_equal(overwritten, CASE[i].same);
    }
}

/* Few zeros are not worth a sparse product, half of the weights are. */
static void test_election(void **state)
{
    (void)state;
    static float w[64 * 64];
    for (int zeros = 0; zeros <= 9; zeros++) {
        Build *b = begin("1,64,8,8");
        for (int i = 0; i < 64 * 64; i++) w[i] = i % 10 < zeros ? 0 : (float)(i % 7 + 1);
        build_init(b, "w", DT_F32, "64,64,1,1", w);
        build_node(b, "Conv", "x,w", "c", NULL);
        build_node(b, "Neg", "c", "y", NULL);
        build_output(b, "y", DT_F32, "1,64,8,8");
        check(b, (Shape) { 4, { 1, 64, 8, 8 } }, 2);
        if (zeros <= 1 || zeros >= 5) assert_memory_equal(variant, zeros >= 5 ? "sparse" : "dense", 5);
    }
}

/* Convolutions of single pixels run as products of tokens. */
static void test_single_pixels(void **state)
{
    (void)state;
    Build *b = begin("3,8,1,1");
    add_conv(b, "x", "a", "8,8,1,1", "strides:is=2,2");
    add_norm(b, "a", "an");
    build_node(b, "Add", "an,x", "sum", NULL);
    build_node(b, "Relu", "sum", "r", NULL);
    add_conv(b, "r", "c", "8,8,1,1", NULL);
    build_node(b, "Sigmoid", "c", "y", NULL);
    build_output(b, "y", DT_F32, "3,8,1,1");
    check(b, (Shape) { 4, { 3, 8, 1, 1 } }, 2);
}

static void test_depthwise_and_gates(void **state)
{
    (void)state;
    Build *b = begin("2,8,6,7");
    add_conv(b, "x", "a", "8,1,3,3", "pads:is=1,1,1,1 group:i=8");
    add_norm(b, "a", "an");
    build_node(b, "Sigmoid", "an", "s", NULL);
    build_node(b, "Mul", "s,an", "silu", NULL);
    add_conv(b, "silu", "c", "8,8,1,1", NULL);
    build_node(b, "HardSigmoid", "c", "h", "alpha:f=0.16666667");
    build_node(b, "Mul", "c,h", "swish", NULL);
    build_node(b, "Sub", "swish,x", "y", NULL);
    build_output(b, "y", DT_F32, "2,8,6,7");
    check(b, image, 2);
}

static void test_decomposed_hard_swish(void **state)
{
    (void)state;
    Build *b = begin("2,8,6,7");
    build_init(b, "three", DT_F32, "", &(float){ 3 });
    build_init(b, "six", DT_F32, "", &(float){ 6 });
    build_init(b, "zero", DT_F32, "", &(float){ 0 });
    add_conv(b, "x", "a", "8,8,1,1", NULL);
    build_node(b, "Add", "a,three", "p", NULL);
    build_node(b, "Clip", "p,zero,six", "q", NULL);
    build_node(b, "Mul", "a,q", "r", NULL);
    build_node(b, "Div", "r,six", "y", NULL);
    build_output(b, "y", DT_F32, "2,8,6,7");
    check(b, image, 1);
}

static void test_constants_of_channels(void **state)
{
    (void)state;
    Build *b = begin("2,8,6,7");
    add_constant(b, "scale", "8,1,1", 0.5f);
    add_constant(b, "shift", "1,8,1,1", -1);
    add_conv(b, "x", "a", "8,8,1,1", NULL);
    build_node(b, "Mul", "scale,a", "p", NULL);
    build_node(b, "Sub", "p,shift", "q", NULL);
    build_node(b, "Div", "q,scale", "r", NULL);
    build_node(b, "Clip", "r", "y", NULL);
    build_output(b, "y", DT_F32, "2,8,6,7");
    check(b, image, 1);
}

static void test_tokens(void **state)
{
    (void)state;
    Build *b = begin("3,5,8");
    add_constant(b, "w", "8,8", -1);
    add_constant(b, "u", "8,8", -1);
    add_constant(b, "bias", "8", -1);
    build_node(b, "MatMul", "x,w", "a", NULL);
    build_node(b, "Add", "bias,a", "p", NULL);
    build_node(b, "Gelu", "p", "q", NULL);
    build_node(b, "MatMul", "q,u", "r", NULL);
    build_node(b, "Add", "x,r", "y", NULL);
    build_output(b, "y", DT_F32, "3,5,8");
    check(b, (Shape){ 3, { 3, 5, 8 } }, 2);
}

/* Weights that are left in step i of a plan. */
static int64_t weights_left(const Plan *p, int i)
{
    const Buffer *w = p->step[i]->in[1];
    int64_t n = 0;
    assert_non_null(w->data);
    for (int64_t k = 0; k < w->count; k++) n += ((const float *)w->data)[k] != 0;
    return n;
}

/* Channels 1 and 5 of the first convolution have no weights and are constant through normalization, sum, Relu, pool and join; nobody reads channel 2. */
static void build_dead(Build *b)
{
    static float w[8 * 8], u[8 * 16];
    Random r = { 21 };
    for (int i = 0; i < 64; i++) w[i] = i / 8 == 1 || i / 8 == 5 ? 0 : random_float(&r);
    for (int i = 0; i < 128; i++) u[i] = i % 16 % 8 == 2 ? 0 : random_float(&r);
    build_init(b, "w", DT_F32, "8,8,1,1", w);
    build_init(b, "u", DT_F32, "8,16,1,1", u);
    build_node(b, "Conv", "x,w", "a", NULL);
    add_norm(b, "a", "an");
    build_node(b, "Relu", "an", "p", NULL);
    build_node(b, "MaxPool", "p", "q", "kernel_shape:is=1,1");
    build_node(b, "Concat", "p,q", "all", "axis:i=1");
    build_node(b, "Conv", "all,u", "y", NULL);
    build_output(b, "y", DT_F32, "2,8,6,7");
}

static void test_dead(void **state)
{
    (void)state;
    Build *b = begin("2,8,6,7");
    Model *m;
    Plan *p;
    build_dead(b);
    check(b, image, 4);
    b = begin("2,8,6,7");
    build_dead(b);
    Bytes bytes = build_finish(b, 8, 20);
    Tensor x = { .dtype = DT_F32, .shape = image, .bytes = sizeof(float) * 2 * 8 * 6 * 7, .data = numbers };
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK) fail_msg("%s", err_text());
    build_and_run(m, &(PlanInput){ "x", DT_F32, image }, &x, false, &p);
    assert_int_equal(weights_left(p, 0), 5 * 8);                   /* rows 1, 5 and 2 */
    assert_int_equal(weights_left(p, 3), 8 * (16 - 6));            /* columns 1, 5, 2 of both halves */
    plan_free(p);
    model_free(m);
    bytes_free(bytes);
}

/* Nobody reads channels 1 and 5 of the depthwise convolution: both convolutions before lose them, unless they are an output. */
static void build_narrow(Build *b, const char *outputs)
{
    static float u[8 * 8];
    Random r = { 22 };
    for (int i = 0; i < 64; i++) u[i] = i % 8 == 1 || i % 8 == 5 ? 0 : random_float(&r);
    add_conv(b, "x", "a", "8,8,3,3", "pads:is=1,1,1,1");
    add_norm(b, "a", "an");
    build_node(b, "Relu", "an", "p", NULL);
    add_conv(b, "p", "c", "8,1,3,3", "group:i=8;pads:is=1,1,1,1");
    add_norm(b, "c", "cn");
    build_init(b, "u", DT_F32, "8,8,1,1", u);
    build_node(b, "Conv", "cn,u", "y", NULL);
    for (const char *o = outputs; *o; o++) build_output(b, (char[]){ *o, 0 }, DT_F32, "2,8,6,7");
}

static void test_narrow(void **state)
{
    (void)state;
    const struct { const char *outputs; int64_t left; } CASE[] = { { "y", 6 }, { "yp", 8 } };
    for (int i = 0; i < 2; i++) {
        Build *b = begin("2,8,6,7");
        build_narrow(b, CASE[i].outputs);
        check(b, image, 3);
        assert_int_equal(read_by_last, CASE[i].left);
    }
}

/* What is read twice, or is an output, stays. */
static void test_kept(void **state)
{
    (void)state;
    Build *b = begin("2,8,6,7");
    add_conv(b, "x", "a", "8,8,1,1", NULL);
    build_node(b, "Relu", "a", "p", NULL);
    build_node(b, "Relu", "p", "q", NULL);
    build_node(b, "Add", "p,q", "y", NULL);
    build_output(b, "a", DT_F32, "2,8,6,7");
    build_output(b, "y", DT_F32, "2,8,6,7");
    check(b, image, 4);
}

/* One image: both halves of the Split and what was made of one of them are joined without a copy. */
static void test_join(void **state)
{
    (void)state;
    Build *b = begin("1,8,6,7");
    add_conv(b, "x", "a", "8,8,1,1", NULL);
    build_node(b, "Split", "a", "l,r", "axis:i=1 num_outputs:i=2");
    add_conv(b, "r", "c", "8,4,3,3", "pads:is=1,1,1,1");
    build_node(b, "Concat", "l,r,c", "all", "axis:i=1");
    build_node(b, "Concat", "x,all", "y", "axis:i=1");
    build_output(b, "y", DT_F32, "1,24,6,7");
    check(b, (Shape){ 4, { 1, 8, 6, 7 } }, 5);
}

static void add_sparse(Build *b, const char *x, const char *y)
{
    char w[32], in[64];
    for (int i = 0; i < SOME; i++) numbers[i] = i % 31 ? 0 : cosf((float)i);
    snprintf(w, sizeof w, "w_%s", y);
    snprintf(in, sizeof in, "%s,%s", x, w);
    build_init(b, w, DT_F32, "64,64", numbers);
    build_node(b, "MatMul", in, y, NULL);
}

static Build *begin_row(const char *dims)
{
    Build *b = begin(dims);
    add_sparse(b, "x", "a");
    build_node(b, "Tanh", "a", "t", NULL);
    add_sparse(b, "t", "c");
    return b;
}

/* Sparse products in a row hand panels on, with or without a last panel that is not full; not when something else reads what is between. */
static void test_row_of_products(void **state)
{
    (void)state;
    Build *b = begin_row("3,21,64");
    build_output(b, "c", DT_F32, "3,21,64");
    check(b, (Shape){ 3, { 3, 21, 64 } }, 2);
    b = begin_row("64,64");
    build_node(b, "Relu", "c", "y", NULL);
    build_output(b, "y", DT_F32, "64,64");
    check(b, (Shape){ 2, { 64, 64 } }, 2);
    b = begin_row("63,64");
    build_output(b, "t", DT_F32, "63,64");
    build_node(b, "Sub", "c,t", "y", NULL);
    build_output(b, "y", DT_F32, "63,64");
    check(b, (Shape){ 2, { 63, 64 } }, 2);
}

static void add_layer_norm(Build *b, const char *x, const char *y)
{
    char scale[32], shift[32], in[96];
    snprintf(scale, sizeof scale, "%s_scale", y);
    snprintf(shift, sizeof shift, "%s_shift", y);
    snprintf(in, sizeof in, "%s,%s,%s", x, scale, shift);
    add_constant(b, scale, "64", 0.5f);
    add_constant(b, shift, "64", -1);
    build_node(b, "LayerNormalization", in, y, NULL);
}

/* Four heads of 16 features. */
static void add_heads(Build *b, const char *x, const char *y, const char *perm)
{
    char in[64], apart[32];
    snprintf(in, sizeof in, "%s,four", x);
    snprintf(apart, sizeof apart, "%s_apart", y);
    build_node(b, "Reshape", in, apart, NULL);
    build_node(b, "Transpose", apart, y, perm);
}

static void add_attention(Build *b, const char *x, const char *y)
{
    static const int64_t four[] = { 1, 63, 4, 16 }, one[] = { 1, 63, 64 };
    build_init(b, "four", DT_I64, "4", four);
    build_init(b, "one", DT_I64, "3", one);
    add_sparse(b, x, "query");
    add_sparse(b, x, "key");
    add_sparse(b, x, "value");
    add_heads(b, "query", "q", "perm:is=0,2,1,3");
    add_heads(b, "key", "k", "perm:is=0,2,3,1");
    add_heads(b, "value", "v", "perm:is=0,2,1,3");
    build_node(b, "MatMul", "q,k", "scores", NULL);
    build_node(b, "Softmax", "scores", "p", NULL);
    build_node(b, "MatMul", "p,v", "heads", NULL);
    build_node(b, "Transpose", "heads", "tokens", "perm:is=0,2,1,3");
    build_node(b, "Reshape", "tokens,one", y, NULL);
}

/* A layer of an encoder with zeros hands on panels from its first normalization to its last, residual sums as well; those of rows are added to rows. */
static void test_encoder(void **state)
{
    (void)state;
    for (int rows = 0; rows < 2; rows++) {
        Build *b = begin("1,63,64");
        add_layer_norm(b, "x", "n");
        add_attention(b, "n", "a");
        add_sparse(b, "a", "o");
        build_node(b, "Add", rows ? "o,x" : "o,n", "r", NULL);
        add_layer_norm(b, "r", "m");
        add_sparse(b, "m", "f");
        build_node(b, "Relu", "f", "g", NULL);
        add_sparse(b, "g", "h");
        build_node(b, "Add", "h,m", "z", NULL);
        add_layer_norm(b, "z", "y");
        build_output(b, "y", DT_F32, "1,63,64");
        check(b, (Shape){ 3, { 1, 63, 64 } }, 10);
        assert_int_equal(in_panels, rows ? 8 : 9);
    }
}

/* What lies between them has room for whole panels. */
static void test_panels_have_room(void **state)
{
    (void)state;
    Build *b = begin_row("63,64");
    Plan *p;
    build_output(b, "c", DT_F32, "63,64");
    Bytes bytes = build_finish(b, 8, 20);
    Model *m;
    PlanInput input = { "x", DT_F32, { 2, { 63, 64 } } };
    Tensor x = { .dtype = DT_F32, .shape = input.shape, .bytes = 63 * 64 * sizeof(float), .data = numbers };
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK) fail_msg("%s", err_text());
    build_and_run(m, &input, &x, false, &p);
    assert_int_equal(p->n_step, 2);
    for (int i = 0; i < 2; i++) assert_true(!strncmp(p->step[i]->variant, "tokens-sparse", 13));
    assert_true(p->step[0]->out[0]->bytes % (64 * sizeof(float)) == 0 && p->step[0]->out[0]->bytes > x.bytes);
    plan_free(p);
    model_free(m);
    bytes_free(bytes);
}

/* Few tokens are not worth panels. Bias and activation are of the product. */
static void test_few_tokens(void **state)
{
    enum { WEIGHTS = 1024 * 1024 };
    static float w[WEIGHTS];
    static const char *const X[] = { "1,1024", "2,1024" };
    (void)state;
    for (int tokens = 1; tokens <= 2; tokens++) {
        Build *b = begin(X[tokens - 1]);
        for (int i = 0; i < WEIGHTS; i++) w[i] = i % 31 ? 0 : cosf((float)i);
        build_init(b, "w", DT_F32, "1024,1024", w);
        build_init(b, "bias", DT_F32, "1024", numbers);
        build_node(b, "Gemm", "x,w,bias", "a", NULL);
        build_node(b, "Tanh", "a", "y", NULL);
        build_output(b, "y", DT_F32, X[tokens - 1]);
        check(b, (Shape){ 2, { tokens, 1024 } }, 1);
        assert_true(!strncmp(variant, "tokens-gather (97 % zeros", 25));
    }
}

/* A constant first operand: columns of the second are pixels. */
static void test_constant_on_the_left(void **state)
{
    (void)state;
    for (int dense = 0; dense < 2; dense++) {
        Build *b = begin("3,64,21");
        for (int i = 0; i < SOME; i++) numbers[i] = i % 31 && !dense ? 0 : cosf((float)i);
        build_init(b, "w", DT_F32, "64,64", numbers);
        build_node(b, "MatMul", "w,x", "y", NULL);
        build_output(b, "y", DT_F32, "3,64,21");
        check(b, (Shape){ 3, { 3, 64, 21 } }, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overwrites), cmocka_unit_test(test_election),
        cmocka_unit_test(test_residual), cmocka_unit_test(test_single_pixels), cmocka_unit_test(test_depthwise_and_gates), cmocka_unit_test(test_decomposed_hard_swish),
        cmocka_unit_test(test_constants_of_channels), cmocka_unit_test(test_tokens), cmocka_unit_test(test_kept), cmocka_unit_test(test_join),
        cmocka_unit_test(test_dead), cmocka_unit_test(test_narrow), cmocka_unit_test(test_row_of_products), cmocka_unit_test(test_encoder),
        cmocka_unit_test(test_panels_have_room),
        cmocka_unit_test(test_few_tokens),
        cmocka_unit_test(test_constant_on_the_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
