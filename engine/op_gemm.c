/* Matrix products: Gemm, MatMul, and their quantized forms. */
#include "engine/expand.h"
#include "engine/product.h"
#include "engine/run_ops.h"
#include <string.h>

Err macs_of(const Shape *s, const int64_t *factor, int n, int64_t *macs)
{
    Shape f = shape_of(n, factor);
    int64_t a, b, product;
    TRY(shape_count(s, &a));
    TRY(shape_count(&f, &b));
    if (__builtin_mul_overflow(a, b, &product) || product >> 62) return err_set(ERR_SHAPE, "more than 2^62 multiply-adds");
    *macs = product;
    return OK;
}

/* Operators differ in where A, B and the type of the result stand among their inputs. */
typedef struct Operands { const char *type; int a, b; int result; DType fixed; } Operands;     /* result: input with the type of Y; -1: fixed */

static const Operands OPERANDS[] = {
    { "MatMulInteger", 0, 1, -1, DT_I32 },
    { "QLinearMatMul", 0, 3, 7, DT_NONE },
    { "QGemm", 0, 3, 8, DT_F32 },
    { "MatMulIntegerToFloat", 0, 1, 2, DT_NONE },
    { "DynamicQuantizeMatMul", 0, 1, 0, DT_NONE },
};

static Operands operands(const Node *n)
{
    for (size_t i = 0; i < sizeof OPERANDS / sizeof *OPERANDS; i++)
        if (!strcmp(n->op_type, OPERANDS[i].type)) return OPERANDS[i];
    return (Operands){ .a = 0, .b = 1 };
}

static DType result_type(const Operands *o, const Fact *const *in) { return o->result >= 0 && in[o->result] ? in[o->result]->dtype : o->fixed; }

/* The sizes that are summed over agree. */
static Err check_inner(int64_t a, int64_t b)
{
    return dim_differ(a, b) ? err_set(ERR_SHAPE, "the inner sizes of A and B are %lld and %lld", (long long)a, (long long)b) : OK;
}

/* ---- Gemm: Y (M,N) = alpha * A' (M,K) * B' (K,N) + beta * C ---- */

static Err gemm_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    Operands o = operands(n);
    const Fact *a = in[o.a], *b = in[o.b];
    out[0].dtype = result_type(&o, in);
    out[0].shape = shape_unknown_dims(2);
    bool swap_a = attr_i(n, "transA", 0) != 0, swap_b = attr_i(n, "transB", 0) != 0;
    if (fact_shaped(a) && a->shape.rank != 2) return err_set(ERR_SHAPE, "A has rank %d, expected 2", a->shape.rank);
    if (fact_shaped(b) && b->shape.rank != 2) return err_set(ERR_SHAPE, "B has rank %d, expected 2", b->shape.rank);
    if (fact_shaped(a)) out[0].shape.dim[0] = a->shape.dim[swap_a];
    if (fact_shaped(b)) out[0].shape.dim[1] = b->shape.dim[!swap_b];
    return fact_shaped(a) && fact_shaped(b) ? check_inner(a->shape.dim[!swap_a], b->shape.dim[swap_b]) : OK;
}

static bool gemm_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    Operands o = operands(n);
    if ((input != o.a && input != o.b) || weight->shape.rank != 2) return false;
    bool out_first = input == o.a ? !attr_i(n, "transA", 0) : attr_i(n, "transB", 0) != 0;
    role[0] = out_first ? AXIS_OUT : AXIS_IN;
    role[1] = out_first ? AXIS_IN : AXIS_OUT;
    return true;
}

static Err gemm_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    const Fact *a = in[operands(n).a];
    if (a->shape.rank != 2) return err_set(ERR_SHAPE, "the shape of A is unknown");
    return macs_of(&out[0]->shape, &a->shape.dim[!attr_i(n, "transA", 0)], 1, macs);
}

/* ---- MatMul: numpy.matmul; com.microsoft's FusedMatMul may swap the last two axes of each operand ---- */

Shape leading_behind(const Shape *s)
{
    Shape y = *s;
    for (int i = 0; i + 2 < s->rank; i++) y.dim[i] = s->dim[i + 1];
    if (s->rank > 2) y.dim[s->rank - 2] = s->dim[0];
    return y;
}

static Err matmul_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Operands o = operands(n);
    out[0].dtype = result_type(&o, in);
    if (!fact_shaped(in[o.a]) || !fact_shaped(in[o.b])) return OK;
    Shape a = in[o.a]->shape, b = in[o.b]->shape, s;
    if (a.rank == 0 || b.rank == 0) return err_set(ERR_SHAPE, "an operand is a scalar");
    if (attr_i(n, "transBatchA", 0)) a = leading_behind(&a);
    if (attr_i(n, "transBatchB", 0)) b = leading_behind(&b);
    bool row = a.rank == 1, column = b.rank == 1;
    int64_t m = row ? 1 : a.dim[a.rank - 2], k = a.dim[a.rank - 1];
    int64_t inner = column ? b.dim[0] : b.dim[b.rank - 2], last = column ? 1 : b.dim[b.rank - 1];
    if (!row && attr_i(n, "transA", 0)) m = a.dim[a.rank - 1], k = a.dim[a.rank - 2];
    if (!column && attr_i(n, "transB", 0)) inner = b.dim[b.rank - 1], last = b.dim[b.rank - 2];
    TRY(check_inner(k, inner));
    a.rank = row ? 0 : a.rank - 2;
    b.rank = column ? 0 : b.rank - 2;
    TRY(shape_broadcast(x, &a, &b, &s));
    if (!row) s.dim[s.rank++] = m;
    if (!column) s.dim[s.rank++] = last;
    out[0].shape = s;
    return OK;
}

static bool matmul_roles(const Node *n, int input, const Fact *weight, AxisRole role[MAX_RANK])
{
    Operands o = operands(n);
    int rank = weight->shape.rank;
    if ((input != o.a && input != o.b) || rank < 1) return false;
    for (int i = 0; i < rank - 2; i++) role[i] = AXIS_BATCH;
    if (rank == 1) {
        role[0] = AXIS_IN;
        return true;
    }
    bool out_first = input == o.a ? !attr_i(n, "transA", 0) : attr_i(n, "transB", 0) != 0;
    role[rank - 2] = out_first ? AXIS_OUT : AXIS_IN;
    role[rank - 1] = out_first ? AXIS_IN : AXIS_OUT;
    return true;
}

static Err matmul_macs(const Node *n, const Fact *const *in, const Fact *const *out, int64_t *macs)
{
    const Fact *a = in[operands(n).a];
    int rank = a->shape.rank;
    if (rank < 1) return err_set(ERR_SHAPE, "the shape of A is unknown");
    bool swap = rank > 1 && attr_i(n, "transA", 0);
    return macs_of(&out[0]->shape, &a->shape.dim[rank - 1 - swap], 1, macs);
}

/* B is packed (N, K/block, bytes): the sizes stand in attributes. */
static Err matmul_nbits_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    if (!fact_shaped(in[0]) || in[0]->shape.rank < 1) return OK;
    TRY(check_inner(in[0]->shape.dim[in[0]->shape.rank - 1], attr_i(n, "K", DIM_UNKNOWN)));
    out[0].shape.dim[out[0].shape.rank - 1] = attr_i(n, "N", DIM_UNKNOWN);
    return OK;
}

static const AttrSpec NBITS_ATTRS[] = { { "K", ATTR_I, true }, { "N", ATTR_I, true }, { "block_size", ATTR_I, true }, { 0 } };
static const QuantSpec INTEGER[] = { { 1, -1, 3 }, { 0, -1, 2 }, { -1, -1, -1 } };
static const QuantSpec LINEAR[] = { { 3, 4, 5 }, { 0, 1, 2 }, { -1, -1, -1 } };
static const QuantSpec TO_FLOAT[] = { { 1, 3, 5 }, { 0, 2, 4 }, { -1, -1, -1 } };
static const QuantSpec DYNAMIC[] = { { 1, 2, 3 }, { -1, -1, -1 } };

const Op op_Gemm = { "Gemm", "", 1, 2, 3, 1, 1, .infer = gemm_infer, .prep = gemm_prep, .roles = gemm_roles, .macs = gemm_macs,
    .fuses = gemm_fuses };
const Op op_MatMul = { "MatMul", "", 1, 2, 2, 1, 1, .infer = matmul_infer, .prep = matmul_prep, .roles = matmul_roles, .macs = matmul_macs,
    .fuses = matmul_fuses };
const Op op_MatMulInteger = { "MatMulInteger", "", 10, 2, 4, 1, 1, .infer = matmul_infer, .prep = matmul_integer_prep,
    .roles = matmul_roles, .macs = matmul_macs, .quant = INTEGER };
const Op op_QLinearMatMul = { "QLinearMatMul", "", 10, 8, 8, 1, 1, .infer = matmul_infer, .prep = qlinear_matmul_prep,
    .roles = matmul_roles, .macs = matmul_macs, .quant = LINEAR };
const Op op_ms_DynamicQuantizeMatMul = { "DynamicQuantizeMatMul", "com.microsoft", 1, 3, 5, 1, 1, .infer = matmul_infer,
    .expand = dynamic_matmul_expand, .roles = matmul_roles,
    .macs = matmul_macs, .quant = DYNAMIC };
const Op op_ms_FusedGemm = { "FusedGemm", "com.microsoft", 1, 2, 3, 1, 1, .infer = gemm_infer, .expand = fused_gemm_expand,
    .roles = gemm_roles, .macs = gemm_macs };
const Op op_ms_FusedMatMul = { "FusedMatMul", "com.microsoft", 1, 2, 2, 1, 1, .infer = matmul_infer, .prep = matmul_prep,
    .roles = matmul_roles, .macs = matmul_macs };
const Op op_ms_MatMulIntegerToFloat = { "MatMulIntegerToFloat", "com.microsoft", 1, 4, 7, 1, 1, .infer = matmul_infer,
    .expand = integer_to_float_expand, .roles = matmul_roles,
    .macs = matmul_macs, .quant = TO_FLOAT };
const Op op_ms_MatMulNBits = { "MatMulNBits", "com.microsoft", 1, 3, 6, 1, 1, .attrs = NBITS_ATTRS, .infer = matmul_nbits_infer,
    .expand = matmul_nbits_expand };
const Op op_ms_QGemm = { "QGemm", "com.microsoft", 1, 2, 9, 1, 1, .infer = gemm_infer, .expand = qgemm_expand,
    .roles = gemm_roles, .macs = gemm_macs, .quant = LINEAR };
