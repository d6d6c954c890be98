/* Rows of weights as sets of places, for the packers of sparse products. */
#pragma once
#include "kernels/pack.h"

enum { ROW_PLACES = 512 };     /* of a set, at most */

typedef struct Row { uint64_t bit[ROW_PLACES / 64]; int count; } Row;          /* which weights are not 0 */

/* Row m, k1 - k0 <= ROW_PLACES. */
void row_set(Row *row, const Weights *w, int m, int k0, int k1);
/* The first of n weights that is 0; n: none is. */
int  row_zero(const Row *row, int n);
/* Their numbers, those with most weights first; stable. */
void rows_sort(const Row *row, int rows, uint8_t *order);

static inline float weight(const Weights *w, int m, int k) { return w->w[(size_t)m * w->row + (size_t)k * w->column]; }
