/* Convolutions with fewer multiplications: Winograd's F(m x m, r x r) (Lavin and Gray 2016, arXiv 1509.09308), m = 2 or 4 outputs by r = 2, 3 or 4 taps along each axis.
 *
 * A tile of m x m output pixels needs a x a input pixels, a = m + r - 1, and per channel a * a products instead of r^2 m^2: for 3 x 3 taps 2.25 times fewer with m = 2,
 * 4 times with m = 4.
 *
 *     Y = A' [ sum over channels c of (G w[c] G') . (B' x[c] B) ] A              . element by element: the a * a "positions", row-major
 *
 * A convolution of stride 2 is the sum of those of stride 1 of the four phases of its image: of its even and odd rows and columns, with half of the taps along each
 * axis. Each phase counts as so many channels more, and r is half of the kernel, rounded up. Where the kernel is odd, odd rows or columns have r - 1 taps: the
 * highest power of their polynomial, its value at infinity, is 0, so that the last positions are products of fewer phases. Their order, (0, 1), (0, 0), (1, 0), (1, 1),
 * makes what a position multiplies one range of channels. A kernel of 7 x 7 takes 4.6 times fewer products than directly, one of 3 x 3 1.8 times.
 *
 * Everything lies with WINOGRAD_LANES channels side by side, so that a tile's place is plain arithmetic and the edge of an image costs nothing but zeros:
 *   interleave   an image with one plane per channel -> pixels of 16 channels, or of some channels of all phases where there are few
 *   input        pixels -> positions, x -> B' x B
 *   product      for each position a matrix product: tiles x channels times channels x outputs
 *   output       positions -> pixels, A' y A
 *   finish       pixels of 16 channels -> planes, with bias, residual and clamp
 *
 * The matrices evaluate polynomials at the points of winograd_points and at infinity. Points come in pairs, for sums of even and of odd powers. They decide the error:
 * these are exact in binary and, of all of a few bits, among the best. Root mean square errors for noise are 1.0 (m = 2) and 1.7, 2.8, 5.3 (m = 4, r = 2, 3, 4) times
 * that of the direct sum, for the features of networks less: 1.9 in PP-OCR's detector (m = 4, r = 3). Most of it is made by the sums over channels, so that these are
 * added in short chains.
 * Bound for K channels (of all phases) with |x| <= X and |w| <= W: |error| <= (K + 30) * 2^-24 * growth * K * X * W, growth being the square of the largest row sum of
 * |A'| (|G| 1 . |B'| 1): winograd_growth. A NaN or infinity spreads over its tile. */
#pragma once
#include "kernels/panel.h"

enum {
    WINOGRAD_LANES = 16,
    WINOGRAD_PANEL = 32,       /* outputs of a product */
    WINOGRAD_POSITIONS = 49,   /* at most */
};
/* F(m x m, r x r) for a convolution with `kernel` taps and this stride along each axis; a = m + r - 1. */
typedef struct WinogradForm { int m, r, a, kernel, stride; } WinogradForm;
/* m 0: there is none. m = 2 is for 3 x 3 taps and stride 1. */
WinogradForm winograd_form(int m, int kernel, int stride);
/* Multiplications for a tile of one channel and one output. */
int winograd_products(const WinogradForm *f);
/* Which pixels of an image are gathered side by side: all, or every second one, so that few channels fill lanes with their phases. */
static inline int winograd_step(const WinogradForm *f, int channels) { return channels % WINOGRAD_LANES ? f->stride : 1; }

/* The row and column of a phase, of step^2 phases. */
static inline int winograd_phase_down(int phase) { return phase / 2; }
static inline int winograd_phase_across(int phase, int step) { return step > 1 && phase % 3 == 0; }
/* The phases whose channels a position multiplies. */
typedef struct WinogradPhases { int first, end; } WinogradPhases;
static inline WinogradPhases winograd_phases(const WinogradForm *f, int position)
{
    const bool fewer = f->kernel % f->stride, down = fewer && position / f->a == f->a - 1, across = fewer && position % f->a == f->a - 1;
    return (WinogradPhases) { across, f->stride == 1 ? 1 : down ? 2 : across ? 3 : 4 };
}

/* 0 if `zero`, then pair[i] and -pair[i] for each pair; last comes infinity. */
typedef struct WinogradPoints { int zero, pairs; float pair[3]; } WinogradPoints;
static inline WinogradPoints winograd_points(int m, int r)
{
    if (m == 2) return (WinogradPoints) { 1, 1, { 1, 0, 0 } };
    if (r == 2) return (WinogradPoints) { 0, 2, { 0.375f, 1.25f, 0 } };
    if (r == 3) return (WinogradPoints) { 1, 2, { 0.6875f, 1.5f, 0 } };
    return (WinogradPoints) { 0, 3, { 0.25f, 0.875f, 1.75f } };
}
static inline int winograd_growth(int m, int r) { return m == 2 ? 64 : r == 2 ? 153 : r == 3 ? 583 : 2146; }
/* Coefficients, the lowest power first, of the product of x - pair[i]^2 over all pairs but one, -1: all. The last one is 1. */
static inline void winograd_polynomial(const WinogradPoints *p, int except, float coefficient[4])
{
    float s[3] = { 0 };
    int n = 0;
    for (int i = 0; i < p->pairs; i++)
        if (i != except)
            s[n++] = p->pair[i] * p->pair[i];
    const float two[2] = { s[0] * s[1], -s[0] - s[1] }, three[3] = { -s[0] * s[1] * s[2], s[0] * s[1] + s[0] * s[2] + s[1] * s[2], -s[0] - s[1] - s[2] };
    for (int i = 0; i < n; i++)
        coefficient[i] = n == 1 ? -s[0] : n == 2 ? two[i] : three[i];
    coefficient[n] = 1;
}

/* A row of tiles. Pixel (r, s) lies at r * row + s * step * WINOGRAD_LANES, step being 1 for output; tile n begins at pixel (0, n * m). Position p of tile n lies at
 * p * position + n * pitch. */
typedef struct WinogradTiles {
    int m, r, tiles;
    int step;                  /* not used by output */
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

/* The transformed weights of up to WINOGRAD_PANEL outputs, for each position [phases][k][WINOGRAD_PANEL], 0 for absent ones. Element (output, channel, tap) of the
 * weights is w[output * row + channel * kernel^2 + tap]. Computed in double, rounded once. */
void winograd_weights(const WinogradForm *f, const float *w, size_t row, int outputs, int k, float *u);
