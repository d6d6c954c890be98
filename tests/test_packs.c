/* Plans of one model for several shapes share packed weights (engine/packs.h): the same numbers as a plan of their own, each form of the weights packed once,
 * nothing left behind, also when memory runs out. */
#include "engine/packs.h"
#include "engine/op.h"
#include "engine/plan_cache.h"
#include "engine/workspace.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHAPES = 4, MOST_FLOATS = 32 * 20 * 20, LARGE = 9 * 64 * 64 };

typedef struct Case { Build *(*make)(double zeros); int shapes; Shape shape[MOST_SHAPES]; } Case;

/* Weights larger than what plans read at once; pairs of rows share their zeros. */
static void weights(Build *b, const char *name, const char *dims, int rows, int columns, double zeros)
{
    static float w[LARGE];
    Random r = { 7 };
    for (int k = 0; k < columns; k++)
        for (int m = 0; m < rows; m += 2) {
            bool zero = random_float(&r) / 2 + 0.5f < (float)zeros;
            for (int i = m; i < rows && i < m + 2; i++) w[i * columns + k] = zero ? 0 : random_float(&r);
        }
    build_init(b, name, DT_F32, dims, w);
}

static Build *convolution(double zeros)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1,32,h,w");
    weights(b, "w", "64,32,3,3", 64, 32 * 9, zeros);
    build_init(b, "c", DT_F32, "64", NULL);
    build_node(b, "Conv", "x,w", "a", "pads:is=1,1,1,1");
    build_node(b, "BatchNormalization", "a,c,c,c,c", "n", "");
    build_node(b, "Relu", "n", "y", "");
    build_output(b, "y", DT_F32, NULL);
    return b;
}

static Build *product(double zeros)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "n,128");
    weights(b, "w", "128,160", 128, 160, zeros);
    weights(b, "v", "160,160", 160, 160, zeros);
    build_node(b, "MatMul", "x,w", "a", "");
    build_node(b, "MatMul", "a,v", "c", "");
    build_node(b, "Gemm", "c,v", "y", "transB:i=1");       /* the same constant, read the other way */
    build_output(b, "y", DT_F32, NULL);
    return b;
}

#define IMAGE(h, w) { .rank = 4, .dim = { 1, 32, h, w } }
#define TOKENS(n) { .rank = 2, .dim = { n, 128 } }
static const Case CASES[] = {
    { convolution, 4, { IMAGE(8, 8), IMAGE(9, 7), IMAGE(20, 20), IMAGE(1, 3) } },
    { product, 4, { TOKENS(1), TOKENS(3), TOKENS(40), TOKENS(70) } },
};

static Model *load(Bytes bytes)
{
    Model *m;
    assert_int_equal(model_parse(bytes.at, bytes.size, &m), OK);
    assert_int_equal(ops_bind(m), OK);
    return m;
}

static void same_outputs(const Plan *a, const Plan *b)
{
    const float *x = a->out[0]->data, *y = b->out[0]->data;
    float most = 0;
    assert_true(shape_equal(&a->out[0]->shape, &b->out[0]->shape));
    for (int64_t i = 0; i < a->out[0]->count; i++) most = fmaxf(most, fabsf(x[i]));
    assert_true(most > 0);
    for (int64_t i = 0; i < a->out[0]->count; i++) assert_true(fabsf(x[i] - y[i]) <= 1e-5f * most);
}

static Tensor input(const Shape *shape)
{
    static float x[MOST_FLOATS];
    Random r = { 11 };
    int64_t count;
    assert_int_equal(shape_count(shape, &count), OK);
    for (int64_t i = 0; i < count; i++) x[i] = random_float(&r);
    return (Tensor){ .dtype = DT_F32, .shape = *shape, .bytes = (size_t)count * sizeof *x, .data = x };
}

static int count_packs(const Packs *packs)
{
    int n = 0;
    for (const Pack *p = packs->first; p; p = p->next) n++;
    return n;
}

/* Each form once: none has the key and the layout of another. */
static void check_packs(const Packs *packs)
{
    for (Pack *p = packs->first; p; p = p->next) assert_ptr_equal(packs_owner(packs, &p->key, &p->trial), p);
}

static void check(const Case *c, double zeros, int kept)
{
    Bytes bytes = build_finish(c->make(zeros), 8, 17);
    Model *m = load(bytes);
    const Value **wanted;
    PlanCache *cache;
    int n, packs[2] = { 0 };
    assert_int_equal(plan_inputs(m, &wanted, &n), OK);
    assert_int_equal(plan_cache_new(m, wanted, n, kept, &(PlanOptions){ .threads = 2 }, &cache), OK);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < c->shapes; i++) {
            Tensor x = input(&c->shape[i]);
            Plan *shared, *own;
            assert_int_equal(plan_cache_get(cache, &x, &shared), OK);
            assert_int_equal(plan_build(m, &(PlanInput){ "x", DT_F32, c->shape[i] }, 1, &(PlanOptions){ .threads = 2 }, &own), OK);
            assert_int_equal(plan_run(shared, &x, 1), OK);
            assert_int_equal(plan_run(own, &x, 1), OK);
            same_outputs(shared, own);
            assert_true(count_packs(shared->options.packs) > 0);
            check_packs(shared->options.packs);
            packs[round] = count_packs(shared->options.packs);
            plan_free(own);
        }
    assert_int_equal(packs[0], packs[1]);
    plan_cache_free(cache);
    model_free(m);
    bytes_free(bytes);
}

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (int kept = 1; kept <= MOST_SHAPES; kept += 3) {
            check(&CASES[i], 0, kept);
            check(&CASES[i], 0.8, kept);
        }
}

static void test_workspaces(void **state)
{
    (void)state;
    Workspaces all = { 0 };
    Workspace *small = workspace_add(&all, 1000), *large;
    assert_non_null(small);
    assert_null(workspace_share(&all, 1001));
    assert_ptr_equal(workspace_share(&all, 1000), small);
    large = workspace_add(&all, 5000);
    assert_non_null(large);
    memset(workspace_memory(large), 1, 5000);
    assert_ptr_equal(workspace_share(&all, 2000), large);
    assert_int_equal(workspaces_bytes(&all), 6000);
    workspace_leave(&all, small);
    assert_int_equal(workspaces_bytes(&all), 6000);
    workspace_leave(&all, small);
    assert_int_equal(workspaces_bytes(&all), 5000);
    workspace_leave(&all, large);
    workspace_leave(&all, large);
    assert_ptr_equal(workspace_share(&all, 10), large);        /* the largest has stayed */
    workspaces_clear(&all);
    assert_int_equal(workspaces_bytes(&all), 5000);
    workspace_leave(&all, large);
    workspaces_clear(&all);
    assert_null(all.first);
}

/* Memory runs out while a second plan is made from what the first one packed, for larger inputs or smaller ones. */
static void test_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof CASES / sizeof *CASES; i++) {
        const Case *c = &CASES[i / 2];
        Bytes bytes = build_finish(c->make(0.8), 8, 17);
        Err e = ERR_NOMEM;
        for (int fail = 1; e != OK; fail++) {
            Model *m = load(bytes);
            const Value **wanted;
            PlanCache *cache;
            Plan *p;
            int n;
            assert_true(fail < 5000);
            assert_int_equal(plan_inputs(m, &wanted, &n), OK);
            assert_int_equal(plan_cache_new(m, wanted, n, 2, &(PlanOptions){ .threads = 1 }, &cache), OK);
            Tensor x = input(&c->shape[i % 2 ? 1 : 2]);
            assert_int_equal(plan_cache_get(cache, &x, &p), OK);
            x = input(&c->shape[i % 2 ? 2 : 1]);
            arena_fail_after(fail);
            e = plan_cache_get(cache, &x, &p);
            arena_fail_after(0);
            assert_true(e == OK || e == ERR_NOMEM);
            if (e != OK) assert_int_equal(plan_cache_get(cache, &x, &p), OK);
            assert_int_equal(plan_run(p, &x, 1), OK);
            check_packs(p->options.packs);
            plan_cache_free(cache);
            model_free(m);
        }
        bytes_free(bytes);
    }
}

/* A limit that no plan keeps, though it packs some weights: refused, once and for all. */
static void test_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Bytes bytes = build_finish(CASES[i].make(0.8), 8, 17);
        Model *m = load(bytes);
        const Value **wanted;
        Tensor x = input(&CASES[i].shape[2]);
        int n, refused = 0;
        Err e = ERR_NOMEM;
        assert_int_equal(plan_inputs(m, &wanted, &n), OK);
        for (size_t limit = 4 << 10; e != OK; limit += 4 << 10, refused++) {
            PlanCache *cache;
            Plan *p;
            assert_true(limit < 64 << 20);
            assert_int_equal(plan_cache_new(m, wanted, n, 2, &(PlanOptions){ .threads = 1, .memory_limit = limit }, &cache), OK);
            e = plan_cache_get(cache, &x, &p);
            assert_true(e == OK || e == ERR_NOMEM);
            plan_cache_free(cache);
        }
        assert_true(refused > 20);
        model_free(m);
        bytes_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_shapes), cmocka_unit_test(test_workspaces), cmocka_unit_test(test_memory), cmocka_unit_test(test_limit) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
