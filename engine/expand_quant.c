/* Quantized operators of ONNX Runtime's tools as what they round: dequantized, computed in float, quantized; or integer products and one rounding.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md */
#include "engine/element.h"
#include "engine/expand.h"
#include "engine/walk.h"

/* Inputs at ... at + 2: numbers, scale, zero point. */
static Err dequantized(Expand *x, int at, Value **out)
{
    return expand_op(x, "DequantizeLinear", out, VALUES(expand_in(x, at), expand_in(x, at + 1), expand_in(x, at + 2)), &NONE);
}

/* Output 0, with the scale and zero point of inputs at, at + 1. Without a zero point it is 0 of type uint8, as ONNX says. */
static Err quantized(Expand *x, Value *v, int at)
{
    return expand_last(x, "QuantizeLinear", VALUES(v, expand_in(x, at), expand_in(x, at + 1)), &NONE);
}

/* X, its scale and zero point, scale and zero point of Y: Y = quantized f(X) */
static Err unary_expand(Expand *x, const char *type)
{
    Value *v;
    if (attr_i(x->node, "channels_last", 0)) return err_set(ERR_UNSUPPORTED, "%s with channels_last cannot be run.", x->node->op_type);
    TRY(dequantized(x, 0, &v));
    TRY(expand_op(x, type, &v, VALUES(v), NULL));
    return quantized(x, v, 3);
}

Err qlinear_sigmoid_expand(Expand *x) { return unary_expand(x, "Sigmoid"); }
Err qlinear_leaky_expand(Expand *x) { return unary_expand(x, "LeakyRelu"); }
Err qlinear_pool_expand(Expand *x) { return unary_expand(x, "AveragePool"); }

/* Its attribute opset tells which Softmax is meant; before 13 the axes from `axis` on count as one. */
Err qlinear_softmax_expand(Expand *x)
{
    if (attr_i(x->node, "opset", 13) < 13 && attr_i(x->node, "axis", -1) != -1)
        return err_set(ERR_UNSUPPORTED, "QLinearSoftmax with the semantics of opset %lld cannot be run.", (long long)attr_i(x->node, "opset", 13));
    return unary_expand(x, "Softmax");
}

/* scale and zero point of Y, then triples */
Err qlinear_concat_expand(Expand *x)
{
    int n = (x->node->n_in - 2) / 3;
    Value **v = arena_array(x->arena, (size_t)n + 1, sizeof *v), *y;
    if (!v) return err_set(ERR_NOMEM, "Out of memory while expanding an operator.");
    for (int i = 0; i < n; i++) TRY(dequantized(x, 2 + 3 * i, &v[i]));
    TRY(expand_op(x, "Concat", &y, (Values){ v, n }, NULL));
    return quantized(x, y, 0);
}

/* condition, triple, triple, scale and zero point of Y */
Err qlinear_where_expand(Expand *x)
{
    Value *a, *b, *y;
    TRY(dequantized(x, 1, &a));
    TRY(dequantized(x, 4, &b));
    TRY(expand_op(x, "Where", &y, VALUES(expand_in(x, 0), a, b), &NONE));
    return quantized(x, y, 7);
}

static Err maybe_transposed(Expand *x, const char *attribute, Value **v)
{
    static const int64_t SWAP[] = { 1, 0 };
    const Attr perm = ints_attr("perm", 2, SWAP);
    return attr_i(x->node, attribute, 0) ? expand_op(x, "Transpose", v, VALUES(*v), &(Attrs){ 1, &perm }) : OK;
}

/* QGemm: triples A, B, then C (int32), scale and zero point of Y.   acc = (A - za) * (B - zb) + C,   Y = acc * (alpha * sa * sb), or rounded to
 * acc * (alpha * sa * sb / sy) + zy */
Err qgemm_expand(Expand *x)
{
    const Attr to_float = int_attr("to", DT_F32);
    const float one = 1, alpha = attr_f(x->node, "alpha", 1);
    Value *a = expand_in(x, 0), *b = expand_in(x, 3), *acc, *scale, *unit;
    TRY(maybe_transposed(x, "transA", &a));
    TRY(maybe_transposed(x, "transB", &b));
    TRY(expand_op(x, "MatMulInteger", &acc, VALUES(a, b, expand_in(x, 2), expand_in(x, 5)), &NONE));
    if (expand_in(x, 6)) TRY(expand_op(x, "Add", &acc, VALUES(acc, expand_in(x, 6)), &NONE));
    TRY(expand_op(x, "Cast", &acc, VALUES(acc), &(Attrs){ 1, &to_float }));
    TRY(expand_constant(x, DT_F32, 0, NULL, &alpha, &unit));
    TRY(expand_op(x, "Mul", &scale, VALUES(unit, expand_in(x, 1)), &NONE));
    TRY(expand_op(x, "Mul", &scale, VALUES(scale, expand_in(x, 4)), &NONE));
    if (!expand_in(x, 7)) return expand_last(x, "Mul", VALUES(acc, scale), &NONE);
    TRY(expand_op(x, "Div", &scale, VALUES(scale, expand_in(x, 7)), &NONE));
    TRY(expand_op(x, "Mul", &acc, VALUES(acc, scale), &NONE));
    TRY(expand_constant(x, DT_F32, 0, NULL, &one, &unit));
    return expand_last(x, "QuantizeLinear", VALUES(acc, unit, expand_in(x, 8)), &NONE);
}

/* A node of this type plus bias; NULL: none. */
static Err last_with_bias(Expand *x, const char *type, Values in, Value *bias)
{
    Value *y;
    if (!bias) return expand_last(x, type, in, &NONE);
    TRY(expand_op(x, type, &y, in, &NONE));
    return expand_last(x, "Add", VALUES(y, bias), &NONE);
}

/* Y = (A - za) * (B - zb) * (sa * sb) + bias; operand: A, za, sa, B, zb, sb, bias */
static Err scaled_product(Expand *x, Value *const operand[7])
{
    const Attr to_float = int_attr("to", DT_F32);
    Value *whole, *scale;
    TRY(expand_op(x, "MatMulInteger", &whole, VALUES(operand[0], operand[3], operand[1], operand[4]), &NONE));
    TRY(expand_op(x, "Cast", &whole, VALUES(whole), &(Attrs){ 1, &to_float }));
    TRY(expand_op(x, "Mul", &scale, VALUES(operand[2], operand[5]), &NONE));
    return last_with_bias(x, "Mul", VALUES(whole, scale), operand[6]);
}

/* A, B, a_scale, b_scale, a_zero, b_zero, bias */
Err integer_to_float_expand(Expand *x)
{
    return scaled_product(x, (Value *[]){ expand_in(x, 0), expand_in(x, 4), expand_in(x, 2), expand_in(x, 1), expand_in(x, 5), expand_in(x, 3), expand_in(x, 6) });
}

/* A (float), B, b_scale, b_zero, bias */
Err dynamic_matmul_expand(Expand *x)
{
    Value *a[3];
    for (int i = 0; i < 3; i++) TRY(expand_value(x, &a[i]));
    TRY(expand_node(x, "DynamicQuantizeLinear", (Values){ a, 3 }, VALUES(expand_in(x, 0)), &NONE));
    return scaled_product(x, (Value *[]){ a[0], a[2], a[1], expand_in(x, 1), expand_in(x, 3), expand_in(x, 2), expand_in(x, 4) });
}

/* Rows of whole numbers with a scale and a zero point for each `block` of columns; zero NULL: the middle of uint8, 0 of signed types. In uint8 numbers have `bits`
 * bits, the low ones first, and each row has bytes of its own. pitch: numbers of a row of q as it lies. */
typedef struct Blocked { const Tensor *q, *scale, *zero; int64_t rows, columns, pitch, block, blocks, bits; } Blocked;

static int64_t bits_at(const uint8_t *row, int64_t i, int64_t bits) { return row[i * bits / 8] >> i * bits % 8 & ((1 << bits) - 1); }

static int64_t packed_columns(const Tensor *t, int64_t columns, int64_t bits) { return t->dtype == DT_U8 ? (columns * bits + 7) / 8 : columns; }

static double number_at(const Tensor *t, int64_t row, int64_t column, int64_t columns, int64_t bits)
{
    double v;
    if (t->dtype == DT_U8) return (double)bits_at((const uint8_t *)t->data + row * packed_columns(t, columns, bits), column, bits);
    elements_to_f64(t->dtype, t->data, row * columns + column, 1, &v);
    return v;
}

/* (q - zero) * scale */
static void dequantize_blocks(const Blocked *m, Tensor *w, int64_t row_step, int64_t column_step)
{
    const double middle = m->q->dtype == DT_U8 ? (double)(1 << (m->bits - 1)) : 0;
    for (int64_t row = 0; row < m->rows; row++)
        for (int64_t k = 0; k < m->columns; k++) {
            double scale, q = number_at(m->q, row, k, m->pitch, m->bits), zero = m->zero ? number_at(m->zero, row, k / m->block, m->blocks, m->bits) : middle;
            elements_to_f64(m->scale->dtype, m->scale->data, row * m->blocks + k / m->block, 1, &scale);
            q = (q - zero) * scale;
            elements_from_f64(w->dtype, &q, 1, w->data, row * row_step + k * column_step);
        }
}

/* The tensor of constant input i with `count` elements; NULL when it is left out. */
static Err constant_in(const Expand *x, int i, int64_t count, const Tensor **out)
{
    const Value *v = expand_in(x, i);
    int64_t n;
    *out = NULL;
    if (!v) return OK;
    if (!v->constant) return err_set(ERR_UNSUPPORTED, "%s with an input '%s' that is no constant cannot be run.", x->node->op_type, v->name);
    TRY(constant_fetch(x->graph.model, v->constant));
    TRY(shape_count(&v->constant->tensor.shape, &n));
    *out = &v->constant->tensor;
    return n == count ? OK : err_set(ERR_SHAPE, "'%s' has %lld elements, %lld were expected.", v->name, (long long)n, (long long)count);
}

/* MatMulNBits: A, B (N, blocks, bytes), scales (N * blocks), zero points (packed like B along the blocks, or numbers), group index, bias. The weight is dequantized
 * once. */
static Err nbits_read(const Expand *x, Blocked *m)
{
    const Node *n = x->node;
    *m = (Blocked){ .rows = attr_i(n, "N", 0), .columns = attr_i(n, "K", 0), .block = attr_i(n, "block_size", 0), .bits = attr_i(n, "bits", 4) };
    const int64_t most = 1 << 30;
    bool whole = m->bits == 2 || m->bits == 4 || m->bits == 8;
    if (!whole || m->rows < 1 || m->columns < 1 || m->rows > most || m->columns > most || m->block < 16 || m->block > most || m->block & (m->block - 1) ||
        expand_in(x, 4))
        return err_set(ERR_UNSUPPORTED, "MatMulNBits with %lld bits, blocks of %lld or a group index cannot be run.", (long long)m->bits, (long long)m->block);
    m->blocks = (m->columns + m->block - 1) / m->block;
    m->pitch = m->blocks * m->block;
    TRY(constant_in(x, 1, m->rows * (m->pitch * m->bits / 8), &m->q));
    TRY(constant_in(x, 2, m->rows * m->blocks, &m->scale));
    const Value *zero = expand_in(x, 3);
    bool packed = zero && zero->constant && zero->constant->tensor.dtype == DT_U8;
    TRY(constant_in(x, 3, m->rows * (packed ? packed_columns(&zero->constant->tensor, m->blocks, m->bits) : m->blocks), &m->zero));
    if (!m->q || m->q->dtype != DT_U8 || !m->scale || !dtype_is_float(m->scale->dtype) || (m->zero && !packed && m->zero->dtype != m->scale->dtype))
        return err_set(ERR_SHAPE, "The operands of a MatMulNBits have types that do not fit.");
    return OK;
}

Err matmul_nbits_expand(Expand *x)
{
    Blocked m;
    Tensor *w;
    Value *weight;
    TRY(nbits_read(x, &m));
    Shape shape = { .rank = 2, .dim = { m.columns, m.rows } };
    TRY(tensor_new(x->arena, m.scale->dtype, &shape, &w));
    dequantize_blocks(&m, w, 1, m.rows);
    TRY(expand_tensor(x, w, &weight));
    return last_with_bias(x, "MatMul", VALUES(expand_in(x, 0), weight), expand_in(x, 5));
}

/* GatherBlockQuantized: a table of uint8 or 4-bit integers, indices, scales of blocks along the last axis, zero points. The table is dequantized once. */
static Err blocked_read(const Expand *x, Blocked *m, Shape *shape)
{
    const Value *q = expand_in(x, 0), *scale = expand_in(x, 2), *zero = expand_in(x, 3);
    *m = (Blocked){ .block = attr_i(x->node, "block_size", 128), .bits = attr_i(x->node, "bits", 4) };
    if (!q || !q->constant || !scale || !scale->constant || (zero && !zero->constant))
        return err_set(ERR_UNSUPPORTED, "GatherBlockQuantized with a table that is no constant cannot be run.");
    *shape = q->constant->tensor.shape;
    const DType t = q->constant->tensor.dtype;
    const int last = shape->rank - 1;
    if (last < 1 || shape->dim[last] > 1 << 28 || m->block < 1 || (m->bits != 2 && m->bits != 4 && m->bits != 8) || (t != DT_U8 && t != DT_U4 && t != DT_I4) ||
        (zero && zero->constant->tensor.dtype != t) || !dtype_is_float(scale->constant->tensor.dtype))
        return err_set(ERR_UNSUPPORTED, "GatherBlockQuantized of %s with %lld bits cannot be run.", dtype_name(t), (long long)m->bits);
    int64_t axis = attr_i(x->node, "quantize_axis", 1);
    if (axis != last && axis != -1) return err_set(ERR_UNSUPPORTED, "GatherBlockQuantized with blocks along another axis than the last cannot be run.");
    if (t == DT_U8) shape->dim[last] *= 8 / m->bits;
    m->columns = m->pitch = shape->dim[last];
    m->rows = shape_span(shape, 0, last);
    m->blocks = (m->columns + m->block - 1) / m->block;
    TRY(constant_in(x, 0, m->rows * packed_columns(&q->constant->tensor, m->columns, m->bits), &m->q));
    TRY(constant_in(x, 2, m->rows * m->blocks, &m->scale));
    return constant_in(x, 3, zero ? m->rows * packed_columns(&zero->constant->tensor, m->blocks, m->bits) : 0, &m->zero);
}

Err gather_blocks_expand(Expand *x)
{
    Blocked m;
    Shape shape;
    Tensor *w;
    Value *table;
    const Attr axis = int_attr("axis", attr_i(x->node, "gather_axis", 0));
    TRY(blocked_read(x, &m, &shape));
    if (axis.i == shape.rank - 1 || axis.i == -1) return err_set(ERR_UNSUPPORTED, "GatherBlockQuantized along the axis of its blocks cannot be run.");
    TRY(tensor_new(x->arena, m.scale->dtype, &shape, &w));
    dequantize_blocks(&m, w, m.columns, 1);
    TRY(expand_tensor(x, w, &table));
    return expand_last(x, "Gather", VALUES(table, expand_in(x, 1)), &(Attrs){ 1, &axis });
}

/* QEmbedLayerNormalization: ids, segments, five quantized tables as EmbedLayerNormalization has them, mask, their scales, their zero points. */
Err quantized_embed_expand(Expand *x)
{
    Value *in[8] = { expand_in(x, 0), expand_in(x, 1) };
    for (int i = 2; i < 7; i++)
        if (expand_in(x, i)) TRY(expand_op(x, "DequantizeLinear", &in[i], VALUES(expand_in(x, i), expand_in(x, i + 6), expand_in(x, i + 11)), &NONE));
    in[7] = expand_in(x, 7);
    return expand_node(x, "EmbedLayerNormalization", VALUES(expand_out(x, 0), expand_out(x, 1)), (Values){ in, 8 }, NULL);
}
