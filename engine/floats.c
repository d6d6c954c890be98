#include "engine/floats.h"
#include "engine/run_ops.h"
#include <math.h>
#include <string.h>

/* PIECE floats of three operands fit in L1; COLUMNS of a strip that several passes go over stay there with their totals. */
enum { PIECE = 2048, COLUMNS = 512 };

Err floats_ready(void)
{
    const Kernels *k;
    return find_kernels(&k);
}

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t pieces_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

void floats_activate(const Plan *p, const Activate *a, const float *x, float *y, int64_t n)
{
    const Kernels *k = kernels_best();
    #pragma omp parallel for num_threads(p->threads) if (n > PARALLEL_WORK)
    for (int64_t piece = 0; piece < pieces_of(n, PIECE); piece++) {
        int64_t from = piece * PIECE;
        k->activate_f32(a, x + from, y + from, (size_t)lesser(PIECE, n - from));
    }
}

/* Elements [from, to) of y. */
static void combine_range(const Combine *c, const Walk *w, const float *const operand[2], float *y, const int64_t range[2])
{
    const Kernels *k = kernels_best();
    int64_t at = range[0], row = at / w->inner, first = at % w->inner;
    while (at < range[1]) {
        int64_t offset[WALK_OPERANDS], n = lesser(w->inner - first, range[1] - at);
        walk_row(w, row++, offset);
        k->combine_f32(c, operand[0] + offset[0] + first * (int64_t)c->step_a, operand[1] + offset[1] + first * (int64_t)c->step_b, y + at, (size_t)n);
        at += n;
        first = 0;
    }
}

void floats_combine(const Plan *p, Arithmetic kind, const Walk *w, const float *a, const float *b, float *y)
{
    const Combine c = { kind, (size_t)w->stride[0][w->rank - 1], (size_t)w->stride[1][w->rank - 1] };
    int64_t n = w->outer * w->inner;
    #pragma omp parallel for num_threads(p->threads) if (n > PARALLEL_WORK)
    for (int64_t piece = 0; piece < pieces_of(n, PIECE); piece++)
        combine_range(&c, w, (const float *[]){ a, b }, y, (const int64_t[]){ piece * PIECE, lesser(n, (piece + 1) * PIECE) });
}

/* The total of one row, by halves. */
static float total_row(Total kind, const float *x, int64_t n)
{
    const Kernels *k = kernels_best();
    const Combine join = { kind == TOTAL_MOST ? ARITHMETIC_MAX : ARITHMETIC_MIN, 1, 1 };
    float part[COLUMNS];
    double sum = 0;
    size_t m = (size_t)lesser(n, COLUMNS);
    if (kind == TOTAL_SUM) {
        for (int64_t at = 0; at < n; at += PIECE) sum += (double)k->sum_f32(x + at, (size_t)lesser(PIECE, n - at));
        return (float)sum;
    }
    for (int64_t at = 0; kind == TOTAL_SQUARES && at < n; at += COLUMNS) {
        size_t columns = (size_t)lesser(COLUMNS, n - at);
        k->combine_f32(&(Combine){ ARITHMETIC_MUL, 1, 1 }, x + at, x + at, part, columns);
        sum += (double)k->sum_f32(part, columns);
    }
    if (kind == TOTAL_SQUARES) return (float)sum;
    if (!n) return kind == TOTAL_MOST ? -INFINITY : INFINITY;
    memcpy(part, x, m * sizeof *x);
    for (int64_t at = COLUMNS; at < n; at += COLUMNS) k->combine_f32(&join, part, x + at, part, (size_t)lesser(COLUMNS, n - at));
    for (; m > 1; m = (m + 1) / 2) k->combine_f32(&join, part, part + (m + 1) / 2, part, m / 2);
    return part[0];
}

/* The largest number of a row and what its softmax divides by give the logarithm: the largest result is 1 / divisor. */
static void softmax_row(const float *x, float *y, int64_t n, bool logarithm)
{
    const Kernels *k = kernels_best();
    const Combine minus = { ARITHMETIC_SUB, 1, 0 };
    k->softmax_f32(&(Softmax){ .scale = 1 }, x, y, (size_t)n);
    if (!logarithm) return;
    float most = total_row(TOTAL_MOST, x, n), rest = -logf(total_row(TOTAL_MOST, y, n));
    k->combine_f32(&minus, x, &most, y, (size_t)n);
    k->combine_f32(&minus, y, &rest, y, (size_t)n);
}

/* Down the rows of [n][row], for a strip of at most COLUMNS columns. */
static void softmax_strip(const float *x, float *y, const Axis *a, size_t columns, bool logarithm)
{
    const Kernels *k = kernels_best();
    const Activate exponential = { .kind = ACTIVATION_EXP };
    const Combine minus = { ARITHMETIC_SUB, 1, 1 }, last = { logarithm ? ARITHMETIC_SUB : ARITHMETIC_MUL, 1, 1 };
    float most[COLUMNS], sum[COLUMNS] = { 0 }, spare[COLUMNS];
    for (size_t i = 0; i < columns; i++) most[i] = -INFINITY;
    for (int64_t j = 0; j < a->n; j++) k->combine_f32(&(Combine){ ARITHMETIC_MAX, 1, 1 }, most, x + j * a->inner, most, columns);
    for (int64_t j = 0; j < a->n; j++) {
        float *row = y + j * a->inner, *to = logarithm ? spare : row;
        k->combine_f32(&minus, x + j * a->inner, most, row, columns);
        k->activate_f32(&exponential, row, to, columns);
        k->combine_f32(&(Combine){ ARITHMETIC_ADD, 1, 1 }, sum, to, sum, columns);
    }
    for (size_t i = 0; i < columns; i++) sum[i] = logarithm ? logf(sum[i]) : 1 / sum[i];
    for (int64_t j = 0; j < a->n; j++) k->combine_f32(&last, y + j * a->inner, sum, y + j * a->inner, columns);
}

void floats_softmax(const Plan *p, const Axis *a, const float *x, float *y, bool logarithm)
{
    int64_t strips = a->inner == 1 ? 1 : pieces_of(a->inner, COLUMNS), n = a->n;
    #pragma omp parallel for num_threads(p->threads) if (a->outer * n * a->inner > PARALLEL_WORK / 4)
    for (int64_t t = 0; t < a->outer * strips; t++) {
        int64_t first = t % strips * COLUMNS, at = t / strips * n * a->inner + first;
        if (a->inner == 1) softmax_row(x + at, y + at, n, logarithm);
        else softmax_strip(x + at, y + at, a, (size_t)lesser(COLUMNS, a->inner - first), logarithm);
    }
}

/* Totals down n rows, for a strip of at most COLUMNS columns. */
static void total_strip(Total kind, const Axis *a, const float *x, float *y, size_t columns)
{
    static const Arithmetic JOIN[] = { ARITHMETIC_ADD, ARITHMETIC_MAX, ARITHMETIC_MIN, ARITHMETIC_ADD };
    const Kernels *k = kernels_best();
    float square[COLUMNS];
    for (size_t i = 0; i < columns; i++) y[i] = kind == TOTAL_MOST ? -INFINITY : kind == TOTAL_LEAST ? INFINITY : 0;
    for (int64_t j = 0; j < a->n; j++) {
        const float *row = x + j * a->inner;
        if (kind == TOTAL_SQUARES) k->combine_f32(&(Combine){ ARITHMETIC_MUL, 1, 1 }, row, row, square, columns);
        k->combine_f32(&(Combine){ JOIN[kind], 1, 1 }, y, kind == TOTAL_SQUARES ? square : row, y, columns);
    }
}

void floats_total(const Plan *p, Total kind, const Axis *a, const float *x, float *y)
{
    int64_t strips = a->inner == 1 ? 1 : pieces_of(a->inner, COLUMNS);
    #pragma omp parallel for num_threads(p->threads) if (a->outer * a->n * a->inner > PARALLEL_WORK)
    for (int64_t t = 0; t < a->outer * strips; t++) {
        int64_t first = t % strips * COLUMNS, o = t / strips;
        const float *from = x + o * a->n * a->inner + first;
        if (a->inner == 1) y[o] = total_row(kind, from, a->n);
        else total_strip(kind, a, from, y + o * a->inner + first, (size_t)lesser(COLUMNS, a->inner - first));
    }
}
