#include "tests/plane_cases.h"
#include "tests/cmocka.h"
#include "tests/guard.h"
#include <math.h>

/* Usual windows half of the time, anything otherwise. The image ends at a forbidden page and begins behind guard bytes. */
static PanelWindow draw_window(Random *r)
{
    static const int usual[] = { 1, 2, 3, 3, 3, 3, 5, 7 };
    PanelWindow g = { 0 };
    int kernel = usual[random_below(r, 8)], stride = 1 + (int)random_below(r, 2);
    bool odd = random_below(r, 2);
    for (int a = 0; a < 2; a++) {
        g.kernel[a] = odd ? 1 + (int)random_below(r, random_below(r, 4) ? 7 : 12) : kernel;
        g.stride[a] = odd ? 1 + (int)random_below(r, 3) : stride;
        g.dilation[a] = odd ? 1 + (int)random_below(r, 3) : 1;
        g.in[a] = 1 + (int)random_below(r, 40);
        int reach = (g.kernel[a] - 1) * g.dilation[a] + 1;
        g.pad[a] = odd ? (int)random_below(r, (uint32_t)reach + 2) - 1 : kernel / 2;
        int span = g.in[a] + g.pad[a] + (int)random_below(r, (uint32_t)reach + 2) - reach;
        g.out[a] = span < 0 ? 1 : 1 + span / g.stride[a];
    }
    g.plane = (size_t)g.in[0] * (size_t)g.in[1];
    return g;
}

typedef struct Planes { size_t n; Guard x, is, wanted; } Planes;

static Planes planes_new(const PanelWindow *g, Random *r)
{
    size_t n = (size_t)g->out[0] * (size_t)g->out[1];
    Planes p = { n, guard_new(g->plane * sizeof(float), 0), guard_new(n * sizeof(float), 0), guard_new(n * sizeof(float), 0) };
    for (size_t i = 0; i < g->plane; i++) ((float *)p.x.data)[i] = random_float(r);
    return p;
}

static void planes_compare(Planes *p, double tolerance)
{
    const float *is = p->is.data, *wanted = p->wanted.data;
    for (size_t i = 0; i < p->n; i++)
        if (isnan(wanted[i]) ? !isnan(is[i]) : is[i] != wanted[i] && !(fabs((double)is[i] - (double)wanted[i]) <= tolerance))
            fail_msg("element %zu is %.9g instead of %.9g", i, (double)is[i], (double)wanted[i]);
    guard_free(&p->x);
    guard_free(&p->is);
    guard_free(&p->wanted);
}

void compare_pool(const Kernels *scalar, const Kernels *level, Random *r)
{
    PanelWindow g = draw_window(r);
    Planes p = planes_new(&g, r);
    if (random_below(r, 4) == 0) ((float *)p.x.data)[random_below(r, (uint32_t)g.plane)] = NAN;
    Pooling kind = random_below(r, 4) ? POOLING_MAX : POOLING_SUM;
    level->pool_f32(&g, p.x.data, kind, p.is.data);
    scalar->pool_f32(&g, p.x.data, kind, p.wanted.data);
    double taps = g.kernel[0] * g.kernel[1];
    planes_compare(&p, kind == POOLING_SUM ? taps * taps * 0x1p-23 : 0);
}
