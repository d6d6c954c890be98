/* Shape inference: shape arithmetic, bodies and functions, bindings; and agreement with what ONNX's node tests state. */
#include "engine/infer.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models ---- */

typedef struct Net { Bytes bytes; Model *model; const char *complaint; } Net;

static Net load(Build *b)
{
    Net n = { .bytes = build_finish(b, 8, 20) };
    if (model_parse(n.bytes.at, n.bytes.size, &n.model) != OK || ops_bind(n.model) != OK) fail_msg("%s", err_text());
    return n;
}

static Net inferred(Build *b)
{
    Net n = load(b);
    if (infer(n.model, NULL, 0, &n.complaint) != OK) fail_msg("%s", err_text());
    return n;
}

static void drop(Net n)
{
    model_free(n.model);
    bytes_free(n.bytes);
}

static const Value *value_named(const Graph *g, const char *name)
{
    for (int i = 0; i < g->n_value; i++)
        if (!strcmp(g->value[i]->name, name)) return g->value[i];
    fail_msg("no value '%s'", name);
    return NULL;
}

static void fact_is(const Graph *g, const char *name, DType type, const char *shape)
{
    char text[400];
    const Fact *f = &value_named(g, name)->fact;
    shape_text(&f->shape, g->model->symbol, text, sizeof text);
    if (strcmp(text, shape) || f->dtype != type) fail_msg("%s: %s %s, expected %s %s", name, dtype_name(f->dtype), text, dtype_name(type), shape);
}

static void shape_is(Net n, const char *name, const char *shape) { fact_is(n.model->graph, name, DT_F32, shape); }

/* Elements as text: "batch 3 2*h". */
static void elements_are(Net n, const char *name, const char *expected)
{
    char text[400] = "";
    const Fact *f = &value_named(n.model->graph, name)->fact;
    for (int i = 0; i < fact_count(f); i++) {
        char one[200];
        int64_t d = f->element ? f->element[i] : 0;
        if (f->real) snprintf(one, sizeof one, "%g", f->real[i]);
        else if (dim_is_symbol(d)) snprintf(one, sizeof one, "%s", n.model->symbol[d - SYMBOL_BASE]);
        else snprintf(one, sizeof one, "%lld", (long long)d);
        if (i) strcat(text, " ");
        strcat(text, one);
    }
    assert_string_equal(text, expected);
}

static void ints(Build *b, const char *name, int n, const int64_t *v)
{
    char dims[16];
    snprintf(dims, sizeof dims, "%d", n);
    build_init(b, name, DT_I64, dims, v);
}
#define INTS(b, name, ...) ints(b, name, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })

/* ---- shape arithmetic ---- */

/* (N, C, H, W) to (N, C, H*W) as PyTorch writes it. */
static void test_reshape_arithmetic(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,8,h,w");
    INTS(b, "0", 0);
    INTS(b, "8", 8);
    INTS(b, "-1", -1);
    build_node(b, "Shape", "x", "s", "");
    build_node(b, "Gather", "s,0", "n", "axis:i=0");
    build_node(b, "Concat", "n,8,-1", "target", "axis:i=0");
    build_node(b, "Reshape", "x,target", "y", "");
    build_node(b, "Transpose", "y", "t", "perm:is=0,2,1");
    build_node(b, "Shape", "t", "ts", "start:i=1");
    build_node(b, "ReduceProd", "ts", "count", "keepdims:i=0");
    build_node(b, "Mod", "count,8", "rest", "");
    build_output(b, "y", DT_F32, NULL);
    Net n = inferred(b);
    assert_null(n.complaint);
    elements_are(n, "target", "batch 8 -1");
    shape_is(n, "y", "batchx8xh*w");
    shape_is(n, "t", "batchxh*wx8");
    elements_are(n, "count", "8*h*w");
    elements_are(n, "rest", "0");
    drop(n);
}

/* Expand with -1 for "as it is": Where(Equal(sizes, -1), ones, sizes). */
static void test_expand_arithmetic(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,1,4");
    build_input(b, "z", DT_F32, "batch,seq");
    INTS(b, "none", -1);
    INTS(b, "three", 3);
    INTS(b, "one", 1);
    build_node(b, "Shape", "z", "s", "start:i=1");
    build_node(b, "Concat", "none,s,none", "sizes", "axis:i=0");
    build_node(b, "ConstantOfShape", "three", "ones", "");
    Pb one = tensor_raw(NULL, DT_I64, "1", &(int64_t){ 1 });
    build_attr_tensor(b, "value", &one);
    build_node(b, "Equal", "sizes,none", "same", "");
    build_node(b, "Where", "same,ones,sizes", "target", "");
    build_node(b, "Expand", "x,target", "y", "");
    build_node(b, "Range", "zero,count,step", "r", "");
    INTS(b, "zero", 0);
    INTS(b, "step", 2);
    build_node(b, "Squeeze", "s", "count", "");
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "r", DT_I64, NULL);
    Net n = load(b);
    if (model_refresh(n.model) != OK) fail_msg("%s", err_text());
    if (infer(n.model, NULL, 0, NULL) != OK) fail_msg("%s", err_text());
    elements_are(n, "same", "1 0 1");
    elements_are(n, "target", "1 seq 1");
    shape_is(n, "y", "batchxseqx4");
    fact_is(n.model->graph, "r", DT_I64, "floor((seq + 1)/2)");
    drop(n);
}

/* Opset 10 interpolate: sizes through float and floor. Scales may be fractions. */
static void test_resize(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1,3,h,20");
    build_init(b, "two", DT_F32, "1", &(float){ 2 });
    build_init(b, "scales", DT_F32, "4", (float[]){ 1, 1, 0.5f, 1.5f });
    INTS(b, "head", 1, 3);
    build_node(b, "Shape", "x", "s", "start:i=2");
    build_node(b, "Cast", "s", "f", "to:i=1");
    build_node(b, "Mul", "f,two", "g", "");
    build_node(b, "Floor", "g", "k", "");
    build_node(b, "Cast", "k", "i", "to:i=7");
    build_node(b, "Concat", "head,i", "sizes", "axis:i=0");
    build_node(b, "Resize", "x,,,sizes", "y", "");
    build_node(b, "Resize", "x,,scales", "z", "");
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "z", DT_F32, NULL);
    Net n = inferred(b);
    elements_are(n, "scales", "1 1 0.5 1.5");
    shape_is(n, "y", "1x3x2*hx40");
    shape_is(n, "z", "1x3xfloor(h/2)x30");
    drop(n);
}

/* Slices forwards, backwards, past the ends, of symbolic sizes; padding and splitting. */
static void test_slice(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "n,10");
    INTS(b, "ramp", 0, 1, 2, 3, 4, 5);
    INTS(b, "first", 1, -3);
    INTS(b, "last", INT64_MAX, 9);
    INTS(b, "back", -1);
    INTS(b, "begin", INT64_MIN);
    INTS(b, "zero", 0);
    INTS(b, "step", -2);
    INTS(b, "pads", 0, 1, 2, 3);
    INTS(b, "parts", 4, 6);
    build_node(b, "Slice", "x,first,last", "y", "");
    build_node(b, "Slice", "ramp,back,begin,zero,step", "r", "");
    build_node(b, "Pad", "x,pads", "p", "");
    build_node(b, "Split", "x,parts", "left,right", "axis:i=1");
    build_node(b, "Split", "ramp", "low,high", "axis:i=0 num_outputs:i=2");
    build_node(b, "Tile", "x,two", "t", "");
    INTS(b, "two", 2, 3);
    for (int i = 0; i < 6; i++) build_output(b, (const char *[]){ "y", "r", "p", "left", "low", "t" }[i], DT_NONE, NULL);
    Net n = inferred(b);
    shape_is(n, "y", "n - 1x2");
    elements_are(n, "r", "5 3 1");
    shape_is(n, "p", "n + 2x14");
    shape_is(n, "right", "nx6");
    elements_are(n, "high", "3 4 5");
    shape_is(n, "t", "2*nx30");
    drop(n);
}

static void test_products_and_pools(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,3,h,w");
    build_init(b, "w", DT_F32, "4,3,3,3", NULL);
    build_init(b, "u", DT_F32, "4,5,2,2", NULL);
    build_init(b, "g", DT_F32, "7,5", NULL);
    build_node(b, "Conv", "x,w", "c", "pads:is=1,1,1,1 strides:is=2,2");
    build_node(b, "MaxPool", "c", "p", "kernel_shape:is=3,3 strides:is=2,2 pads:is=1,1,1,1");
    build_node(b, "ConvTranspose", "p,u", "t", "strides:is=2,2");
    build_node(b, "GlobalAveragePool", "t", "a", "");
    build_node(b, "Flatten", "a", "f", "");
    build_node(b, "Gemm", "f,g", "y", "transB:i=1");
    build_node(b, "MatMul", "x,ww", "m", "");
    build_input(b, "ww", DT_F32, "w,9");
    build_node(b, "Einsum", "x,ww", "e", "equation:s=bchw,wk->bkh");
    for (int i = 0; i < 3; i++) build_output(b, (const char *[]){ "y", "m", "e" }[i], DT_F32, NULL);
    Net n = inferred(b);
    assert_null(n.complaint);
    shape_is(n, "c", "batchx4xfloor((h + 1)/2)xfloor((w + 1)/2)");
    shape_is(n, "t", "batchx5x2*floor((h + 3)/4)x2*floor((w + 3)/4)");
    shape_is(n, "y", "batchx7");
    shape_is(n, "m", "batchx3xhx9");
    shape_is(n, "e", "batchx9xh");
    drop(n);
}

/* ---- bodies and functions ---- */

/* Branches see outer values; what they disagree on is unknown, unless the condition is known. */
static void test_if(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "c", DT_BOOL, "");
    build_input(b, "x", DT_F32, "n,4");
    build_input(b, "z", DT_F32, "n,5");
    build_init(b, "yes", DT_BOOL, "", &(bool){ true });
    build_node(b, "If", "c", "y", "");
    build_attr_graph(b, "then_branch", build_branch("Relu", "x", "a", NULL));
    build_attr_graph(b, "else_branch", build_branch("Neg", "z", "b", NULL));
    build_node(b, "If", "yes", "k", "");
    build_attr_graph(b, "then_branch", build_branch("Relu", "x", "a", NULL));
    build_attr_graph(b, "else_branch", build_branch("Neg", "z", "b", NULL));
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "k", DT_F32, NULL);
    Net n = inferred(b);
    shape_is(n, "y", "nxy:1");
    shape_is(n, "k", "nx4");
    drop(n);
}

/* One state keeps its shape, one grows, and each turn's result is stacked. */
static void test_loop(void **state)
{
    (void)state;
    Build *body = build_loop_body(), *b = build_new();
    build_input(body, "s", DT_F32, NULL);
    build_input(body, "t", DT_F32, NULL);
    build_node(body, "Identity", "go", "go2", "");
    build_node(body, "Add", "s,x", "s2", "");
    build_node(body, "Concat", "t,x", "t2", "axis:i=0");
    build_node(body, "Neg", "s2", "r", "");
    for (int i = 0; i < 4; i++) build_output(body, (const char *[]){ "go2", "s2", "t2", "r" }[i], i ? DT_F32 : DT_BOOL, NULL);
    build_input(b, "turns", DT_I64, "");
    build_input(b, "x", DT_F32, "2,n");
    build_node(b, "Loop", "turns,,x,x", "s3,t3,r3", "");
    build_attr_graph(b, "body", body);
    for (int i = 0; i < 3; i++) build_output(b, (const char *[]){ "s3", "t3", "r3" }[i], DT_F32, NULL);
    Net n = inferred(b);
    assert_null(n.complaint);
    shape_is(n, "s3", "2xn");
    shape_is(n, "t3", "t3:0xn");
    shape_is(n, "r3", "r3:0x2xn");
    drop(n);
}

static void test_scan(void **state)
{
    (void)state;
    Build *body = build_new(), *b = build_new();
    build_input(body, "s", DT_F32, NULL);
    build_input(body, "e", DT_F32, NULL);
    build_node(body, "Add", "s,e", "s2", "");
    build_node(body, "Relu", "s2", "r", "");
    build_output(body, "s2", DT_F32, NULL);
    build_output(body, "r", DT_F32, NULL);
    build_input(b, "s0", DT_F32, "4");
    build_input(b, "x", DT_F32, "seq,4");
    build_node(b, "Scan", "s0,x", "y,z", "num_scan_inputs:i=1");
    build_attr_graph(b, "body", body);
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "z", DT_F32, NULL);
    Net n = inferred(b);
    shape_is(n, "y", "4");
    shape_is(n, "z", "seqx4");
    drop(n);
}

/* Each call has its own shapes and attributes; the body keeps what holds for all calls. */
static void test_function(void **state)
{
    (void)state;
    Build *body = build_new(), *b = build_new();
    build_node(body, "Transpose", "fx", "ft", "");
    build_node(body, "Softmax", "ft", "fs", "axis:ref=axis");
    build_node(body, "Flatten", "fs", "fy", "axis:ref=axis");
    build_input(b, "x", DT_F32, "2,n,3");
    build_input(b, "z", DT_F32, "2,5,7");
    build_node(b, "Turn", "x", "y", "axis:i=1");
    build_node_domain(b, "my");
    build_node(b, "Turn", "z", "k", "axis:i=2");
    build_node_domain(b, "my");
    build_output(b, "y", DT_F32, NULL);
    build_output(b, "k", DT_F32, NULL);
    build_opset(b, "my", 1);
    build_function(b, &(BuildFunction){ .domain = "my", .name = "Turn", .in = "fx", .out = "fy", .attributes = "axis", .opset = 17 }, body);
    Net n = inferred(b);
    shape_is(n, "y", "3x2*n");
    shape_is(n, "k", "35x2");
    fact_is(n.model->function[0], "fx", DT_F32, "2xTurn/fx:1xTurn/fx:2");
    drop(n);
}

/* ---- what the file states ---- */

static void test_complaint(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "n,3,8,8");
    build_init(b, "w", DT_F32, "4,2,3,3", NULL);
    build_node(b, "Conv", "x,w", "y", "");
    build_node_name(b, "conv");
    build_node(b, "Mystery", "y", "z", "");
    build_node_domain(b, "unknown.domain");
    build_value_info(b, "z", DT_F16, "n,5");
    build_node(b, "Relu", "z", "r", "");
    build_output(b, "r", DT_F16, "n,6");
    Net n = inferred(b);
    assert_string_equal(n.complaint, "node 'conv': Conv: W takes 2 input channels, X has 3");
    fact_is(n.model->graph, "y", DT_F32, "?");
    fact_is(n.model->graph, "r", DT_F16, "nx5");
    drop(n);
}

static void test_bindings(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,?,5");
    build_init(b, "w", DT_F32, "5,3", NULL);
    build_node(b, "MatMul", "x,w", "y", "");
    build_output(b, "y", DT_F32, "batch,?,?");
    Net n = inferred(b);
    shape_is(n, "y", "batchxx:1x3");
    Binding both[] = { { "batch", 2 }, { "x:1", 7 } };
    assert_int_equal(infer(n.model, both, 2, NULL), OK);
    shape_is(n, "y", "2x7x3");
    assert_int_equal(infer(n.model, both + 1, 1, NULL), OK);
    shape_is(n, "y", "batchx7x3");
    assert_int_equal(infer(n.model, (Binding[]){ { "bach", 2 } }, 1, NULL), ERR_ARG);
    assert_string_equal(err_text(), "no input of the model has a size named \"bach\"; there are batch, x:1");
    assert_int_equal(infer(n.model, (Binding[]){ { "x:2", 6 } }, 1, NULL), ERR_ARG);
    assert_int_equal(infer(n.model, (Binding[]){ { "x:2", 5 } }, 1, NULL), OK);
    assert_int_equal(infer(n.model, (Binding[]){ { "batch", -1 } }, 1, NULL), ERR_ARG);
    assert_int_equal(infer(n.model, (Binding[]){ { "batch", 1 }, { "x:0", 2 } }, 2, NULL), ERR_ARG);
    drop(n);
}

/* Bodies inside bodies: the number of visits is bounded, not 3 to the depth. */
static void test_nested_loops(void **state)
{
    (void)state;
    Build *inner = NULL;
    for (int depth = 0; depth < 24; depth++) {
        Build *body = build_loop_body();
        char in[16], out[16];
        snprintf(in, sizeof in, "s%d", depth);
        snprintf(out, sizeof out, "r%d", depth);
        build_input(body, in, DT_F32, NULL);
        build_node(body, "Identity", "go", "go2", "");
        if (inner) {
            char list[40];
            snprintf(list, sizeof list, "turns,,%s", in);
            build_node(body, "Loop", list, out, "");
            build_attr_graph(body, "body", inner);
        } else {
            char list[40];
            snprintf(list, sizeof list, "%s,x", in);
            build_node(body, "Concat", list, out, "axis:i=0");
        }
        build_output(body, "go2", DT_BOOL, NULL);
        build_output(body, out, DT_F32, NULL);
        inner = body;
    }
    Build *b = build_new();
    build_input(b, "turns", DT_I64, "");
    build_input(b, "x", DT_F32, "2,n");
    build_node(b, "Loop", "turns,,x", "y", "");
    build_attr_graph(b, "body", inner);
    build_output(b, "y", DT_F32, NULL);
    Net n = inferred(b);
    assert_int_equal(value_named(n.model->graph, "y")->fact.dtype, DT_F32);
    drop(n);
}

/* ---- ONNX's own models ---- */

typedef struct Tally { int models, values, sizes, unknown, contradictions; } Tally;

static void compare(Tally *t, const char *path, const Value *v)
{
    const Fact *f = &v->fact, *s = &v->stated;
    bool wrong = f->dtype != DT_NONE && s->dtype != DT_NONE && f->dtype != s->dtype;
    t->values++;
    if (s->shape.rank < 0) return;
    wrong |= f->shape.rank >= 0 && f->shape.rank != s->shape.rank;
    for (int i = 0; i < s->shape.rank && !wrong; i++) {
        if (!dim_is_number(s->shape.dim[i])) continue;
        if (f->shape.rank < 0 || !dim_is_number(f->shape.dim[i])) t->unknown++;
        else wrong |= dim_differ(f->shape.dim[i], s->shape.dim[i]);
        t->sizes++;
    }
    if (!wrong) return;
    t->contradictions++;
    char ours[200], theirs[200];
    shape_text(&f->shape, v->graph->model->symbol, ours, sizeof ours);
    shape_text(&s->shape, v->graph->model->symbol, theirs, sizeof theirs);
    print_error("%s: %s is %s %s, stated as %s %s\n", path, v->name, dtype_name(f->dtype), ours, dtype_name(s->dtype), theirs);
}

/* Infers from the inputs alone and compares with what the file states. */
static void visit_model(const char *path, void *user)
{
    Tally *t = user;
    Model *m;
    if (model_load(path, &m) != OK || ops_bind(m) != OK) fail_msg("%s: %s", path, err_text());
    Graph *g = m->graph;
    Fact *stated = calloc((size_t)g->n_value + 1, sizeof *stated);
    for (int i = 0; i < g->n_value; i++) {
        Value *v = g->value[i];
        stated[i] = v->stated;
        if (!v->is_input && !v->constant) v->stated = FACT_UNKNOWN;
    }
    if (infer(m, NULL, 0, NULL) != OK) fail_msg("%s: %s", path, err_text());
    for (int i = 0; i < g->n_value; i++) {
        Value *v = g->value[i];
        v->stated = stated[i];
        if (v->producer && v->fact.is_tensor && v->stated.is_tensor) compare(t, path, v);
    }
    free(stated);
    t->models++;
    model_free(m);
}

static void compare_folder(const char *folder, int least)
{
    Tally t = { 0 };
    each_model(folder, visit_model, &t);
    printf("%d models: %d values, %d of %d sizes known, %d contradictions\n", t.models, t.values, t.sizes - t.unknown, t.sizes, t.contradictions);
    if (t.models == 0) {
        printf("skipped: no models in %s\n", folder ? folder : "a folder that the environment names");
        skip();
    }
    assert_int_equal(t.contradictions, 0);
    assert_true(t.sizes - t.unknown >= least);
}

static void test_node_tests(void **state) { (void)state; compare_folder(getenv("ONESHOT_NODE_TESTS"), 5000); }
static void test_real_models(void **state) { (void)state; compare_folder(getenv("ONESHOT_MODELS"), 0); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reshape_arithmetic), cmocka_unit_test(test_expand_arithmetic), cmocka_unit_test(test_resize), cmocka_unit_test(test_slice),
        cmocka_unit_test(test_products_and_pools), cmocka_unit_test(test_if), cmocka_unit_test(test_loop), cmocka_unit_test(test_scan),
        cmocka_unit_test(test_function), cmocka_unit_test(test_complaint), cmocka_unit_test(test_bindings), cmocka_unit_test(test_nested_loops),
        cmocka_unit_test(test_node_tests), cmocka_unit_test(test_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
