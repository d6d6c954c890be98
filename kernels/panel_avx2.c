/* 6 rows x 2 registers: 12 chains (8 hide the latency of multiply-adds), 2 registers of columns, 1 weight. What a dense tile writes and the stream of a sparse product
 * are left to the processor to fetch (Zen 3: 1 % less time each). */
#include "kernels/lanes_avx2.inc"

enum { STRIP = 6, TILE = 16, STEPS = 2, FEW = 4, SPARSE = 32, MOST = 48, ROWS = 3, WHOLE_ENDS = 1, FETCH_OUTPUT = 0 };

typedef __m256 H;
INLINE H h_zero(void) { return _mm256_setzero_ps(); }
INLINE H h_load(const float *x) { return _mm256_loadu_ps(x); }
INLINE H h_strip(const float *w) { return v_load_some(w, STRIP); }
INLINE H h_broadcast(const float *x) { return _mm256_broadcast_ss(x); }
INLINE H h_fma(H a, H b, H c) { return _mm256_fmadd_ps(a, b, c); }
INLINE void h_store(float *y, H v) { _mm256_storeu_ps(y, v); }
INLINE V v_of(H h) { return h; }

#define DENSE_FUNCTIONS \
    DENSE(1, 1) DENSE(2, 1) DENSE(3, 1) DENSE(4, 1) DENSE(5, 1) DENSE(6, 1) DENSE(1, 2) DENSE(2, 2) DENSE(3, 2) DENSE(4, 2) DENSE(5, 2) DENSE(6, 2) \
    FILL(1) FILL(2) FEWER(1) FEWER(2) FEWER(3) FEWER(4) \
    static Dense *const packed_tiles[STRIP][2] = { ROW(packed, 1), ROW(packed, 2), ROW(packed, 3), ROW(packed, 4), ROW(packed, 5), ROW(packed, 6) }; \
    static Dense *const apart_tiles[STRIP][2] = { ROW(apart, 1), ROW(apart, 2), ROW(apart, 3), ROW(apart, 4), ROW(apart, 5), ROW(apart, 6) }; \
    static Dense *const plain_tiles[STRIP][2] = { ROW(plain, 1), ROW(plain, 2), ROW(plain, 3), ROW(plain, 4), ROW(plain, 5), ROW(plain, 6) }; \
    static Dense *const filling_tiles[] = { filling_1, filling_2 }; \
    static DenseFew *const few_tiles[FEW] = { few_1, few_2, few_3, few_4 };
#define ROW(kind, R) { kind##_##R##_1, kind##_##R##_2 }
#define SPARSE_FUNCTIONS \
    SPAN(0, 1, 0) SPAN(0, 2, 0) SPAN(0, 3, 0) SPAN(0, 4, 0) SPAN(4, 5, 0) SPAN(4, 6, 0) \
    static Sparse *const sparse_widths[][2][2] = { { BOTH(0, 1, 0) }, { BOTH(0, 2, 0) }, { BOTH(0, 3, 0) }, { BOTH(0, 4, 0) }, \
        { BOTH(0, 4, 0), BOTH(4, 5, 0) }, { BOTH(0, 4, 0), BOTH(4, 6, 0) } };
#define SPARSE_HEAD "kernels/head_avx2.inc"
#include "kernels/panel.inc"

void panel_avx2(Kernels *k) { panel_fill(k); }
