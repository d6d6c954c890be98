/* Attention in its forms: products of activations, and com.microsoft's with the projection's weights inside. */
#include "engine/expand.h"
#include "engine/product.h"
#include "engine/run_ops.h"

/* ONNX: Q (B,h,S,d) K (B,k,T,d) V (B,k,T,v), or with heads side by side (B,S,h*d) ...; past keys and values (B,k,P,d) come before K and V.
 * Y like Q with v for d, present keys and values (B,k,P+T,..), scores (B,h,S,P+T).     https://onnx.ai/onnx/operators/onnx__Attention.html */
typedef struct Heads { int64_t batch, heads, length, size; } Heads;

static Err read_heads(Inference *x, const Fact *f, int64_t heads, Heads *h)
{
    *h = (Heads){ DIM_UNKNOWN, DIM_UNKNOWN, DIM_UNKNOWN, DIM_UNKNOWN };
    if (!fact_shaped(f)) return OK;
    const int64_t *d = f->shape.dim;
    if (f->shape.rank == 4) {
        *h = (Heads){ d[0], d[1], d[2], d[3] };
        return OK;
    }
    if (f->shape.rank != 3) return err_set(ERR_SHAPE, "an input has rank %d, expected 3 or 4", f->shape.rank);
    *h = (Heads){ d[0], heads, d[1], DIM_UNKNOWN };
    return dim_arith(x, '/', d[2], heads, &h->size);
}

static Err attention_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Heads q, k, v, past;
    int64_t kv_heads = attr_i(n, "kv_num_heads", DIM_UNKNOWN), total, width;
    for (int i = 0; i < 4; i++)
        if (in[i == 2 ? 2 : i == 1 ? 1 : 0]) out[i].dtype = in[i == 2 ? 2 : i == 1 ? 1 : 0]->dtype;
    if (!fact_shaped(in[0]) || !fact_shaped(in[1]) || !fact_shaped(in[2])) return OK;
    TRY(read_heads(x, in[0], attr_i(n, "q_num_heads", DIM_UNKNOWN), &q));
    TRY(read_heads(x, in[1], kv_heads, &k));
    TRY(read_heads(x, in[2], kv_heads, &v));
    TRY(read_heads(x, in[4], DIM_UNKNOWN, &past));
    total = k.length;
    if (in[4]) TRY(dim_arith(x, '+', k.length, past.length, &total));
    TRY(dim_arith(x, '*', q.heads, v.size, &width));
    bool wide = in[0]->shape.rank == 4;
    out[0].shape = wide ? shape_of(4, (int64_t[]){ q.batch, q.heads, q.length, v.size }) : shape_of(3, (int64_t[]){ q.batch, q.length, width });
    out[1].shape = shape_of(4, (int64_t[]){ k.batch, k.heads, total, k.size });
    out[2].shape = shape_of(4, (int64_t[]){ v.batch, v.heads, total, v.size });
    out[3].shape = shape_of(4, (int64_t[]){ q.batch, q.heads, q.length, total });
    return OK;
}

/* query (B,S,D), past state: output (B,S,heads * size of V), new state like the old */
static Err linear_attention_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n;
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (fact_shaped(in[0])) out[0].shape = shape_unknown_dims(in[0]->shape.rank);
    for (int i = 0; i < 2 && i < out[0].shape.rank; i++) out[0].shape.dim[i] = in[0]->shape.dim[i];
    return OK;
}

/* com.microsoft MultiHeadAttention: past and present keys or values (B,H,P,d) with those of this run, (B,T,H*d) or (B,H,T,d) */
static Err present_infer(Inference *x, const Node *n, const Fact *now, const Fact *past, Fact *out)
{
    int64_t total, width = DIM_UNKNOWN, heads = attr_i(n, "num_heads", 1);
    if (!fact_shaped(now) || now->shape.rank < 3 || now->shape.rank > 4 || (past && (!fact_shaped(past) || past->shape.rank != 4))) return OK;
    total = now->shape.dim[now->shape.rank - 2];
    if (now->shape.rank == 4) width = now->shape.dim[3];
    else TRY(dim_arith(x, '/', now->shape.dim[2], heads, &width));
    if (past) TRY(dim_arith(x, '+', total, past->shape.dim[2], &total));
    out->shape = shape_of(4, (int64_t[]){ now->shape.dim[0], heads, total, width });
    return OK;
}

/* query (B,S,D), key, value (B,T,V): output (B,S,V) */
static Err multi_head_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    for (int i = 0; i < 3 && in[0]; i++) out[i].dtype = in[0]->dtype;
    for (int i = 1; i < 3; i++) TRY(present_infer(x, n, in[i], in[5 + i], &out[i]));
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3) return OK;
    out[0].shape = in[0]->shape;
    if (fact_shaped(in[2]) && in[2]->shape.rank == 4) return dim_arith(x, '*', in[2]->shape.dim[1], in[2]->shape.dim[3], &out[0].shape.dim[2]);
    if (fact_shaped(in[2]) && in[2]->shape.rank == 3) out[0].shape.dim[2] = in[2]->shape.dim[2];
    else if (in[2]) out[0].shape.dim[2] = DIM_UNKNOWN;
    return OK;
}

/* com.microsoft GroupQueryAttention: query (B,S,D), or with keys and values packed behind (no input 1) */
static Err group_query_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    for (int i = 0; i < 3 && in[0]; i++) out[i].dtype = in[0]->dtype;
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3) return OK;
    out[0].shape = in[0]->shape;
    if (in[1]) return OK;
    int64_t heads = attr_i(n, "num_heads", DIM_UNKNOWN), kv = attr_i(n, "kv_num_heads", DIM_UNKNOWN), parts, *width = &out[0].shape.dim[2];
    TRY(dim_arith(x, '*', kv, 2, &parts));
    TRY(dim_arith(x, '+', parts, heads, &parts));
    TRY(dim_arith(x, '/', *width, parts, width));
    return dim_arith(x, '*', *width, heads, width);
}

/* com.microsoft Attention: X (B,S,D), weights (D,Q+K+V): output (B,S,V), the three alike unless qkv_hidden_sizes tells */
static Err packed_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    const int64_t *sizes;
    int n_sizes = attr_is(n, "qkv_hidden_sizes", &sizes);
    for (int i = 0; i < 2 && in[0]; i++) out[i].dtype = in[0]->dtype;
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3) return OK;
    out[0].shape = in[0]->shape;
    out[0].shape.dim[2] = n_sizes == 3 ? sizes[2] : DIM_UNKNOWN;
    if (n_sizes == 3 || !fact_shaped(in[1]) || in[1]->shape.rank != 2) return OK;
    return dim_arith(x, '/', in[1]->shape.dim[1], 3, &out[0].shape.dim[2]);
}

static bool packed_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    (void)n;
    if (input != 1 || weight->shape.rank != 2) return false;
    role[0] = AXIS_IN;
    role[1] = AXIS_OUT;
    return true;
}

/* The projection alone, not the attention behind it. */
static Err packed_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    (void)n, (void)out;
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3 || in[1]->shape.rank != 2) return err_set(ERR_SHAPE, "the shape of X is unknown");
    return macs_of(&in[0]->shape, &in[1]->shape.dim[1], 1, macs);
}

/* com.microsoft QAttention: as Attention, of quantized X and weights */
static Err quantized_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(packed_infer(x, n, in, out));
    out[0].dtype = out[1].dtype = DT_F32;
    return OK;
}

static const QuantSpec PACKED_QUANT[] = { { 0, 3, 6 }, { 1, 4, 7 }, { -1, -1, -1 } };
static const AttrSpec HEADS_ATTRS[] = { { "num_heads", ATTR_I, true }, { 0 } };

const Op op_Attention = { "Attention", "", 23, 3, 7, 1, 4, .infer = attention_infer, .prep = attention_prep };
const Op op_LinearAttention = { "LinearAttention", "", 27, 3, 6, 2, 2, .infer = linear_attention_infer, .prep = linear_attention_prep };
const Op op_RotaryEmbedding = { "RotaryEmbedding", "", 23, 3, 4, 1, 1, .infer = infer_same, .prep = rotary_prep };
const Op op_ms_Attention = { "Attention", "com.microsoft", 1, 2, 7, 1, 2, .attrs = HEADS_ATTRS, .infer = packed_infer, .expand = packed_attention_expand,
    .roles = packed_roles, .macs = packed_macs };
const Op op_ms_GroupQueryAttention = { "GroupQueryAttention", "com.microsoft", 1, 1, 14, 1, 4, .attrs = HEADS_ATTRS, .infer = group_query_infer,
    .expand = group_query_expand };
const Op op_ms_MultiHeadAttention = { "MultiHeadAttention", "com.microsoft", 1, 1, 10, 1, 4, .attrs = HEADS_ATTRS, .infer = multi_head_infer,
    .prep = multi_head_prep };
const Op op_ms_QAttention = { "QAttention", "com.microsoft", 1, 5, 9, 1, 2, .attrs = HEADS_ATTRS, .infer = quantized_infer, .expand = quantized_attention_expand,
    .roles = packed_roles, .macs = packed_macs, .quant = PACKED_QUANT };
const Op op_ms_RotaryEmbedding = { "RotaryEmbedding", "com.microsoft", 1, 4, 4, 1, 1, .infer = infer_same, .prep = rotary_prep };
