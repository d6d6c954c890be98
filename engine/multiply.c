#include "engine/multiply.h"
#include "engine/caches.h"
#include "engine/pages.h"
#include "engine/share.h"
#include <omp.h>
#include <string.h>

/* Sizes that were measured, see bench/README.md: K blocks so that a dense panel stays in the L2 cache and a sparse one in the L1 cache, weights of a chunk so
 * that they stay in L2 while the tiles of a panel pass. */
enum {
    DENSE_BLOCK = 1152, DENSE_WEIGHTS = 64 << 10, DENSE_PANEL = 48,        /* rows of X, floats of W, columns */
    CHUNK = 64,                            /* rows of W */
    PANEL_BUFFER = 96,                     /* floats in a row of a panel, at most: two tiles of 48 */
    MOST_TOGETHER = 1024,                  /* columns of an image, from which images need not share panels */
    MOST_ROWS = 768,                       /* in a part, where results go through a buffer */
    MANY = 8,                              /* items of each thread, of which it does not matter who gets the last one */
    PHASES_ROWS = 256,                     /* more are worth a packed panel, whose loads cross no lines */
    LINE = 16,                             /* floats of a line of the cache */
};

/* Whether rows of X are pixels of the input's channels, every so many-th one. */
static bool takes_pixels(const PanelWindow *g)
{
    for (int i = 0; i < 2; i++)
        if (g->kernel[i] != 1 || g->pad[i] || (int64_t)(g->out[i] - 1) * g->stride[i] >= g->in[i])
            return false;
    return true;
}

/* All of them. */
static bool is_pixelwise(const PanelWindow *g)
{
    return takes_pixels(g) && g->stride[0] == 1 && g->stride[1] == 1 && g->in[0] == g->out[0] && g->in[1] == g->out[1];
}

/* Columns of all images are rows of one matrix. */
static bool has_one_row(const Multiply *m) { return m->shape.batch == 1 || m->together > 1; }

bool multiply_writes_panels(const Multiply *m)
{
    return m->packed.form == MULTIPLY_SPARSE && m->shape.groups == 1 && has_one_row(m);
}

bool multiply_reads_panels(const Multiply *m)
{
    const PanelWindow *g = &m->shape.window;
    return multiply_writes_panels(m) && (is_pixelwise(g) || (takes_pixels(g) && m->shape.batch == 1 && m->packed.threads == 1));
}

size_t multiply_panels_bytes(const Kernels *kernels, int64_t channels, int64_t columns)
{
    return (size_t)(round_up(columns, kernels->sizes.sparse) * channels) * sizeof(float);
}

static int channels_of(const MultiplyShape *s) { return s->k / (s->window.kernel[0] * s->window.kernel[1]); }

/* Panels of all groups and images. */
static int64_t items_of(const Multiply *m)
{
    return (int64_t)m->panels * (m->shape.batch / m->together) * m->shape.groups;
}

/* Few panels: cut the rows too, so that all threads have as many items, or several of them. Each part packs its panel again. */
static void plan_parts(Multiply *m)
{
    const MultiplyShape *s = &m->shape;
    const Packed *w = &m->packed;
    int64_t items = items_of(m);
    int parts = m->together > 1 ? ceil_div(s->weights.rows, MOST_ROWS) : 1;
    while (parts < w->chunks && items * parts % w->threads && items * parts < 4 * w->threads)
        parts++;
    parts = least(parts, w->chunks);
    m->part_chunks = ceil_div(w->chunks, parts);
    m->parts = ceil_div(w->chunks, m->part_chunks);
}

/* Of so many columns. Where a few are left behind whole panels, the last one may have them too. */
static int panels_of(const Packed *w, int64_t columns, bool longer)
{
    const PanelSizes *sizes = &w->kernels->sizes;
    const bool sparse = w->form == MULTIPLY_SPARSE;
    const int width = sparse ? sizes->sparse : DENSE_PANEL, few = sparse ? sizes->sparse_most - width : sizes->few, left = (int)(columns % width);
    return ceil_div(columns, width) - (longer && columns > width && left > 0 && left <= few);
}

static void plan_panels(Multiply *m)
{
    const MultiplyShape *s = &m->shape;
    m->together = s->columns < MOST_TOGETHER ? s->batch : 1;
    m->shape.window.image = (size_t)s->groups * (size_t)channels_of(s) * s->window.plane;
    m->panels = panels_of(&m->packed, s->columns * m->together, true);
    if (m->packed.form == MULTIPLY_SPARSE && m->packed.threads > 1 && items_of(m) < MANY * m->packed.threads)      /* threads share more panels better */
        m->panels = panels_of(&m->packed, s->columns * m->together, false);
}

/* Rows of a chunk of dense weights: parts of as many rows as are wanted have whole chunks, and where threads share rows each gets as many. */
static int dense_chunk(const Multiply *m)
{
    const MultiplyShape *s = &m->shape;
    int strip = m->packed.width, threads = m->packed.threads;
    int most = least(ceil_div(CHUNK, strip), ceil_div(DENSE_WEIGHTS, (int64_t)least(DENSE_BLOCK, s->k) * strip)) * strip;
    while (s->part_rows % most)
        most -= strip;
    if (s->part_rows || items_of(m) >= threads)
        return most;
    int chunks = ceil_div(s->weights.rows, (int64_t)most * threads) * threads;
    return ceil_div(ceil_div(s->weights.rows, chunks), strip) * strip;
}

/* What the scratch memory of a thread begins with: a block of a panel, or the inputs of several. */
static size_t panel_floats(const Multiply *m)
{
    return m->phases.rows ? m->phases.floats : (size_t)m->packed.block * PANEL_BUFFER;
}

/* Rows that an item's buffers have room for: those of sparse weights may lie anywhere in their group. */
static size_t rows_held(const Multiply *m)
{
    return (size_t)(m->packed.form == MULTIPLY_SPARSE ? m->shape.weights.rows : m->part_chunks * m->packed.chunk_rows);
}

void multiply_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, MultiplyForm form, Multiply *out)
{
    Multiply m = { .shape = *shape, .packed = { .weights = shape->weights, .groups = shape->groups, .k = shape->k, .nonzeros = shape->nonzeros, .like = shape->like,
                                              .kernels = kernels, .threads = threads } };
    Packed *w = &m.packed;
    packed_form(w, form);
    w->width = kernels->sizes.strip;
    plan_panels(&m);
    if (w->form == MULTIPLY_DENSE) {
        w->block = DENSE_BLOCK;
        w->chunk_rows = dense_chunk(&m);
    }
    packed_plan(w);
    plan_parts(&m);
    m.fetches = (size_t)shape->batch * m.shape.window.image * sizeof(float) > (size_t)threads * l2_bytes();
    if (w->form == MULTIPLY_DENSE && w->blocks == 1 && m.together == 1 && shape->weights.rows <= PHASES_ROWS)
        m.phases = phases_plan(&m.shape.window, channels_of(shape), kernels);
    m.scratch = (size_t)threads * (panel_floats(&m) + rows_held(&m) * (size_t)((w->blocks > 1) + (m.together > 1)) * PANEL_BUFFER) * sizeof(float);
    *out = m;
}

/* One part of the rows of one panel. */
typedef struct Item {
    int first_chunk, chunks, first_row, rows;      /* of the group; first_row: what y and bias begin with */
    const uint16_t *order;                 /* NULL, or the numbers of the rows: they lie apart */
    int64_t group;                         /* of all images; of the first one, when they share panels */
    int64_t n0;                            /* first column */
    int n;                                 /* columns */
    const float *x;
    PanelWindow window;                    /* the product's, or as the channels of x lie */
    int number;                            /* of the panel */
    Layout x_lies, y_lies;
    PhasesHeld *held;
    float *panel, *partial;
    const float *columns, *behind;         /* of the current block: the sparse panel, and where columns beyond its width lie */
    const float *at[PANEL_COLUMNS / PANEL_VECTOR];     /* with phases, instead of a panel */
    const int32_t *offset;
    const float *matrix;                   /* where the columns of the current block lie, if the first chunk packs them while it multiplies */
    PanelAhead ahead;                      /* what is packed after the current block */
} Item;

/* The tiles of a chunk. Fields are set one by one: what is copied as a whole right after parts of it were stored waits for them. */
static void run_dense(const Multiply *m, const Item *it, DensePart *d, PanelOutput *o)
{
    const int width = m->packed.kernels->sizes.tile;
    const bool fill = d->x;
    for (int j = 0; j < it->n; j += width) {
        d->panel = it->panel + (size_t)j * (size_t)d->k;
        d->fill = fill ? it->panel + (size_t)j * (size_t)d->k : NULL;
        d->at = it->offset ? it->at + j / PANEL_VECTOR : NULL;
        o->columns = least(width, it->n - j);
        m->packed.kernels->dense_f32(d, o);
        if (fill) d->x += width;
        if (o->residual) o->residual += width;
        o->y += width;
        o->partial += (size_t)width * (size_t)d->rows;
    }
}

/* The share of a chunk. */
static PanelAhead ahead_of(const Item *it, int chunk)
{
    if (!it->ahead.at) return (PanelAhead) { 0 };
    int first = it->ahead.rows * chunk / it->chunks, end = it->ahead.rows * (chunk + 1) / it->chunks;
    return (PanelAhead) { it->ahead.at + (size_t)first * it->ahead.pitch, it->ahead.pitch, end - first, it->ahead.lines };
}

/* Of the rows of partial sums: no longer than it must be, as they go through the caches once more for each K block. */
static size_t partial_pitch(const Packed *w, const Item *it)
{
    return w->form == MULTIPLY_SPARSE ? (size_t)round_up(it->n, PANEL_VECTOR) : PANEL_BUFFER;
}

/* From row `first` on. */
static PanelOutput rows_from(const PanelOutput *o, size_t first, size_t pitch)
{
    PanelOutput part = *o;
    part.bias = o->bias ? o->bias + first : NULL;
    part.residual = o->residual ? o->residual + first * o->residual_ld : NULL;
    part.y += first * o->ld;
    if (o->behind.residual) part.behind.residual += first * o->behind.residual_ld;
    if (o->behind.y) part.behind.y += first * o->behind.ld;
    part.partial += first * pitch;
    return part;
}

static void run_chunk(const Multiply *m, const Item *it, int b, int chunk, const PanelOutput *o)
{
    const Packed *w = &m->packed;
    int k = packed_block_end(w, b) - b * w->block, rows = packed_chunk_rows(w, it->first_chunk + chunk);
    const char *unit = packed_unit(w, (int)(it->group % w->groups), b, it->first_chunk + chunk);
    PanelOutput part = rows_from(o, w->order ? 0 : (size_t)chunk * (size_t)w->chunk_rows, partial_pitch(w, it));
    const PanelAhead ahead = ahead_of(it, chunk);
    if (w->form == MULTIPLY_DENSE) {
        run_dense(m, it, &(DensePart) { .w = (const float *)unit, .packed = true, .rows = rows, .k = k, .x = chunk ? NULL : it->matrix,
                                        .ldx = it->window.plane, .offset = it->offset, .ahead = ahead }, &part);
        return;
    }
    SparsePart s = packed_sparse(w, unit, rows, it->columns);
    s.behind = it->behind;
    s.pitch = partial_pitch(w, it);
    s.ahead = ahead;
    w->kernels->sparse_f32(&s, &part);
}

/* Panel p of so many columns: whole ones, the last panel takes what is left. Sparse: where threads have few panels and as many as each other, all of these have as
 * many vectors, so that no thread waits. */
static void set_columns(const Multiply *m, int64_t columns, int panels, int p, Item *it)
{
    const Packed *w = &m->packed;
    int64_t width = w->form == MULTIPLY_SPARSE ? w->kernels->sizes.sparse : DENSE_PANEL, vectors = (columns + 7) / 8, items = items_of(m);
    bool even = w->form == MULTIPLY_SPARSE && w->threads > 1 && items % w->threads == 0 && items < MANY * w->threads;
    int64_t n1 = even ? vectors * (p + 1) / panels * 8 : width * (p + 1);
    it->n0 = even ? vectors * p / panels * 8 : width * p;
    it->n = (int)((p + 1 < panels ? n1 : columns) - it->n0);
}

/* The input of block b for the panel that begins with column n0: for each channel, what the last tap reads, as the others have been read for the panel before. Only
 * where inputs lie like outputs: of layers with strides there is more to fetch, which takes as long here as there. */
static PanelAhead inputs_of(const Multiply *m, const Item *it, int b, int64_t n0)
{
    const PanelWindow *g = &it->window;
    const int taps = g->kernel[0] * g->kernel[1], first = b * m->packed.block / taps, end = ceil_div(packed_block_end(&m->packed, b), taps);
    const int64_t down = (int64_t)(g->kernel[0] - 1) * g->dilation[0] - g->pad[0], right = (int64_t)(g->kernel[1] - 1) * g->dilation[1] - g->pad[1];
    const int64_t columns = m->shape.columns;
    if (g->stride[0] != 1 || g->stride[1] != 1 || g->in[1] != g->out[1] || n0 >= columns * m->together)
        return (PanelAhead) { 0 };
    const float *at = it->x + (size_t)(n0 / columns) * g->image + (size_t)first * g->plane + n0 % columns + down * g->in[1] + right;
    return (PanelAhead) { at, g->plane, end - first, ceil_div(it->n, LINE) };
}

/* Whether rows of X are rows of the input, and the item's whole vectors of a matrix. */
static bool is_matrix(const Multiply *m, const Item *it)
{
    return is_pixelwise(&it->window) && m->packed.form == MULTIPLY_DENSE && m->together == 1 && it->n % PANEL_VECTOR == 0 && it->rows >= m->packed.kernels->sizes.strip;
}

/* Rows of X from p.k0 to p.k1. Of a sparse panel, columns beyond its width lie behind it. */
static void pack_panel(const Multiply *m, Item *it, PanelPart p)
{
    const Kernels *kernels = m->packed.kernels;
    const PanelSizes *sizes = &kernels->sizes;
    const bool sparse = m->packed.form == MULTIPLY_SPARSE;
    p.width = sparse ? sizes->sparse : sizes->tile;
    p.n = sparse ? least(it->n, sizes->sparse) : it->n;
    kernels->pack_f32(&it->window, it->x, &p, it->panel);
    float *behind = it->panel + (size_t)(p.k1 - p.k0) * (size_t)p.width;
    it->columns = it->panel;
    it->behind = behind;
    if (p.n == it->n) return;
    p.n0 += p.n;
    p.n = it->n - p.n;
    p.width = sizes->sparse_most - sizes->sparse;
    kernels->pack_f32(&it->window, it->x, &p, behind);
}

/* Where rows of columns lie in a value: from row to row, and those columns beyond a panel's width. */
typedef struct Rows { size_t at, ld, behind, behind_ld; } Rows;

/* Row-major: they follow the others. */
static Rows rows_plain(const Multiply *m, size_t at, size_t ld)
{
    return (Rows) { at, ld, at + (size_t)m->packed.kernels->sizes.sparse, ld };
}

/* Rows from `first` on of panel `number` of so many channels IN_PANELS. */
static Rows rows_in_panel(const Multiply *m, int number, int channels, int first)
{
    const size_t width = (size_t)m->packed.kernels->sizes.sparse, more = (size_t)m->packed.kernels->sizes.sparse_most - width;
    const size_t panel = (size_t)number * width * (size_t)channels;
    return (Rows) { panel + (size_t)first * width, width, panel + (size_t)channels * width + (size_t)first * more, more };
}

/* Pixels of the panel's columns from j on that lie side by side IN_PANELS, with a stride: how many, where those of channel k0 begin, and from channel to channel. */
typedef struct Strided { int n; size_t at, pitch; } Strided;

static Strided strided_at(const Multiply *m, const Item *it, int k0, int j)
{
    const PanelWindow *g = &m->shape.window;
    const int width = m->packed.kernels->sizes.sparse, most = m->packed.kernels->sizes.sparse_most;
    const int panels = panels_of(&m->packed, (int64_t)g->in[0] * g->in[1], true), column = (int)((it->n0 + j) % g->out[1]);
    const int64_t pixel = (it->n0 + j) / g->out[1] * g->stride[0] * g->in[1] + (int64_t)column * g->stride[1];
    const int number = least(pixel / width, panels - 1), at = (int)(pixel - (int64_t)number * width), end = at < width ? width : most;
    const Rows rows = rows_in_panel(m, number, m->packed.k, k0);
    const int n = least(g->out[1] - column, ceil_div(end - at, g->stride[1]));
    return at < width ? (Strided) { n, rows.at + (size_t)at, rows.ld } : (Strided) { n, rows.behind + (size_t)(at - width), rows.behind_ld };
}

/* As pack_panel, of what lies IN_PANELS. */
static void pack_strided(const Multiply *m, Item *it, int k0, int k1)
{
    const int width = m->packed.kernels->sizes.sparse, more = m->packed.kernels->sizes.sparse_most - width, stride = m->shape.window.stride[1];
    float *behind = it->panel + (size_t)(k1 - k0) * (size_t)width;
    for (int j = 0, n; j < it->n; j += n) {
        const Strided from = strided_at(m, it, k0, j);
        const float *x = it->x + from.at;
        float *to = j < width ? it->panel + j : behind + j - width;
        n = least((j < width ? least(it->n, width) : it->n) - j, from.n);
        for (int k = k0; k < k1; k++, x += from.pitch, to += j < width ? width : more)
            for (int i = 0; i < n; i++) to[i] = x[i * stride];
    }
    it->columns = it->panel;
    it->behind = behind;
}

/* Rows k0 ... k1 - 1 of X, which lie IN_PANELS. */
static void take_panel(const Multiply *m, Item *it, int k0, int k1)
{
    const Rows rows = rows_in_panel(m, it->number, m->packed.k, k0);
    if (!is_pixelwise(&m->shape.window)) {
        pack_strided(m, it, k0, k1);
        return;
    }
    it->columns = it->x + rows.at;
    it->behind = it->x + rows.behind;
}

/* What is prefetched while block b runs: the next one's input, or the next panel's. Lines IN_PANELS follow each other and need no hint (Zen 5: 1.5 % less time). */
static PanelAhead ahead_of_block(const Multiply *m, const Item *it, int b)
{
    if (it->x_lies == IN_PANELS || !m->fetches) return (PanelAhead) { 0 };
    return b + 1 < m->packed.blocks ? inputs_of(m, it, b + 1, it->n0) : inputs_of(m, it, 0, it->n0 + it->n);
}

static void run_blocks(const Multiply *m, Item *it, PanelOutput *o)
{
    const bool matrix = is_matrix(m, it);
    const Packed *w = &m->packed;
    for (int b = 0; b < w->blocks; b++) {
        const PanelPart p = { .k0 = b * w->block, .k1 = packed_block_end(w, b), .n0 = it->n0 };
        it->matrix = matrix ? it->x + (size_t)p.k0 * it->window.plane + (size_t)it->n0 : NULL;
        if (m->phases.rows)
            it->offset = phases_hold(&m->phases, it->x, it->n0, it->n, it->held, it->at);
        else if (it->x_lies == IN_PANELS)
            take_panel(m, it, p.k0, p.k1);
        else if (!matrix)
            pack_panel(m, it, p);
        it->ahead = ahead_of_block(m, it, b);
        o->first = b == 0;
        o->last = b == w->blocks - 1;
        for (int c = 0; c < it->chunks; c++)
            run_chunk(m, it, b, c, o);
    }
}

/* Where results go, and what is added to them (NULL: nothing) comes from. */
static void set_outputs(const Multiply *m, float *y, Rows to, const float *residual, Rows from, PanelOutput *o)
{
    const bool longer = o->columns > m->packed.kernels->sizes.sparse;
    o->y = y + to.at;
    o->ld = to.ld;
    if (longer) o->behind.y = y + to.behind;
    o->behind.ld = to.behind_ld;
    if (!residual) return;
    o->residual = residual + from.at;
    o->residual_ld = from.ld;
    if (longer) o->behind.residual = residual + from.behind;
    o->behind.residual_ld = from.behind_ld;
}

static int row_of(const Item *it, int r) { return it->order ? it->order[r] : r; }

/* From row to row of what lies so. */
static size_t columns_of(const Multiply *m, Layout lies) { return (size_t)(m->shape.columns * (lies == BY_CHANNEL ? m->shape.batch : 1)); }

/* The n columns of the item from j on that lie in one image, or anywhere where all of them are one row; where they start in y. */
static int piece_at(const Multiply *m, const Item *it, Layout lies, int j, size_t *y)
{
    if (lies == BY_CHANNEL) {
        *y = ((size_t)it->group * (size_t)m->shape.weights.rows + (size_t)it->first_row) * columns_of(m, lies) + (size_t)(it->n0 + j);
        return it->n - j;
    }
    int64_t columns = m->shape.columns, image = (it->n0 + j) / columns, pixel = (it->n0 + j) % columns;
    *y = ((size_t)(image * m->shape.groups + it->group) * (size_t)m->shape.weights.rows + (size_t)it->first_row) * (size_t)columns + (size_t)pixel;
    return least(it->n - j, (int)(columns - pixel));
}

static void finish_item(const Multiply *m, const MultiplyRun *run, const Item *it, size_t y, int n)
{
    const size_t columns = columns_of(m, it->y_lies);
    const int together = it->order ? 1 : it->rows;
    for (int r = 0; run->posts.n && r < it->rows; r += together)
        posts_apply(m->packed.kernels, &run->posts, &(PostArea) { run->y, y + (size_t)row_of(it, r) * columns, columns, together, n });
}

/* Columns of several images lie apart in y: they are computed in a buffer, which also brings the residual. */
static void run_pieces(const Multiply *m, const MultiplyRun *run, Item *it, PanelOutput *o)
{
    size_t y, columns = (size_t)m->shape.columns;
    float *buffer = it->partial + (m->packed.blocks > 1 ? rows_held(m) * PANEL_BUFFER : 0);
    for (int j = 0, n; run->residual && j < it->n; j += n) {
        n = piece_at(m, it, BY_IMAGE, j, &y);
        for (int r = 0; r < it->rows; r++)
            memcpy(buffer + row_of(it, r) * PANEL_BUFFER + j, run->residual + y + (size_t)row_of(it, r) * columns, (size_t)n * sizeof *buffer);
    }
    const Rows rows = rows_plain(m, 0, PANEL_BUFFER);
    set_outputs(m, buffer, rows, run->residual ? buffer : NULL, rows, o);
    run_blocks(m, it, o);
    for (int j = 0, n; j < it->n; j += n) {
        n = piece_at(m, it, BY_IMAGE, j, &y);
        for (int r = 0; r < it->rows; r++)
            memcpy(run->y + y + (size_t)row_of(it, r) * columns, buffer + row_of(it, r) * PANEL_BUFFER + j, (size_t)n * sizeof *buffer);
        finish_item(m, run, it, y, n);
    }
}

/* Where the item's rows lie in a value of the product's rows. */
static Rows rows_of(const Multiply *m, const Item *it, Layout lies)
{
    size_t at;
    if (lies == IN_PANELS) return rows_in_panel(m, it->number, m->shape.weights.rows, it->first_row);
    piece_at(m, it, lies, 0, &at);
    return rows_plain(m, at, columns_of(m, lies));
}

static void run_item(const Multiply *m, const MultiplyRun *run, int64_t item, PhasesHeld *held)
{
    const MultiplyShape *s = &m->shape;
    int part = (int)(item % m->parts);
    Item it = { .held = held, .panel = held->memory, .partial = held->memory + panel_floats(m), .first_chunk = part * m->part_chunks };
    it.group = item / m->parts / m->panels;
    it.chunks = least(m->part_chunks, m->packed.chunks - it.first_chunk);
    const int first = it.first_chunk * m->packed.chunk_rows;
    it.rows = least(it.chunks * m->packed.chunk_rows, s->weights.rows - first);
    it.first_row = m->packed.order ? 0 : first;
    it.order = m->packed.order ? m->packed.order + it.group % s->groups * s->weights.rows + first : NULL;
    it.window = s->window;
    if (run->x_lies == BY_CHANNEL) {
        it.window.image = s->window.plane;
        it.window.plane *= (size_t)s->batch;
    }
    it.x = run->x + (size_t)it.group * (size_t)channels_of(s) * it.window.plane;
    it.x_lies = run->x_lies;
    it.y_lies = run->y_lies;
    it.number = (int)(item / m->parts % m->panels);
    set_columns(m, s->columns * m->together, m->panels, it.number, &it);
    size_t rows = (size_t)s->weights.rows, y;
    PanelOutput o = { .columns = it.n, .bias = run->bias ? run->bias + (size_t)(it.group % s->groups) * rows + (size_t)it.first_row : NULL,
                      .lo = run->lo, .hi = run->hi, .partial = it.partial };
    if (run->y_lies == BY_IMAGE && piece_at(m, &it, BY_IMAGE, 0, &y) < it.n) {
        run_pieces(m, run, &it, &o);
        return;
    }
    set_outputs(m, run->y, rows_of(m, &it, run->y_lies), run->residual, rows_of(m, &it, run->residual_lies), &o);
    run_blocks(m, &it, &o);
    finish_item(m, run, &it, (size_t)(o.y - run->y), it.n);
}

void multiply_run(const Multiply *m, const MultiplyRun *run)
{
    int64_t items = items_of(m) * m->parts;
    size_t own = m->scratch / (size_t)m->packed.threads / sizeof(float);
    Share share;
    share_start(&share, items, m->packed.threads);
    #pragma omp parallel num_threads(m->packed.threads) if (m->packed.threads > 1)
    {
        int thread = omp_get_thread_num();
        pages_fetch(m->packed.memory, m->packed.bytes);
        PhasesHeld held = { .memory = (float *)run->scratch + own * (size_t)thread };
        for (int64_t i; share_next(&share, thread, &i); )
            run_item(m, run, i, &held);
    }
}

int multiply_area_rows(const Multiply *m, const MultiplyArea *a)
{
    return least((int64_t)a->chunks * m->packed.chunk_rows, m->shape.weights.rows - a->first_chunk * m->packed.chunk_rows);
}

size_t multiply_area_scratch(const Multiply *m, int chunks)
{
    return panel_floats(m) + (m->packed.blocks > 1 ? (size_t)chunks * (size_t)m->packed.chunk_rows * PANEL_BUFFER : 0);
}

void multiply_area(const Multiply *m, const MultiplyRun *run, const MultiplyArea *a)
{
    const MultiplyShape *s = &m->shape;
    PhasesHeld held = { .memory = a->scratch };
    Item it = { .held = &held, .panel = a->scratch, .partial = a->scratch + panel_floats(m), .first_chunk = a->first_chunk, .chunks = a->chunks,
                .group = a->image, .x = run->x + (size_t)a->image * (size_t)channels_of(s) * s->window.plane, .window = s->window };
    it.first_row = a->first_chunk * m->packed.chunk_rows;
    it.rows = multiply_area_rows(m, a);
    const float *bias = run->bias ? run->bias + (size_t)(a->image % s->groups) * (size_t)s->weights.rows + (size_t)it.first_row : NULL;
    const int panels = panels_of(&m->packed, a->n, true);
    for (int p = 0; p < panels; p++) {
        set_columns(m, a->n, panels, p, &it);
        const int64_t at = it.n0;
        it.n0 += a->n0;
        PanelOutput o = { .columns = it.n, .bias = bias, .lo = run->lo, .hi = run->hi, .partial = it.partial };
        const Rows rows = rows_plain(m, (size_t)at, a->ld);
        set_outputs(m, a->y, rows, a->residual, rows, &o);
        run_blocks(m, &it, &o);
    }
}
