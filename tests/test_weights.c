/* Finding weights: where exporters put them, what is counted, why some are kept. Numbers of real models: weights,
 * elements and zeros were counted independently with the onnx package; multiply-adds and the layers kept pin what the program says. */
#include "engine/infer.h"
#include "engine/weights.h"
#include "recipes/survey.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Found { Bytes bytes; Model *model; Weight *weight; int n; } Found;

static void find(Found *f, const Binding *binding, int n)
{
    if (ops_bind(f->model) != OK || infer(f->model, binding, n, NULL) != OK || weights_find(f->model, &f->weight, &f->n) != OK) fail_msg("%s", err_text());
}

static Found found(Build *b)
{
    Found f = { .bytes = build_finish(b, 8, 17) };
    if (model_parse(f.bytes.at, f.bytes.size, &f.model) != OK) fail_msg("%s", err_text());
    find(&f, NULL, 0);
    return f;
}

static void drop(Found f)
{
    model_free(f.model);
    bytes_free(f.bytes);
}

static const Weight *weight_named(Found f, const char *name)
{
    for (int i = 0; i < f.n; i++)
        if (!strcmp(f.weight[i].name, name)) return &f.weight[i];
    fail_msg("no weight '%s'", name);
    return NULL;
}

/* "O4/27 I3/9 T3/3": role, size and stride of each axis. */
static void axes_are(const Weight *w, const char *expected)
{
    char text[200] = "";
    for (int i = 0; i < w->n_axis; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%c%lld/%lld", i ? " " : "", "BOIT"[w->axis[i].role], (long long)w->axis[i].size,
                 (long long)w->axis[i].stride);
    assert_string_equal(text, expected);
}

/* ---- where they are ---- */

static void test_products(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "2,3,8,8");
    build_init(b, "w", DT_F32, "4,3,3,3", NULL);
    build_init(b, "u", DT_F32, "4,5,2,2", NULL);
    build_init(b, "g", DT_F32, "7,320", NULL);
    build_init(b, "left", DT_F32, "6,2", NULL);
    build_init(b, "e", DT_F32, "9,7", NULL);
    build_init(b, "bias", DT_F32, "7", NULL);
    build_node(b, "Conv", "x,w", "c", "");
    build_node(b, "ConvTranspose", "c,u", "t", "strides:is=1,1");
    build_node(b, "GlobalMaxPool", "t", "p", "");
    build_node(b, "Expand", "p,to", "q", "");
    build_init(b, "to", DT_I64, "4", (int64_t[]){ 2, 5, 8, 8 });
    build_node(b, "Flatten", "q", "f", "");
    build_node(b, "Gemm", "f,g,bias", "y", "transB:i=1");
    build_node(b, "MatMul", "left,y", "m", "");
    build_node(b, "Einsum", "e,m", "z", "equation:s=oi,bi->bo");
    build_output(b, "z", DT_F32, "6,9");
    Found f = found(b);
    assert_int_equal(f.n, 5);
    axes_are(weight_named(f, "w"), "O4/27 I3/9 T3/3 T3/1");
    axes_are(weight_named(f, "u"), "I4/20 O5/4 T2/2 T2/1");
    axes_are(weight_named(f, "g"), "O7/320 I320/1");
    axes_are(weight_named(f, "left"), "O6/2 I2/1");
    axes_are(weight_named(f, "e"), "O9/7 I7/1");
    assert_int_equal(weight_named(f, "w")->macs, 2 * 4 * 6 * 6 * 27);
    assert_int_equal(weight_named(f, "u")->macs, 2 * 4 * 6 * 6 * 20);
    assert_int_equal(weight_named(f, "g")->macs, 2 * 7 * 320);
    assert_int_equal(weight_named(f, "left")->macs, 6 * 2 * 7);
    assert_int_equal(weight_named(f, "e")->macs, 6 * 9 * 7);
    assert_int_equal(weight_named(f, "w")->keep, KEEP_FIRST);
    assert_int_equal(weight_named(f, "u")->keep, KEEP_SMALL);
    assert_int_equal(weight_named(f, "g")->keep, KEEP_NOT);
    assert_int_equal(weight_named(f, "e")->keep, KEEP_LAST);
    drop(f);
}

/* Behind Transpose, Reshape and Cast, in a Constant node, and where a Reshape mixes the axes. */
static void test_behind(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "2,6");
    build_init(b, "w", DT_F16, "4,2,3", NULL);
    build_init(b, "flat", DT_I64, "2", (int64_t[]){ 4, 6 });
    build_init(b, "other", DT_I64, "2", (int64_t[]){ 6, 4 });
    build_node(b, "Reshape", "w,flat", "r", "");
    build_node(b, "Transpose", "r", "t", "perm:is=1,0");
    build_node(b, "Cast", "t", "k", "to:i=1");
    build_node(b, "MatMul", "x,k", "y", "");
    build_node(b, "Constant", "", "c", "");
    Pb tensor = tensor_raw(NULL, DT_F32, "4,3,2", NULL);
    build_attr_tensor(b, "value", &tensor);
    build_node(b, "Transpose", "c", "ct", "perm:is=2,1,0");
    build_node(b, "Reshape", "ct,other", "mixed", "");
    build_node(b, "MatMul", "x,mixed", "z", "");
    build_output(b, "y", DT_F32, "2,4");
    build_output(b, "z", DT_F32, "2,4");
    Found f = found(b);
    assert_int_equal(f.n, 2);
    axes_are(weight_named(f, "w"), "I6/1 O4/6");
    axes_are(weight_named(f, "c"), "");
    drop(f);
}

/* W and R of an LSTM whose gates are reordered by Slice and Concat, in the branch of an If. */
static void test_lstm(void **state)
{
    (void)state;
    Build *body = build_new(), *b = build_new();
    build_init(body, "w", DT_F32, "8,3", NULL);
    build_init(body, "rec", DT_F32, "1,8,2", NULL);
    for (int i = 0; i < 3; i++) build_init(body, (const char *[]){ "0", "4", "8" }[i], DT_I64, "1", &(int64_t){ 4 * i });
    build_node(body, "Slice", "w,0,4,0", "low", "");
    build_node(body, "Slice", "w,4,8,0", "high", "");
    build_node(body, "Concat", "high,low", "turned", "axis:i=0");
    build_node(body, "Unsqueeze", "turned,0", "w3", "");
    build_node(body, "LSTM", "x,w3,rec", "a", "hidden_size:i=2");
    build_output(body, "a", DT_F32, NULL);
    build_input(b, "c", DT_BOOL, "");
    build_input(b, "x", DT_F32, "5,4,3");
    build_input(b, "z", DT_F32, "5,1,4,2");
    build_node(b, "If", "c", "y", "");
    build_attr_graph(b, "then_branch", body);
    build_attr_graph(b, "else_branch", build_branch("Identity", "z", "o", NULL));
    build_output(b, "y", DT_F32, NULL);
    Found f = found(b);
    assert_int_equal(f.n, 2);
    axes_are(weight_named(f, "w"), "B1/24 O8/3 I3/1");
    axes_are(weight_named(f, "rec"), "B1/16 O8/2 I2/1");
    assert_int_equal(weight_named(f, "w")->macs, 5 * 4 * 24);
    assert_int_equal(weight_named(f, "rec")->macs, 5 * 4 * 16);
    drop(f);
}

/* A local function that gets its weights from its callers. */
static void test_function(void **state)
{
    (void)state;
    Build *body = build_new(), *b = build_new();
    build_node(body, "MatMul", "fx,fw", "fm", "");
    build_node(body, "Relu", "fm", "fy", "");
    build_input(b, "x", DT_F32, "2,40");
    build_init(b, "one", DT_F32, "40,40", NULL);
    build_init(b, "two", DT_F32, "40,40", NULL);
    build_init(b, "three", DT_F32, "40,40", NULL);
    for (int i = 0; i < 3; i++) {
        build_node(b, "Layer", (const char *[]){ "x,one", "a,two", "k,three" }[i], (const char *[]){ "a", "k", "y" }[i], "");
        build_node_domain(b, "my");
    }
    build_output(b, "y", DT_F32, "2,40");
    build_opset(b, "my", 1);
    build_function(b, &(BuildFunction){ .domain = "my", .name = "Layer", .in = "fx,fw", .out = "fy", .opset = 17 }, body);
    Found f = found(b);
    assert_int_equal(f.n, 3);
    axes_are(weight_named(f, "two"), "I40/40 O40/1");
    assert_int_equal(weight_named(f, "two")->keep, KEEP_NOT);
    assert_int_equal(weight_named(f, "two")->n_use, 1);
    drop(f);
}

/* ---- quantized ---- */

static void test_quantized(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1,2,4,4");
    build_init(b, "w", DT_U8, "3,2,1,1", (uint8_t[]){ 7, 5, 9, 9, 0, 7 });
    build_init(b, "scale", DT_F32, "3", NULL);
    build_init(b, "zero", DT_U8, "3", (uint8_t[]){ 7, 9, 0 });
    build_init(b, "v", DT_I8, "3,2", (int8_t[]){ 1, 0, 0, -1, 0, 5 });
    build_init(b, "s", DT_F32, "", NULL);
    build_node(b, "DequantizeLinear", "w,scale,zero", "d", "axis:i=0");
    build_node(b, "Conv", "x,d", "y", "");
    build_node(b, "GlobalAveragePool", "y", "g", "");
    build_node(b, "Flatten", "g", "f", "");
    build_node(b, "DequantizeLinear", "v,s", "e", "");
    build_node(b, "MatMul", "f,e", "z", "");
    build_output(b, "z", DT_F32, "1,2");
    Found f = found(b);
    const Weight *w = weight_named(f, "w"), *v = weight_named(f, "v");
    assert_string_equal(w->scale->name, "scale");
    assert_string_equal(w->zero->name, "zero");
    assert_int_equal(w->quant_axis, 0);
    assert_int_equal(w->zeros, 4);
    assert_null(v->zero);
    assert_int_equal(v->zeros, 3);
    drop(f);
}

/* ---- what is counted ---- */

static void test_zeros(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1,4");
    build_init(b, "f", DT_F32, "4,1", (float[]){ 0, -0.0f, 1e-45f, 1 });
    build_init(b, "h", DT_F16, "4,1", (uint16_t[]){ 0, 0x8000, 1, 0x3c00 });
    build_init(b, "d", DT_F64, "4,1", (double[]){ 0, -0.0, 1e-300, 0 });
    build_init(b, "n", DT_I4, "4,1", (uint8_t[]){ 0x20, 0x03 });
    build_init(b, "z", DT_F8E4M3FNUZ, "4,1", (uint8_t[]){ 0, 0x80, 1, 0 });
    static const char *const names[] = { "f", "h", "d", "n", "z" };
    static const int zeros[] = { 2, 2, 3, 2, 2 };
    for (int i = 0; i < 5; i++) {
        char in[8], out[8];
        snprintf(in, sizeof in, "x,%s", names[i]);
        snprintf(out, sizeof out, "y%d", i);
        build_node(b, "MatMul", in, out, "");
        build_output(b, out, DT_NONE, NULL);
    }
    Found f = found(b);
    for (int i = 0; i < 5; i++) assert_int_equal(weight_named(f, names[i])->zeros, zeros[i]);
    drop(f);
}

/* Parameters are weights and other constants of numbers, quantized tables too; indices and flags are none. */
static void test_parameters(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "ids", DT_I64, "3");
    build_init(b, "table", DT_U8, "10,4", NULL);
    build_init(b, "scale", DT_F32, "", NULL);
    build_init(b, "w", DT_F32, "4,5", (float[20]){ 1, 2 });
    build_init(b, "bias", DT_F32, "5", (float[5]){ 1, 0, 1 });
    build_init(b, "shape", DT_I64, "2", (int64_t[]){ 5, 3 });
    build_init(b, "flags", DT_BOOL, "1", (uint8_t[]){ 1 });
    build_node(b, "Gather", "table,ids", "rows", "");
    build_node(b, "DequantizeLinear", "rows,scale", "x", "");
    build_node(b, "MatMul", "x,w", "p", "");
    build_node(b, "Add", "p,bias", "q", "");
    build_node(b, "Where", "flags,q,q", "r", "");
    build_node(b, "Reshape", "r,shape", "y", "");
    build_output(b, "y", DT_F32, "5,3");
    Found f = { .bytes = build_finish(b, 8, 17) };
    Survey *survey;
    assert_int_equal(model_parse(f.bytes.at, f.bytes.size, &f.model), OK);
    assert_int_equal(model_survey(f.model, NULL, &survey), OK);
    assert_int_equal(survey->parameters, 40 + 1 + 20 + 5);
    assert_int_equal(survey->zeros, 18 + 3);
    assert_int_equal(survey->weight[0].keep, KEEP_LAST);             /* and not the first: the table stands before it */
    drop(f);
}

/* Shared by two products: one weight. Shared with an embedding, also behind a Transpose: kept. Given out: kept. */
static void test_shared(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "ids", DT_I64, "1,5");
    build_init(b, "table", DT_F32, "64,32", NULL);
    build_init(b, "twice", DT_F32, "32,32", NULL);
    build_init(b, "out", DT_F32, "32,32", NULL);
    build_node(b, "Gather", "table,ids", "e", "");
    build_node(b, "MatMul", "e,twice", "a", "");
    build_node(b, "MatMul", "a,twice", "k", "");
    build_node(b, "MatMul", "k,out", "m", "");
    build_node(b, "Transpose", "table", "tied", "perm:is=1,0");
    build_node(b, "MatMul", "m,tied", "y", "");
    build_node(b, "Identity", "out", "given", "");
    build_output(b, "y", DT_F32, "1,5,64");
    build_output(b, "given", DT_F32, "32,32");
    Found f = found(b);
    assert_int_equal(f.n, 3);
    assert_int_equal(weight_named(f, "twice")->n_use, 2);
    assert_int_equal(weight_named(f, "twice")->keep, KEEP_NOT);
    assert_int_equal(weight_named(f, "twice")->macs, 2 * 5 * 32 * 32);
    assert_int_equal(weight_named(f, "table")->keep, KEEP_SHARED_OTHER);
    assert_int_equal(weight_named(f, "out")->keep, KEEP_SHARED_OTHER);
    drop(f);
}

/* Two heads are two last layers, and a Softmax's mean behind one of them is none; keys that are given out are not last; depthwise. */
static void test_first_and_last(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1,32,4,4");
    build_init(b, "stem", DT_F32, "64,32,1,1", NULL);
    build_init(b, "deep", DT_F32, "64,1,5,5", NULL);
    build_init(b, "key", DT_F32, "64,64,1,1", NULL);
    build_init(b, "box", DT_F32, "64,64,1,1", NULL);
    build_init(b, "mean", DT_F32, "1,64,1,1", NULL);
    build_init(b, "class", DT_F32, "80,64,1,1", NULL);
    build_node(b, "Conv", "x,stem", "a", "");
    build_node(b, "Conv", "a,deep", "d", "group:i=64 pads:is=2,2,2,2");
    build_node(b, "Conv", "d,key", "k", "");
    build_node(b, "Add", "k,a", "s", "");
    build_node(b, "Conv", "s,box", "p", "");
    build_node(b, "Softmax", "p", "q", "axis:i=1");
    build_node(b, "Conv", "q,mean", "boxes", "");
    build_node(b, "Conv", "s,class", "classes", "");
    for (int i = 0; i < 3; i++) build_output(b, (const char *[]){ "boxes", "classes", "k" }[i], DT_F32, NULL);
    Found f = found(b);
    static const struct { const char *name; WeightKeep keep; } expected[] = {
        { "stem", KEEP_FIRST }, { "deep", KEEP_DEPTHWISE }, { "key", KEEP_NOT }, { "box", KEEP_LAST }, { "mean", KEEP_SMALL }, { "class", KEEP_LAST },
    };
    for (int i = 0; i < 6; i++) assert_int_equal(weight_named(f, expected[i].name)->keep, expected[i].keep);
    drop(f);
}

/* ---- real models ---- */

typedef struct Expected { const char *file; int weights, first, last, depthwise; int64_t elements, zeros, macs; Binding size; } Expected;

static const Expected EXPECTED[] = {
    { "resnet50.onnx", 54, 1, 1, 0, 25502912, 22, 4089184256, { "batch", 1 } },
    { "squeezenet_sparse.onnx", 26, 1, 1, 0, 1244448, 828527, -1, { 0 } },
    { "mobilenetv2.onnx", 53, 1, 1, 17, 3471040, 87067, 300775552, { 0 } },
    { "mobilenetv2_dynamic_int8.onnx", 53, 1, 1, 17, 3469760, 140145, 300774272, { "batch_size", 1 } },
    { "yolov8n.onnx", 64, 1, 6, 0, 3146176, 290171, 4371993600, { 0 } },
    { "stories260k_llama.onnx", 36, 0, 0, 0, 259328, 0, -1, { 0 } },
    { "silero_vad.onnx", 16, 2, 2, 0, 542464, 3522, -1, { 0 } },
};

static void check_model(const char *folder, const Expected *e)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/%s", folder, e->file);
    Found f = { 0 };
    if (model_load(path, &f.model) != OK) fail_msg("%s", err_text());
    find(&f, &e->size, e->size.name != NULL);
    Expected got = { .file = e->file, .weights = f.n };
    for (int i = 0; i < f.n; i++) {
        got.elements += f.weight[i].elements;
        got.zeros += f.weight[i].zeros;
        got.macs += f.weight[i].macs;
        got.first += f.weight[i].keep == KEEP_FIRST;
        got.last += f.weight[i].keep == KEEP_LAST;
        got.depthwise += f.weight[i].keep == KEEP_DEPTHWISE;
    }
    assert_int_equal(got.weights, e->weights);
    assert_int_equal(got.elements, e->elements);
    assert_int_equal(got.zeros, e->zeros);
    if (e->macs >= 0) assert_int_equal(got.macs, e->macs);
    assert_int_equal(got.first, e->first);
    assert_int_equal(got.last, e->last);
    assert_int_equal(got.depthwise, e->depthwise);
    model_free(f.model);
}

static void test_real_models(void **state)
{
    (void)state;
    const char *folder = getenv("ONESHOT_MODELS");
    char path[1000];
    snprintf(path, sizeof path, "%s/resnet50.onnx", folder ? folder : "");
    Bytes probe = read_file(path);
    bool there = probe.at != NULL;
    bytes_free(probe);
    if (!there) {
        printf("skipped: no real models in %s\n", folder ? folder : "$ONESHOT_MODELS");
        skip();
    }
    for (size_t i = 0; i < sizeof EXPECTED / sizeof *EXPECTED; i++) check_model(folder, &EXPECTED[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products), cmocka_unit_test(test_behind), cmocka_unit_test(test_lstm), cmocka_unit_test(test_function),
        cmocka_unit_test(test_quantized), cmocka_unit_test(test_zeros), cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_shared), cmocka_unit_test(test_first_and_last),
        cmocka_unit_test(test_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
