#include "engine/pair.h"
#include <math.h>
#include <omp.h>
#include "engine/fuse.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"
#include "engine/share.h"

enum {
    BUFFER = 1000 << 10,           /* bytes of what lies between the two that stay in an L2 cache */
    PACK = 6,                      /* rows of a product that take as long as packing its input */
    LINE = 16,                     /* floats */
};
/* Multiplications that take as long as writing an element to memory and reading it back; the same behind a pair, where one thread reads it from a cache next, and where
 * others read it and wrote this memory before: lines that change between processors are dear. */
static const double TRIP = 8, TRIP_BEHIND = 3, TRIP_SHARED = 64;

typedef struct Pair {
    const Multiply *product;
    const Planes *planes;
    MultiplyRun run;               /* of the product, but for x */
    int bands, parts, part_chunks;
    size_t plane, own;             /* floats: from plane to plane of a band, and the scratch that a thread needs */
    bool triple;                   /* a product behind the planes is part of the step: */
    Multiply last;                 /* it reads the planes of a band */
    const float *last_bias;
    MultiplyRun between;           /* of the planes, but for y */
    size_t between_plane;
} Pair;

static int band_start(const PanelWindow *w, int band, int bands) { return (int)((int64_t)w->out[0] * band / bands); }

/* Rows of the input that the rows first ... end - 1 of the output see: from *top on, so many. */
static int rows_seen(const PanelWindow *w, int first, int end, int *top)
{
    int64_t from = (int64_t)first * w->stride[0] - w->pad[0], to = (int64_t)(end - 1) * w->stride[0] - w->pad[0] + (int64_t)(w->kernel[0] - 1) * w->dilation[0] + 1;
    if (from < 0) from = 0;
    if (to > w->in[0]) to = w->in[0];
    *top = (int)from;
    return to > from ? (int)(to - from) : 0;
}

static int highest_band(const PanelWindow *w, int bands)
{
    int most = 0, top;
    for (int i = 0; i < bands; i++) {
        int height = rows_seen(w, band_start(w, i, bands), band_start(w, i + 1, bands), &top);
        most = height > most ? height : most;
    }
    return most;
}

/* Floats from plane to plane of a band. An odd number of lines: what lies a power of two apart shares few sets of a cache. */
static size_t plane_of(const PanelWindow *w, int height) { return (size_t)(ceil_div(height * w->in[1], LINE) | 1) * LINE; }

/* What is to be cut. Parts have a multiple of `unit` rows; behind: rows of a product behind the planes, 0: there is none. */
typedef struct Cutting { const PanelWindow *w; const MultiplyShape *product; double density; int threads, unit, behind; } Cutting;

static int band_pixels(const PanelWindow *w, int bands) { return ceil_div(w->out[0], bands) * w->out[1]; }

/* What the product behind takes for a pixel. Costs are in multiplications of the first product's k. */
static double cost_behind(const Cutting *c) { return (double)c->product->weights.rows * c->behind / c->product->k + PACK; }

/* Of the slowest thread. INFINITY: it would leave the L2 cache. */
static double cost_of(const Cutting *c, int bands, int part, int height)
{
    const PanelWindow *w = c->w;
    const int rows = c->product->weights.rows, parts = ceil_div(rows, part), pixels = band_pixels(w, bands);
    const double columns = height * w->in[1];
    size_t floats = (size_t)part * plane_of(w, height) + (c->behind ? (size_t)rows * (size_t)pixels : 0);
    if (floats * sizeof(float) > BUFFER) return INFINITY;
    int64_t items = (int64_t)bands * c->product->batch;
    if (!c->behind) return (double)ceil_div(items * parts, c->threads) * columns * (least(rows, part) * c->density + PACK);
    return (double)ceil_div(items, c->threads) * (columns * (rows * c->density + parts * PACK) + pixels * cost_behind(c));
}

/* The cut that should take the slowest thread the least time, unless what is computed twice takes more than is saved. */
static PairCut choose_cut(const Cutting *c, double least_cost)
{
    PairCut best = { .density = c->density, .cost = least_cost };
    for (int bands = 1; bands <= c->w->out[0] && bands <= 64; bands++) {
        int height = highest_band(c->w, bands);
        for (int part = ceil_div(c->product->weights.rows, c->unit) * c->unit; part > 0; part -= c->unit) {
            double cost = cost_of(c, bands, part, height);
            if (cost < best.cost) best = (PairCut){ part, bands, height, c->density, cost };
        }
    }
    return best;
}

static PairCut choose_pair(const Cutting *c)
{
    double columns = (double)c->w->in[0] * c->w->in[1] * c->product->batch;
    return choose_cut(c, columns * (c->product->weights.rows * (c->density + TRIP / c->product->k) + PACK) / c->threads);
}

static PairCut choose_triple(const Cutting *c, const PairCut *pair)
{
    double columns = (double)c->w->out[0] * c->w->out[1] * c->product->batch, trip = c->threads > 1 ? TRIP_SHARED : TRIP_BEHIND;
    return choose_cut(c, pair->cost + columns * (cost_behind(c) + c->product->weights.rows * trip / c->product->k) / c->threads);
}

/* The step of planes that alone reads what s writes. */
static Step *planes_behind(const Plan *p, const Step *s, PanelWindow *w)
{
    Step *d = s->late || p->options.keep || p->options.tap || fused_combines(s) ? NULL : only_reader(p, s->out[0]);
    bool reads_once = d && !d->late && d->op->planes && (!s->in[2] || s->in[2]->constant);
    return reads_once && d->op->planes(d, w) ? d : NULL;
}

PairCut pair_cut(const Plan *p, const Step *s, const MultiplyShape *shape)
{
    PanelWindow w;
    const Kernels *kernels;
    if (shape->groups != 1 || winograd_choose(shape) || find_kernels(&kernels) != OK || !planes_behind(p, s, &w)) return (PairCut){ 0 };
    double density = p->options.dense ? 1 : (double)shape->nonzeros / ((double)shape->weights.rows * shape->k);
    return choose_pair(&(Cutting){ &w, shape, density, p->threads, kernels->sizes.strip, 0 });
}

void planes_place(const Planes *p, int64_t image, PlaneArea *a)
{
    const PanelWindow *g = &p->window;
    a->y_plane = (size_t)g->out[0] * (size_t)g->out[1];
    a->at = (size_t)(image * p->outputs + a->m) * a->y_plane + (size_t)a->first * (size_t)g->out[1];
}

PanelWindow planes_window(const Planes *p, const PlaneArea *a)
{
    PanelWindow g = p->window;
    g.plane = a->plane;
    g.in[0] = a->height;
    g.out[0] = a->end - a->first;
    g.pad[0] += a->top - a->first * g.stride[0];
    return g;
}

/* Rows of the second result, and what they see of the first. */
typedef struct Band { int64_t image; int first, end, top, height; } Band;

static Band band_of(const Pair *pair, int64_t item)
{
    const PanelWindow *w = &pair->planes->window;
    int i = (int)(item % pair->bands);
    Band b = { .image = item / pair->bands, .first = band_start(w, i, pair->bands), .end = band_start(w, i + 1, pair->bands) };
    b.height = rows_seen(w, b.first, b.end, &b.top);
    return b;
}

static void run_part(const Pair *pair, const MultiplyRun *product, const MultiplyRun *second, const Band *b, int part, float *scratch)
{
    const Multiply *m = pair->product;
    const Planes *planes = pair->planes;
    int chunk = part * pair->part_chunks, width = planes->window.in[1];
    PlaneArea a = { .plane = pair->plane, .first = b->first, .end = b->end, .top = b->top, .height = b->height };
    MultiplyArea area = { .image = b->image, .n0 = (int64_t)b->top * width, .n = (int64_t)b->height * width, .first_chunk = chunk,
                          .chunks = least(m->packed.chunks - chunk, pair->part_chunks), .y = scratch, .ld = pair->plane };
    area.scratch = scratch + (size_t)(pair->part_chunks * m->packed.chunk_rows) * pair->plane;
    multiply_area(m, product, &area);
    a.x = area.y;
    a.m = chunk * m->packed.chunk_rows;
    a.n = multiply_area_rows(m, &area);
    posts_apply(m->packed.kernels, &product->posts, &(PostArea){ area.y, 0, pair->plane, a.n, (int)area.n });
    if (pair->triple) a.y_plane = pair->between_plane, a.at = (size_t)a.m * pair->between_plane;
    else planes_place(planes, b->image, &a);
    planes->area(planes, second, &a);
}

/* All parts of a band, whose planes go to scratch, and the product that reads them. */
static void run_triple(const Pair *pair, const MultiplyRun *product, const MultiplyRun *last, const Band *b, float *scratch)
{
    const Multiply *m = &pair->last;
    MultiplyRun second = pair->between, run = *last;
    int width = pair->planes->window.out[1], rows = m->shape.weights.rows;
    size_t columns = (size_t)m->shape.columns, at = (size_t)(b->image * rows) * columns + (size_t)(b->first * width);
    second.y = scratch;
    scratch += (size_t)pair->planes->outputs * pair->between_plane;
    for (int part = 0; part < pair->parts; part++) run_part(pair, product, &second, b, part, scratch);
    run.x = second.y;
    multiply_area(m, &run, &(MultiplyArea){ .n = (b->end - b->first) * width, .chunks = m->packed.chunks, .y = run.y + at, .ld = columns,
                                            .residual = run.residual ? run.residual + at : NULL, .scratch = scratch });
    posts_apply(m->packed.kernels, &run.posts, &(PostArea){ run.y, at, columns, rows, (b->end - b->first) * width });
}

static Err run_pair(Plan *plan, Step *s)
{
    const Pair *pair = s->state;
    const int parts = pair->triple ? 1 : pair->parts;
    const size_t own = s->scratch_bytes / (size_t)plan->threads / sizeof(float);
    MultiplyRun product = pair->run, last = conv_operands_of(s, pair->triple ? pair->last_bias : pair->planes->bias, true);
    Share share;
    product.x = s->in[0]->data;
    share_start(&share, (int64_t)pair->product->shape.batch * pair->bands * parts, plan->threads);
    #pragma omp parallel num_threads(plan->threads) if (plan->threads > 1)
    for (int64_t i, thread = omp_get_thread_num(); share_next(&share, (int)thread, &i); ) {
        const Band b = band_of(pair, i / parts);
        float *scratch = (float *)(void *)s->scratch + own * (size_t)thread;
        if (pair->triple) run_triple(pair, &product, &last, &b, scratch);
        else run_part(pair, &product, &last, &b, (int)(i % parts), scratch);
    }
    return OK;
}

static void set_cut(Pair *pair, const PairCut *cut)
{
    const Packed *packed = &pair->product->packed;
    pair->bands = cut->bands;
    pair->part_chunks = cut->part_rows / packed->chunk_rows;
    pair->parts = ceil_div(packed->chunks, pair->part_chunks);
    pair->plane = plane_of(&pair->planes->window, cut->height);
    pair->own = (size_t)cut->part_rows * pair->plane + multiply_area_scratch(pair->product, pair->part_chunks);
}

/* `second` does what `first` did and reads what it read. Its scratch is set when all are joined. */
static void replace(Plan *p, Step *first, Step *second, Pair *pair)
{
    second->in[0] = first->in[0];
    second->state = pair;
    second->run = run_pair;
    second->joined = first;
    p->step[first->at] = NULL;
    close_gaps(p);
}

static Err join(Plan *p, Step *first, Step *second, const PairCut *cut)
{
    const PanelConv *product = conv_panels(first);
    Pair *pair;
    TRY(plan_array(p, 1, sizeof *pair, &pair));
    *pair = (Pair){ .product = &product->columns.multiply, .planes = second->planes, .run = conv_operands_of(first, product->bias, false) };
    set_cut(pair, cut);
    replace(p, first, second, pair);
    second->variant = first->variant;
    return OK;
}

/* The product behind a pair, if it reads pixel by pixel what nobody else does. */
static Step *product_behind(const Plan *p, const Step *s)
{
    Step *last = fused_combines(s) ? NULL : only_reader(p, s->out[0]);
    const PanelConv *product = last && !last->late ? conv_panels(last) : NULL;
    const Multiply *m = product ? &product->columns.multiply : NULL;
    if (!product || variant_is_winograd(product->columns.variant) || m->together > 1 || m->shape.groups != 1 || m->packed.form != MULTIPLY_DENSE) return NULL;
    return m->shape.window.in[0] == 1 && m->shape.window.in[1] == (int)m->shape.columns && m->shape.k == ((const Pair *)s->state)->planes->outputs ? last : NULL;
}

static Err join_last(Plan *p, Step *s, Step *last, const PairCut *cut)
{
    Pair *pair;
    TRY(plan_array(p, 1, sizeof *pair, &pair));
    *pair = *(const Pair *)s->state;
    const PanelConv *product = conv_panels(last);
    const PanelWindow *w = &pair->planes->window;
    set_cut(pair, cut);
    pair->triple = true;
    pair->last = product->columns.multiply;
    pair->last_bias = product->bias;
    pair->between = conv_operands_of(s, pair->planes->bias, false);
    pair->between_plane = (size_t)(ceil_div(band_pixels(w, cut->bands), LINE) | 1) * LINE;
    pair->last.shape.window.plane = pair->between_plane;
    size_t scratch = multiply_area_scratch(&pair->last, pair->last.packed.chunks), first = pair->own;
    pair->own = (size_t)pair->planes->outputs * pair->between_plane + (first > scratch ? first : scratch);
    replace(p, s, last, pair);
    return OK;
}

/* A thread's scratch starts at the same place in all pairs, so that it stays in its caches. */
static void align_scratch(Plan *p)
{
    size_t most = 0;
    for (int i = 0; i < p->n_step; i++) {
        const Pair *pair = p->step[i]->run == run_pair ? p->step[i]->state : NULL;
        if (pair && pair->own > most) most = pair->own;
    }
    for (int i = 0; i < p->n_step; i++) {
        if (p->step[i]->run != run_pair) continue;
        p->step[i]->scratch_bytes = most * (size_t)p->threads * sizeof(float);
    }
}

/* Joins what follows a product, if that should not take longer, unless the product computes its rows in an order of its own. *joined: the product's step is gone. */
static Err join_behind(Plan *p, Step *first, bool *joined)
{
    PanelWindow w;
    const PanelConv *product = conv_panels(first);
    const Multiply *m = product ? &product->columns.multiply : NULL;
    if (!product || !product->cut.part_rows || variant_is_winograd(product->columns.variant) || m->together > 1 || m->packed.order) return OK;
    Step *second = planes_behind(p, first, &w);
    if (!second || !second->planes) return OK;
    Cutting c = { &second->planes->window, &m->shape, product->cut.density, p->threads, m->packed.chunk_rows, 0 };
    PairCut cut = choose_pair(&c);
    *joined = cut.part_rows > 0;
    if (!*joined) return OK;
    TRY(join(p, first, second, &cut));
    Step *last = product_behind(p, second);
    if (!last) return OK;
    c.behind = conv_panels(last)->columns.multiply.shape.weights.rows;
    cut = choose_triple(&c, &cut);
    return cut.part_rows ? join_last(p, second, last, &cut) : OK;
}

Err pairs_join(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        bool joined = false;
        TRY(join_behind(p, p->step[i], &joined));
        i -= joined;
    }
    align_scratch(p);
    return OK;
}
