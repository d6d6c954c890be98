/* Products with a constant weight, Y = clamp(W * X + bias + residual), over panels and threads.
 *
 * Two forms. Columns (Conv; X is an image and its pixels are the columns): W is packed as dense strips or as a stream of nonzeros, X panel by panel while it
 * runs. Tokens (Gemm, MatMul; one row of X a token, Y = X * W): W is packed into tiles of output features, X is read as it lies; zeros make it no faster
 * there, unless the tokens are transposed into columns, which a sparse product of tokens does in its panels.
 *
 * multiply_plan decides everything; packed_fill writes the packed weights into memory; multiply_run then only computes. Results do not depend on
 * the number of threads: only panels, row parts, images and groups are distributed, never sums. */
#pragma once
#include "engine/layout.h"
#include "engine/packed.h"
#include "engine/phases.h"
#include "engine/post.h"

/* What to multiply. Weights of group g start at w.w + g * w.rows * w.row; its input channels follow those of group g - 1. */
typedef struct MultiplyShape {
    PanelWindow window;
    int     batch, groups;     /* images are contiguous: groups * channels * plane elements each */
    int     k;                 /* columns of W: channels of a group * taps */
    int64_t columns;           /* pixels of an output image */
    Weights weights;           /* of one group; rows: output channels of a group */
    const Packed *like;        /* see Packed */
    size_t  nonzeros;          /* of all groups; 0: not counted yet */
    int     part_rows;         /* 0, or how many rows multiply_area is asked for at a time, a multiple of the kernels' strip: dense chunks divide them */
} MultiplyShape;

typedef struct Multiply {
    MultiplyShape shape;       /* its window with the distance of images */
    Packed  packed;            /* for packed_fill before the first run */
    int     together;          /* images whose columns share panels: all or 1 */
    int     parts, part_chunks;        /* chunks of a group are cut into parts, one for each thread where panels are few */
    int     panels;
    bool    fetches;           /* the input comes from beyond the L2 cache: what is packed next is prefetched. Others would only lose what it costs, 1 to 4 % */
    Phases  phases;            /* with rows: what is read instead of panels */
    size_t  scratch;           /* bytes that multiply_run needs, for all threads */
} Multiply;

/* Decides form, blocks and parts. The caller checked that all products of sizes fit. */
void multiply_plan(const MultiplyShape *shape, const Kernels *kernels, int threads, MultiplyForm form, Multiply *out);

/* Whether x, and y and residual, may lie IN_PANELS: as any product does it of as many columns with as many threads. With strides x may for one image and thread. */
bool multiply_reads_panels(const Multiply *m);
bool multiply_writes_panels(const Multiply *m);
/* Bytes of so many channels of so many columns IN_PANELS. */
size_t multiply_panels_bytes(const Kernels *kernels, int64_t channels, int64_t columns);

/* One call's operands; y (batch, groups * rows, columns) dense. */
typedef struct MultiplyRun {
    const float *x, *bias, *residual;      /* bias (groups * rows) or NULL; residual shaped like y or NULL, may be y, if it lies like it */
    float *y;
    Layout x_lies, y_lies, residual_lies;  /* of several images y and residual both lie BY_IMAGE, or neither does; IN_PANELS posts must be none */
    float lo, hi;
    void *scratch;                         /* m->scratch bytes, 64-byte aligned */
    Posts posts;                           /* what follows on y */
} MultiplyRun;
void multiply_run(const Multiply *m, const MultiplyRun *run);

/* A part of one product, for what reads it while it is in cache: some chunks of the rows of the columns n0 ... n0 + n - 1 of an image, the same to the bit as in the
 * whole product. Only where images do not share panels and rows have their own order; posts are left to the caller. */
typedef struct MultiplyArea {
    int64_t image, n0, n;
    int     first_chunk, chunks;
    float  *y; size_t ld;      /* where the first row's column n0 goes, and from row to row */
    const float *residual;     /* placed like y; NULL: none */
    float  *scratch;           /* multiply_area_scratch floats */
} MultiplyArea;
int    multiply_area_rows(const Multiply *m, const MultiplyArea *area);
size_t multiply_area_scratch(const Multiply *m, int chunks);
void   multiply_area(const Multiply *m, const MultiplyRun *run, const MultiplyArea *area);
