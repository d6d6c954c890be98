#include "kernels/lanes_avx2.inc"

/* Pairs of rows, then pairs of those, then halves. */
INLINE void v_transpose(V v[LANES])
{
    V pair[LANES], four[LANES];
    EACH(i, LANES / 2) {
        pair[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        pair[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    EACH(i, LANES / 2) {
        const int at = i / 2 * 4 + i % 2;
        four[i / 2 * 4 + i % 2 * 2] = _mm256_shuffle_ps(pair[at], pair[at + 2], 0x44);
        four[i / 2 * 4 + i % 2 * 2 + 1] = _mm256_shuffle_ps(pair[at], pair[at + 2], 0xee);
    }
    EACH(i, LANES / 2) {
        v[i] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x31);
    }
}

#define WIDE_STRIPS 0
#include "kernels/winograd.inc"

void winograd_avx2(Kernels *k) { winograd_fill(k); }
