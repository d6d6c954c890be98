/* An element is zero when its bits without the sign are zero, or equal its zero point's. */
#include "engine/zeros.h"
#include <string.h>

enum { CHUNK = 1 << 20 };                          /* elements that a thread takes at a time */

bool zeros_countable(DType t) { return dtype_bits(t) > 0 && t != DT_C64 && t != DT_C128 && t != DT_F8E8M0; }

/* Bits to compare: all but the sign of floats that have a negative zero. */
static uint64_t compared_bits(DType t)
{
    int bits = dtype_bits(t);
    uint64_t all = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    bool negative_zero = dtype_is_float(t) && t != DT_F8E4M3FNUZ && t != DT_F8E5M2FNUZ;
    return negative_zero ? all >> 1 : all;
}

static uint64_t element_bits(const void *data, int bits, int64_t i)
{
    const uint8_t *p = data;
    uint64_t v = 0;
    if (bits >= 8) memcpy(&v, p + i * (bits / 8), (size_t)bits / 8);               /* little-endian, as ONNX stores */
    else v = (uint64_t)p[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
    return v;
}

/* In groups of a fixed size, which compilers turn into vector instructions. */
static int64_t count32(const uint8_t *p, int64_t n, uint32_t mask, uint32_t value)
{
    enum { GROUP = 64 };
    uint32_t v[GROUP];
    int64_t count = 0;
    for (; n >= GROUP; n -= GROUP, p += sizeof v) {
        int32_t here = 0;
        memcpy(v, p, sizeof v);
        for (int k = 0; k < GROUP; k++) here += (v[k] & mask) == value;
        count += here;
    }
    memcpy(v, p, 4 * (size_t)n);
    for (int k = 0; k < n; k++) count += (v[k] & mask) == value;
    return count;
}

static int64_t count16(const uint8_t *p, int64_t n, uint16_t mask, uint16_t value)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        uint16_t v;
        memcpy(&v, p + 2 * i, 2);
        count += (v & mask) == value;
    }
    return count;
}

static int64_t count8(const uint8_t *p, int64_t n, uint8_t mask, uint8_t value)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += (p[i] & mask) == value;
    return count;
}

/* Elements of any alignment. */
typedef struct Stored { DType dtype; const void *data; } Stored;

/* Elements begin .. begin + n - 1 whose compared bits are `value`. */
static int64_t count_equal(const Stored *t, int64_t begin, int64_t n, uint64_t value)
{
    uint64_t mask = compared_bits(t->dtype);
    int bits = dtype_bits(t->dtype);
    const uint8_t *p = t->data;
    if (bits == 32) return count32(p + 4 * begin, n, (uint32_t)mask, (uint32_t)value);
    if (bits == 16) return count16(p + 2 * begin, n, (uint16_t)mask, (uint16_t)value);
    if (bits == 8) return count8(p + begin, n, (uint8_t)mask, (uint8_t)value);
    int64_t count = 0;
    for (int64_t i = begin; i < begin + n; i++) count += (element_bits(t->data, bits, i) & mask) == value;
    return count;
}

/* Where the zero point of each element stands: one for a run of `inner` elements, or (blocked) one for each place in the run. */
typedef struct Points { const Tensor *zero; int64_t inner, length, block, blocks; } Points;

static uint64_t point_bits(const Points *z, int64_t i)
{
    uint64_t mask = compared_bits(z->zero->dtype);
    int64_t at = i / z->inner % z->length;
    if (z->block) at = (i / z->inner / z->length * z->blocks + at / z->block) * z->inner + i % z->inner;
    return element_bits(z->zero->data, dtype_bits(z->zero->dtype), at) & mask;
}

static int64_t count_runs(const Stored *t, const Points *z, int64_t begin, int64_t end)
{
    int64_t count = 0;
    for (int64_t i = begin; i < end;) {
        int64_t run = z->block ? 1 : z->inner - i % z->inner;
        if (run > end - i) run = end - i;
        count += count_equal(t, i, run, point_bits(z, i));
        i += run;
    }
    return count;
}

static Err read_points(const Weight *w, const Tensor *zero, Points *z)
{
    const Shape *s = &w->constant->tensor.shape;
    int64_t n, expected;
    TRY(shape_count(&zero->shape, &n));
    if (zero->dtype != w->constant->tensor.dtype) return err_set(ERR_SHAPE, "weight '%s' and its zero point have different types", w->name);
    *z = (Points){ .zero = zero, .inner = 1, .length = 1, .block = 0, .blocks = 1 };
    if (n == 1) return OK;
    if (w->quant_axis < 0 || w->quant_axis >= s->rank) return err_set(ERR_SHAPE, "weight '%s' has %lld zero points", w->name, (long long)n);
    for (int i = w->quant_axis + 1; i < s->rank; i++) z->inner *= s->dim[i];
    z->length = s->dim[w->quant_axis];
    z->block = w->quant_block;
    if (z->block) z->blocks = (z->length + z->block - 1) / z->block;
    expected = z->length;
    if (z->block) expected = w->elements / (z->length ? z->length : 1) * z->blocks;
    return n == expected ? OK : err_set(ERR_SHAPE, "weight '%s' has %lld zero points, its shape demands %lld", w->name, (long long)n, (long long)expected);
}

/* z NULL: all zero points are 0. */
static int64_t count_all(const Stored *t, int64_t elements, const Points *z)
{
    int64_t total = 0;
#pragma omp parallel for reduction(+ : total) schedule(static) if (elements > CHUNK)
    for (int64_t begin = 0; begin < elements; begin += CHUNK) {
        int64_t end = begin + CHUNK < elements ? begin + CHUNK : elements;
        total += z ? count_runs(t, z, begin, end) : count_equal(t, begin, end - begin, 0);
    }
    return total;
}

Err zeros_of(Model *m, Constant *c, int64_t *zeros)
{
    int64_t n;
    Stored t = { .dtype = c->tensor.dtype };
    TRY(shape_count(&c->tensor.shape, &n));
    TRY(constant_read(m, c, &t.data));
    *zeros = count_all(&t, n, NULL);
    return constant_release(m, c);
}

static Err count_around(Model *m, const Weight *w, int64_t *zeros)
{
    Points z;
    Stored t = { .dtype = w->constant->tensor.dtype };
    TRY(read_points(w, &w->zero->tensor, &z));
    TRY(constant_read(m, w->constant, &t.data));
    *zeros = count_all(&t, w->elements, &z);
    return constant_release(m, w->constant);
}

Err zeros_count(Model *m, const Weight *w, int64_t *zeros)
{
    if (!w->zero) return zeros_of(m, w->constant, zeros);
    TRY(constant_fetch(m, w->zero));
    Err e = count_around(m, w, zeros);
    TRY(constant_release(m, w->zero));
    return e;
}
