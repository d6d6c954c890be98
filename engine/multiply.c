#include "engine/multiply.h"
#include <omp.h>
#include <string.h>

/* Sizes that were measured, see docs/performance.md: K blocks so that a panel (sparse) or a tile of it (dense) stays in the L1 cache of 32 KiB, rows so that
 * their weights stay in L2 while the tiles of a panel pass. */
enum { DENSE_BLOCK = 384, DENSE_ROWS = 96, SPARSE_PANEL_ROWS = 112, LINE = 64 };
static const double SPARSE_FROM = 0.4;     /* zeros from which the sparse product is the faster one */

static int ceil_div(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
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

void multiply_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, MultiplyChoice choice, Multiply *out)
{
    Multiply m = { .shape = *shape, .kernels = kernels, .threads = threads, .sparse = choose_sparse(shape, choice) };
    m.blocks = ceil_div(shape->k, m.sparse ? SPARSE_PANEL_ROWS : DENSE_BLOCK);
    m.block = ceil_div(shape->k, m.blocks);
    m.blocks = ceil_div(shape->k, m.block);
    m.panels = ceil_div(shape->columns, PANEL_COLUMNS);
    /* Few panels: cut the rows too, for each thread to have a few items. */
    int64_t items = (int64_t)m.panels * shape->batch * shape->groups, wanted = threads > 1 ? 4 * threads : 1;
    int rows = shape->weights.rows, strip = kernels->sizes.strip, most = ceil_div(rows, 8 * strip);
    m.parts = items >= wanted ? 1 : ceil_div(wanted, items);
    m.parts = m.parts < most ? m.parts : most;
    int least = ceil_div(rows, 32768);                         /* a stream numbers its rows in 16 bits */
    m.parts = m.parts > least ? m.parts : least;
    m.part_rows = ceil_div(ceil_div(rows, m.parts), strip) * strip;
    m.parts = ceil_div(rows, m.part_rows);
    m.bytes = to_line(units(&m) * sizeof *m.at);
    for (int g = 0; g < shape->groups; g++)
        for (int p = 0; p < m.parts; p++) {
            Weights w = part_weights(&m, g, p);
            for (int b = 0; b < m.blocks; b++)
                m.bytes += unit_bytes(&m, &w, b);
        }
    m.scratch = (size_t)threads * ((size_t)m.block + (m.blocks > 1 ? (size_t)m.part_rows : 0)) * PANEL_COLUMNS * sizeof(float);
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
    int rows;
    int64_t n0;                            /* first column */
    int n;                                 /* columns */
    const float *x;
    const size_t *at;                      /* of its blocks */
    float *panel, *partial;
} Item;

static void run_dense(const Multiply *m, const Item *it, int b, const PanelOutput *o)
{
    int k = block_end(m, b) - b * m->block, width = m->kernels->sizes.tile, strip = m->kernels->sizes.strip, most = DENSE_ROWS / strip * strip;
    const float *w = (const float *)(m->packed + it->at[b]);
    for (int r = 0; r < it->rows; r += most)
        for (int j = 0; j < it->n; j += width) {
            int rows = it->rows - r < most ? it->rows - r : most;
            DensePart d = { w + (size_t)r * (size_t)k, (size_t)(strip * k), 1, (size_t)strip, rows, k, it->panel + (size_t)j * (size_t)k };
            PanelOutput tile = *o;
            size_t y = (size_t)r * o->ld + (size_t)j;
            tile.columns = it->n - j < width ? it->n - j : width;
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

/* Panel p has its share of the registers of columns, so that none is left with a few. */
static void set_columns(const Multiply *m, int p, Item *it)
{
    int64_t columns = m->shape.columns, n1 = (int64_t)(p + 1) * PANEL_COLUMNS;
    it->n0 = (int64_t)p * PANEL_COLUMNS;
    if (m->sparse) {
        int64_t vectors = (columns + 7) / 8;
        it->n0 = vectors * p / m->panels * 8;
        n1 = vectors * (p + 1) / m->panels * 8;
    }
    it->n = (int)((n1 < columns ? n1 : columns) - it->n0);
}

static void run_item(const Multiply *m, const MultiplyRun *run, int64_t item, float *scratch)
{
    const MultiplyShape *s = &m->shape;
    int part = (int)(item % m->parts), panel = (int)(item / m->parts % m->panels);
    int64_t group = item / m->parts / m->panels, unit = group % s->groups * m->parts + part;       /* group: of all images */
    int rows = s->weights.rows, channels = s->k / (s->window.kernel[0] * s->window.kernel[1]);
    Item it = { .panel = scratch, .partial = scratch + (size_t)m->block * PANEL_COLUMNS, .at = m->at + unit * m->blocks };
    it.rows = rows - part * m->part_rows < m->part_rows ? rows - part * m->part_rows : m->part_rows;
    it.x = run->x + (size_t)group * (size_t)channels * s->window.plane;
    set_columns(m, panel, &it);
    size_t first = (size_t)(part * m->part_rows), y = ((size_t)group * (size_t)rows + first) * (size_t)s->columns + (size_t)it.n0;
    PanelOutput o = { .columns = it.n, .bias = run->bias ? run->bias + (size_t)(group % s->groups) * (size_t)rows + first : NULL,
                      .residual = run->residual ? run->residual + y : NULL, .y = run->y + y, .ld = (size_t)s->columns, .lo = run->lo, .hi = run->hi,
                      .partial = it.partial };
    for (int b = 0; b < m->blocks; b++) {
        PanelPart p = { .k0 = b * m->block, .k1 = block_end(m, b), .n = it.n, .n0 = it.n0, .width = m->sparse ? PANEL_COLUMNS : m->kernels->sizes.tile };
        m->kernels->pack_f32(&s->window, it.x, &p, it.panel);
        o.first = b == 0;
        o.last = b == m->blocks - 1;
        if (m->sparse)
            run_sparse(m, &it, b, &o);
        else
            run_dense(m, &it, b, &o);
    }
    posts_apply(m->kernels, &run->posts, &(PostArea) { run->y, y, o.ld, it.rows, it.n });
}

void multiply_run(const Multiply *m, const MultiplyRun *run)
{
    int64_t items = (int64_t)m->shape.batch * m->shape.groups * m->panels * m->parts;
    size_t own = m->scratch / (size_t)m->threads / sizeof(float);
    #pragma omp parallel for schedule(dynamic) num_threads(m->threads) if (m->threads > 1)
    for (int64_t i = 0; i < items; i++)
        run_item(m, run, i, (float *)run->scratch + own * (size_t)omp_get_thread_num());
}
