/* Selection and masking of magnitudes: the loops that define the entries. */
#include "kernels/levels.h"
#include "kernels/prune.h"

static size_t count_below_f32(const uint32_t *x, size_t n, uint32_t limit)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += (x[i] & MAGNITUDE_BITS) < limit;
    return count;
}

static size_t zero_below_f32(uint32_t *x, size_t n, uint32_t limit)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if ((x[i] & MAGNITUDE_BITS) < limit) {
            x[i] = 0;
            count++;
        }
    return count;
}

static size_t bracket_f32(const uint32_t *x, size_t n, const uint32_t low_high[2], uint32_t *inside, size_t *below)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t m = x[i] & MAGNITUDE_BITS;
        if (m < low_high[0])
            (*below)++;
        else if (m < low_high[1])
            inside[count++] = m;
    }
    return count;
}

static float dot_f32(const float *x, const float *y, size_t n)
{
    float s[16] = { 0 };
    for (size_t i = 0; i < n; i++)
        s[i % 16] += x[i] * y[i];
    return sum_of_16(s);
}

void prune_scalar(Kernels *k)
{
    k->count_below_f32 = count_below_f32;
    k->zero_below_f32 = zero_below_f32;
    k->bracket_f32 = bracket_f32;
    k->dot_f32 = dot_f32;
}
