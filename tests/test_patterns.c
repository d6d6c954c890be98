/* N:M and blocks on weights of every layout against slow references, on one layer and on several; the number of threads changes from round to round. */
#include "tests/cmocka.h"
#include "tests/weights.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static PruneResult *prune(MadeModel *m, const PruneOptions *o)
{
    PruneResult *r;
    if (prune_plan(&m->model, m->weight, m->n, o, NULL, &r) != OK || prune_apply(&m->model, o, r, NULL) != OK)
        fail_msg("%s", err_text());
    return r;
}

/* Rows, taps and input channels of a weight, and the stored position of each element of that view. */
typedef struct View { int64_t batch, out, taps, in, *at; } View;

static int64_t *view_at(const View *v, int64_t row, int64_t tap, int64_t in) { return &v->at[(row * v->taps + tap) * v->in + in]; }

static View view_of(const Weight *w)
{
    View v = { 1, 1, 1, 1, malloc((size_t)w->elements * sizeof *v.at) };
    assert_non_null(v.at);
    int64_t *const size[] = { [AXIS_BATCH] = &v.batch, [AXIS_OUT] = &v.out, [AXIS_IN] = &v.in, [AXIS_TAP] = &v.taps };
    for (int i = 0; i < w->n_axis; i++)
        *size[w->axis[i].role] = w->axis[i].size;
    for (int64_t i = 0; i < w->elements; i++) {
        int64_t row, tap, in;
        made_place(w, i, &row, &tap, &in);
        *view_at(&v, row, tap, in) = i;
    }
    return v;
}

static Weight *draw_weight(MadeModel *m, int i, int round, Random *r)
{
    Weight *w = made_weight(m, i, DT_F32, (Layout)(round % LAYOUT_UNKNOWN),
                            (int64_t[3]) { 1 + random_below(r, 18), 1 + random_below(r, 18), round % 2 ? 1 : 1 + random_below(r, 9) });
    made_fill(w, random_below(r, 2), random_below(r, 2) ? 0.4 : 0, r);
    return w;
}

static void test_n_of_m(void **state)
{
    (void)state;
    Random r = { 3 };
    for (int round = 0; round < 300; round++) {
        omp_set_num_threads(1 + round % 3);
        MadeModel made = made_model(1);
        Weight *w = draw_weight(&made, 0, round, &r);
        const int m = 2 + (int)random_below(&r, 8), n = 1 + (int)random_below(&r, (uint32_t)m - 1);
        const float *x = w->constant->tensor.data;
        float *old = malloc((size_t)w->elements * sizeof *old);
        memcpy(old, x, (size_t)w->elements * sizeof *old);
        prune(&made, &(PruneOptions) { .sparsity = round % 3 ? 0 : 1 - (double)n / m, .pattern = { PATTERN_N_OF_M, .n = n, .m = m } });
        View v = view_of(w);
        int64_t zeros = 0;
        for (int64_t row = 0; row < v.batch * v.out; row++)
            for (int64_t tap = 0; tap < v.taps; tap++)
                for (int64_t i = 0; i < v.in; i++) {
                    int64_t first = i / m * m, end = first + m < v.in ? first + m : v.in, at = *view_at(&v, row, tap, i), larger = 0;
                    for (int64_t j = first; j < end; j++) {
                        int64_t other = *view_at(&v, row, tap, j);
                        larger += fabsf(old[other]) > fabsf(old[at]) || (fabsf(old[other]) == fabsf(old[at]) && other > at);
                    }
                    assert_true(x[at] == (larger < n ? old[at] : 0));
                    zeros += x[at] == 0;
                }
        assert_int_equal(w->zeros, zeros);
        free(v.at);
        free(old);
        made_free(&made);
    }
    omp_set_num_threads(2);
}

typedef struct RefBlock { float score; int64_t number, weights; int64_t at[64]; int n; bool largest; } RefBlock;

static int by_score(const void *a, const void *b)
{
    const RefBlock *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static void ref_block(const View *v, const float *x, const int64_t first[3], const Pattern *p, const int32_t *order, RefBlock *b)
{
    double sum = 0;
    int64_t batch = first[0] / v->out, end = (batch + 1) * v->out;
    for (int64_t j = first[0]; j < end && j < first[0] + p->rows; j++)
        for (int64_t i = first[2]; i < v->in && i < first[2] + p->columns; i++) {
            int64_t at = *view_at(v, order ? order[j] : j, first[1], i);
            b->at[b->n++] = at;
            b->weights += x[at] != 0;
            sum += (double)x[at] * (double)x[at];
        }
    b->score = (float)(sum / b->n);
}

/* Blocks in order of score; the one that is the last with weights of some row stays; ends at the first that does not fit. */
static void reference_blocks(const Weight *w, float *x, int64_t zeros, const PruneOptions *o, const int32_t *order)
{
    View v = view_of(w);
    RefBlock *b = calloc((size_t)w->elements, sizeof *b);
    int64_t n = 0, have = 0, last_of_row[64];
    for (int64_t batch = 0; batch < v.batch; batch++)
        for (int64_t row = 0; row < v.out; row += o->pattern.rows)
            for (int64_t tap = 0; tap < v.taps; tap++)
                for (int64_t i = 0; i < v.in; i += o->pattern.columns, n++) {
                    b[n].number = n;
                    ref_block(&v, x, (int64_t[3]) { batch * v.out + row, tap, i }, &o->pattern, order, &b[n]);
                }
    qsort(b, (size_t)n, sizeof *b, by_score);
    memset(last_of_row, -1, sizeof last_of_row);
    for (int64_t u = 0; u < n; u++)
        for (int k = 0; k < b[u].n; k++) {
            int64_t row, tap, in;
            made_place(w, b[u].at[k], &row, &tap, &in);
            if (x[b[u].at[k]] != 0)
                last_of_row[row] = u;
        }
    for (int row = 0; row < 64 && !o->empty_channels; row++)
        if (last_of_row[row] >= 0)
            b[last_of_row[row]].largest = true;
    for (int64_t i = 0; i < w->elements; i++)
        have += x[i] == 0;
    for (int64_t u = 0; u < n; u++) {
        if (b[u].largest)
            continue;
        if (have + b[u].weights > zeros)
            break;
        have += b[u].weights;
        for (int k = 0; k < b[u].n; k++)
            x[b[u].at[k]] = 0;
    }
    free(b);
    free(v.at);
}

static void test_blocks(void **state)
{
    (void)state;
    Random r = { 8 };
    for (int round = 0; round < 600; round++) {
        omp_set_num_threads(1 + round % 3);
        MadeModel made = made_model(1);
        Weight *w = draw_weight(&made, 0, round, &r);
        PruneOptions o = { .sparsity = round % 5 ? random_below(&r, 1000) / 1000.0 : 0.95, .empty_channels = round % 7 == 0,
                           .pattern = { PATTERN_BLOCK, .rows = 1 + (int)random_below(&r, 5), .columns = 1 + (int)random_below(&r, 5) } };
        o.regroup = o.pattern.rows > 1 && round % 2;
        float *x = malloc((size_t)w->elements * sizeof *x);
        memcpy(x, w->constant->tensor.data, (size_t)w->elements * sizeof *x);
        int64_t wanted = llround(o.sparsity * (double)w->elements), before = w->zeros;
        PruneResult *result = prune(&made, &o);
        if (wanted > before)
            reference_blocks(w, x, wanted, &o, result->layer[0].order);
        for (int64_t i = 0; i < w->elements; i++)
            assert_true(x[i] == ((float *)w->constant->tensor.data)[i]);
        assert_int_equal(result->zeros_after, result->layer[0].zeros_wanted);
        free(x);
        made_free(&made);
    }
    omp_set_num_threads(2);
}

/* Full blocks only: the whole budget is met to one block although no layer's part is a multiple. */
static void test_block_budget(void **state)
{
    (void)state;
    Random r = { 9 };
    for (int scope = SCOPE_UNIFORM; scope <= SCOPE_LAMP; scope++) {
        MadeModel made = made_model(9);
        for (int i = 0; i < made.n; i++)
            made_fill(made_weight(&made, i, DT_F32, LAYOUT_OIHW, (int64_t[3]) { 16, 8 * (i + 1), 3 }), false, 0, &r);
        PruneResult *result = prune(&made, &(PruneOptions) { .sparsity = 0.711, .scope = (Scope)scope, .pattern = { PATTERN_BLOCK, .rows = 4, .columns = 2 } });
        int64_t wanted = llround(0.711 * (double)result->prunable);
        assert_true(result->zeros_after <= wanted && result->zeros_after > wanted - 8);
        for (int i = 0; i < made.n; i++)
            assert_int_equal(result->layer[i].zeros_after % 8, 0);
        made_free(&made);
    }
}

/* Rows that are alike share masks, whatever lies between them. */
static void test_regroup(void **state)
{
    (void)state;
    for (int threads = 1; threads < 4; threads++) {
        omp_set_num_threads(threads);
        MadeModel made = made_model(1);
        Weight *w = made_weight(&made, 0, DT_F32, LAYOUT_NK, (int64_t[3]) { 12, 40, 1 });
        float *x = w->constant->tensor.data;
        for (int64_t row = 0; row < 12; row++)
            for (int64_t i = 0; i < 40; i++)
                x[row * 40 + i] = (i % 3 == row % 3 ? -5.0f : 0.1f) * (1 + (float)row / 100);
        PruneResult *result = prune(&made, &(PruneOptions) { .sparsity = 320.0 / 480, .regroup = true, .pattern = { PATTERN_BLOCK, .rows = 4, .columns = 1 } });
        const int32_t *order = result->layer[0].order;
        for (int i = 0; i < 12; i++)
            assert_int_equal(order[i] % 3, order[i / 4 * 4] % 3);
        assert_int_equal(order[0], 9);         /* the largest norm: 14 large weights, and the highest factor */
        for (int64_t i = 0; i < 480; i++)
            assert_true(x[i] == 0 || fabsf(x[i]) > 1);
        made_free(&made);
    }
    omp_set_num_threads(2);
}

static void test_edges_are_said(void **state)
{
    (void)state;
    Random r = { 2 };
    MadeModel made = made_model(2);
    made_fill(made_weight(&made, 0, DT_F32, LAYOUT_OIHW, (int64_t[3]) { 6, 67, 3 }), false, 0, &r);
    made_fill(made_weight(&made, 1, DT_F32, LAYOUT_UNKNOWN, (int64_t[3]) { 6, 67, 3 }), false, 0, &r);
    PruneResult *result;
    PruneOptions o = { .pattern = { PATTERN_N_OF_M, .n = 2, .m = 4 } };
    assert_int_equal(prune_plan(&made.model, made.weight, 2, &o, NULL, &result), OK);
    assert_string_equal(result->layer[0].reason, "odd remainder: of the last 3 of 67 input channels at most 2 stay");
    assert_int_equal(result->layer[0].zeros_wanted, 6 * 3 * (16 * 2 + 1));
    assert_false(result->layer[1].prune);
    assert_non_null(strstr(result->layer[1].reason, "Reshape"));
    o = (PruneOptions) { .sparsity = 0.5, .pattern = { PATTERN_BLOCK, .rows = 4, .columns = 1 } };
    assert_int_equal(prune_plan(&made.model, made.weight, 2, &o, NULL, &result), OK);
    assert_non_null(strstr(result->layer[0].reason, "odd remainder"));
    made_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_n_of_m), cmocka_unit_test(test_blocks), cmocka_unit_test(test_block_budget), cmocka_unit_test(test_regroup),
        cmocka_unit_test(test_edges_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
