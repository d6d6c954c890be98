/* Every scope and pattern on the real models below $ONESHOT_MODELS: counts are exact, zeros stay, what is not pruned is left to the bit, no output channel
 * dies, and two numbers of threads give the same bytes. */
#include "engine/infer.h"
#include "recipes/layer.h"
#include "tests/cmocka.h"
#include "tests/files.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const PruneOptions ways[] = {
    { .sparsity = 0.8 },
    { .sparsity = 0.99 },
    { .sparsity = 0.6, .scope = SCOPE_GLOBAL },
    { .sparsity = 0.95, .scope = SCOPE_GLOBAL },
    { .sparsity = 0.7, .scope = SCOPE_ERK },
    { .sparsity = 0.7, .scope = SCOPE_LAMP },
    { .pattern = { PATTERN_N_OF_M, .n = 2, .m = 4 } },
    { .sparsity = 0.5, .pattern = { PATTERN_BLOCK, .rows = 4, .columns = 1 }, .regroup = true },
    { .sparsity = 0.6, .scope = SCOPE_GLOBAL, .pattern = { PATTERN_BLOCK, .rows = 1, .columns = 4 } },
};
enum { WAYS = sizeof ways / sizeof *ways, MODEL_MOST = 12 << 20 };      /* larger files take too long for a test */

typedef struct Pruned { Model *m; Weight *weight; int n; PruneResult *r; } Pruned;

static bool load(const char *path, Pruned *p)
{
    const char *complaint;
    if (model_load(path, &p->m) != OK)
        return false;
    if (ops_bind(p->m) != OK || infer(p->m, NULL, 0, &complaint) != OK || weights_find(p->m, &p->weight, &p->n) != OK)
        fail_msg("%s: %s", path, err_text());
    return true;
}

static void prune(Pruned *p, const PruneOptions *o, int threads)
{
    omp_set_num_threads(threads);
    if (prune_plan(p->m, p->weight, p->n, o, NULL, &p->r) != OK || prune_apply(p->m, o, p->r, NULL) != OK)
        fail_msg("%s", err_text());
}

static void fetch(Model *m, const Weight *w, Elements *e)
{
    assert_int_equal(elements_open(m, w, e), OK);
}

/* Zeros stay, the others are zero or as before, and a row that had a weight has one; returns the zeros. */
static int64_t check_elements(const Weight *w, const Elements *before, const Elements *after)
{
    const Matrix m = matrix_of(w);
    int64_t zeros = 0;
    bool *had = calloc((size_t)m.rows, 1), *has = calloc((size_t)m.rows, 1);
    assert_true(had && has);
    for (int64_t i = 0; i < after->count; i++) {
        bool zero_before = elements_magnitude(before, i) == 0, zero = elements_magnitude(after, i) == 0;
        if (!zero && (zero_before || elements_get(before, i) != elements_get(after, i)))
            fail_msg("%s: element %lld changed", w->name, (long long)i);
        zeros += zero;
        had[matrix_row_at(&m, i)] |= !zero_before;
        has[matrix_row_at(&m, i)] |= !zero;
    }
    for (int64_t r = 0; r < m.rows; r++)
        if (had[r] != has[r])
            fail_msg("%s: output channel %lld lost everything", w->name, (long long)r);
    free(had);
    free(has);
    return zeros;
}

static void check_total(const Pruned *p, const PruneOptions *o)
{
    int64_t wanted = llround(o->sparsity * (double)p->r->prunable), unit = o->pattern.kind == PATTERN_BLOCK ? o->pattern.rows * o->pattern.columns : 1;
    bool bounded = o->pattern.kind == PATTERN_N_OF_M;
    for (int i = 0; i < p->n; i++) {
        const char *reason = p->r->layer[i].reason;
        bounded |= p->r->layer[i].prune && reason && (strstr(reason, "already") || strstr(reason, "fewer"));
    }
    if (!bounded && (p->r->zeros_after > wanted || p->r->zeros_after <= wanted - unit))
        fail_msg("%lld zeros instead of %lld", (long long)p->r->zeros_after, (long long)wanted);
}

static void check_way(const char *path, const PruneOptions *o, int threads)
{
    Pruned source, a, b;
    if (!load(path, &source))
        return;
    assert_true(load(path, &a) && load(path, &b));
    prune(&a, o, threads);
    prune(&b, o, 1);
    for (int i = 0; i < a.n; i++) {
        const PruneLayer *l = &a.r->layer[i];
        Elements before, x, y;
        if (a.weight[i].keep == KEEP_TYPE)
            continue;
        fetch(source.m, &source.weight[i], &before);
        fetch(a.m, &a.weight[i], &x);
        fetch(b.m, &b.weight[i], &y);
        size_t bytes = a.weight[i].constant->tensor.bytes;
        assert_memory_equal(x.data, y.data, bytes);
        assert_int_equal(check_elements(l->weight, &before, &x), l->zeros_after);
        assert_int_equal(l->zeros_after, l->zeros_wanted);
        if (!l->prune)
            assert_memory_equal(x.data, before.data, bytes);
        assert_int_equal(elements_close(source.m, &source.weight[i], false), OK);
        assert_int_equal(elements_close(a.m, &a.weight[i], false), OK);
        assert_int_equal(elements_close(b.m, &b.weight[i], false), OK);
    }
    check_total(&a, o);
    model_free(source.m);
    model_free(a.m);
    model_free(b.m);
}

static void check_model(const char *path, void *user)
{
    Bytes file = read_file(path);
    size_t size = file.size;
    bytes_free(file);
    if (size > MODEL_MOST)
        return;
    for (int i = 0; i < WAYS; i++) {
        print_message("%s, way %d\n", path, i);
        check_way(path, &ways[i], 2 + i % 3 + (i % 3 == 2 ? 3 : 0));
    }
    (*(int *)user)++;
}

static void test_models(void **state)
{
    (void)state;
    int n = 0;
    each_model(getenv("ONESHOT_MODELS"), check_model, &n);
    if (n == 0) {
        print_message("skipped: ONESHOT_MODELS names no folder with models\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_models) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
