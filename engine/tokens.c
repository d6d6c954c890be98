#include "engine/tokens.h"
#include "engine/pages.h"
#include "engine/share.h"
#include <omp.h>
#include <string.h>

/* As in engine/multiply.c: blocks, tokens and features at once for L2. */
enum { DENSE_BLOCK = 1024, DENSE_TOKENS = 96, SPARSE_FEATURES = 384 };
/* K of which a thread keeps the whole transposed panel for all parts of the same tokens. */
enum { KEPT = 1024 };

/* Each thread keeps the sums of a unit and, to gather from, the tokens in pairs, unless there is only one. */
static void plan_few(Tokens *t)
{
    const Packed *w = &t->packed;
    t->at_once = FEW_TOKENS;
    t->part_chunks = 1;
    t->parts = w->chunks;
    bool pairs = w->form == MULTIPLY_GATHER && t->tokens > 1;
    t->scratch = (size_t)w->threads * (size_t)(FEW_ROWS + (pairs ? w->k : 0)) * FEW_TOKENS * sizeof(float);
}

void tokens_plan(Tokens *t, MultiplyForm form)
{
    Packed *w = &t->packed;
    const PanelSizes *sizes = &w->kernels->sizes;
    w->groups = 1;
    packed_form(w, form);
    if (w->form == MULTIPLY_DENSE) {
        w->width = w->chunk_rows = sizes->tile;
        w->block = DENSE_BLOCK;
    }
    packed_plan(w);
    if (packed_few(w)) {
        plan_few(t);
        return;
    }
    bool sparse = w->form == MULTIPLY_SPARSE;
    t->at_once = sparse ? sizes->sparse : ceil_div(ceil_div(t->tokens, ceil_div(t->tokens, DENSE_TOKENS)), sizes->strip) * sizes->strip;
    int panels = ceil_div(t->tokens, t->at_once), wanted = w->threads > 1 ? ceil_div(4 * w->threads, panels) : 1;
    t->part_chunks = sparse ? least(ceil_div(w->chunks, wanted), SPARSE_FEATURES / w->chunk_rows) : 1;
    t->parts = ceil_div(w->chunks, t->part_chunks);
    t->panel_rows = t->parts > 1 && w->k <= KEPT ? w->k : w->block;
    size_t own = sparse ? (size_t)(t->panel_rows + t->part_chunks * w->chunk_rows) * (size_t)sizes->sparse : (size_t)t->at_once * (size_t)sizes->tile;
    t->scratch = (size_t)w->threads * own * sizeof(float);
}

/* One tile of features of at_once tokens. */
static void run_dense(const Tokens *t, const MultiplyRun *run, int chunk, int64_t first, float *scratch)
{
    const Packed *w = &t->packed;
    int features = w->weights.rows, f = chunk * w->chunk_rows;
    size_t k = (size_t)w->k, y = (size_t)first * (size_t)features + (size_t)f;
    PanelOutput o = { .bias_of_columns = true, .columns = packed_chunk_rows(w, chunk), .bias = run->bias ? run->bias + f : NULL,
                      .y = run->y + y, .ld = (size_t)features, .lo = run->lo, .hi = run->hi, .partial = scratch };
    int rows = least(t->tokens - first, t->at_once);
    for (int b = 0; b < w->blocks; b++) {
        int k0 = b * w->block;
        DensePart d = { .w = run->x + (size_t)first * k + k0, .row = k, .step = 1, .rows = rows,
                        .k = packed_block_end(w, b) - k0, .panel = (const float *)packed_unit(w, 0, b, chunk) };
        o.first = b == 0;
        o.last = b == w->blocks - 1;
        w->kernels->dense_f32(&d, &o);
    }
    posts_apply(w->kernels, &run->posts, &(PostArea) { run->y, y, (size_t)features, rows, o.columns });
}

/* The columns of block b of a panel: transposed into `panel` unless that holds them already, or where x has them. */
static const float *columns_of(const Tokens *t, const MultiplyRun *run, int64_t first, int b, bool packed, float *panel)
{
    const Packed *w = &t->packed;
    size_t k0 = (size_t)b * (size_t)w->block, width = (size_t)t->at_once, k = (size_t)w->k;
    if (t->from_panels)
        return run->x + (size_t)first * k + k0 * width;
    if (t->panel_rows == w->k)
        panel += k0 * width;
    if (!packed || t->panel_rows < w->k)
        w->kernels->transpose_f32(run->x + (size_t)first * k + k0, k, least(t->tokens - first, t->at_once), packed_block_end(w, b) - (int)k0, panel, width);
    return panel;
}

/* A part of the features of as many tokens as a panel has columns, gathered where it stays or in scratch. packed: they were the last ones too. */
static void run_sparse(const Tokens *t, const MultiplyRun *run, int part, int64_t first, bool packed, float *scratch)
{
    const Packed *w = &t->packed;
    int features = w->weights.rows, chunk0 = part * t->part_chunks, end = least(chunk0 + t->part_chunks, w->chunks), f = chunk0 * w->chunk_rows;
    int width = t->at_once, n = least(t->tokens - first, width), own = least(features - f, t->part_chunks * w->chunk_rows);
    size_t y = (size_t)first * (size_t)features + (size_t)(t->to_panels ? f * width : f);
    float *sums = t->to_panels ? run->y + y : scratch + (size_t)t->panel_rows * (size_t)width;
    for (int b = 0; b < w->blocks; b++) {
        const float *panel = columns_of(t, run, first, b, packed, scratch);
        for (int c = chunk0; c < end; c++) {
            float *to = sums + (size_t)(c - chunk0) * (size_t)w->chunk_rows * (size_t)width;
            PanelOutput o = { .first = b == 0, .last = b == w->blocks - 1, .columns = n, .bias = run->bias ? run->bias + (size_t)c * (size_t)w->chunk_rows : NULL,
                              .residual = run->residual ? run->residual + (to - run->y) : NULL, .residual_ld = (size_t)width, .y = to, .ld = (size_t)width,
                              .lo = run->lo, .hi = run->hi, .partial = to };
            SparsePart s = packed_sparse(w, packed_unit(w, 0, b, c), packed_chunk_rows(w, c), panel);
            s.pitch = (size_t)width;
            w->kernels->sparse_f32(&s, &o);
        }
    }
    if (!t->to_panels)
        w->kernels->transpose_f32(sums, (size_t)width, own, n, run->y + y, (size_t)features);
    posts_apply(w->kernels, &run->posts, &(PostArea) { run->y, y, (size_t)(t->to_panels ? width : features), t->to_panels ? own : n, t->to_panels ? n : own });
}

static void to_pairs(const float *x, int tokens, size_t k, float *pairs)
{
    for (int p = 0; 2 * p < tokens; p++, x += 2 * k, pairs += 2 * k) {
        const float *second = 2 * p + 1 < tokens ? x + k : x;
        for (size_t i = 0; i < k; i++) {
            pairs[2 * i] = x[i];
            pairs[2 * i + 1] = second[i];
        }
    }
}

/* One unit of features of at_once tokens. packed: the last ones were of the same tokens. */
static void run_few(const Tokens *t, const MultiplyRun *run, int chunk, int64_t first, bool packed, float *scratch)
{
    const Packed *w = &t->packed;
    int features = w->weights.rows, f = chunk * w->chunk_rows, own = packed_chunk_rows(w, chunk), n = least(t->tokens - first, t->at_once);
    float *sums = scratch, *pairs = scratch + FEW_ROWS * FEW_TOKENS;
    bool gather = w->form == MULTIPLY_GATHER, in_pairs = gather && n > 1;
    const float *x = run->x + (size_t)first * (size_t)w->k;
    size_t y = (size_t)first * (size_t)features + (size_t)f;
    if (in_pairs && !packed)
        to_pairs(x, n, (size_t)w->k, pairs);
    memset(sums, 0, FEW_ROWS * FEW_TOKENS * sizeof *sums);
    for (int b = 0; b < w->blocks; b++) {
        size_t k0 = (size_t)b * (size_t)w->block;
        const FewPart p = { .unit = packed_unit(w, 0, b, chunk), .groups = few_groups(own), .k = packed_block_end(w, b) - (int)k0,
                            .tokens = in_pairs ? (n + 1) / 2 * 2 : n, .x = in_pairs ? pairs + 2 * k0 : x + k0, .ldx = (size_t)w->k * (in_pairs ? 2 : 1) };
        (gather ? w->kernels->gather_f32 : w->kernels->bitmap_f32)(&p, sums);
    }
    for (int r = 0; r < n; r++, sums += FEW_ROWS)
        for (int i = 0; i < own; i++) {
            float sum = sums[i] + (run->bias ? run->bias[f + i] : 0);
            run->y[y + (size_t)r * (size_t)features + (size_t)i] = sum < run->lo ? run->lo : sum > run->hi ? run->hi : sum;
        }
    posts_apply(w->kernels, &run->posts, &(PostArea) { run->y, y, (size_t)features, n, own });
}

/* packed: the item before was of the same tokens. */
static void run_item(const Tokens *t, const MultiplyRun *run, int64_t item, bool packed, float *scratch)
{
    int64_t first = item / t->parts * t->at_once;
    int part = (int)(item % t->parts);
    if (packed_few(&t->packed))
        run_few(t, run, part, first, packed, scratch);
    else if (t->packed.form == MULTIPLY_SPARSE)
        run_sparse(t, run, part, first, packed, scratch);
    else
        run_dense(t, run, part, first, scratch);
}

void tokens_run(const Tokens *t, const MultiplyRun *run)
{
    int threads = t->packed.threads;
    int64_t items = (t->tokens + t->at_once - 1) / t->at_once * t->parts;
    size_t own = t->scratch / (size_t)threads / sizeof(float);
    Share share;
    share_start(&share, items, threads);
    #pragma omp parallel num_threads(threads) if (threads > 1)
    {
        int thread = omp_get_thread_num();
        if (!packed_few(&t->packed)) pages_fetch(t->packed.memory, t->packed.bytes);       /* few tokens wait for the memory itself */
        for (int64_t i, last = -1; share_next(&share, thread, &i); last = i / t->parts)
            run_item(t, run, i, i / t->parts == last, (float *)run->scratch + own * (size_t)thread);
    }
}
