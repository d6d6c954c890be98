/* Operators of ai.onnx.ml on numbers small enough to follow by hand. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "engine/list.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"

typedef struct Run { Bytes bytes; Model *model; Plan *plan; } Run;

/* A model of one node whose input x is a constant; outputs are those of the list. */
static Run run(const char *type, const char *out, const char *attributes, const char *dims, const float *x)
{
    Run r = { 0 };
    Build *b = build_new();
    build_opset(b, "ai.onnx.ml", 3);
    build_init(b, "x", DT_F32, dims, x);
    build_node(b, type, "x", out, attributes);
    build_node_domain(b, "ai.onnx.ml");
    for (const char *at = out; *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)n, at);
        build_output(b, name, DT_NONE, NULL);
        at += n;
    }
    r.bytes = build_finish(b, 8, 17);
    if (model_parse(r.bytes.at, r.bytes.size, &r.model) != OK || ops_bind(r.model) != OK ||
        plan_build(r.model, NULL, 0, &(PlanOptions){ .threads = 1 }, &r.plan) != OK || plan_run(r.plan, NULL, 0) != OK) fail_msg("%s", err_text());
    return r;
}

static void drop(Run r)
{
    plan_free(r.plan);
    model_free(r.model);
    bytes_free(r.bytes);
}

static void floats_are(const Buffer *b, int n, const float *expected)
{
    assert_int_equal(b->dtype, DT_F32);
    assert_int_equal(b->count, n);
    for (int i = 0; i < n; i++) {
        float y = ((const float *)b->data)[i];
        if (!(fabsf(y - expected[i]) <= 1e-6f)) fail_msg("element %d is %.9g, expected %.9g", i, (double)y, (double)expected[i]);
    }
}
#define FLOATS(b, ...) floats_are(b, (int)(sizeof((float[]){ __VA_ARGS__ }) / sizeof(float)), (float[]){ __VA_ARGS__ })

static void labels_are(const Buffer *b, int n, const int64_t *expected)
{
    assert_int_equal(b->dtype, DT_I64);
    assert_int_equal(b->count, n);
    assert_memory_equal(b->data, expected, (size_t)n * sizeof *expected);
}

/* Scores x0 - x1 + 1 and x0 + x1. */
static void test_linear(void **state)
{
    (void)state;
    Run r = run("LinearClassifier", "l,s", "coefficients:fs=1,-1,1,1 intercepts:fs=1,0 classlabels_ints:is=7,8", "2,2", (float[]){ 2, 0, 1, 3 });
    labels_are(r.plan->out[0], 2, (int64_t[]){ 7, 8 });
    FLOATS(r.plan->out[1], 3, 2, -1, 4);
    drop(r);
    r = run("LinearRegressor", "y", "coefficients:fs=1,-1 intercepts:fs=10", "2,2", (float[]){ 2, 0, 1, 3 });
    FLOATS(r.plan->out[0], 12, 8);
    drop(r);
}

static void test_columns(void **state)
{
    (void)state;
    Run r = run("Scaler", "y", "offset:fs=1,2 scale:fs=2,10", "2,2", (float[]){ 1, 2, 3, 3 });
    FLOATS(r.plan->out[0], 0, 0, 4, 10);
    drop(r);
    r = run("Normalizer", "y", "norm:s=L1", "2,2", (float[]){ 1, -3, 0, 0 });
    FLOATS(r.plan->out[0], 0.25f, -0.75f, 0, 0);
    drop(r);
    r = run("Normalizer", "y", "norm:s=L2", "1,2", (float[]){ 3, 4 });
    FLOATS(r.plan->out[0], 0.6f, 0.8f);
    drop(r);
    r = run("Imputer", "y", "imputed_value_floats:fs=5,6 replaced_value_float:f=-1", "2,2", (float[]){ -1, 2, 3, -1 });
    FLOATS(r.plan->out[0], 5, 2, 3, 6);
    drop(r);
    r = run("OneHotEncoder", "y", "cats_int64s:is=4,9", "2", (float[]){ 9, 1 });
    FLOATS(r.plan->out[0], 0, 1, 0, 0);
    drop(r);
}

/* One split: x1 <= 0.5 gives 0.25, else 0.75. As a regressor two trees of it; as a classifier the weights of class 0 are probabilities of class 1. */
static void test_trees(void **state)
{
    (void)state;
    Run r = run("TreeEnsembleRegressor", "y",
                "nodes_treeids:is=0,0,0,1 nodes_nodeids:is=0,1,2,0 nodes_featureids:is=1,0,0,0 nodes_values:fs=0.5,0,0,0 nodes_modes:ss=BRANCH_LEQ,LEAF,LEAF,LEAF "
                "nodes_truenodeids:is=1,0,0,0 nodes_falsenodeids:is=2,0,0,0 target_treeids:is=0,0,1 target_nodeids:is=1,2,0 target_ids:is=0,0,0 "
                "target_weights:fs=0.25,0.75,1 n_targets:i=1 base_values:fs=10", "2,2", (float[]){ 0, 0.5f, 0, 0.75f });
    FLOATS(r.plan->out[0], 11.25f, 11.75f);
    drop(r);
    r = run("TreeEnsembleClassifier", "l,s",
            "nodes_treeids:is=0,0,0 nodes_nodeids:is=0,1,2 nodes_featureids:is=1,0,0 nodes_values:fs=0.5,0,0 nodes_modes:ss=BRANCH_LEQ,LEAF,LEAF "
            "nodes_truenodeids:is=1,0,0 nodes_falsenodeids:is=2,0,0 class_treeids:is=0,0 class_nodeids:is=1,2 class_ids:is=0,0 class_weights:fs=0.25,0.75 "
            "classlabels_int64s:is=3,4", "2,2", (float[]){ 0, 0.5f, 0, 0.75f });
    labels_are(r.plan->out[0], 2, (int64_t[]){ 3, 4 });
    FLOATS(r.plan->out[1], 0.75f, 0.25f, 0.25f, 0.75f);
    drop(r);
}

/* Support vectors 1 (class 5) and -1 (class 6), linear kernel: the decision is 0.5 x + 0.5 x + 0.25; the first score is its negative. */
static void test_machine(void **state)
{
    (void)state;
    Run r = run("SVMClassifier", "l,s",
                "kernel_type:s=LINEAR support_vectors:fs=1,-1 coefficients:fs=0.5,-0.5 vectors_per_class:is=1,1 rho:fs=0.25 classlabels_ints:is=5,6",
                "2,1", (float[]){ 2, -2 });
    labels_are(r.plan->out[0], 2, (int64_t[]){ 5, 6 });
    FLOATS(r.plan->out[1], -2.25f, 2.25f, 1.75f, -1.75f);
    drop(r);
    r = run("SVMRegressor", "y", "kernel_type:s=POLY kernel_params:fs=1,1,2 support_vectors:fs=2 coefficients:fs=3 rho:fs=-1 n_supports:i=1", "1,1", (float[]){ 1 });
    FLOATS(r.plan->out[0], 26);                                /* 3 * (1 * 2 + 1)^2 - 1 */
    drop(r);
}

static void test_zip_map(void **state)
{
    (void)state;
    Run r = run("ZipMap", "y", "classlabels_int64s:is=3,4", "2,2", (float[]){ 1, 2, 3, 4 });
    const List *all = r.plan->out[0]->list;
    assert_non_null(all);
    assert_int_equal(all->kind, LIST_SEQUENCE);
    assert_int_equal(all->n, 2);
    const List *second = all->item[1]->list;
    assert_int_equal(second->kind, LIST_MAP);
    labels_are(second->item[0], 2, (int64_t[]){ 3, 4 });
    FLOATS(second->item[1], 3, 4);
    drop(r);
}

/* A sequence where a tensor is wanted is refused by name. */
static void test_refused(void **state)
{
    (void)state;
    Model *m;
    Plan *plan;
    Build *b = build_new();
    build_opset(b, "ai.onnx.ml", 3);
    build_init(b, "x", DT_F32, "1,2", (float[]){ 1, 2 });
    build_node(b, "ZipMap", "x", "z", "classlabels_int64s:is=3,4");
    build_node_domain(b, "ai.onnx.ml");
    build_node(b, "Relu", "z", "y", NULL);
    build_output(b, "y", DT_F32, NULL);
    Bytes bytes = build_finish(b, 8, 17);
    assert_int_equal(model_parse(bytes.at, bytes.size, &m), OK);
    assert_int_equal(ops_bind(m), OK);
    assert_int_equal(plan_build(m, NULL, 0, &(PlanOptions){ .threads = 1 }, &plan), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "Relu"));
    model_free(m);
    bytes_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_linear), cmocka_unit_test(test_columns), cmocka_unit_test(test_trees), cmocka_unit_test(test_machine),
        cmocka_unit_test(test_zip_map), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
