/* What the levels of dot_f32 share: the order of its sums, which makes them agree to the bit. */
#pragma once

/* Product i went to s[i % 16]. */
static inline float sum_of_16(float s[16])
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}
