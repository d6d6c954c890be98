/* Which output channels share the masks of blocks: those whose weights are large at the same places. */
#pragma once
#include "recipes/matrix.h"

/* order (matrix rows): row numbers in which blocks of `rows` rows take them; every batch keeps its rows. Greedy: the row of largest norm that is left begins a
 * group, the rows whose |w| have the largest cosine with its |w| fill it; of equal ones the lower number comes first. Deterministic at every instruction set.
 * Takes rows^2 / `rows` / 2 products; where that is more than 2^34 multiply-adds, rows are compared on a regular sample of their columns. Scratch: one float
 * an element compared. ERR_NOMEM. */
Err regroup_rows(const Elements *e, const Matrix *m, int rows, const Kernels *k, int32_t *order);
