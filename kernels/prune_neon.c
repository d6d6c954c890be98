/* Selection and masking of magnitudes with NEON: 4 elements a step. There is no cheap compress, so elements inside the bracket are collected one by one;
 * they are rare by design and most steps see none. */
#include "kernels/levels.h"
#include "kernels/prune.h"
#include <arm_neon.h>

static inline uint32x4_t magnitude(uint32x4_t x)
{
    return vandq_u32(x, vdupq_n_u32(MAGNITUDE_BITS));
}

static inline size_t lanes_set(uint32x4_t mask)
{
    return vaddvq_u32(vshrq_n_u32(mask, 31));
}

static size_t count_below_f32(const uint32_t *x, size_t n, uint32_t limit)
{
    const uint32x4_t l = vdupq_n_u32(limit);
    size_t count = 0, i = 0;
    for (; i + 4 <= n; i += 4)
        count += lanes_set(vcltq_u32(magnitude(vld1q_u32(x + i)), l));
    for (; i < n; i++)
        count += (x[i] & MAGNITUDE_BITS) < limit;
    return count;
}

static size_t zero_below_f32(uint32_t *x, size_t n, uint32_t limit)
{
    const uint32x4_t l = vdupq_n_u32(limit);
    size_t count = 0, i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32x4_t w = vld1q_u32(x + i), below = vcltq_u32(magnitude(w), l);
        vst1q_u32(x + i, vbicq_u32(w, below));
        count += lanes_set(below);
    }
    for (; i < n; i++)
        if ((x[i] & MAGNITUDE_BITS) < limit) {
            x[i] = 0;
            count++;
        }
    return count;
}

static size_t bracket_f32(const uint32_t *x, size_t n, const uint32_t low_high[2], uint32_t *inside, size_t *below)
{
    const uint32_t low = low_high[0], high = low_high[1];
    const uint32x4_t l = vdupq_n_u32(low), h = vdupq_n_u32(high);
    size_t count = 0, i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32x4_t m = magnitude(vld1q_u32(x + i)), under = vcltq_u32(m, l);
        *below += lanes_set(under);
        if (vmaxvq_u32(vbicq_u32(vcltq_u32(m, h), under)))
            for (size_t j = i; j < i + 4; j++) {
                uint32_t one = x[j] & MAGNITUDE_BITS;
                inside[count] = one;
                count += one >= low && one < high;
            }
    }
    for (; i < n; i++) {
        uint32_t one = x[i] & MAGNITUDE_BITS;
        *below += one < low;
        inside[count] = one;
        count += one >= low && one < high;
    }
    return count;
}

static float dot_f32(const float *x, const float *y, size_t n)
{
    float32x4_t sum[4] = { vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0) };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 4; j++)
            sum[j] = vaddq_f32(sum[j], vmulq_f32(vld1q_f32(x + i + 4 * j), vld1q_f32(y + i + 4 * j)));
    float s[16];
    for (int j = 0; j < 4; j++)
        vst1q_f32(s + 4 * j, sum[j]);
    for (; i < n; i++)
        s[i % 16] += x[i] * y[i];
    return sum_of_16(s);
}

void prune_neon(Kernels *k)
{
    k->count_below_f32 = count_below_f32;
    k->zero_below_f32 = zero_below_f32;
    k->bracket_f32 = bracket_f32;
    k->dot_f32 = dot_f32;
}
