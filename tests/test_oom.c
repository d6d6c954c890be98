/* Memory that runs out: for every n, the n-th allocation fails during load, fetch, edit and save, and during all steps of pruning. Each time the answer is
 * ERR_NOMEM and nothing leaks (run under ASan or valgrind), and an older output stays whole. */
#include "onnx/model.h"
#include "recipes/stamp.h"
#include "recipes/survey.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/seeds.h"
#include <omp.h>
#include <string.h>

enum { MANY = 5000 };

static Err fetch_and_edit(Constant *c, void *user)
{
    TRY(constant_fetch(user, c));
    constant_edited(c);
    return constant_release(user, c);
}

static Err work_on(Model *m, const char *output)
{
    SaveOptions o = { .form = m->ir_version >= 6 ? FORM_SPARSE : FORM_AS_IS };
    char hex[65];
    TRY(model_sha256_source(m, hex));
    TRY(model_each_constant(m, fetch_and_edit, m));
    TRY(model_set_property(m, "key", "value"));
    TRY(model_refresh(m));
    return model_save(m, output, &o);
}

static Err whole_job(const char *input, const char *output, const void *user)
{
    (void)user;
    Model *m;
    TRY(model_load(input, &m));
    Err err = work_on(m, output);
    model_free(m);
    return err;
}

/* One way to prune; threads: with several it is chance which of them an allocation fails in. */
typedef struct Way { const char *scope, *pattern; double sparsity; bool regroup, external; int threads; } Way;

static Err prune(Model *m, const char *output, const Way *w)
{
    PruneOptions o = { .sparsity = w->sparsity, .regroup = w->regroup };
    Survey *survey;
    PruneResult *r;
    char hex[65];
    TRY(scope_parse(w->scope, &o.scope));
    TRY(pattern_parse(w->pattern, &o.pattern));
    TRY(model_sha256_source(m, hex));
    TRY(model_survey(m, (const char *const[]){ "batch=2", NULL }, &survey));
    TRY(prune_plan(m, survey->weight, survey->n_weight, &o, NULL, &r));
    if (w->external) TRY(model_store(m, output));
    TRY(prune_apply(m, &o, r, NULL));
    TRY(model_stamp(m, &o, r, hex));
    return model_save(m, output, &(SaveOptions){ .data = w->external ? DATA_EXTERNAL : DATA_AS_IS });
}

/* user: the Way. */
static Err prune_job(const char *input, const char *output, const void *user)
{
    Model *m;
    TRY(model_load(input, &m));
    Err err = prune(m, output, user);
    model_free(m);
    return err;
}

typedef Err Job(const char *input, const char *output, const void *user);

/* Allocations that the job makes when all go well; 0: the sweep never ended. */
static int sweep(Job *job, const void *user, const char *input, const char *output, const char *old)
{
    for (int n = 1; n < MANY; n++) {
        arena_fail_after(n);
        Err err = job(input, output, user);
        arena_fail_after(0);
        if (err == OK) return n - 1;
        if (err != ERR_NOMEM) fail_msg("allocation %d: %s", n, err_text());
        assert_true(files_equal(output, old));
        assert_non_null(strstr(err_text(), "memory"));
    }
    return 0;
}

static void test_sweep(void **state)
{
    (void)state;
    const char *input = test_path("input.onnx"), *output = test_path("output.onnx"), *old = test_path("old"), *again = test_path("again.onnx");
    for (int i = 0; i < seed_count(); i++) {
        write_bytes(input, seed_model(i));
        write_file(output, "old output", 10);
        write_file(old, "old output", 10);
        int n = sweep(whole_job, NULL, input, output, old);
        print_message("%s: %d allocations\n", seed_name(i), n);
        assert_in_range(n, 3, MANY);
        assert_int_equal(whole_job(output, again, NULL), OK);
    }
}

/* Layers of every kind that pruning tells apart: convolutions, a shared weight behind a Transpose, float16, a quantized one. */
static Bytes prunable_model(void)
{
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,3,8,8");
    build_init(b, "first", DT_F32, "16,3,3,3", NULL);
    build_node(b, "Conv", "x,first", "a", "pads:is=1,1,1,1");
    build_init(b, "conv", DT_F32, "40,16,3,3", NULL);
    build_node(b, "Conv", "a,conv", "b", "pads:is=1,1,1,1");
    build_node(b, "GlobalAveragePool", "b", "c", "");
    build_node(b, "Flatten", "c", "d", "");
    build_init(b, "gemm", DT_F32, "40,300", NULL);
    build_node(b, "Gemm", "d,gemm", "e", "");
    build_init(b, "half", DT_F16, "300,64", NULL);
    build_node(b, "Cast", "half", "half32", "to:i=1");
    build_node(b, "MatMul", "e,half32", "f", "");
    build_init(b, "quantized", DT_I8, "64,64", NULL);
    build_init(b, "scale", DT_F32, "", NULL);
    build_init(b, "zero", DT_I8, "", NULL);
    build_node(b, "DequantizeLinear", "quantized,scale,zero", "dequantized", "");
    build_node(b, "MatMul", "f,dequantized", "g", "");
    build_init(b, "last", DT_F32, "64,10", NULL);
    build_node(b, "MatMul", "g,last", "y", "");
    build_output(b, "y", DT_F32, "batch,10");
    return build_finish(b, 8, 17);
}

static void test_pruning(void **state)
{
    (void)state;
    static const Way ways[] = {
        { "uniform", "unstructured", 0.5, false, false, 1 }, { "uniform", "unstructured", 0.5, false, false, 3 },
        { "uniform", "unstructured", 0.999, false, true, 1 }, { "global", "unstructured", 0.8, false, false, 1 },
        { "erk", "unstructured", 0.7, false, false, 1 }, { "lamp", "unstructured", 0.9, false, false, 2 },
        { "uniform", "2:4", 0, false, false, 1 }, { "uniform", "4x1", 0.6, true, false, 1 }, { "global", "2x4", 0.6, false, false, 2 },
    };
    const char *input = test_path("input.onnx"), *output = test_path("output.onnx"), *old = test_path("old");
    write_bytes(input, prunable_model());
    write_file(old, "old output", 10);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        write_file(output, "old output", 10);
        omp_set_num_threads(ways[i].threads);
        int n = sweep(prune_job, &ways[i], input, output, old);
        print_message("%s, %s: %d allocations\n", ways[i].scope, ways[i].pattern, n);
        assert_in_range(n, 30, MANY);
    }
}

static void test_failing_stays(void **state)
{
    (void)state;
    arena_fail_after(1);
    assert_null(arena_new());
    assert_null(block_new(1));
    arena_fail_after(0);
    Arena *arena = arena_new();
    assert_non_null(arena);
    assert_null(arena_array(arena, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(arena, SIZE_MAX - 8));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sweep), cmocka_unit_test(test_pruning), cmocka_unit_test(test_failing_stays) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
