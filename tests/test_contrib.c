/* Operators of com.microsoft on numbers small enough to follow by hand. tests/interop compares them with ONNX Runtime. */
#include <math.h>
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"

/* A model of one node under construction; inputs are constants, so that planning runs it. */
static Build *one_node(const char *type, const char *in, const char *out, const char *attributes)
{
    Build *b = build_new();
    build_opset(b, "com.microsoft", 1);
    build_node(b, type, in, out, attributes);
    build_node_domain(b, "com.microsoft");
    return b;
}

static Plan *planned(Build *b, Bytes *bytes, Model **m)
{
    Plan *plan = NULL;
    *bytes = build_finish(b, 8, 21);
    if (model_parse(bytes->at, bytes->size, m) != OK || ops_bind(*m) != OK || plan_build(*m, NULL, 0, &(PlanOptions){ .threads = 1 }, &plan) != OK ||
        plan_run(plan, NULL, 0) != OK) fail_msg("%s", err_text());
    return plan;
}

/* The float output y. */
static void gives(Build *b, int n, const float *expected)
{
    Bytes bytes;
    Model *m;
    build_output(b, "y", DT_F32, NULL);
    Plan *plan = planned(b, &bytes, &m);
    assert_int_equal(plan->out[0]->count, n);
    for (int i = 0; i < n; i++) {
        float y = ((const float *)plan->out[0]->data)[i];
        if (!(fabsf(y - expected[i]) <= 1e-6f)) fail_msg("element %d is %.9g, expected %.9g", i, (double)y, (double)expected[i]);
    }
    plan_free(plan);
    model_free(m);
    bytes_free(bytes);
}
#define GIVES(b, ...) gives(b, (int)(sizeof((float[]){ __VA_ARGS__ }) / sizeof(float)), (float[]){ __VA_ARGS__ })

static void floats(Build *b, const char *name, const char *dims, const float *v) { build_init(b, name, DT_F32, dims, v); }

static void gives_bytes(Build *b, int n, const uint8_t *expected)
{
    Bytes bytes;
    Model *m;
    build_output(b, "y", DT_U8, NULL);
    Plan *plan = planned(b, &bytes, &m);
    assert_int_equal(plan->out[0]->count, n);
    assert_memory_equal(plan->out[0]->data, expected, (size_t)n);
    plan_free(plan);
    model_free(m);
    bytes_free(bytes);
}

/* 1x1: 2 * x + 1 + z, then the activation */
static void test_fused_conv(void **state)
{
    (void)state;
    Build *b = one_node("FusedConv", "x,w,b,z", "y", "activation:s=Relu");
    floats(b, "x", "1,1,1,3", (float[]){ -3, 1, 2 });
    floats(b, "w", "1,1,1,1", (float[]){ 2 });
    floats(b, "b", "1", (float[]){ 1 });
    floats(b, "z", "1,1,1,3", (float[]){ 1, 1, -6 });
    GIVES(b, 0, 4, 0);
    b = one_node("FusedConv", "x,w", "y", "activation:s=LeakyRelu activation_params:fs=0.5");
    floats(b, "x", "1,1,1,2", (float[]){ -3, 1 });
    floats(b, "w", "1,1,1,1", (float[]){ 2 });
    GIVES(b, -3, 2);
    b = one_node("FusedConv", "x,w", "y", "activation:s=Clip activation_params:fs=-1,1.5");
    floats(b, "x", "1,1,1,2", (float[]){ -3, 1 });
    floats(b, "w", "1,1,1,1", (float[]){ 2 });
    GIVES(b, -1, 1.5f);
}

static void test_fused_products(void **state)
{
    (void)state;
    Build *b = one_node("FusedMatMul", "a,b", "y", "transA:i=1 transB:i=1 alpha:f=0.5");
    floats(b, "a", "2,1", (float[]){ 1, 2 });
    floats(b, "b", "2,2", (float[]){ 2, 4, 6, 8 });
    GIVES(b, 5, 11);
    b = one_node("FusedGemm", "a,b", "y", "activation:s=LeakyRelu activation_alpha:f=0.25");
    floats(b, "a", "1,2", (float[]){ 1, 2 });
    floats(b, "b", "2,2", (float[]){ 2, -4, 6, -8 });
    GIVES(b, 14, -5);
}

/* x + skip is (1, -1) in every row: mean 0, deviation 1 */
static void test_skip_norm(void **state)
{
    (void)state;
    Build *b = one_node("SkipLayerNormalization", "x,s,g,c", "y", "");
    floats(b, "x", "1,2,2", (float[]){ 0, 0, 2, -2 });
    floats(b, "s", "1,2,2", (float[]){ 1, -1, -1, 1 });
    floats(b, "g", "2", (float[]){ 3, 5 });
    floats(b, "c", "2", (float[]){ 10, 20 });
    GIVES(b, 13, 15, 13, 15);
    b = one_node("SkipSimplifiedLayerNormalization", "x,s,g,c", "y,,,t", "epsilon:f=0");
    floats(b, "x", "1,1,2", (float[]){ 0, 0 });
    floats(b, "s", "1,1,2", (float[]){ 1, -1 });
    floats(b, "g", "2", (float[]){ 3, 5 });
    floats(b, "c", "2", (float[]){ 1, -1 });
    GIVES(b, 3, -5);
}

/* Words (1,0) and (0,1), positions (0,0) and (0,2), no segments: sums (1,0) and (0,3). */
static void test_embed_norm(void **state)
{
    (void)state;
    Build *b = one_node("EmbedLayerNormalization", "ids,,words,places,,g,c", "y", "");
    build_init(b, "ids", DT_I32, "1,2", (int32_t[]){ 1, 0 });
    floats(b, "words", "2,2", (float[]){ 0, 1, 1, 0 });
    floats(b, "places", "3,2", (float[]){ 0, 0, 0, 2, 9, 9 });
    floats(b, "g", "2", (float[]){ 1, 1 });
    floats(b, "c", "2", (float[]){ 0, 0 });
    GIVES(b, 1, -1, -1, 1);
}

/* scale 0.5 everywhere: (a - 1) / 2 + (b - 1) / 2 = c / 2 - 5 */
static void test_qlinear(void **state)
{
    (void)state;
    const uint8_t one = 1, ten = 10;
    const float half = 0.5f;
    Build *b = one_node("QLinearAdd", "a,s,z,b,s,z,s,t", "y", "");
    build_init(b, "a", DT_U8, "3", (uint8_t[]){ 1, 5, 255 });
    build_init(b, "b", DT_U8, "1", (uint8_t[]){ 3 });
    build_init(b, "s", DT_F32, "", &half);
    build_init(b, "z", DT_U8, "", &one);
    build_init(b, "t", DT_U8, "", &ten);
    gives_bytes(b, 3, (uint8_t[]){ 12, 16, 255 });
    b = one_node("QLinearMul", "a,s,z,b,s,z,s,t", "y", "");
    build_init(b, "a", DT_U8, "3", (uint8_t[]){ 1, 5, 0 });
    build_init(b, "b", DT_U8, "1", (uint8_t[]){ 4 });
    build_init(b, "s", DT_F32, "", &half);
    build_init(b, "z", DT_U8, "", &one);
    build_init(b, "t", DT_U8, "", &ten);
    gives_bytes(b, 3, (uint8_t[]){ 10, 16, 8 });               /* 4 * 3 / 2 = 6; -1 * 3 / 2 = -1.5, which rounds to even */
    b = one_node("QLinearGlobalAveragePool", "a,s,z,s,t", "y", "");
    build_init(b, "a", DT_U8, "1,1,1,3", (uint8_t[]){ 1, 4, 7 });
    build_init(b, "s", DT_F32, "", &half);
    build_init(b, "z", DT_U8, "", &one);
    build_init(b, "t", DT_U8, "", &ten);
    gives_bytes(b, 1, (uint8_t[]){ 13 });
}

/* (3 - 1) * 2 + (4 - 1) * 5 = 19, plus 1, times 0.5 * 0.5 = 5; divided by 0.5, plus 10 = 20 */
static void test_qgemm(void **state)
{
    (void)state;
    const uint8_t one = 1, ten = 10, none = 0;
    const float half = 0.5f;
    const int32_t c = 1;
    for (int rounded = 0; rounded < 2; rounded++) {
        Build *b = one_node("QGemm", rounded ? "a,s,z,b,s,n,c,s,t" : "a,s,z,b,s,n,c", "y", "transB:i=1");
        build_init(b, "a", DT_U8, "1,2", (uint8_t[]){ 3, 4 });
        build_init(b, "b", DT_U8, "1,2", (uint8_t[]){ 2, 5 });
        build_init(b, "s", DT_F32, "", &half);
        build_init(b, "z", DT_U8, "", &one);
        build_init(b, "n", DT_U8, "", &none);
        build_init(b, "t", DT_U8, "", &ten);
        build_init(b, "c", DT_I32, "1", &c);
        if (rounded) gives_bytes(b, 1, (uint8_t[]){ 20 });
        else GIVES(b, 5);
    }
}

/* The numbers are quantized without loss: 0 ... 255 with scale 1. */
static void test_dynamic_matmul(void **state)
{
    (void)state;
    const float half = 0.5f;
    Build *b = one_node("DynamicQuantizeMatMul", "a,b,s,,c", "y", "");
    floats(b, "a", "1,2", (float[]){ 255, 2 });
    build_init(b, "b", DT_I8, "2,2", (int8_t[]){ 1, -1, 3, 4 });
    build_init(b, "s", DT_F32, "", &half);
    floats(b, "c", "2", (float[]){ 1, 2 });
    GIVES(b, 131.5f, -121.5f);
}

/* Queries of 0 see all keys alike: the mean of the values so far, of samples of different lengths. */
static void test_group_query(void **state)
{
    (void)state;
    for (int output = 0; output < 2; output++) {
        Build *b = one_node("GroupQueryAttention", "q,k,v,pk,pv,last,total", output ? "a,keys,y" : "y,keys,values", "num_heads:i=2 kv_num_heads:i=1");
        floats(b, "q", "2,1,2", (float[]){ 0, 0, 0, 0 });
        floats(b, "k", "2,1,1", (float[]){ 1, 1 });
        floats(b, "v", "2,1,1", (float[]){ 6, 9 });
        floats(b, "pk", "2,1,2,1", (float[]){ 1, 1, 1, 0 });
        floats(b, "pv", "2,1,2,1", (float[]){ 1, 2, 3, 0 });
        build_init(b, "last", DT_I32, "2", (int32_t[]){ 2, 1 });
        build_init(b, "total", DT_I32, "", (int32_t[]){ 3 });
        if (output) GIVES(b, 1, 2, 6, 3, 9, 0);
        else GIVES(b, 3, 3, 6, 6);
    }
}

/* One row attends to itself alone: its value, 4 * 3 * 0.5 + 1. */
static void test_quantized_attention(void **state)
{
    (void)state;
    Build *b = one_node("QAttention", "x,w,b,sx,sw,,zx", "y", "num_heads:i=1");
    build_init(b, "x", DT_U8, "1,1,1", (uint8_t[]){ 5 });
    build_init(b, "w", DT_I8, "1,3", (int8_t[]){ 1, 2, 3 });
    floats(b, "b", "3", (float[]){ 0, 0, 1 });
    floats(b, "sx", "", (float[]){ 0.5f });
    floats(b, "sw", "", (float[]){ 1 });
    build_init(b, "zx", DT_U8, "", (uint8_t[]){ 1 });
    GIVES(b, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fused_conv), cmocka_unit_test(test_fused_products), cmocka_unit_test(test_skip_norm),
        cmocka_unit_test(test_embed_norm), cmocka_unit_test(test_qlinear), cmocka_unit_test(test_qgemm), cmocka_unit_test(test_dynamic_matmul),
        cmocka_unit_test(test_group_query), cmocka_unit_test(test_quantized_attention) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
