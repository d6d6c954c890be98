/* What the parts of the loader share: load.c (files and models), load_graph.c, load_tensor.c. */
#pragma once
#include "onnx/names.h"
#include "onnx/schema.h"
#include "onnx/wire.h"

typedef struct Loader {
    Model *m;
    Arena *arena;              /* the model's */
    const uint8_t *file;       /* its first byte */
    int depth;                 /* of the message being read; at most WIRE_DEPTH */
} Loader;

Err load_string(Loader *l, Span bytes, const char **text);     /* copies; ERR_FORMAT if it holds a NUL byte */
Err load_nested(Loader *l);                                    /* one message deeper; ERR_FORMAT beyond WIRE_DEPTH. Undo with l->depth-- */
Err load_out_of_memory(void);

/* A TensorProto or SparseTensorProto. */
Err load_constant(Loader *l, Span source, Constant **out);
Err load_sparse(Loader *l, Span source, Constant **out);

/* A GraphProto; outer and owner are NULL for the main graph. */
Err load_graph(Loader *l, Span source, Graph *outer, Node *owner, Graph **out);
Err load_function(Loader *l, Span source, Graph **out);
Err load_opsets(Loader *l, Span message, uint32_t number, OpsetImport **opset, int *n);

Err load_attr(Loader *l, Span source, Node *node, Attr *out);
/* The constant that a Constant node of ai.onnx holds; NULL for other nodes. Its attributes must be loaded. */
Err load_constant_node(Loader *l, const Node *n, Constant **out);
