/* What quantized operators share.   real = (q - zero) * scale   https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html */
#pragma once
#include "engine/plan.h"

/* y[i] = x[i] - zero: zero NULL (0), one element, or one for each index along axis. ERR_SHAPE when their number fits neither. */
Err   minus_zero(const Buffer *x, const Buffer *zero, int axis, int32_t *y);
float scale_at(const Buffer *scale, int64_t i);          /* element i of a float tensor of any float type */
/* y[i] = v + zero[zi], saturated to y's integer type; v is a whole number. */
void  put_saturated(Buffer *y, int64_t i, double v, const Buffer *zero, int64_t zi);
