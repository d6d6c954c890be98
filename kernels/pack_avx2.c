/* The packer with AVX2. With stride 1 and an output as wide as the input, all columns of a panel lie at one distance from their inputs (per tap of the kernel):
 * a row is 8 loads under a mask that is 0 where a tap leaves the image. Otherwise the columns are cut into pieces that lie in one output row, also under masks, which
 * are stored as they come, in ascending order: what a piece writes behind its end the next one overwrites, and no load waits for stores of another width. */
#include "kernels/lanes_avx2.inc"
#include "kernels/levels.h"
#include "kernels/runs.h"

enum { MOST_TAPS = 64 };

typedef struct Range { int lo, hi; } Range;
typedef struct Tap { int64_t shift; uint64_t mask; } Tap;      /* input - output position; the columns for which it lies inside the image */

/* The lanes whose bit is set in the low byte of `bits`. */
static inline __m256i lanes_of(uint64_t bits)
{
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), lane), lane);
}

static inline int64_t ceil_divide(int64_t a, int b)
{
    return b == 1 ? a : b == 2 ? (a + 1) >> 1 : a > 0 ? (a + b - 1) / b : -(-a / b);
}

/* The output columns for which tap kx lies inside the image. */
static inline Range inside(const PanelWindow *g, int kx)
{
    int64_t shift = (int64_t)kx * g->dilation[1] - g->pad[1];
    int64_t lo = ceil_divide(-shift, g->stride[1]), hi = ceil_divide(g->in[1] - shift, g->stride[1]);
    lo = lo < 0 ? 0 : lo > g->out[1] ? g->out[1] : lo;
    hi = hi < lo ? lo : hi > g->out[1] ? g->out[1] : hi;
    return (Range) { (int)lo, (int)hi };
}

static inline Range clip(Range r, const Run *run)
{
    int end = run->x + run->n, lo = r.lo < run->x ? run->x : r.lo > end ? end : r.lo;
    return (Range) { lo, r.hi < lo ? lo : r.hi > end ? end : r.hi };
}

static Tap tap_of(const PanelWindow *g, int t, const Run *run, int runs)
{
    int ky = t / g->kernel[1], kx = t % g->kernel[1];
    int64_t down = (int64_t)ky * g->dilation[0] - g->pad[0], right = (int64_t)kx * g->dilation[1] - g->pad[1];
    Tap tap = { down * g->in[1] + right, 0 };
    Range valid = inside(g, kx);
    for (int i = 0; i < runs; i++) {
        if (run[i].y + down < 0 || run[i].y + down >= g->in[0])
            continue;
        Range r = clip(valid, &run[i]);
        if (r.hi > r.lo)
            tap.mask |= (~0ull >> (64 - (r.hi - r.lo))) << (run[i].at + r.lo - run[i].x);
    }
    return tap;
}

/* to: where each register of a row goes. */
INLINE void pack_shifted(const PanelWindow *g, const float *x, const PanelPart *p, const int vectors, float *const to[])
{
    Run run[PANEL_COLUMNS];
    Tap tap[MOST_TAPS];
    int runs = runs_of(g, p, run), taps = g->kernel[0] * g->kernel[1], rows = p->k1 - p->k0;
    for (int t = 0; t < taps; t++)
        tap[t] = tap_of(g, t, run, runs);
    const float *channel = x + (size_t)(p->k0 / taps) * g->plane + run->image * (int64_t)g->image + (int64_t)run->y * g->in[1] + run->x;
    const uint64_t all = ~0ull >> (64 - vectors * LANES);
    size_t at = 0;
    for (int k = 0, t = p->k0 % taps; k < rows; k++, at += (size_t)p->width) {
        const float *from = channel + tap[t].shift;
        uint64_t mask = tap[t].mask;
        if (mask == all)
            EACH(v, vectors) _mm256_storeu_ps(to[v] + at, _mm256_loadu_ps(from + v * LANES));
        else
            EACH(v, vectors) _mm256_storeu_ps(to[v] + at, _mm256_maskload_ps(from + v * LANES, lanes_of(mask >> v * LANES)));
        if (++t < taps)
            continue;
        t = 0;
        channel += g->plane;
    }
}

/* Columns of one run that one register holds. */
typedef struct Piece {
    int64_t from;              /* what tap 0 sees of channel 0 for the first of them, maybe outside of the image */
    size_t to;                 /* where they go in row 0 of the panel */
    int part;                  /* 0, or so many columns are stored, as more would not lie in the row */
} Piece;

/* The elements from[j * stride] of the lanes j whose bit is set in `bits`; other lanes are 0. */
INLINE V load_strided(const float *from, const int stride, unsigned bits)
{
    if (stride == 1)
        return bits == 0xff ? v_load(from) : _mm256_maskload_ps(from, lanes_of(bits));
    if (stride == 2) {                                         /* elements 0 ... 7 and 7 ... 14, so that nothing behind the last one is read */
        if (bits == 0xff) return v_alternate(v_load(from), v_load(from + 7));
        enum { NO = 256 };                                     /* no bit */
        const __m256i set = _mm256_set1_epi32((int)bits);
        const __m256i low = _mm256_setr_epi32(1, NO, 2, NO, 4, NO, 8, NO), high = _mm256_setr_epi32(NO, 16, NO, 32, NO, 64, NO, 128);
        return v_alternate(_mm256_maskload_ps(from, _mm256_cmpeq_epi32(_mm256_and_si256(set, low), low)),
                           _mm256_maskload_ps(from + 7, _mm256_cmpeq_epi32(_mm256_and_si256(set, high), high)));
    }
    float v[LANES] = { 0 };
    for (int i = 0; i < LANES; i++)
        if (bits >> i & 1) v[i] = from[(size_t)i * (size_t)stride];
    return v_load(v);
}

/* The pieces of all runs, none in two tiles; columns: which ones they have. */
static int pieces_of(const PanelWindow *g, const PanelPart *p, Piece *piece, Run *columns)
{
    Run run[PANEL_COLUMNS];
    const int width = p->width, runs = runs_of(g, p, run);
    int count = 0;
    for (int i = 0; i < runs; i++)
        for (int j = 0, n; j < run[i].n; j += n, count++) {
            const int at = run[i].at + j, in_tile = at % width;
            const int64_t y = (int64_t)run[i].y * g->stride[0] - g->pad[0], right = (int64_t)(run[i].x + j) * g->stride[1] - g->pad[1];
            n = run[i].n - j < LANES ? run[i].n - j : LANES;
            n = n < width - in_tile ? n : width - in_tile;
            columns[count] = (Run) { run[i].image, run[i].y, run[i].x + j, at, n };
            piece[count] = (Piece) { run[i].image * (int64_t)g->image + y * g->in[1] + right, (size_t)(at - in_tile) * (size_t)(p->k1 - p->k0) + (size_t)in_tile,
                                     in_tile + LANES > width ? n : 0 };
        }
    return count;
}

/* bits[i]: for which columns of piece i tap (ky, kx) lies inside the image. */
static void bits_of(const PanelWindow *g, int ky, Range valid, const Run *columns, int pieces, uint8_t *bits)
{
    for (int i = 0; i < pieces; i++) {
        const int64_t y = (int64_t)columns[i].y * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0];
        const Range r = clip(valid, &columns[i]);
        bits[i] = y < 0 || y >= g->in[0] ? 0 : (uint8_t)((1u << (r.hi - columns[i].x)) - (1u << (r.lo - columns[i].x)));
    }
}

INLINE void pack_pieces(const PanelWindow *g, const float *x, const PanelPart *p, const int stride, float *panel)
{
    Run columns[PANEL_COLUMNS];
    Piece piece[PANEL_COLUMNS];
    uint8_t bits[MOST_TAPS][PANEL_COLUMNS];
    const int pieces = pieces_of(g, p, piece, columns), taps = g->kernel[0] * g->kernel[1];
    for (int k = p->k0; k < p->k1; k++, panel += p->width) {
        const int t = k % taps, ky = t / g->kernel[1], kx = t % g->kernel[1];
        uint8_t *set = bits[t % MOST_TAPS];
        if (k - p->k0 < taps || taps > MOST_TAPS) bits_of(g, ky, inside(g, kx), columns, pieces, set);
        const float *channel = x + (size_t)(k / taps) * g->plane;
        const int64_t tap = (int64_t)ky * g->dilation[0] * g->in[1] + (int64_t)kx * g->dilation[1];
        for (int i = 0; i < pieces; i++) {
            const V v = load_strided(channel + (piece[i].from + tap), stride, set[i]);
            if (piece[i].part) v_store_some(panel + piece[i].to, piece[i].part, v);
            else v_store(panel + piece[i].to, v);
        }
    }
}

/* Each a function of its own, so that the stride is known where it is one of the usual ones. */
static __attribute__((noinline)) void pack_stride_1(const PanelWindow *g, const float *x, const PanelPart *p, float *panel) { pack_pieces(g, x, p, 1, panel); }
static __attribute__((noinline)) void pack_stride_2(const PanelWindow *g, const float *x, const PanelPart *p, float *panel) { pack_pieces(g, x, p, 2, panel); }
static __attribute__((noinline)) void pack_strided(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    pack_pieces(g, x, p, g->stride[1], panel);
}

void pack_f32_avx2(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    int64_t pixels = (int64_t)g->out[0] * g->out[1];
    if (g->stride[0] != 1 || g->stride[1] != 1 || p->n0 / pixels != (p->n0 + p->n - 1) / pixels || g->in[1] != g->out[1] || g->kernel[0] > MOST_TAPS / g->kernel[1]) {
        (g->stride[1] == 1 ? pack_stride_1 : g->stride[1] == 2 ? pack_stride_2 : pack_strided)(g, x, p, panel);
        return;
    }
    float *to[PANEL_COLUMNS / LANES];
    for (int v = 0; v < PANEL_COLUMNS / LANES; v++)
        to[v] = panel + (size_t)(v * LANES / p->width * p->width) * (size_t)(p->k1 - p->k0) + v * LANES % p->width;
    switch ((p->n + LANES - 1) / LANES) {
    case 1: pack_shifted(g, x, p, 1, to); break;
    case 2: pack_shifted(g, x, p, 2, to); break;
    case 3: pack_shifted(g, x, p, 3, to); break;
    case 4: pack_shifted(g, x, p, 4, to); break;
    case 5: pack_shifted(g, x, p, 5, to); break;
    case 6: pack_shifted(g, x, p, 6, to); break;
    case 7: pack_shifted(g, x, p, 7, to); break;
    default: pack_shifted(g, x, p, 8, to); break;
    }
}

/* 8 x 8 in registers: pairs of rows, then pairs of those, then halves. */
static inline void transpose_block(const float *x, size_t ldx, float *y, size_t ldy)
{
    __m256 r[LANES], pair[LANES], four[LANES];
    for (int i = 0; i < LANES; i++)
        r[i] = _mm256_loadu_ps(x + (size_t)i * ldx);
    for (int i = 0; i < LANES; i += 2) {
        pair[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            four[i + 2 * j] = _mm256_shuffle_ps(pair[i + j], pair[i + j + 2], 0x44);
            four[i + 2 * j + 1] = _mm256_shuffle_ps(pair[i + j], pair[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(y + (size_t)i * ldy, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        _mm256_storeu_ps(y + (size_t)(i + 4) * ldy, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
}

static void transpose_f32(const float *x, size_t ldx, int rows, int columns, float *y, size_t ldy)
{
    int whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (int c = 0; c < whole_columns; c += LANES)
        for (int r = 0; r < whole_rows; r += LANES)
            transpose_block(x + (size_t)r * ldx + c, ldx, y + (size_t)c * ldy + r, ldy);
    for (int r = 0; r < rows; r++)
        for (int c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            y[(size_t)c * ldy + (size_t)r] = x[(size_t)r * ldx + (size_t)c];
}

void pack_avx2(Kernels *k)
{
    k->pack_f32 = pack_f32_avx2;
    k->transpose_f32 = transpose_f32;
}
