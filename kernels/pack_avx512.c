/* The packer with AVX-512: masked loads, one for each register and run of columns that lie in one output row.
 *
 * A load starts at the distance of its register's first column as if that lay in the same row, and the mask keeps the columns that do and whose tap lies inside
 * the image: loads of one register merge, with a stride of 2 as well, where even or odd elements are picked out of both halves afterwards. With stride 1 and an
 * output as wide as the input, all columns of an image have one distance and are one run. */
#include "kernels/lanes_avx512.inc"
#include "kernels/levels.h"
#include "kernels/runs.h"
#include <string.h>

enum { VECTORS = PANEL_COLUMNS / LANES, MOST_TAPS = 64, WIDEST = 16, MOST_LOADS = VECTORS + PANEL_COLUMNS, GROUP = 6 };

/* Where column 0 of the panel would read tap (0, 0), if it lay in the run's row. */
static int64_t first_of(const PanelWindow *g, const Run *r)
{
    return r->image * (int64_t)g->image + ((int64_t)r->y * g->stride[0] - g->pad[0]) * g->in[1] + ((int64_t)r->x - r->at) * g->stride[1] - g->pad[1];
}

static uint64_t bits(int at, int n)
{
    return n > 0 ? ~0ull >> (64 - n) << at : 0;
}

/* Columns of a run for which tap kx lies inside the image, and whether tap ky does. */
static uint64_t columns_inside(const PanelWindow *g, const Run *r, int kx)
{
    int64_t shift = (int64_t)kx * g->dilation[1] - g->pad[1], lo = -shift, hi = g->in[1] - shift;      /* bounds of x * stride */
    if (g->stride[1] == 2) {
        lo = (lo + 1) >> 1;
        hi = (hi + 1) >> 1;
    }
    lo = lo < r->x ? r->x : lo;
    hi = hi > r->x + r->n ? r->x + r->n : hi;
    return hi > lo ? bits(r->at + (int)(lo - r->x), (int)(hi - lo)) : 0;
}

static bool row_inside(const PanelWindow *g, const Run *r, int ky)
{
    int64_t y = (int64_t)r->y * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0];
    return y >= 0 && y < g->in[0];
}

/* What the loops over k count. */
typedef struct Tap { int c, ky, kx; } Tap;

static Tap tap_at(const PanelWindow *g, int k)
{
    int taps = g->kernel[0] * g->kernel[1];
    return (Tap) { k / taps, k % taps / g->kernel[1], k % g->kernel[1] };
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

/* Registers in turn; each has a load for each run that it meets. */
typedef struct Load {
    int64_t first;
    int vector;
    bool last;                     /* of its register */
    uint64_t rows;                 /* bit ky: tap ky lies inside the image */
    uint32_t mask[WIDEST];         /* for each kx, of the elements in memory; where taps share loads, see pack_halves, the next tap's as well */
} Load;

/* With a stride of 2 and no dilation two taps share what they load: one sees every second element and the other one those between. */
static bool taps_pair(const PanelWindow *g) { return g->stride[1] == 2 && g->dilation[1] == 1; }

/* Each of 16 bits twice as far, for every second element. */
static uint32_t spread(uint32_t b)
{
    b = (b | b << 8) & 0x00ff00ff;
    b = (b | b << 4) & 0x0f0f0f0f;
    b = (b | b << 2) & 0x33333333;
    return (b | b << 1) & 0x55555555;
}

/* An empty run ends them. */
static int loads_of(const PanelWindow *g, const PanelPart *p, const Run *run, Load *load)
{
    int count = 0;
    for (int v = 0, i = 0; v * LANES < p->n; v++) {
        for (; run[i].n && run[i].at < (v + 1) * LANES; i++) {
            Load *l = &load[count++];
            *l = (Load) { .first = first_of(g, &run[i]) + (int64_t)v * LANES * g->stride[1], .vector = v };
            for (int ky = 0; ky < g->kernel[0]; ky++) l->rows |= (uint64_t)row_inside(g, &run[i], ky) << ky;
            for (int kx = g->kernel[1] - 1; kx >= 0; kx--) {
                uint32_t inside = (uint16_t)(columns_inside(g, &run[i], kx) >> v * LANES);
                l->mask[kx] = g->stride[1] == 1 ? inside : spread(inside);
                if (taps_pair(g) && kx % 2 == 0 && kx + 1 < g->kernel[1]) l->mask[kx] |= l->mask[kx + 1] << 1;
            }
            if (run[i].at + run[i].n > (v + 1) * LANES) break;             /* it goes on in the next register */
        }
        load[count - 1].last = true;
    }
    return count;
}

static void pack_loads(const PanelWindow *g, const float *x, const PanelPart *p, const Run *run, float *const to[])
{
    Load load[MOST_LOADS];
    int count = loads_of(g, p, run, load);
    Tap t = tap_at(g, p->k0);
    size_t at = 0;
    for (int k = p->k0; k < p->k1; k++, at += (size_t)p->width) {
        const float *tap = x + (size_t)t.c * g->plane + (int64_t)t.ky * g->dilation[0] * g->in[1] + (int64_t)t.kx * g->dilation[1];
        V v = v_set(0);
        for (const Load *l = load; l < load + count; l++) {
            v = _mm512_mask_loadu_ps(v, (M)(l->rows >> t.ky & 1 ? l->mask[t.kx] : 0), tap + l->first);
            if (!l->last) continue;
            v_store(to[l->vector] + at, v);
            v = v_set(0);
        }
        if (++t.kx < g->kernel[1]) continue;
        t.kx = 0;
        if (++t.ky < g->kernel[0]) continue;
        t.ky = 0;
        t.c++;
    }
}

/* What a register of columns sees for tap (ky, kx), and for the next one if it shares the loads, in even and odd elements. */
typedef struct Halves { V low, high; } Halves;

INLINE Halves load_halves(const Load *l, int ky, int kx, const float *tap)
{
    Halves h = { v_set(0), v_set(0) };
    for (;; l++) {
        uint32_t mask = l->rows >> ky & 1 ? l->mask[kx] : 0;
        h.low = _mm512_mask_loadu_ps(h.low, (M)mask, tap + l->first);
        h.high = _mm512_mask_loadu_ps(h.high, (M)(mask >> LANES), tap + l->first + LANES);
        if (l->last) return h;
    }
}

/* Row k of the panel, if it is wanted. */
INLINE void store_halves(const PanelPart *p, const int vectors, const Halves *h, const __m512i which, int k, float *const to[])
{
    int64_t at = (int64_t)(k - p->k0) * p->width;
    if (k >= p->k0 && k < p->k1) EACH(v, vectors) v_store(to[v] + at, _mm512_permutex2var_ps(h[v].low, which, h[v].high));
}

/* Stride 2: all taps of a row of the kernel, loads before stores as in pack_shifted. A K block may begin and end among them. */
INLINE void pack_halves(const PanelWindow *g, const float *x, const PanelPart *p, const Run *run, const int vectors, float *const to[])
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    Load load[MOST_LOADS];
    const Load *of[VECTORS];
    int width = g->kernel[1], each = taps_pair(g) ? 2 : 1, start = p->k0 / width * width;
    Tap t = tap_at(g, start);
    for (int i = 0, n = loads_of(g, p, run, load); i < n; i++) if (!i || load[i - 1].last) of[load[i].vector] = &load[i];
    for (int k = start; k < p->k1; k += width) {
        const float *from = x + (size_t)t.c * g->plane + (int64_t)t.ky * g->dilation[0] * g->in[1];
        for (int kx = 0; kx < width; kx += 2 * each) {
            Halves h[2][VECTORS];
            const bool more = kx + each < width;
            EACH(v, vectors) h[0][v] = load_halves(of[v], t.ky, kx, from + (int64_t)kx * g->dilation[1]);
            EACH(v, vectors) h[1][v] = more ? load_halves(of[v], t.ky, kx + each, from + (int64_t)(kx + each) * g->dilation[1]) : (Halves) { v_set(0), v_set(0) };
            store_halves(p, vectors, h[0], even, k + kx, to);
            if (each == 2 && kx + 1 < width) store_halves(p, vectors, h[0], odd, k + kx + 1, to);
            if (more) store_halves(p, vectors, h[1], even, k + kx + each, to);
            if (more && each == 2 && kx + 3 < width) store_halves(p, vectors, h[1], odd, k + kx + 3, to);
        }
        if (++t.ky < g->kernel[0]) continue;
        t.ky = 0;
        t.c++;
    }
}

static void pack_f32(const PanelWindow *g, const float *x, const PanelPart *p, float *panel)
{
    if (g->kernel[0] > MOST_TAPS / g->kernel[1] || g->kernel[1] > WIDEST || g->stride[1] > 2) {
        pack_f32_avx2(g, x, p, panel);
        return;
    }
    Run run[PANEL_COLUMNS + 1];
    float *to[VECTORS];
    int runs = runs_of(g, p, run);
    bool one = true;
    for (int i = 1; i < runs; i++) one &= first_of(g, &run[i]) == first_of(g, run);
    for (int v = 0; v < VECTORS; v++) to[v] = panel + (size_t)(v * LANES / p->width * p->width) * (size_t)(p->k1 - p->k0) + v * LANES % p->width;
    run[runs].n = 0;
    if (g->stride[1] == 2) {
        switch ((p->n + LANES - 1) / LANES) {
        case 1: pack_halves(g, x, p, run, 1, to); return;
        case 2: pack_halves(g, x, p, run, 2, to); return;
        case 3: pack_halves(g, x, p, run, 3, to); return;
        default: pack_halves(g, x, p, run, 4, to); return;
        }
    }
    if (!one) {
        pack_loads(g, x, p, run, to);
        return;
    }
    Shifts s;
    shifts_of(g, run, runs, &s);
    const Job job = { g, x, p, &s, to };
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
