/* The files that fill the table, called by kernels_fill in order of rising level. Each writes the fields that it improves and, above level 0, nothing else. */
#pragma once
#include "kernels/kernels.h"

/* Products that a sum adds in one chain of multiply-adds; its error grows with their number. Chains are added in turn. Those of a Winograd convolution are shorter: its
 * sums cancel each other in what comes after. */
enum { DENSE_CHAIN = 128, WINOGRAD_CHAIN = 32 };

void prune_scalar(Kernels *k);
void prune_avx2(Kernels *k);
void prune_avx512(Kernels *k);
void prune_neon(Kernels *k);

void panel_scalar(Kernels *k);
void panel_avx2(Kernels *k);
void panel_avx512(Kernels *k);
void pack_avx2(Kernels *k);
void pack_avx512(Kernels *k);
void pack_f32_avx2(const PanelWindow *g, const float *x, const PanelPart *p, float *panel);     /* for long strides and large kernels */

void few_scalar(Kernels *k);
void few_avx2(Kernels *k);
void few_avx512(Kernels *k);

void winograd_scalar(Kernels *k);
void winograd_avx2(Kernels *k);
void winograd_avx512(Kernels *k);

void rows_scalar(Kernels *k);
void rows_avx2(Kernels *k);
void rows_avx512(Kernels *k);

void plane_scalar(Kernels *k);
void plane_avx2(Kernels *k);
void plane_avx512(Kernels *k);
void depthwise_f32_scalar(const PanelWindow *g, const Depthwise *d);                /* these two for what other levels leave to them */
void pool_f32_scalar(const PanelWindow *g, const float *x, Pooling kind, float *y);
