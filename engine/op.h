/* The operator table: one row per operator, everything that the program knows about it.
 *
 * ops.def lists the rows alphabetically; each row stands in its family's file (op_conv.c, op_shape.c ...) beside its functions.
 * A column left empty has a safe default: an operator with only `infer` is never damaged by pruning, and gains columns later. */
#pragma once
#include "onnx/model.h"

typedef struct Inference Inference;            /* engine/infer.h */
typedef struct Plan Plan; typedef struct Step Step;    /* engine/plan.h */
typedef struct Expand Expand;                  /* engine/expand.h */
typedef struct PanelWindow PanelWindow;        /* kernels/panel.h */

typedef struct AttrSpec { const char *name; AttrKind kind; bool required; } AttrSpec;

/* What an axis of a weight means to its product. */
typedef enum AxisRole {
    AXIS_BATCH,      /* separate products: directions of an LSTM, leading axes of a MatMul constant */
    AXIS_OUT,        /* output channels */
    AXIS_IN,         /* input channels (of one group): what is summed over */
    AXIS_TAP,        /* kernel positions: summed over as well */
} AxisRole;

/* Inputs that belong to a quantized weight: real = (data - zero) * scale. */
typedef struct QuantSpec { int8_t data, scale, zero; } QuantSpec;      /* input numbers; -1: the operator has none */

typedef struct Op {
    const char *type, *domain;                 /* domain "" is ai.onnx */
    int since;                                 /* first opset whose semantics the row implements */
    int min_in, max_in, min_out, max_out;      /* max -1: variadic */
    const AttrSpec *attrs;                     /* ends with a NULL name; NULL: not checked */
    /* Facts of the outputs from those of the inputs. in[] has at least max_in entries, out[] at least max_out; in[i] is NULL for an input left
     * out. Outputs arrive as tensors of unknown type and shape; what stays unknown is no error. ERR_SHAPE when types or shapes contradict
     * each other (what out holds then still counts). Pure: the model is only read. */
    Err (*infer)(Inference *x, const Node *n, const Fact *const *in, Fact *out);
    /* Makes the step runnable for the shapes of this plan: engine/plan.h. NULL: cannot be run, can still be pruned and saved. */
    Err (*prep)(Plan *plan, Step *step);
    /* In place of prep: writes the node as several simpler ones. */
    Err (*expand)(Expand *x);
    /* The meaning of each axis of input `input`; false when that input is not the weight of a product. NULL: no weights. */
    bool (*roles)(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK]);
    /* Multiply-adds of the node with dense weights. ERR_SHAPE while shapes are unknown or symbolic. NULL: not counted. */
    Err (*macs)(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs);
    /* Whether prep will apply what engine/fuse.h lets the step take over: the axis of the output's channels, or -1. NULL: never. */
    int (*fuses)(const Step *s);
    /* Whether prep will make a step of engine/planes.h, and with which window. NULL: never. */
    bool (*planes)(const Step *s, PanelWindow *window);
    const QuantSpec *quant;                    /* ends with data -1; NULL: none */
    bool lists;                                /* may read values that are no tensors; what does not is refused before it sees one */
    bool passes_weight;                        /* out[0] holds in[0]'s elements, moved or converted: Transpose, Reshape, Cast, DequantizeLinear ... */
} Op;

const Op *op_find(const char *domain, const char *type);   /* NULL: unknown */
int       op_count(void);
const Op *op_at(int i);
/* Looks up every node's row, also in bodies and functions. Nodes of unknown operators, of older opsets than the row's, or that break the row's
 * arity keep op == NULL. */
Err       ops_bind(Model *m);
