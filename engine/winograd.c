#include "engine/share.h"
#include "engine/winograd.h"
#include <omp.h>
#include <string.h>

enum {
    BLOCK_BYTES = 640 << 10,   /* of a block's transformed input and products of a panel, which are to stay in L2 */
    FEW_TILES = 32,            /* in a block, even if they need more: each block reads all weights */
    LINE = 16,                 /* floats */
};

/* What the choice counts with, measured with AVX-512 on a Zen 4, whose limit is one vector of 16 multiply-adds a cycle: how near products come to it, cycles to
 * transform a tile of 16 channels on the way in or out, bytes of weights a cycle. The last is less than what one thread reaches: threads
 * share the memory, and weights that grow need a reason. */
static const double DIRECT_RATE = 0.85, PRODUCT_RATE = 0.95, TRANSFORM_2 = 150, TRANSFORM_4 = 300, WEIGHT_BYTES = 4.5;

/* Whole cache lines, an odd number: steps by a power of two would fall into few sets of a cache. */
static size_t odd_lines(size_t floats)
{
    return (size_t)(pieces_in((int64_t)floats, LINE) | 1) * LINE;
}

static double direct_cycles(const MultiplyShape *s)
{
    double products = (double)s->k * ceil_div(s->weights.rows, WINOGRAD_LANES);
    return (double)s->batch * (double)s->columns * products / DIRECT_RATE + WINOGRAD_LANES * sizeof(float) * products / WEIGHT_BYTES;
}

static double cycles(const MultiplyShape *s, int m)
{
    double inputs = ceil_div(s->k / 9, WINOGRAD_LANES), outputs = ceil_div(s->weights.rows, WINOGRAD_LANES), products = (m + 2) * (m + 2) * (s->k / 9) * outputs;
    double tiles = (double)s->batch * ceil_div(s->window.out[0], m) * ceil_div(s->window.out[1], m);
    return tiles * (products / PRODUCT_RATE + (inputs + outputs) * (m == 2 ? TRANSFORM_2 : TRANSFORM_4)) + WINOGRAD_LANES * sizeof(float) * products / WEIGHT_BYTES;
}

int winograd_choose(const MultiplyShape *s)
{
    const PanelWindow *g = &s->window;
    for (int i = 0; i < 2; i++)
        if (g->kernel[i] != 3 || g->stride[i] != 1 || g->dilation[i] != 1)
            return 0;
    double direct = direct_cycles(s), two = cycles(s, 2), four = cycles(s, 4);
    return two < four ? two < direct ? 2 : 0 : four < direct ? 4 : 0;
}

/* Where the block's bands are cut, and what its parts need. */
static void plan_blocks(Winograd *w, int across)
{
    int64_t tile_bytes = (int64_t)sizeof(float) * w->positions * (w->channels + WINOGRAD_PANEL), fit = BLOCK_BYTES / tile_bytes;
    int most = fit > FEW_TILES ? (int)fit : FEW_TILES, lanes = WINOGRAD_LANES;
    w->cuts = ceil_div(across, most);
    w->wide = ceil_div(across, w->cuts);
    w->cuts = ceil_div(across, w->wide);
    int64_t bands = (int64_t)w->shape.batch * w->down * w->cuts;
    int together = w->cuts > 1 ? 1 : most / w->wide;
    w->blocks = ceil_div(bands, together);
    int items = w->blocks * w->shape.groups;
    w->shared = items < w->threads;
    if (!w->shared && items < 8 * w->threads && w->cuts == 1) {        /* as many for every thread */
        int more = ceil_div(w->blocks, w->threads) * w->threads;
        w->blocks = least(bands, more);
    }
    int most_bands = ceil_div(bands, w->blocks), window = (most_bands * w->m + 2) * (w->wide * w->m + 2) * lanes;
    w->tiles = most_bands * w->wide;
    w->pitch = odd_lines((size_t)w->channels);
    w->position = odd_lines((size_t)w->tiles * w->pitch);
    w->product = odd_lines((size_t)w->tiles * WINOGRAD_PANEL);
    w->stage = odd_lines((size_t)window);
}

void winograd_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, int m, Winograd *out)
{
    Winograd w = { .shape = *shape, .kernels = kernels, .threads = threads, .m = m, .positions = (m + 2) * (m + 2), .channels = shape->k / 9 };
    w.panels = ceil_div(shape->weights.rows, WINOGRAD_PANEL);
    w.down = ceil_div(shape->window.out[0], m);
    plan_blocks(&w, ceil_div(shape->window.out[1], m));
    size_t input = (size_t)w.positions * w.position, own = (size_t)w.positions * w.product + w.stage;
    w.bytes = (size_t)shape->groups * (size_t)w.panels * (size_t)w.positions * (size_t)w.channels * WINOGRAD_PANEL * sizeof(float);
    w.scratch = ((w.shared ? 1 : (size_t)threads) * input + (size_t)threads * own) * sizeof(float);
    *out = w;
}

static size_t panel_floats(const Winograd *w)
{
    return (size_t)w->positions * (size_t)w->channels * WINOGRAD_PANEL;
}

void winograd_pack(Winograd *w, void *memory)
{
    const Weights *weights = &w->shape.weights;
    float *packed = memory;
    #pragma omp parallel for num_threads(w->threads) if (w->threads > 1)
    for (int i = 0; i < w->shape.groups * w->panels; i++) {
        int group = i / w->panels, first = i % w->panels * WINOGRAD_PANEL;
        const float *from = weights->w + ((size_t)group * (size_t)weights->rows + (size_t)first) * weights->row;
        winograd_weights(w->m, from, weights->row, least(WINOGRAD_PANEL, weights->rows - first), w->channels, packed + (size_t)i * panel_floats(w));
    }
    w->packed = packed;
}

/* What one thread works on. */
typedef struct Work {
    int group;                             /* of an image */
    int64_t band, end;                     /* of the block */
    float *input, *products, *pixels;
} Work;

/* Bands of one image that lie below each other: `bands` bands from row `y` and column `x` of the output on, its first tile in the block. */
typedef struct Run { int64_t image; int bands, y, x, columns, tiles, tile; } Run;

static Run run_at(const Winograd *w, const Work *k, int64_t band)
{
    int cut = (int)(band % w->cuts), row = (int)(band / w->cuts % w->down), left = (int)(k->end - band), across = w->shape.window.out[1];
    Run r = { .image = band / w->cuts / w->down, .y = row * w->m, .x = cut * w->wide * w->m };
    r.bands = w->cuts > 1 ? 1 : least(left, w->down - row);
    r.columns = least(w->wide * w->m, across - r.x);
    r.tiles = ceil_div(r.columns, w->m);
    r.tile = (int)(band - k->band) * w->wide;
    return r;
}

static size_t row_floats(const Winograd *w, const Run *r)
{
    return (size_t)(r->tiles * w->m + 2) * WINOGRAD_LANES;
}

/* The pixels under a run, of up to 16 channels. What lies outside of the image is 0 already. */
static void fetch_pixels(const Winograd *w, const Run *r, const float *x, int channels, float *pixels)
{
    const PanelWindow *g = &w->shape.window;
    int left = r->x - g->pad[1], from = left < 0 ? 0 : left, end = least(g->in[1], left + r->tiles * w->m + 2);
    for (int i = 0; i < r->bands * w->m + 2 && from < end; i++) {
        int y = r->y + i - g->pad[0];
        if (y >= 0 && y < g->in[0])
            w->kernels->interleave_f32(x + (size_t)y * (size_t)g->in[1] + from, g->plane, channels, end - from,
                                       pixels + (size_t)i * row_floats(w, r) + (size_t)(from - left) * WINOGRAD_LANES);
    }
}

static bool at_edge(const Winograd *w, const Run *r)
{
    const PanelWindow *g = &w->shape.window;
    int y = r->y - g->pad[0], x = r->x - g->pad[1];
    return y < 0 || x < 0 || y + r->bands * w->m + 2 > g->in[0] || x + r->tiles * w->m + 2 > g->in[1];
}

/* Transforms channels c0 ... c1 - 1 (c0 a multiple of 16) of the block. */
static void transform_input(const Winograd *w, const MultiplyRun *run, const Work *k, int c0, int c1)
{
    Run r;
    for (int64_t band = k->band; band < k->end; band += r.bands) {
        r = run_at(w, k, band);
        size_t row = row_floats(w, &r), plane = w->shape.window.plane;
        const float *x = run->x + ((size_t)r.image * (size_t)w->shape.groups + (size_t)k->group) * (size_t)w->channels * plane;
        if (at_edge(w, &r))
            memset(k->pixels, 0, (size_t)(r.bands * w->m + 2) * row * sizeof(float));
        for (int c = c0; c < c1; c += WINOGRAD_LANES) {
            fetch_pixels(w, &r, x + (size_t)c * plane, least(WINOGRAD_LANES, c1 - c), k->pixels);
            for (int b = 0; b < r.bands; b++)
                w->kernels->winograd_input_f32(&(WinogradTiles) { .m = w->m, .tiles = r.tiles, .row = row, .position = w->position, .pitch = w->pitch },
                                               k->pixels + (size_t)(b * w->m) * row, k->input + (size_t)(r.tile + b * r.tiles) * w->pitch + c);
        }
    }
}

/* Up to 16 outputs of a group in some rows of an image. */
typedef struct Target { int output, outputs, y, rows; } Target;

/* k->pixels become outputs. Whole rows of an image are one. */
static void finish_pixels(const Winograd *w, const MultiplyRun *run, const Work *k, const Run *r, const Target *t)
{
    int across = w->shape.window.out[1], outputs = w->shape.weights.rows;
    bool whole = r->columns == across;
    size_t row = (size_t)k->group * (size_t)outputs + (size_t)t->output, plane = (size_t)w->shape.columns;
    size_t at = ((size_t)r->image * (size_t)(w->shape.groups * outputs) + row) * plane + (size_t)t->y * (size_t)across + (size_t)r->x;
    PanelOutput o = { .columns = whole ? t->rows * across : r->columns, .bias = run->bias ? run->bias + row : NULL, .ld = plane, .lo = run->lo, .hi = run->hi };
    for (int i = 0; i < (whole ? 1 : t->rows); i++, at += (size_t)across) {
        o.y = run->y + at;
        o.residual = run->residual ? run->residual + at : NULL;
        w->kernels->winograd_finish_f32(k->pixels + (size_t)(i * r->columns) * WINOGRAD_LANES, t->outputs, &o);
        posts_apply(w->kernels, &run->posts, &(PostArea) { run->y, at, plane, t->outputs, o.columns });
    }
}

static void multiply_panel(const Winograd *w, const Work *k, int panel)
{
    Run last = run_at(w, k, k->end - 1);
    WinogradProduct p = { .rows = last.tile + last.tiles, .k = w->channels, .ld = w->pitch };
    p.outputs = least(WINOGRAD_PANEL, w->shape.weights.rows - panel * WINOGRAD_PANEL);
    for (int i = 0; i < w->positions; i++) {
        p.v = k->input + (size_t)i * w->position;
        p.u = w->packed + (size_t)(k->group * w->panels + panel) * panel_floats(w) + (size_t)i * (size_t)w->channels * WINOGRAD_PANEL;
        p.y = k->products + (size_t)i * w->product;
        w->kernels->winograd_product_f32(&p);
    }
}

/* Computes the outputs of a panel from the block's transformed input. */
static void make_outputs(const Winograd *w, const MultiplyRun *run, const Work *k, int panel)
{
    Run r;
    int first = panel * WINOGRAD_PANEL, end = least(w->shape.weights.rows, first + WINOGRAD_PANEL);
    multiply_panel(w, k, panel);
    for (int64_t band = k->band; band < k->end; band += r.bands) {
        r = run_at(w, k, band);
        for (int b = 0; b < r.bands; b++)
            for (int output = first; output < end; output += WINOGRAD_LANES) {
                Target t = { output, least(WINOGRAD_LANES, end - output), r.y + b * w->m, 0 };
                t.rows = least(w->m, w->shape.window.out[0] - t.y);
                WinogradTiles tiles = { w->m, r.tiles, t.rows, r.columns, (size_t)r.columns * WINOGRAD_LANES, w->product, WINOGRAD_PANEL };
                w->kernels->winograd_output_f32(&tiles, k->products + (size_t)(r.tile + b * r.tiles) * WINOGRAD_PANEL + output - first, k->pixels);
                finish_pixels(w, run, k, &r, &t);
            }
    }
}

/* The memory of the calling thread, for block `item` of all groups. */
static Work work_on(const Winograd *w, const MultiplyRun *run, int item)
{
    size_t input = (size_t)w->positions * w->position, products = (size_t)w->positions * w->product, thread = (size_t)omp_get_thread_num();
    int block = item % w->blocks;
    int64_t bands = (int64_t)w->shape.batch * w->down * w->cuts;
    Work k = { .group = item / w->blocks, .band = bands * block / w->blocks, .end = bands * (block + 1) / w->blocks, .input = run->scratch };
    k.products = k.input + (w->shared ? 1 : (size_t)w->threads) * input + thread * (products + w->stage);
    k.pixels = k.products + products;
    if (!w->shared)
        k.input += thread * input;
    return k;
}

static void run_shared(const Winograd *w, const MultiplyRun *run)
{
    #pragma omp parallel num_threads(w->threads)
    for (int item = 0; item < w->shape.groups * w->blocks; item++) {
        Work k = work_on(w, run, item);
        #pragma omp for schedule(dynamic)
        for (int c = 0; c < w->channels; c += WINOGRAD_LANES)
            transform_input(w, run, &k, c, least(w->channels, c + WINOGRAD_LANES));
        #pragma omp for schedule(dynamic)
        for (int panel = 0; panel < w->panels; panel++)
            make_outputs(w, run, &k, panel);
    }
}

void winograd_run(const Winograd *w, const MultiplyRun *run)
{
    if (w->shared) {
        run_shared(w, run);
        return;
    }
    Share share;
    share_start(&share, w->shape.groups * w->blocks, w->threads);
    #pragma omp parallel num_threads(w->threads) if (w->threads > 1)
    for (int64_t item; share_next(&share, omp_get_thread_num(), &item); ) {
        Work k = work_on(w, run, (int)item);
        transform_input(w, run, &k, 0, w->channels);
        for (int panel = 0; panel < w->panels; panel++)
            make_outputs(w, run, &k, panel);
    }
}
