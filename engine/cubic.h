/* What Resize and GridSample share. */
#pragma once
#include <math.h>

/* The weight of a pixel at distance d in cubic convolution with coefficient a.     Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711 */
static inline double cubic_weight(double d, double a)
{
    d = fabs(d);
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}
