/* Element-wise operators of one input: activations, functions, conversions. */
#include "engine/expand.h"
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <math.h>
#include <string.h>

/* Result for one number; NaN where it is not worth following. */
static double real_result(const char *type, double v)
{
    if (!strcmp(type, "Abs")) return fabs(v);
    if (!strcmp(type, "Ceil")) return ceil(v);
    if (!strcmp(type, "Floor")) return floor(v);
    if (!strcmp(type, "Neg")) return -v;
    if (!strcmp(type, "Not")) return v == 0;
    if (!strcmp(type, "Reciprocal")) return 1 / v;
    if (!strcmp(type, "Relu")) return v > 0 ? v : 0;
    if (!strcmp(type, "Round")) return nearbyint(v);
    if (!strcmp(type, "Sign")) return (v > 0) - (v < 0);
    if (!strcmp(type, "Sqrt")) return sqrt(v);
    return NAN;
}

/* The same for a symbol, taken as a size: not negative. */
static Err symbol_result(Inference *x, const char *type, int64_t v, int64_t *r)
{
    bool stays = !strcmp(type, "Ceil") || !strcmp(type, "Floor") || !strcmp(type, "Round");
    stays |= (!strcmp(type, "Abs") || !strcmp(type, "Relu")) && dim_at_least(x, v, 0);
    *r = stays ? v : DIM_UNKNOWN;
    return strcmp(type, "Neg") ? OK : dim_arith(x, '-', 0, v, r);
}

/* Elements followed, for the functions above. */
static Err function_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    int count = fact_count(in[0]);
    if (count < 0 || count > 64) return OK;
    double v[64] = { 0 };
    int numbers = 0;
    for (int i = 0; i < count; i++) {
        double a;
        if (!fact_number(in[0], i, &a)) continue;
        v[i] = real_result(n->op_type, a);
        if (isnan(v[i])) return OK;
        numbers++;
    }
    if (numbers == count) return fact_reals(x, v, count, &out[0]);
    int64_t *element;
    TRY(fact_elements(x, &out[0], &element));
    if (!element) return OK;
    for (int i = 0; i < count; i++) {
        int64_t a = in[0]->element[i];
        if (dim_is_symbol(a)) TRY(symbol_result(x, n->op_type, a, &element[i]));
        else element[i] = (int64_t)v[i];
    }
    out[0].element = element;
    return OK;
}

static Err test_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    out[0].dtype = DT_BOOL;
    return OK;
}

/* Elements of `from` as type `to`: floats are cut off, bool is "not 0". */
static Err cast_elements(Inference *x, const Fact *from, DType to, Fact *out)
{
    int count = fact_count(from);
    if (from->element && to != DT_BOOL) out->element = from->element;      /* narrowing would wrap; sizes are not that large */
    if (from->element && to != DT_BOOL) return OK;
    if (from->real && dtype_is_float(to)) out->real = from->real;
    if (count < 0 || out->real) return OK;
    int64_t *element;
    TRY(fact_elements(x, out, &element));
    if (!element) return OK;
    for (int i = 0; i < count; i++) {
        double v;
        if (fact_number(from, i, &v) && fabs(v) < 0x1p62) element[i] = to == DT_BOOL ? v != 0 : (int64_t)v;
    }
    out->element = element;
    return OK;
}

static Err cast_to(Inference *x, const Fact *from, DType to, Fact *out)
{
    out->dtype = to;
    if (!from) return OK;
    out->shape = from->shape;
    return to == DT_STRING || to == DT_NONE ? OK : cast_elements(x, from, to, out);
}

static DType attr_type(const Node *n, const char *name, DType otherwise)
{
    int64_t t = attr_i(n, name, otherwise);
    return t > 0 && t < DT_COUNT ? (DType)t : DT_NONE;
}

static Err cast_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    return cast_to(x, in[0], attr_type(n, "to", DT_NONE), &out[0]);
}

static Err cast_like_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    return cast_to(x, in[0], in[1] ? in[1]->dtype : DT_NONE, &out[0]);
}

/* The bits of the last axis as another type; only types of equal size keep the shape. */
static Err bit_cast_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    DType to = attr_type(n, "to", DT_NONE);
    if (in[0] && dtype_bits(in[0]->dtype) == dtype_bits(to)) TRY(infer_same(x, n, in, out));
    out[0].dtype = to;
    return OK;
}

/* Random values of the shape of the input; without the attribute dtype also of its type. */
static Err like_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    DType t = attr_type(n, "dtype", DT_NONE);
    if (t != DT_NONE) out[0].dtype = t;
    return OK;
}

static Err random_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)in;
    const int64_t *dim;
    int rank = attr_is(n, "shape", &dim);
    if (rank > MAX_RANK) return err_set(ERR_SHAPE, "rank %d is beyond %d", rank, MAX_RANK);
    out[0].shape = shape_of(rank, dim);
    out[0].dtype = attr_type(n, "dtype", DT_F32);
    return OK;
}

/* mask (out[1]) is bool from opset 10 on; before it had the type of the data. */
static Err dropout_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_identity(x, n, in, out));
    TRY(infer_same(x, n, in, &out[1]));
    if (x->opset >= 10) out[1].dtype = DT_BOOL;
    return OK;
}

static const AttrSpec TO_REQUIRED[] = { { "to", ATTR_I, true }, { 0 } };

const Op op_Abs = { "Abs", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Acos = { "Acos", "", 7, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Acosh = { "Acosh", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Asin = { "Asin", "", 7, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Asinh = { "Asinh", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Atan = { "Atan", "", 7, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Atanh = { "Atanh", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Bernoulli = { "Bernoulli", "", 15, 1, 1, 1, 1, .infer = like_infer };
const Op op_BitCast = { "BitCast", "", 26, 1, 1, 1, 1, .attrs = TO_REQUIRED, .infer = bit_cast_infer, .prep = bit_cast_prep, };
const Op op_BitwiseNot = { "BitwiseNot", "", 18, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
/* Before opset 6 `to` was a string. */
const Op op_Cast = { "Cast", "", 6, 1, 1, 1, 1, .attrs = TO_REQUIRED, .infer = cast_infer, .prep = cast_prep, .passes_weight = true };
const Op op_CastLike = { "CastLike", "", 15, 2, 2, 1, 1, .infer = cast_like_infer, .prep = cast_prep, .passes_weight = true };
const Op op_Ceil = { "Ceil", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Celu = { "Celu", "", 12, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Clip = { "Clip", "", 1, 1, 3, 1, 1, .infer = infer_same, .prep = clip_prep, };
const Op op_Cos = { "Cos", "", 7, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Cosh = { "Cosh", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Dropout = { "Dropout", "", 7, 1, 3, 1, 2, .infer = dropout_infer, .prep = dropout_prep, };
const Op op_Elu = { "Elu", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Erf = { "Erf", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Exp = { "Exp", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Floor = { "Floor", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Gelu = { "Gelu", "", 20, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_HardSigmoid = { "HardSigmoid", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_HardSwish = { "HardSwish", "", 14, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Identity = { "Identity", "", 1, 1, 1, 1, 1, .infer = infer_identity, .prep = view_prep, .lists = true, .passes_weight = true };
const Op op_IsInf = { "IsInf", "", 10, 1, 1, 1, 1, .infer = test_infer, .prep = is_what_prep, };
const Op op_IsNaN = { "IsNaN", "", 9, 1, 1, 1, 1, .infer = test_infer, .prep = is_what_prep, };
const Op op_LeakyRelu = { "LeakyRelu", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Log = { "Log", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Mish = { "Mish", "", 18, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Neg = { "Neg", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Not = { "Not", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_RandomNormal = { "RandomNormal", "", 1, 0, 0, 1, 1, .infer = random_infer };
const Op op_RandomNormalLike = { "RandomNormalLike", "", 1, 1, 1, 1, 1, .infer = like_infer };
const Op op_RandomUniform = { "RandomUniform", "", 1, 0, 0, 1, 1, .infer = random_infer };
const Op op_RandomUniformLike = { "RandomUniformLike", "", 1, 1, 1, 1, 1, .infer = like_infer };
const Op op_Reciprocal = { "Reciprocal", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Relu = { "Relu", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Round = { "Round", "", 11, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Selu = { "Selu", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Shrink = { "Shrink", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Sigmoid = { "Sigmoid", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Sign = { "Sign", "", 9, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Sin = { "Sin", "", 7, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Sinh = { "Sinh", "", 9, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Softplus = { "Softplus", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Softsign = { "Softsign", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Sqrt = { "Sqrt", "", 1, 1, 1, 1, 1, .infer = function_infer, .prep = unary_prep, };
const Op op_Swish = { "Swish", "", 24, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Tan = { "Tan", "", 7, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_Tanh = { "Tanh", "", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_ThresholdedRelu = { "ThresholdedRelu", "", 10, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };

/* com.microsoft: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md */
const Op op_ms_BiasGelu = { "BiasGelu", "com.microsoft", 1, 2, 2, 1, 1, .infer = infer_same, .expand = bias_gelu_expand };
const Op op_ms_FastGelu = { "FastGelu", "com.microsoft", 1, 1, 2, 1, 1, .infer = infer_same, .expand = fast_gelu_expand };
const Op op_ms_Gelu = { "Gelu", "com.microsoft", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
const Op op_ms_QuickGelu = { "QuickGelu", "com.microsoft", 1, 1, 1, 1, 1, .infer = infer_same, .prep = unary_prep, };
