/* The public interface as a program sees it: through oneshot.h alone. */
#include "engine/api/oneshot.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include <stdio.h>
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
    Bytes bytes = build_finish(b, 8, 17);
    snprintf(path, sizeof path, "%s", test_path("small.onnx"));
    write_file(path, bytes.at, bytes.size);
    bytes_free(bytes);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_are_right),
        cmocka_unit_test(pruning_survives_saving),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(same_library_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
