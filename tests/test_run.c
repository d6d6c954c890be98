/* Running plans: what is learned in a run stays in it, limits hold, threads may build and run plans of one model at the same time. */
#include "engine/plan_cache.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Loaded { Bytes bytes; Model *m; } Loaded;

static Loaded load(Build *b)
{
    Loaded l = { build_finish(b, 8, 18), NULL };
    if (model_parse(l.bytes.at, l.bytes.size, &l.m) != OK || ops_bind(l.m) != OK) fail_msg("%s", err_text());
    return l;
}

static void unload(Loaded l)
{
    model_free(l.m);
    bytes_free(l.bytes);
}

static Plan *plan_for(Model *m, const PlanInput *in, int n, const PlanOptions *o)
{
    Plan *p = NULL;
    if (plan_build(m, in, n, o, &p) != OK) fail_msg("%s", err_text());
    return p;
}

/* A branch reads sizes that the enclosing graph has looked at already: they must count in every run anew. */
static void test_captured_sizes(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "6");
    build_input(b, "sizes", DT_I64, "2");
    build_input(b, "c", DT_BOOL, "");
    build_node(b, "Reshape", "x,sizes", "r", "");
    build_node(b, "If", "c", "y", "");
    build_attr_graph(b, "then_branch", build_branch("Reshape", "x,sizes", "a", "?,?"));
    build_attr_graph(b, "else_branch", build_branch("Reshape", "x,sizes", "b", "?,?"));
    build_output(b, "r", DT_F32, "?,?");
    build_output(b, "y", DT_F32, "?,?");
    Loaded l = load(b);
    Plan *p = plan_for(l.m, (PlanInput[]){ { "x", DT_F32, { 1, { 6 } } }, { "sizes", DT_I64, { 1, { 2 } } }, { "c", DT_BOOL, { 0 } } }, 3, NULL);
    float x[6] = { 1, 2, 3, 4, 5, 6 };
    uint8_t yes = 1;
    int64_t sizes[4][2] = { { 2, 3 }, { 3, 2 }, { 6, 1 }, { 1, 6 } };
    for (int i = 0; i < 4; i++) {
        Tensor in[3] = { { DT_F32, { 1, { 6 } }, sizeof x, x }, { DT_I64, { 1, { 2 } }, 16, sizes[i] }, { DT_BOOL, { 0 }, 1, &yes } };
        if (plan_run(p, in, 3) != OK) fail_msg("%s", err_text());
        for (int k = 0; k < 2; k++) assert_true(shape_equal(&p->out[k]->shape, &(Shape){ 2, { sizes[i][0], sizes[i][1] } }));
        assert_memory_equal(p->out[1]->data, x, sizeof x);
    }
    plan_free(p);
    unload(l);
}

static Build *turns(void)
{
    Build *b = build_loop_body();
    float half = 0.5f;
    build_input(b, "sum", DT_F32, "1");
    build_init(b, "half", DT_F32, "1", &half);
    build_node(b, "Add", "sum,half", "more", "");
    build_node(b, "Identity", "go", "still", "");
    build_output(b, "still", DT_BOOL, "");
    build_output(b, "more", DT_F32, "1");
    return b;
}

static Build *loop(Build *body)
{
    Build *b = build_new();
    uint8_t yes = 1;
    float zero = 0;
    build_input(b, "limit", DT_I64, "");
    build_init(b, "yes", DT_BOOL, "", &yes);
    build_init(b, "zero", DT_F32, "1", &zero);
    build_node(b, "Loop", "limit,yes,zero", "y", "");
    build_attr_graph(b, "body", body);
    build_output(b, "y", DT_F32, "1");
    return b;
}

/* A state that is whole in one turn and has a fraction in the next. */
static void test_loop(void **state)
{
    (void)state;
    Loaded l = load(loop(turns()));
    Plan *p = plan_for(l.m, &(PlanInput){ "limit", DT_I64, { 0 } }, 1, NULL);
    for (int64_t limit = 0; limit < 40; limit++) {
        if (plan_run(p, &(Tensor){ DT_I64, { 0 }, 8, &limit }, 1) != OK) fail_msg("%s", err_text());
        assert_float_equal(*(float *)p->out[0]->data, 0.5f * (float)limit, 0);
    }
    plan_free(p);
    unload(l);
}

static void test_endless(void **state)
{
    (void)state;
    int64_t limit = INT64_MAX;
    Loaded l = load(loop(turns()));
    Plan *p = plan_for(l.m, &(PlanInput){ "limit", DT_I64, { 0 } }, 1, &(PlanOptions){ .seconds_limit = 0.05 });
    assert_int_equal(plan_run(p, &(Tensor){ DT_I64, { 0 }, 8, &limit }, 1), ERR_TIME);
    assert_non_null(strstr(err_text(), "This model takes longer than the limit of 0.05 seconds."));
    limit = 3;                                         /* the plan lives on */
    assert_int_equal(plan_run(p, &(Tensor){ DT_I64, { 0 }, 8, &limit }, 1), OK);
    plan_free(p);
    unload(l);
}

/* A past of no elements before the first word: nothing to place. */
static void test_empty_join(void **state)
{
    (void)state;
    float x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    Build *b = build_new();
    build_input(b, "past", DT_F32, "t,4");
    build_input(b, "x", DT_F32, "n,4");
    build_node(b, "Concat", "past,x", "y", "axis:i=0");
    build_output(b, "y", DT_F32, "?,4");
    Loaded l = load(b);
    Plan *p = plan_for(l.m, (PlanInput[]){ { "past", DT_F32, { 2, { 0, 4 } } }, { "x", DT_F32, { 2, { 2, 4 } } } }, 2, NULL);
    assert_int_equal(plan_run(p, (Tensor[]){ { DT_F32, { 2, { 0, 4 } }, 0, NULL }, { DT_F32, { 2, { 2, 4 } }, sizeof x, x } }, 2), OK);
    assert_memory_equal(p->out[0]->data, x, sizeof x);
    plan_free(p);
    unload(l);
}

/* Pieces of a batch have a clock of their own: it starts with the run, not with the plan. */
static void test_batch_in_time(void **state)
{
    (void)state;
    float x[32 * 8] = { 0 };
    Build *b = build_new();
    build_input(b, "x", DT_F32, "n,8");
    build_node(b, "Exp", "x", "y", "");
    build_output(b, "y", DT_F32, "n,8");
    Loaded l = load(b);
    Plan *p = plan_for(l.m, &(PlanInput){ "x", DT_F32, { 2, { 32, 8 } } }, 1, &(PlanOptions){ .threads = 2, .seconds_limit = 0.2 });
    usleep(250000);
    assert_int_equal(plan_run(p, &(Tensor){ DT_F32, { 2, { 32, 8 } }, sizeof x, x }, 1), OK);
    plan_free(p);
    unload(l);
}

/* What is too large is refused before it is allocated: while planning where shapes are known, in the run where they come from data. */
static void test_memory(void **state)
{
    (void)state;
    Build *b = build_new();
    build_input(b, "sizes", DT_I64, "2");
    build_node(b, "ConstantOfShape", "sizes", "y", "");
    build_output(b, "y", DT_F32, "?,?");
    Loaded l = load(b);
    PlanOptions o = { .memory_limit = 1 << 24 };
    Plan *p = plan_for(l.m, &(PlanInput){ "sizes", DT_I64, { 1, { 2 } } }, 1, &o);
    int64_t sizes[3][2] = { { 1 << 20, 1 << 20 }, { (int64_t)1 << 40, (int64_t)1 << 40 }, { 4, 5 } };
    assert_int_equal(plan_run(p, &(Tensor){ DT_I64, { 1, { 2 } }, 16, sizes[0] }, 1), ERR_NOMEM);
    assert_non_null(strstr(err_text(), "This model needs more memory than the limit of 16 MiB allows"));
    assert_true(plan_run(p, &(Tensor){ DT_I64, { 1, { 2 } }, 16, sizes[1] }, 1) != OK);
    assert_int_equal(plan_run(p, &(Tensor){ DT_I64, { 1, { 2 } }, 16, sizes[2] }, 1), OK);
    plan_free(p);
    unload(l);
    b = build_new();
    build_input(b, "x", DT_F32, "n");
    build_node(b, "Exp", "x", "y", "");
    build_output(b, "y", DT_F32, "n");
    l = load(b);
    assert_int_equal(plan_build(l.m, &(PlanInput){ "x", DT_F32, { 1, { (int64_t)1 << 40 } } }, 1, &o, &p), ERR_NOMEM);
    assert_non_null(strstr(err_text(), "This model needs more memory than the limit of 16 MiB allows"));
    unload(l);
}

static Plan *cached(PlanCache *c, int64_t columns)
{
    Plan *p;
    if (plan_cache_get(c, &(Tensor){ .dtype = DT_F32, .shape = { 2, { 1, columns } } }, &p) != OK) fail_msg("%s", err_text());
    assert_int_equal(p->in[0]->shape.dim[1], columns);
    return p;
}

static void test_cache(void **state)
{
    (void)state;
    const Value **input;
    int n;
    PlanCache *c;
    Plan *p;
    Build *b = build_new();
    build_input(b, "x", DT_F32, "1,n");
    build_node(b, "Exp", "x", "y", "");
    build_output(b, "y", DT_F32, "1,n");
    Loaded l = load(b);
    assert_int_equal(plan_inputs(l.m, &input, &n), OK);
    assert_int_equal(plan_cache_new(l.m, input, n, 3, &(PlanOptions){ .memory_limit = 1 << 20 }, &c), OK);
    const Plan *one = cached(c, 1), *two = cached(c, 2), *three = cached(c, 3);
    assert_true(cached(c, 1) == one && cached(c, 2) == two && cached(c, 3) == three);
    assert_int_equal(plan_cache_count(c), 3);
    cached(c, 1);
    cached(c, 4);                                      /* 2 was used longest ago and goes */
    assert_int_equal(plan_cache_count(c), 3);
    assert_true(cached(c, 1) == one && cached(c, 3) == three);
    cached(c, 255000);                                 /* needs most of the memory: the others go */
    assert_true(plan_cache_count(c) < 3);
    assert_int_equal(plan_cache_get(c, &(Tensor){ .dtype = DT_F32, .shape = { 2, { 1, 1000000 } } }, &p), ERR_NOMEM);
    assert_int_equal(plan_cache_count(c), 0);
    cached(c, 5);
    plan_cache_free(c);
    unload(l);
}

/* A body that has nothing to do. */
static void test_idle(void **state)
{
    (void)state;
    Build *body = build_loop_body();
    int64_t limit = INT64_MAX;
    build_input(body, "sum", DT_F32, "1");
    build_output(body, "go", DT_BOOL, "");
    build_output(body, "sum", DT_F32, "1");
    Loaded l = load(loop(body));
    Plan *p = plan_for(l.m, &(PlanInput){ "limit", DT_I64, { 0 } }, 1, &(PlanOptions){ .seconds_limit = 0.05 });
    assert_int_equal(plan_run(p, &(Tensor){ DT_I64, { 0 }, 8, &limit }, 1), ERR_TIME);
    plan_free(p);
    unload(l);
}

/* What fuzzing met: each once ended the process or left what the sanitizers see -------------------------------------------------------- */

static void refused(Build *b, Err wanted, const char *sentence)
{
    Loaded l = load(b);
    Plan *p = NULL;
    Err e = plan_build(l.m, NULL, 0, &(PlanOptions){ .threads = 1 }, &p);
    if (e == OK) e = plan_run(p, NULL, 0);
    if (e != wanted || !strstr(err_text(), sentence)) fail_msg("%d, '%s' instead of %d, '%s'", e, e == OK ? "" : err_text(), wanted, sentence);
    plan_free(p);
    unload(l);
}

static Build *node_of(const char *type, const char *in, const char *attributes)
{
    Build *b = build_new();
    build_node(b, type, in, "y", attributes);
    build_output(b, "y", DT_NONE, NULL);
    return b;
}

static void test_refused(void **state)
{
    (void)state;
    Build *b = node_of("MatMulInteger", "a,b,z", "");
    build_init(b, "a", DT_U8, "2,3", NULL);
    build_init(b, "b", DT_U8, "3,2", NULL);
    build_init(b, "z", DT_I32, "", (int32_t[]){ 1 });
    refused(b, ERR_SHAPE, "A zero point has another type than what it belongs to.");
    b = node_of("ConvInteger", "a,b,z", "");
    build_init(b, "a", DT_I8, "1,1,3,3", NULL);
    build_init(b, "b", DT_I8, "1,1,2,2", NULL);
    build_init(b, "z", DT_U8, "1", (uint8_t[]){ 1 });
    refused(b, ERR_SHAPE, "A zero point has another type than what it belongs to.");
    b = node_of("MaxPool", "a", "kernel_shape:is=2");
    build_init(b, "a", DT_F32, "1,1,3,3", NULL);
    refused(b, ERR_SHAPE, "MaxPool");
    b = node_of("Split", "a", "axis:i=1 num_outputs:i=1");
    build_init(b, "a", DT_F32, "1,0", NULL);
    refused(b, OK, "");
}

/* The largest products there are, so many of them that a float32 could not count them. b with a constant zero point, or with one that is an input. */
static void test_deep_integers(void **state)
{
    enum { M = 3, K = 600, N = 19 };
    static uint8_t a[M * K], b[K * N];
    (void)state;
    for (int i = 0; i < M * K; i++) a[i] = (uint8_t)(i % 7 ? 255 : i % 251);
    for (int i = 0; i < K * N; i++) b[i] = (uint8_t)(i % 5 ? 254 : i % 241);
    for (int constant = 0; constant < 2; constant++) {
        uint8_t zero[2] = { 0, 1 };
        Build *build = node_of("MatMulInteger", "a,b,za,zb", "");
        build_init(build, "a", DT_U8, "3,600", a);
        build_init(build, "b", DT_U8, "600,19", b);
        build_init(build, "za", DT_U8, "", &zero[0]);
        if (constant) build_init(build, "zb", DT_U8, "", &zero[1]);
        else build_input(build, "zb", DT_U8, "");
        Loaded l = load(build);
        Plan *p = NULL;
        PlanInput shape = { "zb", DT_U8, shape_of(0, NULL) };
        Tensor t = { .dtype = DT_U8, .shape = shape.shape, .bytes = 1, .data = &zero[1] };
        if (plan_build(l.m, &shape, !constant, &(PlanOptions){ .threads = 1 }, &p) != OK || plan_run(p, &t, !constant) != OK) fail_msg("%s", err_text());
        for (int i = 0; i < M * N; i++) {
            int64_t sum = 0;
            for (int k = 0; k < K; k++) sum += (int64_t)a[i / N * K + k] * (b[k * N + i % N] - 1);
            assert_int_equal(((const int32_t *)p->out[0]->data)[i], sum);
        }
        plan_free(p);
        unload(l);
    }
}

/* Rows that lie outside of what is padded have no place in it; a constant product of one column has nothing to read ahead of. */
static void test_nothing_outside(void **state)
{
    (void)state;
    Build *b = build_new();
    build_init(b, "a", DT_F32, "1,2", (float[]){ 1, 2 });
    build_init(b, "pads", DT_I64, "4", (int64_t[]){ 2, 1, 1, 0 });
    build_init(b, "w", DT_F32, "3,1", (float[]){ 1, 10, 100 });
    build_node(b, "Pad", "a,pads", "p", "");
    build_node(b, "MatMul", "p,w", "y", "");
    build_output(b, "y", DT_F32, "4,1");
    Loaded l = load(b);
    Plan *p = plan_for(l.m, NULL, 0, &(PlanOptions){ .threads = 1 });
    if (plan_run(p, NULL, 0) != OK) fail_msg("%s", err_text());
    assert_memory_equal(p->out[0]->data, ((float[]){ 0, 0, 210, 0 }), 4 * sizeof(float));
    plan_free(p);
    unload(l);
}

/* threads ------------------------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 20, FEATURES = 32 };
typedef struct Worker { Model *m; int64_t rows; float first; bool failed; } Worker;

/* Weights that are sparse in the file, so that they are unpacked when first asked for. */
static Build *shared_model(void)
{
    Build *b = build_new();
    int64_t at[FEATURES];
    float one[FEATURES];
    for (int i = 0; i < FEATURES; i++) { at[i] = i * (FEATURES + 1); one[i] = (float)i; }
    Pb w = sparse_raw("w", DT_F32, "32,32", FEATURES, at, one);
    build_sparse_init_proto(b, &w);
    build_init(b, "bias", DT_F32, "32", NULL);
    build_input(b, "x", DT_F32, "rows,32");
    build_node(b, "MatMul", "x,w", "m", "");
    build_node(b, "Add", "m,bias", "y", "");
    build_output(b, "y", DT_F32, "rows,32");
    return b;
}

static void *work(void *user)
{
    Worker *w = user;
    size_t bytes = (size_t)w->rows * FEATURES * sizeof(float);
    float *x = malloc(bytes);
    for (int64_t i = 0; x && i < w->rows * FEATURES; i++) x[i] = w->first;
    for (int round = 0; round < ROUNDS && !w->failed; round++) {
        Plan *p;
        Shape s = { 2, { w->rows, FEATURES } };
        w->failed = !x || plan_build(w->m, &(PlanInput){ "x", DT_F32, s }, 1, &(PlanOptions){ .threads = 1 }, &p) != OK;
        if (w->failed) break;
        w->failed = plan_run(p, &(Tensor){ DT_F32, s, bytes, x }, 1) != OK;
        for (int64_t i = 0; !w->failed && i < w->rows * FEATURES; i++) {
            float wanted = w->first * (float)(i % FEATURES) + (float)(i % FEATURES + 1);
            w->failed = ((float *)p->out[0]->data)[i] != wanted;
        }
        plan_free(p);
    }
    free(x);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    for (int turn = 0; turn < 5; turn++) {             /* the race for the first fetch happens once a model */
        Loaded l = load(shared_model());
        pthread_t thread[THREADS];
        Worker w[THREADS];
        for (int i = 0; i < THREADS; i++) {
            w[i] = (Worker){ l.m, 1 + i, (float)i, false };
            assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
        for (int i = 0; i < THREADS; i++) assert_false(w[i].failed);
        unload(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captured_sizes), cmocka_unit_test(test_loop), cmocka_unit_test(test_endless),
        cmocka_unit_test(test_empty_join), cmocka_unit_test(test_batch_in_time),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_cache),
        cmocka_unit_test(test_idle), cmocka_unit_test(test_refused), cmocka_unit_test(test_deep_integers), cmocka_unit_test(test_nothing_outside),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
