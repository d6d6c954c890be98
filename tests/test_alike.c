/* Rows that share their zeros: that they are found in any order, and that what is computed does not depend on it. */
#include "engine/alike.h"
#include "engine/infer.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 150, K = 300 };

static void shuffle(int *x, int n, Random *r)
{
    for (int i = n - 1; i > 0; i--) {
        int j = random_between(r, 0, i), kept = x[i];
        x[i] = x[j];
        x[j] = kept;
    }
}

/* Weights of which rows with one number in kind[] have the same zeros. */
static void fill(float *w, const int *kind, int rows, int k, double density, Random *r)
{
    bool *mask = calloc((size_t)rows * (size_t)k, sizeof *mask);
    for (int i = 0; i < rows * k; i++) mask[i] = (double)random_between(r, 0, 999) < 1000 * density;
    for (int m = 0; m < rows; m++)
        for (int i = 0; i < k; i++) w[m * k + i] = mask[kind[m] * k + i] ? 1.5f + random_float(r) : 0;
    free(mask);
}

static int order_of(const float *w, int rows, int k, uint16_t *order)
{
    void *memory = aligned_alloc(64, (rows_order_bytes(rows) + 63) / 64 * 64);
    int shared = rows_order(&(Weights){ w, (size_t)k, 1, rows }, k, memory, order);
    free(memory);
    return shared;
}

static void test_found(void **state)
{
    (void)state;
    Random r = { 7 };
    static float w[ROWS * K];
    for (int together = 2; together <= 5; together++)
        for (int turn = 0; turn < 3; turn++) {
            int kind[ROWS], rows = ROWS / together * together;
            uint16_t order[ROWS];
            bool seen[ROWS] = { false };
            for (int m = 0; m < rows; m++) kind[m] = m / together;
            shuffle(kind, rows, &r);
            fill(w, kind, rows, K, 0.1 + 0.2 * turn, &r);
            assert_int_equal(order_of(w, rows, K, order), rows);
            for (int i = 0; i < rows; i++) {
                assert_false(seen[order[i]]);
                seen[order[i]] = true;
                assert_int_equal(kind[order[i]], kind[order[i / together * together]]);
            }
        }
}

static void test_nothing_to_find(void **state)
{
    (void)state;
    Random r = { 8 };
    static float w[ROWS * K];
    uint16_t order[ROWS];
    int kind[ROWS];
    for (int m = 0; m < ROWS; m++) kind[m] = m;
    for (int turn = 1; turn < 10; turn++) {
        fill(w, kind, ROWS, K, turn / 10.0, &r);
        assert_int_equal(order_of(w, ROWS, K, order), 0);
        for (int m = 0; m < ROWS; m++) assert_int_equal(order[m], m);
    }
    memset(w, 0, sizeof w);                                    /* rows without weights are not worth a word */
    assert_int_equal(order_of(w, ROWS, K, order), 0);
}

static void run(Model *m, const PlanInput *input, const Tensor *x, const PlanOptions *options, Plan **plan)
{
    if (plan_build(m, input, 1, options, plan) != OK || plan_run(*plan, x, 1) != OK) fail_msg("%s", err_text());
}

/* groups * rows channels of `size` x `size` pixels out of a kernel of `width` x `width`; depthwise: such a convolution follows. */
typedef struct Layer { int groups, channels, rows, size, width; double density; bool depthwise; } Layer;

static void add_layers(Build *b, const Layer *l, const float *w, Random *r)
{
    char weight[64], attributes[128], behind[64];
    int outputs = l->groups * l->rows;
    float *own = calloc((size_t)outputs * 9, sizeof *own);
    for (int i = 0; i < outputs * 9; i++) own[i] = random_float(r);
    snprintf(weight, sizeof weight, "%d,%d,%d,%d", outputs, l->channels, l->width, l->width);
    snprintf(attributes, sizeof attributes, "pads:is=%d,%d,%d,%d group:i=%d", l->width / 2, l->width / 2, l->width / 2, l->width / 2, l->groups);
    build_init(b, "w", DT_F32, weight, w);
    build_node(b, "Conv", "x,w", "c", attributes);
    if (l->depthwise) {
        snprintf(weight, sizeof weight, "%d,1,3,3", outputs);
        snprintf(behind, sizeof behind, "pads:is=1,1,1,1 group:i=%d", outputs);
        build_init(b, "own", DT_F32, weight, own);
        build_node(b, "Conv", "c,own", "d", behind);
    }
    build_node(b, "Sigmoid", l->depthwise ? "d" : "c", "y", NULL);
    free(own);
}

/* Whether a depthwise convolution took it over. */
static bool check_layer(const Layer *l, Random *r)
{
    bool joined = false;
    const int groups = l->groups, channels = l->channels, rows = l->rows, size = l->size, outputs = groups * rows, k = channels * l->width * l->width;
    int *kind = calloc((size_t)outputs, sizeof *kind);
    float *w = calloc((size_t)outputs * (size_t)k, sizeof *w), *data = calloc((size_t)(groups * channels * size * size), sizeof *data);
    char in[64], out[64];
    for (int m = 0; m < outputs; m++) kind[m] = m / 4;
    for (int g = 0; g < groups; g++) shuffle(kind + g * rows, rows, r);
    fill(w, kind, outputs, k, l->density, r);
    for (int i = 0; i < groups * channels * size * size; i++) data[i] = random_float(r);
    snprintf(in, sizeof in, "1,%d,%d,%d", groups * channels, size, size);
    snprintf(out, sizeof out, "1,%d,%d,%d", outputs, size, size);
    Build *b = build_new();
    build_input(b, "x", DT_F32, in);
    add_layers(b, l, w, r);
    build_output(b, "y", DT_F32, out);
    Bytes bytes = build_finish(b, 8, 20);
    Model *m;
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK) fail_msg("%s", err_text());
    const PlanInput input = { "x", DT_F32, { 4, { 1, groups * channels, size, size } } };
    const Tensor x = { .dtype = DT_F32, .shape = input.shape, .bytes = (size_t)(groups * channels * size * size) * sizeof *data, .data = data };
    Plan *dense, *alone;
    run(m, &input, &x, &(PlanOptions){ .threads = 1, .dense = true }, &dense);
    run(m, &input, &x, &(PlanOptions){ .threads = 1 }, &alone);
    for (int threads = 1; threads <= 3; threads++) {
        Plan *plan;
        run(m, &input, &x, &(PlanOptions){ .threads = threads }, &plan);
        assert_true(l->depthwise || strstr(plan->step[0]->variant, "rows share theirs"));
        joined |= plan->step[0]->joined != NULL;
        const float *is = plan->out[0]->data, *wanted = dense->out[0]->data;
        for (int64_t i = 0; i < plan->out[0]->count; i++) assert_true(fabsf(is[i] - wanted[i]) <= 1e-5f);
        if (!l->depthwise) assert_memory_equal(is, alone->out[0]->data, (size_t)plan->out[0]->count * sizeof *is);       /* whatever the threads */
        plan_free(plan);
    }
    plan_free(dense);
    plan_free(alone);
    model_free(m);
    bytes_free(bytes);
    free(kind);
    free(w);
    free(data);
    return joined;
}

static void test_products(void **state)
{
    (void)state;
    Random r = { 9 };
    const Layer layers[] = {
        { 1, 40, 256, 14, 3, 0.15, false },                    /* several panels */
        { 1, 64, 200, 7, 3, 0.15, false },                     /* one: rows are cut into parts for threads */
        { 2, 40, 96, 9, 3, 0.15, false },
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) check_layer(&layers[i], &r);
}

/* What follows would take the rows in parts of its own. */
static void test_not_joined(void **state)
{
    (void)state;
    Random r = { 10 };
    int joined = 0;
    for (int rows = 128; rows <= 256; rows += 64)
        for (int size = 40; size <= 64; size += 8)
            for (int fifths = 1; fifths <= 3; fifths++) joined += check_layer(&(Layer){ 1, 32, rows, size, 1, fifths / 5.0, true }, &r);
    assert_int_equal(joined, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_found), cmocka_unit_test(test_nothing_to_find), cmocka_unit_test(test_products),
                                        cmocka_unit_test(test_not_joined) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
