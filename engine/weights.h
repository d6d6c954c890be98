/* Where the weights of a model are: every constant that multiplies activations, wherever exporters put it.
 *
 * A weight is found from its product: Conv, ConvTranspose, Gemm, MatMul, Einsum, LSTM ... rows say which inputs are weights (Op.roles); from there the
 * walk goes up through Identity, Cast, Transpose, Reshape, Squeeze, QuantizeLinear and DequantizeLinear to the Constant that holds the elements, and
 * the axes are carried along. */
#pragma once
#include "engine/op.h"

/* One axis of the matrix view: element (i0, i1, ...) of the view lies at sum of i * stride in the stored constant. */
typedef struct WeightAxis { AxisRole role; int64_t size, stride; } WeightAxis;

typedef enum WeightKeep {          /* why a weight is left alone unless the user asks */
    KEEP_NOT = 0,
    KEEP_SHARED_OTHER,             /* also serves something that is not a product: an embedding table, a graph output */
    KEEP_FIRST, KEEP_LAST,         /* first and last weighted layer of the model */
    KEEP_DEPTHWISE,                /* one input channel per group */
    KEEP_SMALL,                    /* fewer than 1024 elements */
    KEEP_TYPE,                     /* a type whose zero cannot be written (string, complex ...) */
} WeightKeep;
const char *weight_keep_text(WeightKeep k);    /* a clause: "first weighted layer" */

typedef struct WeightUse { Node *node; int input; } WeightUse;

typedef struct Weight {
    Constant *constant;
    const char *name;              /* initializer name, else the name of the value that the Constant node produces */
    WeightUse *use; int n_use;     /* products that multiply by it; a shared tensor is one Weight */
    Node *node;                    /* first user: gives the layer its name in reports */
    int n_axis; WeightAxis axis[MAX_RANK];     /* stored elements as the first user sees them; n_axis 0: a Reshape between mixes the axes */
    /* Quantized weights: real = (q - zero) * scale. NULL: plain. One element, or one for each index along quant_axis of the stored tensor. */
    Constant *scale, *zero;
    int quant_axis; int64_t quant_block;       /* block size of blocked quantization along the axis; 0: none */
    int64_t elements, zeros;       /* zeros counted by weights_find */
    int64_t macs;                  /* dense multiply-adds of all its uses; -1: unknown (symbolic sizes) */
    WeightKeep keep;
} Weight;

/* Finds all weights in the order of their first product. Needs ops_bind and infer. zeros are counted (fetching and releasing every constant).
 * List and names live in the model's arena. */
Err weights_find(Model *m, Weight **weight, int *n);
