/* GridSample: the input read at coordinates between -1 and 1.   X (N,C,D,H,W) or (N,C,H,W), grid (N,D',H',W',3) or (N,H',W',2), last axis x, y, z
 * https://onnx.ai/onnx/operators/onnx__GridSample.html */
#include <math.h>
#include <string.h>
#include "engine/cubic.h"
#include "engine/element.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "kernels/whole.h"

typedef struct Sampler {
    int axes;                              /* 2 or 3 */
    int64_t size[3];                       /* of the input, slowest axis first */
    enum { BILINEAR, NEAREST, BICUBIC } mode;
    enum { ZEROS, BORDER, REFLECTION } padding;
    bool align;
} Sampler;

static double reflect(double x, double lo, double hi)
{
    double range = hi - lo;
    if (range <= 0) return lo;
    double d = fmod(fabs(x - lo), 2 * range);
    return d > range ? hi - (d - range) : lo + d;
}

/* The pixel that stands at index i of an axis; -1: none. */
static int64_t pixel(const Sampler *g, int axis, double i)
{
    double last = (double)(g->size[axis] - 1);
    if (g->padding == ZEROS) return i < 0 || i > last ? -1 : (int64_t)i;
    if (g->padding == REFLECTION) i = g->align ? reflect(i, 0, last) : reflect(i, -0.5, last + 0.5);
    i = nearbyint(i);
    return (int64_t)(i < 0 ? 0 : i > last ? last : i);
}

typedef struct Taps { int n; int64_t at[4]; double weight[4]; } Taps;

static void taps_of(const Sampler *g, int axis, double v, Taps *t)
{
    double size = (double)g->size[axis], x = g->align ? (v + 1) / 2 * (size - 1) : ((v + 1) * size - 1) / 2, last = size - 1;
    if (!(fabs(x) < 0x1p40)) x = -2;
    if (g->mode != BICUBIC && g->padding == BORDER) x = fmin(fmax(x, 0), last);
    if (g->mode != BICUBIC && g->padding == REFLECTION) {
        x = g->align ? reflect(x, 0, last) : reflect(x, -0.5, last + 0.5);
        x = fmin(fmax(x, 0), last);
    }
    double base = g->mode == NEAREST ? nearbyint(x) : floor(x);
    int first = g->mode == BICUBIC ? -1 : 0;
    t->n = g->mode == NEAREST ? 1 : g->mode == BILINEAR ? 2 : 4;
    for (int k = 0; k < t->n; k++) {
        double i = base + first + k;
        t->at[k] = pixel(g, axis, i);
        t->weight[k] = g->mode == NEAREST ? 1 : g->mode == BICUBIC ? cubic_weight(x - i, -0.75) : 1 - fabs(x - i);
    }
}

enum { POINTS = 64, MOST_TAPS = 16 };

/* What makes some points of the output, in every channel: pixels inside of the input and their weights. */
typedef struct Points { int64_t n; struct { int n; int64_t at[MOST_TAPS]; double weight[MOST_TAPS]; } of[POINTS]; } Points;

static void points_of(const Sampler *g, const Buffer *grid, int64_t first, int64_t n, Points *p)
{
    p->n = n;
    for (int64_t i = 0; i < n; i++) {
        Taps t[3] = { { 1, { 0 }, { 1 } }, { 0 }, { 0 } };
        for (int a = 0; a < g->axes; a++) {
            double v = number_at(grid, (first + i) * g->axes + a);
            taps_of(g, 2 - a, v, &t[2 - a]);
        }
        int taps = 0;
        for (int k = 0; k < t[0].n * t[1].n * t[2].n; k++) {
            int a = k / t[2].n / t[1].n, b = k / t[2].n % t[1].n, c = k % t[2].n;
            if (t[0].at[a] < 0 || t[1].at[b] < 0 || t[2].at[c] < 0) continue;
            p->of[i].at[taps] = (t[0].at[a] * g->size[1] + t[1].at[b]) * g->size[2] + t[2].at[c];
            p->of[i].weight[taps++] = t[0].weight[a] * t[1].weight[b] * t[2].weight[c];
        }
        p->of[i].n = taps;
    }
}

static void sample_f32(const Points *p, const float *x, float *y)
{
    for (int64_t k = 0; k < p->n; k++) {
        double sum = 0;
        for (int t = 0; t < p->of[k].n; t++) sum += (double)x[p->of[k].at[t]] * p->of[k].weight[t];
        y[k] = (float)sum;
    }
}

static void sample(const Points *p, const Buffer *x, int64_t from, Buffer *y, int64_t to)
{
    double sum[POINTS];
    for (int64_t k = 0; k < p->n; k++) {
        sum[k] = 0;
        for (int t = 0; t < p->of[k].n; t++) sum[k] += number_at(x, from + p->of[k].at[t]) * p->of[k].weight[t];
    }
    elements_from_f64(y->dtype, sum, p->n, y->data, to);
}

static Err grid_run(Plan *plan, Step *s)
{
    const Sampler *g = s->state;
    const Buffer *x = s->in[0], *grid = s->in[1];
    Buffer *y = s->out[0];
    int64_t channels = x->shape.dim[1], plane = g->size[0] * g->size[1] * g->size[2], batch = x->shape.dim[0], points = batch ? grid->count / g->axes / batch : 0;
    int64_t pieces = pieces_in(points, POINTS);
    #pragma omp parallel for num_threads(plan->threads) if (y->count > PARALLEL_WORK / 8)
    for (int64_t i = 0; i < batch * pieces; i++) {
        int64_t image = i / pieces, first = i % pieces * POINTS;
        Points p;
        points_of(g, grid, image * points + first, lesser(points - first, POINTS), &p);
        for (int64_t c = 0; c < channels; c++) {
            int64_t from = (image * channels + c) * plane, to = (image * channels + c) * points + first;
            if (x->dtype == DT_F32) sample_f32(&p, (const float *)x->data + from, (float *)y->data + to);
            else sample(&p, x, from, y, to);
        }
    }
    return OK;
}

Err grid_prep(Plan *plan, Step *s)
{
    const Shape *x = &s->in[0]->shape, *grid = &s->in[1]->shape;
    Sampler *g;
    TRY(plan_array(plan, 1, sizeof *g, &g));
    g->axes = x->rank - 2;
    if (g->axes < 2 || g->axes > 3) return err_set(ERR_UNSUPPORTED, "GridSample with %d spatial axes cannot be run (2 and 3 can).", g->axes);
    if (grid->rank != x->rank || grid->dim[grid->rank - 1] != g->axes || grid->dim[0] != x->dim[0]) return err_set(ERR_SHAPE, "The grid does not fit the input.");
    if (!dtype_is_float(s->in[0]->dtype) || !dtype_is_float(s->in[1]->dtype)) return step_refuse(s, "input", s->in[0]);
    g->size[0] = 1;
    for (int a = 0; a < g->axes; a++) g->size[3 - g->axes + a] = x->dim[2 + a];
    g->mode = attr_s_is(s->node, "mode", "nearest", false) ? NEAREST
            : attr_s_is(s->node, "mode", "cubic", false) || attr_s_is(s->node, "mode", "bicubic", false) ? BICUBIC : BILINEAR;
    g->padding = attr_s_is(s->node, "padding_mode", "border", false) ? BORDER : attr_s_is(s->node, "padding_mode", "reflection", false) ? REFLECTION : ZEROS;
    g->align = attr_i(s->node, "align_corners", 0);
    if (g->mode == BICUBIC && g->axes == 3) return err_set(ERR_UNSUPPORTED, "GridSample with cubic interpolation of volumes cannot be run.");
    s->state = g;
    s->run = grid_run;
    return OK;
}
