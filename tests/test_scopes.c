/* How a budget is shared between layers: one threshold, LAMP's score, Erdos-Renyi-Kernel, a sparsity for some; and which layers take part. */
#include "tests/cmocka.h"
#include "tests/weights.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 7 };

static PruneResult *prune(MadeModel *m, const PruneOptions *o)
{
    PruneResult *r;
    if (prune_plan(&m->model, m->weight, m->n, o, NULL, &r) != OK || prune_apply(&m->model, o, r, NULL) != OK)
        fail_msg("%s", err_text());
    return r;
}

/* Layers of different sizes and scales; the fourth has hardly any weight that could compete. */
static MadeModel make_layers(bool few_values, double zeros, Random *r)
{
    MadeModel m = made_model(LAYERS);
    for (int i = 0; i < LAYERS; i++) {
        Weight *w = made_weight(&m, i, DT_F32, (Layout)(i % LAYOUT_UNKNOWN), (int64_t[3]) { 5 + random_below(r, 20), 5 + random_below(r, 30), 1 + i % 3 * 4 });
        made_fill(w, few_values, zeros, r);
        float *x = w->constant->tensor.data;
        for (int64_t j = 0; j < w->elements; j++)
            x[j] *= i == 3 ? 0x1p-9f : few_values ? 1 : (float)(i + 1);
    }
    return m;
}

typedef struct One { float score; int layer; int64_t rank; } One;

static int by_score(const void *a, const void *b)
{
    const One *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->layer != y->layer)
        return x->layer - y->layer;
    return x->rank < y->rank ? -1 : 1;
}

/* Scores of one layer: magnitudes, in LAMP's case made relative to what is not smaller. */
static void scores(const Weight *w, int layer, bool lamp, One *one)
{
    const float *x = w->constant->tensor.data;
    for (int64_t i = 0; i < w->elements; i++)
        one[i] = (One) { fabsf(x[i]), layer, i };
    if (!lamp)
        return;
    qsort(one, (size_t)w->elements, sizeof *one, by_score);
    double sum = 0;
    for (int64_t i = w->elements - 1; i >= 0; i--) {
        double square = (double)one[i].score * (double)one[i].score;
        sum += square;
        one[i] = (One) { sum > 0 ? (float)(square / sum) : 0, layer, i };
    }
}

static int64_t capacity(const Weight *w)
{
    const float *x = w->constant->tensor.data;
    bool live[512] = { false };
    int64_t rows = 0, row, tap, in;
    for (int64_t i = 0; i < w->elements; i++) {
        made_place(w, i, &row, &tap, &in);
        rows += x[i] != 0 && !live[row];
        live[row] |= x[i] != 0;
    }
    return w->elements - rows;
}

/* The first k in the order of scores; layers that cannot give so many give what they can, and the others share again. */
static void reference_threshold(const MadeModel *m, double sparsity, bool lamp, int64_t *zeros)
{
    int64_t total = 0, left = 0;
    bool full[LAYERS] = { false };
    for (int i = 0; i < m->n; i++)
        total += m->weight[i].elements;
    One *all = malloc((size_t)total * sizeof *all);
    assert_non_null(all);
    left = llround(sparsity * (double)total);
    for (bool again = true; again;) {
        int64_t n = 0;
        again = false;
        for (int i = 0; i < m->n; i++)
            if (!full[i]) {
                scores(&m->weight[i], i, lamp, all + n);
                n += m->weight[i].elements;
                zeros[i] = 0;
            }
        qsort(all, (size_t)n, sizeof *all, by_score);
        for (int64_t j = 0; j < left && j < n; j++)
            zeros[all[j].layer]++;
        for (int i = 0; i < m->n; i++)
            if (!full[i] && zeros[i] > capacity(&m->weight[i])) {
                zeros[i] = capacity(&m->weight[i]);
                left -= zeros[i];
                full[i] = again = true;
            }
    }
    free(all);
}

static void test_threshold(void **state)
{
    (void)state;
    Random r = { 21 };
    for (int round = 0; round < 80; round++) {
        omp_set_num_threads(1 + round % 3);
        bool lamp = round % 2, few = round / 2 % 2;
        MadeModel m = make_layers(few, round / 4 % 2 ? 0.3 : 0, &r);
        double sparsity = 0.35 + random_below(&r, 600) / 1000.0;
        int64_t expected[LAYERS], sum = 0, elements = 0, zeros = 0;
        reference_threshold(&m, sparsity, lamp, expected);
        float *x[LAYERS];
        for (int i = 0; i < LAYERS; i++) {
            Weight *w = &m.weight[i];
            size_t bytes = (size_t)w->elements * sizeof *x[i];
            x[i] = malloc(bytes);
            memcpy(x[i], w->constant->tensor.data, bytes);
            expected[i] = expected[i] < w->zeros ? w->zeros : expected[i];
            assert_int_equal(reference_unstructured(w, x[i], expected[i], false), expected[i]);
            sum += expected[i];
            elements += w->elements;
            zeros += w->zeros;
        }
        PruneResult *result = prune(&m, &(PruneOptions) { .sparsity = sparsity, .scope = lamp ? SCOPE_LAMP : SCOPE_GLOBAL });
        for (int i = 0; i < LAYERS; i++) {
            assert_int_equal(result->layer[i].zeros_after, expected[i]);
            for (int64_t j = 0; j < m.weight[i].elements; j++)
                assert_true(x[i][j] == ((float *)m.weight[i].constant->tensor.data)[j]);
            free(x[i]);
        }
        assert_int_equal(result->zeros_after, sum);
        int64_t wanted = llround(sparsity * (double)elements);
        assert_int_equal(sum, wanted > zeros ? wanted : zeros);
        made_free(&m);
    }
    omp_set_num_threads(2);
}

/* One layer swallows the budget: the others' zeros make up for the weights that its channels keep. */
static void test_full_layer(void **state)
{
    (void)state;
    Random r = { 6 };
    MadeModel m = make_layers(false, 0, &r);
    int64_t elements = 0;
    for (int i = 0; i < LAYERS; i++)
        elements += m.weight[i].elements;
    PruneResult *result = prune(&m, &(PruneOptions) { .sparsity = 0.5, .scope = SCOPE_GLOBAL });
    assert_int_equal(result->zeros_after, llround(0.5 * (double)elements));
    assert_int_equal(result->layer[3].zeros_after, capacity(&m.weight[3]));
    made_free(&m);
    m = make_layers(false, 0, &r);
    result = prune(&m, &(PruneOptions) { .sparsity = 0.5, .scope = SCOPE_GLOBAL, .empty_channels = true });
    assert_int_equal(result->layer[3].zeros_after, m.weight[3].elements);
    made_free(&m);
}

static void test_erk(void **state)
{
    (void)state;
    static const int64_t shape[LAYERS][3] = { { 8, 4, 9 }, { 16, 8, 9 }, { 64, 64, 9 }, { 64, 128, 1 }, { 128, 100, 1 }, { 300, 200, 1 }, { 10, 300, 1 } };
    Random r = { 7 };
    for (int round = 0; round < 20; round++) {
        MadeModel m = made_model(LAYERS);
        int64_t elements = 0;
        for (int i = 0; i < LAYERS; i++) {
            made_fill(made_weight(&m, i, DT_F32, i % 2 ? LAYOUT_IOHW : LAYOUT_OIHW, shape[i]), false, i == 2 ? 0.9 : 0, &r);
            elements += m.weight[i].elements;
        }
        double sparsity = 0.5 + 0.02 * round, scale = 0, scale_error = 0;
        PruneResult *result = prune(&m, &(PruneOptions) { .sparsity = sparsity, .scope = SCOPE_ERK });
        assert_int_equal(result->zeros_after, llround(sparsity * (double)elements));
        for (int i = 0; i < LAYERS; i++) {
            const PruneLayer *l = &result->layer[i];
            double n = (double)m.weight[i].elements, product = (double)(shape[i][0] * shape[i][1] * shape[i][2]);
            double density = 1 - (double)l->zeros_after / n, raw = (double)(shape[i][0] + shape[i][1] + shape[i][2]) / product;
            assert_int_equal(l->zeros_after, l->zeros_wanted);
            if (l->zeros_after == l->zeros_before || l->zeros_after + shape[i][0] == m.weight[i].elements)
                continue;                      /* as dense as it can be, or as sparse */
            if (scale == 0) {
                scale = density / raw;
                scale_error = 1 / n / raw;
            }
            assert_true(fabs(density - scale * raw) <= 1.01 * (1 / n + scale_error * raw));
        }
        made_free(&m);
    }
}

static void test_who_takes_part(void **state)
{
    (void)state;
    Random r = { 12 };
    MadeModel m = make_layers(false, 0, &r);
    m.weight[0].keep = KEEP_FIRST;
    m.weight[1].keep = KEEP_SMALL;
    m.weight[6].keep = KEEP_TYPE;
    made_fill(&m.weight[5], false, 0.9, &r);
    const char *const include[] = { "layer[16]", NULL }, *const exclude[] = { "re:^w2$", NULL };
    const LayerSparsity own[] = { { "w4", 0.1 }, { "w4", 0.9 } };
    PruneResult *result = prune(&m, &(PruneOptions) { .sparsity = 0.5, .include = include, .exclude = exclude, .layer = own, .n_layer = 2 });
    const bool pruned[LAYERS] = { false, true, false, true, true, true, false };
    for (int i = 0; i < LAYERS; i++) {
        assert_int_equal(result->layer[i].prune, pruned[i]);
        assert_int_equal(pruned[i] && i != 5, result->layer[i].reason == NULL);
    }
    assert_string_equal(result->layer[0].reason, weight_keep_text(KEEP_FIRST));
    assert_string_equal(result->layer[2].reason, "excluded");
    assert_string_equal(result->layer[5].reason, "already as sparse as asked");
    assert_int_equal(result->layer[5].zeros_after, result->layer[5].zeros_before);
    assert_int_equal(result->layer[4].zeros_after, llround(0.9 * (double)m.weight[4].elements));
    int64_t budget = m.weight[1].elements + m.weight[3].elements, zeros = result->layer[1].zeros_after + result->layer[3].zeros_after;
    assert_true(llabs(2 * zeros - budget) <= 1);
    made_free(&m);
}

static void expect_refused(MadeModel *m, const PruneOptions *o, const char *why)
{
    PruneResult *result = NULL;
    assert_int_equal(prune_plan(&m->model, m->weight, m->n, o, NULL, &result), ERR_ARG);
    if (!strstr(err_text(), why))
        fail_msg("'%s' does not say '%s'", err_text(), why);
    assert_null(result);
}

static void test_refused(void **state)
{
    (void)state;
    Random r = { 13 };
    MadeModel m = make_layers(false, 0, &r);
    const Pattern half = { PATTERN_N_OF_M, .n = 2, .m = 4 };
    static const char *const unknown[] = { "Layer22", NULL }, *const broken[] = { "re:(", NULL };
    expect_refused(&m, &(PruneOptions) { .sparsity = 1 }, "below 1");
    expect_refused(&m, &(PruneOptions) { .sparsity = -0.1 }, "below 1");
    expect_refused(&m, &(PruneOptions) { .sparsity = (double)NAN }, "below 1");
    expect_refused(&m, &(PruneOptions) { .sparsity = 0.8, .pattern = half }, "2:4");
    expect_refused(&m, &(PruneOptions) { .scope = SCOPE_GLOBAL, .pattern = half }, "scope");
    expect_refused(&m, &(PruneOptions) { .sparsity = 0.5, .regroup = true }, "regroup");
    expect_refused(&m, &(PruneOptions) { .sparsity = 0.5, .include = unknown }, "'layer2'");
    expect_refused(&m, &(PruneOptions) { .sparsity = 0.5, .exclude = broken }, "regular expression");
    expect_refused(&m, &(PruneOptions) { .sparsity = 0.5, .layer = &(LayerSparsity) { "w1", 2 }, .n_layer = 1 }, "of w1");
    made_free(&m);
}

static void test_parse(void **state)
{
    (void)state;
    Pattern p;
    Scope s;
    assert_int_equal(pattern_parse("2:4", &p), OK);
    assert_true(p.kind == PATTERN_N_OF_M && p.n == 2 && p.m == 4);
    assert_int_equal(pattern_parse("16x1", &p), OK);
    assert_true(p.kind == PATTERN_BLOCK && p.rows == 16 && p.columns == 1);
    assert_int_equal(pattern_parse("1x1", &p), OK);
    assert_true(p.kind == PATTERN_UNSTRUCTURED);
    static const char *const bad[] = { "", "4:2", "0:4", "2:2", "2:", "x", "0x4", "2:4x", "2:257", "99999x1", "-1x4", "block" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pattern_parse(bad[i], &p), ERR_ARG);
    assert_int_equal(scope_parse("lamp", &s), OK);
    assert_int_equal(s, SCOPE_LAMP);
    assert_int_equal(scope_parse("layer", &s), ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threshold), cmocka_unit_test(test_full_layer), cmocka_unit_test(test_erk), cmocka_unit_test(test_who_takes_part),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
