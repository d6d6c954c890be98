/* Selection and masking of magnitudes with AVX-512: 16 elements a step, compares give masks, compress gives the collected ones in order. */
#include "kernels/levels.h"
#include <immintrin.h>

static inline __m512i magnitude(__m512i x)
{
    return _mm512_and_si512(x, _mm512_set1_epi32(0x7fffffff));
}

/* The lanes of element i and what follows: all 16, or those that are left. */
static inline __mmask16 valid(size_t i, size_t n)
{
    unsigned left = n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1u;
    return (__mmask16)left;
}

static inline size_t bits(__mmask16 x)
{
    return (size_t)__builtin_popcount(x);
}

static size_t count_below_f32(const uint32_t *x, size_t n, uint32_t limit)
{
    const __m512i l = _mm512_set1_epi32((int)limit);
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 v = valid(i, n);
        count += bits(_mm512_mask_cmplt_epu32_mask(v, magnitude(_mm512_maskz_loadu_epi32(v, x + i)), l));
    }
    return count;
}

static size_t zero_below_f32(uint32_t *x, size_t n, uint32_t limit)
{
    const __m512i l = _mm512_set1_epi32((int)limit);
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 v = valid(i, n);
        __m512i w = _mm512_maskz_loadu_epi32(v, x + i);
        __mmask16 below = _mm512_mask_cmplt_epu32_mask(v, magnitude(w), l);
        _mm512_mask_storeu_epi32(x + i, v, _mm512_maskz_mov_epi32((__mmask16)~below, w));
        count += bits(below);
    }
    return count;
}

static size_t bracket_f32(const uint32_t *x, size_t n, const uint32_t low_high[2], uint32_t *inside, size_t *below)
{
    const __m512i low = _mm512_set1_epi32((int)low_high[0]), high = _mm512_set1_epi32((int)low_high[1]);
    uint32_t *end = inside;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 v = valid(i, n);
        __m512i m = magnitude(_mm512_maskz_loadu_epi32(v, x + i));
        __mmask16 not_below = _mm512_mask_cmpge_epu32_mask(v, m, low);
        __mmask16 in = _mm512_mask_cmplt_epu32_mask(not_below, m, high);
        *below += bits((__mmask16)(v & ~not_below));
        /* compress in a register, then store whole: the compressing store is microcoded on Zen 4 */
        _mm512_storeu_si512(end, _mm512_maskz_compress_epi32(in, m));
        end += bits(in);
    }
    return (size_t)(end - inside);
}

static float dot_f32(const float *x, const float *y, size_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 v = valid(i, n);
        sum = _mm512_mask_add_ps(sum, v, sum, _mm512_mul_ps(_mm512_maskz_loadu_ps(v, x + i), _mm512_maskz_loadu_ps(v, y + i)));
    }
    float s[16];
    _mm512_storeu_ps(s, sum);
    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            s[j] += s[j + half];
    return s[0];
}

void prune_avx512(Kernels *k)
{
    k->count_below_f32 = count_below_f32;
    k->zero_below_f32 = zero_below_f32;
    k->bracket_f32 = bracket_f32;
    k->dot_f32 = dot_f32;
}
