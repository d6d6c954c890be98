/* Maxima of large windows that move by one pixel: first along columns, then along rows, all rows of the plane at once, and in each direction windows of twice the size
 * from two smaller ones, so that the work grows with the logarithm of the window.   x (in[0], in[1]) -> y (out[0], out[1]),
 * y[oy][ox] = max x[oy + ky - pad[0]][ox + kx - pad[1]] over ky < kernel[0], kx < kernel[1]; -infinity of nothing, NaN if there is one. */
#pragma once
#include "kernels/kernels.h"

/* Floats that slide_max needs: the padded plane. */
size_t slide_scratch(const PanelWindow *g);
/* One plane of g, whose strides and dilations are 1. */
void   slide_max(const Kernels *k, const PanelWindow *g, const float *x, float *scratch, float *y);
