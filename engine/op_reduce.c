/* Reductions along axes.     https://onnx.ai/onnx/operators/onnx__ReduceSum.html */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

/* Shape without (or with 1 for) the axes. */
static Shape reduced(const Shape *from, const Axes *axes, bool all, bool keep)
{
    bool gone[MAX_RANK] = { false };
    for (int i = 0; i < axes->n; i++) gone[axes->axis[i]] = true;
    Shape s = { 0 };
    for (int i = 0; i < from->rank; i++) {
        bool drop = all || gone[i];
        if (!drop || keep) s.dim[s.rank++] = drop ? 1 : from->dim[i];
    }
    return s;
}

static char code_of(const char *type)
{
    return !strcmp(type, "ReduceProd") ? '*' : !strcmp(type, "ReduceSum") ? '+' : !strcmp(type, "ReduceMax") ? 'M' : !strcmp(type, "ReduceMin") ? 'm' : 0;
}

/* A list reduced to one number: how exporters count elements. */
static Err follow_list(Inference *x, const Node *n, const Fact *in, Fact *out)
{
    char op = code_of(n->op_type);
    int count = fact_count(in);
    if (!op || !in->element || count < 1 || in->shape.rank != 1) return OK;
    int64_t *element, v = in->element[0];
    TRY(fact_elements(x, out, &element));
    for (int i = 1; i < count; i++) TRY(dim_arith(x, op, v, in->element[i], &v));
    element[0] = v;
    out->element = element;
    return OK;
}

/* Axes are an attribute or (ReduceSum from 13, the others from 18) an input; none at all means every axis unless noop_with_empty_axes. */
static Err reduce_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *from = &in[0]->shape;
    bool keep = attr_i(n, "keepdims", 1) != 0;
    Axes axes;
    TRY(axes_read(n, "axes", in[1], from->rank, &axes));
    if (axes.n < 0 && !axes.absent) {
        if (keep) out[0].shape = shape_unknown_dims(from->rank);
        return OK;
    }
    if (axes.n <= 0 && attr_i(n, "noop_with_empty_axes", 0)) return infer_identity(x, n, in, out);
    out[0].shape = reduced(from, &axes, axes.n <= 0, keep);
    return from->rank == 1 ? follow_list(x, n, in[0], &out[0]) : OK;
}

static Err arg_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    out[0].dtype = DT_I64;
    if (!fact_shaped(in[0])) return OK;
    Axes axes = { .n = 1 };
    TRY(axis_read(attr_i(n, "axis", 0), in[0]->shape.rank, &axes.axis[0]));
    out[0].shape = reduced(&in[0]->shape, &axes, false, attr_i(n, "keepdims", 1) != 0);
    return OK;
}

const Op op_ArgMax = { "ArgMax", "", 1, 1, 1, 1, 1, .infer = arg_infer, .prep = arg_prep, };
const Op op_ArgMin = { "ArgMin", "", 1, 1, 1, 1, 1, .infer = arg_infer, .prep = arg_prep, };
const Op op_ReduceL1 = { "ReduceL1", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceL2 = { "ReduceL2", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceLogSum = { "ReduceLogSum", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceLogSumExp = { "ReduceLogSumExp", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceMax = { "ReduceMax", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceMean = { "ReduceMean", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceMin = { "ReduceMin", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceProd = { "ReduceProd", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceSum = { "ReduceSum", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
const Op op_ReduceSumSquare = { "ReduceSumSquare", "", 1, 1, 2, 1, 1, .infer = reduce_infer, .prep = reduce_prep, };
