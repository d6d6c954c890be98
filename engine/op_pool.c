/* Pools over windows, whole pictures and regions.     https://onnx.ai/onnx/operators/onnx__MaxPool.html */
#include "engine/expand.h"
#include "engine/window.h"
#include "engine/run_ops.h"

static Err pool_shape(Inference *x, const Node *n, const Fact *in, Fact *out)
{
    if (!fact_shaped(in)) return OK;
    if (in->shape.rank < 3) return err_set(ERR_SHAPE, "the input has rank %d, expected at least 3", in->shape.rank);
    Window w;
    TRY(window_read(n, in->shape.rank - 2, NULL, &w));
    Shape s = in->shape;
    for (int i = 0; i < w.rank; i++) TRY(window_output(x, &w, i, in->shape.dim[i + 2], &s.dim[i + 2]));
    out->shape = s;
    return OK;
}

/* out[1]: positions of the maxima */
static Err pool_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    out[1].dtype = DT_I64;
    TRY(pool_shape(x, n, in[0], &out[0]));
    out[1].shape = out[0].shape;
    return OK;
}

static Err global_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    for (int i = 2; i < out[0].shape.rank; i++) out[0].shape.dim[i] = 1;
    return OK;
}

/* Inverse of MaxPool: the input that gives this output, unless a third input states the sizes. */
static Err unpool_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (in[2]) return shape_from_elements(in[2], 0, &out[0].shape);
    if (!fact_shaped(in[0]) || in[0]->shape.rank < 3) return OK;
    Window w;
    TRY(window_read(n, in[0]->shape.rank - 2, NULL, &w));
    Shape s = in[0]->shape;
    for (int i = 0; i < w.rank; i++) {
        TRY(dim_arith(x, '-', s.dim[i + 2], 1, &s.dim[i + 2]));
        TRY(dim_arith(x, '*', s.dim[i + 2], w.stride[i], &s.dim[i + 2]));
        TRY(dim_arith(x, '+', s.dim[i + 2], w.kernel[i] - w.pad_begin[i] - w.pad_end[i], &s.dim[i + 2]));
    }
    out[0].shape = s;
    return OK;
}

/* X (N,C,H,W), regions (R,...): (R, C, height, width) */
static Err region_shape(const Fact *const *in, int64_t height, int64_t width, Fact *out)
{
    if (in[0]) out->dtype = in[0]->dtype;
    out->shape = shape_unknown_dims(4);
    if (fact_shaped(in[0]) && in[0]->shape.rank != 4) return err_set(ERR_SHAPE, "the input has rank %d, expected 4", in[0]->shape.rank);
    if (fact_shaped(in[0])) out->shape.dim[1] = in[0]->shape.dim[1];
    if (fact_shaped(in[1]) && in[1]->shape.rank > 0) out->shape.dim[0] = in[1]->shape.dim[0];
    out->shape.dim[2] = height;
    out->shape.dim[3] = width;
    return OK;
}

static Err roi_align_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    return region_shape(in, attr_i(n, "output_height", 1), attr_i(n, "output_width", 1), &out[0]);
}

static Err roi_pool_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    const int64_t *size;
    if (attr_is(n, "pooled_shape", &size) != 2) return err_set(ERR_SHAPE, "pooled_shape must hold two sizes");
    return region_shape(in, size[0], size[1], &out[0]);
}

static const AttrSpec POOL_ATTRS[] = { { "kernel_shape", ATTR_IS, true }, { 0 } };

const Op op_AveragePool = { "AveragePool", "", 1, 1, 1, 1, 1, .attrs = POOL_ATTRS, .infer = pool_infer, .prep = pool_prep, .planes = pool_planes };
const Op op_GlobalAveragePool = { "GlobalAveragePool", "", 1, 1, 1, 1, 1, .infer = global_infer, .prep = pool_prep, };
const Op op_GlobalLpPool = { "GlobalLpPool", "", 1, 1, 1, 1, 1, .infer = global_infer, .prep = pool_prep, };
const Op op_GlobalMaxPool = { "GlobalMaxPool", "", 1, 1, 1, 1, 1, .infer = global_infer, .prep = pool_prep, };
/* Opset 1 could leave kernel_shape out and had p as a float. */
const Op op_LpPool = { "LpPool", "", 2, 1, 1, 1, 1, .attrs = POOL_ATTRS, .infer = pool_infer, .prep = pool_prep, };
const Op op_MaxPool = { "MaxPool", "", 1, 1, 1, 1, 2, .attrs = POOL_ATTRS, .infer = pool_infer, .prep = pool_prep, .planes = pool_planes };
const Op op_MaxRoiPool = { "MaxRoiPool", "", 1, 2, 2, 1, 1, .infer = roi_pool_infer, .prep = roi_pool_prep };
const Op op_MaxUnpool = { "MaxUnpool", "", 9, 2, 3, 1, 1, .attrs = POOL_ATTRS, .infer = unpool_infer, .prep = unpool_prep, };
const Op op_RoiAlign = { "RoiAlign", "", 10, 3, 3, 1, 1, .infer = roi_align_infer, .prep = roi_align_prep };
const Op op_ms_QLinearAveragePool = { "QLinearAveragePool", "com.microsoft", 1, 2, 5, 1, 1, .attrs = POOL_ATTRS, .infer = pool_infer,
    .expand = qlinear_pool_expand };
const Op op_ms_QLinearGlobalAveragePool = { "QLinearGlobalAveragePool", "com.microsoft", 1, 2, 5, 1, 1, .infer = global_infer, .prep = qlinear_average_prep };
