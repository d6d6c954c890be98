/* Products of two activations, Y = A * B: MatMul and Gemm without constants, attention. Nothing is packed before it runs; tiles of B are copied into scratch, A is
 * read as it lies. Sums run over k in ascending order of blocks, whatever the number of threads. */
#pragma once
#include "kernels/kernels.h"

/* Element (i, k) of A is a[i * a_row + k * a_column], (k, j) of B is b[k * b_row + j * b_column], (i, j) of Y is y[i * ldy + j]. One of each pair of steps is 1, so
 * transposed operands need no copy. */
typedef struct Matmul {
    const Kernels *kernels;
    int    m, n, k;                        /* > 0 */
    size_t a_row, a_column, b_row, b_column, ldy;
} Matmul;

/* Floats of scratch for one product at a time, i.e. for each thread. */
size_t matmul_scratch(const Matmul *p);
/* Rows k0 ... k1 - 1 of `n` columns of B from n0 on, as the dense kernel reads them: a panel of part->width columns. */
void   matmul_pack(const Matmul *p, const float *b, const PanelPart *part, float *panel);

/* Products i < count of a + at_a[i] and b + at_b[i] (elements; NULL: 0) into y + i * y_step. */
typedef struct MatmulRun {
    const float *a, *b;
    float *y, *scratch;                    /* threads * matmul_scratch floats */
    int64_t count;
    const int64_t *at_a, *at_b;
    size_t y_step;
    int threads;
} MatmulRun;
void matmul_run(const Matmul *p, const MatmulRun *run);
