/* Conversions between element types. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "kernels/whole.h"

bool dtype_is_whole(DType t)
{
    switch (t) {
    case DT_U8: case DT_I8: case DT_U16: case DT_I16: case DT_U32: case DT_I32: case DT_U64: case DT_I64: case DT_BOOL:
    case DT_U4: case DT_I4: case DT_U2: case DT_I2: return true;
    default: return false;
    }
}

bool dtype_is_unsigned(DType t)
{
    return t == DT_U8 || t == DT_U16 || t == DT_U32 || t == DT_U64 || t == DT_BOOL || t == DT_U4 || t == DT_U2;
}

bool dtype_is_real(DType t) { return dtype_is_whole(t) || t == DT_F32 || t == DT_F64 || mini_float(t); }

const MiniFloat *mini_float(DType t)
{
    static const MiniFloat f16 = { 5, 10, 15, MINI_IEEE }, bf16 = { 8, 7, 127, MINI_IEEE }, e4m3fn = { 4, 3, 7, MINI_FN }, e4m3fnuz = { 4, 3, 8, MINI_FNUZ },
        e5m2 = { 5, 2, 15, MINI_IEEE }, e5m2fnuz = { 5, 2, 16, MINI_FNUZ }, e2m1 = { 2, 1, 1, MINI_FINITE }, e8m0 = { 8, 0, 127, MINI_SCALE };
    switch (t) {
    case DT_F16: return &f16;
    case DT_BF16: return &bf16;
    case DT_F8E4M3FN: return &e4m3fn;
    case DT_F8E4M3FNUZ: return &e4m3fnuz;
    case DT_F8E5M2: return &e5m2;
    case DT_F8E5M2FNUZ: return &e5m2fnuz;
    case DT_F4E2M1: return &e2m1;
    case DT_F8E8M0: return &e8m0;
    default: return NULL;
    }
}

double mini_decode(const MiniFloat *f, unsigned bits)
{
    unsigned m = bits & ((1u << f->mantissa_bits) - 1), e = bits >> f->mantissa_bits & ((1u << f->exponent_bits) - 1), top = (1u << f->exponent_bits) - 1;
    bool negative = f->kind != MINI_SCALE && bits >> (f->mantissa_bits + f->exponent_bits) & 1;
    double x;
    if (f->kind == MINI_SCALE) return e == top ? NAN : ldexp(1, (int)e - f->bias);
    if (f->kind == MINI_FNUZ && negative && !e && !m) return NAN;
    if (f->kind == MINI_IEEE && e == top) x = m ? NAN : INFINITY;
    else if (f->kind == MINI_FN && e == top && m == (1u << f->mantissa_bits) - 1) x = NAN;
    else if (!e) x = ldexp(m, 1 - f->bias - f->mantissa_bits);
    else x = ldexp(m + (1u << f->mantissa_bits), (int)e - f->bias - f->mantissa_bits);
    return negative ? -x : x;
}

/* The bits of the largest finite number, without sign. */
static unsigned mini_largest(const MiniFloat *f)
{
    unsigned all = (1u << (f->exponent_bits + f->mantissa_bits)) - 1;
    switch (f->kind) {
    case MINI_IEEE: return all - (1u << f->mantissa_bits);
    case MINI_FN: case MINI_SCALE: return all - 1;
    default: return all;
    }
}

static unsigned mini_overflow(const MiniFloat *f, unsigned sign, bool saturate)
{
    unsigned largest = mini_largest(f);
    if (saturate || f->kind == MINI_FINITE) return sign | largest;
    if (f->kind == MINI_FNUZ) return 1u << (f->exponent_bits + f->mantissa_bits);
    return sign | (largest + 1);       /* Inf of IEEE formats, NaN of FN and scale formats */
}

static unsigned mini_nan(const MiniFloat *f, unsigned sign)
{
    unsigned all = (1u << (f->exponent_bits + f->mantissa_bits)) - 1;
    if (f->kind == MINI_FNUZ || f->kind == MINI_FINITE) return 1u << (f->exponent_bits + f->mantissa_bits);
    if (f->kind == MINI_IEEE) return sign | (all & ~((1u << f->mantissa_bits) >> 1)) | (1u << f->mantissa_bits) >> 1;
    return f->kind == MINI_FN ? sign | all : all;
}

unsigned mini_encode(const MiniFloat *f, double x, bool saturate)
{
    unsigned sign = f->kind != MINI_SCALE && signbit(x) ? 1u << (f->exponent_bits + f->mantissa_bits) : 0;
    if (isnan(x)) return mini_nan(f, sign);
    x = fabs(x);
    if (isinf(x)) return mini_overflow(f, sign, saturate);
    int e;
    frexp(x, &e);
    e--;
    if (x == 0 || e < 1 - f->bias) e = 1 - f->bias;
    if (f->kind == MINI_SCALE && e < -f->bias) e = -f->bias;
    double units = nearbyint(ldexp(x, f->mantissa_bits - e));      /* round half to even: the default rounding mode */
    if (units > 0x1p30) return mini_overflow(f, sign, saturate);
    unsigned u = (unsigned)units, hidden = 1u << f->mantissa_bits;
    if (f->kind == MINI_SCALE) {
        int bits = e + f->bias + (u > 1);
        return bits > 254 ? mini_overflow(f, 0, saturate) : (unsigned)bits;
    }
    unsigned bits = u < hidden ? u : ((unsigned)(e + f->bias) << f->mantissa_bits) + (u - hidden);
    if (bits > mini_largest(f)) return mini_overflow(f, sign, saturate);
    if (f->kind == MINI_FNUZ && !bits) return 0;
    return sign | bits;
}

/* Reading --------------------------------------------------------------------------------------------------------------------------- */

/* The bits of packed element i. */
static unsigned packed(const void *x, int64_t i, int bits)
{
    int each = 8 / bits;
    return (unsigned)((const uint8_t *)x)[i / each] >> (i % each * bits) & ((1u << bits) - 1);
}

static int64_t packed_whole(DType t, const void *x, int64_t i)
{
    int bits = dtype_bits(t);
    int64_t v = packed(x, i, bits);
    if (!dtype_is_unsigned(t) && v >> (bits - 1)) v -= (int64_t)1 << bits;
    return v;
}

static int64_t whole_of(double x)
{
    return x > -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}

#define LOAD(T, expression) do { const T *from = (const T *)x + start; _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = expression; } while (0)
#define COPY(T, U) LOAD(T, (U)from[i])

void elements_to_i64(DType t, const void *x, int64_t start, int64_t n, int64_t *y)
{
    switch (t) {
    case DT_U8: case DT_BOOL: COPY(uint8_t, int64_t); break;
    case DT_I8: COPY(int8_t, int64_t); break;
    case DT_U16: COPY(uint16_t, int64_t); break;
    case DT_I16: COPY(int16_t, int64_t); break;
    case DT_U32: COPY(uint32_t, int64_t); break;
    case DT_I32: COPY(int32_t, int64_t); break;
    case DT_U64: COPY(uint64_t, int64_t); break;
    case DT_I64: COPY(int64_t, int64_t); break;
    case DT_U4: case DT_I4: case DT_U2: case DT_I2:
        for (int64_t i = 0; i < n; i++) y[i] = packed_whole(t, x, start + i);
        break;
    default:
        for (int64_t i = 0; i < n; i++) {
            double v;
            elements_to_f64(t, x, start + i, 1, &v);
            y[i] = whole_of(v);
        }
    }
}

static void mini_to_f64(DType t, const void *x, int64_t start, int64_t n, double *y)
{
    const MiniFloat *f = mini_float(t);
    for (int64_t i = 0; i < n; i++) {
        y[i] = mini_decode(f, t == DT_F4E2M1 ? packed(x, start + i, 4) : ((const uint8_t *)x)[start + i]);
    }
}

void elements_to_f64(DType t, const void *x, int64_t start, int64_t n, double *y)
{
    switch (t) {
    case DT_F32: COPY(float, double); break;
    case DT_F64: COPY(double, double); break;
    case DT_U8: case DT_BOOL: COPY(uint8_t, double); break;
    case DT_I8: COPY(int8_t, double); break;
    case DT_U16: COPY(uint16_t, double); break;
    case DT_I16: COPY(int16_t, double); break;
    case DT_U32: COPY(uint32_t, double); break;
    case DT_I32: COPY(int32_t, double); break;
    case DT_U64: COPY(uint64_t, double); break;
    case DT_I64: COPY(int64_t, double); break;
    case DT_U4: case DT_I4: case DT_U2: case DT_I2:
        for (int64_t i = 0; i < n; i++) y[i] = (double)packed_whole(t, x, start + i);
        break;
    case DT_F16: LOAD(uint16_t, (double)f16_to_f32(from[i])); break;
    case DT_BF16: LOAD(uint16_t, (double)bf16_to_f32(from[i])); break;
    default: mini_to_f64(t, x, start, n, y);
    }
}

void halves_to_f32(const Kernels *kernels, DType t, const void *x, int64_t n, float *y)
{
    enum { PIECE = 1024 };
    uint16_t piece[PIECE];
    const uint8_t *from = x;
    for (int64_t count; n > 0; n -= count, y += count, from += (size_t)count * sizeof *piece) {
        count = lesser(n, PIECE);
        memcpy(piece, from, (size_t)count * sizeof *piece);
        if (t == DT_F16) kernels->widen_f16(piece, (size_t)count, y);
        else for (int64_t i = 0; i < count; i++) y[i] = bf16_to_f32(piece[i]);
    }
}

/* Writing --------------------------------------------------------------------------------------------------------------------------- */

static void put_packed(void *x, int64_t i, int bits, unsigned v)
{
    int each = 8 / bits, shift = (int)(i % each) * bits;
    unsigned mask = (1u << bits) - 1;
    uint8_t *at = (uint8_t *)x + i / each;
    *at = (uint8_t)((*at & ~(mask << shift)) | (v & mask) << shift);
}

#define STORE(T, expression) do { T *to = (T *)x + start; _Pragma("omp simd") for (int64_t i = 0; i < n; i++) to[i] = (T)(expression); } while (0)

void elements_from_i64(DType t, const int64_t *y, int64_t n, void *x, int64_t start)
{
    switch (t) {
    case DT_BOOL: STORE(uint8_t, y[i] != 0); break;
    case DT_U8: STORE(uint8_t, y[i]); break;
    case DT_I8: STORE(int8_t, y[i]); break;
    case DT_U16: STORE(uint16_t, y[i]); break;
    case DT_I16: STORE(int16_t, y[i]); break;
    case DT_U32: STORE(uint32_t, y[i]); break;
    case DT_I32: STORE(int32_t, y[i]); break;
    case DT_U64: STORE(uint64_t, y[i]); break;
    case DT_I64: STORE(int64_t, y[i]); break;
    case DT_F32: STORE(float, y[i]); break;
    case DT_U4: case DT_I4: case DT_U2: case DT_I2:
        for (int64_t i = 0; i < n; i++) put_packed(x, start + i, dtype_bits(t), (unsigned)y[i]);
        break;
    default:
        for (int64_t i = 0; i < n; i++) {
            double v = (double)y[i];
            elements_from_f64(t, &v, 1, x, start + i);
        }
    }
}

static void whole_from_f64(DType t, const double *y, int64_t n, void *x, int64_t start)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t v = whole_of(y[i]);
        if (t == DT_BOOL) v = y[i] != 0;
        else if (t == DT_I32 && !(y[i] > -2147483649.0 && y[i] < 2147483648.0)) v = INT32_MIN;
        else if (t == DT_U64 && y[i] >= 0x1p63 && y[i] < 0x1p64) v = (int64_t)(uint64_t)y[i];
        elements_from_i64(t, &v, 1, x, start + i);
    }
}

void elements_from_f64(DType t, const double *y, int64_t n, void *x, int64_t start)
{
    const MiniFloat *f = mini_float(t);
    if (t == DT_F32) STORE(float, y[i]);
    else if (t == DT_F64) STORE(double, y[i]);
    else if (!f) whole_from_f64(t, y, n, x, start);
    else if (t == DT_F16) STORE(uint16_t, f64_to_f16(y[i]));
    else if (t == DT_BF16) STORE(uint16_t, mini_encode(f, y[i], false));
    else if (t == DT_F4E2M1) for (int64_t i = 0; i < n; i++) put_packed(x, start + i, 4, mini_encode(f, y[i], false));
    else STORE(uint8_t, mini_encode(f, y[i], false));
}
