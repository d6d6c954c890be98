/* Selection and masking of magnitudes with AVX-512: 16 elements a step, compares give masks, compress gives the collected ones in order. */
#include "kernels/levels.h"
#include "kernels/prune.h"
#include <immintrin.h>

static inline __m512i magnitude(__m512i x)
{
    return _mm512_and_si512(x, _mm512_set1_epi32(0x7fffffff));
}

/* Bytes that the passes over memory ask for ahead: one core is bound by how many lines it waits for at a time. On 1 GiB, Emerald Rapids, November 2026:
 * 22 % less time for bracket_f32, 20 % for zero_below_f32. */
enum { AHEAD = 2048 };

/* The lanes of the last n elements, fewer than 16. */
static inline __mmask16 valid(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

static inline size_t bits(__mmask16 x)
{
    return (size_t)__builtin_popcount(x);
}

static size_t count_below_f32(const uint32_t *x, size_t n, uint32_t limit)
{
    const __m512i l = _mm512_set1_epi32((int)limit);
    size_t count = 0, i = 0;
    for (; i + 16 <= n; i += 16)
        count += bits(_mm512_cmplt_epu32_mask(magnitude(_mm512_loadu_si512(x + i)), l));
    __mmask16 v = valid(n - i);
    return count + bits(_mm512_mask_cmplt_epu32_mask(v, magnitude(_mm512_maskz_loadu_epi32(v, x + i)), l));
}

static size_t zero_below_f32(uint32_t *x, size_t n, uint32_t limit)
{
    const __m512i l = _mm512_set1_epi32((int)limit);
    size_t kept = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
        _mm_prefetch((const char *)(x + i) + AHEAD, _MM_HINT_T0);
        __m512i w = _mm512_loadu_si512(x + i);
        __mmask16 keep = _mm512_cmpge_epu32_mask(magnitude(w), l);
        _mm512_storeu_si512(x + i, _mm512_maskz_mov_epi32(keep, w));
        kept += bits(keep);
    }
    __mmask16 v = valid(n - i);
    __m512i w = _mm512_maskz_loadu_epi32(v, x + i);
    __mmask16 keep = _mm512_mask_cmpge_epu32_mask(v, magnitude(w), l);
    _mm512_mask_storeu_epi32(x + i, v, _mm512_maskz_mov_epi32(keep, w));
    return n - kept - bits(keep);
}

/* Appends the lanes of m that are set in mask to inside; always writes 16 elements. Compressed in a register: the compressing store is microcoded on Zen 4. */
static inline uint32_t *append(uint32_t *inside, __m512i m, __mmask16 mask)
{
    _mm512_storeu_si512(inside, _mm512_maskz_compress_epi32(mask, m));
    return inside + bits(mask);
}

static size_t bracket_f32(const uint32_t *x, size_t n, const uint32_t low_high[2], uint32_t *inside, size_t *below)
{
    const __m512i low = _mm512_set1_epi32((int)low_high[0]), high = _mm512_set1_epi32((int)low_high[1]);
    uint32_t *end = inside;
    size_t not_below = 0, i = 0;       /* *below could be an element of inside as far as the compiler knows */
    for (; i + 16 <= n; i += 16) {
        _mm_prefetch((const char *)(x + i) + AHEAD, _MM_HINT_T0);
        __m512i m = magnitude(_mm512_loadu_si512(x + i));
        __mmask16 from_low = _mm512_cmpge_epu32_mask(m, low);
        not_below += bits(from_low);
        end = append(end, m, _mm512_mask_cmplt_epu32_mask(from_low, m, high));
    }
    __mmask16 v = valid(n - i);
    __m512i m = magnitude(_mm512_maskz_loadu_epi32(v, x + i));
    __mmask16 from_low = _mm512_mask_cmpge_epu32_mask(v, m, low);
    end = append(end, m, _mm512_mask_cmplt_epu32_mask(from_low, m, high));
    *below += n - not_below - bits(from_low);
    return (size_t)(end - inside);
}

static float dot_f32(const float *x, const float *y, size_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 v = n - i < 16 ? valid(n - i) : 0xffff;
        sum = _mm512_mask_add_ps(sum, v, sum, _mm512_mul_ps(_mm512_maskz_loadu_ps(v, x + i), _mm512_maskz_loadu_ps(v, y + i)));
    }
    float s[16];
    _mm512_storeu_ps(s, sum);
    return sum_of_16(s);
}

void prune_avx512(Kernels *k)
{
    k->count_below_f32 = count_below_f32;
    k->zero_below_f32 = zero_below_f32;
    k->bracket_f32 = bracket_f32;
    k->dot_f32 = dot_f32;
}
