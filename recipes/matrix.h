/* A weight as a matrix: one row for each output channel, and in the columns what it sums over, taps times input channels. All are strides in the stored tensor. */
#pragma once
#include "recipes/elements.h"

/* Several axes as one: index i counts through them with the last one fastest. */
typedef struct AxisGroup { int n; int64_t size[MAX_RANK], stride[MAX_RANK], count; } AxisGroup;
int64_t axis_offset(const AxisGroup *a, int64_t i);

typedef struct Matrix {
    bool known;                    /* false: the file does not say which elements make an output channel (a Reshape in between); then one row holds all */
    AxisGroup batch, out, tap, in;
    int64_t rows, columns;         /* batch * out, tap * in */
} Matrix;

Matrix  matrix_of(const Weight *w);
int64_t matrix_row(const Matrix *m, int64_t r);        /* position of the row's first element */
int64_t matrix_row_at(const Matrix *m, int64_t at);    /* the row that holds the element at this position */

/* The element of a row that comes last in the order of magnitude, then position: the one that survives the others. */
typedef struct Largest { uint32_t magnitude; int64_t position; } Largest;
Largest matrix_largest(const Matrix *m, const Elements *e, int64_t r);
/* Rows that hold something besides zeros. */
int64_t matrix_live_rows(const Matrix *m, const Elements *e);
