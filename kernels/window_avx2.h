/* Loads of windows with AVX2, for the packer. */
#pragma once
#include "kernels/panel.h"
#include <immintrin.h>

enum { LANES = 8 };

typedef struct Range { int lo, hi; } Range;

/* The first n lanes. */
static inline __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline int64_t ceil_divide(int64_t a, int b)
{
    return b == 1 ? a : b == 2 ? (a + 1) >> 1 : a > 0 ? (a + b - 1) / b : -(-a / b);
}

/* The output columns for which tap kx lies inside the image. */
static inline Range inside(const PanelWindow *g, int kx)
{
    int64_t shift = (int64_t)kx * g->dilation[1] - g->pad[1];
    int64_t lo = ceil_divide(-shift, g->stride[1]), hi = ceil_divide(g->in[1] - shift, g->stride[1]);
    lo = lo < 0 ? 0 : lo > g->out[1] ? g->out[1] : lo;
    hi = hi < lo ? lo : hi > g->out[1] ? g->out[1] : hi;
    return (Range) { (int)lo, (int)hi };
}

/* from[0], from[2], ... from[2 * (n - 1)]; other lanes are 0. */
static inline __m256 load_alternate(const float *from, int n)
{
    __m256 low, high;                                          /* elements 0 ... 7 and 7 ... 14, so that nothing behind the last one is read */
    if (n >= LANES) {
        low = _mm256_loadu_ps(from);
        high = _mm256_loadu_ps(from + 7);
    } else {
        low = _mm256_maskload_ps(from, first_lanes(2 * n - 1));
        high = _mm256_maskload_ps(from + 7, first_lanes(2 * n - 8));
    }
    __m256 mixed = _mm256_shuffle_ps(low, high, 0 | 2 << 2 | 1 << 4 | 3 << 6);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0 | 2 << 2 | 1 << 4 | 3 << 6));
}

static inline __m256 load_strided(const float *from, int stride, int n)
{
    if (stride == 1)
        return n >= LANES ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, first_lanes(n));
    if (stride == 2)
        return load_alternate(from, n);
    float v[LANES] = { 0 };
    for (int i = 0; i < n && i < LANES; i++)
        v[i] = from[(size_t)i * (size_t)stride];
    return _mm256_loadu_ps(v);
}
