/* Writing zeros into one weight: a pattern and a count become a mask. All functions are exact, deterministic and parallel inside one large tensor. */
#pragma once
#include "recipes/matrix.h"
#include "recipes/select.h"

typedef struct MaskTask {
    const Elements *elements;
    const Matrix *matrix;
    const Kernels *kernels;
    bool empty_channels;           /* rows may lose all their weights; otherwise each that has one keeps its largest */
} MaskTask;

/* Zeroes the elements of smallest magnitude, lower positions first, so that `zeros` elements are zero (those that were count). *after: how many are zero
 * then; less than asked only where the rows' last weights are in the way. ERR_NOMEM; nothing is changed then. */
Err mask_unstructured(const MaskTask *t, int64_t zeros, int64_t *after);

/* Of every m consecutive input channels at one tap of one output channel the n largest stay, of fewer channels (the last ones) at most n. Returns the zeros then;
 * with write false only counts. 1 <= n < m <= N_OF_M_MAX. */
enum { N_OF_M_MAX = 256 };
int64_t mask_n_of_m(const MaskTask *t, int n, int m, bool write);
