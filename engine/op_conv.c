/* Convolutions.   X (N,C,spatial)  W (M,C/group,kernel)  Y (N,M,spatial')
 *   Y[n,m,o] = B[m] + sum_{c,k} W[m,c,k] * X[n, g(m)*C/group + c, o*stride + k*dilation - pad]     https://onnx.ai/onnx/operators/onnx__Conv.html */
#include "engine/expand.h"
#include "engine/product.h"
#include "engine/window.h"
#include "engine/run_ops.h"
#include <string.h>

/* Where the operands stand among the inputs, and the type of the result. */
static int weight_input(const Node *n) { return !strcmp(n->op_type, "QLinearConv") ? 3 : 1; }

static DType result_type(const Node *n, const Fact *const *in)
{
    if (!strcmp(n->op_type, "ConvInteger")) return DT_I32;
    if (!strcmp(n->op_type, "QLinearConv")) return in[7] ? in[7]->dtype : DT_NONE;
    return in[0] ? in[0]->dtype : DT_NONE;
}

static Err check_ranks(const Fact *x, const Fact *w)
{
    if (x->shape.rank < 3) return err_set(ERR_SHAPE, "X has rank %d, expected at least 3", x->shape.rank);
    if (w->shape.rank != x->shape.rank) return err_set(ERR_SHAPE, "X has rank %d and W has rank %d", x->shape.rank, w->shape.rank);
    return OK;
}

static Err conv_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    const Fact *data = in[0], *w = in[weight_input(n)];
    out[0].dtype = result_type(n, in);
    if (!fact_shaped(data) || !fact_shaped(w)) return OK;
    TRY(check_ranks(data, w));
    int64_t channels;
    TRY(dim_arith(x, '*', w->shape.dim[1], attr_i(n, "group", 1), &channels));
    if (dim_differ(channels, data->shape.dim[1]))
        return err_set(ERR_SHAPE, "W takes %lld input channels, X has %lld", (long long)channels, (long long)data->shape.dim[1]);
    Window window;
    TRY(window_read(n, data->shape.rank - 2, w->shape.dim + 2, &window));
    Shape s = { .rank = data->shape.rank, .dim = { data->shape.dim[0], w->shape.dim[0] } };
    for (int i = 0; i < window.rank; i++) TRY(window_output(x, &window, i, data->shape.dim[i + 2], &s.dim[i + 2]));
    out[0].shape = s;
    return OK;
}

/* out = stride * (in - 1) + output_padding + reach - pads, unless output_shape gives it.  W (C,M/group,kernel) */
static Err transpose_output(Inference *x, const Node *n, const Window *w, int i, int64_t in, int64_t *out)
{
    const int64_t *given, *more;
    int n_given = attr_is(n, "output_shape", &given), n_more = attr_is(n, "output_padding", &more);
    if (n_given == w->rank || n_given == w->rank + 2) {        /* some exporters give N and C as well */
        *out = given[n_given - w->rank + i];
        return OK;
    }
    if (w->auto_pad == PAD_SAME_UPPER || w->auto_pad == PAD_SAME_LOWER) return dim_arith(x, '*', in, w->stride[i], out);
    int64_t reach, extra = i < n_more ? more[i] : 0;
    TRY(dim_arith(x, '-', w->kernel[i], 1, &reach));
    TRY(dim_arith(x, '*', reach, w->dilation[i], &reach));
    TRY(dim_arith(x, '-', in, 1, out));
    TRY(dim_arith(x, '*', *out, w->stride[i], out));
    TRY(dim_arith(x, '+', *out, reach, out));
    TRY(dim_arith(x, '+', *out, extra, out));
    return dim_arith(x, '+', *out, 1 - w->pad_begin[i] - w->pad_end[i], out);
}

static Err conv_transpose_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    const Fact *data = in[0], *w = in[1];
    out[0].dtype = result_type(n, in);
    if (!fact_shaped(data) || !fact_shaped(w)) return OK;
    TRY(check_ranks(data, w));
    if (dim_differ(w->shape.dim[0], data->shape.dim[1]))
        return err_set(ERR_SHAPE, "W takes %lld input channels, X has %lld", (long long)w->shape.dim[0], (long long)data->shape.dim[1]);
    Window window;
    TRY(window_read(n, data->shape.rank - 2, w->shape.dim + 2, &window));
    Shape s = { .rank = data->shape.rank, .dim = { data->shape.dim[0] } };
    TRY(dim_arith(x, '*', w->shape.dim[1], attr_i(n, "group", 1), &s.dim[1]));
    for (int i = 0; i < window.rank; i++) TRY(transpose_output(x, n, &window, i, data->shape.dim[i + 2], &s.dim[i + 2]));
    out[0].shape = s;
    return OK;
}

/* Input X, weight (D,1,k), bias, past state (B,D,k-1): Y like X. */
static Err causal_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, &out[0]));
    return in[3] ? infer_same(x, n, in + 3, &out[1]) : OK;
}

static bool conv_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    if (input != weight_input(n) || weight->shape.rank < 2) return false;
    for (int i = 0; i < weight->shape.rank; i++) role[i] = i == 0 ? AXIS_OUT : i == 1 ? AXIS_IN : AXIS_TAP;
    return true;
}

static bool conv_transpose_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    (void)n;
    if (input != 1 || weight->shape.rank < 2) return false;
    for (int i = 0; i < weight->shape.rank; i++) role[i] = i == 0 ? AXIS_IN : i == 1 ? AXIS_OUT : AXIS_TAP;
    return true;
}

/* Each output meets all weights of its channel. */
static Err conv_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    const Shape *w = &in[weight_input(n)]->shape;
    return macs_of(&out[0]->shape, w->dim + 1, w->rank - 1, macs);
}

/* Each input meets all weights of its channel. */
static Err conv_transpose_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    (void)n, (void)out;
    const Shape *w = &in[1]->shape;
    return macs_of(&in[0]->shape, w->dim + 1, w->rank - 1, macs);
}

static const QuantSpec INTEGER[] = { { 1, -1, 3 }, { -1, -1, -1 } };
static const QuantSpec LINEAR[] = { { 3, 4, 5 }, { -1, -1, -1 } };

const Op op_CausalConvWithState = { "CausalConvWithState", "", 27, 2, 4, 2, 2, .infer = causal_infer, .prep = causal_conv_prep };
const Op op_Conv = { "Conv", "", 1, 2, 3, 1, 1, .infer = conv_infer, .prep = conv_prep, .roles = conv_roles, .macs = conv_macs,
    .fuses = conv_fuses, .planes = conv_planes };
const Op op_ConvInteger = { "ConvInteger", "", 10, 2, 4, 1, 1, .infer = conv_infer, .prep = conv_integer_prep,
    .roles = conv_roles, .macs = conv_macs, .quant = INTEGER };
const Op op_ConvTranspose = { "ConvTranspose", "", 1, 2, 3, 1, 1, .infer = conv_transpose_infer, .prep = conv_transpose_prep,
    .roles = conv_transpose_roles, .macs = conv_transpose_macs, .fuses = conv_transpose_fuses };
const Op op_DeformConv = { "DeformConv", "", 19, 3, 5, 1, 1, .infer = conv_infer, .roles = conv_roles, .macs = conv_macs, .prep = deform_prep };
const Op op_QLinearConv = { "QLinearConv", "", 10, 8, 9, 1, 1, .infer = conv_infer, .prep = qlinear_conv_prep,
    .roles = conv_roles, .macs = conv_macs, .quant = LINEAR };
/* X, W, B, and Z that is added before the activation. */
const Op op_ms_FusedConv = { "FusedConv", "com.microsoft", 1, 2, 4, 1, 1, .infer = conv_infer, .expand = fused_conv_expand,
    .roles = conv_roles, .macs = conv_macs };
