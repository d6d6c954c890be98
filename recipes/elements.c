/* Element access for every type. Float32 goes through the kernels; all others through a conversion, chunk by chunk. */
#include "recipes/elements.h"
#include <math.h>
#include <string.h>

/* IEEE-like formats below 32 bits: sign, exponent, mantissa; how infinity and NaN are written differs and does not matter for finite values. */
static float small_float(unsigned bits, int exponent_bits, int mantissa_bits, int bias)
{
    int exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    int mantissa = (int)bits & ((1 << mantissa_bits) - 1);
    return exponent ? ldexpf((float)(mantissa | 1 << mantissa_bits), exponent - bias - mantissa_bits) : ldexpf((float)mantissa, 1 - bias - mantissa_bits);
}

/* |x| of a 16-bit float by shifting its exponent into place; subnormals come right through the multiplication. */
static float half_magnitude(uint16_t h)
{
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (h & 0x7c00) == 0x7c00 ? ((h & 0x3ff) ? NAN : INFINITY) : f * 0x1p112f;
}

static float bfloat_magnitude(uint16_t b)
{
    uint32_t bits = (uint32_t)(b & 0x7fff) << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* FP8 of https://arxiv.org/abs/2209.05433 and https://arxiv.org/abs/2206.02915 ; FP4 of the OCP Microscaling specification. */
static double float8_magnitude(DType t, unsigned q)
{
    switch (t) {
    case DT_F8E4M3FN:   return (q & 0x7f) == 0x7f ? (double)NAN : (double)small_float(q & 0x7f, 4, 3, 7);
    case DT_F8E4M3FNUZ: return q == 0x80 ? (double)NAN : (double)small_float(q & 0x7f, 4, 3, 8);
    case DT_F8E5M2FNUZ: return q == 0x80 ? (double)NAN : (double)small_float(q & 0x7f, 5, 2, 16);
    case DT_F8E5M2:     return (q & 0x7c) == 0x7c ? ((q & 3) ? (double)NAN : (double)INFINITY) : (double)small_float(q & 0x7f, 5, 2, 15);
    default:            return (double)small_float(q & 7, 2, 1, 1);
    }
}

static unsigned packed(const void *data, int64_t at, int bits)
{
    int64_t bit = at * bits;
    return (unsigned)((const uint8_t *)data)[bit / 8] >> (bit % 8) & ((1u << bits) - 1);
}

/* The number that is stored at `at`; floats without their sign. */
static double number(DType t, const void *data, int64_t at)
{
    switch (t) {
    case DT_F32: return fabs((double)((const float *)data)[at]);
    case DT_F64: return fabs(((const double *)data)[at]);
    case DT_F16: return (double)half_magnitude(((const uint16_t *)data)[at]);
    case DT_BF16: return (double)bfloat_magnitude(((const uint16_t *)data)[at]);
    case DT_F8E4M3FN: case DT_F8E4M3FNUZ: case DT_F8E5M2: case DT_F8E5M2FNUZ: return float8_magnitude(t, ((const uint8_t *)data)[at]);
    case DT_F4E2M1: return float8_magnitude(t, packed(data, at, 4));
    case DT_U8: return ((const uint8_t *)data)[at];
    case DT_I8: return ((const int8_t *)data)[at];
    case DT_U16: return ((const uint16_t *)data)[at];
    case DT_I16: return ((const int16_t *)data)[at];
    case DT_U32: return ((const uint32_t *)data)[at];
    case DT_I32: return ((const int32_t *)data)[at];
    case DT_U64: return (double)((const uint64_t *)data)[at];
    case DT_I64: return (double)((const int64_t *)data)[at];
    case DT_U4: return packed(data, at, 4);
    case DT_I4: return (int)(packed(data, at, 4) ^ 8) - 8;
    case DT_U2: return packed(data, at, 2);
    case DT_I2: return (int)(packed(data, at, 2) ^ 2) - 2;
    default: return (double)NAN;
    }
}

static bool has_zero(DType t)
{
    return dtype_bits(t) > 0 && t != DT_BOOL && t != DT_C64 && t != DT_C128 && t != DT_F8E8M0;
}

/* Which of the scales (and zero points) belongs to an element: one for all; one for each index of the axis; or one for each block of `block` indices,
 * and then one for every index of the other axes too. */
static int64_t scale_index(const Elements *e, int64_t at)
{
    int64_t index = at / e->inner % e->length;
    if (e->block == 0)
        return index;
    int64_t blocks = (e->length + e->block - 1) / e->block;
    return (at / e->inner / e->length * blocks + index / e->block) * e->inner + at % e->inner;
}

static double zero_point(const Elements *e, int64_t at)
{
    return e->zero ? number(e->zero->dtype, e->zero->data, e->zero_each ? scale_index(e, at) : 0) : 0;
}

/* *each: t holds more than one number for all elements. */
static Err fit_scale(const Weight *w, const Tensor *t, Elements *e, bool *each)
{
    int64_t n;
    TRY(shape_count(&t->shape, &n));
    *each = n != 1;
    if (n == 1)
        return OK;
    const Shape *s = &w->constant->tensor.shape;
    int axis = w->quant_axis < 0 ? w->quant_axis + s->rank : w->quant_axis;
    if (axis < 0 || axis >= s->rank)
        return err_set(ERR_SHAPE, "weight '%s' of rank %d is quantized along axis %d", w->name, s->rank, w->quant_axis);
    e->inner = 1;
    for (int i = axis + 1; i < s->rank; i++)
        e->inner *= s->dim[i];
    e->length = s->dim[axis];
    e->block = w->quant_block;
    if (e->length > 0 && e->count > 0 && n != scale_index(e, e->count - 1) + 1)
        return err_set(ERR_SHAPE, "weight '%s' has %lld scales or zero points, its shape demands %lld", w->name, (long long)n,
                       (long long)scale_index(e, e->count - 1) + 1);
    return OK;
}

Err elements_open(Model *m, const Weight *w, Elements *e)
{
    const Tensor *t = &w->constant->tensor;
    if (!has_zero(t->dtype))
        return err_set(ERR_UNSUPPORTED, "weight '%s' has type %s, whose zero cannot be written", w->name, dtype_name(t->dtype));
    TRY(constant_fetch(m, w->constant));
    *e = (Elements) { .dtype = t->dtype, .data = t->data };
    TRY(shape_count(&t->shape, &e->count));
    if (w->scale) {
        TRY(constant_fetch(m, w->scale));
        TRY(fit_scale(w, &w->scale->tensor, e, &e->scale_each));
        e->scale = &w->scale->tensor;
    }
    if (w->zero) {
        TRY(constant_fetch(m, w->zero));
        TRY(fit_scale(w, &w->zero->tensor, e, &e->zero_each));
        e->zero = &w->zero->tensor;
    }
    return OK;
}

Err elements_close(Model *m, const Weight *w, bool edited)
{
    if (edited)
        constant_edited(w->constant);
    if (w->scale)
        TRY(constant_release(m, w->scale));
    if (w->zero)
        TRY(constant_release(m, w->zero));
    return constant_release(m, w->constant);
}

uint32_t elements_convert(const Elements *e, int64_t at)
{
    double value = number(e->dtype, e->data, at) - zero_point(e, at);
    float f = fabsf((float)value);
    if (e->scale)
        f *= fabsf((float)number(e->scale->dtype, e->scale->data, e->scale_each ? scale_index(e, at) : 0));
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits == 0 && value != 0 ? 1 : bits;
}

const uint32_t *elements_magnitudes(const Elements *e, int64_t begin, int64_t count, uint32_t *scratch)
{
    if (e->dtype == DT_F32)
        return (const uint32_t *)e->data + begin;
    for (int64_t i = 0; i < count; i++)
        scratch[i] = elements_convert(e, begin + i);
    return scratch;
}

uint64_t elements_get(const Elements *e, int64_t at)
{
    switch (dtype_bits(e->dtype)) {
    case 64: return ((const uint64_t *)e->data)[at];
    case 32: return ((const uint32_t *)e->data)[at];
    case 16: return ((const uint16_t *)e->data)[at];
    case 8: return ((const uint8_t *)e->data)[at];
    default: return packed(e->data, at, dtype_bits(e->dtype));
    }
}

void elements_put(const Elements *e, int64_t at, uint64_t bits)
{
    int width = dtype_bits(e->dtype);
    switch (width) {
    case 64: ((uint64_t *)e->data)[at] = bits; return;
    case 32: ((uint32_t *)e->data)[at] = (uint32_t)bits; return;
    case 16: ((uint16_t *)e->data)[at] = (uint16_t)bits; return;
    case 8: ((uint8_t *)e->data)[at] = (uint8_t)bits; return;
    default: {
        uint8_t *byte = (uint8_t *)e->data + at * width / 8;
        int shift = (int)(at * width % 8);
        *byte = (uint8_t)((*byte & ~(((1u << width) - 1) << shift)) | (unsigned)bits << shift);
    }
    }
}

void elements_zero(const Elements *e, int64_t at)
{
    elements_put(e, at, e->zero ? elements_get(&(Elements) { .dtype = e->zero->dtype, .data = e->zero->data }, e->zero_each ? scale_index(e, at) : 0) : 0);
}

int64_t elements_zero_below(const Elements *e, int64_t begin, int64_t count, uint32_t limit, const Kernels *k)
{
    if (e->dtype == DT_F32)
        return (int64_t)k->zero_below_f32((uint32_t *)e->data + begin, (size_t)count, limit);
    int64_t zeros = 0;
    for (int64_t i = begin; i < begin + count; i++)
        if (elements_convert(e, i) < limit) {
            elements_zero(e, i);
            zeros++;
        }
    return zeros;
}
