/* Operators on quantized numbers: real = (q - zero) * scale.     https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
 * Products of quantized numbers stand with the other products. */
#include "engine/expand.h"
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

/* The type is that of the zero point, else the attribute output_dtype, else uint8. */
static Err quantize_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    int64_t t = attr_i(n, "output_dtype", 0);
    out[0].dtype = in[2] ? in[2]->dtype : t > 0 && t < DT_COUNT ? (DType)t : DT_U8;
    return OK;
}

/* The type is the attribute output_dtype, else that of the scale. */
static Err dequantize_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    int64_t t = attr_i(n, "output_dtype", 0);
    out[0].dtype = t > 0 && t < DT_COUNT ? (DType)t : in[1] ? in[1]->dtype : DT_NONE;
    return OK;
}

/* uint8 numbers, scale, zero point */
static Err dynamic_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    out[0].dtype = DT_U8;
    out[1].dtype = DT_F32;
    out[1].shape.rank = 0;
    out[2].dtype = DT_U8;
    out[2].shape.rank = 0;
    return OK;
}

/* com.microsoft QLinearAdd, QLinearMul: A, its scale and zero point, B, its, those of C */
static Err pair_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (!in[0] || !in[3]) return OK;
    out[0].dtype = in[0]->dtype;
    return shape_broadcast(x, &in[0]->shape, &in[3]->shape, &out[0].shape);
}

/* condition, triple, triple */
static Err where_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    Shape pair;
    if (!in[0] || !in[1] || !in[4]) return OK;
    out[0].dtype = in[1]->dtype;
    TRY(shape_broadcast(x, &in[1]->shape, &in[4]->shape, &pair));
    return shape_broadcast(x, &in[0]->shape, &pair, &out[0].shape);
}

/* Scale and zero point of the result, then (tensor, scale, zero point) for each input. */
static Err concat_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[1]) out[0].dtype = in[1]->dtype;
    int axis = 0;
    for (int i = 2; i < n->n_in; i += 3) {
        if (!fact_shaped(in[i])) {
            out[0].shape.rank = -1;
            return OK;
        }
        const Shape *s = &in[i]->shape;
        if (i == 2) {
            TRY(axis_read(attr_i(n, "axis", 1), s->rank, &axis));
            out[0].shape = *s;
            continue;
        }
        if (s->rank != out[0].shape.rank) return err_set(ERR_SHAPE, "inputs of rank %d and %d", out[0].shape.rank, s->rank);
        for (int k = 0; k < s->rank; k++) {
            int64_t *d = &out[0].shape.dim[k];
            if (k == axis) TRY(dim_arith(x, '+', *d, s->dim[k], d));
            else TRY(dim_merge(*d, s->dim[k], d));
        }
    }
    return OK;
}

static const QuantSpec DEQUANTIZE[] = { { 0, 1, 2 }, { -1, -1, -1 } };

const Op op_DequantizeLinear = { "DequantizeLinear", "", 10, 2, 3, 1, 1, .infer = dequantize_infer, .prep = dequantize_prep,
    .quant = DEQUANTIZE, .passes_weight = true };
const Op op_DynamicQuantizeLinear = { "DynamicQuantizeLinear", "", 11, 1, 1, 3, 3, .infer = dynamic_infer, .prep = dynamic_quantize_prep, };
const Op op_QuantizeLinear = { "QuantizeLinear", "", 10, 2, 3, 1, 1, .infer = quantize_infer, .prep = quantize_prep, .passes_weight = true };
const Op op_ms_DequantizeLinear = { "DequantizeLinear", "com.microsoft", 1, 2, 3, 1, 1, .infer = dequantize_infer, .prep = dequantize_prep,
    .quant = DEQUANTIZE, .passes_weight = true };
const Op op_ms_QLinearAdd = { "QLinearAdd", "com.microsoft", 1, 2, 8, 1, 1, .infer = pair_infer, .prep = qlinear_pair_prep };
const Op op_ms_QLinearConcat = { "QLinearConcat", "com.microsoft", 1, 3, -1, 1, 1, .infer = concat_infer, .expand = qlinear_concat_expand };
const Op op_ms_QLinearLeakyRelu = { "QLinearLeakyRelu", "com.microsoft", 1, 2, 5, 1, 1, .infer = infer_same, .expand = qlinear_leaky_expand };
const Op op_ms_QLinearMul = { "QLinearMul", "com.microsoft", 1, 2, 8, 1, 1, .infer = pair_infer, .prep = qlinear_pair_prep };
const Op op_ms_QLinearSigmoid = { "QLinearSigmoid", "com.microsoft", 1, 2, 5, 1, 1, .infer = infer_same, .expand = qlinear_sigmoid_expand };
const Op op_ms_QLinearWhere = { "QLinearWhere", "com.microsoft", 1, 9, 9, 1, 1, .infer = where_infer, .expand = qlinear_where_expand };
const Op op_ms_QuantizeLinear = { "QuantizeLinear", "com.microsoft", 1, 2, 3, 1, 1, .infer = quantize_infer, .prep = quantize_prep, .passes_weight = true };
