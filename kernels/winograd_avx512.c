#include "kernels/lanes_avx512.inc"

/* Pairs of rows, then pairs of those: four rows of one column in each quarter of a register. Then the quarters change places. */
INLINE void v_transpose(V v[LANES])
{
    V pair[LANES], four[LANES];
    EACH(i, LANES / 2) {
        pair[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        pair[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    EACH(i, LANES / 2) {
        const int at = i / 2 * 4 + i % 2;
        four[i / 2 * 4 + i % 2 * 2] = _mm512_shuffle_ps(pair[at], pair[at + 2], 0x44);
        four[i / 2 * 4 + i % 2 * 2 + 1] = _mm512_shuffle_ps(pair[at], pair[at + 2], 0xee);
    }
    EACH(i, 4) {
        V even_lo = _mm512_shuffle_f32x4(four[i], four[i + 4], 0x88), odd_lo = _mm512_shuffle_f32x4(four[i], four[i + 4], 0xdd);
        V even_hi = _mm512_shuffle_f32x4(four[i + 8], four[i + 12], 0x88), odd_hi = _mm512_shuffle_f32x4(four[i + 8], four[i + 12], 0xdd);
        v[i] = _mm512_shuffle_f32x4(even_lo, even_hi, 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(even_lo, even_hi, 0xdd);
        v[i + 4] = _mm512_shuffle_f32x4(odd_lo, odd_hi, 0x88);
        v[i + 12] = _mm512_shuffle_f32x4(odd_lo, odd_hi, 0xdd);
    }
}

#define WIDE_STRIPS 1
#include "kernels/winograd.inc"

void winograd_avx512(Kernels *k) { winograd_fill(k); }
