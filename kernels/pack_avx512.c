/* The packer with AVX-512.
 *
 * With stride 1 and an output as wide as the input, all columns of an image have one distance: each register is one load, whose mask keeps the columns whose tap lies
 * inside the image. Otherwise columns are packed in pieces that lie in one output row: two registers of input hold what all taps of a row of the kernel see of a piece,
 * and a permutation for each tap picks it out. */
#include "kernels/lanes_avx512.inc"
#include "kernels/levels.h"
#include "kernels/runs.h"
#include <string.h>

enum { VECTORS = PANEL_COLUMNS / LANES, MOST_TAPS = 64, FEWEST = 4, GROUP = 6 };

/* Where column 0 of the panel would read tap (0, 0), if it lay in the run's row. */
static int64_t first_of(const PanelWindow *g, const Run *r)
{
    return r->image * (int64_t)g->image + ((int64_t)r->y * g->stride[0] - g->pad[0]) * g->in[1] + ((int64_t)r->x - r->at) * g->stride[1] - g->pad[1];
}

static uint64_t bits(int at, int n)
{
    return n > 0 ? ~0ull >> (64 - n) << at : 0;
}

/* Columns of a run for which tap kx lies inside the image; stride 1. */
static uint64_t columns_inside(const PanelWindow *g, const Run *r, int kx)
{
    int64_t shift = (int64_t)kx * g->dilation[1] - g->pad[1], lo = -shift, hi = g->in[1] - shift;
    lo = lo < r->x ? r->x : lo;
    hi = hi > r->x + r->n ? r->x + r->n : hi;
    return hi > lo ? bits(r->at + (int)(lo - r->x), (int)(hi - lo)) : 0;
}

static bool row_inside(const PanelWindow *g, const Run *r, int ky)
{
    int64_t y = (int64_t)r->y * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0];
    return y >= 0 && y < g->in[0];
}

typedef struct Shifts { int64_t at[MOST_TAPS]; uint64_t mask[MOST_TAPS]; } Shifts;

/* The next row that is read, while they are read in order. */
typedef struct Source { const float *channel; int tap; } Source;

INLINE void load_row(const PanelWindow *g, const Shifts *s, const int vectors, Source *from, V *row)
{
    const float *x = from->channel + s->at[from->tap];
    uint64_t mask = s->mask[from->tap];
    EACH(v, vectors) row[v] = v_load_masked(x + LANES * v, (M)(mask >> LANES * v));
    if (++from->tap < g->kernel[0] * g->kernel[1]) return;
    from->tap = 0;
    from->channel += g->plane;
}

/* What is packed, from where, and where each register of a row goes. */
typedef struct Job { const PanelWindow *g; const float *x; const PanelPart *p; const Shifts *s; float *const *to; } Job;

/* Rows in groups, loads first: a load waits for stores before it whose addresses end in the same 12 bits, and a few rows of stores cover all of them. */
INLINE void pack_shifted(const Job *j, const int vectors)
{
    const PanelWindow *g = j->g;
    int taps = g->kernel[0] * g->kernel[1], rows = j->p->k1 - j->p->k0;
    Source from = { j->x + (size_t)(j->p->k0 / taps) * g->plane, j->p->k0 % taps };
    size_t at = 0, width = (size_t)j->p->width;
    for (; rows >= GROUP; rows -= GROUP, at += GROUP * width) {
        V row[GROUP][VECTORS];
        EACH(r, GROUP) load_row(g, j->s, vectors, &from, row[r]);
        EACH(r, GROUP) EACH(v, vectors) v_store(j->to[v] + at + (size_t)r * width, row[r][v]);
    }
    for (; rows > 0; rows--, at += width) {
        V row[VECTORS];
        load_row(g, j->s, vectors, &from, row);
        EACH(v, vectors) v_store(j->to[v] + at, row[v]);
    }
}

/* One tap: the mask stays. */
INLINE void pack_plain(const Job *j, const int vectors)
{
    const size_t width = (size_t)j->p->width, plane = j->g->plane;
    const float *from = j->x + (size_t)j->p->k0 * plane + j->s->at[0];
    size_t at = 0;
    M mask[VECTORS];
    EACH(v, vectors) mask[v] = (M)(j->s->mask[0] >> LANES * v);
    int rows = j->p->k1 - j->p->k0;
    for (; rows >= GROUP; rows -= GROUP, at += GROUP * width, from += GROUP * plane) {
        V row[GROUP][VECTORS];
        EACH(r, GROUP) EACH(v, vectors) row[r][v] = v_load_masked(from + (size_t)r * plane + LANES * v, mask[v]);
        EACH(r, GROUP) EACH(v, vectors) v_store(j->to[v] + at + (size_t)r * width, row[r][v]);
    }
    for (; rows > 0; rows--, at += width, from += plane) EACH(v, vectors) v_store(j->to[v] + at, v_load_masked(from + LANES * v, mask[v]));
}

/* Three taps that follow each other in a row of the kernel, for all channels of the block: the columns are loaded once, for the tap in the middle, and moved by one
 * for those beside it. Rows 3 * three, 3 * three + 1 and 3 * three + 2 of X, in steps of a channel, up to 3 * end. */
INLINE void pack_three(const Job *j, const int vectors, int three, int end)
{
    const int each = j->g->kernel[0], tap = three % each * 3;
    const uint64_t *mask = &j->s->mask[tap], need = mask[1] | mask[0] >> 1 | mask[2] << 1;
    const bool before = mask[0] & 1, after = mask[2] >> (LANES * vectors - 1) & 1;
    const size_t width = (size_t)j->p->width, step = 3 * (size_t)each * width, plane = j->g->plane;
    const float *from = j->x + (size_t)(three / each) * plane + j->s->at[tap + 1];
    const float *left = before ? from - 1 : j->x, *right = after ? from + LANES * vectors : j->x;       /* read for nothing where there are none */
    const size_t left_step = before ? plane : 0, right_step = after ? plane : 0;
    size_t at = (size_t)(3 * three - j->p->k0) * width;
    M inside[VECTORS];
    V keep[3][VECTORS];
    EACH(v, vectors) inside[v] = (M)(need >> LANES * v);
    EACH(t, 3) EACH(v, vectors) keep[t][v] = v_mask((M)(mask[t] >> LANES * v));
    for (; three < end; three += each, from += plane, left += left_step, right += right_step, at += step) {
        V columns[VECTORS + 2];
        columns[0] = v_set(*left);
        EACH(v, vectors) columns[v + 1] = v_load_masked(from + LANES * v, inside[v]);
        columns[vectors + 1] = v_set(*right);
        EACH(v, vectors) v_store(j->to[v] + at, v_and(keep[0][v], v_join(columns[v], columns[v + 1], LANES - 1)));
        EACH(v, vectors) v_store(j->to[v] + at + width, v_and(keep[1][v], columns[v + 1]));
        EACH(v, vectors) v_store(j->to[v] + at + 2 * width, v_and(keep[2][v], v_join(columns[v + 1], columns[v + 2], 1)));
    }
}

/* A K block may begin and end among the three. */
INLINE void pack_threes(const Job *j, const int vectors)
{
    const int first = (j->p->k0 + 2) / 3, end = j->p->k1 / 3;
    if (first >= end) {
        pack_shifted(j, vectors);
        return;
    }
    PanelPart head = *j->p, tail = *j->p;
    float *rest[VECTORS];
    head.k1 = 3 * first;
    tail.k0 = 3 * end;
    EACH(v, vectors) rest[v] = j->to[v] + (size_t)(tail.k0 - j->p->k0) * (size_t)j->p->width;
    pack_shifted(&(Job) { j->g, j->x, &head, j->s, j->to }, vectors);
    for (int three = first; three < first + j->g->kernel[0]; three++) pack_three(j, vectors, three, end);
    pack_shifted(&(Job) { j->g, j->x, &tail, j->s, rest }, vectors);
}

INLINE void pack_unit_stride(const Job *j, const int vectors)
{
    if (j->g->kernel[0] * j->g->kernel[1] == 1) pack_plain(j, vectors);
    else if (j->g->kernel[1] == 3 && j->g->dilation[1] == 1) pack_threes(j, vectors);
    else pack_shifted(j, vectors);
}

static void shifts_of(const PanelWindow *g, const Run *run, int runs, Shifts *s)
{
    const int64_t first = first_of(g, run);
    uint64_t rows[MOST_TAPS], columns[MOST_TAPS];
    memset(rows, 0, (size_t)g->kernel[0] * sizeof *rows);
    memset(columns, 0, (size_t)g->kernel[1] * sizeof *columns);
    for (int i = 0; i < runs; i++) {
        for (int ky = 0; ky < g->kernel[0]; ky++) rows[ky] |= row_inside(g, &run[i], ky) ? bits(run[i].at, run[i].n) : 0;
        for (int kx = 0; kx < g->kernel[1]; kx++) columns[kx] |= columns_inside(g, &run[i], kx);
    }
    for (int t = 0; t < g->kernel[0] * g->kernel[1]; t++) {
        int ky = t / g->kernel[1], kx = t % g->kernel[1];
        s->at[t] = first + (int64_t)ky * g->dilation[0] * g->in[1] + (int64_t)kx * g->dilation[1];
        s->mask[t] = rows[ky] & columns[kx];
    }
}

/* Columns that lie in one output row, and in one tile of the panel. */
typedef struct Piece {
    int64_t from;                  /* what tap (0, 0) of its first column reads */
    float *to;                     /* its first column in row k0 of X */
    uint64_t rows;                 /* bit ky: tap ky lies inside the image */
    uint32_t inside;               /* of the 32 elements from there on, those inside the image */
    M columns;                     /* that may be written: what lies behind it is written later, but not at the end of a tile */
} Piece;

/* Columns of a piece of which two registers hold what all taps see. */
static int piece_columns(const PanelWindow *g)
{
    const int64_t most = 2 * LANES - 1 - (int64_t)(g->kernel[1] - 1) * g->dilation[1];
    return most < 0 ? 0 : most / g->stride[1] + 1 < LANES ? (int)(most / g->stride[1]) + 1 : LANES;
}

static int pieces_of(const PanelWindow *g, const PanelPart *p, const Run *run, float *panel, Piece *piece)
{
    const int most = piece_columns(g), rows = p->k1 - p->k0;
    int count = 0;
    for (; run->n; run++) {
        uint64_t inside = 0;
        for (int ky = 0; ky < g->kernel[0]; ky++) inside |= (uint64_t)row_inside(g, run, ky) << ky;
        for (int i = 0, n; i < run->n; i += n) {
            const int at = run->at + i, column = at % p->width, left = p->width - column;
            const int64_t x = (int64_t)(run->x + i) * g->stride[1] - g->pad[1], lo = x < 0 ? -x : 0, hi = g->in[1] - x;
            n = run->n - i < most ? run->n - i : most;
            n = n < left ? n : left;
            Piece *q = &piece[count++];
            *q = (Piece) { .from = run->image * (int64_t)g->image + ((int64_t)run->y * g->stride[0] - g->pad[0]) * g->in[1] + x,
                           .to = panel + (size_t)(at - column) * (size_t)rows + column, .rows = inside, .columns = left < LANES ? v_first(left) : (M)-1 };
            if (hi > lo && lo < 2 * LANES) q->inside = (uint32_t)bits((int)lo, hi < 2 * LANES ? (int)(hi - lo) : (int)(2 * LANES - lo));
        }
    }
    return count;
}

/* A row of the kernel, of channel c. */
typedef struct Line { int c, ky; } Line;

/* Rows k ... of X, one for each tap of the line, which is `width` wide: those from k0 up to k1. */
INLINE void pack_line(const Job *j, const Piece *q, const int width, const __m512i *see, const Line *t, int k)
{
    const PanelPart *p = j->p;
    const float *x = j->x + (size_t)t->c * j->g->plane + (int64_t)t->ky * j->g->dilation[0] * j->g->in[1] + q->from;
    const uint32_t inside = q->rows >> t->ky & 1 ? q->inside : 0;
    const V low = v_load_masked(x, (M)inside), high = v_load_masked(x + LANES, (M)(inside >> LANES));
    float *to = q->to + (int64_t)(k - p->k0) * p->width;
    EACH(kx, width) {
        const V seen = _mm512_permutex2var_ps(low, see[kx], high);
        if (k + kx < p->k0 || k + kx >= p->k1) continue;
        if (q->columns == (M)-1) v_store(to + (size_t)kx * (size_t)p->width, seen);
        else _mm512_mask_storeu_ps(to + (size_t)kx * (size_t)p->width, q->columns, seen);
    }
}

/* Lines first ... end - 1, of which all rows are wanted: pieces in turn, so that their masks stay in registers from channel to channel. */
INLINE void pack_whole_lines(const Job *j, const Piece *q, const int width, const __m512i *see, int first, int end)
{
    const PanelWindow *g = j->g;
    const size_t panel = (size_t)j->p->width, step = (size_t)g->kernel[0] * (size_t)width * panel;
    for (int line = first; line < end && line < first + g->kernel[0]; line++) {
        const int ky = line % g->kernel[0];
        const uint32_t inside = q->rows >> ky & 1 ? q->inside : 0;
        const M low = (M)inside, high = (M)(inside >> LANES), columns = q->columns;
        const float *x = j->x + (size_t)(line / g->kernel[0]) * g->plane + (int64_t)ky * g->dilation[0] * g->in[1] + q->from;
        float *to = q->to + (int64_t)(line * width - j->p->k0) * (int64_t)panel;
        for (int i = line; i < end; i += g->kernel[0], x += g->plane, to += step) {
            const V a = v_load_masked(x, low), b = v_load_masked(x + LANES, high);
            EACH(kx, width) _mm512_mask_storeu_ps(to + (size_t)kx * panel, columns, _mm512_permutex2var_ps(a, see[kx], b));
        }
    }
}

INLINE void pack_pieces(const Job *j, const Piece *piece, int count, const int width)
{
    const PanelWindow *g = j->g;
    const int first = (j->p->k0 + width - 1) / width, end = j->p->k1 / width, rows = g->kernel[0];
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), start = _mm512_mullo_epi32(lane, _mm512_set1_epi32(g->stride[1]));
    __m512i see[2 * LANES];
    EACH(kx, width) see[kx] = _mm512_add_epi32(start, _mm512_set1_epi32(kx * g->dilation[1]));
    for (const Piece *q = piece; q < piece + count; q++) {
        if (first * width > j->p->k0) pack_line(j, q, width, see, &(Line) { (first - 1) / rows, (first - 1) % rows }, (first - 1) * width);
        pack_whole_lines(j, q, width, see, first, end);
        if (end >= first && end * width < j->p->k1) pack_line(j, q, width, see, &(Line) { end / rows, end % rows }, end * width);
    }
}

/* Apart, as gcc 12 keeps fewer values of the others in registers otherwise. */
static __attribute__((noinline)) void pack_apart(const Job *j, const Run *run, float *panel)
{
    Piece piece[PANEL_COLUMNS];
    const int count = pieces_of(j->g, j->p, run, panel, piece);
    switch (j->g->kernel[1]) {
    case 1: pack_pieces(j, piece, count, 1); break;
    case 3: pack_pieces(j, piece, count, 3); break;
    default: pack_pieces(j, piece, count, j->g->kernel[1]); break;
    }
}

static void pack_f32(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    Run run[PANEL_COLUMNS + 1];
    Shifts s;
    float *to[VECTORS];
    const Job job = { g, x, p, &s, to };
    const int runs = runs_of(g, p, run);
    bool one = g->stride[1] == 1;
    for (int i = 1; i < runs && one; i++) one = first_of(g, &run[i]) == first_of(g, run);
    if (one ? g->kernel[0] > MOST_TAPS / g->kernel[1] : g->kernel[0] > MOST_TAPS || piece_columns(g) < FEWEST) {
        pack_f32_avx2(g, x, p, panel);
        return;
    }
    for (int v = 0; v < VECTORS; v++) to[v] = panel + (size_t)(v * LANES / p->width * p->width) * (size_t)(p->k1 - p->k0) + v * LANES % p->width;
    run[runs].n = 0;
    if (!one) {
        pack_apart(&job, run, panel);
        return;
    }
    shifts_of(g, run, runs, &s);
    switch ((p->n + LANES - 1) / LANES) {
    case 1: pack_unit_stride(&job, 1); break;
    case 2: pack_unit_stride(&job, 2); break;
    case 3: pack_unit_stride(&job, 3); break;
    default: pack_unit_stride(&job, 4); break;
    }
}

/* 16 x 16: pairs of rows, then pairs of those, then quarters of registers twice. */
static void transpose_block(const float *x, size_t ldx, int rows, int columns, float *y, size_t ldy)
{
    V a[LANES], b[LANES];
    const M in = v_first(columns), out = v_first(rows);
    EACH(i, LANES) a[i] = i < rows ? v_load_masked(x + (size_t)i * ldx, in) : v_set(0);
    EACH(i, LANES) b[i] = i % 2 ? _mm512_unpackhi_ps(a[i - 1], a[i]) : _mm512_unpacklo_ps(a[i], a[i + 1]);
    EACH(i, LANES) {
        const int lo = i / 4 * 4 + i % 4 / 2;                      /* rows lo / lo + 2 of a group of four hold the pairs that go together */
        a[i] = i % 2 ? _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[lo]), _mm512_castps_pd(b[lo + 2])))
                     : _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[lo]), _mm512_castps_pd(b[lo + 2])));
    }
    EACH(i, 4) {                                                    /* a[i], a[i + 4] ...: column i + 4 * quarter of rows 0 - 3, 4 - 7 ... */
        V even01 = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88), odd01 = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd);
        V even23 = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88), odd23 = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xdd);
        b[i] = _mm512_shuffle_f32x4(even01, even23, 0x88);
        b[i + 4] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
        b[i + 8] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
        b[i + 12] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
    EACH(i, LANES) if (i < columns) _mm512_mask_storeu_ps(y + (size_t)i * ldy, out, b[i]);
}

/* Four columns of rows r, r + 4, r + 8, r + 12: what loads put in place costs no shuffle. */
INLINE V four_rows(const float *x, size_t step)
{
    V v = _mm512_castps128_ps512(_mm_loadu_ps(x));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + step), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 2 * step), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(x + 3 * step), 3);
}

/* 16 rows, 16 columns. */
INLINE void transpose_whole(const float *x, size_t ldx, float *y, size_t ldy)
{
    EACH(q, 4) {
        V a[4];
        EACH(i, 4) a[i] = four_rows(x + (size_t)i * ldx + 4 * q, 4 * ldx);
        V low01 = _mm512_unpacklo_ps(a[0], a[1]), high01 = _mm512_unpackhi_ps(a[0], a[1]);
        V low23 = _mm512_unpacklo_ps(a[2], a[3]), high23 = _mm512_unpackhi_ps(a[2], a[3]);
        float *to = y + (size_t)(4 * q) * ldy;
        v_store(to, _mm512_shuffle_ps(low01, low23, 0x44));
        v_store(to + ldy, _mm512_shuffle_ps(low01, low23, 0xee));
        v_store(to + 2 * ldy, _mm512_shuffle_ps(high01, high23, 0x44));
        v_store(to + 3 * ldy, _mm512_shuffle_ps(high01, high23, 0xee));
    }
}

static void transpose_f32(const float *x, size_t ldx, int rows, int columns, float *y, size_t ldy)
{
    for (int c = 0; c < columns; c += LANES)
        for (int r = 0; r < rows; r += LANES) {
            int height = rows - r < LANES ? rows - r : LANES, width = columns - c < LANES ? columns - c : LANES;
            const float *from = x + (size_t)r * ldx + c;
            float *to = y + (size_t)c * ldy + r;
            if (height == LANES && width == LANES) transpose_whole(from, ldx, to, ldy);
            else transpose_block(from, ldx, height, width, to, ldy);
        }
}

void pack_avx512(Kernels *k)
{
    k->pack_f32 = pack_f32;
    k->transpose_f32 = transpose_f32;
}
