/* Strided copies: runs of elements where both sides have them, else tiles that are transposed, so that each cache line is used as a whole. */
#include <string.h>
#include "engine/move.h"
#include "kernels/kernels.h"
#include "kernels/whole.h"

enum { TILE = 64, PIECE = 4096 };

/* The axes in the order in which they lie in `to`, without those of one element. */
static void order(const Copy *c, Copy *o)
{
    o->rank = 0;
    for (int i = 0; i < c->rank; i++) {
        if (c->dim[i] == 1) continue;
        int at = o->rank++;
        for (; at > 0 && o->to[at - 1] < c->to[i]; at--) {
            o->dim[at] = o->dim[at - 1]; o->from[at] = o->from[at - 1]; o->to[at] = o->to[at - 1];
        }
        o->dim[at] = c->dim[i]; o->from[at] = c->from[i]; o->to[at] = c->to[i];
    }
}

/* Neighbours that lie one behind the other on both sides become one. */
static void merge(const Copy *c, Copy *m)
{
    m->rank = 0;
    for (int i = 0; i < c->rank; i++) {
        int last = m->rank - 1;
        if (last >= 0 && m->from[last] == c->from[i] * c->dim[i] && m->to[last] == c->to[i] * c->dim[i]) {
            m->dim[last] *= c->dim[i]; m->from[last] = c->from[i]; m->to[last] = c->to[i];
        } else copy_axis(m, c->dim[i], c->from[i], c->to[i]);
    }
    if (!m->rank) copy_axis(m, 1, 1, 1);
}

/* Where the walk over all axes but the innermost stands. */
typedef struct Place { int64_t index[2 * MAX_RANK], from, to; } Place;

static void place_at(const Copy *c, int axes, int64_t number, Place *p)
{
    p->from = p->to = 0;
    for (int i = axes - 1; i >= 0; i--) {
        p->index[i] = number % c->dim[i];
        number /= c->dim[i];
        p->from += p->index[i] * c->from[i];
        p->to += p->index[i] * c->to[i];
    }
}

static void place_next(const Copy *c, int axes, Place *p)
{
    for (int i = axes - 1; i >= 0; i--) {
        p->from += c->from[i];
        p->to += c->to[i];
        if (++p->index[i] < c->dim[i]) return;
        p->from -= c->dim[i] * c->from[i];
        p->to -= c->dim[i] * c->to[i];
        p->index[i] = 0;
    }
}

#define COPY_LOOP(T) do { \
        const T *x = from; T *y = to; \
        if (sf == 1 && st == 1) for (int64_t i = 0; i < n; i++) y[i] = x[i]; \
        else if (!sf && st == 1) { T v = *x; _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = v; } \
        else if (sf == 2 && st == 1) { _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = x[2 * i]; } \
        else for (int64_t i = 0; i < n; i++) y[i * st] = x[i * sf]; \
    } while (0)

static void copy_row(const void *from, int64_t sf, void *to, int64_t st, int64_t n, size_t size)
{
    if (sf == 1 && st == 1 && (size_t)n * size >= 32) { memcpy(to, from, (size_t)n * size); return; }
    switch (size) {
    case 1: COPY_LOOP(uint8_t); break;
    case 2: COPY_LOOP(uint16_t); break;
    case 4: COPY_LOOP(uint32_t); break;
    case 8: COPY_LOOP(uint64_t); break;
    default: for (int64_t i = 0; i < n; i++) memcpy((char *)to + i * st * (int64_t)size, (const char *)from + i * sf * (int64_t)size, size);
    }
}

static void copy_rows(const Plan *plan, const Copy *c, const char *from, char *to, size_t size)
{
    int last = c->rank - 1;
    int64_t rows = 1, inner = c->dim[last], each = inner < PIECE ? PIECE / (inner + 1) + 1 : 1, step = (int64_t)size;
    for (int i = 0; i < last; i++) rows *= c->dim[i];
    #pragma omp parallel for num_threads(plan->threads) if (rows * inner > PARALLEL_WORK)
    for (int64_t first = 0; first < rows; first += each) {
        Place p;
        place_at(c, last, first, &p);
        for (int64_t row = first; row < rows && row < first + each; row++, place_next(c, last, &p))
            copy_row(from + p.from * step, c->from[last], to + p.to * step, c->to[last], inner, size);
    }
}

#define TURN_LOOP(T) do { \
        const T *x = from; T *y = to; \
        if (rows < columns) for (int64_t i = 0; i < rows; i++) _Pragma("GCC unroll 4") for (int64_t j = 0; j < columns; j++) y[j * ldy + i] = x[i * ldx + j]; \
        else for (int64_t j = 0; j < columns; j++) _Pragma("GCC unroll 4") for (int64_t i = 0; i < rows; i++) y[j * ldy + i] = x[i * ldx + j]; \
    } while (0)

/* y[j * ldy + i] = x[i * ldx + j] */
static void turn_tile(const void *from, int64_t ldx, void *to, int64_t ldy, const int64_t rows_columns[2], size_t size)
{
    const Kernels *k = kernels_best();
    int64_t rows = rows_columns[0], columns = rows_columns[1];
    switch (size) {
    case 1: TURN_LOOP(uint8_t); break;
    case 2: TURN_LOOP(uint16_t); break;
    case 8: TURN_LOOP(uint64_t); break;
    default:
        if (k && rows > 3 && columns > 3) k->transpose_f32(from, (size_t)ldx, (int)rows, (int)columns, to, (size_t)ldy);
        else TURN_LOOP(uint32_t);
    }
}

/* The innermost axis is contiguous in `to`, the last of the others in `from`. */
static void copy_turned(const Plan *plan, const Copy *c, const char *from, char *to, size_t size)
{
    int outer = c->rank - 2;
    int64_t columns = c->dim[outer], rows = c->dim[outer + 1], ldx = c->from[outer + 1], ldy = c->to[outer], step = (int64_t)size;
    int64_t width = rows < TILE ? TILE * TILE / rows : TILE, height = columns < TILE ? TILE * TILE / columns : TILE;
    int64_t wide = pieces_in(columns, width), high = pieces_in(rows, height), tiles = wide * high, planes = 1, area = rows * columns;
    int64_t each = area < TILE * TILE ? TILE * TILE / area : 1;
    for (int i = 0; i < outer; i++) planes *= c->dim[i];
    #pragma omp parallel for num_threads(plan->threads) if (planes * area > PARALLEL_WORK)
    for (int64_t first = 0; first < planes * tiles; first += each) {
        Place p;
        place_at(c, outer, first / tiles, &p);
        for (int64_t t = first; t < planes * tiles && t < first + each; t++, place_next(c, outer, &p)) {      /* more than one tile: one at a time */
            int64_t row = (rows < columns ? t % high : t / wide % high) * height, column = (rows < columns ? t / high % wide : t % wide) * width;
            const int64_t part[2] = { lesser(rows - row, height), lesser(columns - column, width) };
            turn_tile(from + (p.from + row * ldx + column) * step, ldx, to + (p.to + column * ldy + row) * step, ldy, part, size);
        }
    }
}

/* Moves the axis that is contiguous in `from` behind the others, before the innermost. */
static bool turn(Copy *c)
{
    int last = c->rank - 1, at = last - 1;
    if (last < 1 || c->to[last] != 1 || c->from[last] < 2) return false;
    while (at >= 0 && c->from[at] != 1) at--;
    if (at < 0 || c->to[at] < 1) return false;
    int64_t dim = c->dim[at], to = c->to[at];
    for (int i = at; i + 2 <= last; i++) {
        c->dim[i] = c->dim[i + 1]; c->from[i] = c->from[i + 1]; c->to[i] = c->to[i + 1];
    }
    c->dim[last - 1] = dim; c->from[last - 1] = 1; c->to[last - 1] = to;
    return true;
}

void copy_strided(const Plan *plan, const Copy *given, const void *from, void *to, size_t size)
{
    Copy ordered, c;
    order(given, &ordered);
    merge(&ordered, &c);
    if ((size == 1 || size == 2 || size == 4 || size == 8) && turn(&c)) copy_turned(plan, &c, from, to, size);
    else copy_rows(plan, &c, from, to, size);
}
