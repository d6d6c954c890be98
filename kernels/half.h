/* float16, without branches, so that loops over these vectorize: masks are all ones where a condition holds. */
#pragma once
#include <stdint.h>

typedef union SingleBits { float f; uint32_t u; } SingleBits;

/* The exponent of float16 is 112 below float's: a product puts it right, for subnormal numbers as well. */
static inline float f16_to_f32(uint16_t h)
{
    SingleBits v = { .u = (uint32_t)(h & 0x7FFF) << 13 };
    v.f *= 0x1p112f;
    v.u |= (0x7F800000u & -(uint32_t)((int32_t)v.u >= 0x47800000)) | (uint32_t)(h & 0x8000) << 16;
    return v.f;
}

/* Nearest, ties to even. What is subnormal in float16 is rounded by adding a number whose last bit is worth as much as float16's. */
static inline uint16_t f32_to_f16(float x)
{
    SingleBits v = { .f = x }, small;
    uint32_t sign = v.u >> 16 & 0x8000, size = v.u & 0x7FFFFFFF;
    v.u = size;
    small.f = v.f + 0.5f;
    uint32_t normal = ((size + 0xFFF + (size >> 13 & 1)) >> 13) - (112u << 10), tiny = small.u - 0x3F000000;
    uint32_t is_large = -(uint32_t)((int32_t)size >= 0x47800000), is_tiny = -(uint32_t)((int32_t)size < 0x38800000), is_nan = -(uint32_t)((int32_t)size > 0x7F800000);
    return (uint16_t)(sign | (is_large & (0x7C00 | (is_nan & 0x3FF))) | (is_tiny & tiny) | (~(is_large | is_tiny) & normal));
}
