#include "engine/multiply.h"
#include <omp.h>
#include <string.h>

/* Sizes that were measured, see bench/README.md: K blocks so that a dense panel stays in the L2 cache and a sparse one in the L1 cache, weights so that they stay in
 * L2 while the tiles of a panel pass. */
enum {
    DENSE_BLOCK = 2304, DENSE_WEIGHTS = 64 << 10, DENSE_PANEL = 48,        /* rows of X, floats of W, columns */
    SPARSE_BLOCK_ROWS = 112,
    PANEL_BUFFER = 96,                     /* floats in a row of a panel, at most: two tiles of 48 */
    MOST_TOGETHER = 1024,                  /* columns of an image, from which images need not share panels */
    MOST_ROWS = 768,                       /* in a part, where results go through a buffer */
    LINE = 64
};
static const double SPARSE_FROM = 0.4;     /* zeros from which the sparse product is the faster one */

static int ceil_div(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static size_t to_line(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static Weights part_weights(const Multiply *m, int group, int part)
{
    Weights w = m->shape.weights;
    int first = part * m->part_rows, left = w.rows - first;
    w.w += ((size_t)group * (size_t)w.rows + (size_t)first) * w.row;
    w.rows = left < m->part_rows ? left : m->part_rows;
    return w;
}

static int block_end(const Multiply *m, int b)
{
    int end = (b + 1) * m->block;
    return end < m->shape.k ? end : m->shape.k;
}

static size_t unit_bytes(const Multiply *m, const Weights *w, int b)
{
    int k0 = b * m->block, k1 = block_end(m, b);
    if (!m->sparse)
        return to_line(weights_dense_count(w, k0, k1, m->kernels->sizes.strip) * sizeof(float));
    return to_line((size_t)w->rows * sizeof(SparseHead) + weights_nonzeros(w, k0, k1) * SPARSE_BYTES);
}

static size_t units(const Multiply *m)
{
    return (size_t)m->shape.groups * (size_t)m->parts * (size_t)m->blocks;
}

static bool choose_sparse(const MultiplyShape *s, MultiplyChoice choice)
{
    if (choice != MULTIPLY_AUTO)
        return choice == MULTIPLY_SPARSE;
    size_t nonzeros = 0;
    for (int g = 0; g < s->groups; g++) {
        Weights w = s->weights;
        w.w += (size_t)g * (size_t)w.rows * w.row;
        nonzeros += weights_nonzeros(&w, 0, s->k);
    }
    return (double)nonzeros <= (1 - SPARSE_FROM) * (double)s->groups * s->weights.rows * s->k;
}

/* Few panels: cut the rows too, for each thread to have a few items. */
static void plan_parts(Multiply *m)
{
    const MultiplyShape *s = &m->shape;
    int64_t items = (int64_t)m->panels * (s->batch / m->together) * s->groups, wanted = m->threads > 1 ? 4 * m->threads : 1;
    int rows = s->weights.rows, strip = m->kernels->sizes.strip, most = ceil_div(rows, 8 * strip);
    m->parts = items >= wanted ? 1 : ceil_div(wanted, items);
    m->parts = least(m->parts, most);
    int fewest = ceil_div(rows, m->together > 1 ? MOST_ROWS : 32768);      /* a stream numbers its rows in 16 bits */
    m->parts = m->parts > fewest ? m->parts : fewest;
    m->part_rows = ceil_div(ceil_div(rows, m->parts), strip) * strip;
    m->parts = ceil_div(rows, m->part_rows);
}

static void plan_panels(Multiply *m)
{
    const MultiplyShape *s = &m->shape;
    m->together = s->columns < MOST_TOGETHER ? s->batch : 1;
    m->window = s->window;
    m->window.image = (size_t)s->groups * (size_t)(s->k / (s->window.kernel[0] * s->window.kernel[1])) * s->window.plane;
    int64_t columns = s->columns * m->together;
    if (m->sparse) {
        m->panels = ceil_div(columns, PANEL_COLUMNS);
        return;
    }
    int left = (int)(columns % DENSE_PANEL);
    m->panels = ceil_div(columns, DENSE_PANEL) - (columns > DENSE_PANEL && left > 0 && left <= m->kernels->sizes.few);
}

void multiply_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, MultiplyChoice choice, Multiply *out)
{
    Multiply m = { .shape = *shape, .kernels = kernels, .threads = threads, .sparse = choose_sparse(shape, choice) };
    m.blocks = ceil_div(shape->k, m.sparse ? SPARSE_BLOCK_ROWS : DENSE_BLOCK);
    m.block = ceil_div(shape->k, m.blocks);
    m.blocks = ceil_div(shape->k, m.block);
    plan_panels(&m);
    plan_parts(&m);
    m.bytes = to_line(units(&m) * sizeof *m.at);
    for (int g = 0; g < shape->groups; g++)
        for (int p = 0; p < m.parts; p++) {
            Weights w = part_weights(&m, g, p);
            for (int b = 0; b < m.blocks; b++)
                m.bytes += unit_bytes(&m, &w, b);
        }
    size_t rows = (size_t)m.block + (m.blocks > 1 ? (size_t)m.part_rows : 0) + (m.together > 1 ? (size_t)m.part_rows : 0);
    m.scratch = (size_t)threads * rows * PANEL_BUFFER * sizeof(float);
    *out = m;
}

void multiply_pack(Multiply *m, void *memory)
{
    m->packed = memory;
    m->at = memory;
    size_t at = to_line(units(m) * sizeof *m->at), unit = 0;
    for (int g = 0; g < m->shape.groups; g++)
        for (int p = 0; p < m->parts; p++) {
            Weights w = part_weights(m, g, p);
            for (int b = 0; b < m->blocks; b++) {
                int k0 = b * m->block, k1 = block_end(m, b);
                m->at[unit++] = at;
                char *to = m->packed + at;
                if (m->sparse)
                    weights_pack_sparse(&w, k0, k1, PANEL_COLUMNS, (SparseHead *)to, (uint8_t *)to + (size_t)w.rows * sizeof(SparseHead));
                else
                    weights_pack_dense(&w, k0, k1, m->kernels->sizes.strip, (float *)to);
                at += unit_bytes(m, &w, b);
            }
        }
}

/* One part of the rows of one panel. */
typedef struct Item {
    int rows, first_row;                   /* of the group */
    int64_t group;                         /* of all images; of the first one, when they share panels */
    int64_t n0;                            /* first column */
    int n;                                 /* columns */
    const float *x;
    const size_t *at;                      /* of its blocks */
    float *panel, *partial;
} Item;

static void run_dense(const Multiply *m, const Item *it, int b, const PanelOutput *o)
{
    int k = block_end(m, b) - b * m->block, width = m->kernels->sizes.tile, strip = m->kernels->sizes.strip;
    int most = it->n <= width ? it->rows : ceil_div(DENSE_WEIGHTS, (int64_t)k * strip) * strip;
    const float *w = (const float *)(m->packed + it->at[b]);
    for (int r = 0; r < it->rows; r += most)
        for (int j = 0; j < it->n; j += width) {
            DensePart d = { .w = w + (size_t)r * (size_t)k, .packed = true, .rows = least(most, it->rows - r), .k = k, .panel = it->panel + (size_t)j * (size_t)k };
            PanelOutput tile = *o;
            size_t y = (size_t)r * o->ld + (size_t)j;
            tile.columns = least(width, it->n - j);
            tile.bias = o->bias ? o->bias + r : NULL;
            tile.residual = o->residual ? o->residual + y : NULL;
            tile.y = o->y + y;
            tile.partial = o->partial + (size_t)j * (size_t)it->rows + (size_t)r * (size_t)width;
            m->kernels->dense_f32(&d, &tile);
        }
}

static void run_sparse(const Multiply *m, const Item *it, int b, const PanelOutput *o)
{
    const SparseHead *head = (const SparseHead *)(m->packed + it->at[b]);
    m->kernels->sparse_f32(&(SparsePart) { head, it->rows, (const uint8_t *)(head + it->rows), it->panel }, o);
}

/* Sparse: panel p has its share of the vectors of columns, so that none is left with a few. Dense: whole tiles, the last panel takes what is left. */
static void set_columns(const Multiply *m, int p, Item *it)
{
    int64_t columns = m->shape.columns * m->together, n1 = (int64_t)(p + 1) * DENSE_PANEL;
    it->n0 = (int64_t)p * DENSE_PANEL;
    if (m->sparse) {
        int64_t vectors = (columns + 7) / 8;
        it->n0 = vectors * p / m->panels * 8;
        n1 = vectors * (p + 1) / m->panels * 8;
    }
    it->n = (int)((p + 1 < m->panels ? n1 : columns) - it->n0);
}

static void pack_panel(const Multiply *m, const Item *it, int b)
{
    PanelPart p = { .k0 = b * m->block, .k1 = block_end(m, b), .n = it->n, .n0 = it->n0, .width = m->sparse ? PANEL_COLUMNS : m->kernels->sizes.tile };
    m->kernels->pack_f32(&m->window, it->x, &p, it->panel);
}

static void run_blocks(const Multiply *m, const Item *it, PanelOutput *o)
{
    for (int b = 0; b < m->blocks; b++) {
        pack_panel(m, it, b);
        o->first = b == 0;
        o->last = b == m->blocks - 1;
        if (m->sparse)
            run_sparse(m, it, b, o);
        else
            run_dense(m, it, b, o);
    }
}

/* The n columns of the item from j on that lie in one image; where they start in y. */
static int piece_at(const Multiply *m, const Item *it, int j, size_t *y)
{
    int64_t columns = m->shape.columns, image = (it->n0 + j) / columns, pixel = (it->n0 + j) % columns;
    *y = ((size_t)(image * m->shape.groups + it->group) * (size_t)m->shape.weights.rows + (size_t)it->first_row) * (size_t)columns + (size_t)pixel;
    return least(it->n - j, (int)(columns - pixel));
}

static void finish_item(const Multiply *m, const MultiplyRun *run, const Item *it, size_t y, int n)
{
    posts_apply(m->kernels, &run->posts, &(PostArea) { run->y, y, (size_t)m->shape.columns, it->rows, n });
}

/* Columns of several images lie apart in y: they are computed in a buffer, which also brings the residual. */
static void run_pieces(const Multiply *m, const MultiplyRun *run, const Item *it, PanelOutput *o)
{
    size_t y, columns = (size_t)m->shape.columns;
    float *buffer = it->partial + (m->blocks > 1 ? (size_t)m->part_rows * PANEL_BUFFER : 0);
    for (int j = 0, n; run->residual && j < it->n; j += n) {
        n = piece_at(m, it, j, &y);
        for (int r = 0; r < it->rows; r++)
            memcpy(buffer + r * PANEL_COLUMNS + j, run->residual + y + (size_t)r * columns, (size_t)n * sizeof *buffer);
    }
    o->y = buffer;
    o->ld = PANEL_COLUMNS;
    o->residual = run->residual ? buffer : NULL;
    run_blocks(m, it, o);
    for (int j = 0, n; j < it->n; j += n) {
        n = piece_at(m, it, j, &y);
        for (int r = 0; r < it->rows; r++)
            memcpy(run->y + y + (size_t)r * columns, buffer + r * PANEL_COLUMNS + j, (size_t)n * sizeof *buffer);
        finish_item(m, run, it, y, n);
    }
}

static void run_item(const Multiply *m, const MultiplyRun *run, int64_t item, float *scratch)
{
    const MultiplyShape *s = &m->shape;
    int part = (int)(item % m->parts), channels = s->k / (s->window.kernel[0] * s->window.kernel[1]);
    Item it = { .panel = scratch, .partial = scratch + (size_t)m->block * PANEL_BUFFER, .first_row = part * m->part_rows };
    it.group = item / m->parts / m->panels;
    it.at = m->at + (it.group % s->groups * m->parts + part) * m->blocks;
    it.rows = least(m->part_rows, s->weights.rows - it.first_row);
    it.x = run->x + (size_t)it.group * (size_t)channels * s->window.plane;
    set_columns(m, (int)(item / m->parts % m->panels), &it);
    size_t rows = (size_t)s->weights.rows, y = ((size_t)it.group * rows + (size_t)it.first_row) * (size_t)s->columns + (size_t)it.n0;
    PanelOutput o = { .columns = it.n, .bias = run->bias ? run->bias + (size_t)(it.group % s->groups) * rows + (size_t)it.first_row : NULL,
                      .lo = run->lo, .hi = run->hi, .partial = it.partial };
    if (m->together > 1) {
        run_pieces(m, run, &it, &o);
        return;
    }
    o.residual = run->residual ? run->residual + y : NULL;
    o.y = run->y + y;
    o.ld = (size_t)s->columns;
    run_blocks(m, &it, &o);
    finish_item(m, run, &it, y, it.n);
}

void multiply_run(const Multiply *m, const MultiplyRun *run)
{
    int64_t items = (int64_t)m->shape.batch / m->together * m->shape.groups * m->panels * m->parts;
    size_t own = m->scratch / (size_t)m->threads / sizeof(float);
    #pragma omp parallel for schedule(dynamic) num_threads(m->threads) if (m->threads > 1)
    for (int64_t i = 0; i < items; i++)
        run_item(m, run, i, (float *)run->scratch + own * (size_t)omp_get_thread_num());
}
