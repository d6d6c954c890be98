/* Elements of any real type as double or int64: the wide types in which the plain operators compute. */
#pragma once
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "onnx/tensor.h"

bool dtype_is_real(DType t);                   /* numeric and not complex, or bool */
bool dtype_is_whole(DType t);                  /* integers of any width and bool */
bool dtype_is_unsigned(DType t);

/* Element i of x, i in [start, start + n), to y[i - start]. Types below 8 bits are packed from the low bits up.
 * to_f64: uint64 and int64 are rounded to nearest. to_i64: of floats truncates toward zero; uint64 keeps its bits. */
void elements_to_f64(DType t, const void *x, int64_t start, int64_t n, double *y);
void elements_to_i64(DType t, const void *x, int64_t start, int64_t n, int64_t *y);
/* y to elements start ... of x. Floats round to nearest even and overflow to infinity (types without it: NaN; without both: the largest number).
 * Integers from double truncate toward zero, then keep the low bits; NaN and what is beyond int64 become the most negative int64 before that
 * (int32: the most negative int32), as x86 converts. bool: x != 0. */
void elements_from_f64(DType t, const double *y, int64_t n, void *x, int64_t start);
void elements_from_i64(DType t, const int64_t *y, int64_t n, void *x, int64_t start);

typedef union DoubleBits { double f; uint64_t u; } DoubleBits;

static inline uint16_t f64_to_f16(double x)
{
    DoubleBits v = { .f = x }, small;
    uint64_t sign = v.u >> 48 & 0x8000, size = v.u & (UINT64_MAX >> 1);
    v.u = size;
    small.f = v.f + 0x1p28;
    uint64_t normal = ((size + ((uint64_t)1 << 41) - 1 + (size >> 42 & 1)) >> 42) - (1008u << 10), tiny = small.u - 0x41B0000000000000u;
    return (uint16_t)(sign | (v.f != v.f ? 0x7FFF : v.f >= 0x1p16 ? 0x7C00 : v.f < 0x1p-14 ? tiny : normal));
}

static inline float bf16_to_f32(uint16_t h) { return (SingleBits){ .u = (uint32_t)h << 16 }.f; }
static inline uint16_t f32_to_bf16(float x)
{
    SingleBits v = { .f = x };
    uint32_t nan = (v.u >> 16 & 0x8000) | 0x7FFF;
    return (uint16_t)(x != x ? nan : (v.u + 0x7FFF + (v.u >> 16 & 1)) >> 16);
}

/* n numbers of type t, DT_F16 or DT_BF16, at any alignment. */
void halves_to_f32(const Kernels *kernels, DType t, const void *x, int64_t n, float *y);

/* A small float: sign, exponent, mantissa bits (float8, float4, and the float16 formats). */
typedef struct MiniFloat {
    int exponent_bits, mantissa_bits, bias;
    enum { MINI_IEEE, MINI_FN, MINI_FNUZ, MINI_FINITE, MINI_SCALE } kind;  /* Inf and NaN; NaN only (all ones); NaN is "-0"; neither; exponent only, no sign */
} MiniFloat;
const MiniFloat *mini_float(DType t);          /* NULL: not such a type */
double   mini_decode(const MiniFloat *f, unsigned bits);
/* Nearest, ties to even. Beyond the range: the largest number if saturate, else Inf or NaN as the format has it. */
unsigned mini_encode(const MiniFloat *f, double x, bool saturate);
