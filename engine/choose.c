#include "engine/choose.h"
#include <math.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/run_ops.h"
#include "engine/seconds.h"

static const double CONTESTED = 1.25;       /* times within this factor of the least are measured */
static const double WORTH = 10e-6;         /* seconds below which nothing is */
static const double FEWEST = 0.15;         /* share of zeros below which sparse variants do not stand */
enum { ROUNDS = 4, MOST = 4 };

typedef struct Candidate { Variant variant; double seconds; } Candidate;

/* What is being chosen: one of columns and tokens is set. */
typedef struct Choice {
    Plan *plan;
    const MultiplyShape *columns;
    const Tokens *tokens;
    const Kernels *kernels;
    ProductSize size;
    Candidate candidate[MOST];
    int n;
} Choice;

/* One candidate, ready to run. */
typedef struct Trial { Columns columns; Tokens tokens; size_t bytes, scratch; } Trial;

static void plan_as(const Choice *c, Variant v, Trial *t)
{
    MultiplyChoice form = variant_form(v);
    t->columns.variant = v;
    if (c->tokens) {
        t->tokens = *c->tokens;
        tokens_plan(&t->tokens, form);
        t->bytes = t->tokens.packed.bytes;
        t->scratch = t->tokens.scratch;
    } else if (variant_is_winograd(v)) {
        winograd_plan(c->columns, c->kernels, c->plan->threads, v == VARIANT_WINOGRAD_2 ? 2 : 4, &t->columns.winograd);
        t->bytes = t->columns.winograd.bytes;
        t->scratch = t->columns.winograd.scratch;
    } else {
        multiply_plan(c->columns, c->kernels, c->plan->threads, form, &t->columns.multiply);
        t->bytes = t->columns.multiply.packed.bytes;
        t->scratch = t->columns.multiply.scratch;
    }
    t->columns.scratch = t->scratch;
}

static void pack(const Choice *c, Trial *t, void *memory)
{
    if (c->tokens) packed_fill(&t->tokens.packed, memory);
    else if (variant_is_winograd(t->columns.variant)) winograd_pack(&t->columns.winograd, memory);
    else packed_fill(&t->columns.multiply.packed, memory);
}

void columns_run(const Columns *c, const MultiplyRun *run)
{
    if (variant_is_winograd(c->variant)) winograd_run(&c->winograd, run);
    else multiply_run(&c->multiply, run);
}

/* Elections ------------------------------------------------------------------------------------------------------------------------------ */

static void stand(Choice *c, Variant v)
{
    c->candidate[c->n++] = (Candidate){ v, cost_seconds(cost_here(), v, &c->size) };
}

static bool has_zeros(const Choice *c) { return !c->plan->options.dense && c->size.nonzeros <= (1 - FEWEST) * c->size.rows * c->size.k; }

/* The fastest but `except`; NULL: there is no other. */
static const Candidate *least(const Choice *c, const Candidate *except)
{
    const Candidate *best = NULL;
    for (int i = 0; i < c->n; i++)
        if (&c->candidate[i] != except && (!best || c->candidate[i].seconds < best->seconds)) best = &c->candidate[i];
    return best;
}

static Err prepare_trial(const Choice *c, Candidate *candidate, Trial *t, MultiplyRun *run)
{
    void *packed;
    plan_as(c, candidate->variant, t);
    TRY(plan_temporary(c->plan, t->bytes, &packed));
    TRY(plan_temporary(c->plan, t->scratch, &run->scratch));
    pack(c, t, packed);
    return OK;
}

/* Runs the candidates that should take at most CONTESTED times as long as the best in turn, on zeros: x has `in` elements, y `out`. The least times count: what
 * disturbs a run only adds. */
static Err measure(Choice *c, size_t in, size_t out)
{
    Trial trial[MOST];
    MultiplyRun run[MOST];
    void *x, *y;
    double limit = least(c, NULL)->seconds * CONTESTED;
    bool runs[MOST];
    TRY(plan_temporary(c->plan, in * sizeof(float), &x));
    TRY(plan_temporary(c->plan, out * sizeof(float), &y));
    for (int i = 0; i < c->n; i++) {
        runs[i] = c->candidate[i].seconds <= limit;
        run[i] = (MultiplyRun){ .x = x, .y = y, .lo = -INFINITY, .hi = INFINITY };
        if (runs[i]) TRY(prepare_trial(c, &c->candidate[i], &trial[i], &run[i]));
        c->candidate[i].seconds = INFINITY;
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < c->n; i++) {
            if (!runs[i]) continue;
            double start = seconds_now();
            if (c->tokens) tokens_run(&trial[i].tokens, &run[i]);
            else columns_run(&trial[i].columns, &run[i]);
            c->candidate[i].seconds = fmin(c->candidate[i].seconds, seconds_now() - start);
        }
    return OK;
}

/* Whether a sparse and a dense variant are close. Between dense ones the figures of another CPU of the same instruction set are good enough. */
static bool is_contested(const Choice *c)
{
    const Candidate *best = least(c, NULL), *next = least(c, best);
    if (!next || variant_is_sparse(best->variant) == variant_is_sparse(next->variant) || cost_here()->measured) return false;
    return next->seconds <= best->seconds * CONTESTED && best->seconds > WORTH;
}

/* "sparse (70 % zeros, dense takes 2.1 times as long)" */
static Err explain(const Choice *c, Step *s)
{
    enum { ROOM = 120 };
    char *text;
    const Candidate *best = least(c, NULL), *next = least(c, best);
    double zeros = 100 * (1 - c->size.nonzeros / (c->size.rows * c->size.k));
    TRY(plan_array(c->plan, ROOM, 1, &text));
    int n = snprintf(text, ROOM, "%s (%.0f %% zeros", variant_name(best->variant), zeros);
    if (next && next->seconds < INFINITY)
        n += snprintf(text + n, ROOM - (size_t)n, ", %s takes %.2f times as long", variant_name(next->variant), next->seconds / best->seconds);
    snprintf(text + n, ROOM - (size_t)n, ")");
    s->variant = text;
    return OK;
}

static Err elect(Choice *c, Step *s, size_t in, size_t out, Trial *winner)
{
    void *packed;
    if (is_contested(c)) TRY(measure(c, in, out));
    TRY(explain(c, s));
    plan_as(c, least(c, NULL)->variant, winner);
    TRY(plan_alloc(c->plan, winner->bytes, &packed));
    pack(c, winner, packed);
    s->scratch_bytes += winner->scratch;
    return OK;
}

Err columns_prepare(Plan *plan, Step *s, const MultiplyShape *shape, Columns *out)
{
    Choice c = { .plan = plan, .columns = shape };
    Trial winner;
    int tile = winograd_choose(shape);
    double groups = shape->groups, columns = (double)shape->columns * shape->batch;
    size_t channels = (size_t)(shape->k / (shape->window.kernel[0] * shape->window.kernel[1]));
    TRY(find_kernels(&c.kernels));
    c.size = (ProductSize){ shape->weights.rows * groups, shape->k, (double)packed_nonzeros(&shape->weights, shape->groups, shape->k, plan->threads), shape->batch,
                            shape->window.out[0], shape->window.out[1], false };
    stand(&c, VARIANT_DENSE);
    if (tile) stand(&c, tile == 2 ? VARIANT_WINOGRAD_2 : VARIANT_WINOGRAD_4);
    if (has_zeros(&c)) stand(&c, VARIANT_SPARSE);
    size_t in = (size_t)shape->batch * (size_t)shape->groups * channels * shape->window.plane;
    TRY(elect(&c, s, in, (size_t)(c.size.rows * columns), &winner));
    *out = winner.columns;
    return OK;
}

/* Whether all constants of the plan fit into half of an L2 cache. */
static bool weights_near(const Plan *p)
{
    long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    size_t room = l2 > 0 ? (size_t)l2 / 2 : 1 << 19, used = 0;
    for (int i = 0; i < p->n_buffer && used <= room; i++) if (p->buffer[i]->constant) used += p->buffer[i]->bytes;
    return used <= room;
}

Err tokens_prepare(Plan *plan, Step *s, Tokens *t)
{
    Choice c = { .plan = plan, .tokens = t, .kernels = t->packed.kernels };
    Trial winner;
    const Packed *w = &t->packed;
    c.size = (ProductSize){ w->weights.rows, w->k, (double)packed_nonzeros(&w->weights, 1, w->k, w->threads), 1, 1, t->tokens, weights_near(plan) };
    stand(&c, VARIANT_TOKENS_DENSE);
    if (has_zeros(&c)) stand(&c, VARIANT_TOKENS_SPARSE);
    if (has_zeros(&c) && t->tokens <= FEW_TOKENS) {
        stand(&c, VARIANT_TOKENS_GATHER);
        stand(&c, VARIANT_TOKENS_BITMAP);
    }
    TRY(elect(&c, s, (size_t)t->tokens * (size_t)w->k, (size_t)w->weights.rows * (size_t)t->tokens, &winner));
    *t = winner.tokens;
    return OK;
}
