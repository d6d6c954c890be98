/* 8 rows x 3 registers: 24 chains, 3 registers of columns, 1 weight. Rows of 8 divide the channels of most networks, 48 columns leave 1 of 49 and 4 of 196. */
#include "kernels/lanes_avx512.inc"

enum { STRIP = 8, TILE = 48, STEPS = 1, FEW = 8, SPARSE = 64, MOST = 80, ROWS = 4, WHOLE_ENDS = 0, FETCH_OUTPUT = 1 };

typedef __m256 H;
INLINE H h_zero(void) { return _mm256_setzero_ps(); }
INLINE H h_load(const float *x) { return _mm256_loadu_ps(x); }
INLINE H h_strip(const float *w) { return _mm256_loadu_ps(w); }
INLINE H h_broadcast(const float *x) { return _mm256_broadcast_ss(x); }
INLINE H h_fma(H a, H b, H c) { return _mm256_fmadd_ps(a, b, c); }
INLINE void h_store(float *y, H v) { _mm256_storeu_ps(y, v); }
INLINE H h_of(V v) { return _mm512_castps512_ps256(v); }
INLINE V v_of(H h) { return _mm512_zextps256_ps512(h); }

#define DENSE_FUNCTIONS \
    DENSE(1, 1) DENSE(2, 1) DENSE(3, 1) DENSE(4, 1) DENSE(5, 1) DENSE(6, 1) DENSE(7, 1) DENSE(8, 1) \
    DENSE(1, 2) DENSE(2, 2) DENSE(3, 2) DENSE(4, 2) DENSE(5, 2) DENSE(6, 2) DENSE(7, 2) DENSE(8, 2) \
    DENSE(1, 3) DENSE(2, 3) DENSE(3, 3) DENSE(4, 3) DENSE(5, 3) DENSE(6, 3) DENSE(7, 3) DENSE(8, 3) \
    FILL(1) FILL(2) FILL(3) \
    FEWER(1) FEWER(2) FEWER(3) FEWER(4) FEWER(5) FEWER(6) FEWER(7) FEWER(8) \
    static Dense *const packed_tiles[STRIP][3] = { \
        ROW(packed, 1), ROW(packed, 2), ROW(packed, 3), ROW(packed, 4), ROW(packed, 5), ROW(packed, 6), ROW(packed, 7), ROW(packed, 8) }; \
    static Dense *const apart_tiles[STRIP][3] = { \
        ROW(apart, 1), ROW(apart, 2), ROW(apart, 3), ROW(apart, 4), ROW(apart, 5), ROW(apart, 6), ROW(apart, 7), ROW(apart, 8) }; \
    static Dense *const plain_tiles[STRIP][3] = { \
        ROW(plain, 1), ROW(plain, 2), ROW(plain, 3), ROW(plain, 4), ROW(plain, 5), ROW(plain, 6), ROW(plain, 7), ROW(plain, 8) }; \
    static Dense *const filling_tiles[] = { filling_1, filling_2, filling_3 }; \
    static DenseFew *const few_tiles[FEW] = { few_1, few_2, few_3, few_4, few_5, few_6, few_7, few_8 };
#define ROW(kind, R) { kind##_##R##_1, kind##_##R##_2, kind##_##R##_3 }
#define SPARSE_FUNCTIONS \
    SPAN(0, 1, 0) SPAN(0, 1, 1) SPAN(0, 2, 0) SPAN(0, 2, 1) SPAN(0, 3, 0) SPAN(0, 3, 1) SPAN(0, 4, 0) SPAN(0, 4, 1) SPAN(0, 5, 0) \
    static Sparse *const sparse_widths[][2][2] = { { BOTH(0, 1, 0) }, { BOTH(0, 1, 0) }, { BOTH(0, 1, 1) }, { BOTH(0, 2, 0) }, { BOTH(0, 2, 1) }, { BOTH(0, 3, 0) }, \
        { BOTH(0, 3, 1) }, { BOTH(0, 4, 0) }, { BOTH(0, 4, 1) }, { BOTH(0, 5, 0) } };
#define SPARSE_HEAD "kernels/head_avx512.inc"
#include "kernels/panel.inc"

void panel_avx512(Kernels *k) { panel_fill(k); }
