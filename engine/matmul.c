#include "engine/matmul.h"
#include "kernels/whole.h"
#include <math.h>
#include <omp.h>

/* A tile of B that stays in the L2 cache, and rows of A that use it before it is packed again. */
enum { BLOCK = 1024, ROWS = 192, LINE = 16 };

static int blocks_of(const Matmul *p)
{
    return ceil_div(p->k, BLOCK);
}

static int block_of(const Matmul *p)
{
    return ceil_div(p->k, blocks_of(p));
}

size_t matmul_scratch(const Matmul *p)
{
    size_t tile = (size_t)p->kernels->sizes.tile, rows = (size_t)least(p->m, ROWS);
    return ((size_t)block_of(p) + (blocks_of(p) > 1 ? rows : 0)) * tile + LINE;
}

void matmul_pack(const Matmul *p, const float *b, const PanelPart *part, float *panel)
{
    int rows = part->k1 - part->k0;
    if (p->b_column != 1) {
        p->kernels->transpose_f32(b + (size_t)part->n0 * p->b_column + (size_t)part->k0, p->b_column, part->n, rows, panel, (size_t)part->width);
        return;
    }
    const PanelWindow matrix = panel_matrix(p->n, p->b_row);
    p->kernels->pack_f32(&matrix, b, part, panel);
}

/* Rows i0 ... i0 + rows - 1 of Y. */
static void run_rows(const Matmul *p, const float *a, const float *b, float *y, float *scratch)
{
    int tile = p->kernels->sizes.tile, block = block_of(p);
    float *partial = scratch + (size_t)block * (size_t)tile;
    for (int j = 0; j < p->n; j += tile)
        for (int k = 0; k < p->k; k += block) {
            const PanelPart part = { .k0 = k, .k1 = least(k + block, p->k), .n = least(p->n - j, tile), .width = tile, .n0 = j };
            const DensePart d = { .w = a + (size_t)k * p->a_column, .row = p->a_row, .step = p->a_column,
                                  .rows = p->m, .k = part.k1 - k, .panel = scratch };
            const PanelOutput o = { .first = k == 0, .last = part.k1 == p->k, .columns = part.n, .y = y + j, .ld = p->ldy, .lo = -INFINITY, .hi = INFINITY,
                                    .partial = partial };
            matmul_pack(p, b, &part, scratch);
            p->kernels->dense_f32(&d, &o);
        }
}

/* One product, in the calling thread. */
static void matmul_one(const Matmul *p, const float *a, const float *b, float *y, float *scratch)
{
    for (int i = 0; i < p->m; i += ROWS) {
        Matmul part = *p;
        part.m = least(p->m - i, ROWS);
        run_rows(&part, a + (size_t)i * p->a_row, b, y + (size_t)i * p->ldy, scratch);
    }
}

void matmul_run(const Matmul *p, const MatmulRun *run)
{
    /* Rows in parts, so that each thread has something to do. */
    int parts = run->count >= run->threads ? 1 : least(ceil_div(run->threads, run->count), ceil_div(p->m, 16));
    int rows = ceil_div(p->m, parts);
    size_t own = matmul_scratch(p);
    #pragma omp parallel for schedule(dynamic) num_threads(run->threads) if (run->threads > 1 && (double)run->count * p->m * p->n * p->k > 1e5)
    for (int64_t i = 0; i < run->count * parts; i++) {
        int64_t product = i / parts;
        int first = (int)(i % parts) * rows;
        Matmul part = *p;
        part.m = least(p->m - first, rows);
        if (part.m <= 0)
            continue;
        const float *a = run->a + (run->at_a ? run->at_a[product] : 0) + (size_t)first * p->a_row;
        const float *b = run->b + (run->at_b ? run->at_b[product] : 0);
        float *y = run->y + (size_t)product * run->y_step + (size_t)first * p->ldy;
        matmul_one(&part, a, b, y, run->scratch + own * (size_t)omp_get_thread_num());
    }
}
