/* Products, the depthwise convolutions or pools behind them and the products behind those as one step: results are those of the two steps to the bit, whatever is cut. */
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* x -> 1x1 or strided convolution -> activation -> depthwise or pool (-> activation -> 1x1 convolution) -> activation, and what comes beside it. */
typedef struct Chain {
    int batch, channels, rows, height, width;          /* of x; rows: channels between the two */
    int kernel, stride;                                /* of the product */
    int tall, wide, step, pad_top, pad_left, pad_bottom, pad_right, dilation;      /* of what is behind */
    const char *pool;                                  /* its operator; NULL: depthwise */
    bool ceil, counts, indices;                        /* of a pool: sizes round up; padding counts; somebody wants the indices */
    int zeros;                                         /* percent of the product's weights */
    int behind;                                        /* rows of a product behind those; 0: none */
    bool bias, twice, adds;                            /* twice: somebody else reads what lies between; adds: z is added to the last result */
    const char *activation;
    int out[2];
} Chain;

static int64_t sizes(Chain *c)
{
    int h = (c->height - c->kernel) / c->stride + 1, w = (c->width - c->kernel) / c->stride + 1;
    int down = h + c->pad_top + c->pad_bottom - (c->tall - 1) * c->dilation - 1, right = w + c->pad_left + c->pad_right - (c->wide - 1) * c->dilation - 1;
    c->out[0] = down / c->step + 1;
    c->out[1] = right / c->step + 1;
    return down >= 0 && right >= 0 ? (int64_t)c->batch * c->rows * c->out[0] * c->out[1] : 0;
}

static Chain random_chain(Random *r)
{
    static const char *const ACTIVATIONS_OF[] = { "Relu", "Sigmoid", "HardSwish", "Identity" };
    static const int TAPS[] = { 1, 2, 3, 3, 5, 7 };
    Chain c;
    do {
        c = (Chain){ .batch = random_below(r, 4) ? 1 : 2, .channels = random_between(r, 2, 20), .rows = random_between(r, 4, 150), .height = random_between(r, 1, 30),
                     .width = random_between(r, 1, 60), .kernel = random_below(r, 3) ? 1 : 3, .step = random_between(r, 1, 3), .dilation = random_below(r, 4) ? 1 : 2,
                     .zeros = random_below(r, 2) ? 0 : 85, .bias = random_below(r, 2), .twice = !random_below(r, 6), .adds = random_below(r, 2) };
        c.behind = random_below(r, 2) ? random_between(r, 1, 80) : 0;
        c.stride = c.kernel == 1 ? 1 : 2;
        c.tall = TAPS[random_below(r, 6)];
        c.wide = random_below(r, 4) ? c.tall : TAPS[random_below(r, 6)];
        c.pad_top = random_between(r, 0, c.tall);
        c.pad_bottom = random_between(r, 0, c.tall);
        c.pad_left = random_between(r, 0, c.wide);
        c.pad_right = random_between(r, 0, c.wide);
        c.activation = ACTIVATIONS_OF[random_below(r, 4)];
        c.pool = random_below(r, 2) ? NULL : random_below(r, 2) ? "MaxPool" : "AveragePool";
        c.ceil = c.pool && !random_below(r, 3);
        c.adds = c.adds && !c.ceil;                    /* z has sizes that round down */
        c.counts = random_below(r, 2);
        c.indices = c.pool && !strcmp(c.pool, "MaxPool") && !random_below(r, 6);
    } while (sizes(&c) == 0 || c.height < c.kernel || c.width < c.kernel);
    if (!random_below(r, 5)) c.height = random_between(r, 90, 130), c.width = random_between(r, 90, 130);     /* bands */
    sizes(&c);
    return c;
}

static void add_weights(Build *b, const char *name, const char *dims, int n, int zeros, Random *r)
{
    float *w = malloc((size_t)n * sizeof *w);
    assert_non_null(w);
    for (int i = 0; i < n; i++) w[i] = (int)random_below(r, 100) < zeros ? 0 : random_float(r);
    build_init(b, name, DT_F32, dims, w);
    free(w);
}

static void add_second(Build *b, const Chain *c)
{
    char text[256];
    int n = snprintf(text, sizeof text, "strides:is=%d,%d dilations:is=%d,%d pads:is=%d,%d,%d,%d ", c->step, c->step, c->dilation, c->dilation, c->pad_top, c->pad_left,
                     c->pad_bottom, c->pad_right);
    if (!c->pool) {
        snprintf(text + n, sizeof text - (size_t)n, "group:i=%d", c->rows);
        build_node(b, "Conv", c->bias ? "q,d" : "q,d,b", "s", text);
        return;
    }
    n += snprintf(text + n, sizeof text - (size_t)n, "kernel_shape:is=%d,%d ceil_mode:i=%d", c->tall, c->wide, c->ceil);
    if (!strcmp(c->pool, "AveragePool")) snprintf(text + n, sizeof text - (size_t)n, " count_include_pad:i=%d", c->counts);
    build_node(b, c->pool, "q", c->indices ? "s,index" : "s", text);
    if (c->indices) build_output(b, "index", DT_I64, "?,?,?,?");
}

static int last_rows(const Chain *c) { return c->behind ? c->behind : c->rows; }

/* The name of its result. */
static const char *add_third(Build *b, const Chain *c, Random *r)
{
    char dims[64];
    if (!c->behind) return "s";
    snprintf(dims, sizeof dims, "%d,%d,1,1", c->behind, c->rows);
    add_weights(b, "e", dims, c->behind * c->rows, 0, r);
    build_node(b, c->activation, "s", "u", "");
    build_node(b, "Conv", "u,e", "v", "");
    return "v";
}

static Build *build_chain(const Chain *c, Random *r)
{
    char text[4][128];
    Build *b = build_new();
    snprintf(text[0], sizeof text[0], "%d,%d,%d,%d", c->batch, c->channels, c->height, c->width);
    build_input(b, "x", DT_F32, text[0]);
    snprintf(text[0], sizeof text[0], "%d,%d,%d,%d", c->rows, c->channels, c->kernel, c->kernel);
    snprintf(text[1], sizeof text[1], "%d,1,%d,%d", c->rows, c->tall, c->wide);
    snprintf(text[2], sizeof text[2], "%d", c->rows);
    snprintf(text[3], sizeof text[3], "%d,%d,%d,%d", c->batch, last_rows(c), c->out[0], c->out[1]);
    add_weights(b, "w", text[0], c->rows * c->channels * c->kernel * c->kernel, c->zeros, r);
    add_weights(b, "d", text[1], c->rows * c->tall * c->wide, 0, r);
    add_weights(b, "b", text[2], c->rows, 0, r);
    if (c->adds) build_input(b, "z", DT_F32, text[3]);
    snprintf(text[0], sizeof text[0], "strides:is=%d,%d", c->stride, c->stride);
    build_node(b, "Conv", c->bias ? "x,w,b" : "x,w", "p", text[0]);
    build_node(b, c->activation, "p", "q", "");
    build_output(b, "y", DT_F32, "?,?,?,?");
    add_second(b, c);
    const char *last = add_third(b, c, r);
    snprintf(text[0], sizeof text[0], "%s,z", last);
    if (c->adds) build_node(b, "Add", text[0], "t", "");
    build_node(b, c->activation, c->adds ? "t" : last, "y", "");
    if (c->twice) build_output(b, "q", DT_F32, "?,?,?,?");
    return b;
}

static void ignore(void *user, const Step *s)
{
    (void)user;
    (void)s;
}

/* Plans with a tap keep their steps apart. */
static Plan *run_plan(Model *m, const Chain *c, int threads, bool apart, const Tensor *in)
{
    Plan *p = NULL;
    const PlanInput input[2] = { { "x", DT_F32, in[0].shape }, { "z", DT_F32, in[1].shape } };
    const PlanOptions options = { .threads = threads, .tap = apart ? ignore : NULL };
    if (plan_build(m, input, 1 + c->adds, &options, &p) != OK || plan_run(p, in, 1 + c->adds) != OK) fail_msg("%s", err_text());
    return p;
}

/* How many steps became part of another one. */
static int joined_steps(const Plan *p)
{
    int n = 0;
    for (int i = 0; i < p->n_step; i++) for (const Step *s = p->step[i]->joined; s; s = s->joined) n++;
    return n;
}

static Tensor random_input(Shape shape, Random *r)
{
    int64_t n = 0;
    assert_int_equal(shape_count(&shape, &n), OK);
    float *data = malloc((size_t)n * sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < n; i++) data[i] = random_float(r);
    return (Tensor){ .dtype = DT_F32, .shape = shape, .bytes = (size_t)n * sizeof *data, .data = data };
}

/* How many steps the plans of one, two and three threads joined. */
static int check_chain(const Chain *c, Random *r)
{
    Bytes bytes = build_finish(build_chain(c, r), 9, 19);
    Model *m;
    int joined = 0;
    if (model_parse(bytes.at, bytes.size, &m) != OK || ops_bind(m) != OK) fail_msg("%s", err_text());
    const Tensor in[2] = { random_input((Shape){ 4, { c->batch, c->channels, c->height, c->width } }, r),
                           random_input((Shape){ 4, { c->batch, last_rows(c), c->out[0], c->out[1] } }, r) };
    Plan *apart = run_plan(m, c, 1, true, in);
    assert_int_equal(joined_steps(apart), 0);
    for (int threads = 1; threads <= 3; threads++) {
        Plan *p = run_plan(m, c, threads, false, in);
        const float *is = p->out[0]->data, *wanted = apart->out[0]->data;
        for (int64_t i = 0; i < p->out[0]->count; i++)
            if (memcmp(&is[i], &wanted[i], sizeof *is)) fail_msg("%d threads, element %lld: %.9g, apart %.9g", threads, (long long)i, (double)is[i], (double)wanted[i]);
        assert_false(joined_steps(p) && (c->twice || c->indices));
        joined += joined_steps(p);
        plan_free(p);
    }
    plan_free(apart);
    for (int i = 0; i < 2; i++) free(in[i].data);
    model_free(m);
    bytes_free(bytes);
    return joined;
}

static void test_random_chains(void **state)
{
    (void)state;
    int joined = 0, rounds = 160;
    Random r = { 3 };
    for (int i = 0; i < rounds; i++) {
        Chain c = random_chain(&r);
        joined += check_chain(&c, &r);
    }
    assert_true(joined > rounds / 2);
}

/* As in MobileNet: two parts of the channels for two threads, bands where planes are large, in one thread the whole. And as in DenseNet, and with large pools. */
static void test_usual(void **state)
{
    (void)state;
    Random r = { 7 };
    static const char *const POOLS[] = { NULL, "AveragePool", "MaxPool" };
    for (int i = 0; i < 9; i++) {
        Chain c = { .batch = 1, .channels = 16, .rows = 96, .kernel = 1, .stride = 1, .tall = 3, .wide = 3, .step = 2, .pad_bottom = 1, .pad_right = 1, .dilation = 1,
                    .activation = "Relu", .pool = POOLS[i % 3] };
        c.height = c.width = 112 >> i / 3 * 2;
        sizes(&c);
        assert_int_equal(check_chain(&c, &r), 3);
        c.twice = true;
        assert_int_equal(check_chain(&c, &r), 0);
    }
}

/* Blocks of MobileNet, whole. */
static void test_triples(void **state)
{
    (void)state;
    Random r = { 5 };
    for (int i = 0; i < 6; i++) {
        Chain c = { .batch = 1 + i / 4, .channels = 16, .rows = 96, .height = 56, .width = i % 2 ? 56 : 53, .kernel = 1, .stride = 1, .tall = 3, .wide = 3,
                    .step = 1 + i / 2 % 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .dilation = 1, .behind = 24, .adds = i % 2,
                    .activation = "Relu" };
        sizes(&c);
        assert_int_equal(check_chain(&c, &r), 6);
    }
}

/* First layers, whose inputs lie in phases (engine/phases.h). */
static void test_first_layers(void **state)
{
    (void)state;
    Random r = { 9 };
    Chain c = { .batch = 1, .channels = 3, .rows = 32, .height = 225, .width = 225, .kernel = 3, .stride = 2, .tall = 3, .wide = 3, .step = 2, .pad_bottom = 1,
                .pad_right = 1, .dilation = 1, .activation = "Relu" };
    for (int i = 0; i < 2; i++) {
        c.pool = i ? "MaxPool" : NULL;
        sizes(&c);
        assert_int_equal(check_chain(&c, &r), 3);
    }
}

/* Pools of one window, those that slide (engine/slide.h) and those that tell indices run by themselves. */
static void test_other_pools(void **state)
{
    (void)state;
    Random r = { 8 };
    const Chain usual = { .batch = 1, .channels = 16, .rows = 32, .height = 28, .width = 28, .kernel = 1, .stride = 1, .tall = 3, .wide = 3, .step = 2, .dilation = 1,
                          .activation = "Relu", .pool = "MaxPool" };
    Chain c[4] = { usual, usual, usual, usual };
    c[1].indices = true;
    c[2].tall = c[2].wide = 28;
    c[3].tall = c[3].wide = 5;
    c[3].step = 1;
    for (int i = 0; i < 4; i++) {
        sizes(&c[i]);
        assert_true((check_chain(&c[i], &r) > 0) == (i == 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_chains), cmocka_unit_test(test_usual), cmocka_unit_test(test_triples),
                                        cmocka_unit_test(test_first_layers), cmocka_unit_test(test_other_pools) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
