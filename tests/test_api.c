/* The public interface as a program sees it: through oneshot.h alone. */
#include "engine/api/oneshot.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <stdio.h>
#include <pthread.h>
#include <string.h>

enum { SIDE = 64, LAYERS = 3 };

/* x [batch, 64] through three products with 64 x 64 weights. */
static const char *small_model(void)
{
    static char path[512];
    Build *b = build_new();
    build_input(b, "x", DT_F32, "batch,64");
    build_init(b, "w0", DT_F32, "64,64", NULL);
    build_init(b, "w1", DT_F32, "64,64", NULL);
    build_init(b, "w2", DT_F32, "64,64", NULL);
    build_node(b, "MatMul", "x,w0", "a", "");
    build_node(b, "MatMul", "a,w1", "b", "");
    build_node_name(b, "middle");
    build_node(b, "MatMul", "b,w2", "y", "");
    build_output(b, "y", DT_F32, "batch,64");
    snprintf(path, sizeof path, "%s", test_path("small.onnx"));
    write_bytes(path, build_finish(b, 8, 17));
    return path;
}

static void the_numbers_are_right(void **state)
{
    (void)state;
    oneshot_model *m;
    oneshot_numbers n;
    oneshot_layer l;
    assert_int_equal(oneshot_load(small_model(), &m), ONESHOT_OK);
    assert_int_equal(oneshot_set_size(m, "batch=5"), ONESHOT_OK);
    assert_int_equal(oneshot_inspect(m, &n), ONESHOT_OK);
    assert_int_equal(n.nodes, 3);
    assert_int_equal(n.layers, LAYERS);
    assert_int_equal(n.parameters, LAYERS * SIDE * SIDE);
    assert_int_equal(n.zeros, 0);
    assert_int_equal(n.prunable, SIDE * SIDE);
    assert_int_equal(n.macs, 5 * LAYERS * SIDE * SIDE);
    assert_int_equal(n.macs_left, n.macs);
    assert_int_equal(oneshot_inspect_layer(m, 1, &l), ONESHOT_OK);
    assert_string_equal(l.node, "middle");
    assert_string_equal(l.weight, "w1");
    assert_string_equal(l.op_type, "MatMul");
    assert_int_equal(l.rank, 2);
    assert_int_equal(l.shape[0], SIDE);
    assert_true(l.prunable && !l.reason);
    assert_int_equal(oneshot_inspect_layer(m, 0, &l), ONESHOT_OK);
    assert_true(!l.prunable && l.reason);
    assert_int_equal(oneshot_inspect_layer(m, 3, &l), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_inspect_layer(m, -1, &l), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_set_size(m, "batch=6"), ONESHOT_ERROR_ARGUMENT);
    oneshot_free(m);
}

static void pruning_survives_saving(void **state)
{
    (void)state;
    oneshot_model *m;
    oneshot_numbers n;
    oneshot_layer l;
    const char *output = test_path("out.onnx");
    assert_int_equal(oneshot_load(small_model(), &m), ONESHOT_OK);
    oneshot_prune_options o = oneshot_prune_defaults();
    o.sparsity = 0.75;
    assert_int_equal(oneshot_prune(m, &o), ONESHOT_OK);
    assert_int_equal(oneshot_inspect(m, &n), ONESHOT_OK);
    assert_int_equal(n.prunable_zeros, 3 * SIDE * SIDE / 4);
    assert_int_equal(n.zeros, n.prunable_zeros);
    assert_true(n.macs_left < n.macs);
    o.sparsity = 0.875;                                    /* on top of it */
    o.include = (const char *const[]){ "w*", NULL };
    assert_int_equal(oneshot_prune(m, &o), ONESHOT_OK);
    assert_int_equal(oneshot_inspect(m, &n), ONESHOT_OK);
    assert_int_equal(n.zeros, LAYERS * SIDE * SIDE * 7 / 8);
    assert_int_equal(oneshot_save(m, output, 0), ONESHOT_OK);
    oneshot_free(m);
    assert_int_equal(oneshot_load(output, &m), ONESHOT_OK);
    assert_int_equal(oneshot_inspect_layer(m, 1, &l), ONESHOT_OK);
    assert_int_equal(l.zeros, SIDE * SIDE * 7 / 8);
    assert_int_equal(oneshot_save(m, output, 0), ONESHOT_ERROR_ARGUMENT);
    assert_non_null(strstr(oneshot_error(), "out.onnx"));
    assert_int_equal(oneshot_save(m, output, ONESHOT_SAVE_SPARSE | ONESHOT_SAVE_FORCE), ONESHOT_OK);
    oneshot_free(m);
    assert_int_equal(oneshot_load(output, &m), ONESHOT_OK);
    assert_int_equal(oneshot_inspect(m, &n), ONESHOT_OK);
    assert_int_equal(n.zeros, LAYERS * SIDE * SIDE * 7 / 8);
    oneshot_free(m);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    oneshot_model *m = NULL;
    oneshot_numbers n;
    assert_int_equal(oneshot_load(test_path("nothing.onnx"), &m), ONESHOT_ERROR_IO);
    assert_non_null(strstr(oneshot_error(), "nothing.onnx"));
    write_file(test_path("bad.onnx"), "\xff\xff\xff", 3);
    assert_int_equal(oneshot_load(test_path("bad.onnx"), &m), ONESHOT_ERROR_FORMAT);
    assert_null(m);
    assert_int_equal(oneshot_load(NULL, &m), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_inspect(NULL, &n), ONESHOT_ERROR_ARGUMENT);
    oneshot_free(NULL);
    assert_int_equal(oneshot_load(small_model(), &m), ONESHOT_OK);
    oneshot_prune_options o = oneshot_prune_defaults();
    assert_int_equal(oneshot_prune(m, NULL), ONESHOT_ERROR_ARGUMENT);
    o.sparsity = 1;
    assert_int_equal(oneshot_prune(m, &o), ONESHOT_ERROR_ARGUMENT);
    o.sparsity = 0.5;
    o.scope = "everywhere";
    assert_int_equal(oneshot_prune(m, &o), ONESHOT_ERROR_ARGUMENT);
    o.scope = "uniform";
    o.pattern = "4:2";
    assert_int_equal(oneshot_prune(m, &o), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_save(m, test_path("x.onnx"), ONESHOT_SAVE_EXTERNAL | ONESHOT_SAVE_INLINE), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_save(m, test_path("no/such/folder.onnx"), 0), ONESHOT_ERROR_IO);
    oneshot_free(m);
    assert_int_equal(oneshot_load(small_model(), &m), ONESHOT_OK);
    assert_int_equal(oneshot_set_size(m, "no=3"), ONESHOT_OK);
    assert_int_equal(oneshot_inspect(m, &n), ONESHOT_ERROR_ARGUMENT);
    oneshot_free(m);
    assert_string_equal(oneshot_version(), ONESHOT_VERSION);
}

static void same_library_twice(void **state)
{
    (void)state;
    oneshot_model *a, *b;
    oneshot_numbers n;
    assert_int_equal(oneshot_load(small_model(), &a), ONESHOT_OK);
    assert_int_equal(oneshot_load(small_model(), &b), ONESHOT_OK);
    oneshot_prune_options o = oneshot_prune_defaults();
    o.sparsity = 0.5;
    assert_int_equal(oneshot_prune(a, &o), ONESHOT_OK);
    assert_int_equal(oneshot_inspect(b, &n), ONESHOT_OK);
    assert_int_equal(n.zeros, 0);                          /* what happens to one does not reach the other */
    oneshot_free(a);
    assert_int_equal(oneshot_save(b, test_path("b.onnx"), 0), ONESHOT_OK);
    assert_true(files_equal(small_model(), test_path("b.onnx")));
    oneshot_free(b);
}

/* x (rows, 3) * w (3, 2) */
static oneshot_model *product_model(void)
{
    Build *b = build_new();
    oneshot_model *m;
    build_input(b, "x", DT_F32, "rows,3");
    build_input(b, "w", DT_F32, "3,2");
    build_node(b, "MatMul", "x,w", "y", "");
    build_output(b, "y", DT_F32, "rows,2");
    write_bytes(test_path("product.onnx"), build_finish(b, 8, 17));
    assert_int_equal(oneshot_load(test_path("product.onnx"), &m), ONESHOT_OK);
    return m;
}

static void plans_run(void **state)
{
    (void)state;
    oneshot_model *m = product_model();
    oneshot_plan *p;
    oneshot_plan_options o = oneshot_plan_defaults();
    oneshot_tensor t, out;
    float x[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, w[6] = { 1, 0, 0, 1, 1, 1 };
    o.shapes_kept = 2;
    assert_int_equal(oneshot_plan_new(m, &o, &p), ONESHOT_OK);
    assert_int_equal(oneshot_plan_inputs(p), 2);
    assert_int_equal(oneshot_plan_outputs(p), 1);
    assert_int_equal(oneshot_plan_input(p, 0, &t), ONESHOT_OK);
    assert_true(!strcmp(t.name, "x") && t.type == ONESHOT_FLOAT32 && t.rank == 2 && t.shape[0] == -1 && t.shape[1] == 3 && !t.data);
    assert_int_equal(oneshot_plan_output(p, 0, &t), ONESHOT_OK);
    assert_string_equal(t.name, "y");
    for (int turn = 0; turn < 8; turn++) {             /* more shapes than are kept, by name and in order */
        int64_t rows = turn % 5;
        oneshot_tensor in[2] = { { .name = "w", .type = ONESHOT_FLOAT32, .rank = 2, .shape = { 3, 2 }, .data = w },
                                 { .name = "x", .type = ONESHOT_FLOAT32, .rank = 2, .shape = { rows, 3 }, .data = rows ? x : NULL } };
        if (turn % 2) { oneshot_tensor first = in[0]; in[0] = in[1]; in[1] = first; in[0].name = in[1].name = NULL; }
        assert_int_equal(oneshot_run(p, in, 2, &out, 1), ONESHOT_OK);
        assert_true(out.rank == 2 && out.shape[0] == rows && out.shape[1] == 2 && out.bytes == (size_t)rows * 8);
        for (int64_t i = 0; i < rows; i++) {
            assert_float_equal(((float *)out.data)[2 * i], x[3 * i] + x[3 * i + 2], 0);
            assert_float_equal(((float *)out.data)[2 * i + 1], x[3 * i + 1] + x[3 * i + 2], 0);
        }
    }
    oneshot_prune_options prune = oneshot_prune_defaults();
    assert_int_equal(oneshot_prune(m, &prune), ONESHOT_ERROR_ARGUMENT);
    assert_string_equal(oneshot_error(), "the model cannot be pruned while plans run it; free them first");
    oneshot_plan_free(p);
    assert_int_equal(oneshot_prune(m, &prune), ONESHOT_OK);
    oneshot_free(m);
}

static void wrong_runs_are_told(void **state)
{
    (void)state;
    oneshot_model *m = product_model();
    oneshot_plan *p;
    oneshot_plan_options o = oneshot_plan_defaults();
    float x[6] = { 0 };
    oneshot_tensor out, w = { .type = ONESHOT_FLOAT32, .rank = 2, .shape = { 3, 2 }, .data = x }, odd = w, half = w, none = w, huge = w, named = w;
    o.memory_limit = 1 << 20;
    assert_int_equal(oneshot_plan_new(NULL, NULL, &p), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_plan_new(m, &o, &p), ONESHOT_OK);
    odd.shape[0] = -1; half.type = ONESHOT_FLOAT16; none.data = NULL; huge.shape[0] = (int64_t)1 << 30; huge.shape[1] = 3; named.name = "z";
    const struct { oneshot_tensor x; oneshot_status status; const char *error; } CASES[] = {
        { odd, ONESHOT_ERROR_ARGUMENT, "the input 'x' has the size -1" },
        { w, ONESHOT_ERROR_ARGUMENT, "The input 'x' is rowsx3 in the model, the data given for it is 3x2." },
        { half, ONESHOT_ERROR_ARGUMENT, "The input 'x' is float32 in the model, the data given for it is float16." },
        { none, ONESHOT_ERROR_ARGUMENT, "the input 'x' has no data" },
        { named, ONESHOT_ERROR_ARGUMENT, "the model has no input 'z' that takes data" },
        { huge, ONESHOT_ERROR_MEMORY, "needs more memory than the limit of 1 MiB allows" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        assert_int_equal(oneshot_run(p, (oneshot_tensor[]){ CASES[i].x, w }, 2, &out, 1), CASES[i].status);
        if (!strstr(oneshot_error(), CASES[i].error)) fail_msg("%s", oneshot_error());
    }
    assert_int_equal(oneshot_run(p, &w, 1, &out, 1), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_run(p, NULL, 2, &out, 1), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_run(p, (oneshot_tensor[]){ w, w }, 2, &out, 2), ONESHOT_ERROR_ARGUMENT);
    assert_int_equal(oneshot_plan_input(p, 2, &out), ONESHOT_ERROR_ARGUMENT);
    oneshot_plan_free(p);
    oneshot_plan_free(NULL);
    oneshot_free(m);
}

static void *run_alone(void *user)
{
    oneshot_plan *p;
    float x[6] = { 1, 2, 3, 4, 5, 6 };
    oneshot_tensor wide = { .type = ONESHOT_FLOAT32, .rank = 2, .shape = { 2, 3 }, .data = x }, tall = wide, out;
    tall.shape[0] = 3;
    tall.shape[1] = 2;
    const oneshot_tensor in[2] = { wide, tall };
    if (oneshot_plan_new(user, NULL, &p)) return user;
    bool right = true;
    for (int i = 0; i < 50 && right; i++) right = !oneshot_run(p, in, 2, &out, 1) && ((float *)out.data)[0] == 22 && ((float *)out.data)[3] == 64;
    oneshot_plan_free(p);
    return right ? NULL : user;
}

static void plans_share_a_model(void **state)
{
    (void)state;
    oneshot_model *m = product_model();
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, run_alone, m), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    oneshot_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_are_right),
        cmocka_unit_test(pruning_survives_saving),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(same_library_twice),
        cmocka_unit_test(plans_run),
        cmocka_unit_test(wrong_runs_are_told),
        cmocka_unit_test(plans_share_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
