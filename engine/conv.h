/* What the forms of convolution share. */
#pragma once
#include "engine/plan.h"

/* Three spatial axes; those that are missing come first, with size 1. */
typedef struct ConvShape {
    int64_t batch, group, channels, outputs;       /* channels: of one group; outputs: of all */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
} ConvShape;

/* Reads the sizes of a (transposed) convolution of x and w into s->out[0]. ERR_SHAPE, ERR_UNSUPPORTED for more than three spatial axes. */
Err conv_shape(const Step *s, const Buffer *x, const Buffer *w, ConvShape *c);
/* Types and sizes of weight and bias; ERR_SHAPE. */
Err conv_operands(const Step *s, const ConvShape *c);
