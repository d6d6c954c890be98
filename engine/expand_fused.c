/* What ONNX Runtime's optimizers fuse, taken apart again.   https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md */
#include <string.h>
#include "engine/expand.h"

/* Parameters of a fused activation, in the order in which the list activation_params of FusedConv has them. */
typedef struct Activation { const char *type, *parameter[2]; } Activation;
static const Activation ACTIVATIONS[] = { { "LeakyRelu", { "alpha" } }, { "HardSigmoid", { "alpha", "beta" } }, { "Clip", { "min", "max" } }, { "Elu", { "alpha" } },
    { "ThresholdedRelu", { "alpha" } }, { "QuickGelu", { "alpha" } } };

static const char *activation_name(const Expand *x)
{
    const Attr *a = node_attr(x->node, "activation");
    return a && a->kind == ATTR_S && a->s.size ? arena_strndup(x->arena, (const char *)a->s.at, a->s.size) : NULL;
}

/* Clip's limits are inputs since opset 11. */
static Err clip_last(Expand *x, Value *v, const float *p, int n)
{
    Value *limit[2] = { NULL, NULL };
    for (int i = 0; i < n && i < 2; i++) TRY(expand_constant(x, DT_F32, 0, NULL, &p[i], &limit[i]));
    return expand_last(x, "Clip", VALUES(v, limit[0], limit[1]), &NONE);
}

static Err activation_last(Expand *x, Value *v, const char *type, const float *p, int n)
{
    Attr attr[2];
    Attrs attrs = { 0, attr };
    if (!strcmp(type, "Clip")) return clip_last(x, v, p, n);
    for (size_t i = 0; i < sizeof ACTIVATIONS / sizeof *ACTIVATIONS; i++) {
        if (strcmp(ACTIVATIONS[i].type, type)) continue;
        for (int k = 0; k < 2 && k < n && ACTIVATIONS[i].parameter[k]; k++) attr[attrs.n++] = float_attr(ACTIVATIONS[i].parameter[k], p[k]);
    }
    return expand_last(x, type, VALUES(v), &attrs);
}

/* Y = activation(Conv(X, W, B) + Z) */
Err fused_conv_expand(Expand *x)
{
    const char *type = activation_name(x);
    const Attr *p = node_attr(x->node, "activation_params");
    Value *in[3] = { expand_in(x, 0), expand_in(x, 1), expand_in(x, 2) }, *z = expand_in(x, 3), *y;
    if (!type && !z) return expand_last(x, "Conv", (Values){ in, 3 }, NULL);
    TRY(expand_op(x, "Conv", &y, (Values){ in, 3 }, NULL));
    if (z && !type) return expand_last(x, "Add", VALUES(y, z), &NONE);
    if (z) TRY(expand_op(x, "Add", &y, VALUES(y, z), &NONE));
    return activation_last(x, y, type, p && p->kind == ATTR_FS ? p->fs : NULL, p && p->kind == ATTR_FS ? p->n : 0);
}

/* Y = activation(Gemm(A, B, C)), its parameters in attributes of their own */
Err fused_gemm_expand(Expand *x)
{
    static const char *const NAME[] = { "activation_alpha", "activation_beta" };
    const char *type = activation_name(x);
    Value *in[3] = { expand_in(x, 0), expand_in(x, 1), expand_in(x, 2) }, *y;
    float p[2];
    int n = 0;
    while (n < 2 && node_attr(x->node, NAME[n])) { p[n] = attr_f(x->node, NAME[n], 0); n++; }
    if (!type) return expand_last(x, "Gemm", (Values){ in, 3 }, NULL);
    TRY(expand_op(x, "Gemm", &y, (Values){ in, 3 }, NULL));
    return activation_last(x, y, type, p, n);
}

static Err gelu_of_sum(Expand *x, const char *gelu)
{
    Value *v = expand_in(x, 0);
    if (expand_in(x, 1)) TRY(expand_op(x, "Add", &v, VALUES(v, expand_in(x, 1)), &NONE));
    Attr tanh = { .name = "approximate", .kind = ATTR_S, .s = { (const uint8_t *)gelu, strlen(gelu) } };
    return expand_last(x, "Gelu", VALUES(v), &(Attrs){ 1, &tanh });
}

Err bias_gelu_expand(Expand *x) { return gelu_of_sum(x, "none"); }
Err fast_gelu_expand(Expand *x) { return gelu_of_sum(x, "tanh"); }

/* inputs X, skip, gamma, [beta unless simplified], bias: Y = norm(X + skip + bias); output 3 is the sum */
Err skip_norm_expand(Expand *x)
{
    bool simple = !strcmp(x->node->op_type, "SkipSimplifiedLayerNormalization");
    Value *sum = expand_in(x, 0), *bias = expand_in(x, simple ? 3 : 4), *total = expand_out(x, 3);
    Value *term[2] = { expand_in(x, 1), bias };
    int terms = bias ? 2 : 1;
    for (int i = 0; i < terms; i++) {
        Value *next = i == terms - 1 && total ? total : NULL;
        if (!next) TRY(expand_value(x, &next));
        TRY(expand_node(x, "Add", VALUES(next), VALUES(sum, term[i]), &NONE));
        sum = next;
    }
    Attr epsilon = float_attr("epsilon", attr_f(x->node, "epsilon", 1e-12f));
    const Attrs attrs = { 1, &epsilon };
    if (simple) return expand_node(x, "SimplifiedLayerNormalization", VALUES(expand_out(x, 0)), VALUES(sum, expand_in(x, 2)), &attrs);
    Value *out[3] = { expand_out(x, 0), expand_out(x, 1), expand_out(x, 2) };
    return expand_node(x, "LayerNormalization", (Values){ out, 3 }, VALUES(sum, expand_in(x, 2), expand_in(x, 3)), &attrs);
}

/* (X - mean) / sqrt(mean of (X - mean)^2) along axes; 1e-9 keeps the division defined, as in ONNX's own definition. */
Err mean_variance_expand(Expand *x)
{
    static const int64_t USUAL[] = { 0, 2, 3 };
    const int64_t *axes = USUAL, n = attr_is(x->node, "axes", &axes), count = n ? n : 3;
    const float tiny = 1e-9f;
    Value *list, *mean, *rest, *square, *epsilon;
    TRY(expand_constant(x, DT_I64, 1, &count, axes, &list));
    TRY(expand_constant(x, DT_F32, 0, NULL, &tiny, &epsilon));
    TRY(expand_op(x, "CastLike", &epsilon, VALUES(epsilon, expand_in(x, 0)), &NONE));
    TRY(expand_op(x, "ReduceMean", &mean, VALUES(expand_in(x, 0), list), &NONE));
    TRY(expand_op(x, "Sub", &rest, VALUES(expand_in(x, 0), mean), &NONE));
    TRY(expand_op(x, "Mul", &square, VALUES(rest, rest), &NONE));
    TRY(expand_op(x, "ReduceMean", &square, VALUES(square, list), &NONE));
    TRY(expand_op(x, "Sqrt", &square, VALUES(square), &NONE));
    TRY(expand_op(x, "Add", &square, VALUES(square, epsilon), &NONE));
    return expand_last(x, "Div", VALUES(rest, square), &NONE);
}

/* The first S rows of the position embedding, or those that position_ids names. */
static Err position_rows(Expand *x, Value **out)
{
    const int64_t one = 1, zero[1] = { 0 };
    Value *ids = expand_in(x, 8), *length, *start;
    if (ids) return expand_op(x, "Gather", out, VALUES(expand_in(x, 3), ids), &NONE);
    const Attr range[2] = { int_attr("start", 1), int_attr("end", 2) };
    TRY(expand_op(x, "Shape", &length, VALUES(expand_in(x, 0)), &(Attrs){ 2, range }));
    TRY(expand_constant(x, DT_I64, 1, &one, zero, &start));
    return expand_op(x, "Slice", out, VALUES(expand_in(x, 3), start, length, start), &NONE);
}

/* How many ones each row of the mask has; without a mask 0. */
static Err mask_index(Expand *x, Value *out)
{
    const int64_t one = 1, axis = 1;
    const int32_t nothing = 0;
    const Attr keep = int_attr("keepdims", 0), range[2] = { int_attr("start", 0), int_attr("end", 1) };
    Value *axes, *zero, *batch, *mask = expand_in(x, 7);
    if (mask) {
        TRY(expand_constant(x, DT_I64, 1, &one, &axis, &axes));
        return expand_node(x, "ReduceSum", VALUES(out), VALUES(mask, axes), &(Attrs){ 1, &keep });
    }
    TRY(expand_op(x, "Shape", &batch, VALUES(expand_in(x, 0)), &(Attrs){ 2, range }));
    TRY(expand_constant(x, DT_I32, 0, NULL, &nothing, &zero));
    return expand_node(x, "Expand", VALUES(out), VALUES(zero, batch), &NONE);
}

/* input_ids, segment_ids, word, position, segment embeddings, gamma, beta, mask, position_ids */
Err embed_norm_expand(Expand *x)
{
    Value *word, *position, *segment = expand_in(x, 4), *sum = expand_out(x, 2);
    TRY(expand_op(x, "Gather", &word, VALUES(expand_in(x, 2), expand_in(x, 0)), &NONE));
    TRY(position_rows(x, &position));
    bool segments = segment && expand_in(x, 1);
    if (!sum) TRY(expand_value(x, &sum));
    Value *first = sum;
    if (segments) TRY(expand_value(x, &first));
    TRY(expand_node(x, "Add", VALUES(first), VALUES(word, position), &NONE));
    if (segments) {
        TRY(expand_op(x, "Gather", &segment, VALUES(segment, expand_in(x, 1)), &NONE));
        TRY(expand_node(x, "Add", VALUES(sum), VALUES(first, segment), &NONE));
    }
    if (expand_out(x, 1)) TRY(mask_index(x, expand_out(x, 1)));
    Attr epsilon = float_attr("epsilon", attr_f(x->node, "epsilon", 1e-12f));
    return expand_last(x, "LayerNormalization", VALUES(sum, expand_in(x, 5), expand_in(x, 6)), &(Attrs){ 1, &epsilon });
}
