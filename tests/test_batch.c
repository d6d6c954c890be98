/* Batches that are run in pieces: when they are, when they must not be, and that the results stay. */
#include "engine/infer.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 17, WIDE = 1024 };

static Plan *run(Model *m, const PlanInput *input, const Tensor *x, const PlanOptions *options)
{
    Plan *p;
    if (plan_build(m, input, 1, options, &p) != OK || plan_run(p, x, 1) != OK) fail_msg("%s", err_text());
    return p;
}

/* In how many stages the model runs with 2 threads, 0: it is not split; compares its outputs with those of a plan that is whole. */
static int stages(Build *b, Shape shape, int64_t opset)
{
    static float numbers[MOST];
    Bytes bytes = build_finish(b, 8, opset);
    Model *m;
    int64_t n = 0;
    Random r = { 3 };
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK || shape_count(&shape, &n) != OK) fail_msg("%s", err_text());
    assert_true(n <= MOST);
    for (int64_t i = 0; i < n; i++) numbers[i] = random_float(&r);
    Tensor x = { .dtype = DT_F32, .shape = shape, .bytes = (size_t)n * sizeof(float), .data = numbers };
    PlanInput input = { "x", DT_F32, shape };
    Plan *pieces = run(m, &input, &x, &(PlanOptions){ .threads = 2 }), *whole = run(m, &input, &x, &(PlanOptions){ .threads = 2, .whole = true });
    assert_int_equal(whole->n_stage, 0);
    assert_int_equal(pieces->n_out, whole->n_out);
    for (int i = 0; i < whole->n_out; i++) {
        assert_true(shape_equal(&pieces->out[i]->shape, &whole->out[i]->shape));
        const float *y = pieces->out[i]->data, *z = whole->out[i]->data;
        for (int64_t k = 0; k < whole->out[i]->count; k++) assert_true(y[k] - z[k] <= 1e-5f && z[k] - y[k] <= 1e-5f);
    }
    const int found = pieces->n_stage;
    plan_free(pieces);
    plan_free(whole);
    model_free(m);
    bytes_free(bytes);
    return found;
}

static bool splits(Build *b, Shape shape, int64_t opset) { return stages(b, shape, opset) > 0; }

static Build *begin(const char *dims)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, dims);
    return b;
}

static void test_network(void **state)
{
    static float w[8 * 3 * 9];
    Random r = { 9 };
    (void)state;
    for (int sizes = 1; sizes < 10; sizes++) {
        Build *b = begin("n,3,8,8");
        for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = random_float(&r) / 4;
        build_init(b, "w", DT_F32, "8,3,3,3", w);
        build_init(b, "u", DT_F32, "8,5", w);
        build_init(b, "axes", DT_I64, "2", (int64_t[]){ 2, 3 });
        build_node(b, "Conv", "x,w", "a", "pads:is=1,1,1,1");
        build_node(b, "Relu", "a", "p", NULL);
        build_node(b, "Concat", "a,p", "c", "axis:i=1");
        build_node(b, "Split", "c", "l,q", "axis:i=1 num_outputs:i=2");
        build_node(b, "Add", "l,q", "s", NULL);
        build_node(b, "ReduceMean", "s,axes", "mean", "keepdims:i=0");
        build_node(b, "MatMul", "mean,u", "y", NULL);
        build_node(b, "Softmax", "y", "z", NULL);
        build_output(b, "z", DT_F32, "n,5");
        build_output(b, "s", DT_F32, "n,8,8,8");
        assert_int_equal(splits(b, (Shape){ 4, { sizes, 3, 8, 8 } }, 18), sizes > 1 && sizes != 3 && sizes != 5 && sizes != 7 && sizes != 9);
    }
}

/* A block of residual network: 8 channels, many more in the middle, 8 channels again. */
static void add_block(Build *b, const char *in, const char *out)
{
    char node[4][32];
    for (int i = 0; i < 4; i++) snprintf(node[i], sizeof node[i], "%s.%d", out, i);
    char text[96];
    snprintf(text, sizeof text, "%s,up,bias", in);
    build_node(b, "Conv", text, node[0], NULL);
    snprintf(text, sizeof text, "%s,wide,bias", node[0]);
    build_node(b, "Conv", text, node[1], NULL);
    snprintf(text, sizeof text, "%s,down", node[1]);
    build_node(b, "Conv", text, node[2], NULL);
    snprintf(text, sizeof text, "%s,%s", node[2], in);
    build_node(b, "Add", text, node[3], NULL);
    build_node(b, "Relu", node[3], out, NULL);
}

/* Layers of few pixels with many weights are stages of larger pieces, behind the strides that lead to them. What passes between stages: by channel, thinned out for one
 * reader or two, a value that is an output as well, one that passes a stage. And what follows early layers only, joins, views, a group convolution. */
static void test_late(void **state)
{
    static const struct { int samples, stages; } ROW[] = { { 4, 2 }, { 14, 2 }, { 24, 3 } };
    static float wide[WIDE * WIDE], w[WIDE * 8];
    Random r = { 9 };
    (void)state;
    for (int zeros = 0; zeros < 2; zeros++)
        for (size_t row = 0; row < sizeof ROW / sizeof *ROW; row++) {
            Build *b = begin("n,8,20,20");
            for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) wide[i] = zeros && random_float(&r) < 0.8f ? 0 : random_float(&r) / 512;
            for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = zeros && random_float(&r) < 0.6f ? 0 : random_float(&r) / 8;
            build_init(b, "wide", DT_F32, "1024,1024,1,1", wide);
            build_init(b, "up", DT_F32, "1024,8,1,1", w);
            build_init(b, "down", DT_F32, "8,1024,1,1", w);
            build_init(b, "bias", DT_F32, "1024", w + 900);
            build_init(b, "more", DT_F32, "128,8,1,1", w + 9);
            build_init(b, "less", DT_F32, "8,128,1,1", w + 11);
            build_init(b, "w3", DT_F32, "8,8,3,3", w + 30);
            build_init(b, "w6", DT_F32, "8,16,3,3", w + 90);
            build_init(b, "w1", DT_F32, "8,8,1,1", w + 7);
            build_init(b, "v1", DT_F32, "8,16,1,1", w + 70);
            build_init(b, "w2", DT_F32, "8,4,3,3", w + 300);
            build_node(b, "Conv", "x,more", "large", NULL);
            build_node(b, "Conv", "large,less", "a", NULL);
            build_node(b, "Relu", "a", "b", NULL);
            build_node(b, "Conv", "b,w3", "c", "pads:is=1,1,1,1 strides:is=2,2");
            build_node(b, "Conv", "b,w1", "d", "strides:is=2,2");
            build_node(b, "Add", "c,d", "e", NULL);
            build_node(b, "Sigmoid", "e", "f", NULL);
            add_block(b, "f", "g");
            build_node(b, "Concat", "g,f", "h", "axis:i=1");
            build_node(b, "Identity", "h", "i", NULL);
            build_node(b, "Conv", "i,w6", "s", "pads:is=1,1,1,1 strides:is=2,2");
            build_node(b, "Conv", "i,v1", "t", "strides:is=2,2");
            build_node(b, "Conv", "i,v1", "u", "strides:is=2,2");
            build_node(b, "Conv", "g,w1", "v", "strides:is=2,2");
            build_node(b, "Sum", "s,t,u,v", "j", NULL);
            build_node(b, "MaxPool", "f", "k", "kernel_shape:is=2,2 strides:is=2,2");
            add_block(b, "j", "l");
            build_node(b, "Conv", "l,w2", "m", "pads:is=1,1,1,1 group:i=2");
            build_node(b, "Add", "m,k", "n", NULL);
            build_node(b, "MaxPool", "n", "o", "kernel_shape:is=2,2");
            build_node(b, "GlobalAveragePool", "n", "p", NULL);
            build_node(b, "Mul", "n,p", "q", NULL);
            build_output(b, "q", DT_F32, "n,8,5,5");
            build_output(b, "o", DT_F32, "n,8,4,4");
            build_output(b, "a", DT_F32, "n,8,20,20");
            build_output(b, "f", DT_F32, "n,8,10,10");
            assert_int_equal(stages(b, (Shape){ 4, { ROW[row].samples, 8, 20, 20 } }, 18), ROW[row].stages);
        }
}

/* Samples meet: along axis 0, or because it is not the batch any more. */
static void test_mixing(void **state)
{
    static const struct { const char *op, *attributes; } MIXING[] = {
        { "Softmax", "axis:i=0" }, { "Transpose", "perm:is=1,0,2" }, { "CumSum", NULL }, { "Concat", "axis:i=0" }, { "Slice", NULL }, { "Gather", "axis:i=0" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof MIXING / sizeof *MIXING; i++) {
        Build *b = begin("n,4,4");
        const char *in = "x";
        build_init(b, "zero", DT_I64, "", (int64_t[]){ 0 });
        build_init(b, "last", DT_I64, "1", (int64_t[]){ -1 });
        build_init(b, "least", DT_I64, "1", (int64_t[]){ INT64_MIN + 1 });
        build_init(b, "axis", DT_I64, "1", (int64_t[]){ 0 });
        build_init(b, "order", DT_I64, "4", (int64_t[]){ 3, 0, 1, 2 });
        if (!strcmp(MIXING[i].op, "CumSum")) in = "x,zero";
        if (!strcmp(MIXING[i].op, "Concat")) in = "x,x";
        if (!strcmp(MIXING[i].op, "Slice")) in = "x,last,least,axis,last";
        if (!strcmp(MIXING[i].op, "Gather")) in = "x,order";
        build_node(b, MIXING[i].op, in, "y", MIXING[i].attributes);
        build_output(b, "y", DT_F32, "?,4,4");
        if (splits(b, (Shape){ 3, { 4, 4, 4 } }, 17)) fail_msg("%s is split", MIXING[i].op);
    }
}

/* A constant with a row for each sample; a shape that names the batch. */
static void test_constants(void **state)
{
    (void)state;
    Build *b = begin("4,4,4");
    build_init(b, "rows", DT_F32, "4,4,4", NULL);
    build_node(b, "Add", "x,rows", "y", NULL);
    build_output(b, "y", DT_F32, "4,4,4");
    assert_false(splits(b, (Shape){ 3, { 4, 4, 4 } }, 17));
    b = begin("n,4,4");
    build_init(b, "shape", DT_I64, "2", (int64_t[]){ 4, 16 });
    build_node(b, "Reshape", "x,shape", "y", NULL);
    build_output(b, "y", DT_F32, "4,16");
    assert_false(splits(b, (Shape){ 3, { 4, 4, 4 } }, 17));
}

/* Elements of x (n, 6) in one row, picked by indices: stored ones, or 6 * sample + column with samples counted up (each takes from itself) or down. */
static bool splits_gathered(bool other_sample, bool stored)
{
    Build *b = begin("n,6");
    int64_t index[24];
    for (int i = 0; i < 24; i++) index[i] = i;
    build_init(b, "index", DT_I64, "24", index);
    build_init(b, "zero", DT_I64, "", (int64_t[]){ 0 });
    build_init(b, "one", DT_I64, "", (int64_t[]){ 1 });
    build_init(b, "flat", DT_I64, "1", (int64_t[]){ -1 });
    build_init(b, "last", DT_I64, "1", (int64_t[]){ 1 });
    build_init(b, "six", DT_I64, "", (int64_t[]){ 6 });
    build_init(b, "column", DT_I64, "6", (int64_t[]){ 5, 4, 3, 2, 1, 1 });
    build_init(b, "rows", DT_I64, "2", (int64_t[]){ -1, 6 });
    build_node(b, "Shape", "x", "sizes", NULL);
    build_node(b, "Gather", "sizes,zero", "n", NULL);
    build_node(b, "Range", "zero,n,one", "up", NULL);
    build_node(b, "Sub", "n,one", "most", NULL);
    build_node(b, "Sub", "most,up", "down", NULL);
    build_node(b, "Mul", other_sample ? "down,six" : "up,six", "start", NULL);
    build_node(b, "Unsqueeze", "start,last", "starts", NULL);
    build_node(b, "Add", "starts,column", "at", NULL);
    build_node(b, "Reshape", "at,flat", "computed", NULL);
    build_node(b, "Reshape", "x,flat", "all", NULL);
    build_node(b, "Gather", stored ? "all,index" : "all,computed", "picked", NULL);
    build_node(b, "Reshape", "picked,rows", "again", NULL);
    build_node(b, "Add", "again,x", "y", NULL);
    build_output(b, "y", DT_F32, "n,6");
    return splits(b, (Shape){ 2, { 4, 6 } }, 17);
}

static void test_gathered(void **state)
{
    (void)state;
    assert_true(splits_gathered(false, false));
    assert_false(splits_gathered(true, false));
    assert_false(splits_gathered(false, true));
}

/* What steps were prepared with is shared by the threads of the pieces: a Resize once wrote its scales there. */
static void test_shared(void **state)
{
    (void)state;
    for (int turn = 0; turn < 50; turn++) {
        Build *b = begin("n,1,1,8");
        build_init(b, "scales", DT_F32, "4", (float[]){ 1, 1, 40, 50 });
        build_node(b, "Resize", "x,,scales", "y", "mode:s=nearest");
        build_output(b, "y", DT_F32, "n,1,40,400");
        assert_true(splits(b, (Shape){ 4, { 512, 1, 1, 8 } }, 18));
    }
}

static void test_models(void **state)
{
    static const struct { const char *name; Shape shape; } ROW[] = {
        { "resnet18", { 4, { 4, 3, 224, 224 } } }, { "resnet50", { 4, { 4, 3, 224, 224 } } }, { "squeezenet_sparse", { 4, { 4, 3, 227, 227 } } },
        { "resnet20_cifar10", { 4, { 4, 3, 32, 32 } } }, { "stories260k_llama", { 2, { 4, 32 } } }, { "magika", { 2, { 4, 2048 } } },
    };
    const char *folder = getenv("ONESHOT_MODELS");
    (void)state;
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        Model *m = NULL;
        Plan *p = NULL;
        const Value **input = NULL;
        int n;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.onnx", folder ? folder : "", ROW[i].name);
        if (!folder || model_load(path, &m) != OK) {
            print_message("skipped: no real models in ONESHOT_MODELS\n");
            skip();
        }
        if (ops_bind(m) != OK || plan_inputs(m, &input, &n) != OK) fail_msg("%s", err_text());
        if (plan_build(m, &(PlanInput){ input[0]->name, input[0]->stated.dtype, ROW[i].shape }, 1, &(PlanOptions){ .threads = 2 }, &p) != OK) fail_msg("%s", err_text());
        if (!p->n_stage) fail_msg("%s is not split", ROW[i].name);
        plan_free(p);
        model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network), cmocka_unit_test(test_late), cmocka_unit_test(test_mixing), cmocka_unit_test(test_constants), cmocka_unit_test(test_gathered),
        cmocka_unit_test(test_shared), cmocka_unit_test(test_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
