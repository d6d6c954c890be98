/* Operators that are made of others: a node becomes a small graph of ordinary nodes when it is planned, so that constants fold, memory is shared and products take
 * their usual form. What an operator expands to stands in expand_*.c.
 *
 *     TRY(expand_op(x, "Add", &t, VALUES(a, b), NULL));
 *     return expand_last(x, "Gelu", VALUES(t), NULL); */
#pragma once
#include "engine/op.h"

struct Expand {
    Arena *arena;
    const Node *node;              /* what is expanded */
    Graph  graph;                  /* the new nodes in order; opset 22 */
};

typedef struct Values { Value *const *at; int n; } Values;     /* NULL: left out */
#define VALUES(...) ((Values){ (Value *[]){ __VA_ARGS__ }, (int)(sizeof((Value *[]){ __VA_ARGS__ }) / sizeof(Value *)) })
/* Attributes of a new node. NULL: those of the expanded node; &NONE: none. */
typedef struct Attrs { int n; const Attr *attr; } Attrs;
static const Attrs NONE = { 0 };
static inline Attr int_attr(const char *name, int64_t v) { return (Attr){ .name = name, .kind = ATTR_I, .i = v }; }
static inline Attr float_attr(const char *name, float v) { return (Attr){ .name = name, .kind = ATTR_F, .f = v }; }
static inline Attr ints_attr(const char *name, int n, const int64_t *v) { return (Attr){ .name = name, .kind = ATTR_IS, .n = n, .is = v }; }

/* A node with these inputs whose only output is a new value. `out` may point at one of the inputs. */
Err expand_op(Expand *x, const char *type, Value **out, Values in, const Attrs *attrs);
/* The same with the outputs given. Entries of out may be outputs of the expanded node. */
Err expand_node(Expand *x, const char *type, Values out, Values in, const Attrs *attrs);
/* A node whose output is output 0 of the expanded node. */
Err expand_last(Expand *x, const char *type, Values in, const Attrs *attrs);
/* A node of any row, also of one that has no name in ONNX. */
Err expand_row(Expand *x, const Op *op, Values out, Values in, const Attrs *attrs);
Err expand_value(Expand *x, Value **out);                                      /* a new value, for expand_node */
Err expand_constant(Expand *x, DType t, int rank, const int64_t *dim, const void *data, Value **out);  /* data is copied */
Err expand_tensor(Expand *x, const Tensor *tensor, Value **out);                 /* the same of a tensor, whose data lives in the arena */
static inline Value *expand_in(const Expand *x, int i) { return i < x->node->n_in ? x->node->in[i] : NULL; }
/* Output i if anything reads it: what nobody reads is not planned, so nothing else may depend on it. */
static inline Value *expand_out(const Expand *x, int i)
{
    Value *v = i < x->node->n_out ? x->node->out[i] : NULL;
    return v && (v->n_user || v->is_output) ? v : NULL;
}

/* How rows expand: the `expand` column. */
Err fused_conv_expand(Expand *x), fused_gemm_expand(Expand *x), bias_gelu_expand(Expand *x), fast_gelu_expand(Expand *x);
Err mean_variance_expand(Expand *x), skip_norm_expand(Expand *x), embed_norm_expand(Expand *x);
Err qlinear_sigmoid_expand(Expand *x), qlinear_leaky_expand(Expand *x), qlinear_pool_expand(Expand *x), qlinear_softmax_expand(Expand *x);
Err qlinear_concat_expand(Expand *x), qlinear_where_expand(Expand *x), qgemm_expand(Expand *x);
Err packed_attention_expand(Expand *x), quantized_attention_expand(Expand *x), group_query_expand(Expand *x);
Err gather_blocks_expand(Expand *x), quantized_embed_expand(Expand *x);
Err matmul_nbits_expand(Expand *x), integer_to_float_expand(Expand *x), dynamic_matmul_expand(Expand *x);
