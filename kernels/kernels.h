/* Fast loops, one table of function pointers per instruction set level.
 *
 * kernels_fill writes the scalar functions first and lets every level that the CPU has overwrite what it improves. Each field is documented by the loop
 * that it replaces; the _scalar.c files are that loop. Kernels are single-threaded, never allocate and cannot fail: callers check ranges before. No pointer
 * needs more than its type's alignment. A new field needs a row in tests/kernel_cases.c: the build insists. */
#pragma once
#include "kernels/few.h"
#include "kernels/plane.h"
#include "kernels/rows.h"
#include "kernels/panel.h"
#include "kernels/winograd.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The magnitude of a float as an integer that orders like it: its bits without the sign. 0 for both zeros; infinity and then NaN are the largest. */
#define MAGNITUDE_BITS 0x7fffffffu
enum { BRACKET_SLACK = 16 };                   /* elements beyond its result that bracket_f32 may overwrite */

typedef struct Kernels {
    const char *isa;               /* "scalar", "avx2", "avx512", "avx512vnni", "neon" */
    PanelSizes  sizes;             /* of dense_f32 and sparse_f32 */

    /* Selection and masking; x[i] are the bits of floats, m = x[i] & MAGNITUDE_BITS. limit, low, high <= 0x80000000; results are the same at every level.
     *   count_below_f32: for i < n: count += m < limit;                                       return count */
    size_t (*count_below_f32)(const uint32_t *x, size_t n, uint32_t limit);
    /*   zero_below_f32:  for i < n: if (m < limit) { x[i] = 0; count++; }                     return count */
    size_t (*zero_below_f32)(uint32_t *x, size_t n, uint32_t limit);
    /*   bracket_f32:     for i < n: if (m < low) (*below)++; else if (m < high) inside[count++] = m;      return count
     * inside has room for n + BRACKET_SLACK and may be x; *below is added to. */
    size_t (*bracket_f32)(const uint32_t *x, size_t n, const uint32_t low_high[2], uint32_t *inside, size_t *below);
    /* sum of x[i] * y[i], added in one order at every level so that results are equal to the bit: 16 partial sums (element i goes to i % 16), no fused
     * multiply-add, then halves are added: s[i] += s[i + 8], s[i] += s[i + 4], s[i] += s[i + 2], s[0] + s[1]. */
    float (*dot_f32)(const float *x, const float *y, size_t n);

    /* Panels of products, see kernels/panel.h; k, j, m run over the part's rows and columns.
     *   pack_f32:   panel[(j / width) * rows * width + k * width + j % width] = X[k0 + k][n0 + j];      rows = k1 - k0 */
    void (*pack_f32)(const PanelWindow *g, const float *x, const PanelPart *p, float *panel);
    /*   dense_f32:  one tile, columns <= sizes.tile;   sum[m][j] += w[m][k] * panel[k * sizes.tile + j] */
    void (*dense_f32)(const DensePart *d, const PanelOutput *o);
    /*   sparse_f32: columns <= sizes.sparse_most;      sum[m][j] += w * panel[at + j] for every weight of row m */
    void (*sparse_f32)(const SparsePart *s, const PanelOutput *o);
    /*   gather_f32, bitmap_f32: sums[t * FEW_ROWS + m] += w * x[t][k] for every weight of row m, for each token t; see kernels/few.h. Rows beyond the last: anything */
    void (*gather_f32)(const FewPart *p, float *sums);
    void (*bitmap_f32)(const FewPart *p, float *sums);
    /*   split_f32:  for i < n: (i % 2 ? odd : even)[i / 2] = x[i] */
    void (*split_f32)(const float *x, size_t n, float *even, float *odd);
    /*   transpose_f32: for r < rows, c < columns: y[c * ldy + r] = x[r * ldx + c] */
    void (*transpose_f32)(const float *x, size_t ldx, int rows, int columns, float *y, size_t ldy);
    /*   depthwise_f32: y[i][n] = clamp(bias[i] + sum over the taps k of w[i][k] * X[i][k][n] + residual[i][n]), X[i] as in pack_f32 with one channel, for i < planes.
     * Sums run over k in ascending order wherever a pixel lies, so that parts of an image give the same as the whole. */
    void (*depthwise_f32)(const PanelWindow *g, const Depthwise *d);

    /* Winograd convolutions, see kernels/winograd.h; l runs over WINOGRAD_LANES.
     *   interleave_f32:       for c < columns: y[c * WINOGRAD_LANES + l] = row[l] ? row[l][c * step] : 0;                step: 1 or 2 */
    void (*interleave_f32)(const float *const *row, int step, int columns, float *y);
    /*   winograd_input_f32:   positions of each tile and lane = B' pixels B */
    void (*winograd_input_f32)(const WinogradTiles *t, const float *pixels, float *positions);
    /*   winograd_product_f32: for j < outputs: y[r][j] = sum over k of v[r * ld + k] * u[k][j] */
    void (*winograd_product_f32)(const WinogradProduct *p);
    /*   winograd_output_f32:  pixels of each tile and lane = A' positions A */
    void (*winograd_output_f32)(const WinogradTiles *t, const float *positions, float *pixels);
    /*   winograd_finish_f32:  for m < rows <= WINOGRAD_LANES, n < o->columns: y[m][n] = clamp(pixels[n * WINOGRAD_LANES + m] + bias[m] + residual[m][n])
     * any number of columns; of o, first, last, bias_of_columns and partial are not used */
    void (*winograd_finish_f32)(const float *pixels, int rows, const PanelOutput *o);

    /* Rows, see kernels/rows.h. x, y and b may be the same row, otherwise they do not overlap.
     *   activate_f32:  for r < rows, i < n: y[r * ld + i] = activation(x[r * ld + i]);               error <= 4e-7 |y[i]| + 2e-7 |x[i]| */
    void (*activate_f32)(const Activate *a, const float *x, float *y, int rows, size_t n, size_t ld);
    /*   combine_f32:   for i < n: y[i] = a[i * step_a] op b[i * step_b];                             exact; max and min of a NaN are NaN */
    void (*combine_f32)(const Combine *c, const float *a, const float *b, float *y, size_t n);
    /*   softmax_f32:   for i < n: t[i] = x[i] * scale + mask[i * step];  y[i] = exp(t[i] - max(t)) / sum over j of exp(t[j] - max(t)) */
    void (*softmax_f32)(const Softmax *p, const float *x, float *y, size_t n);
    /*   softmax_columns_f32: the same down columns, in place, see SoftmaxColumns */
    void (*softmax_columns_f32)(const SoftmaxColumns *p, float *x);
    /*   normalize_f32: for i < n: y[i] = (x[i] - mean) / sqrt(variance + epsilon) * scale[i] + shift[i];     n > 0 */
    void (*normalize_f32)(const Normalize *p, const float *x, float *y, size_t n);
    /*   normalize_columns_f32: the same down columns c < PANEL_VECTOR: y[i * ldy + c] of x[i * ldx + c]; y may be x */
    void (*normalize_columns_f32)(const Normalize *p, const float *x, size_t ldx, float *y, size_t ldy, size_t n);
    /*   total_f32:     sum of x[i] or x[i]^2, in any order (of nothing: 0); the largest or least x[i], NaN if there is one (of nothing: -infinity, infinity) */
    float (*total_f32)(Total kind, const float *x, size_t n);

    /*   widen_f16, narrow_f16: for i < n: y[i] = x[i], to float16 the nearest, ties to even; a NaN may become any other */
    void (*widen_f16)(const uint16_t *x, size_t n, float *y);
    void (*narrow_f16)(const float *x, size_t n, uint16_t *y);

    /* One channel, see kernels/plane.h; y: [out[0]][out[1]].
     *   pool_f32:      y[oy][ox] = max (-infinity of nothing; NaN if there is one) or sum (0) over ky, kx of x[iy][ix] */
    void (*pool_f32)(const PanelWindow *g, const float *x, Pooling kind, float *y);
} Kernels;

int         kernels_levels(void);              /* levels that this CPU and OS can run, >= 1; level 0 is scalar */
const char *kernels_isa(int level);            /* its name */
void        kernels_fill(Kernels *k, int level);
/* The highest level, or the one that $ONESHOT_ISA names ("scalar", "avx2" ...) at the first call; NULL when it names none that runs here. */
const Kernels *kernels_best(void);
