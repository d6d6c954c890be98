/* Normalizations and softmax: the shape of the input, and statistics on the side. */
#include "engine/expand.h"
#include "engine/infer.h"
#include "engine/run_ops.h"

/* Y, then (training) running mean and variance, saved mean and variance: one number a channel. */
static Err batch_norm_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    for (int i = 1; i < n->n_out; i++) TRY(infer_same(x, n, in + (i & 1 ? 3 : 4), &out[i]));
    if (!fact_shaped(in[0]) || !fact_shaped(in[1]) || in[0]->shape.rank < 2 || in[1]->shape.rank != 1) return OK;
    if (dim_differ(in[0]->shape.dim[1], in[1]->shape.dim[0]))
        return err_set(ERR_SHAPE, "%lld channels, scale has %lld", (long long)in[0]->shape.dim[1], (long long)in[1]->shape.dim[0]);
    return OK;
}

/* Sizes before the axis stay, those from it on become 1: mean and inverse deviation. */
static Err statistics(const Node *n, const Fact *in, DType type, Fact *out)
{
    out->dtype = type;
    if (!fact_shaped(in)) return OK;
    int axis;
    TRY(axis_read(attr_i(n, "axis", -1), in->shape.rank, &axis));
    out->shape = in->shape;
    for (int i = axis; i < out->shape.rank; i++) out->shape.dim[i] = 1;
    return OK;
}

static Err layer_norm_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    int64_t type = attr_i(n, "stash_type", DT_F32);
    for (int i = 1; i < 3; i++) TRY(statistics(n, in[0], type == DT_BF16 ? DT_BF16 : type == DT_F64 ? DT_F64 : type == DT_F16 ? DT_F16 : DT_F32, &out[i]));
    return OK;
}

/* com.microsoft: inputs X, skip, gamma, ...; outputs Y, mean, inverse deviation, X + skip */
static Err skip_norm_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    for (int i = 1; i < 3; i++) TRY(statistics(n, in[0], DT_F32, &out[i]));
    return infer_same(x, n, in, &out[3]);
}

/* input_ids (B,S): embeddings (B,S,H), mask index (B), sum of embeddings (B,S,H); H from the word embedding (V,H) */
static Err embed_norm_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n;
    out[1].dtype = DT_I32;
    if (in[2]) out[0].dtype = out[2].dtype = in[2]->dtype;
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 2) return OK;
    int64_t hidden = fact_shaped(in[2]) && in[2]->shape.rank == 2 ? in[2]->shape.dim[1] : DIM_UNKNOWN;
    out[0].shape = out[2].shape = shape_of(3, (int64_t[]){ in[0]->shape.dim[0], in[0]->shape.dim[1], hidden });
    out[1].shape = shape_of(1, in[0]->shape.dim);
    return OK;
}

/* The same of quantized tables. */
static Err quantized_embed_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Fact all[3] = { out[0], out[1], out[0] };
    TRY(embed_norm_infer(x, n, in, all));
    out[0] = all[0];
    out[0].dtype = DT_F32;
    out[1] = all[1];
    return OK;
}

const Op op_BatchNormalization = { "BatchNormalization", "", 7, 5, 5, 1, 5, .infer = batch_norm_infer, .prep = batch_norm_prep, };
const Op op_GroupNormalization = { "GroupNormalization", "", 18, 3, 3, 1, 1, .infer = infer_same, .prep = channel_norm_prep, };
const Op op_Hardmax = { "Hardmax", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = softmax_prep, };
const Op op_InstanceNormalization = { "InstanceNormalization", "", 1, 3, 3, 1, 1, .infer = infer_same, .prep = channel_norm_prep, };
const Op op_LRN = { "LRN", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = lrn_prep, };
const Op op_LayerNormalization = { "LayerNormalization", "", 1, 2, 3, 1, 3, .infer = layer_norm_infer, .prep = layer_norm_prep, };
const Op op_LogSoftmax = { "LogSoftmax", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = softmax_prep, };
const Op op_LpNormalization = { "LpNormalization", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = lp_norm_prep, };
const Op op_MeanVarianceNormalization = { "MeanVarianceNormalization", "", 9, 1, 1, 1, 1, .infer = infer_same, .expand = mean_variance_expand };
const Op op_RMSNormalization = { "RMSNormalization", "", 23, 2, 2, 1, 1, .infer = infer_same, .prep = layer_norm_prep, };
/* ONNX Runtime's tools write it into the default domain, where ONNX does not define it. */
const Op op_SimplifiedLayerNormalization = { "SimplifiedLayerNormalization", "", 1, 2, 2, 1, 2, .infer = layer_norm_infer, .prep = layer_norm_prep, };
const Op op_Softmax = { "Softmax", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = softmax_prep, };
/* Inputs in the middle may be left out. */
const Op op_ms_EmbedLayerNormalization = { "EmbedLayerNormalization", "com.microsoft", 1, 1, 9, 1, 3, .infer = embed_norm_infer,
    .expand = embed_norm_expand };
const Op op_ms_GroupNorm = { "GroupNorm", "com.microsoft", 1, 3, 3, 1, 1, .infer = infer_same };
const Op op_ms_QLinearSoftmax = { "QLinearSoftmax", "com.microsoft", 1, 2, 5, 1, 1, .infer = infer_same, .expand = qlinear_softmax_expand };
const Op op_ms_QEmbedLayerNormalization = { "QEmbedLayerNormalization", "com.microsoft", 1, 1, 18, 1, 2, .infer = quantized_embed_infer,
    .expand = quantized_embed_expand };
const Op op_ms_SkipLayerNormalization = { "SkipLayerNormalization", "com.microsoft", 1, 3, 5, 1, 4, .infer = skip_norm_infer,
    .expand = skip_norm_expand };
const Op op_ms_SkipSimplifiedLayerNormalization = { "SkipSimplifiedLayerNormalization", "com.microsoft", 1, 3, 4, 1, 4, .infer = skip_norm_infer,
    .expand = skip_norm_expand };
