/* What is not edited is not changed: load and save of every model at hand gives the same bytes. */
#include "onnx/model.h"
#include "tests/seeds.h"
#include "tests/cmocka.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Tally { int same, refused, failed; } Tally;

static void roundtrip(const char *path, void *user)
{
    Tally *t = user;
    Model *m;
    const char *output = test_path("roundtrip.onnx");
    if (model_load(path, &m)) {
        printf("refused: %s\n", err_text());
        t->refused++;
        return;
    }
    SaveOptions o = { .force = true };
    Err err = model_save(m, output, &o);
    bool same = !err && files_equal(path, output);
    if (!same) printf("not the same: %s: %s\n", path, err ? err_text() : "bytes differ");
    *(same ? &t->same : &t->failed) += 1;
    model_free(m);
}

typedef struct All { Model *m; const struct All *before; Constant *list[20000]; int n; } All;

static Err touch(Constant *c, void *user)
{
    All *all = user;
    if (dtype_bits(c->tensor.dtype) > 0 || c->tensor.dtype == DT_STRING) {
        TRY(constant_fetch(all->m, c));
        constant_edited(c);
    }
    all->list[all->n++] = c;
    return OK;
}

static Err compare(Constant *c, void *user)
{
    All *all = user;
    const Constant *old = all->before->list[all->n++];
    if (all->n > all->before->n) return err_set(ERR_ARG, "there are more constants than before");
    bool same = strcmp(c->name, old->name) == 0 && c->tensor.dtype == old->tensor.dtype && c->tensor.bytes == old->tensor.bytes &&
                c->storage == old->storage && shape_equal(&c->tensor.shape, &old->tensor.shape) && c->nonzeros <= old->nonzeros;
    if (!same) return err_set(ERR_ARG, "constant '%s' came out different", old->name);
    if (!old->edited || c->tensor.dtype == DT_STRING) return OK;
    TRY(constant_fetch(all->m, c));
    return memcmp(c->tensor.data, old->tensor.data, c->tensor.bytes) == 0 ? OK : err_set(ERR_ARG, "the elements of '%s' changed", old->name);
}

/* Every tensor counts as edited and goes through the encoder; what comes out must hold the same elements in the same form. */
static Err rewrite(Model *m, const char *output)
{
    static All before, after;
    SaveOptions o = { .force = true };
    before.m = m;
    after.before = &before;
    before.n = after.n = 0;
    TRY(model_each_constant(m, touch, &before));
    TRY(model_save(m, output, &o));
    TRY(model_load(output, &after.m));
    Err err = model_each_constant(after.m, compare, &after);
    if (!err && after.n != before.n) err = err_set(ERR_ARG, "%d constants instead of %d", after.n, before.n);
    model_free(after.m);
    return err;
}

static void edited(const char *path, void *user)
{
    Tally *t = user;
    Model *m;
    if (model_load(path, &m)) {
        t->refused++;
        return;
    }
    Err err = rewrite(m, test_path("edited.onnx"));
    if (err) printf("%s: %s\n", path, err_text());
    *(err ? &t->failed : &t->same) += 1;
    model_free(m);
}

static void run(const char *folder, void (*visit)(const char *, void *))
{
    Tally t = {0};
    int n = each_model(folder, visit, &t);
    printf("%d models: %d same, %d refused\n", n, t.same, t.refused);
    if (n == 0) skip();
    assert_int_equal(t.failed, 0);
    assert_int_equal(t.refused, 0);
}

/* The tiny models, as files. $ONESHOT_SEEDS: the folder to leave them in, for the fuzzer to start from. */
static void test_seeds(void **state)
{
    (void)state;
    const char *keep = getenv("ONESHOT_SEEDS");
    Tally same = {0}, rewritten = {0};
    for (int i = 0; i < seed_count(); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s.onnx", keep ? keep : test_folder(), seed_name(i));
        write_bytes(path, seed_model(i));
        roundtrip(path, &same);
        edited(path, &rewritten);
    }
    assert_int_equal(same.same, seed_count());
    assert_int_equal(rewritten.same, seed_count());
}

static const char *real_models(void)
{
    return getenv("ONESHOT_MODELS");
}

static const char *node_tests(void)
{
    return getenv("ONESHOT_NODE_TESTS");
}

static void test_real_models(void **state) { (void)state; run(real_models(), roundtrip); }
static void test_node_tests(void **state) { (void)state; run(node_tests(), roundtrip); }
static void test_real_models_edited(void **state) { (void)state; run(real_models(), edited); }
static void test_node_tests_edited(void **state) { (void)state; run(node_tests(), edited); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds), cmocka_unit_test(test_real_models), cmocka_unit_test(test_node_tests), cmocka_unit_test(test_real_models_edited),
        cmocka_unit_test(test_node_tests_edited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
