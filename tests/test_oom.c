/* Memory that runs out: for every n, the n-th allocation fails during load, fetch, edit and save. Each time the answer is ERR_NOMEM and nothing
 * leaks (run under ASan or valgrind), and an older output stays whole. */
#include "onnx/model.h"
#include "tests/cmocka.h"
#include "tests/seeds.h"
#include <stdlib.h>
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

static Err whole_job(const char *input, const char *output)
{
    Model *m;
    TRY(model_load(input, &m));
    Err err = work_on(m, output);
    model_free(m);
    return err;
}

/* Allocations that the job makes when all go well; 0: the sweep never ended. */
static int sweep(const char *input, const char *output, const char *old)
{
    for (int n = 1; n < MANY; n++) {
        arena_fail_after(n);
        Err err = whole_job(input, output);
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
        Bytes bytes = seed_model(i);
        write_file(input, bytes.at, bytes.size);
        bytes_free(bytes);
        write_file(output, "old output", 10);
        write_file(old, "old output", 10);
        int n = sweep(input, output, old);
        print_message("%s: %d allocations\n", seed_name(i), n);
        assert_in_range(n, 3, MANY);
        assert_int_equal(whole_job(output, again), OK);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sweep), cmocka_unit_test(test_failing_stays) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
