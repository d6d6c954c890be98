/* The loops that define the panel kernels. */
#include "kernels/levels.h"
#include <string.h>

enum { TILE = 16, STRIP = 6, SPARSE = 32, MOST = 48, ROWS = 4 };

static float window_at(const PanelWindow *g, const float *x, int k, int64_t n)
{
    int64_t pixels = (int64_t)g->out[0] * g->out[1], image = n / pixels;
    n %= pixels;
    int taps = g->kernel[0] * g->kernel[1], ky = k % taps / g->kernel[1], kx = k % g->kernel[1];
    int64_t iy = n / g->out[1] * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0];
    int64_t ix = n % g->out[1] * g->stride[1] + (int64_t)kx * g->dilation[1] - g->pad[1];
    if (iy < 0 || iy >= g->in[0] || ix < 0 || ix >= g->in[1])
        return 0;
    return x[(size_t)image * g->image + (size_t)(k / taps) * g->plane + (size_t)(iy * g->in[1] + ix)];
}

static void pack_f32(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    int rows = p->k1 - p->k0;
    for (int j = 0; j < p->n; j++) {
        float *tile = panel + (size_t)(j / p->width) * (size_t)rows * (size_t)p->width + j % p->width;
        for (int k = 0; k < rows; k++)
            tile[(size_t)k * (size_t)p->width] = window_at(g, x, p->k0 + k, p->n0 + j);
    }
}

static float start(const PanelOutput *o, size_t width, size_t row, int j)
{
    return o->first ? 0 : o->partial[row * width + (size_t)j];
}

static void finish(const PanelOutput *o, size_t width, size_t row, int j, float sum)
{
    if (!o->last) {
        o->partial[row * width + (size_t)j] = sum;
        return;
    }
    if (o->bias)
        sum += o->bias[o->bias_of_columns ? (size_t)j : row];
    const bool behind = j >= SPARSE;
    const size_t column = (size_t)(behind ? j - SPARSE : j);
    if (o->residual)
        sum += behind ? o->behind.residual[row * o->behind.residual_ld + column] : o->residual[row * o->residual_ld + column];
    *(behind ? &o->behind.y[row * o->behind.ld + column] : &o->y[row * o->ld + column]) = sum < o->lo ? o->lo : sum > o->hi ? o->hi : sum;
}

static void dense_f32(const DensePart *d, const PanelOutput *o)
{
    for (int k = 0; d->fill && k < d->k; k++)
        memcpy(d->fill + k * TILE, d->x + (size_t)k * d->ldx, (size_t)o->columns * sizeof *d->x);
    const size_t ldx = d->ldx && !d->packed ? d->ldx : TILE;
    for (int m = 0; m < d->rows; m++) {
        const size_t step = d->packed ? STRIP : d->step;
        const float *w = d->w + (d->packed ? (size_t)(m / STRIP * STRIP) * (size_t)d->k + (size_t)(m % STRIP) : (size_t)m * d->row);
        for (int j = 0; j < o->columns; j++) {
            float sum = start(o, TILE, (size_t)m, j), chain = 0;
            for (int k = 0; k < d->k; k++) {
                chain += w[(size_t)k * step] * (d->at ? d->at[j / PANEL_VECTOR][d->offset[k] + j % PANEL_VECTOR] : d->panel[(size_t)k * ldx + (size_t)j]);
                if (k % DENSE_CHAIN < DENSE_CHAIN - 1)
                    continue;
                sum += chain;
                chain = 0;
            }
            finish(o, TILE, (size_t)m, j, sum + chain);
        }
    }
}

/* Sum r takes w times the row of the panel with this number. */
static void meet(const SparsePart *s, float w, int number, int columns, float *sum)
{
    for (int j = 0; j < columns; j++)
        sum[j] += w * (j < SPARSE ? s->panel[number * SPARSE + j] : s->behind[number * (MOST - SPARSE) + j - SPARSE]);
}

/* The first `steps` steps of a line, whose numbers are those behind the line before. */
static void sparse_line(const SparsePart *s, bool all, const SparseLine *line, int steps, int columns, float (*sum)[MOST])
{
    for (int q = 0; q < ROWS * steps; q++)
        meet(s, line->w[q], line[-1].next[all ? q / ROWS : q], columns, sum[q % ROWS]);
}

static void sparse_f32(const SparsePart *s, const PanelOutput *o)
{
    const SparseLine *line = s->line + 1;
    for (const SparseHead *h = s->head; h < s->head + s->heads; h++) {
        float sum[ROWS][MOST];
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < o->columns; j++)
                sum[r][j] = start(o, s->pitch, h->row[r], j);
        for (int i = 0; i < h->all + h->mixed + h->plain; i++)
            sparse_line(s, i < h->all, line++, SPARSE_WEIGHTS / ROWS, o->columns, sum);
        if (h->rest)
            sparse_line(s, false, line++, h->rest, o->columns, sum);
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < o->columns && (!r || h->row[r] != h->row[0]); j++)
                finish(o, s->pitch, h->row[r], j, sum[r][j]);
    }
}

static void split_f32(const float *x, size_t n, float *even, float *odd)
{
    for (size_t i = 0; i < n; i++)
        (i % 2 ? odd : even)[i / 2] = x[i];
}

static void transpose_f32(const float *x, size_t ldx, int rows, int columns, float *y, size_t ldy)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            y[(size_t)c * ldy + (size_t)r] = x[(size_t)r * ldx + (size_t)c];
}

void depthwise_f32_scalar(const PanelWindow *g, const Depthwise *d)
{
    int taps = g->kernel[0] * g->kernel[1];
    int64_t pixels = (int64_t)g->out[0] * g->out[1];
    for (int i = 0; i < d->planes; i++)
        for (int64_t n = 0; n < pixels; n++) {
            size_t at = (size_t)i * d->y_plane + (size_t)n;
            float sum = 0;
            for (int k = 0; k < taps; k++)
                sum += d->w[i * taps + k] * window_at(g, d->x + (size_t)i * g->plane, k, n);
            sum += d->bias ? d->bias[i] : 0;
            if (d->residual)
                sum += d->residual[at];
            d->y[at] = sum < d->lo ? d->lo : sum > d->hi ? d->hi : sum;
        }
}

void panel_scalar(Kernels *k)
{
    k->pack_f32 = pack_f32;
    k->sizes = (PanelSizes) { TILE, STRIP, 0, SPARSE, MOST, ROWS };
    k->dense_f32 = dense_f32;
    k->sparse_f32 = sparse_f32;
    k->split_f32 = split_f32;
    k->transpose_f32 = transpose_f32;
    k->depthwise_f32 = depthwise_f32_scalar;
}
