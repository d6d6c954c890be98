/* Attention over strided operands: y = softmax(q * k' * scale + mask) * v for each head, scores of a few queries at a time, exactly as in three steps. */
#pragma once
#include "engine/matmul.h"

typedef struct Attention {
    const Kernels *kernels;
    int     queries, keys, depth, width;       /* q (queries, depth), k (keys, depth), v (keys, width), all > 0 */
    int64_t heads;                             /* independent ones, of all samples */
    /* Element (i, j) of head h is at[h] + i * row + j * column, of q, k, v; of each one of row and column is 1. y: at[h] + i * row + j */
    struct { int64_t *at, row, column; } q, k, v, y;
    /* Added to score (i, j): mask[at[h] + i * row + j * column]; at NULL: none. column: 0 or 1 */
    struct { int64_t *at, row, column; } mask;
    float   scale;
    int     threads;
} Attention;

size_t attention_scratch(const Attention *a);  /* floats, for all threads */
typedef struct AttentionRun { const float *q, *k, *v, *mask; float *y, *scratch; } AttentionRun;
void   attention_run(const Attention *a, const AttentionRun *run);
