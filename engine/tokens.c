#include "engine/tokens.h"
#include <omp.h>
#include <string.h>

/* As in engine/multiply.c: blocks for L1, tokens and features at once for L2. With fewer tokens than a register holds, sparse products waste most of it. */
enum { DENSE_BLOCK = 384, DENSE_TOKENS = 96, SPARSE_PANEL_ROWS = 112, SPARSE_FEATURES = 384, SPARSE_TOKENS = 8, LINE = 64 };
static const double SPARSE_FROM = 0.4;

static int ceil_div(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
}

static size_t to_line(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static Weights part_weights(const Tokens *t, int part)
{
    Weights w = t->weights;
    int first = part * t->part_rows, left = w.rows - first;
    w.w += (size_t)first * w.row;
    w.rows = left < t->part_rows ? left : t->part_rows;
    return w;
}

static int block_end(const Tokens *t, int b)
{
    int end = (b + 1) * t->block;
    return end < t->k ? end : t->k;
}

static size_t unit_bytes(const Tokens *t, const Weights *w, int b)
{
    int k0 = b * t->block, k1 = block_end(t, b);
    if (!t->sparse)
        return weights_dense_count(w, k0, k1, t->kernels->sizes.tile) * sizeof(float);
    return to_line((size_t)w->rows * sizeof(SparseHead) + weights_nonzeros(w, k0, k1) * SPARSE_BYTES);
}

void tokens_plan(Tokens *t, MultiplyChoice choice)
{
    double zeros = choice == MULTIPLY_AUTO ? 1 - (double)weights_nonzeros(&t->weights, 0, t->k) / ((double)t->weights.rows * t->k) : 0;
    t->sparse = choice == MULTIPLY_SPARSE || (choice == MULTIPLY_AUTO && zeros >= SPARSE_FROM && t->tokens >= SPARSE_TOKENS);
    t->blocks = ceil_div(t->k, t->sparse ? SPARSE_PANEL_ROWS : DENSE_BLOCK);
    t->block = ceil_div(t->k, t->blocks);
    t->blocks = ceil_div(t->k, t->block);
    int rows = t->weights.rows, parts = ceil_div(rows, SPARSE_FEATURES), wanted = t->threads > 1 ? ceil_div(4 * t->threads, ceil_div(t->tokens, PANEL_COLUMNS)) : 1;
    if (parts < wanted)
        parts = wanted < ceil_div(rows, 48) ? wanted : ceil_div(rows, 48);
    t->part_rows = t->sparse ? ceil_div(rows, parts) : t->kernels->sizes.tile;
    t->parts = ceil_div(rows, t->part_rows);
    t->bytes = to_line((size_t)t->parts * (size_t)t->blocks * sizeof *t->at);
    for (int p = 0; p < t->parts; p++) {
        Weights w = part_weights(t, p);
        for (int b = 0; b < t->blocks; b++)
            t->bytes += unit_bytes(t, &w, b);
    }
    size_t own = t->sparse ? (size_t)(t->block + t->part_rows) * PANEL_COLUMNS : DENSE_TOKENS * (size_t)t->kernels->sizes.tile;
    t->scratch = (size_t)t->threads * own * sizeof(float);
}

void tokens_pack(Tokens *t, void *memory)
{
    t->packed = memory;
    t->at = memory;
    size_t at = to_line((size_t)t->parts * (size_t)t->blocks * sizeof *t->at), unit = 0;
    for (int p = 0; p < t->parts; p++) {
        Weights w = part_weights(t, p);
        for (int b = 0; b < t->blocks; b++) {
            int k0 = b * t->block, k1 = block_end(t, b);
            t->at[unit++] = at;
            char *to = t->packed + at;
            if (t->sparse)
                weights_pack_sparse(&w, k0, k1, PANEL_COLUMNS, (SparseHead *)to, (uint8_t *)to + (size_t)w.rows * sizeof(SparseHead));
            else
                weights_pack_dense(&w, k0, k1, t->kernels->sizes.tile, (float *)to);
            at += unit_bytes(t, &w, b);
        }
    }
}

/* One tile of features of DENSE_TOKENS tokens. */
static void run_dense(const Tokens *t, const MultiplyRun *run, int part, int64_t first, float *scratch)
{
    int rows = t->weights.rows, width = t->kernels->sizes.tile, f = part * width;
    size_t k = (size_t)t->k;
    int64_t left = t->tokens - first;
    PanelOutput o = { .bias_of_columns = true, .columns = rows - f < width ? rows - f : width, .bias = run->bias ? run->bias + f : NULL,
                      .y = run->y + (size_t)first * (size_t)rows + f, .ld = (size_t)rows, .lo = run->lo, .hi = run->hi, .partial = scratch };
    for (int b = 0; b < t->blocks; b++) {
        int k0 = b * t->block;
        DensePart d = { .w = run->x + (size_t)first * k + k0, .pitch = (size_t)t->kernels->sizes.strip * k, .row = k, .step = 1,
                        .rows = (int)(left < DENSE_TOKENS ? left : DENSE_TOKENS), .k = block_end(t, b) - k0,
                        .panel = (const float *)(t->packed + t->at[part * t->blocks + b]) };
        o.first = b == 0;
        o.last = b == t->blocks - 1;
        t->kernels->dense_f32(&d, &o);
        if (o.last)
            posts_apply(t->kernels, &run->posts, &(PostArea) { run->y, (size_t)first * (size_t)rows + (size_t)f, (size_t)rows, d.rows, o.columns });
    }
}

/* A part of the features of PANEL_COLUMNS tokens; the result is gathered transposed in scratch. */
static void run_sparse(const Tokens *t, const MultiplyRun *run, int part, int64_t first, float *scratch)
{
    int rows = t->weights.rows, f = part * t->part_rows, own = rows - f < t->part_rows ? rows - f : t->part_rows;
    int64_t left = t->tokens - first;
    int n = (int)(left < PANEL_COLUMNS ? left : PANEL_COLUMNS);
    float *panel = scratch, *sums = scratch + (size_t)t->block * PANEL_COLUMNS;
    PanelOutput o = { .columns = (n + 7) / 8 * 8, .bias = run->bias ? run->bias + f : NULL, .y = sums, .ld = PANEL_COLUMNS, .lo = run->lo, .hi = run->hi,
                      .partial = sums };
    memset(panel, 0, (size_t)t->block * PANEL_COLUMNS * sizeof *panel);
    for (int b = 0; b < t->blocks; b++) {
        int k0 = b * t->block;
        const SparseHead *head = (const SparseHead *)(t->packed + t->at[part * t->blocks + b]);
        t->kernels->transpose_f32(run->x + (size_t)first * (size_t)t->k + k0, (size_t)t->k, n, block_end(t, b) - k0, panel, PANEL_COLUMNS);
        o.first = b == 0;
        o.last = b == t->blocks - 1;
        t->kernels->sparse_f32(&(SparsePart) { head, own, (const uint8_t *)(head + own), panel }, &o);
    }
    size_t y = (size_t)first * (size_t)rows + (size_t)f;
    t->kernels->transpose_f32(sums, PANEL_COLUMNS, own, n, run->y + y, (size_t)rows);
    posts_apply(t->kernels, &run->posts, &(PostArea) { run->y, y, (size_t)rows, n, own });
}

void tokens_run(const Tokens *t, const MultiplyRun *run)
{
    int64_t at_once = t->sparse ? PANEL_COLUMNS : DENSE_TOKENS, items = (t->tokens + at_once - 1) / at_once * t->parts;
    size_t own = t->scratch / (size_t)t->threads / sizeof(float);
    #pragma omp parallel for schedule(dynamic) num_threads(t->threads) if (t->threads > 1)
    for (int64_t i = 0; i < items; i++) {
        float *scratch = (float *)run->scratch + own * (size_t)omp_get_thread_num();
        if (t->sparse)
            run_sparse(t, run, (int)(i % t->parts), i / t->parts * at_once, scratch);
        else
            run_dense(t, run, (int)(i % t->parts), i / t->parts * at_once, scratch);
    }
}
