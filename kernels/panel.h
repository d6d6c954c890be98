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
    int sparse_rows;           /* rows of W that the sparse product sums at a time, 3 or 4 */
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
    const float *residual;     /* NULL: none; otherwise row m starts at residual + m * residual_ld. May be y, where it is placed like it. */
    size_t residual_ld;
    float *y;
    size_t ld;
    struct {                   /* Sparse: of the columns beyond sizes.sparse, row m of which starts at y + m * ld too */
        const float *residual;
        size_t residual_ld;
        float *y;
        size_t ld;
    } behind;
    float lo, hi;              /* y = sum < lo ? lo : sum > hi ? hi : sum, so NaN stays */
    float *partial;            /* [rows][tile] for dense, [rows][pitch] for sparse; not read or written when first and last */
} PanelOutput;

/* Memory that will be packed next, to be prefetched meanwhile: `rows` rows of so many lines of the cache, pitch apart; 0: none. The dense product takes 4 lines. A
 * hint. */
typedef struct PanelAhead { const float *at; size_t pitch; int rows, lines; } PanelAhead;

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

/* A line of the stream of a sparse product: a few steps of a weight for each row of a head, as long as a line of the cache. next: which rows of the panel the weights of
 * the line behind it meet, up to 12 of them: an address that is read right before its loads arrives late, behind the loads of the steps before. */
enum { SPARSE_WEIGHTS = 12 };
typedef struct SparseLine { float w[SPARSE_WEIGHTS]; uint8_t next[16]; } SparseLine;

/* A sparse product, R = sparse_rows rows of W at a time. Each head has, one behind the other in the stream, lines of three kinds; at[]: the line's numbers.
 *     all       weights that all rows have: w[R i + r] of row r meets at[i], for i < 12 / R
 *     plain     w[q] of row q % R meets at[q], for q < 12; behind the whole lines one of `rest` steps, if that is not 0
 *     mixed     the same, but at[1] is at[0] and, where R is 4, at[3] is at[2]: in the first step rows 0 and 1, and rows 2 and 3, share loads
 * Mixed lines stand before plain ones. Loads are the limit: two a cycle, as are multiply-adds, and beside those of the panel there are those of weights and
 * numbers. Loads that two rows share, spread over the steps, leave the multiply-adds as the limit.
 * A head of fewer rows repeats its first one, whose further sums count nothing. The stream begins with a line of which only `next` counts. */
typedef struct SparseHead { uint16_t row[4]; uint8_t all, mixed, plain, rest, unused[4]; } SparseHead;
typedef struct SparsePart {
    const SparseHead *head;
    int heads;
    const SparseLine *line;    /* aligned to lines of the cache */
    const float *panel;        /* [k][sparse] */
    const float *behind;       /* [k][sparse_most - sparse]: columns beyond those */
    size_t pitch;              /* of the rows of partial sums */
    PanelAhead ahead;
} SparsePart;
