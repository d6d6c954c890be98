/* Shape inference: types, shapes and small integer contents of all values, with symbolic sizes kept.
 *
 * The driver walks a graph in order and asks each operator's row. Shape arithmetic (Shape, Gather, Concat, Mul, Slice ...) is carried in
 * Fact.element. A size that depends on a symbol becomes a symbol named after its expression; equal expressions get equal symbols. */
#pragma once
#include "engine/op.h"

struct Inference {
    Model *model;              /* owns the symbols */
    Arena *arena;              /* for Fact.element */
    int64_t opset;             /* of the node's domain */
};

enum { INFER_ELEMENTS = 4096 };    /* larger integer tensors are not followed */

/* A number for a symbolic size: a dim_param's name ("batch"), or "input:axis" ("images:0") for a size without a name. */
typedef struct Binding { const char *name; int64_t size; } Binding;

/* Completes the facts of every value: constants, graph inputs as the file states them with the bindings put in, then node by node, bodies and functions
 * included (a function body is inferred without knowledge of its callers). Starts anew at each call, so it may be called with other bindings.
 * Never fails for what it does not know. A contradiction stops nothing: the first one is described in *complaint (arena text; NULL if none).
 * ERR_NOMEM; ERR_ARG for a binding that names nothing. */
Err infer(Model *m, const Binding *binding, int n_binding, const char **complaint);

/* Helpers for rows. All understand symbols; results are symbols where an operand is. op is one of + - * / (floor) c (ceil division) m (min) M (max) */
Err dim_arith(Inference *x, char op, int64_t a, int64_t b, int64_t *result);
Err dim_product(Inference *x, const int64_t *dim, int n, int64_t *product);
/* Numpy broadcasting: https://onnx.ai/onnx/repo-docs/Broadcasting.html . A symbol against a number > 1 becomes the number. ERR_SHAPE. */
Err shape_broadcast(Inference *x, const Shape *a, const Shape *b, Shape *out);
