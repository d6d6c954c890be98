/* Half precision in float32 (engine/halves.c): the numbers of each operator on halves of its own (PlanOptions.keep), within what halves round; fast steps; and
 * halves wherever somebody wants to see them. */
#include "engine/element.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "tests/build_model.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6, WIDE = 256, NARROW = 80 };            /* 256 x 80 numbers are more than a plan reads at once */

static const DType TYPES[] = { DT_F16, DT_BF16 };

static double rounding(DType t) { return t == DT_F16 ? 0x1p-10 : 0x1p-7; }

static void random_halves(DType t, Random *r, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i++) {
        float x = random_float(r);
        to[i] = t == DT_F16 ? f32_to_f16(x) : f32_to_bf16(x);
    }
}

static void constant(Build *b, const char *name, DType t, const char *dims, int64_t n, Random *r)
{
    uint16_t *halves = calloc((size_t)n, sizeof *halves);
    assert_non_null(halves);
    random_halves(t, r, n, halves);
    build_init(b, name, t, dims, halves);
    free(halves);
}

/* An input x of halves and constants w and b. */
static Build *start(DType t)
{
    Random r = { 3 };
    Build *b = build_new();
    build_input(b, "x", t, "6,256");
    constant(b, "w", t, "256,80", WIDE * NARROW, &r);
    constant(b, "b", t, "80", NARROW, &r);
    return b;
}

static void same_numbers(const Buffer *a, const Buffer *b, double within)
{
    double x, y, most = 0;
    assert_int_equal(a->dtype, b->dtype);
    assert_true(shape_equal(&a->shape, &b->shape));
    for (int64_t i = 0; i < a->count; i++) {
        elements_to_f64(a->dtype, a->data, i, 1, &x);
        most = fmax(most, fabs(x));
    }
    assert_true(most > 0);
    for (int64_t i = 0; i < a->count; i++) {
        elements_to_f64(a->dtype, a->data, i, 1, &x);
        elements_to_f64(b->dtype, b->data, i, 1, &y);
        assert_true(fabs(x - y) <= within * most);
    }
}

static int count_steps(const Plan *p, const char *type, DType reads)
{
    int n = 0;
    for (int i = 0; i < p->n_step; i++) n += !strcmp(p->step[i]->op->type, type) && p->step[i]->in[0]->dtype == reads;
    return n;
}

/* `wide` of the steps of that type read float32, and so many casts are left. */
typedef struct Wanted { const char *type; int wide, casts; } Wanted;

static void check(Build *b, DType t, Wanted wanted)
{
    Random r = { 5 };
    uint16_t x[ROWS * WIDE];
    Shape shape = { .rank = 2, .dim = { ROWS, WIDE } };
    Tensor in = { t, shape, sizeof x, x };
    PlanInput given = { "x", t, shape };
    Model *m;
    Plan *plain, *plan;
    Bytes bytes = build_finish(b, 8, 17);
    random_halves(t, &r, ROWS * WIDE, x);
    assert_int_equal(model_parse(bytes.at, bytes.size, &m), OK);
    assert_int_equal(ops_bind(m), OK);
    assert_int_equal(plan_build(m, &given, 1, &(PlanOptions){ .threads = 1, .keep = true }, &plain), OK);
    assert_int_equal(plan_build(m, &given, 1, &(PlanOptions){ .threads = 1 }, &plan), OK);
    for (int run = 0; run < 2; run++) {
        assert_int_equal(plan_run(plain, &in, 1), OK);
        assert_int_equal(plan_run(plan, &in, 1), OK);
    }
    for (int i = 0; i < plan->n_out; i++) same_numbers(plain->out[i], plan->out[i], 4 * rounding(t));
    assert_int_equal(count_steps(plan, wanted.type, DT_F32), wanted.wide);
    assert_int_equal(count_steps(plan, "Cast", t) + count_steps(plan, "Cast", DT_F32), wanted.casts);
    plan_free(plain);
    plan_free(plan);
    model_free(m);
    bytes_free(bytes);
}

/* From x to y. */
static void chain(Build *b, DType t)
{
    build_node(b, "MatMul", "x,w", "p", "");
    build_node(b, "Add", "p,b", "s", "");
    build_node(b, "Relu", "s", "y", "");
    build_output(b, "y", t, "6,80");
}

/* A value in the middle is an output, and read again; the user's own casts. */
static void seen(Build *b, DType t)
{
    build_node(b, "MatMul", "x,w", "p", "");
    build_node(b, "Softmax", "p", "y", "");
    build_node(b, "Cast", "p", "f", "to:i=1");
    build_node(b, "Abs", "f", "e", "");
    build_node(b, "Cast", "e", "h", t == DT_F16 ? "to:i=10" : "to:i=16");
    build_output(b, "p", t, "6,80");
    build_output(b, "y", t, "6,80");
    build_output(b, "e", DT_F32, "6,80");
    build_node(b, "Transpose", "h", "k", "perm:is=1,0");
    build_node(b, "MatMul", "x,w", "q", "");
    build_node(b, "MatMul", "q,k", "v", "");
    build_output(b, "v", t, "6,6");
}

/* Bodies and steps whose shapes depend on data read halves. */
static void read_as_halves(Build *b, DType t)
{
    Build *then = build_new(), *otherwise = build_new();
    build_node(then, "Add", "p,b", "t", "");
    build_output(then, "t", t, "6,80");
    build_node(otherwise, "Neg", "p", "n", "");
    build_output(otherwise, "n", t, "6,80");
    build_node(b, "MatMul", "x,w", "p", "");
    build_node(b, "ReduceSum", "p", "total", "keepdims:i=0");
    build_node(b, "Cast", "total", "go", "to:i=9");
    build_node(b, "If", "go", "y", "");
    build_attr_graph(b, "then_branch", then);
    build_attr_graph(b, "else_branch", otherwise);
    build_output(b, "y", t, "6,80");
    build_node(b, "NonZero", "p", "at", "");
    build_node(b, "Transpose", "at", "where", "perm:is=1,0");
    build_node(b, "GatherND", "p,where", "found", "");
    build_output(b, "found", t, NULL);
}

static void check_types(void (*nodes)(Build *, DType), Wanted wanted)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        Build *b = start(TYPES[i]);
        nodes(b, TYPES[i]);
        check(b, TYPES[i], wanted);
    }
}

static void test_chain(void **state)
{
    (void)state;
    check_types(chain, (Wanted){ "MatMul", 1, 2 });
}

static void test_seen(void **state)
{
    (void)state;
    check_types(seen, (Wanted){ "MatMul", 3, 7 });
}

static void test_read_as_halves(void **state)
{
    (void)state;
    check_types(read_as_halves, (Wanted){ "MatMul", 1, 3 });
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_chain), cmocka_unit_test(test_seen), cmocka_unit_test(test_read_as_halves) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
