/* Patterns that become one step: the same numbers as node by node (PlanOptions.keep), and the nodes are gone; or stay, where one of their values is wanted. */
#include "engine/op.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = 4 };

/* A graph: inputs "name:dims" separated by blanks, nodes "Type in,in out attributes" separated by semicolons, the output, an output in between (NULL: none). */
typedef struct Graphic { const char *inputs, *nodes, *output, *also; } Graphic;

static void number(Build *b, const char *name, float value) { build_init(b, name, DT_F32, "", &value); }

static void whole(Build *b, const char *name, const char *count, const int64_t *v) { build_init(b, name, DT_I64, count, v); }

static void constants(Build *b)
{
    static const float SCALE[] = { 0.5f, -1, 2, 1.5f, 1, 0.25f, 3 }, SHIFT[] = { 1, 2, -3, 0, 0.5f, 4, -1 };
    number(b, "half", 0.5f); number(b, "one", 1); number(b, "two", 2); number(b, "three", 3); number(b, "six", 6); number(b, "eps", 1e-5f);
    number(b, "root", 1.41421356f); number(b, "iroot", 0.70710678f); number(b, "c", 0.044715f); number(b, "s", 0.79788456f); number(b, "quick", 1.702f);
    number(b, "zero", 0); number(b, "scale", 0.35f);
    number(b, "never", -INFINITY); number(b, "lowest", -3e38f);
    uint8_t below[50 * 130], above[50 * 130], some[130];
    float added[50 * 130];
    for (int i = 0; i < 50 * 130; i++) {
        below[i] = i % 130 <= 80 + i / 130;
        above[i] = !below[i];
        added[i] = below[i] ? 0 : -3e38f;
    }
    for (int i = 0; i < 130; i++) some[i] = i % 3 != 1;
    build_init(b, "below", DT_BOOL, "50,130", below);
    build_init(b, "above", DT_BOOL, "1,1,50,130", above);
    build_init(b, "some", DT_BOOL, "130", some);
    build_init(b, "added", DT_F32, "50,130", added);
    build_init(b, "g", DT_F32, "7", SCALE);
    build_init(b, "h", DT_F32, "7", SHIFT);
    whole(b, "split", "4", (int64_t[]){ 0, 0, 2, 3 });
    whole(b, "split1", "4", (int64_t[]){ 0, 0, 1, 3 });
    whole(b, "join", "3", (int64_t[]){ 0, 0, -1 });
    whole(b, "pairs", "5", (int64_t[]){ 0, 0, 0, 4, 2 });
    whole(b, "last", "1", (int64_t[]){ -1 });
    whole(b, "from0", "1", (int64_t[]){ 0 });
    whole(b, "to4", "1", (int64_t[]){ 4 });
    whole(b, "most", "1", (int64_t[]){ INT64_MAX });
    whole(b, "axis2", "1", (int64_t[]){ 2 }); whole(b, "axis3", "1", (int64_t[]){ 3 });
    whole(b, "at1", "1", (int64_t[]){ 1 }); whole(b, "at2", "1", (int64_t[]){ 2 });
    whole(b, "copies", "5", (int64_t[]){ 1, 1, 2, 1, 1 });
    whole(b, "merge", "4", (int64_t[]){ 0, 2, -1, 3 });
}

static Bytes model_of(const Graphic *g)
{
    Build *b = build_new();
    char text[2000], *rest, *name, *dims;
    snprintf(text, sizeof text, "%s", g->inputs);
    for (char *in = strtok_r(text, " ", &rest); in; in = strtok_r(NULL, " ", &rest)) {
        name = in;
        dims = strchr(in, ':');
        *dims++ = '\0';
        build_input(b, name, DT_F32, dims);
    }
    constants(b);
    snprintf(text, sizeof text, "%s", g->nodes);
    for (char *node = strtok_r(text, ";", &rest); node; node = strtok_r(NULL, ";", &rest)) {
        char type[32], in[200], out[32], attributes[100] = "";
        assert_true(sscanf(node, " %31s %199s %31s %99[^;]", type, in, out, attributes) >= 3);
        build_node(b, type, in, out, attributes);
    }
    build_output(b, g->output, DT_F32, NULL);
    if (g->also) build_output(b, g->also, DT_F32, NULL);
    return build_finish(b, 8, 13);
}

typedef struct Data { int n; PlanInput shape[MAX_INPUTS]; Tensor tensor[MAX_INPUTS]; } Data;

static void draw(Model *m, Data *d, Random *r)
{
    const Value **input;
    assert_int_equal(plan_inputs(m, &input, &d->n), OK);
    for (int i = 0; i < d->n; i++) {
        Shape s = input[i]->stated.shape;
        int64_t count;
        assert_int_equal(shape_count(&s, &count), OK);
        float *x = calloc((size_t)count + 1, sizeof *x);
        assert_non_null(x);
        for (int64_t k = 0; k < count; k++) x[k] = 3 * random_float(r);
        d->shape[i] = (PlanInput){ input[i]->name, DT_F32, s };
        d->tensor[i] = (Tensor){ .dtype = DT_F32, .shape = s, .bytes = (size_t)count * sizeof *x, .data = x };
    }
}

static bool has_step(const Plan *p, const char *type)
{
    for (int i = 0; i < p->n_step; i++) if (!strcmp(p->step[i]->op->type, type)) return true;
    return false;
}

static void same_numbers(const Plan *a, const Plan *b)
{
    assert_int_equal(a->n_out, b->n_out);
    for (int o = 0; o < a->n_out; o++) {
        const float *x = a->out[o]->data, *y = b->out[o]->data;
        float most = 1;
        assert_true(shape_equal(&a->out[o]->shape, &b->out[o]->shape));
        for (int64_t i = 0; i < a->out[o]->count; i++) if (fabsf(x[i]) > most) most = fabsf(x[i]);
        for (int64_t i = 0; i < a->out[o]->count; i++) assert_true(fabsf(x[i] - y[i]) <= 1e-5f * most);
    }
}

/* `type` is among the node's types and is gone, or stays, from the fused plan. */
static void check(const Graphic *g, const char *type, bool gone)
{
    Random r = { 5 };
    Model *m;
    Data d;
    Bytes bytes = model_of(g);
    assert_int_equal(model_parse(bytes.at, bytes.size, &m), OK);
    assert_int_equal(ops_bind(m), OK);
    draw(m, &d, &r);
    for (int threads = 1; threads <= 2; threads++) {
        Plan *plain, *fused;
        if (plan_build(m, d.shape, d.n, &(PlanOptions){ .threads = threads, .keep = true }, &plain) != OK) fail_msg("%s: %s", g->nodes, err_text());
        if (plan_build(m, d.shape, d.n, &(PlanOptions){ .threads = threads }, &fused) != OK) fail_msg("%s: %s", g->nodes, err_text());
        assert_int_equal(plan_run(plain, d.tensor, d.n), OK);
        assert_int_equal(plan_run(fused, d.tensor, d.n), OK);
        same_numbers(plain, fused);
        assert_true(has_step(plain, type));
        if (has_step(fused, type) == gone) fail_msg("%s: %s %s", g->nodes, type, gone ? "is still there" : "is gone");
        plan_free(plain);
        plan_free(fused);
    }
    for (int i = 0; i < d.n; i++) free(d.tensor[i].data);
    model_free(m);
    bytes_free(bytes);
}

#define X "x:2,5,7"
#define MOMENTS "ReduceMean x m axes:is=-1; Sub x,m d; Pow d,two p; ReduceMean p v axes:is=-1; Add v,eps w; Sqrt w r;"

static void test_norms(void **state)
{
    (void)state;
    check(&(Graphic){ X, MOMENTS "Div d,r n; Mul n,g k; Add k,h y", "y", NULL }, "Sqrt", true);
    check(&(Graphic){ X, MOMENTS "Div d,r n; Mul g,n k; Add h,k y", "y", NULL }, "ReduceMean", true);
    check(&(Graphic){ X, MOMENTS "Reciprocal r i; Mul d,i y", "y", NULL }, "Reciprocal", true);
    check(&(Graphic){ X, MOMENTS "Div one,r i; Mul i,d n; Mul n,g y", "y", NULL }, "Div", true);
    check(&(Graphic){ X, MOMENTS "Div d,r n; Mul n,g k; Add k,h y", "y", "k" }, "Add", false);
    check(&(Graphic){ X, MOMENTS "Div d,r n; Mul n,g k; Add k,h y", "y", "v" }, "Sqrt", false);
    check(&(Graphic){ X, "Mul x,x p; ReduceMean p v axes:is=2; Add eps,v w; Sqrt w r; Div x,r n; Mul n,g y", "y", NULL }, "Sqrt", true);
    check(&(Graphic){ X, "Pow x,two p; ReduceMean p v axes:is=-1; Add v,eps w; Sqrt w r; Reciprocal r i; Mul x,i n; Mul g,n y", "y", NULL }, "Pow", true);
    check(&(Graphic){ X, "Pow x,two p; ReduceMean p v axes:is=1; Add v,eps w; Sqrt w r; Div x,r y", "y", NULL }, "Pow", false);
    check(&(Graphic){ X, "Pow x,three p; ReduceMean p v axes:is=-1; Abs v a; Add a,eps w; Sqrt w r; Div x,r y", "y", NULL }, "Pow", false);
}

#define KERAS X, "ReduceMean x m axes:is=-1; Sub x,m d; Mul d,d q; ReduceMean q v axes:is=-1; Add v,eps w; Sqrt w r; Reciprocal r i;"

static void test_keras_norm(void **state)
{
    (void)state;
    check(&(Graphic){ KERAS "Mul i,g f; Mul x,f a; Mul m,f b; Sub h,b e; Add a,e y", "y", NULL }, "Sqrt", true);
    check(&(Graphic){ KERAS "Mul g,i f; Mul f,x a; Mul f,m b; Sub h,b e; Add e,a y", "y", NULL }, "ReduceMean", true);
    check(&(Graphic){ KERAS "Mul i,g f; Mul x,f a; Mul m,f b; Sub b,h e; Add a,e y", "y", NULL }, "Sqrt", false);
    check(&(Graphic){ KERAS "Mul i,g f; Mul x,f a; Mul d,f b; Sub h,b e; Add a,e y", "y", NULL }, "Sqrt", false);
    check(&(Graphic){ KERAS "Mul i,g f; Mul x,f a; Mul m,f b; Sub h,b e; Add a,e y", "y", "f" }, "Sqrt", false);
}

static void test_activations(void **state)
{
    (void)state;
    check(&(Graphic){ X, "Div x,root a; Erf a b; Add b,one c1; Mul x,c1 d; Mul d,half y", "y", NULL }, "Erf", true);
    check(&(Graphic){ X, "Mul x,iroot a; Erf a b; Add one,b c1; Mul half,c1 d; Mul x,d y", "y", NULL }, "Erf", true);
    check(&(Graphic){ X, "Div x,root a; Erf a b; Add b,one c1; Mul half,x d; Mul d,c1 y", "y", NULL }, "Erf", true);
    check(&(Graphic){ X, "Div x,root a; Erf a b; Add b,two c1; Mul half,x d; Mul d,c1 y", "y", NULL }, "Erf", false);
    check(&(Graphic){ X, "Div x,root a; Erf a b; Add b,one c1; Mul x,c1 d; Mul d,half y", "y", "b" }, "Erf", false);
    check(&(Graphic){ X, "Pow x,three p; Mul p,c a; Add x,a b; Mul b,s t; Tanh t u; Add u,one v; Mul x,v w; Mul half,w y", "y", NULL }, "Tanh", true);
    check(&(Graphic){ X, "Mul x,x p; Mul x,p z; Mul c,z a; Add a,x b; Mul s,b t; Tanh t u; Add one,u v; Mul x,half w; Mul w,v y", "y", NULL }, "Tanh", true);
    check(&(Graphic){ X, "Mul x,quick a; Sigmoid a b; Mul x,b y", "y", NULL }, "Sigmoid", true);
    check(&(Graphic){ X, "Softplus x a; Tanh a b; Mul x,b y", "y", NULL }, "Tanh", true);
    check(&(Graphic){ X, "Add x,three a; Clip a,zero,six b; Mul x,b d; Div d,six y", "y", NULL }, "Clip", true);
}

#define HEADS "Reshape q,split a; Transpose a aq perm:is=0,2,1,3; Reshape k,split b; Transpose b bk perm:is=0,2,3,1; Reshape v,split d; Transpose d dv perm:is=0,2,1,3;"
#define RESULT "Transpose o t perm:is=0,2,1,3; Reshape t,join y"
#define QKV "q:2,50,6 k:2,130,6 v:2,130,6 mask:2,1,50,130"

static void test_attention(void **state)
{
    (void)state;
    const char *simple = "Softmax s1 p axis:i=-1; MatMul p,dv o;" RESULT;
    char text[1500];
    static const struct { const char *nodes; bool fused; } SCORES[] = {
        { "Mul s0,scale s1;", true }, { "Div s0,two s1;", true }, { "Mul scale,s0 z; Add z,mask s1;", true }, { "Add mask,s0 s1;", true },
        { "Div s0,two z; Where below,z,never s1;", true }, { "Mul s0,scale z; Where above,lowest,z s1;", true },
        { "Div s0,two z; Where above,lowest,z w; Add w,mask s1;", true }, { "Where some,s0,half s1;", true }, { "Add s0,mask z; Where some,z,never s1;", true },
        { "Div s0,two z; Add z,added s1;", true }, { "Add added,s0 z; Add z,mask s1;", true }, { "Where some,s0,half z; Where below,z,never s1;", true },
        { "Identity s0 s1;", false }, { "Where some,s0,half z; Add z,mask s1;", false }, { "Add s0,mask z; Add z,mask s1;", false },
        { "Add s0,mask z; Div z,two s1;", false },
        { "Where some,half,two z; Add z,s0 s1;", true },
    };
    for (size_t i = 0; i < sizeof SCORES / sizeof *SCORES; i++) {
        snprintf(text, sizeof text, HEADS "MatMul aq,bk s0; %s %s", SCORES[i].nodes, simple);
        check(&(Graphic){ QKV, text, "y", NULL }, "Softmax", SCORES[i].fused);
        check(&(Graphic){ QKV, text, "y", NULL }, "Transpose", SCORES[i].fused);
    }
    snprintf(text, sizeof text, HEADS "MatMul aq,bk s1; %s", simple);
    check(&(Graphic){ QKV, text, "y", NULL }, "Transpose", true);
    check(&(Graphic){ QKV, text, "y", "s1" }, "Softmax", false);
    check(&(Graphic){ QKV, text, "y", "t" }, "Softmax", true);
    snprintf(text, sizeof text, HEADS "Mul aq,scale e; Mul bk,two f; MatMul e,f s1; %s", simple);
    check(&(Graphic){ QKV, text, "y", NULL }, "Mul", true);
    check(&(Graphic){ "q:9,3 k:9,3 v:9,3", "Transpose k kt perm:is=1,0; MatMul q,kt s1; Softmax s1 p axis:i=-1; MatMul p,v y", "y", NULL }, "Softmax", false);
    check(&(Graphic){ "q:4,9,3 k:4,300,3 v:4,300,5", "Transpose k kt perm:is=0,2,1; MatMul q,kt s1; Softmax s1 p axis:i=2; MatMul p,v o;"
                      "Transpose o y perm:is=1,0,2", "y", NULL },
          "Softmax", true);
    check(&(Graphic){ "q:4,9,3 k:4,9,3 v:4,9,5", "Transpose k kt perm:is=0,2,1; MatMul q,kt s1; Softmax s1 p axis:i=1; MatMul p,v y", "y", NULL }, "Softmax", false);
    check(&(Graphic){ "q:1,2,40,3 k:1,40,3 v:1,40,3", "Reshape k,split1 b; Transpose b bt perm:is=0,2,1,3; Unsqueeze bt,axis2 bu; Tile bu,copies bx; Reshape bx,merge bm;"
                      "Transpose bm bk perm:is=0,1,3,2; Reshape v,split1 d; Transpose d dt perm:is=0,2,1,3; Unsqueeze dt,axis2 du;"
                      "Expand du,copies dx; Reshape dx,merge dv;"
                      "MatMul q,bk s1; Softmax s1 p axis:i=-1; MatMul p,dv o;" RESULT, "y", NULL }, "Tile", true);
}

#define HALVES "Neg b n; Concat n,a t axis:i=-1; Mul x,cosine u; Mul t,sine w; Add u,w y"
#define PAIRS "Reshape x,pairs x5; Split x5 a5,b5 axis:i=-1; Squeeze a5,last a; Squeeze b5,last b;" \
              "Mul a,cosine ac; Mul b,sine bs; Sub ac,bs e; Mul a,sine as; Mul b,cosine bc;"

static void test_rotary(void **state)
{
    (void)state;
    const char *whole_rows = "x:2,3,5,8 cosine:5,8 sine:1,1,5,8", *half_rows = "x:2,5,3,8 cosine:5,1,4 sine:5,1,4";
    check(&(Graphic){ whole_rows, "Slice x,from0,to4,last a; Slice x,to4,most,last b;" HALVES, "y", NULL }, "Neg", true);
    check(&(Graphic){ whole_rows, "Split x a,b axis:i=3;" HALVES, "y", NULL }, "Concat", true);
    check(&(Graphic){ "x:2,3,5,8 cosine:2,1,5,8 sine:2,3,5,8", "Split x a,b axis:i=3; Neg b n; Concat n,a t axis:i=3;"
                      "Mul cosine,x u; Mul sine,t w; Add w,u y", "y", NULL }, "Neg", true);
    check(&(Graphic){ whole_rows, "Split x b,a axis:i=3;" HALVES, "y", NULL }, "Neg", false);
    check(&(Graphic){ whole_rows, "Split x a,b axis:i=3;" HALVES, "y", "t" }, "Neg", false);
    check(&(Graphic){ "x:2,3,5,8 cosine:1 sine:5,8", "Split x a,b axis:i=3;" HALVES, "y", NULL }, "Neg", false);
    check(&(Graphic){ half_rows, PAIRS "Add as,bc f; Unsqueeze e,last e5; Unsqueeze f,last f5; Concat e5,f5 y axis:i=4", "y", NULL }, "Split", true);
    check(&(Graphic){ half_rows, PAIRS "Add bc,as f; Unsqueeze e,last e5; Unsqueeze f,last f5; Concat e5,f5 y axis:i=-1", "y", NULL }, "Sub", true);
    check(&(Graphic){ half_rows, PAIRS "Add bc,as f; Unsqueeze e,last e5; Unsqueeze f,last f5; Concat f5,e5 y axis:i=-1", "y", NULL }, "Sub", false);
    check(&(Graphic){ half_rows, PAIRS "Add as,ac f; Unsqueeze e,last e5; Unsqueeze f,last f5; Concat e5,f5 y axis:i=-1", "y", NULL }, "Sub", false);
}

static void test_slices(void **state)
{
    (void)state;
    const char *graph[] = {
        "Slice x,from0,most,axis2,at2 a; Slice a,at1,most,axis3,at2 y",
        "Slice x,at1,most,axis2,at2 a; Slice a,at1,to4,axis2,at1 b; Slice b,to4,at1,axis3,last y",
        "Slice x,to4,from0,axis3,last a; Slice a,to4,from0,axis3,last y",
        "Slice x,at1,at2,from0,at1 a; Slice a,at1,most,at1,at1 y",                     /* lies as it is */
        "Slice x,from0,most,axis2,at2 a; Slice a,most,most,axis3,at2 y",               /* nothing */
    };
    for (size_t i = 0; i < sizeof graph / sizeof *graph; i++) {
        check(&(Graphic){ "x:2,3,9,40", graph[i], "y", NULL }, "Slice", true);
        check(&(Graphic){ "x:2,3,9,40", graph[i], "y", "a" }, "Slice", false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms), cmocka_unit_test(test_keras_norm), cmocka_unit_test(test_activations), cmocka_unit_test(test_attention),
        cmocka_unit_test(test_slices), cmocka_unit_test(test_rotary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
