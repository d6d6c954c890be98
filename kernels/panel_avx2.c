/* Dense and sparse products of panels with AVX2 and FMA.
 *
 * Dense: 6 rows x 2 registers are 12 chains of fused multiply-adds (8 hide their latency), 8 loads for 12 of them. Sparse: each weight meets a row of up to 8
 * registers, each a multiply-add with a memory operand, so loads are the limit: 17 for 16. Up to 4 registers take two sets of accumulators against the latency.
 * Accumulator arrays become registers because every loop over them is unrolled; the empty asm keeps gcc 12 from spilling them in the loop before it. */
#include "kernels/levels.h"
#include <immintrin.h>
#include <string.h>

enum { LANES = 8, TILE = 16, STRIP = 6 };

#ifdef __clang__
#define EACH(i, n) _Pragma("clang loop unroll(full)") for (int i = 0; i < (n); i++)
#else
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE __m256 load_some(const float *x, int n)
{
    return n >= LANES ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, first_lanes(n));
}

/* vmaskmov takes dozens of cycles as a store, so the last columns go through memory. */
INLINE void store_some(float *y, int n, __m256 v)
{
    if (n >= LANES) {
        _mm256_storeu_ps(y, v);
        return;
    }
    float lanes[LANES];
    _mm256_storeu_ps(lanes, v);
    for (int i = 0; i < n; i++)
        y[i] = lanes[i];
}

/* Starts the V sums of row m; width is partial's. */
INLINE void start(__m256 *sum, const int V, const PanelOutput *o, const int width, size_t m)
{
    if (!o->first)
        EACH(v, V) sum[v] = _mm256_loadu_ps(o->partial + m * (size_t)width + LANES * v);
    else if (!o->bias)
        EACH(v, V) sum[v] = _mm256_setzero_ps();
    else if (!o->bias_of_columns)
        EACH(v, V) sum[v] = _mm256_broadcast_ss(o->bias + m);
    else
        EACH(v, V) sum[v] = load_some(o->bias + LANES * v, o->columns - LANES * v);
}

INLINE __m256 clamp(const PanelOutput *o, __m256 sum)
{
    return _mm256_min_ps(_mm256_set1_ps(o->hi), _mm256_max_ps(_mm256_set1_ps(o->lo), sum));        /* a NaN in the second operand stays */
}

/* Finishes them. The last of the V registers may be partly used. */
INLINE void finish(const __m256 *sum, const int V, const PanelOutput *o, const int width, size_t m)
{
    if (!o->last) {
        EACH(v, V) _mm256_storeu_ps(o->partial + m * (size_t)width + LANES * v, sum[v]);
        return;
    }
    float *y = o->y + m * o->ld;
    const float *residual = o->residual + m * o->ld;
    if (o->columns == LANES * V && !o->residual)
        EACH(v, V) _mm256_storeu_ps(y + LANES * v, clamp(o, sum[v]));
    else if (o->columns == LANES * V)
        EACH(v, V) _mm256_storeu_ps(y + LANES * v, clamp(o, _mm256_add_ps(sum[v], _mm256_loadu_ps(residual + LANES * v))));
    else
        EACH(v, V) {
            int n = o->columns - LANES * v;
            store_some(y + LANES * v, n, clamp(o, o->residual ? _mm256_add_ps(sum[v], load_some(residual + LANES * v, n)) : sum[v]));
        }
}

/* R rows from m on, V registers of columns. */
INLINE void dense_tile(const int R, const int V, const DensePart *d, const PanelOutput *o, int m)
{
    const float *p = d->w + (size_t)(m / STRIP) * d->pitch, *q = p + 3 * d->row, *x = d->panel;
    const size_t row = d->row, step = d->step;
    __m256 sum[STRIP][2];
    EACH(r, R) start(sum[r], V, o, TILE, (size_t)(m + r));
    EACH(r, R) _mm_prefetch((const char *)(o->y + (size_t)(m + r) * o->ld), _MM_HINT_T0);
    for (int k = d->k; k > 0; k--, x += TILE, p += step, q += step) {
        __m256 xv[2];
        EACH(v, V) xv[v] = _mm256_loadu_ps(x + LANES * v);
        EACH(r, R) {
            __m256 w = _mm256_broadcast_ss(r < 3 ? p + (size_t)r * row : q + (size_t)(r - 3) * row);
            EACH(v, V) sum[r][v] = _mm256_fmadd_ps(w, xv[v], sum[r][v]);
        }
    }
    EACH(r, R) EACH(v, V) __asm__("" : "+x"(sum[r][v]));
    EACH(r, R) finish(sum[r], V, o, TILE, (size_t)(m + r));
}

#define ROWS_OF(R) static __attribute__((noinline)) void dense_##R(const DensePart *d, const PanelOutput *o, int m) \
    { if (o->columns > LANES) dense_tile(R, 2, d, o, m); else dense_tile(R, 1, d, o, m); }
ROWS_OF(1) ROWS_OF(2) ROWS_OF(3) ROWS_OF(4) ROWS_OF(5) ROWS_OF(6)

static void dense_f32(const DensePart *d, const PanelOutput *o)
{
    int m = 0;
    for (; m + STRIP <= d->rows; m += STRIP)
        dense_6(d, o, m);
    switch (d->rows - m) {
    case 1: dense_1(d, o, m); break;
    case 2: dense_2(d, o, m); break;
    case 3: dense_3(d, o, m); break;
    case 4: dense_4(d, o, m); break;
    case 5: dense_5(d, o, m); break;
    default: break;
    }
}

#define MULTIPLY(q) \
    do { \
        const float *x = s->panel + (uint16_t)(at >> 16 * (q)); \
        __m256 w = _mm256_permute_ps(w4, 0x55 * (q)); \
        EACH(v, V) sum[V <= 4 ? (q) % 2 : 0][v] = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + LANES * v), sum[V <= 4 ? (q) % 2 : 0][v]); \
    } while (0)

INLINE void sparse_rows(const int V, const SparsePart *s, const PanelOutput *o)
{
    const uint8_t *stream = s->stream;
    for (const SparseHead *h = s->head; h < s->head + s->heads; h++) {
        __m256 sum[2][8];
        start(sum[0], V, o, PANEL_COLUMNS, h->row);
        if (V <= 4)
            EACH(v, V) sum[1][v] = _mm256_setzero_ps();
        for (int left = h->count / 4; left > 0; left--, stream += 24) {
            __m256 w4 = _mm256_broadcast_ps((const __m128 *)stream);
            uint64_t at;
            memcpy(&at, stream + 16, sizeof at);
            MULTIPLY(0);
            MULTIPLY(1);
            MULTIPLY(2);
            MULTIPLY(3);
        }
        for (int left = h->count % 4; left > 0; left--, stream += 6) {
            uint16_t at;
            float value;
            memcpy(&value, stream, sizeof value);
            memcpy(&at, stream + 4, sizeof at);
            __m256 w = _mm256_set1_ps(value);
            EACH(v, V) sum[0][v] = _mm256_fmadd_ps(w, _mm256_loadu_ps(s->panel + at + LANES * v), sum[0][v]);
        }
        if (V <= 4)
            EACH(v, V) sum[0][v] = _mm256_add_ps(sum[0][v], sum[1][v]);
        EACH(v, V) __asm__("" : "+x"(sum[0][v]));
        finish(sum[0], V, o, PANEL_COLUMNS, h->row);
    }
}

#define ROWS(V) static __attribute__((noinline)) void sparse_##V(const SparsePart *s, const PanelOutput *o) { sparse_rows(V, s, o); }
ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)

static void sparse_f32(const SparsePart *s, const PanelOutput *o)
{
    static void (*const rows[])(const SparsePart *, const PanelOutput *) = { sparse_1, sparse_2, sparse_3, sparse_4, sparse_5, sparse_6, sparse_7, sparse_8 };
    rows[(o->columns - 1) / LANES](s, o);
}

void panel_avx2(Kernels *k)
{
    k->sizes = (PanelSizes) { TILE, STRIP };
    k->dense_f32 = dense_f32;
    k->sparse_f32 = sparse_f32;
}
