/* Products and the depthwise convolutions or pools behind them as one step: what lies between the two, often the largest values of a network, stays in the L2 cache of
 * the thread that makes and reads it. A 1x1 product behind those that alone reads them can be part of the step as well.
 *
 * An item is some rows of the product (channels) for the pixels that a band of rows of the second result sees. The border between bands is computed twice, and
 * each part of the rows reads the product's input again. With a product behind, an item is all parts of a band, one after the other, and that product for it. */
#pragma once
#include "engine/choose.h"
#include "engine/planes.h"

/* Rows of the product in a part, bands of the second result, and rows of its input that a band sees at most. part_rows 0: the two stay apart. density: of the product's
 * weights; cost: multiplications of the slowest thread, a product's k taken for one. */
typedef struct PairCut { int part_rows, bands, height; double density, cost; } PairCut;

/* How the product of step s and the step behind it should be cut, if they can join and that should not take longer. */
PairCut pair_cut(const Plan *plan, const Step *s, const MultiplyShape *shape);
/* After prep, before placing: joins all pairs. The product's step disappears. */
Err pairs_join(Plan *plan);

/* Of run_conv.c: what prep made of a convolution by kernels; NULL: it runs in another way. */
typedef struct PanelConv { Columns columns; const float *bias; PairCut cut; } PanelConv;
const PanelConv *conv_panels(const Step *s);
/* What a step reads and writes, see fused_run. bias: a folded one; NULL: that of the step. */
MultiplyRun conv_operands_of(const Step *s, const float *bias, bool adds);
