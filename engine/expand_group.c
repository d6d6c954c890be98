/* com.microsoft's GroupQueryAttention as ONNX's Attention over keys and values that its cache was filled with.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.GroupQueryAttention
 *
 * Samples may have different lengths: seqlens_k holds the keys of each with those of this run, less one. Row i of sample b stands at position
 *     p = max(seqlens_k[b] + 1 - S, 0) + i
 * where its key goes, and sees the keys up to p; of a local window only the last ones. */
#include <math.h>
#include "engine/expand.h"


typedef struct Group {
    Expand *x;
    int64_t heads, kv_heads;
    Value *q, *k, *v;              /* (B,H,S,d), (B,K,S,d) */
    Value *length;                 /* S, one element */
    Value *first;                  /* (B,1): position of the first row */
    Value *position;               /* (B,S) */
} Group;

static Err list(Expand *x, int n, const int64_t *v, Value **out)
{
    const int64_t dim = n;
    return expand_constant(x, DT_I64, 1, &dim, v, out);
}

static Err scalar(Expand *x, int64_t v, Value **out) { return expand_constant(x, DT_I64, 0, NULL, &v, out); }

/* Size number `axis` of v, one element. */
static Err size_of(Expand *x, Value *v, int64_t axis, Value **out)
{
    const Attr range[2] = { int_attr("start", axis), int_attr("end", axis + 1) };
    return expand_op(x, "Shape", out, VALUES(v), &(Attrs){ 2, range });
}

static Err reshaped(Expand *x, Value *v, int n, const int64_t *sizes, Value **out)
{
    Value *to;
    TRY(list(x, n, sizes, &to));
    return expand_op(x, "Reshape", out, VALUES(v, to), &NONE);
}

/* An input of whole numbers as int64 of these sizes. */
static Err whole_numbers(Expand *x, Value *v, int n, const int64_t *sizes, Value **out)
{
    const Attr to = int_attr("to", DT_I64);
    TRY(expand_op(x, "Cast", &v, VALUES(v), &(Attrs){ 1, &to }));
    return reshaped(x, v, n, sizes, out);
}

/* 0 ... n - 1; n has one element. */
static Err numbers_below(Expand *x, Value *n, Value **out)
{
    Value *zero, *one;
    TRY(scalar(x, 0, &zero));
    TRY(scalar(x, 1, &one));
    TRY(expand_op(x, "Squeeze", &n, VALUES(n), &NONE));
    return expand_op(x, "Range", out, VALUES(zero, n, one), &NONE);
}

/* (B,S,heads,d) to (B,heads,S,d) and back */
static Err swapped(Expand *x, Value *v, Value **out)
{
    static const int64_t SWAP[] = { 0, 2, 1, 3 };
    const Attr perm = ints_attr("perm", 4, SWAP);
    return expand_op(x, "Transpose", out, VALUES(v), &(Attrs){ 1, &perm });
}

/* Queries, keys and values, three inputs or one with all heads side by side. */
static Err read_heads(Group *g)
{
    Expand *x = g->x;
    Value *query = expand_in(x, 0), *key = expand_in(x, 1), *value = expand_in(x, 2);
    const int64_t heads[3] = { g->heads, g->kv_heads, g->kv_heads };
    TRY(size_of(x, query, 1, &g->length));
    if (!key != !value) return err_set(ERR_SHAPE, "GroupQueryAttention needs keys and values, or neither.");
    if (key) {
        TRY(reshaped(x, query, 4, (int64_t[]){ 0, 0, g->heads, -1 }, &g->q));
        TRY(reshaped(x, key, 4, (int64_t[]){ 0, 0, g->kv_heads, -1 }, &g->k));
        TRY(reshaped(x, value, 4, (int64_t[]){ 0, 0, g->kv_heads, -1 }, &g->v));
    } else {
        const Attr axis = int_attr("axis", 2);
        Value *all, *sizes;
        TRY(reshaped(x, query, 4, (int64_t[]){ 0, 0, g->heads + 2 * g->kv_heads, -1 }, &all));
        TRY(list(x, 3, heads, &sizes));
        TRY(expand_value(x, &g->q));
        TRY(expand_value(x, &g->k));
        TRY(expand_value(x, &g->v));
        TRY(expand_node(x, "Split", VALUES(g->q, g->k, g->v), VALUES(all, sizes), &(Attrs){ 1, &axis }));
    }
    TRY(swapped(x, g->q, &g->q));
    TRY(swapped(x, g->k, &g->k));
    return swapped(x, g->v, &g->v);
}

static Err find_positions(Group *g)
{
    Expand *x = g->x;
    Value *one, *zero, *rows;
    TRY(scalar(x, 0, &zero));
    TRY(scalar(x, 1, &one));
    TRY(whole_numbers(x, expand_in(x, 5), 2, (int64_t[]){ -1, 1 }, &g->first));
    TRY(expand_op(x, "Add", &g->first, VALUES(g->first, one), &NONE));
    TRY(expand_op(x, "Sub", &g->first, VALUES(g->first, g->length), &NONE));
    TRY(expand_op(x, "Max", &g->first, VALUES(g->first, zero), &NONE));
    TRY(numbers_below(x, g->length, &rows));
    return expand_op(x, "Add", &g->position, VALUES(g->first, rows), &NONE);
}

/* Turns queries and keys; tables of fewer columns than half a head turn its first columns. */
static Err turn(Group *g)
{
    Expand *x = g->x;
    Value *cosines = expand_in(x, 7), *sines = expand_in(x, 8), *position = expand_in(x, 9) ? expand_in(x, 9) : g->position, **part[2] = { &g->q, &g->k };
    if (!attr_i(x->node, "do_rotary", 0)) return OK;
    if (!cosines || !sines) return err_set(ERR_SHAPE, "GroupQueryAttention with do_rotary needs tables of cosines and sines.");
    const Shape *table = cosines->constant ? &cosines->constant->tensor.shape : NULL;
    const Attr attr[2] = { int_attr("interleaved", attr_i(x->node, "rotary_interleaved", 0)),
        int_attr("rotary_embedding_dim", table && table->rank == 2 ? 2 * table->dim[1] : 0) };
    for (int i = 0; i < 2; i++) TRY(expand_op(x, "RotaryEmbedding", part[i], VALUES(*part[i], cosines, sines, position), &(Attrs){ 2, attr }));
    return OK;
}

/* The past made as long as total_sequence_length, if it is not already, with what is new at its positions. */
static Err fill_cache(const Group *g, int which, Value **now)
{
    Expand *x = g->x;
    const Attr axis = int_attr("axis", 2), side = int_attr("axis", 0);
    Value *past = expand_in(x, 3 + which), *present = expand_out(x, 1 + which), *total, *size, *zero, *axes, *at;
    if (!past) return present ? expand_node(x, "Identity", VALUES(present), VALUES(*now), &NONE) : OK;
    TRY(list(x, 1, &(int64_t){ 2 }, &axes));
    TRY(list(x, 1, &(int64_t){ 0 }, &zero));
    TRY(whole_numbers(x, expand_in(x, 6), 1, &(int64_t){ 1 }, &total));
    TRY(size_of(x, past, 2, &size));
    TRY(expand_op(x, "Sub", &size, VALUES(total, size), &NONE));
    TRY(expand_op(x, "Max", &size, VALUES(size, zero), &NONE));
    TRY(expand_op(x, "Concat", &size, VALUES(zero, size), &(Attrs){ 1, &side }));
    TRY(expand_op(x, "Pad", &past, VALUES(past, size, NULL, axes), &NONE));
    TRY(reshaped(x, g->first, 1, (int64_t[]){ -1 }, &at));
    if (!present) TRY(expand_value(x, &present));
    TRY(expand_node(x, "TensorScatter", VALUES(present), VALUES(past, *now, at), &(Attrs){ 1, &axis }));
    *now = present;
    return OK;
}

/* What is added to the scores, (B,1,S,T) or with heads: 0 or attention_bias where a key is seen, else -infinity. */
static Err find_bias(const Group *g, Value **out)
{
    static const float HIDDEN = -INFINITY, SEEN = 0;
    Expand *x = g->x;
    const int64_t window = attr_i(x->node, "local_window_size", -1);
    Value *total, *keys, *rows, *axes, *sees, *first, *near, *hidden, *seen = expand_in(x, 10);
    TRY(size_of(x, g->k, 2, &total));
    TRY(numbers_below(x, total, &keys));
    TRY(list(x, 2, (int64_t[]){ 1, 3 }, &axes));
    TRY(expand_op(x, "Unsqueeze", &rows, VALUES(g->position, axes), &NONE));
    TRY(expand_op(x, "LessOrEqual", &sees, VALUES(keys, rows), &NONE));
    if (window > 0) {
        TRY(scalar(x, window, &first));
        TRY(expand_op(x, "Sub", &first, VALUES(rows, first), &NONE));
        TRY(expand_op(x, "Greater", &near, VALUES(keys, first), &NONE));
        TRY(expand_op(x, "And", &sees, VALUES(sees, near), &NONE));
    }
    TRY(expand_constant(x, DT_F32, 0, NULL, &HIDDEN, &hidden));
    TRY(expand_op(x, "CastLike", &hidden, VALUES(hidden, g->q), &NONE));
    if (!seen) {
        TRY(expand_constant(x, DT_F32, 0, NULL, &SEEN, &seen));
        TRY(expand_op(x, "CastLike", &seen, VALUES(seen, g->q), &NONE));
    }
    return expand_op(x, "Where", out, VALUES(sees, seen, hidden), &NONE);
}

static Err check(const Group *g)
{
    const Node *n = g->x->node;
    if (g->heads < 1 || g->kv_heads < 1 || g->heads % g->kv_heads)
        return err_set(ERR_SHAPE, "num_heads is %lld, kv_num_heads %lld.", (long long)g->heads, (long long)g->kv_heads);
    if (!expand_in(g->x, 5) || !expand_in(g->x, 6)) return err_set(ERR_SHAPE, "GroupQueryAttention needs seqlens_k and total_sequence_length.");
    if (expand_in(g->x, 11) || attr_i(n, "smooth_softmax", 0) > 0) return err_set(ERR_UNSUPPORTED, "GroupQueryAttention with a sink cannot be run.");
    if (expand_in(g->x, 12) || expand_in(g->x, 13)) return err_set(ERR_UNSUPPORTED, "GroupQueryAttention with a quantized cache cannot be run.");
    if (expand_out(g->x, 3)) return err_set(ERR_UNSUPPORTED, "GroupQueryAttention with its scores as an output cannot be run.");
    if (!expand_in(g->x, 3) != !expand_in(g->x, 4)) return err_set(ERR_SHAPE, "GroupQueryAttention needs keys and values of the past, or neither.");
    return OK;
}

Err group_query_expand(Expand *x)
{
    Group g = { .x = x, .heads = attr_i(x->node, "num_heads", 0), .kv_heads = attr_i(x->node, "kv_num_heads", 0) };
    const float scale = attr_f(x->node, "scale", 0);
    const Attr attr[2] = { float_attr("softcap", attr_f(x->node, "softcap", 0)), float_attr("scale", scale) };
    Value *bias, *y, *sizes;
    TRY(check(&g));
    TRY(read_heads(&g));
    TRY(find_positions(&g));
    TRY(turn(&g));
    TRY(fill_cache(&g, 0, &g.k));
    TRY(fill_cache(&g, 1, &g.v));
    TRY(find_bias(&g, &bias));
    TRY(expand_op(x, "Attention", &y, VALUES(g.q, g.k, g.v, bias), &(Attrs){ scale != 0 ? 2 : 1, attr }));
    TRY(swapped(x, y, &y));
    TRY(list(x, 3, (int64_t[]){ 0, 0, -1 }, &sizes));
    return expand_last(x, "Reshape", VALUES(y, sizes), &NONE);
}
