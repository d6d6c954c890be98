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
static const double TRIP = 8;     /* multiplications that take as long as writing an element to memory and reading it back */

typedef struct Pair {
    const Multiply *product;
    const Planes *planes;
    MultiplyRun run;               /* of the product, but for x */
    int bands, parts, part_chunks;
    size_t plane, own;             /* floats: from plane to plane of a band, and the scratch of a thread */
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

/* Floats from plane to plane of a band, with room for what is computed on either side. An odd number of lines: what lies a power of two apart shares few sets of a
 * cache. */
static size_t plane_of(const PanelWindow *w, int height) { return (size_t)(ceil_div(height * w->in[1] + 2 * PANEL_COLUMNS, LINE) | 1) * LINE; }

/* The cut that should take the slowest thread the least time, unless what is computed twice takes more than is saved. Parts have a multiple of `unit` rows. */
static PairCut choose_cut(const PanelWindow *w, const MultiplyShape *product, double density, int threads, int unit)
{
    PairCut best = { .density = density };
    const int rows = product->weights.rows;
    double least_cost = (double)w->in[0] * w->in[1] * (rows * (density + TRIP / product->k) + PACK) * product->batch / threads;
    for (int bands = 1; bands <= w->out[0] && bands <= 64; bands++) {
        int height = highest_band(w, bands);
        for (int part = ceil_div(rows, unit) * unit; part > 0; part -= unit) {
            int64_t items = (int64_t)bands * ceil_div(rows, part) * product->batch;
            double cost = (double)ceil_div(items, threads) * (double)(height * w->in[1] + (bands > 1) * PANEL_COLUMNS) * (least(rows, part) * density + PACK);
            if (cost >= least_cost || (size_t)part * plane_of(w, height) * sizeof(float) > BUFFER) continue;
            least_cost = cost;
            best = (PairCut){ part, bands, height, density };
        }
    }
    return best;
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
    return choose_cut(&w, shape, density, p->threads, kernels->sizes.strip);
}

PanelWindow planes_window(const Planes *p, const PlaneArea *a, size_t *y)
{
    PanelWindow g = p->window;
    *y = ((size_t)(a->image * p->outputs + a->m) * (size_t)g.out[0] + (size_t)a->first) * (size_t)g.out[1];
    g.plane = a->plane;
    g.in[0] = a->height;
    g.out[0] = a->end - a->first;
    g.pad[0] += a->top - a->first * g.stride[0];
    return g;
}

static void run_item(const Pair *pair, const MultiplyRun *product, const MultiplyRun *second, int64_t item, float *scratch)
{
    const Multiply *m = pair->product;
    const Planes *planes = pair->planes;
    const PanelWindow *w = &planes->window;
    int band = (int)(item / pair->parts % pair->bands), chunk = (int)(item % pair->parts) * pair->part_chunks, width = w->in[1];
    PlaneArea a = { .plane = pair->plane, .first = band_start(w, band, pair->bands), .end = band_start(w, band + 1, pair->bands),
                    .image = item / pair->parts / pair->bands };
    a.height = rows_seen(w, a.first, a.end, &a.top);
    MultiplyArea area = { .image = a.image, .n0 = (int64_t)a.top * width, .n = (int64_t)a.height * width, .first_chunk = chunk,
                          .chunks = least(m->packed.chunks - chunk, pair->part_chunks), .y = scratch + PANEL_COLUMNS, .ld = pair->plane };
    area.scratch = scratch + (size_t)(pair->part_chunks * m->packed.chunk_rows) * pair->plane;
    multiply_area(m, product, &area);
    for (int i = 0, rows = multiply_area_rows(m, &area); i < rows; i += a.n) {
        a.x = area.y + (size_t)i * pair->plane;
        a.m = chunk * m->packed.chunk_rows + i;
        a.n = least(rows - i, planes->together);
        posts_apply(m->packed.kernels, &product->posts, &(PostArea){ area.y, (size_t)i * pair->plane, pair->plane, a.n, (int)area.n });
        planes->area(planes, second, &a);
    }
}

static Err run_pair(Plan *plan, Step *s)
{
    const Pair *pair = s->state;
    MultiplyRun product = pair->run, second = conv_operands_of(s, pair->planes->bias, true);
    Share share;
    product.x = s->in[0]->data;
    share_start(&share, pair->product->shape.batch * pair->bands * pair->parts, plan->threads);
    #pragma omp parallel num_threads(plan->threads) if (plan->threads > 1)
    for (int64_t i, thread = omp_get_thread_num(); share_next(&share, (int)thread, &i); )
        run_item(pair, &product, &second, i, (float *)(void *)s->scratch + pair->own * (size_t)thread);
    return OK;
}

/* `second` does what `first` did and reads what it read. */
static Err join(Plan *p, Step *first, Step *second, const PairCut *cut)
{
    const PanelConv *product = conv_panels(first);
    const Multiply *m = &product->columns.multiply;
    Pair *pair;
    TRY(plan_array(p, 1, sizeof *pair, &pair));
    *pair = (Pair){ .product = m, .planes = second->planes, .bands = cut->bands, .part_chunks = cut->part_rows / m->packed.chunk_rows };
    pair->run = conv_operands_of(first, product->bias, false);
    pair->parts = ceil_div(m->packed.chunks, pair->part_chunks);
    pair->plane = plane_of(&pair->planes->window, cut->height);
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
        PanelWindow w;
        const PanelConv *product = conv_panels(p->step[i]);
        const Multiply *m = product ? &product->columns.multiply : NULL;
        if (!product || !product->cut.part_rows || variant_is_winograd(product->columns.variant) || m->together > 1) continue;
        Step *second = planes_behind(p, p->step[i], &w);
        if (!second || !second->planes) continue;
        const PairCut cut = choose_cut(&second->planes->window, &m->shape, product->cut.density, p->threads, m->packed.chunk_rows);
        if (cut.part_rows) TRY(join(p, p->step[i--], second, &cut));
    }
    return OK;
}
