/* Depthwise convolutions with AVX2: 8 output pixels of a row at a time, one multiply-add for each tap. Chains of neighbouring registers overlap. */
#include "kernels/levels.h"
#include "kernels/window_avx2.h"

/* The taps of an output row: rows ky0 ... ky1 - 1 of the kernel lie inside the image, the first of them in row y0 of it. */
typedef struct Row { int ky0, ky1; int64_t y0; } Row;

static Row row_of(const PanelWindow *g, int oy)
{
    int64_t top = (int64_t)oy * g->stride[0] - g->pad[0];
    Row r = { 0, g->kernel[0], 0 };
    while (r.ky0 < r.ky1 && top + (int64_t)r.ky0 * g->dilation[0] < 0)
        r.ky0++;
    while (r.ky1 > r.ky0 && top + (int64_t)(r.ky1 - 1) * g->dilation[0] >= g->in[0])
        r.ky1--;
    r.y0 = top + (int64_t)r.ky0 * g->dilation[0];
    return r;
}

/* The lanes i with lo <= x + i < hi. */
static inline __m256i lanes_inside(Range r, int x)
{
    return _mm256_andnot_si256(first_lanes(r.lo - x), first_lanes(r.hi - x));
}

/* n <= 8 pixels from column x on of a tap, 0 outside of its range; from: input of the first. */
static inline __m256 load_inside(const float *from, int stride, Range r, int x, int n)
{
    if (stride == 1 || r.lo <= x) {
        int left = r.hi - x < n ? r.hi - x : n;
        if (left <= 0)
            return _mm256_setzero_ps();
        return stride == 1 ? _mm256_maskload_ps(from, lanes_inside(r, x)) : load_strided(from, stride, left);
    }
    float v[LANES] = { 0 };
    for (int i = r.lo - x; i < n && i < r.hi - x; i++)
        v[i] = from[(int64_t)i * stride];
    return _mm256_loadu_ps(v);
}

static inline void store_pixels(const Depthwise *d, size_t at, int n, __m256 sum)
{
    const __m256 lo = _mm256_set1_ps(d->lo), hi = _mm256_set1_ps(d->hi);
    if (d->residual)
        sum = _mm256_add_ps(sum, _mm256_maskload_ps(d->residual + at, first_lanes(n)));
    sum = _mm256_min_ps(hi, _mm256_max_ps(lo, sum));
    if (n >= LANES) {
        _mm256_storeu_ps(d->y + at, sum);
        return;
    }
    float v[LANES];
    _mm256_storeu_ps(v, sum);
    for (int i = 0; i < n; i++)
        d->y[at + (size_t)i] = v[i];
}

/* 8 pixels for which all taps lie inside. */
static inline __attribute__((always_inline)) __m256 sum_inside(const PanelWindow *g, const Depthwise *d, const Row *row, int64_t left, const int stride)
{
    __m256 sum = _mm256_set1_ps(d->bias);
    const float *from = d->x + row->y0 * g->in[1] + left, *w = d->w + row->ky0 * g->kernel[1];
    for (int ky = row->ky0; ky < row->ky1; ky++, from += (int64_t)g->dilation[0] * g->in[1])
        for (int kx = 0; kx < g->kernel[1]; kx++)
            sum = _mm256_fmadd_ps(_mm256_broadcast_ss(w++), load_strided(from + (int64_t)kx * g->dilation[1], stride, LANES), sum);
    return sum;
}

static __m256 sum_edge(const PanelWindow *g, const Depthwise *d, const Row *row, const Range *range, int x, int n)
{
    __m256 sum = _mm256_set1_ps(d->bias);
    const float *w = d->w + row->ky0 * g->kernel[1];
    for (int ky = row->ky0; ky < row->ky1; ky++)
        for (int kx = 0; kx < g->kernel[1]; kx++) {
            int64_t y = row->y0 + (int64_t)(ky - row->ky0) * g->dilation[0];
            const float *from = d->x + y * g->in[1] + (int64_t)x * g->stride[1] + (int64_t)kx * g->dilation[1] - g->pad[1];
            sum = _mm256_fmadd_ps(_mm256_broadcast_ss(w++), load_inside(from, g->stride[1], range[kx], x, n), sum);
        }
    return sum;
}

static inline __m256 sum_any(const PanelWindow *g, const Depthwise *d, const Row *row, int64_t left)
{
    if (g->stride[1] == 1)
        return sum_inside(g, d, row, left, 1);
    if (g->stride[1] == 2)
        return sum_inside(g, d, row, left, 2);
    return sum_inside(g, d, row, left, g->stride[1]);
}

static void depthwise_f32(const PanelWindow *g, const Depthwise *d)
{
    Range range[DEPTHWISE_WIDEST], all = { 0, g->out[1] };
    for (int kx = 0; kx < g->kernel[1]; kx++) {
        range[kx] = inside(g, kx);
        all.lo = range[kx].lo > all.lo ? range[kx].lo : all.lo;
        all.hi = range[kx].hi < all.hi ? range[kx].hi : all.hi;
    }
    for (int oy = 0; oy < g->out[0]; oy++) {
        Row row = row_of(g, oy);
        for (int x = 0; x < g->out[1]; x += LANES) {
            int n = g->out[1] - x < LANES ? g->out[1] - x : LANES;
            bool whole = x >= all.lo && x + LANES <= all.hi;
            __m256 sum = whole ? sum_any(g, d, &row, (int64_t)x * g->stride[1] - g->pad[1]) : sum_edge(g, d, &row, range, x, n);
            store_pixels(d, (size_t)oy * (size_t)g->out[1] + (size_t)x, n, sum);
        }
    }
}

void depthwise_avx2(Kernels *k)
{
    k->depthwise_f32 = depthwise_f32;
}
