#include "engine/tune.h"
#include <math.h>
#include "engine/run_ops.h"
#include "engine/seconds.h"
#include "engine/trial.h"

/* A product to time: rows x k weights, k = channels * taps * taps, for size x size pixels; size 0: on `tokens` tokens. */
typedef struct Size { int rows, channels, taps, stride, size, tokens; } Size;

static const Size SIZES[] = {
    { 64, 64, 1, 1, 56, 0 }, { 64, 64, 3, 1, 56, 0 }, { 256, 64, 1, 1, 56, 0 }, { 128, 128, 3, 1, 28, 0 }, { 512, 128, 1, 1, 28, 0 }, { 256, 256, 3, 1, 14, 0 },
    { 1024, 256, 1, 1, 14, 0 }, { 512, 512, 3, 1, 7, 0 }, { 2048, 512, 1, 1, 7, 0 }, { 32, 16, 3, 1, 160, 0 }, { 96, 24, 1, 1, 56, 0 },
    { 160, 960, 1, 1, 7, 0 }, { 64, 32, 3, 1, 80, 0 }, { 64, 3, 7, 2, 112, 0 }, { 64, 32, 3, 2, 80, 0 }, { 128, 128, 3, 2, 28, 0 }, { 384, 384, 1, 1, 0, 128 },
    { 1536, 384, 1, 1, 0, 128 }, { 384, 1536, 1, 1, 0, 128 }, { 768, 768, 1, 1, 0, 32 }, { 1000, 2048, 1, 1, 0, 1 }, { 256, 64, 1, 1, 0, 256 },
    { 2048, 2000, 1, 1, 0, 1 }, { 1000, 2048, 1, 1, 0, 2 }, { 1000, 2048, 1, 1, 0, 4 }, { 2048, 1024, 1, 1, 0, 3 },
};
static const double DENSITY[] = { 1, 0.5, 0.3, 0.15 };
enum { ROUNDS = 7, N_SIZE = sizeof SIZES / sizeof *SIZES, N_DENSITY = sizeof DENSITY / sizeof *DENSITY };

typedef struct Bench { Arena *arena; const Kernels *kernels; float *w, *x, *y; Tuning *out; } Bench;

/* A mask that is the same everywhere: a multiplicative hash of the position decides. */
static size_t fill_weights(float *w, size_t n, double density)
{
    size_t nonzeros = 0;
    for (size_t i = 0; i < n; i++) {
        bool keep = (double)((uint32_t)i * 2654435769u) < density * 4294967296.0;
        w[i] = keep ? 0.5f : 0;
        nonzeros += keep;
    }
    return nonzeros;
}

static MultiplyShape product_shape(const Size *s, const float *w, size_t nonzeros)
{
    int k = s->channels * s->taps * s->taps, in = s->size * s->stride;
    return (MultiplyShape){ .window = { .plane = (size_t)(in * in), .in = { in, in }, .out = { s->size, s->size }, .kernel = { s->taps, s->taps },
                                        .stride = { s->stride, s->stride }, .dilation = { 1, 1 }, .pad = { s->taps / 2, s->taps / 2 } },
                            .batch = 1, .groups = 1, .k = k, .columns = s->size * s->size, .weights = { w, (size_t)k, 1, s->rows }, .nonzeros = nonzeros };
}

static Err time_product(Bench *b, const Size *s, Variant v, size_t nonzeros)
{
    const MultiplyShape shape = product_shape(s, b->w, nonzeros);
    const Tokens tokens = { .tokens = s->tokens, .packed = { .weights = shape.weights, .k = shape.k, .nonzeros = nonzeros, .kernels = b->kernels, .threads = 1 } };
    Trial t;
    ArenaMark mark = arena_mark(b->arena);
    double best = INFINITY;
    trial_plan(&(Product){ &shape, &tokens, b->kernels, 1 }, v, &t);
    void *packed = arena_alloc(b->arena, t.bytes + 64), *scratch = arena_alloc(b->arena, t.scratch + 64);
    if (!packed || !scratch) return err_set(ERR_NOMEM, "Out of memory.");
    trial_pack(&t, packed);
    for (int i = 0; i < ROUNDS; i++) {
        double start = seconds_now();
        trial_run(&t, &(MultiplyRun){ .x = b->x, .y = b->y, .lo = 0, .hi = INFINITY, .scratch = scratch });
        best = fmin(best, seconds_now() - start);
    }
    ProductSize size = { s->rows, shape.k, (double)nonzeros, 1, s->size ? s->size : 1, s->size ? s->size : s->tokens, false, s->taps, s->stride };
    b->out->line[b->out->n++] = (TuneLine){ .variant = v, .sample = { size, best } };
    arena_reset(b->arena, mark);
    return OK;
}

static Err time_size(Bench *b, const Size *s)
{
    size_t weights = (size_t)(s->rows * s->channels * s->taps * s->taps);
    bool tokens = !s->size;
    for (int d = 0; d < N_DENSITY; d++) {
        size_t nonzeros = fill_weights(b->w, weights, DENSITY[d]);
        if (d) TRY(time_product(b, s, tokens ? VARIANT_TOKENS_SPARSE : VARIANT_SPARSE, nonzeros));
        else TRY(time_product(b, s, tokens ? VARIANT_TOKENS_DENSE : VARIANT_DENSE, nonzeros));
        if (d && tokens && s->tokens <= FEW_TOKENS) TRY(time_product(b, s, VARIANT_TOKENS_GATHER, nonzeros));
        if (d && tokens && s->tokens <= FEW_TOKENS) TRY(time_product(b, s, VARIANT_TOKENS_BITMAP, nonzeros));
        if (!d && winograd_form(2, s->taps, s->stride).m) TRY(time_product(b, s, VARIANT_WINOGRAD_2, nonzeros));
        if (!d && winograd_form(4, s->taps, s->stride).m) TRY(time_product(b, s, VARIANT_WINOGRAD_4, nonzeros));
    }
    return OK;
}

static Err fit(Arena *arena, Tuning *t)
{
    CostSample *sample = arena_array(arena, (size_t)t->n + 1, sizeof *sample);
    if (!sample) return err_set(ERR_NOMEM, "Out of memory.");
    for (Variant v = 0; v < VARIANTS; v++) {
        int n = 0;
        for (int i = 0; i < t->n; i++) if (t->line[i].variant == v) sample[n++] = t->line[i].sample;
        cost_fit(v, sample, n, t->cost.term[v]);
    }
    t->cost.measured = true;
    for (int i = 0; i < t->n; i++) t->line[i].predicted = cost_seconds(&t->cost, t->line[i].variant, &t->line[i].sample.size);
    return OK;
}

Err tune(Arena *arena, void (*step)(void *user, int done, int of), void *user, Tuning *out)
{
    enum { MOST_FLOATS = 4 << 20 };            /* of the weights, inputs and outputs above */
    Tuning t = { 0 };
    Bench b = { .arena = arena, .out = &t };
    TRY(find_kernels(&b.kernels));
    t.line = arena_array(arena, N_SIZE * 3 * N_DENSITY, sizeof *t.line);
    b.w = arena_array(arena, MOST_FLOATS, sizeof *b.w);
    b.x = arena_array(arena, MOST_FLOATS, sizeof *b.x);
    b.y = arena_array(arena, MOST_FLOATS, sizeof *b.y);
    if (!t.line || !b.w || !b.x || !b.y) return err_set(ERR_NOMEM, "Out of memory.");
    for (int i = 0; i < N_SIZE; i++) {
        TRY(time_size(&b, &SIZES[i]));
        if (step) step(user, i + 1, N_SIZE);
    }
    TRY(fit(arena, &t));
    *out = t;
    return OK;
}
