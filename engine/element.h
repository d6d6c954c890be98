/* Elements of any real type as double or int64: the wide types in which the plain operators compute. */
#pragma once
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

float    f16_to_f32(uint16_t h);
uint16_t f64_to_f16(double x);
static inline float bf16_to_f32(uint16_t h) { union { uint32_t u; float f; } v = { .u = (uint32_t)h << 16 }; return v.f; }
uint16_t f64_to_bf16(double x);

/* A small float: sign, exponent, mantissa bits (float8, float4, and the float16 formats). */
typedef struct MiniFloat {
    int exponent_bits, mantissa_bits, bias;
    enum { MINI_IEEE, MINI_FN, MINI_FNUZ, MINI_FINITE, MINI_SCALE } kind;  /* Inf and NaN; NaN only (all ones); NaN is "-0"; neither; exponent only, no sign */
} MiniFloat;
const MiniFloat *mini_float(DType t);          /* NULL: not such a type */
double   mini_decode(const MiniFloat *f, unsigned bits);
/* Nearest, ties to even. Beyond the range: the largest number if saturate, else Inf or NaN as the format has it. */
unsigned mini_encode(const MiniFloat *f, double x, bool saturate);
