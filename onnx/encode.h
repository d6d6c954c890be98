/* IR -> bytes: whatever was not edited comes out as it stands in the source, in the source's order; what was edited is encoded anew. */
#pragma once
#include "onnx/rope.h"

/* An edited object, by the address of the message that it was read from. */
typedef struct Edit {
    const uint8_t *at;
    enum { EDIT_CONSTANT, EDIT_ATTR, EDIT_NODE, EDIT_GRAPH } kind;
    union { Constant *constant; const Attr *attr; const Node *node; const Graph *graph; };
} Edit;

typedef struct Encoder {
    Model *m;
    Arena *arena;                  /* for everything that lives until the bytes are written */
    Rope rope;
    Edit *edit; int n_edit;        /* ascending by address */
} Encoder;

/* The whole model into x->rope. Needs edits and each Constant.saved. ERR_NOMEM, and what constant_fetch gives. */
Err encode_model(Encoder *x);

typedef enum Message { IN_MODEL, IN_GRAPH, IN_FUNCTION, IN_NODE, IN_ATTR, IN_TENSOR, IN_SPARSE } Message;   /* kinds that may hold edits */

/* A field `number` with a message that stands in the source; edits within are applied. */
Err encode_child(Encoder *x, uint32_t number, Message kind, Span source);
Err encode_constant(Encoder *x, uint32_t number, Constant *c);
Err encode_attr(Encoder *x, const Attr *a);                    /* a whole NodeProto.attribute field */
Err encode_node(Encoder *x, uint32_t number, const Node *n);
Err encode_graph(Encoder *x, uint32_t number, const Graph *g); /* GraphProto or FunctionProto */
int64_t count_nonzeros(const Tensor *t);                       /* elements with a bit set; types of 8 bits and more */
bool span_equals(Span s, const char *text);
