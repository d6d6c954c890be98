#include "kernels/lanes_avx512.inc"

INLINE V v_gather(const float *x, const uint16_t *at) { return _mm512_i32gather_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)at)), x, 4); }
INLINE V v_pairs(const float *x, const uint16_t *at)
{
    return _mm512_castpd_ps(_mm512_i32gather_pd(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)at)), (const void *)x, 8));
}
INLINE V v_twice(const float *w)
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), _mm512_castps256_ps512(_mm256_loadu_ps(w)));
}
INLINE V v_expand(const float *w, unsigned bits) { return _mm512_maskz_expandloadu_ps((__mmask16)bits, w); }
#include "kernels/few.inc"

void few_avx512(Kernels *k) { few_fill(k); }
