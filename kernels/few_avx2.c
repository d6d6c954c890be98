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

/* Which number each lane takes, for each eight bits; negative: none. */
#define SET(b, i) ((b) >> (i) & 1)
#define LANE(b, i, before) SET(b, i) ? (before) : -8
#define EIGHT(b) { LANE(b, 0, 0), LANE(b, 1, SET(b, 0)), LANE(b, 2, SET(b, 0) + SET(b, 1)), LANE(b, 3, SET(b, 0) + SET(b, 1) + SET(b, 2)), \
        LANE(b, 4, FOUR(b)), LANE(b, 5, FOUR(b) + SET(b, 4)), LANE(b, 6, FOUR(b) + SET(b, 4) + SET(b, 5)), LANE(b, 7, FOUR(b) + SET(b, 4) + SET(b, 5) + SET(b, 6)) }
#define FOUR(b) (SET(b, 0) + SET(b, 1) + SET(b, 2) + SET(b, 3))
#define EIGHTS_4(b) EIGHT(b), EIGHT((b) + 1), EIGHT((b) + 2), EIGHT((b) + 3)
#define EIGHTS_16(b) EIGHTS_4(b), EIGHTS_4((b) + 4), EIGHTS_4((b) + 8), EIGHTS_4((b) + 12)
#define EIGHTS_64(b) EIGHTS_16(b), EIGHTS_16((b) + 16), EIGHTS_16((b) + 32), EIGHTS_16((b) + 48)
static const int8_t lanes_of[256][8] = { EIGHTS_64(0), EIGHTS_64(64), EIGHTS_64(128), EIGHTS_64(192) };

INLINE V v_expand(const float *w, unsigned bits)
{
    const __m256i lane = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)lanes_of[bits]));
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_srai_epi32(lane, 31)), _mm256_permutevar8x32_ps(_mm256_loadu_ps(w), lane));
}
#include "kernels/few.inc"

void few_avx2(Kernels *k) { few_fill(k); }
