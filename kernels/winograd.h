/* 3 x 3 convolutions of stride 1 with fewer multiplications: Winograd's F(m x m, 3 x 3) with m = 2 or 4 (Lavin and Gray 2016, arXiv 1509.09308).
 *
 * A tile of m x m output pixels needs a x a input pixels, a = m + 2, and per channel a * a products instead of 9 m * m: 2.25 times fewer for m = 2, 4 times for m = 4.
 *
 *     Y = A' [ sum over channels c of (G w[c] G') . (B' x[c] B) ] A              . element by element: the a * a "positions", row-major
 *
 * Everything lies with WINOGRAD_LANES channels side by side, so that a tile's place is plain arithmetic and the edge of an image costs nothing but zeros:
 *   interleave   an image with one plane per channel -> pixels of 16 channels
 *   input        pixels -> positions, x -> B' x B
 *   product      for each position a matrix product: tiles x channels times channels x outputs
 *   output       positions -> pixels, A' y A
 *   finish       pixels of 16 channels -> planes, with bias, residual and clamp
 *
 * The matrices evaluate polynomials at 0, 1, -1 and infinity (m = 2) or 0, +-WINOGRAD_P, +-WINOGRAD_Q and infinity (m = 4). The points decide the error: these are
 * exact in binary and, of those tried, among the best; their root mean square error is 2.1 times that of the direct sum (0, +-1, +-2: 4.5 times; m = 2: 0.8 times).
 * Bound for K channels with |x| <= X and |w| <= W: |error| <= (K + 20) * 2^-24 * growth * K * X * W, growth being the square of the largest row sum of
 * |A'| (|G| 1 . |B'| 1): 64 for m = 2, 583 for m = 4. A NaN or infinity spreads over its tile. */
#pragma once
#include "kernels/panel.h"

enum {
    WINOGRAD_LANES = 16,
    WINOGRAD_PANEL = 32,       /* outputs of a product */
    WINOGRAD_POSITIONS = 36,   /* at most */
    WINOGRAD_GROWTH_2 = 64,
    WINOGRAD_GROWTH_4 = 583,
};
#define WINOGRAD_P 0.6875f
#define WINOGRAD_Q 1.5f

/* A row of tiles. Pixel (r, s) lies at r * row + s * WINOGRAD_LANES; tile n begins at pixel (0, n * m). Position p of tile n lies at p * position + n * pitch. */
typedef struct WinogradTiles {
    int m, tiles;
    int rows, columns;         /* of the output's pixels; nothing else is written. rows <= m, columns <= tiles * m; not used by input */
    size_t row, position, pitch;
} WinogradTiles;

typedef struct WinogradProduct {
    int rows, k, outputs;      /* outputs <= WINOGRAD_PANEL */
    const float *v;            /* rows x k; row r starts at r * ld */
    size_t ld;
    const float *u;            /* [k][WINOGRAD_PANEL] */
    float *y;                  /* [rows][WINOGRAD_PANEL]; anything may become of columns beyond outputs */
} WinogradProduct;

/* The transformed weights of up to WINOGRAD_PANEL outputs, [(m + 2)^2][k][WINOGRAD_PANEL], 0 for absent ones. Element (output, channel, tap) of the weights
 * is w[output * row + channel * 9 + tap]. Computed in double, rounded once. */
void winograd_weights(int m, const float *w, size_t row, int outputs, int k, float *u);
