/* Windows over one channel: the definitions. */
#include "kernels/levels.h"
#include <math.h>

typedef struct Range { int lo, hi; } Range;

/* The k of an axis whose input lies inside the image. */
static Range taps(const PanelWindow *g, int axis, int o)
{
    Range r = { g->kernel[axis], 0 };
    for (int k = g->kernel[axis] - 1; k >= 0; k--) {
        int64_t i = (int64_t)o * g->stride[axis] + (int64_t)k * g->dilation[axis] - g->pad[axis];
        if (i < 0 || i >= g->in[axis]) continue;
        r.lo = k;
        if (r.hi == 0) r.hi = k + 1;
    }
    return r;
}

static const float *input(const PanelWindow *g, const float *x, const int o[2], int ky, int kx)
{
    int64_t iy = (int64_t)o[0] * g->stride[0] + (int64_t)ky * g->dilation[0] - g->pad[0], ix = (int64_t)o[1] * g->stride[1] + (int64_t)kx * g->dilation[1] - g->pad[1];
    return x + iy * g->in[1] + ix;
}

void pool_f32_scalar(const PanelWindow *g, const float *x, Pooling kind, float *y)
{
    for (int oy = 0; oy < g->out[0]; oy++)
        for (int ox = 0; ox < g->out[1]; ox++) {
            Range v = taps(g, 0, oy), h = taps(g, 1, ox);
            float result = kind == POOLING_MAX ? -INFINITY : 0;
            for (int ky = v.lo; ky < v.hi; ky++)
                for (int kx = h.lo; kx < h.hi; kx++) {
                    float value = *input(g, x, (const int[]) { oy, ox }, ky, kx);
                    if (kind == POOLING_SUM) result += value;
                    else if (value > result || isnan(value)) result = value;
                }
            *y++ = result;
        }
}

void plane_scalar(Kernels *k)
{
    k->pool_f32 = pool_f32_scalar;
}
