/* Products with a constant weight, Y = clamp(W * X + bias + residual), over panels and threads.
 *
 * Two forms. Columns (Conv; X is an image and its pixels are the columns): W is packed as dense strips or as a stream of nonzeros, X panel by panel while it
 * runs. Tokens (Gemm, MatMul; one row of X a token, Y = X * W): W is packed into tiles of output features, X is read as it lies; zeros make it no faster
 * there, unless the tokens are transposed into columns, which a sparse product of tokens does in its panels.
 *
 * multiply_plan decides everything; multiply_pack writes the packed weights into memory of multiply_bytes; multiply_run then only computes. Results do not depend on
 * the number of threads: only panels, row parts, images and groups are distributed, never sums. */
#pragma once
#include "kernels/pack.h"
#include "engine/post.h"

/* What to multiply. Weights of group g start at w.w + g * w.rows * w.row; its input channels follow those of group g - 1. */
typedef struct MultiplyShape {
    PanelWindow window;
    int     batch, groups;     /* images are contiguous: groups * channels * plane elements each */
    int     k;                 /* columns of W: channels of a group * taps */
    int64_t columns;           /* pixels of an output image */
    Weights weights;           /* of one group; rows: output channels of a group */
} MultiplyShape;

typedef struct Multiply {
    MultiplyShape shape;
    PanelWindow window;        /* shape's, with the distance of images */
    const Kernels *kernels;
    bool    sparse;
    int     threads;
    int     block, blocks;     /* rows of X in a K block, number of them */
    int     parts, part_rows;  /* the rows of a group are cut into parts, each packed on its own */
    int     together;          /* images whose columns share panels: all or 1 */
    int     panels;
    size_t  bytes;             /* of packed weights */
    size_t  scratch;           /* bytes that multiply_run needs, for all threads */
    char   *packed;
    size_t *at;                /* sparse: where the stream of (group, part, block) begins; the heads come before it. In `packed`. */
} Multiply;

typedef enum MultiplyChoice { MULTIPLY_AUTO, MULTIPLY_DENSE, MULTIPLY_SPARSE } MultiplyChoice;

/* Decides form, blocks and parts, and computes `bytes` and `scratch`. The caller checked that all products of sizes fit. */
void multiply_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, MultiplyChoice choice, Multiply *out);
/* Packs the weights into memory of m->bytes bytes (64-byte aligned), which is used until the last run. */
void multiply_pack(Multiply *m, void *memory);

/* One call's operands; y (batch, groups * rows, columns) dense. */
typedef struct MultiplyRun {
    const float *x, *bias, *residual;      /* bias (groups * rows) or NULL; residual shaped like y or NULL, may be y */
    float *y;
    float lo, hi;
    void *scratch;                         /* m->scratch bytes, 64-byte aligned */
    Posts posts;                           /* what follows on y */
} MultiplyRun;
void multiply_run(const Multiply *m, const MultiplyRun *run);
