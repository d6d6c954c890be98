/* Products of a weight matrix with activations, one panel of columns at a time:
 *
 *     Y = clamp(W * X + bias + residual)        W (M,K) constant, X (K,N), Y (M,N), all fp32
 *
 * X is what im2col would make of an image, but is never made as a whole: a packer copies the columns of one panel, K block by K block, into a buffer that stays in
 * a cache while all rows of W pass. Column n is output pixel (n / out[1], n % out[1]) of the first image; behind its last pixel comes the next image. Row k is
 * (c * kernel[0] + ky) * kernel[1] + kx: ONNX's order of weights. A plain matrix is the window { 1 x N image, 1 x 1 kernel }.
 *
 * After the last K block the sums are finished while they are still in registers. Sums run over k in ascending order of blocks; the order inside a block
 * and the use of fused multiply-add are up to the level: results differ by at most (K + 4) * 2^-23 * sum |w x|. In the products of packed weights they are the same
 * for all columns, however these are cut. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PANEL_COLUMNS = 64,        /* columns of a panel, at most */
    PANEL_VECTOR = 16,         /* panels are written and read in multiples of this many columns; those beyond the valid ones hold anything finite or not */
};

/* What the dense product of a level takes at once. */
typedef struct PanelSizes {
    int tile;                  /* columns, a multiple of PANEL_VECTOR, at most PANEL_COLUMNS */
    int strip;                 /* rows of W */
    int few;                   /* so many columns more than a multiple of 16 cost little, when W is packed */
    int sparse;                /* columns of a panel of the sparse product, a multiple of PANEL_VECTOR, at most PANEL_COLUMNS */
    int sparse_most;           /* columns that it may have where few are left for another one, a multiple of PANEL_VECTOR */
    int sparse_rows;           /* rows of W that the sparse product sums at a time, 2 or 4 */
} PanelSizes;

/* Where the element (k, n) of X lies: x[c * plane + iy * in[1] + ix], iy = oy * stride[0] + ky * dilation[0] - pad[0], ix likewise; 0 outside of the image. */
typedef struct PanelWindow {
    size_t plane;                                              /* elements from channel to channel, >= in[0] * in[1] */
    size_t image;                                              /* elements from image to image, where columns of several are used */
    int in[2], out[2], kernel[2], stride[2], dilation[2], pad[2];   /* along height and width; pad before the first pixel, any sign */
} PanelWindow;

/* The columns of a matrix whose rows are `pitch` apart, or pixels that are not to be told apart. */
static inline PanelWindow panel_matrix(int columns, size_t pitch)
{
    return (PanelWindow) { .plane = pitch, .in = { 1, columns }, .out = { 1, columns }, .kernel = { 1, 1 }, .stride = { 1, 1 }, .dilation = { 1, 1 } };
}

/* Which part of X to pack: rows k0 ... k1 - 1 of columns n0 ... n0 + n - 1, in tiles of `width` columns. */
typedef struct PanelPart {
    int k0, k1;
    int n, width;              /* 1 <= n <= PANEL_COLUMNS; width: a multiple of PANEL_VECTOR */
    int64_t n0;
} PanelPart;

/* What becomes of sums. Row m of y starts at y + m * ld, its first column is the panel's (or tile's) first. */
typedef struct PanelOutput {
    bool first, last;          /* K block: all but the first add `partial`; the last adds bias and residual and finishes into y, others store
                                * `partial`. Added behind the sum, a bias does not coarsen the rounding of every product: YOLOX-nano's outputs err by a third less. */
    bool bias_of_columns;      /* bias[n] instead of bias[m] */
    int columns;               /* valid ones; nothing else of y, bias and residual is touched */
    const float *bias;         /* NULL: 0 */
    const float *residual;     /* NULL: none; otherwise placed like y. May be y. */
    float *y;
    size_t ld;
    float lo, hi;              /* y = sum < lo ? lo : sum > hi ? hi : sum, so NaN stays */
    float *partial;            /* [rows][tile] for dense, [rows][pitch] for sparse; not read or written when first and last */
} PanelOutput;

/* Memory that will be packed next, to be prefetched meanwhile: `rows` rows of PANEL_COLUMNS floats, pitch apart; 0: none. A hint. */
typedef struct PanelAhead { const float *at; size_t pitch; int rows; } PanelAhead;

/* A dense product, tile and strip as in the level's PanelSizes: W's element (m, k) is w[m * row + k * step]: of a plain matrix (row lda, step 1) or a
 * transposed one; or packed by weights_pack_dense, in strips, of which the last one is whole. panel is one tile: [k][tile]. */
typedef struct DensePart {
    const float *w;
    bool packed;
    size_t row, step;          /* of what is not packed */
    int rows, k;               /* rows > 0, k >= 0 */
    const float *panel;        /* its rows are `tile` apart; where W is not packed, ldx apart, unless that is 0 */
    float *fill;               /* NULL, or the panel, which is yet to be packed: row k from x + k * ldx. W is packed and has a whole strip, k > 0, columns are
                                * whole vectors then. */
    const float *x;
    size_t ldx;
    const float *const *at;    /* NULL, or instead of a panel: row k of the columns from PANEL_VECTOR * i on is at[i] + offset[k]. W is packed, columns are whole vectors
                                * then. */
    const int32_t *offset;
    PanelAhead ahead;          /* where packed */
} DensePart;

/* Channels of a depthwise convolution: each has one plane of the window and its own kernel. */
typedef struct Depthwise {
    int planes;
    const float *x, *w;        /* each in[0] x in[1], `plane` of the window apart; kernel[0] x kernel[1] weights each */
    const float *bias;         /* of each channel; NULL: 0 */
    const float *residual;     /* NULL, or placed like y; may be y */
    float *y;                  /* each out[0] x out[1], dense */
    size_t y_plane;            /* from one to the next */
    float lo, hi;
} Depthwise;

/* A sparse product, four rows of W at a time: what all of them have first, then the rest of the first two and that of the other two. The stream has, for each head
 * in turn and unaligned,
 *     all times            { float w[4]; uint16_t at; }         sum[r][n] += w[r] * panel[at + n] for all four rows r
 *     both[p] times        { float w[2]; uint16_t at; }         the same for rows 2p and 2p + 1, for both pairs p
 *     steps[0] times       { float w[4]; uint16_t later[4]; }   sum[q][n] += w[q] * panel[at[q] + n] for q < 4
 * or, where a level sums two rows at a time, steps[p] behind both[p] for each pair p, with sum[2p + q % 2] of these steps.
 * `at` is the offset in the panel of the row that a weight meets; that of a step is `later` of the step SPARSE_AHEAD before, whatever pair had it, and the stream
 * begins with those of the first ones: the loads of several steps wait in the processor's queue, and an address that is read behind them arrives late. `all` and
 * `both` are multiples of SPARSE_TOGETHER unless nothing is left behind them: a loop whose length varies by one ends in a wrong guess of the processor that costs more
 * than a few shared loads save. A head of fewer rows repeats its first one, whose further sums count nothing; a pair of such repetitions has no weights. */
typedef struct SparseHead { uint16_t row[4], all, both[2], steps[2]; } SparseHead;
enum { SPARSE_ALL = 18, SPARSE_BOTH = 10, SPARSE_STEP = 24,          /* bytes of the stream */
       SPARSE_AHEAD = 4, SPARSE_TOGETHER = 8 };
typedef struct SparsePart {
    const SparseHead *head;
    int heads;
    const uint8_t *stream;
    const float *panel;        /* [k][sparse] */
    const float *behind;       /* [k][sparse_most - sparse]: columns beyond those; row k of the panel at offset `at` is at / (sparse / (sparse_most - sparse)) here */
    size_t pitch;              /* of the rows of partial sums */
    PanelAhead ahead;
} SparsePart;
