/* What differs between two models: tensors, nodes, metadata. Names pair things up; the way in which a file stores a tensor does not count. */
#pragma once
#include "onnx/model.h"

typedef enum Difference { ONLY_A, ONLY_B, CHANGED } Difference;

typedef struct TensorDifference {
    const char *name;              /* inside bodies and functions with their path before it: "If_3.then_branch: w" */
    Difference kind;
    const Constant *a, *b;         /* NULL where it is missing */
    bool reshaped;                 /* type or shape differ; the numbers below mean nothing then */
    int64_t elements, changed;     /* elements with other bits */
    int64_t newly_zero, no_longer_zero;
    double max_change;             /* the largest |a - b|; NaN where it cannot be told (strings, 4-bit and 8-bit floats, complex) */
} TensorDifference;

typedef struct NodeDifference {
    const char *name, *op_type;    /* with path; a node without a name: "-> " and its first output */
    Difference kind;
    const char *what;              /* CHANGED: "operator, inputs, attributes"; else NULL */
} NodeDifference;

typedef struct FactDifference { const char *what, *a, *b; } FactDifference;    /* "opset ai.onnx", "17", "18"; NULL: missing */

typedef struct Comparison {
    TensorDifference *tensor; int n_tensor;
    NodeDifference *node; int n_node;
    FactDifference *fact; int n_fact;
    int same_tensors, same_nodes;
    int stored_otherwise;          /* tensors with the same elements in another form (raw, external, sparse): no difference */
} Comparison;

/* All results in the arena. Both models need model_refresh. ERR_NOMEM; ERR_IO and ERR_FORMAT of constant_fetch. */
Err models_compare(Arena *arena, Model *a, Model *b, Comparison **out);
