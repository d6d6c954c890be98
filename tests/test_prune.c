/* Pruning on weights made in memory: exact counts, ties by position, zeros stay, channels are not emptied, and any number of threads gives the same. */
#include "tests/cmocka.h"
#include "tests/weights.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static float *copy_of(const Weight *w)
{
    float *x = malloc((size_t)w->elements * sizeof *x + 1);
    assert_non_null(x);
    memcpy(x, w->constant->tensor.data, (size_t)w->elements * sizeof *x);
    return x;
}

static bool same(const Weight *w, const float *x)
{
    const float *y = w->constant->tensor.data;
    for (int64_t i = 0; i < w->elements; i++)
        if (x[i] != y[i])
            return false;
    return true;
}

static int64_t count_zeros(const Weight *w)
{
    const float *x = w->constant->tensor.data;
    int64_t zeros = 0;
    for (int64_t i = 0; i < w->elements; i++)
        zeros += x[i] == 0;
    return zeros;
}

static PruneResult *prune(MadeModel *m, const PruneOptions *o)
{
    PruneResult *r;
    Err e = prune_plan(&m->model, m->weight, m->n, o, NULL, &r);
    if (e != OK)
        fail_msg("%s", err_text());
    e = prune_apply(&m->model, o, r, NULL);
    if (e != OK)
        fail_msg("%s", err_text());
    return r;
}

static void check_result(const PruneResult *r)
{
    int64_t prunable = 0, before = 0, after = 0;
    for (int i = 0; i < r->n_layer; i++) {
        const PruneLayer *l = &r->layer[i];
        assert_int_equal(l->zeros_after, count_zeros(l->weight));
        assert_int_equal(l->zeros_after, l->zeros_wanted);
        assert_int_equal(l->zeros_after, l->weight->zeros);
        prunable += l->prune ? l->weight->elements : 0;
        before += l->prune ? l->zeros_before : 0;
        after += l->prune ? l->zeros_after : 0;
    }
    assert_int_equal(r->prunable, prunable);
    assert_int_equal(r->zeros_before, before);
    assert_int_equal(r->zeros_after, after);
}

/* One layer of every layout, of random size and content, against the reference; the next number of threads each time. */
static void test_one_layer(void **state)
{
    (void)state;
    Random r = { 11 };
    static const int threads[] = { 1, 2, 3, 7 };
    for (int round = 0; round < 600; round++) {
        omp_set_num_threads(threads[round % 4]);
        MadeModel m = made_model(1);
        int64_t size = round % 20 == 19 ? 120 : 14;
        Weight *w = made_weight(&m, 0, DT_F32, (Layout)(round % LAYOUTS),
                                (int64_t[3]) { 1 + random_below(&r, (uint32_t)size), 1 + random_below(&r, (uint32_t)size), 1 + random_below(&r, 9) });
        made_fill(w, random_below(&r, 2), random_below(&r, 2) ? 0.3 : 0, &r);
        double sparsity = random_below(&r, 4) ? (double)random_below(&r, 1000) / 1000 : 0.999;
        PruneOptions o = { .sparsity = sparsity, .empty_channels = random_below(&r, 3) == 0 };
        float *x = copy_of(w);
        int64_t wanted = llround(sparsity * (double)w->elements), zeros = reference_unstructured(w, x, wanted, o.empty_channels);
        PruneResult *result = prune(&m, &o);
        assert_int_equal(result->zeros_after, zeros);
        assert_true(same(w, x));
        assert_int_equal(zeros < wanted, result->layer[0].reason && strstr(result->layer[0].reason, "fewer zeros") != NULL);
        check_result(result);
        free(x);
        made_free(&m);
    }
    omp_set_num_threads(2);
}

/* Many layers share one budget: the sum is rounded once. Large ones are pruned by all threads, small ones several at a time. */
static void test_uniform_budget(void **state)
{
    (void)state;
    Random r = { 5 };
    for (int threads = 1; threads < 4; threads++) {
        omp_set_num_threads(threads);
        MadeModel m = made_model(90);
        int64_t elements = 0;
        for (int i = 0; i < m.n; i++) {
            bool large = i == 20 || i == 21 || i == 70;
            Weight *w = made_weight(&m, i, DT_F32, LAYOUT_OIHW, (int64_t[3]) { large ? 300 : 17, large ? 311 : 3 + random_below(&r, 20), 5 });
            made_fill(w, false, 0, &r);
            elements += w->elements;
        }
        float *x[90];
        for (int i = 0; i < m.n; i++)
            x[i] = copy_of(&m.weight[i]);
        PruneResult *result = prune(&m, &(PruneOptions) { .sparsity = 0.777 });
        assert_int_equal(result->zeros_after, llround(0.777 * (double)elements));
        check_result(result);
        for (int i = 0; i < m.n; i++) {
            const Weight *w = &m.weight[i];
            assert_true(fabs((double)result->layer[i].zeros_after - 0.777 * (double)w->elements) <= 1);
            reference_unstructured(w, x[i], result->layer[i].zeros_wanted, false);
            assert_true(same(w, x[i]));
            free(x[i]);
        }
        made_free(&m);
    }
    omp_set_num_threads(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_layer),
        cmocka_unit_test(test_uniform_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
