/* Element-wise operators of two or more inputs that broadcast, and Where. Shape arithmetic goes through them, so their elements are followed. */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <math.h>
#include <string.h>

/* Offset in a tensor of shape s that the element at position i of a tensor of shape `out` reads. */
static int broadcast_offset(const Shape *out, const Shape *s, int64_t i)
{
    int64_t offset = 0, stride = 1;
    for (int k = out->rank - 1; k >= 0; k--) {
        int64_t at = i % out->dim[k];
        int a = k - (out->rank - s->rank);
        i /= out->dim[k];
        if (a < 0) continue;
        if (s->dim[a] != 1) offset += at * stride;
        stride *= s->dim[a];
    }
    return (int)offset;
}

static const char *const TYPES[] = { "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or" };
static const char CODES[] = "+-*/%mM=<>lg&|";

static char code_of(const Node *n)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (!strcmp(n->op_type, TYPES[i])) return CODES[i];
    return 0;
}

static double real_result(char op, double a, double b)
{
    switch (op) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    case '/': return a / b;
    case 'm': return a < b ? a : b;
    case 'M': return a > b ? a : b;
    case '=': return a == b;
    case '<': return a < b;
    case '>': return a > b;
    case 'l': return a <= b;
    case 'g': return a >= b;
    default:  return NAN;
    }
}

/* a >= b: 1, a < b: 0, else unknown. */
static int64_t at_least(Inference *x, int64_t a, int64_t b)
{
    if (dim_is_number(a) && dim_is_number(b)) return a >= b;
    int64_t next;
    if (dim_at_least(x, a, b)) return 1;
    if (dim_arith(x, '+', a, 1, &next) != OK) return DIM_UNKNOWN;
    return dim_at_least(x, b, next) ? 0 : DIM_UNKNOWN;
}

static int64_t negate(int64_t truth) { return truth == DIM_UNKNOWN ? truth : !truth; }

/* Integer division of ONNX truncates; sizes are not negative, so for symbols that is floor. A quotient of floats counts only if it is exact. */
static Err divide(Inference *x, bool floats, int64_t a, int64_t b, int64_t *r)
{
    if (dim_is_number(a) && dim_is_number(b) && !floats) {
        *r = b == 0 ? DIM_UNKNOWN : a / b;
        return OK;
    }
    int64_t back;
    TRY(dim_arith(x, '/', a, b, r));
    if (!floats) return OK;
    TRY(dim_arith(x, '*', *r, b, &back));
    if (!dim_same(back, a)) *r = DIM_UNKNOWN;
    return OK;
}

static Err whole_result(Inference *x, const Node *n, bool floats, int64_t a, int64_t b, int64_t *r)
{
    char op = code_of(n);
    int64_t le, ge;
    *r = DIM_UNKNOWN;
    switch (op) {
    case '+': case '-': case '*': case 'm': case 'M': return dim_arith(x, op, a, b, r);
    case '/': return divide(x, floats, a, b, r);
    case '%':
        if (floats || attr_i(n, "fmod", 0)) return OK;
        TRY(dim_arith(x, '/', a, b, &le));
        TRY(dim_arith(x, '*', le, b, &le));
        return dim_arith(x, '-', a, le, r);
    case '=':
        ge = at_least(x, a, b), le = at_least(x, b, a);
        *r = dim_same(a, b) ? 1 : ge == 0 || le == 0 ? 0 : ge == 1 && le == 1 ? 1 : DIM_UNKNOWN;
        return OK;
    case 'g': *r = at_least(x, a, b); return OK;
    case 'l': *r = at_least(x, b, a); return OK;
    case '<': *r = negate(at_least(x, a, b)); return OK;
    case '>': *r = negate(at_least(x, b, a)); return OK;
    case '&': *r = a == 0 || b == 0 ? 0 : a == 1 && b == 1 ? 1 : DIM_UNKNOWN; return OK;
    case '|': *r = a == 1 || b == 1 ? 1 : a == 0 && b == 0 ? 0 : DIM_UNKNOWN; return OK;
    default: return OK;
    }
}

static Err follow_reals(Inference *x, const Node *n, const Fact *a, const Fact *b, Fact *out)
{
    double v[64], p, q;
    int64_t count;
    if (!shape_known(&out->shape) || shape_count(&out->shape, &count) != OK || count > 64) return OK;
    for (int64_t i = 0; i < count; i++) {
        if (!fact_number(a, broadcast_offset(&out->shape, &a->shape, i), &p) || !fact_number(b, broadcast_offset(&out->shape, &b->shape, i), &q)) return OK;
        v[i] = real_result(code_of(n), p, q);
        if (isnan(v[i])) return OK;
    }
    return fact_reals(x, v, (int)count, out);
}

/* Elements of out, whose shape is set, from those of a and b. */
static Err follow_pair(Inference *x, const Node *n, const Fact *a, const Fact *b, Fact *out)
{
    out->element = NULL;
    out->real = NULL;
    if (fact_count(a) < 0 || fact_count(b) < 0) return OK;
    bool floats = dtype_is_float(a->dtype), symbolic = false;
    int n_a = fact_count(a), n_b = fact_count(b);
    for (int i = 0; a->element && i < n_a; i++) symbolic |= dim_is_symbol(a->element[i]);
    for (int i = 0; b->element && i < n_b; i++) symbolic |= dim_is_symbol(b->element[i]);
    if (floats && !symbolic) return follow_reals(x, n, a, b, out);
    if (!a->element || !b->element) return OK;
    int64_t *element;
    TRY(fact_elements(x, out, &element));
    int64_t count = 0;
    if (element && shape_count(&out->shape, &count) != OK) return OK;
    for (int64_t i = 0; i < count; i++)
        TRY(whole_result(x, n, floats, a->element[broadcast_offset(&out->shape, &a->shape, i)], b->element[broadcast_offset(&out->shape, &b->shape, i)], &element[i]));
    out->element = element;
    return OK;
}

static Err pair_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_broadcast(x, n, in, out));
    return in[0] && in[1] ? follow_pair(x, n, in[0], in[1], &out[0]) : OK;
}

static Err compare_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_compare(x, n, in, out));
    return in[0] && in[1] ? follow_pair(x, n, in[0], in[1], &out[0]) : OK;
}

/* Min, Max: any number of inputs. */
static Err extreme_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (!in[0]) return OK;
    Fact all = *in[0];
    for (int i = 1; i < n->n_in; i++) {
        if (!in[i]) return OK;
        Fact both = { .is_tensor = true, .dtype = all.dtype };
        TRY(shape_broadcast(x, &all.shape, &in[i]->shape, &both.shape));
        TRY(follow_pair(x, n, &all, in[i], &both));
        all = both;
    }
    out[0] = all;
    return OK;
}

/* Y = C ? A : B */
static Err where_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (!in[0] || !in[1] || !in[2]) return OK;
    Shape s;
    TRY(shape_broadcast(x, &in[0]->shape, &in[1]->shape, &s));
    TRY(shape_broadcast(x, &s, &in[2]->shape, &out[0].shape));
    out[0].dtype = in[1]->dtype != DT_NONE ? in[1]->dtype : in[2]->dtype;
    if (!in[0]->element && !(in[1]->element && in[2]->element)) return OK;
    int64_t *element, count = 0;
    TRY(fact_elements(x, &out[0], &element));
    if (!element || shape_count(&out[0].shape, &count) != OK) return OK;
    for (int64_t i = 0; i < count; i++) {
        int64_t v[3];
        for (int k = 0; k < 3; k++) v[k] = in[k]->element ? in[k]->element[broadcast_offset(&out[0].shape, &in[k]->shape, i)] : DIM_UNKNOWN;
        element[i] = v[0] == 1 ? v[1] : v[0] == 0 ? v[2] : dim_same(v[1], v[2]) ? v[1] : DIM_UNKNOWN;
    }
    out[0].element = element;
    return OK;
}

/* y = x^p: type of the base */
static Err pow_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (!in[0] || !in[1]) return OK;
    out[0].dtype = in[0]->dtype;
    return shape_broadcast(x, &in[0]->shape, &in[1]->shape, &out[0].shape);
}

/* Before opset 7 broadcasting was another thing (attributes axis, broadcast). */
const Op op_Add = { "Add", "", 7, 2, 2, 1, 1, .infer = pair_infer, .prep = binary_prep, };
const Op op_And = { "And", "", 7, 2, 2, 1, 1, .infer = compare_infer, .prep = binary_prep, };
const Op op_BitShift = { "BitShift", "", 11, 2, 2, 1, 1, .infer = infer_broadcast, .prep = binary_prep, };
const Op op_BitwiseAnd = { "BitwiseAnd", "", 18, 2, 2, 1, 1, .infer = infer_broadcast, .prep = binary_prep, };
const Op op_BitwiseOr = { "BitwiseOr", "", 18, 2, 2, 1, 1, .infer = infer_broadcast, .prep = binary_prep, };
const Op op_BitwiseXor = { "BitwiseXor", "", 18, 2, 2, 1, 1, .infer = infer_broadcast, .prep = binary_prep, };
const Op op_Div = { "Div", "", 7, 2, 2, 1, 1, .infer = pair_infer, .prep = binary_prep, };
const Op op_Equal = { "Equal", "", 7, 2, 2, 1, 1, .infer = compare_infer, .prep = equal_prep, };
const Op op_Greater = { "Greater", "", 7, 2, 2, 1, 1, .infer = compare_infer, .prep = binary_prep, };
const Op op_GreaterOrEqual = { "GreaterOrEqual", "", 12, 2, 2, 1, 1, .infer = compare_infer, .prep = binary_prep, };
const Op op_Less = { "Less", "", 7, 2, 2, 1, 1, .infer = compare_infer, .prep = binary_prep, };
const Op op_LessOrEqual = { "LessOrEqual", "", 12, 2, 2, 1, 1, .infer = compare_infer, .prep = binary_prep, };
const Op op_Max = { "Max", "", 1, 1, -1, 1, 1, .infer = extreme_infer, .prep = binary_prep, };
const Op op_Mean = { "Mean", "", 1, 1, -1, 1, 1, .infer = infer_broadcast, .prep = binary_prep, };
const Op op_Min = { "Min", "", 1, 1, -1, 1, 1, .infer = extreme_infer, .prep = binary_prep, };
const Op op_Mod = { "Mod", "", 10, 2, 2, 1, 1, .infer = pair_infer, .prep = binary_prep, };
const Op op_Mul = { "Mul", "", 7, 2, 2, 1, 1, .infer = pair_infer, .prep = binary_prep, };
const Op op_Or = { "Or", "", 7, 2, 2, 1, 1, .infer = compare_infer, .prep = binary_prep, };
const Op op_PRelu = { "PRelu", "", 7, 2, 2, 1, 1, .infer = infer_same, .prep = binary_prep, };
const Op op_Pow = { "Pow", "", 7, 2, 2, 1, 1, .infer = pow_infer, .prep = binary_prep, };
const Op op_Sub = { "Sub", "", 7, 2, 2, 1, 1, .infer = pair_infer, .prep = binary_prep, };
const Op op_Sum = { "Sum", "", 1, 1, -1, 1, 1, .infer = infer_broadcast, .prep = binary_prep, };
const Op op_Where = { "Where", "", 9, 3, 3, 1, 1, .infer = where_infer, .prep = where_prep, };
const Op op_Xor = { "Xor", "", 7, 2, 2, 1, 1, .infer = infer_compare, .prep = binary_prep, };
