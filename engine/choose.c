#include "engine/choose.h"
#include "engine/alike.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "engine/caches.h"
#include "engine/fuse.h"
#include "engine/packs.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"
#include "engine/seconds.h"

static const double CONTESTED = 1.15;       /* times within this factor of the least are measured, */
static const double FAR = 1.5;             /* or this one, where Winograd's weights are beyond the L2 cache: how fast they come differs most between CPUs */
static const double ALIKE = 0.03;          /* layers of one size whose nonzeros differ by this share are measured once */
static const double WORTH = 10e-6;         /* seconds below which nothing is */
static const double FEWEST = 0.15;         /* share of zeros below which sparse variants do not stand */
enum { ROUNDS = 2, MOST = 4, MOST_FAR = 16 };      /* MOST_FAR: times the L2 cache; more is far everywhere, and much to try */

typedef struct Candidate { Variant variant; double seconds; } Candidate;

/* What was measured in this plan. */
typedef struct Election { ProductSize size; Candidate candidate[MOST]; int n; } Election;

typedef struct Choice {
    Plan *plan;
    Step *step;
    int axis;                  /* of the output's channels in input 1, for fused_weights */
    PackKey key;
    Product product;
    MultiplyShape *columns;    /* what product shows, one of both */
    Tokens *tokens;
    ProductSize size;
    Candidate candidate[MOST];
    int n;
    Trial sparse;              /* of columns, once it is planned */
} Choice;

static void stand(Choice *c, Variant v)
{
    c->candidate[c->n++] = (Candidate){ v, cost_seconds(cost_here(), v, &c->size) };
}

static bool has_zeros(const Choice *c) { return !c->plan->options.dense && c->size.nonzeros <= (1 - FEWEST) * c->size.rows * c->size.k; }

/* The fastest but `except`; NULL: there is no other. */
static const Candidate *fastest(const Choice *c, const Candidate *except)
{
    const Candidate *best = NULL;
    for (int i = 0; i < c->n; i++)
        if (&c->candidate[i] != except && (!best || c->candidate[i].seconds < best->seconds)) best = &c->candidate[i];
    return best;
}

/* Packers read nonzeros row by row, some of them several times. */
static Err lay_in_rows(Plan *plan, Packed *p)
{
    void *copy;
    const Weights w = p->weights;
    if (w.row != 1 || w.column == 1) return OK;
    p->weights = (Weights){ NULL, (size_t)p->k, 1, w.rows };
    if (!w.w) return OK;
    TRY(plan_temporary(plan, (size_t)w.rows * (size_t)p->k * sizeof(float), &copy));
    p->kernels->transpose_f32(w.w, w.column, p->k, w.rows, copy, (size_t)p->k);
    p->weights.w = copy;
    return OK;
}

static const Weights *weights_of(const Choice *c) { return c->tokens ? &c->tokens->packed.weights : &c->columns->weights; }

/* Reads them where that was put off. */
static Err read_weights(Choice *c)
{
    const float *w;
    if (weights_of(c)->w) return OK;
    TRY(fused_weights(c->plan, c->step, c->axis, &w));
    if (!c->tokens) {
        c->columns->weights.w = w;
        c->sparse.bytes = 0;
        return OK;
    }
    Packed *p = &c->tokens->packed;
    const bool laid = c->key.column != p->weights.column;
    p->weights = (Weights){ w, c->key.row, c->key.column, p->weights.rows };
    return laid ? lay_in_rows(c->plan, p) : OK;
}

static Err plan_sparse(Choice *c)
{
    if (c->sparse.bytes) return OK;
    trial_plan(&c->product, VARIANT_SPARSE, &c->sparse);
    TRY(rows_alike(c->plan, &c->sparse.columns.multiply));
    c->sparse.bytes = c->sparse.columns.multiply.packed.bytes;
    return OK;
}

static Err plan_once(Choice *c, Variant v, Trial *t)
{
    if (v != VARIANT_SPARSE) {
        trial_plan(&c->product, v, t);
        return OK;
    }
    TRY(plan_sparse(c));
    *t = c->sparse;
    return OK;
}

/* What another plan packed serves, if t has its layout. */
static Pack *owner(const Choice *c, Trial *t) { return packs_owner(c->plan->options.packs, &c->key, t); }

/* *packed: another plan did it. */
static Err plan_candidate(Choice *c, Variant v, Trial *t, bool *packed)
{
    TRY(plan_once(c, v, t));
    *packed = owner(c, t);
    if (*packed || weights_of(c)->w) return OK;
    TRY(read_weights(c));
    return plan_once(c, v, t);
}

static Err prepare_trial(Choice *c, Candidate *candidate, Trial *t, MultiplyRun *run)
{
    void *memory;
    bool packed;
    TRY(plan_candidate(c, candidate->variant, t, &packed));
    TRY(plan_temporary(c->plan, t->scratch, &run->scratch));
    if (packed) return OK;
    TRY(plan_temporary(c->plan, t->bytes, &memory));
    trial_pack(t, memory);
    return OK;
}

static bool is_far(const Choice *c, Variant v)
{
    const double a = (v == VARIANT_WINOGRAD_2 ? 2 : 4) + c->size.kernel - 1.0, taps = (double)c->size.kernel * c->size.kernel;
    const double bytes = c->size.rows * c->size.k / taps * a * a * sizeof(float), l2 = (double)l2_bytes();
    return variant_is_winograd(v) && bytes > l2 && bytes < MOST_FAR * l2;
}

/* Times up to this one may turn out to be the least. */
static double limit_of(const Choice *c)
{
    const Candidate *best = fastest(c, NULL), *next = fastest(c, best);
    return best->seconds * (is_far(c, best->variant) || is_far(c, next->variant) ? FAR : CONTESTED);
}

/* Runs the candidates that limit_of leaves in turn, on zeros: x has `in` elements, y `out`. The least times count: what
 * disturbs a run only adds. The winner is packed into temporary memory. */
static Err measure(Choice *c, size_t in, size_t out, Trial *winner)
{
    Trial trial[MOST];
    MultiplyRun run[MOST];
    void *x, *y;
    const double limit = limit_of(c);
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
            trial_run(&trial[i], &run[i]);
            c->candidate[i].seconds = fmin(c->candidate[i].seconds, seconds_now() - start);
        }
    *winner = trial[fastest(c, NULL) - c->candidate];
    return OK;
}

/* Whether there is memory to run them in turn: weights as they are, dense and sparse, and four times as many for Winograd. */
static bool has_room(const Choice *c, size_t in, size_t out)
{
    const size_t weights = (size_t)c->size.rows * (size_t)c->size.k, copies = c->columns ? 8 : 4;
    return plan_room(c->plan, (in + out + copies * weights) * sizeof(float)) == OK;
}

/* Whether a sparse and a dense variant are close, and no other plan has packed the better one. Between dense ones the figures of another CPU of the same instruction
 * set are good enough. */
static bool is_contested(const Choice *c)
{
    const Candidate *best = fastest(c, NULL), *next = fastest(c, best);
    if (!next || variant_is_sparse(best->variant) == variant_is_sparse(next->variant) || cost_here()->measured) return false;
    if (next->seconds > limit_of(c) || best->seconds <= WORTH) return false;
    return !packs_have(c->plan->options.packs, &c->key, best->variant);
}

static bool same_size(const ProductSize *a, const ProductSize *b)
{
    return a->rows == b->rows && a->k == b->k && a->batch == b->batch && a->height == b->height && a->width == b->width && a->near == b->near &&
           a->kernel == b->kernel && a->stride == b->stride && fabs(a->nonzeros - b->nonzeros) <= ALIKE * a->nonzeros;
}

/* Whether a layer like this one was measured: then it is settled. */
static bool recall(Choice *c)
{
    const Plan *p = c->plan;
    for (int i = 0; i < p->n_election; i++) {
        const Election *e = &p->election[i];
        if (!same_size(&e->size, &c->size) || e->n != c->n) continue;
        memcpy(c->candidate, e->candidate, sizeof e->candidate);
        return true;
    }
    return false;
}

static Err remember(Choice *c)
{
    Plan *p = c->plan;
    Election *e;
    TRY(grow(p, &p->election, p->n_election, &p->room_election, sizeof *p->election));
    e = &p->election[p->n_election++];
    *e = (Election){ .size = c->size, .n = c->n };
    memcpy(e->candidate, c->candidate, sizeof e->candidate);
    return OK;
}

/* "sparse (70 % zeros, 64 rows share theirs, dense takes 2.1 times as long)" */
static Err explain(const Choice *c, Step *s)
{
    enum { ROOM = 150 };
    char *text;
    const Candidate *best = fastest(c, NULL), *next = fastest(c, best);
    double zeros = 100 * (1 - c->size.nonzeros / (c->size.rows * c->size.k));
    TRY(plan_array(c->plan, ROOM, 1, &text));
    int n = snprintf(text, ROOM, "%s (%.0f %% zeros", variant_name(best->variant), zeros);
    const int alike = c->sparse.columns.multiply.packed.alike;
    if (best->variant == VARIANT_SPARSE && alike) n += snprintf(text + n, ROOM - (size_t)n, ", %d rows share theirs", alike);
    if (next && next->seconds < INFINITY)
        n += snprintf(text + n, ROOM - (size_t)n, ", %s takes %.2f times as long", variant_name(next->variant), next->seconds / best->seconds);
    snprintf(text + n, ROOM - (size_t)n, ")");
    s->variant = text;
    return OK;
}

/* Memory for good: the plan's own, or where other plans will find what is packed. */
static Err lasting_memory(Choice *c, Trial *t, void **memory)
{
    Packs *packs = c->plan->options.packs;
    Pack *pack;
    if (!packs || !c->key.constant) return plan_alloc(c->plan, t->bytes, memory);
    TRY(plan_room(c->plan, t->bytes));
    TRY(packs_add(packs, &c->key, (size_t)c->size.nonzeros, t, &pack));
    *memory = pack->memory;
    return OK;
}

static Err elect(Choice *c, size_t in, size_t out, Trial *winner)
{
    void *memory, *tried = NULL;
    bool packed;
    if (is_contested(c) && !recall(c) && has_room(c, in, out)) {
        TRY(measure(c, in, out, winner));
        TRY(remember(c));
        tried = trial_memory(winner);
    } else TRY(plan_candidate(c, fastest(c, NULL)->variant, winner, &packed));
    TRY(explain(c, c->step));
    c->step->scratch_bytes += winner->scratch;
    if (owner(c, winner)) return OK;
    TRY(lasting_memory(c, winner, &memory));
    if (tried) trial_at(winner, memcpy(memory, tried, winner->bytes));
    else trial_pack(winner, memory);
    return OK;
}

/* The weights and what is known of them. Where all of it may be known, they are read only if they turn out to be needed. */
static Err start(Choice *c, Weights *w, int groups, int k, size_t *nonzeros, const Packed **like)
{
    const Packs *packs = c->plan->options.packs;
    c->key = pack_key(c->step, w, (int64_t)groups * w->rows);
    const Pack *pack = packs_find(packs, &c->key);
    *like = packs_like(packs, &c->key);
    *nonzeros = pack ? pack->nonzeros : 0;
    if (*nonzeros) return OK;
    if (!w->w) TRY(fused_weights(c->plan, c->step, c->axis, &w->w));
    *nonzeros = packed_nonzeros(w, groups, k, c->plan->threads);
    return OK;
}

Err columns_start(Plan *plan, Step *s, MultiplyShape *shape)
{
    Choice c = { .plan = plan, .step = s };
    return start(&c, &shape->weights, shape->groups, shape->k, &shape->nonzeros, &shape->like);
}

Err columns_prepare(Plan *plan, Step *s, MultiplyShape *shape, Columns *out)
{
    Choice c = { .plan = plan, .step = s, .columns = shape, .product = { .columns = shape, .threads = plan->threads } };
    Trial winner;
    int tile = winograd_choose(shape);
    double groups = shape->groups, columns = (double)shape->columns * shape->batch;
    size_t channels = (size_t)(shape->k / (shape->window.kernel[0] * shape->window.kernel[1]));
    TRY(find_kernels(&c.product.kernels));
    c.key = pack_key(s, &shape->weights, (int64_t)shape->groups * shape->weights.rows);
    c.size = (ProductSize){ shape->weights.rows * groups, shape->k, (double)shape->nonzeros, shape->batch, shape->window.out[0], shape->window.out[1], false,
                             shape->window.kernel[0], shape->window.stride[0] };
    stand(&c, VARIANT_DENSE);
    if (tile) stand(&c, tile == 2 ? VARIANT_WINOGRAD_2 : VARIANT_WINOGRAD_4);
    if (has_zeros(&c)) stand(&c, VARIANT_SPARSE);
    size_t in = (size_t)shape->batch * (size_t)shape->groups * channels * shape->window.plane;
    TRY(elect(&c, in, (size_t)(c.size.rows * columns), &winner));
    *out = winner.columns;
    return OK;
}

/* Whether what is read from one run to the next fits into half of an L2 cache: the weights of all products, which are second inputs, unless this one runs many times
 * in a row. */
static bool weights_near(const Plan *p, const Tokens *t)
{
    size_t room = l2_bytes() / 2, used = t->repeated ? (size_t)t->packed.weights.rows * (size_t)t->packed.k * sizeof(float) : 0;
    for (int i = 0; !t->repeated && i < p->n_step && used <= room; i++) {
        const Step *s = p->step[i];
        if (s->n_in > 1 && s->in[1] && s->in[1]->constant) used += s->in[1]->bytes;
    }
    return used <= room;
}

Err tokens_prepare(Plan *plan, Step *s, int axis, Tokens *t)
{
    Choice c = { .plan = plan, .step = s, .axis = axis, .tokens = t, .product = { .tokens = t } };
    Trial winner;
    Packed *w = &t->packed;
    TRY(start(&c, &w->weights, 1, w->k, &w->nonzeros, &w->like));
    c.size = (ProductSize){ w->weights.rows, w->k, (double)w->nonzeros, 1, 1, t->tokens, weights_near(plan, t), 1, 1 };
    stand(&c, VARIANT_TOKENS_DENSE);
    if (has_zeros(&c)) {
        stand(&c, VARIANT_TOKENS_SPARSE);
        if (t->tokens <= FEW_TOKENS) stand(&c, VARIANT_TOKENS_GATHER);
        if (t->tokens <= FEW_TOKENS) stand(&c, VARIANT_TOKENS_BITMAP);
        TRY(lay_in_rows(plan, &t->packed));
    }
    TRY(elect(&c, (size_t)t->tokens * (size_t)w->k, (size_t)w->weights.rows * (size_t)t->tokens, &winner));
    *t = winner.tokens;
    return OK;
}
