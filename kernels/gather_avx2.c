#include "kernels/lanes_avx2.inc"

INLINE V v_gather(const float *x, const uint16_t *at) { return _mm256_i32gather_ps(x, _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)at)), 4); }
INLINE V v_pairs(const float *x, const uint16_t *at)
{
    return _mm256_castpd_ps(_mm256_i32gather_pd((const void *)x, _mm_cvtepu16_epi32(_mm_loadl_epi64((const void *)at)), 8));
}
INLINE V v_twice(const float *w)
{
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(w)), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
#include "kernels/gather.inc"

void gather_avx2(Kernels *k) { k->gather_f32 = gather_f32; }
