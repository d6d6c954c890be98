/* The packer with AVX2. With stride 1 and an output as wide as the input, all columns of a panel lie at one distance from their inputs (per tap of the kernel):
 * a row is 8 loads under a mask that is 0 where a tap leaves the image. Otherwise the columns are cut into runs that lie in one output row. */
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

/* n elements that are `stride` apart; other lanes are 0. */
static inline V load_strided(const float *from, int stride, int n)
{
    bool full = n >= LANES;
    if (stride == 1)
        return full ? v_load(from) : v_load_some(from, n);
    if (stride == 2)                                           /* elements 0 ... 7 and 7 ... 14, so that nothing behind the last one is read */
        return full ? v_alternate(v_load(from), v_load(from + 7)) : v_alternate(v_load_some(from, 2 * n - 1), v_load_some(from + 7, 2 * n - 8));
    float v[LANES] = { 0 };
    for (int i = 0; i < n && i < LANES; i++)
        v[i] = from[(size_t)i * (size_t)stride];
    return v_load(v);
}

/* Pixels of one run: zeros, input, zeros. Writes up to 7 elements too many. */
static inline void fill_run(float *line, const Run *run, Range r, const float *image_row, int stride)
{
    float *to = line + run->at;
    for (int i = 0; i < r.lo - run->x; i += LANES)
        _mm256_storeu_ps(to + i, _mm256_setzero_ps());
    for (int i = 0; i < r.hi - r.lo; i += LANES)
        _mm256_storeu_ps(to + (r.lo - run->x) + i, load_strided(image_row + (size_t)i * (size_t)stride, stride, r.hi - r.lo - i));
    for (int i = r.hi - run->x; i < run->n; i += LANES)
        _mm256_storeu_ps(to + i, _mm256_setzero_ps());
}

static void pack_runs(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    Run run[PANEL_COLUMNS];
    float line[PANEL_COLUMNS + 2 * LANES];
    int runs = runs_of(g, p, run), taps = g->kernel[0] * g->kernel[1], rows = p->k1 - p->k0;
    size_t width = (size_t)p->width, tile = (size_t)rows * width;
    for (int k = p->k0; k < p->k1; k++, panel += width) {
        int c = k / taps, ky = k % taps / g->kernel[1], kx = k % g->kernel[1];
        int64_t right = (int64_t)kx * g->dilation[1] - g->pad[1];
        const float *channel = x + (size_t)c * g->plane;
        Range valid = inside(g, kx);
        for (int i = 0; i < runs; i++) {
            int64_t y = (int64_t)run[i].y * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0];
            Range r = y < 0 || y >= g->in[0] ? (Range) { run[i].x, run[i].x } : clip(valid, &run[i]);
            int64_t first = r.hi > r.lo ? y * g->in[1] + (int64_t)r.lo * g->stride[1] + right : 0;
            fill_run(line, &run[i], r, channel + run[i].image * (int64_t)g->image + first, g->stride[1]);
        }
        _mm256_storeu_ps(line + p->n, _mm256_setzero_ps());
        for (int i = 0; i < p->n; i += LANES)
            _mm256_storeu_ps(panel + (size_t)i / width * tile + (size_t)i % width, _mm256_loadu_ps(line + i));
    }
}

void pack_f32_avx2(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    int64_t pixels = (int64_t)g->out[0] * g->out[1];
    if (g->stride[0] != 1 || g->stride[1] != 1 || p->n0 / pixels != (p->n0 + p->n - 1) / pixels || g->in[1] != g->out[1] || g->kernel[0] > MOST_TAPS / g->kernel[1]) {
        pack_runs(g, x, p, panel);
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
