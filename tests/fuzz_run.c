/* Any bytes as a model that runs: refused with a reason, or planned and run on inputs that its bytes choose, twice, within limits of memory and time.
 * What it computes is not looked at; that it neither crashes nor hangs nor reads what it must not is. */
#include "engine/plan.h"
#include "engine/element.h"
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_LIMIT = 1 << 22, INPUT_LIMIT = 1 << 16, ELEMENTS_LIMIT = 1 << 14, MAX_INPUTS = 16 };
static const double SECONDS_LIMIT = 1;

typedef struct Dice { uint64_t state; bool wild; } Dice;

static uint64_t roll(Dice *d)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return d->state >> 33;
}

/* Small numbers, which are sizes, axes and indices that are mostly legal; wild: also those at the ends of the types. */
static void fill(Dice *d, const Tensor *t, int64_t n)
{
    static const double wild_real[] = { 0.0, -0.0, 1e30, -1e30, 1e-40, (double)INFINITY, -(double)INFINITY, (double)NAN };
    static const int64_t wild_whole[] = { INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, -1, 255, 128, 1 << 20 };
    for (int64_t i = 0; i < n; i++) {
        bool odd = d->wild && roll(d) % 4 == 0;
        double real = odd ? wild_real[roll(d) % 8] : (double)(roll(d) % 64) / 16 - 1;
        int64_t whole = odd ? wild_whole[roll(d) % 8] : (int64_t)(roll(d) % 5) - 1;
        if (dtype_is_float(t->dtype)) elements_from_f64(t->dtype, &real, 1, t->data, i);
        else elements_from_i64(t->dtype, &whole, 1, t->data, i);
    }
}

/* A tensor of the stated type and shape; open sizes are 0 to 3. False when it states none that can be made. */
static bool make_input(Arena *arena, Dice *d, const Value *v, Tensor *out)
{
    Shape s = v->stated.shape;
    Tensor *t;
    int64_t n;
    if (!v->stated.is_tensor || !dtype_is_real(v->stated.dtype)) return false;
    if (s.rank < 0) s = (Shape){ 2, { SYMBOL_BASE, SYMBOL_BASE } };
    for (int i = 0; i < s.rank; i++) if (dim_is_symbol(s.dim[i])) s.dim[i] = (int64_t)(roll(d) % 4);
    if (shape_count(&s, &n) != OK || n > ELEMENTS_LIMIT || tensor_new(arena, v->stated.dtype, &s, &t) != OK) return false;
    fill(d, t, n);
    *out = *t;
    return true;
}

static void run(Model *m, Arena *arena, Dice *d)
{
    const Value **input;
    int n;
    Tensor in[MAX_INPUTS];
    PlanInput shape[MAX_INPUTS];
    Plan *plan;
    if (ops_bind(m) || plan_inputs(m, &input, &n) || n > MAX_INPUTS) return;
    for (int i = 0; i < n; i++) {
        if (!make_input(arena, d, input[i], &in[i])) return;
        shape[i] = (PlanInput){ input[i]->name, in[i].dtype, in[i].shape };
    }
    PlanOptions o = { .threads = 1, .memory_limit = MEMORY_LIMIT, .seconds_limit = SECONDS_LIMIT };
    if (plan_build(m, shape, n, &o, &plan)) return;
    if (!plan_run(plan, in, n)) (void)!plan_run(plan, in, n);
    plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Model *m;
    Dice d = { .state = size };
    if (size > INPUT_LIMIT || model_parse(data, size, &m)) return 0;
    for (size_t i = 0; i < size; i++) d.state = (d.state ^ data[i]) * 0x100000001b3u;
    d.wild = d.state >> 63;
    m->memory_limit = MEMORY_LIMIT;
    Arena *arena = arena_new();
    if (arena) run(m, arena, &d);
    arena_free(arena);
    model_free(m);
    return 0;
}
