#include "engine/pair.h"
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
static const double WORTH = 1.2;  /* what cutting may add to a product's time */

typedef struct Pair {
    const Multiply *product;
    const DepthwiseConv *depthwise;
    MultiplyRun run;               /* of the product, but for x */
    int bands, parts, part_chunks;
    size_t plane, own;             /* floats: from plane to plane of a band, and the scratch of a thread */
} Pair;

static int band_start(const ConvShape *c, int band, int bands) { return (int)(c->out[1] * band / bands); }

/* Rows of the input that the rows first ... end - 1 of the output see: from *top on, so many. */
static int rows_seen(const ConvShape *c, int first, int end, int *top)
{
    int64_t from = first * c->stride[1] - c->pad[1], to = (end - 1) * c->stride[1] - c->pad[1] + (c->kernel[1] - 1) * c->dilation[1] + 1;
    if (from < 0) from = 0;
    if (to > c->in[1]) to = c->in[1];
    *top = (int)from;
    return to > from ? (int)(to - from) : 0;
}

static int highest_band(const ConvShape *c, int bands)
{
    int most = 0, top;
    for (int i = 0; i < bands; i++) {
        int height = rows_seen(c, band_start(c, i, bands), band_start(c, i + 1, bands), &top);
        most = height > most ? height : most;
    }
    return most;
}

/* Floats from plane to plane of a band, with room for what is computed on either side. An odd number of lines: what lies a power of two apart shares few sets of a
 * cache. */
static size_t plane_of(const ConvShape *c, int height) { return (size_t)(ceil_div(height * c->in[2] + 2 * PANEL_COLUMNS, LINE) | 1) * LINE; }

/* The cut that should take the slowest thread the least time. Parts have a multiple of `unit` rows. */
static PairCut choose_cut(const ConvShape *c, int rows, double density, int threads, int unit)
{
    PairCut best = { .density = density };
    double least_cost = WORTH * (double)(c->in[1] * c->in[2]) * (rows * density + PACK) * (double)c->batch / threads;
    for (int bands = 1; bands <= c->out[1] && bands <= 64; bands++) {
        int height = highest_band(c, bands);
        for (int part = ceil_div(rows, unit) * unit; part > 0; part -= unit) {
            int64_t items = (int64_t)bands * ceil_div(rows, part) * c->batch;
            double cost = (double)ceil_div(items, threads) * (double)(height * c->in[2] + (bands > 1) * PANEL_COLUMNS) * (least(rows, part) * density + PACK);
            if (cost >= least_cost || (size_t)part * plane_of(c, height) * sizeof(float) > BUFFER) continue;
            least_cost = cost;
            best = (PairCut){ part, bands, height, density };
        }
    }
    return best;
}

/* The depthwise convolution that alone reads what s writes. */
static Step *depthwise_behind(const Plan *p, const Step *s, ConvShape *c)
{
    Step *d = s->late || p->options.keep || p->options.tap || fused_combines(s) ? NULL : only_reader(p, s->out[0]);
    if (!d || d->late || !is_type(d, "Conv") || !d->in[1]->constant || (s->in[2] && !s->in[2]->constant) || conv_shape(d, d->in[0], d->in[1], c) != OK) return NULL;
    return c->channels == 1 && c->group == c->outputs && c->in[0] == 1 && c->out[0] == 1 && c->kernel[0] == 1 && !c->pad[0] ? d : NULL;
}

PairCut pair_cut(const Plan *p, const Step *s, const MultiplyShape *shape)
{
    ConvShape c;
    const Kernels *kernels;
    if (shape->groups != 1 || winograd_choose(shape) || find_kernels(&kernels) != OK || !depthwise_behind(p, s, &c)) return (PairCut){ 0 };
    double all = (double)shape->weights.rows * shape->k, nonzeros = p->options.dense ? all : (double)packed_nonzeros(&shape->weights, 1, shape->k, p->threads);
    return choose_cut(&c, shape->weights.rows, nonzeros / all, p->threads, kernels->sizes.strip);
}

static void run_item(const Pair *pair, const MultiplyRun *product, const MultiplyRun *depthwise, int64_t item, float *scratch)
{
    const Multiply *m = pair->product;
    const DepthwiseConv *d = pair->depthwise;
    int band = (int)(item / pair->parts % pair->bands), chunk = (int)(item % pair->parts) * pair->part_chunks, width = d->window.in[1];
    DepthwiseArea a = { .w = d->w, .plane = pair->plane, .first = band_start(&d->shape, band, pair->bands), .end = band_start(&d->shape, band + 1, pair->bands),
                        .image = item / pair->parts / pair->bands };
    a.height = rows_seen(&d->shape, a.first, a.end, &a.top);
    MultiplyArea area = { .image = a.image, .n0 = (int64_t)a.top * width, .n = (int64_t)a.height * width, .first_chunk = chunk,
                          .chunks = least(m->packed.chunks - chunk, pair->part_chunks), .y = scratch + PANEL_COLUMNS, .ld = pair->plane };
    area.scratch = scratch + (size_t)(pair->part_chunks * m->packed.chunk_rows) * pair->plane;
    multiply_area(m, product, &area);
    for (int i = 0, rows = multiply_area_rows(m, &area); i < rows; i += a.n) {
        a.x = area.y + (size_t)i * pair->plane;
        a.m = chunk * m->packed.chunk_rows + i;
        a.n = least(rows - i, d->together);
        posts_apply(d->kernels, &product->posts, &(PostArea){ area.y, (size_t)i * pair->plane, pair->plane, a.n, (int)area.n });
        depthwise_area(d, depthwise, &a);
    }
}

static Err run_pair(Plan *plan, Step *s)
{
    const Pair *pair = s->state;
    MultiplyRun product = pair->run, depthwise = conv_operands_of(s, pair->depthwise->bias, true);
    Share share;
    product.x = s->in[0]->data;
    share_start(&share, pair->product->shape.batch * pair->bands * pair->parts, plan->threads);
    #pragma omp parallel num_threads(plan->threads) if (plan->threads > 1)
    for (int64_t i, thread = omp_get_thread_num(); share_next(&share, (int)thread, &i); )
        run_item(pair, &product, &depthwise, i, (float *)(void *)s->scratch + pair->own * (size_t)thread);
    return OK;
}

/* `second` does what `first` did and reads what it read. */
static Err join(Plan *p, Step *first, Step *second, const PairCut *cut)
{
    const PanelConv *product = conv_panels(first);
    const Multiply *m = &product->columns.multiply;
    Pair *pair;
    TRY(plan_array(p, 1, sizeof *pair, &pair));
    *pair = (Pair){ .product = m, .depthwise = conv_depthwise(second), .bands = cut->bands, .part_chunks = cut->part_rows / m->packed.chunk_rows };
    pair->run = conv_operands_of(first, product->bias, false);
    pair->parts = ceil_div(m->packed.chunks, pair->part_chunks);
    pair->plane = plane_of(&pair->depthwise->shape, cut->height);
    pair->own = (size_t)cut->part_rows * pair->plane + multiply_area_scratch(m, pair->part_chunks);
    second->in[0] = first->in[0];
    second->state = pair;
    second->run = run_pair;
    second->scratch_bytes = pair->own * (size_t)p->threads * sizeof(float);
    second->variant = first->variant;
    second->joined = first;
    p->step[first->at] = NULL;
    close_gaps(p);
    return OK;
}

Err pairs_join(Plan *p)
{
    for (int i = 0; i < p->n_step; i++) {
        ConvShape c;
        const PanelConv *product = conv_panels(p->step[i]);
        const Multiply *m = product ? &product->columns.multiply : NULL;
        if (!product || !product->cut.part_rows || variant_is_winograd(product->columns.variant) || m->together > 1) continue;
        Step *second = depthwise_behind(p, p->step[i], &c);
        if (!second || !conv_depthwise(second)) continue;
        const PairCut cut = choose_cut(&c, m->shape.weights.rows, product->cut.density, p->threads, m->packed.chunk_rows);
        if (cut.part_rows) TRY(join(p, p->step[i--], second, &cut));
    }
    return OK;
}
