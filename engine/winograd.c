#include "engine/share.h"
#include "engine/winograd.h"
#include <math.h>
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

/* m 0: none fits. */
static WinogradForm form_of(const MultiplyShape *s, int m)
{
    const PanelWindow *g = &s->window;
    bool square = g->kernel[0] == g->kernel[1] && g->stride[0] == g->stride[1] && g->dilation[0] == 1 && g->dilation[1] == 1;
    return square ? winograd_form(m, g->kernel[0], g->stride[0]) : (WinogradForm) { 0 };
}

/* With a stride of 2 weights grow ninefold (3 x 3 taps). They may take so many times the memory of what the layer reads and writes. */
enum { MOST_WEIGHTS = 3 };

static double cycles(const MultiplyShape *s, int m)
{
    const WinogradForm f = form_of(s, m);
    if (!f.m)
        return INFINITY;
    int channels = s->k / (f.kernel * f.kernel);
    double inputs = ceil_div((int64_t)channels * f.stride * f.stride, WINOGRAD_LANES) * winograd_step(&f, channels), outputs = ceil_div(s->weights.rows, WINOGRAD_LANES);
    double products = (double)channels * winograd_products(&f) * outputs;
    double values = (double)s->batch * ((double)channels * s->window.in[0] * s->window.in[1] + s->weights.rows * (double)s->columns);
    if (f.stride > 1 && products * WINOGRAD_LANES > MOST_WEIGHTS * values)
        return INFINITY;
    double tiles = (double)s->batch * ceil_div(s->window.out[0], m) * ceil_div(s->window.out[1], m);
    return tiles * (products / PRODUCT_RATE + (inputs + outputs) * (m == 2 ? TRANSFORM_2 : TRANSFORM_4)) + WINOGRAD_LANES * sizeof(float) * products / WEIGHT_BYTES;
}

int winograd_choose(const MultiplyShape *s)
{
    double direct = direct_cycles(s), two = cycles(s, 2), four = cycles(s, 4);
    return two < four ? two < direct ? 2 : 0 : four < direct ? 4 : 0;
}

/* Gathered pixels along an axis under so many tiles. */
static int seen_by(const Winograd *w, int tiles) { return (tiles * w->form.m + w->form.r - 1) * w->apart; }

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
    int most_bands = ceil_div(bands, w->blocks), window = seen_by(w, most_bands) * seen_by(w, w->wide) * lanes;
    w->tiles = most_bands * w->wide;
    w->pitch = odd_lines((size_t)w->channels);
    w->position = odd_lines((size_t)w->tiles * w->pitch);
    w->product = odd_lines((size_t)w->tiles * WINOGRAD_PANEL);
    w->stage = odd_lines((size_t)window);
}

/* Of weights. */
static size_t panel_floats(const Winograd *w)
{
    return (size_t)winograd_products(&w->form) * (size_t)w->inputs * WINOGRAD_PANEL;
}

void winograd_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, int m, Winograd *out)
{
    Winograd w = { .shape = *shape, .kernels = kernels, .threads = threads, .form = form_of(shape, m) };
    w.positions = w.form.a * w.form.a;
    w.inputs = shape->k / (w.form.kernel * w.form.kernel);
    w.channels = w.inputs * w.form.stride * w.form.stride;
    w.step = winograd_step(&w.form, w.inputs);
    w.apart = w.form.stride / w.step;
    w.panels = ceil_div(shape->weights.rows, WINOGRAD_PANEL);
    w.down = ceil_div(shape->window.out[0], m);
    plan_blocks(&w, ceil_div(shape->window.out[1], m));
    size_t input = (size_t)w.positions * w.position, own = (size_t)w.positions * w.product + w.stage;
    w.bytes = (size_t)shape->groups * (size_t)w.panels * panel_floats(&w) * sizeof(float);
    w.scratch = ((w.shared ? 1 : (size_t)threads) * input + (size_t)threads * own) * sizeof(float);
    *out = w;
}

void winograd_pack(Winograd *w, void *memory)
{
    const Weights *weights = &w->shape.weights;
    float *packed = memory;
    #pragma omp parallel for num_threads(w->threads) if (w->threads > 1)
    for (int i = 0; i < w->shape.groups * w->panels; i++) {
        int group = i / w->panels, first = i % w->panels * WINOGRAD_PANEL;
        const float *from = weights->w + ((size_t)group * (size_t)weights->rows + (size_t)first) * weights->row;
        winograd_weights(&w->form, from, weights->row, least(WINOGRAD_PANEL, weights->rows - first), w->inputs, packed + (size_t)i * panel_floats(w));
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
    Run r = { .image = band / w->cuts / w->down, .y = row * w->form.m, .x = cut * w->wide * w->form.m };
    r.bands = w->cuts > 1 ? 1 : least(left, w->down - row);
    r.columns = least(w->wide * w->form.m, across - r.x);
    r.tiles = ceil_div(r.columns, w->form.m);
    r.tile = (int)(band - k->band) * w->wide;
    return r;
}

static size_t row_floats(const Winograd *w, const Run *r) { return (size_t)seen_by(w, r->tiles) * WINOGRAD_LANES; }

/* Of n gathered pixels, from those that pixel `at` of the output sees on: the first that lies in the image, and the first behind it. */
typedef struct Inside { int from, end; } Inside;
static Inside inside_of(const Winograd *w, int axis, int phase, int at, int n)
{
    const PanelWindow *g = &w->shape.window;
    int first = at * g->stride[axis] + phase - g->pad[axis];
    int from = first < 0 ? ceil_div(-first, w->step) : 0, end = first < g->in[axis] ? ceil_div(g->in[axis] - first, w->step) : 0;
    return (Inside) { least(from, n), least(end, n) };
}

/* What lies in the lanes under a run, channels of one phase or of several: where in a group pixel 0 of each would be, and which of its pixels lie in the image. */
typedef struct Lanes { int n; int64_t at[WINOGRAD_LANES]; Inside down[WINOGRAD_LANES], across[WINOGRAD_LANES]; } Lanes;

static Lanes lanes_of(const Winograd *w, const Run *r, int c, int n)
{
    const PanelWindow *g = &w->shape.window;
    Lanes lanes = { .n = n };
    for (int l = 0; l < n; l++) {
        int phase = (c + l) / w->inputs, down = winograd_phase_down(phase), across = winograd_phase_across(phase, w->step);
        int64_t y = (int64_t)r->y * g->stride[0] + down - g->pad[0], x = (int64_t)r->x * g->stride[1] + across - g->pad[1];
        lanes.at[l] = (int64_t)((c + l) % w->inputs) * (int64_t)g->plane + y * g->in[1] + x;
        lanes.down[l] = inside_of(w, 0, down, r->y, seen_by(w, r->bands));
        lanes.across[l] = inside_of(w, 1, across, r->x, seen_by(w, r->tiles));
    }
    return lanes;
}

/* Images of few channels are what the network reads, from memory: rows are prefetched that come two rows later. Phases beside each other read the same ones. */
static void fetch_ahead(const Winograd *w, const Lanes *lanes, const float *const *row, int pixels)
{
    const size_t later = 2 * (size_t)w->step * (size_t)w->shape.window.in[1];
    for (int l = 0; l < lanes->n; l++)
        for (int i = 0; row[l] && (l == 0 || row[l] != row[l - 1] + 1) && i < pixels * w->step; i += LINE) __builtin_prefetch(row[l] + later + i);
}

/* Pixels part.from ... part.end - 1 of row i, 0 in lanes where one of them lies outside. */
static void fetch_part(const Winograd *w, const Lanes *lanes, const float *x, int i, Inside part, float *pixels)
{
    const float *row[WINOGRAD_LANES] = { 0 };
    if (part.from >= part.end)
        return;
    for (int l = 0; l < lanes->n; l++)
        if (i >= lanes->down[l].from && i < lanes->down[l].end && part.from >= lanes->across[l].from && part.end <= lanes->across[l].end)
            row[l] = x + (lanes->at[l] + ((int64_t)i * w->shape.window.in[1] + part.from) * w->step);
    if (w->inputs < WINOGRAD_LANES) fetch_ahead(w, lanes, row, part.end - part.from);
    w->kernels->interleave_f32(row, w->step, part.end - part.from, pixels + (size_t)part.from * WINOGRAD_LANES);
}

/* The pixels under a run, of up to 16 lanes; 0 outside of the image. Phases begin and end at most one pixel apart. */
static void fetch_pixels(const Winograd *w, const Run *r, const float *x, int c, int n, float *pixels)
{
    const Lanes lanes = lanes_of(w, r, c, n);
    Inside one = inside_of(w, 1, 0, r->x, seen_by(w, r->tiles)), other = inside_of(w, 1, w->step - 1, r->x, seen_by(w, r->tiles));
    Inside any = { least(one.from, other.from), (int)greater(one.end, other.end) }, all = { (int)greater(one.from, other.from), least(one.end, other.end) };
    for (int i = 0; i < seen_by(w, r->bands); i++, pixels += row_floats(w, r)) {
        memset(pixels, 0, (size_t)any.from * WINOGRAD_LANES * sizeof *pixels);
        memset(pixels + any.end * WINOGRAD_LANES, 0, (size_t)(seen_by(w, r->tiles) - any.end) * WINOGRAD_LANES * sizeof *pixels);
        fetch_part(w, &lanes, x, i, (Inside) { any.from, all.from }, pixels);
        fetch_part(w, &lanes, x, i, all, pixels);
        fetch_part(w, &lanes, x, i, (Inside) { all.end, any.end }, pixels);
    }
}

/* Transforms lanes c ... c + n - 1 of a run from its pixels. */
static void transform_run(const Winograd *w, const Run *r, const Work *k, int c)
{
    size_t row = row_floats(w, r);
    const WinogradTiles tiles = { .m = w->form.m, .r = w->form.r, .tiles = r->tiles, .row = row * (size_t)w->apart, .step = w->apart,
                                  .position = w->position, .pitch = w->pitch };
    for (int b = 0; b < r->bands; b++)
        for (int phase = 0; phase < w->apart * w->apart; phase++) {
            int y = b * w->form.m * w->apart + winograd_phase_down(phase), x = winograd_phase_across(phase, w->apart);
            w->kernels->winograd_input_f32(&tiles, k->pixels + (size_t)y * row + (size_t)(x * WINOGRAD_LANES),
                                           k->input + (size_t)(r->tile + b * r->tiles) * w->pitch + phase * w->inputs + c);
        }
}

/* Transforms lanes c0 ... c1 - 1 (c0 a multiple of 16) of the block. */
static void transform_input(const Winograd *w, const MultiplyRun *run, const Work *k, int c0, int c1)
{
    Run r;
    for (int64_t band = k->band; band < k->end; band += r.bands) {
        r = run_at(w, k, band);
        const float *x = run->x + ((size_t)r.image * (size_t)w->shape.groups + (size_t)k->group) * (size_t)w->inputs * w->shape.window.plane;
        for (int c = c0; c < c1; c += WINOGRAD_LANES) {
            fetch_pixels(w, &r, x, c, least(WINOGRAD_LANES, c1 - c), k->pixels);
            transform_run(w, &r, k, c);
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
    PanelOutput o = { .columns = whole ? t->rows * across : r->columns, .bias = run->bias ? run->bias + row : NULL, .residual_ld = plane, .ld = plane,
                      .lo = run->lo, .hi = run->hi };
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
    WinogradProduct p = { .rows = last.tile + last.tiles, .ld = w->pitch, .u = w->packed + (size_t)(k->group * w->panels + panel) * panel_floats(w) };
    p.outputs = least(WINOGRAD_PANEL, w->shape.weights.rows - panel * WINOGRAD_PANEL);
    for (int i = 0; i < w->positions; i++) {
        const WinogradPhases phases = winograd_phases(&w->form, i);
        p.k = (phases.end - phases.first) * w->inputs;
        p.v = k->input + (size_t)i * w->position + phases.first * w->inputs;
        p.y = k->products + (size_t)i * w->product;
        w->kernels->winograd_product_f32(&p);
        p.u += (size_t)p.k * WINOGRAD_PANEL;
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
                Target t = { output, least(WINOGRAD_LANES, end - output), r.y + b * w->form.m, 0 };
                t.rows = least(w->form.m, w->shape.window.out[0] - t.y);
                WinogradTiles tiles = { .m = w->form.m, .r = w->form.r, .tiles = r.tiles, .rows = t.rows, .columns = r.columns,
                                        .row = (size_t)r.columns * WINOGRAD_LANES, .position = w->product, .pitch = WINOGRAD_PANEL };
                w->kernels->winograd_output_f32(&tiles, k->products + (size_t)(r.tile + b * r.tiles) * WINOGRAD_PANEL + output - first, k->pixels);
                finish_pixels(w, run, k, &r, &t);
            }
    }
}

/* Of all that is gathered. */
static int lanes_in(const Winograd *w) { return w->inputs * w->step * w->step; }

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
        for (int c = 0; c < lanes_in(w); c += WINOGRAD_LANES)
            transform_input(w, run, &k, c, least(lanes_in(w), c + WINOGRAD_LANES));
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
        transform_input(w, run, &k, 0, lanes_in(w));
        for (int panel = 0; panel < w->panels; panel++)
            make_outputs(w, run, &k, panel);
    }
}
