/* Whole tensors of float32 through the loops of kernels/rows.h: cut into pieces that stay in the L1 cache, on the plan's threads where there is enough to do.
 * Every function needs that floats_ready was OK when the plan was made. y may be x (or a, or b) where it has that shape. */
#pragma once
#include "engine/walk.h"
#include "kernels/kernels.h"

/* ERR_ARG where ONESHOT_ISA names no instruction set of this machine. */
Err floats_ready(void);

/* Whether the step applies an activation of kernels/rows.h to its only input, of float32. */
bool activation_of(const Step *s, Activate *a);
/* y[i] = activation(x[i]) */
void floats_activate(const Plan *p, const Activate *a, const float *x, float *y, int64_t n);
/* y = a op b, broadcast: w holds a, b (operands 0 and 1) and the shape of y. */
void floats_combine(const Plan *p, Arithmetic kind, const Walk *w, const float *a, const float *b, float *y);
/* Softmax along the middle axis of [outer][n][inner], or its logarithm. */
void floats_softmax(const Plan *plan, const Axis *a, const float *x, float *y, bool logarithm);
/* y[o][i] = total over j of x[o][j][i]: a sum, or the largest or least number (NaN if there is one; of nothing: -infinity, infinity). */
void floats_total(const Plan *p, Total kind, const Axis *a, const float *x, float *y);
