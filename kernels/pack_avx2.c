/* The packer with AVX2. With stride 1 and an output as wide as the input, all columns of a panel lie at one distance from their inputs (per tap of the kernel):
 * a row is 8 loads under masks that are 0 where a tap leaves the image. Otherwise the columns are cut into pieces that lie in one output row, also under masks, which
 * are stored as they come, in ascending order: what a piece writes behind its end the next one overwrites, and no load waits for stores of another width. */
#include "kernels/lanes_avx2.inc"
#include "kernels/levels.h"
#include "kernels/runs.h"

enum { MOST_TAPS = 64, VECTORS = PANEL_COLUMNS / LANES };

typedef struct Range { int lo, hi; } Range;

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

static inline bool row_inside(const PanelWindow *g, int y, int ky)
{
    int64_t iy = (int64_t)y * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0];
    return iy >= 0 && iy < g->in[0];
}

/* How far inputs of a tap lie behind outputs, and the columns for which it lies inside the image. */
typedef struct Tap { int64_t at; __m256i mask[VECTORS]; } Tap;
/* Three taps that follow each other in a row of the kernel. need: the columns that the one in the middle loads for all; left, right: where those before and behind them
 * lie, or 0, which is read for nothing. */
typedef struct Three { int64_t at, left, right; __m256i need[VECTORS], mask[3][VECTORS]; } Three;
typedef struct Shifts { int taps; Tap tap[MOST_TAPS]; Three three[MOST_TAPS / 3]; } Shifts;

/* For each tap the columns for which it lies inside the image. */
static void bits_inside(const PanelWindow *g, const Run *run, int runs, uint64_t *bits)
{
    uint64_t rows[MOST_TAPS], columns[MOST_TAPS];
    for (int ky = 0; ky < g->kernel[0]; ky++) {
        rows[ky] = 0;
        for (int i = 0; i < runs; i++) rows[ky] |= row_inside(g, run[i].y, ky) ? ~0ull >> (64 - run[i].n) << run[i].at : 0;
    }
    for (int kx = 0; kx < g->kernel[1]; kx++) {
        const Range valid = inside(g, kx);
        columns[kx] = 0;
        for (int i = 0; i < runs; i++) {
            const Range r = clip(valid, &run[i]);
            columns[kx] |= r.hi > r.lo ? ~0ull >> (64 - (r.hi - r.lo)) << (run[i].at + r.lo - run[i].x) : 0;
        }
    }
    for (int ky = 0; ky < g->kernel[0]; ky++)
        for (int kx = 0; kx < g->kernel[1]; kx++) *bits++ = rows[ky] & columns[kx];
}

static inline bool in_threes(const PanelWindow *g) { return g->kernel[1] == 3 && g->dilation[1] == 1; }

INLINE void shifts_of(const PanelWindow *g, const PanelPart *p, const int vectors, Shifts *s)
{
    Run run[PANEL_COLUMNS];
    uint64_t bits[MOST_TAPS];
    const int runs = runs_of(g, p, run);
    const int64_t first = run->image * (int64_t)g->image + (run->y - g->pad[0]) * (int64_t)g->in[1] + run->x - g->pad[1];
    bits_inside(g, run, runs, bits);
    s->taps = g->kernel[0] * g->kernel[1];
    for (int t = 0, ky = 0; ky < g->kernel[0]; ky++)
        for (int kx = 0; kx < g->kernel[1]; kx++, t++) {
            s->tap[t].at = first + (int64_t)ky * g->dilation[0] * g->in[1] + (int64_t)kx * g->dilation[1];
            EACH(v, vectors) s->tap[t].mask[v] = lanes_of(bits[t] >> v * LANES);
        }
    for (int t = 0; in_threes(g) && t < s->taps; t += 3) {
        Three *three = &s->three[t / 3];
        const uint64_t *b = &bits[t];
        three->at = s->tap[t + 1].at;
        three->left = b[0] & 1 ? three->at - 1 : 0;
        three->right = b[2] >> (vectors * LANES - 1) & 1 ? three->at + vectors * LANES : 0;
        EACH(v, vectors) three->need[v] = lanes_of((b[0] >> 1 | b[1] | b[2] << 1) >> v * LANES);
        EACH(i, 3) EACH(v, vectors) three->mask[i][v] = s->tap[t + i].mask[v];
    }
}

INLINE V keep(V v, __m256i mask) { return _mm256_and_ps(v, _mm256_castsi256_ps(mask)); }
INLINE __m256i v_halves(V a, V b) { return _mm256_castps_si256(_mm256_permute2f128_ps(a, b, 0x21)); }
/* Lanes n ... 7 of a, then those of b; n is 1 or 7. */
#define v_join(a, b, n) _mm256_castsi256_ps((n) == 1 ? _mm256_alignr_epi8(v_halves(a, b), _mm256_castps_si256(a), 4) \
                                                     : _mm256_alignr_epi8(_mm256_castps_si256(b), v_halves(a, b), 12))

/* What is packed, from where, and where each register of a row goes. */
typedef struct Job { const PanelWindow *g; const float *x; const PanelPart *p; const Shifts *s; float *const *to; } Job;

/* One tap: the mask stays. */
INLINE void pack_plain(const Job *j, const int vectors)
{
    const float *from = j->x + (size_t)j->p->k0 * j->g->plane + j->s->tap->at;
    const size_t width = (size_t)j->p->width;
    size_t at = 0;
    __m256i mask[VECTORS];
    EACH(v, vectors) mask[v] = j->s->tap->mask[v];
    for (int k = j->p->k0; k < j->p->k1; k++, at += width, from += j->g->plane)
        EACH(v, vectors) v_store(j->to[v] + at, _mm256_maskload_ps(from + v * LANES, mask[v]));
}

/* Rows k0 ... k1 - 1 of X. */
INLINE void pack_rows(const Job *j, const int vectors, int k0, int k1)
{
    const int taps = j->s->taps;
    const float *channel = j->x + (size_t)(k0 / taps) * j->g->plane;
    const Tap *t = &j->s->tap[k0 % taps], *end = &j->s->tap[taps];
    const size_t width = (size_t)j->p->width;
    size_t at = (size_t)(k0 - j->p->k0) * width;
    for (int k = k0; k < k1; k++, at += width) {
        EACH(v, vectors) v_store(j->to[v] + at, _mm256_maskload_ps(channel + t->at + v * LANES, t->mask[v]));
        if (++t < end) continue;
        t = j->s->tap;
        channel += j->g->plane;
    }
}

/* Rows k0 ... k1 - 1, multiples of 3: two loads under masks of their own that cross lines take longer than moving within registers what the tap in the middle has. */
INLINE void pack_threes(const Job *j, const int vectors, int k0, int k1)
{
    const int taps = j->s->taps;
    const float *channel = j->x + (size_t)(k0 / taps) * j->g->plane;
    const Three *t = &j->s->three[k0 % taps / 3], *end = &j->s->three[taps / 3];
    const size_t width = (size_t)j->p->width;
    size_t at = (size_t)(k0 - j->p->k0) * width;
    for (int k = k0; k < k1; k += 3, at += 3 * width) {
        V columns[VECTORS + 2];
        columns[0] = v_set(channel[t->left]);
        EACH(v, vectors) columns[v + 1] = _mm256_maskload_ps(channel + t->at + v * LANES, t->need[v]);
        columns[vectors + 1] = v_set(channel[t->right]);
        EACH(v, vectors) v_store(j->to[v] + at, keep(v_join(columns[v], columns[v + 1], LANES - 1), t->mask[0][v]));
        EACH(v, vectors) v_store(j->to[v] + at + width, keep(columns[v + 1], t->mask[1][v]));
        EACH(v, vectors) v_store(j->to[v] + at + 2 * width, keep(v_join(columns[v + 1], columns[v + 2], 1), t->mask[2][v]));
        if (++t < end) continue;
        t = j->s->three;
        channel += j->g->plane;
    }
}

/* A K block may begin and end among three taps. */
INLINE void pack_shifted(const PanelWindow *g, const float *x, const PanelPart *p, const int vectors, float *const to[])
{
    Shifts s;
    const Job j = { g, x, p, &s, to };
    const int first = (p->k0 + 2) / 3 * 3, end = p->k1 / 3 * 3;
    shifts_of(g, p, vectors, &s);
    if (s.taps == 1) pack_plain(&j, vectors);
    else if (in_threes(g) && first < end) {
        pack_rows(&j, vectors, p->k0, first);
        pack_threes(&j, vectors, first, end);
        pack_rows(&j, vectors, end, p->k1);
    } else pack_rows(&j, vectors, p->k0, p->k1);
}

/* Columns of one run that one register holds. */
typedef struct Piece {
    int64_t from;              /* what tap 0 sees of channel 0 for the first of them, maybe outside of the image */
    size_t to;                 /* where they go in row 0 of the panel */
    int part;                  /* 0, or so many columns are stored, as more would not lie in the row */
} Piece;

/* Which of the elements that eight lanes read are touched: the first 8 and, with a stride of 2, elements 7 ... 14, so that nothing behind the last one is read. */
typedef struct Lanes { unsigned bits; __m256i low, high; } Lanes;

INLINE Lanes lanes_strided(const int stride, unsigned bits)
{
    enum { NO = 256 };                                         /* no bit */
    const __m256i set = _mm256_set1_epi32((int)bits);
    const __m256i low = _mm256_setr_epi32(1, NO, 2, NO, 4, NO, 8, NO), high = _mm256_setr_epi32(NO, 16, NO, 32, NO, 64, NO, 128);
    if (stride == 1) return (Lanes) { bits, lanes_of(bits), set };
    return (Lanes) { bits, _mm256_cmpeq_epi32(_mm256_and_si256(set, low), low), _mm256_cmpeq_epi32(_mm256_and_si256(set, high), high) };
}

/* The elements from[j * stride] of the lanes j; other lanes are 0. */
INLINE V load_strided(const float *from, const int stride, const bool whole, const Lanes *l)
{
    if (stride == 1) return whole ? v_load(from) : _mm256_maskload_ps(from, l->low);
    if (stride == 2) return whole ? v_alternate(v_load(from), v_load(from + 7)) : v_alternate(_mm256_maskload_ps(from, l->low), _mm256_maskload_ps(from + 7, l->high));
    float v[LANES] = { 0 };
    for (int i = 0; i < LANES; i++)
        if (l->bits >> i & 1) v[i] = from[(size_t)i * (size_t)stride];
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

/* What one tap sees of n channels. */
typedef struct Channels { const float *from; size_t plane; float *to; size_t step; int n; } Channels;

INLINE void pack_channels(Channels c, const int stride, const bool whole, unsigned bits, int part)
{
    const Lanes lanes = lanes_strided(stride, bits);
    for (; c.n > 0; c.n--, c.from += c.plane, c.to += c.step) {
        const V v = load_strided(c.from, stride, whole, &lanes);
        if (part) v_store_some(c.to, part, v);
        else v_store(c.to, v);
    }
}

INLINE void pack_piece(Channels c, const int stride, unsigned bits, int part)
{
    if (bits == 0xff) pack_channels(c, stride, true, bits, part);
    else pack_channels(c, stride, false, bits, part);
}

/* The columns of the run that are valid. */
static unsigned bits_of(Range valid, const Run *run)
{
    const Range r = clip(valid, run);
    return (1u << (r.hi - run->x)) - (1u << (r.lo - run->x));
}

/* Tap by tap: what it sees of all channels of a block, and their rows of the panel, stay in the L1 cache from piece to piece. Of channels that lie multiples of 4 KiB
 * apart only a few do. */
INLINE void pack_pieces(const PanelWindow *g, const float *x, const PanelPart *p, const int stride, float *panel)
{
    enum { FEW = 8 };
    Run columns[PANEL_COLUMNS];
    Piece piece[PANEL_COLUMNS];
    const int pieces = pieces_of(g, p, piece, columns), taps = g->kernel[0] * g->kernel[1];
    const int all = (p->k1 - p->k0 + taps - 1) / taps, channels = g->plane % 1024 || all < FEW ? all : FEW;
    for (int k0 = p->k0; k0 < p->k1; k0 += channels * taps)
        for (int k = k0; k < p->k1 && k < k0 + taps; k++) {
            const int ky = k % taps / g->kernel[1], kx = k % taps % g->kernel[1], left = (p->k1 - k + taps - 1) / taps;
            const Range valid = inside(g, kx);
            const float *tap = x + (size_t)(k / taps) * g->plane + ((int64_t)ky * g->dilation[0] * g->in[1] + (int64_t)kx * g->dilation[1]);
            Channels c = { .plane = g->plane, .step = (size_t)taps * (size_t)p->width, .n = left < channels ? left : channels };
            for (int i = 0; i < pieces; i++) {
                c.from = tap + piece[i].from;
                c.to = panel + piece[i].to + (size_t)(k - p->k0) * (size_t)p->width;
                pack_piece(c, stride, row_inside(g, columns[i].y, ky) ? bits_of(valid, &columns[i]) : 0, piece[i].part);
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
    float *to[VECTORS];
    for (int v = 0; v < VECTORS; v++)
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
