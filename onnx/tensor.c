/* Types and shapes: names, sizes, overflow-checked products. */
#include "onnx/tensor.h"
#include <inttypes.h>
#include <stdio.h>

typedef struct TypeRow { const char *name; int bits; bool is_float; } TypeRow;
static const TypeRow type_row[DT_COUNT] = {
    [DT_NONE] = {"unknown", 0, false},
    [DT_F32] = {"float32", 32, true},             [DT_F64] = {"float64", 64, true},
    [DT_F16] = {"float16", 16, true},             [DT_BF16] = {"bfloat16", 16, true},
    [DT_U8] = {"uint8", 8, false},                [DT_I8] = {"int8", 8, false},
    [DT_U16] = {"uint16", 16, false},             [DT_I16] = {"int16", 16, false},
    [DT_U32] = {"uint32", 32, false},             [DT_I32] = {"int32", 32, false},
    [DT_U64] = {"uint64", 64, false},             [DT_I64] = {"int64", 64, false},
    [DT_STRING] = {"string", 0, false},           [DT_BOOL] = {"bool", 8, false},
    [DT_C64] = {"complex64", 64, false},          [DT_C128] = {"complex128", 128, false},
    [DT_F8E4M3FN] = {"float8e4m3fn", 8, true},    [DT_F8E4M3FNUZ] = {"float8e4m3fnuz", 8, true},
    [DT_F8E5M2] = {"float8e5m2", 8, true},        [DT_F8E5M2FNUZ] = {"float8e5m2fnuz", 8, true},
    [DT_F8E8M0] = {"float8e8m0", 8, true},        [DT_F4E2M1] = {"float4e2m1", 4, true},
    [DT_U4] = {"uint4", 4, false},                [DT_I4] = {"int4", 4, false},
    [DT_U2] = {"uint2", 2, false},                [DT_I2] = {"int2", 2, false},
};

static const TypeRow *row_of(DType t)
{
    return &type_row[(unsigned)t < DT_COUNT ? t : DT_NONE];
}

const char *dtype_name(DType t)
{
    return row_of(t)->name;
}

int dtype_bits(DType t)
{
    return row_of(t)->bits;
}

bool dtype_is_small_int(DType t)
{
    int bits = dtype_bits(t);
    return bits > 0 && bits <= 8 && t != DT_BOOL && !dtype_is_float(t);
}

bool dtype_is_float(DType t)
{
    return row_of(t)->is_float;
}

Shape shape_of(int rank, const int64_t *dim)
{
    Shape s = { .rank = rank };
    for (int i = 0; i < rank; i++) s.dim[i] = dim[i];
    return s;
}

bool shape_known(const Shape *s)
{
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 0) return false;
    return s->rank >= 0;
}

bool shape_equal(const Shape *a, const Shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

Err shape_count(const Shape *s, int64_t *n)
{
    if (!shape_known(s)) return err_set(ERR_SHAPE, "the shape is not known");
    int64_t count = 1;
    bool overflow = false, empty = false;
    for (int i = 0; i < s->rank; i++) {
        empty |= s->dim[i] == 0;
        overflow |= __builtin_mul_overflow(count, s->dim[i], &count) || count > INT64_C(1) << 62;
        if (overflow) count = 1;
    }
    if (overflow && !empty) return err_set(ERR_SHAPE, "the shape has more than 2^62 elements");
    *n = empty ? 0 : count;
    return OK;
}

Err tensor_bytes(DType t, const Shape *s, size_t *bytes)
{
    int64_t n;
    TRY(shape_count(s, &n));
    int bits = dtype_bits(t);
    if (bits == 0) return err_set(ERR_UNSUPPORTED, "elements of type %s have no fixed size", dtype_name(t));
    int64_t unit = bits < 8 ? 1 : bits / 8, per_unit = bits < 8 ? 8 / bits : 1, size;
    if (__builtin_mul_overflow((n + per_unit - 1) / per_unit, unit, &size)) return err_set(ERR_SHAPE, "the tensor has more than 2^63 bytes");
    *bytes = (size_t)size;
    return OK;
}

Err tensor_new(Arena *arena, DType t, const Shape *s, Tensor **out)
{
    Tensor tensor = { .dtype = t, .shape = *s };
    TRY(tensor_bytes(t, s, &tensor.bytes));
    tensor.data = arena_alloc(arena, tensor.bytes);
    Tensor *copy = arena_alloc(arena, sizeof *copy);
    if (!tensor.data || !copy) return err_set(ERR_NOMEM, "out of memory for a tensor of %zu bytes", tensor.bytes);
    *copy = tensor;
    *out = copy;
    return OK;
}

static size_t dim_text(int64_t d, const char *const *symbol, char *text, size_t size)
{
    int n;
    if (!dim_is_symbol(d)) n = snprintf(text, size, "%" PRId64, d);
    else if (symbol) n = snprintf(text, size, "%s", symbol[d - SYMBOL_BASE]);
    else n = snprintf(text, size, "?");
    return n < 0 ? 0 : (size_t)n;
}

void shape_text(const Shape *s, const char *const *symbol, char *text, size_t size)
{
    if (size == 0) return;
    snprintf(text, size, "%s", s->rank < 0 ? "?" : s->rank == 0 ? "scalar" : "");
    size_t used = 0;
    for (int i = 0; i < s->rank && used < size; i++) {
        if (i > 0) used += (size_t)snprintf(text + used, size - used, "x");
        if (used < size) used += dim_text(s->dim[i], symbol, text + used, size - used);
    }
}
