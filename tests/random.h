/* Reproducible random numbers for tests: xorshift64*, https://doi.org/10.1145/2845077 . The seed is never 0. */
#pragma once
#include <stdint.h>

typedef struct Random { uint64_t state; } Random;

static inline uint32_t random_bits(Random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)((r->state * 0x2545f4914f6cdd1dull) >> 32);
}

/* 0 <= result < n */
static inline uint32_t random_below(Random *r, uint32_t n)
{
    return (uint32_t)(((uint64_t)random_bits(r) * n) >> 32);
}

/* low <= result <= high */
static inline int random_between(Random *r, int low, int high)
{
    return low + (int)random_below(r, (uint32_t)(high - low + 1));
}

/* Uniform in [-1, 1). */
static inline float random_float(Random *r)
{
    return (float)(int32_t)random_bits(r) * 0x1p-31f;
}
