/* Weights in the order in which the panel kernels read them. Done once, when a plan is made; into memory of the caller, for one K block k0 ... k1 - 1. */
#pragma once
#include "kernels/few.h"
#include "kernels/panel.h"

enum {
    SPARSE_BLOCK = 256,        /* rows of X in a K block of a sparse product, at most: numbers of a byte */
    SPARSE_ROWS = 256,         /* rows of W that are packed together, at most */
};

/* W's element (m, k) is w[m * row + k * column]. */
typedef struct Weights {
    const float *w;
    size_t row, column;
    int rows;
} Weights;

/* [ceil(rows / width)][k1 - k0][width], absent rows 0. With the width of a level's strips: for DensePart. With that of its tiles:
 * panels whose columns are W's rows. */
void   weights_pack_dense(const Weights *w, int k0, int k1, int width, float *out);
size_t weights_dense_count(const Weights *w, int k0, int k1, int width);       /* floats of it */

/* Weights other than 0 (and -0). NaN counts. */
size_t weights_nonzeros(const Weights *w, int k0, int k1);
/* Heads of all rows (rows <= SPARSE_ROWS, sparse_heads of them) and sparse_lines_at bytes from their start the lines; returns the bytes of both. memory: NULL, or room
 * for them, aligned to lines. number: which rows they are, of w and of y; NULL: 0, 1 ... sizes: of the level that will run them. (k1 - k0) <= SPARSE_BLOCK. */
size_t weights_pack_sparse(const Weights *w, const uint16_t *number, int k0, int k1, const PanelSizes *sizes, void *memory);
/* Units of kernels/few.h, rows <= FEW_ROWS and k1 - k0 <= FEW_BLOCK; return their bytes, with slack. memory: NULL, or room for them, aligned to lines. */
size_t weights_pack_gather(const Weights *w, int k0, int k1, void *memory);
size_t weights_pack_bitmap(const Weights *w, int k0, int k1, void *memory);
static inline int sparse_heads(int rows, const PanelSizes *sizes) { return (rows + sizes->sparse_rows - 1) / sizes->sparse_rows; }
static inline size_t sparse_lines_at(int heads) { return ((size_t)heads * sizeof(SparseHead) + sizeof(SparseLine) - 1) / sizeof(SparseLine) * sizeof(SparseLine); }
