#include "engine/floats.h"
#include "engine/run_ops.h"
#include "kernels/whole.h"
#include <math.h>

/* PIECE floats of three operands fit in L1; COLUMNS of a strip that several passes go over stay there with their totals. */
enum { PIECE = 2048, COLUMNS = 512 };

Err floats_ready(void)
{
    const Kernels *k;
    return find_kernels(&k);
}

void floats_activate(const Plan *p, const Activate *a, const float *x, float *y, int64_t n)
{
    const Kernels *k = kernels_best();
    #pragma omp parallel for num_threads(p->threads) if (n > PARALLEL_WORK)
    for (int64_t piece = 0; piece < pieces_in(n, PIECE); piece++) {
        int64_t from = piece * PIECE;
        k->activate_f32(a, x + from, y + from, 1, (size_t)lesser(PIECE, n - from), 0);
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
    for (int64_t piece = 0; piece < pieces_in(n, PIECE); piece++)
        combine_range(&c, w, (const float *[]){ a, b }, y, (const int64_t[]){ piece * PIECE, lesser(n, (piece + 1) * PIECE) });
}

/* Sums of long rows in double. */
static float total_row(Total kind, const float *x, int64_t n)
{
    const Kernels *k = kernels_best();
    double sum = 0;
    if (n <= PIECE || kind == TOTAL_MOST || kind == TOTAL_LEAST) return k->total_f32(kind, x, (size_t)n);
    for (int64_t at = 0; at < n; at += PIECE) sum += (double)k->total_f32(kind, x + at, (size_t)lesser(PIECE, n - at));
    return (float)sum;
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
        k->activate_f32(&exponential, row, to, 1, columns, 0);
        k->combine_f32(&(Combine){ ARITHMETIC_ADD, 1, 1 }, sum, to, sum, columns);
    }
    for (size_t i = 0; i < columns; i++) sum[i] = logarithm ? logf(sum[i]) : 1 / sum[i];
    for (int64_t j = 0; j < a->n; j++) k->combine_f32(&last, y + j * a->inner, sum, y + j * a->inner, columns);
}

void floats_softmax(const Plan *plan, const Axis *a, const float *x, float *y, bool logarithm)
{
    const Kernels *k = kernels_best();
    const Softmax p = { .scale = 1, .logarithm = logarithm };
    int64_t strips = a->inner == 1 ? 1 : pieces_in(a->inner, COLUMNS), n = a->n;
    #pragma omp parallel for num_threads(plan->threads) if (a->outer * n * a->inner > PARALLEL_WORK / 4)
    for (int64_t t = 0; t < a->outer * strips; t++) {
        int64_t first = t % strips * COLUMNS, at = t / strips * n * a->inner + first;
        if (a->inner == 1) k->softmax_f32(&p, x + at, y + at, (size_t)n);
        else softmax_strip(x + at, y + at, a, (size_t)lesser(COLUMNS, a->inner - first), logarithm);
    }
}

/* Totals down n rows, for a strip of at most COLUMNS columns. */
static void total_strip(Total kind, const Axis *a, const float *x, float *y, size_t columns)
{
    static const Arithmetic JOIN[] = { [TOTAL_SUM] = ARITHMETIC_ADD, [TOTAL_SQUARES] = ARITHMETIC_ADD, [TOTAL_MOST] = ARITHMETIC_MAX, [TOTAL_LEAST] = ARITHMETIC_MIN };
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
    int64_t strips = a->inner == 1 ? 1 : pieces_in(a->inner, COLUMNS);
    #pragma omp parallel for num_threads(p->threads) if (a->outer * a->n * a->inner > PARALLEL_WORK)
    for (int64_t t = 0; t < a->outer * strips; t++) {
        int64_t first = t % strips * COLUMNS, o = t / strips;
        const float *from = x + o * a->n * a->inner + first;
        if (a->inner == 1) y[o] = total_row(kind, from, a->n);
        else total_strip(kind, a, from, y + o * a->inner + first, (size_t)lesser(COLUMNS, a->inner - first));
    }
}
