/* Pools: MaxPool, AveragePool, LpPool, the global ones and MaxUnpool, in plain loops over windows. Most of them, largest numbers and averages of float32
 * along one or two axes, run in the loops of kernels/plane.h. */
#include <math.h>
#include <string.h>
#include <omp.h>
#include "engine/element.h"
#include "engine/floats.h"
#include "engine/panels.h"
#include "engine/planes.h"
#include "engine/run_ops.h"
#include "engine/slide.h"
#include "engine/walk.h"
#include "engine/window.h"

typedef struct Pool {
    Planes planes;                 /* of those in kernels */
    enum { POOL_MAX, POOL_AVERAGE, POOL_LP } kind;
    bool count_pads, column_major;
    double p;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
    float *count;                  /* of averages in kernels: what the sum of each window is divided by */
} Pool;

typedef struct Sum { double value; int64_t count, at; } Sum;

static void take(const Pool *p, double v, int64_t at, Sum *s)
{
    if (p->kind == POOL_MAX) {
        if (s->at < 0 || v > s->value || (v != v && s->value == s->value)) { s->value = v; s->at = at; }
    } else s->value += p->kind == POOL_AVERAGE ? v : p->p == 1 ? fabs(v) : p->p == 2 ? v * v : pow(fabs(v), p->p);
    s->count++;
}

/* Positions of one window along an axis that lie inside the input: k in [lo, hi). */
static void inside(const Pool *p, int axis, int64_t o, int64_t *start, int64_t *lo, int64_t *hi)
{
    int64_t d = p->dilation[axis], at = o * p->stride[axis] - p->pad[axis];
    *start = at;
    *lo = at < 0 ? (-at + d - 1) / d : 0;
    *hi = at < p->in[axis] ? (p->in[axis] - 1 - at) / d + 1 : 0;
    if (*hi > p->kernel[axis]) *hi = p->kernel[axis];
}

/* Positions that lie inside the input or its padding: what count_include_pad divides by. ceil_mode windows may reach beyond both. */
static int64_t padded_count(const Pool *p, const int64_t o[3])
{
    int64_t count = 1;
    for (int a = 0; a < 3; a++) {
        int64_t at = o[a] * p->stride[a] - p->pad[a], end = p->in[a] + p->pad_end[a], n = 0;
        for (int64_t k = 0; k < p->kernel[a]; k++) n += at + k * p->dilation[a] < end;
        count *= n;
    }
    return count;
}

static Sum pool_window(const Pool *p, const Buffer *x, int64_t plane, const int64_t o[3])
{
    int64_t start[3], lo[3], hi[3];
    Sum s = { .at = -1 };
    for (int a = 0; a < 3; a++) inside(p, a, o[a], &start[a], &lo[a], &hi[a]);
    for (int64_t kd = lo[0]; kd < hi[0]; kd++)
        for (int64_t kh = lo[1]; kh < hi[1]; kh++) {
            int64_t d = start[0] + kd * p->dilation[0], h = start[1] + kh * p->dilation[1], row = (d * p->in[1] + h) * p->in[2] + start[2];
            for (int64_t kw = lo[2]; kw < hi[2]; kw++) {
                int64_t at = row + kw * p->dilation[2];
                take(p, number_at(x, plane + at), at, &s);
            }
        }
    return s;
}

static double finish(const Pool *p, const Sum *s, const int64_t o[3])
{
    if (p->kind == POOL_MAX) return s->count ? s->value : -INFINITY;
    if (p->kind == POOL_LP) return p->p == 1 ? s->value : p->p == 2 ? sqrt(s->value) : pow(s->value, 1 / p->p);
    int64_t n = p->count_pads ? padded_count(p, o) : s->count;
    return n ? s->value / (double)n : 0;
}

static int64_t index_in_order(const Pool *p, int64_t at)
{
    if (!p->column_major) return at;
    int64_t w = at % p->in[2], h = at / p->in[2] % p->in[1], d = at / p->in[2] / p->in[1];
    return d + p->in[0] * (h + p->in[1] * w);
}

static Err pool_run(Plan *plan, Step *s)
{
    const Pool *p = s->state;
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    int64_t planes = x->shape.dim[0] * x->shape.dim[1], in_plane = p->in[0] * p->in[1] * p->in[2], out_plane = p->out[0] * p->out[1] * p->out[2];
    int64_t *index = s->n_out > 1 && s->out[1] ? s->out[1]->data : NULL;
    #pragma omp parallel for num_threads(plan->threads) if (y->count > 1024)
    for (int64_t c = 0; c < planes; c++)
        for (int64_t i = 0; i < out_plane; i++) {
            const int64_t o[3] = { i / p->out[2] / p->out[1], i / p->out[2] % p->out[1], i % p->out[2] };
            Sum sum = pool_window(p, x, c * in_plane, o);
            double v = finish(p, &sum, o);
            if (y->dtype == DT_F32) ((float *)y->data)[c * out_plane + i] = (float)v;
            else elements_from_f64(y->dtype, &v, 1, y->data, c * out_plane + i);
            if (index) index[c * out_plane + i] = c * in_plane + index_in_order(p, sum.at < 0 ? 0 : sum.at);
        }
    return OK;
}

/* Pools of float32 in kernels ---------------------------------------------------------------------------------------------------------- */

static int64_t plane_of(const int64_t size[3]) { return size[0] * size[1] * size[2]; }

/* One window that sees all of its plane and nothing else. */
static Err pool_whole_run(Plan *plan, Step *s)
{
    const Pool *p = s->state;
    const Axis a = { s->out[0]->count, plane_of(p->in), 1 };
    const int64_t batch = s->out[0]->shape.dim[0], channels = s->out[0]->shape.dim[1];
    const bool turns = s->in[0]->panel != s->out[0]->panel;        /* by channel */
    float *y = turns ? (float *)(void *)s->scratch : s->out[0]->data;
    floats_total(plan, p->kind == POOL_MAX ? TOTAL_MOST : TOTAL_SUM, &a, s->in[0]->data, y);
    if (p->kind == POOL_AVERAGE) for (int64_t i = 0; i < a.outer; i++) y[i] /= (float)a.n;
    if (turns && s->in[0]->panel) kernels_best()->transpose_f32(y, (size_t)batch, (int)channels, (int)batch, s->out[0]->data, (size_t)channels);
    else if (turns) kernels_best()->transpose_f32(y, (size_t)channels, (int)batch, (int)channels, s->out[0]->data, (size_t)batch);
    return OK;
}

static PanelWindow pool_plane(const Pool *p)
{
    PanelWindow w = { .plane = (size_t)plane_of(p->in) };
    for (int i = 0; i < 2; i++) {
        w.in[i] = (int)p->in[i + 1]; w.out[i] = (int)p->out[i + 1]; w.kernel[i] = (int)p->kernel[i + 1];
        w.stride[i] = (int)p->stride[i + 1]; w.dilation[i] = (int)p->dilation[i + 1]; w.pad[i] = (int)p->pad[i + 1];
    }
    return w;
}

/* Large windows that move by one pixel. */
static Err pool_slide_run(Plan *plan, Step *s)
{
    const Pool *p = s->state;
    const PanelWindow w = pool_plane(p);
    int64_t planes = s->in[0]->shape.dim[0] * s->in[0]->shape.dim[1];
    size_t own = slide_scratch(&w);
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count * p->kernel[1] > PARALLEL_WORK)
    for (int64_t c = 0; c < planes; c++)
        slide_max(kernels_best(), &w, (const float *)s->in[0]->data + c * plane_of(p->in), (float *)s->scratch + own * (size_t)omp_get_thread_num(),
                  (float *)s->out[0]->data + c * plane_of(p->out));
    return OK;
}

static void pool_area(const Planes *planes, const MultiplyRun *run, const PlaneArea *a)
{
    const Pool *p = (const Pool *)planes;
    const Kernels *k = kernels_best();
    const PanelWindow w = planes_window(planes, a);
    for (int i = 0; i < a->n; i++) {
        float *y = run->y + a->at + (size_t)i * a->y_plane;
        k->pool_f32(&w, a->x + (size_t)i * a->plane, p->kind == POOL_MAX ? POOLING_MAX : POOLING_SUM, y);
        if (p->kind == POOL_AVERAGE) k->combine_f32(&(Combine){ ARITHMETIC_DIV, 1, 1 }, y, p->count + a->first * w.out[1], y, (size_t)w.out[0] * (size_t)w.out[1]);
    }
}

static Err pool_planes_run(Plan *plan, Step *s)
{
    const Pool *p = s->state;
    const PanelWindow *w = &p->planes.window;
    const MultiplyRun run = { .y = s->out[0]->data };
    int64_t planes = s->in[0]->shape.dim[0] * p->planes.outputs;
    #pragma omp parallel for num_threads(plan->threads) if (s->out[0]->count * p->kernel[1] * p->kernel[2] > PARALLEL_WORK)
    for (int64_t i = 0; i < planes; i++) {
        PlaneArea a = { .x = (const float *)s->in[0]->data + (size_t)i * w->plane, .plane = w->plane, .height = w->in[0], .end = w->out[0],
                        .m = (int)(i % p->planes.outputs), .n = 1 };
        planes_place(&p->planes, i / p->planes.outputs, &a);
        pool_area(&p->planes, &run, &a);
    }
    return OK;
}

static int64_t inside_count(const Pool *p, const int64_t o[3])
{
    int64_t count = 1;
    for (int a = 0; a < 3; a++) {
        int64_t start, lo, hi;
        inside(p, a, o[a], &start, &lo, &hi);
        count *= hi > lo ? hi - lo : 0;
    }
    return count;
}

/* What windows are divided by; one of nothing gives 0 / 1. */
static Err count_windows(Plan *plan, Pool *p)
{
    int64_t n = plane_of(p->out);
    TRY(plan_array(plan, n, sizeof *p->count, &p->count));
    for (int64_t i = 0; i < n; i++) {
        const int64_t o[3] = { 0, i / p->out[2], i % p->out[2] };
        int64_t count = p->count_pads ? padded_count(p, o) : inside_count(p, o);
        p->count[i] = count ? (float)count : 1;
    }
    return OK;
}

static bool fits_planes(const Step *s, const Pool *p)
{
    bool fits = s->in[0]->dtype == DT_F32 && p->kind != POOL_LP && !(s->n_out > 1 && s->out[1]) && p->in[0] == 1 && p->out[0] == 1 && p->kernel[0] == 1 && !p->pad[0];
    for (int i = 1; i < 3 && fits; i++) {
        const int64_t all[] = { p->in[i], p->out[i], p->kernel[i], p->stride[i], p->dilation[i], p->pad[i] };
        for (int k = 0; k < 6; k++) fits = fits && all[k] > -(1 << 20) && all[k] < 1 << 20;
    }
    return fits && plane_of(p->in) > 0 && plane_of(p->in) < INT32_MAX && plane_of(p->out) < INT32_MAX;
}

/* The loop that fits, if one does. */
static StepRun *loop_of(const Step *s, const Pool *p)
{
    if (!fits_planes(s, p)) return pool_run;
    bool whole = plane_of(p->out) == 1, slides = p->kind == POOL_MAX && p->kernel[1] * p->kernel[2] > 9;
    for (int i = 0; i < 3; i++) whole = whole && p->kernel[i] == p->in[i] && !p->pad[i] && p->dilation[i] == 1;
    for (int i = 1; i < 3; i++) slides = slides && p->stride[i] == 1 && p->dilation[i] == 1;
    return whole ? pool_whole_run : slides ? pool_slide_run : pool_planes_run;
}

static Err prepare_planes(Plan *plan, Step *s, Pool *p)
{
    p->planes = (Planes){ .window = pool_plane(p), .outputs = (int)s->in[0]->shape.dim[1], .together = 1, .area = pool_area };
    s->planes = &p->planes;
    return p->kind == POOL_AVERAGE ? count_windows(plan, p) : OK;
}

static Err pool_geometry(const Step *s, Pool *p)
{
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    int rank = x->rank - 2, first = 3 - rank;
    bool global = !strncmp(s->op->type, "Global", 6);
    Window w = { .rank = rank };
    if (rank < 1 || rank > 3) return err_set(ERR_UNSUPPORTED, "%s with %d spatial axes cannot be run (1 to 3 can).", s->op->type, rank);
    if (y->rank != x->rank) return err_set(ERR_SHAPE, "%s has an output whose shape cannot be worked out.", s->op->type);
    if (!global) TRY(window_read(s->node, rank, NULL, &w));
    for (int i = 0; i < 3; i++) p->in[i] = p->out[i] = p->kernel[i] = p->stride[i] = p->dilation[i] = 1;
    for (int i = 0; i < rank; i++) {
        int a = first + i;
        window_same_pads(&w, i, x->dim[i + 2]);
        p->in[a] = x->dim[i + 2];
        p->out[a] = y->dim[i + 2];
        p->kernel[a] = global ? p->in[a] : w.kernel[i];
        p->stride[a] = global ? 1 : w.stride[i];
        p->dilation[a] = global ? 1 : w.dilation[i];
        p->pad[a] = w.pad_begin[i];
        p->pad_end[a] = w.pad_end[i];
    }
    return OK;
}

static Err pool_read(const Step *s, Pool *p)
{
    p->kind = strstr(s->op->type, "Max") ? POOL_MAX : strstr(s->op->type, "Average") ? POOL_AVERAGE : POOL_LP;
    p->count_pads = attr_i(s->node, "count_include_pad", 0);
    p->column_major = attr_i(s->node, "storage_order", 0);
    p->p = (double)attr_i(s->node, "p", 2);
    return pool_geometry(s, p);
}

bool pool_planes(const Step *s, PanelWindow *w)
{
    Pool p = { .p = 0 };
    if (pool_read(s, &p) != OK || loop_of(s, &p) != pool_planes_run) return false;
    *w = pool_plane(&p);
    return true;
}

Err pool_prep(Plan *plan, Step *s)
{
    Pool *p;
    DType t = s->in[0]->dtype;
    TRY(plan_array(plan, 1, sizeof *p, &p));
    TRY(pool_read(s, p));
    bool fits = t == DT_F32 || t == DT_F64 || t == DT_F16 || t == DT_BF16 || (p->kind == POOL_MAX && (t == DT_U8 || t == DT_I8));
    s->state = p;
    s->run = loop_of(s, p);
    if (s->run == pool_slide_run) {
        const PanelWindow w = pool_plane(p);
        s->scratch_bytes = slide_scratch(&w) * sizeof(float) * (size_t)plan->threads;
    }
    if (s->run == pool_whole_run) {
        panels_allow(s, BY_CHANNEL, 1, 0);
        s->scratch_bytes = s->out[0]->bytes;
    }
    if (s->run == pool_planes_run) TRY(prepare_planes(plan, s, p));
    if (s->run != pool_run) TRY(floats_ready());
    return fits ? OK : step_refuse(s, "input", s->in[0]);
}

/* MaxUnpool: elements go back to the places that MaxPool's indices tell; the rest is 0. */
static Err unpool_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    const int64_t *index = s->in[1]->data;
    size_t size = (size_t)dtype_bits(x->dtype) / 8;
    (void)plan;
    memset(y->data, 0, y->bytes);
    int64_t planes_in = x->shape.dim[0] * x->shape.dim[1], in_plane = planes_in ? x->count / planes_in : 0, out_plane = planes_in ? y->count / planes_in : 0;
    /* indices count in the pooled tensor's own shape; with output_shape it may be smaller than y: place by row and column then */
    Shape pooled = x->shape;
    Window w;
    TRY(window_read(s->node, x->shape.rank - 2, NULL, &w));
    for (int i = 0; i < w.rank; i++) pooled.dim[i + 2] = (x->shape.dim[i + 2] - 1) * w.stride[i] - w.pad_begin[i] - w.pad_end[i] + w.kernel[i];
    int64_t pooled_plane = shape_span(&pooled, 2, pooled.rank);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t c = i / in_plane, rest = index[i] - c * pooled_plane, at = 0, step = 1;
        if (rest < 0 || rest >= pooled_plane) return err_set(ERR_ARG, "MaxUnpool has the index %lld outside of its output.", (long long)index[i]);
        for (int k = pooled.rank - 1; k >= 2; k--) {
            at += rest % pooled.dim[k] * step;
            rest /= pooled.dim[k];
            step *= y->shape.dim[k];
        }
        if (at >= out_plane) return err_set(ERR_ARG, "MaxUnpool has the index %lld outside of its output.", (long long)index[i]);
        memcpy((char *)y->data + (size_t)(c * out_plane + at) * size, (const char *)x->data + (size_t)i * size, size);
    }
    return OK;
}

Err unpool_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->out[0]->shape.rank < 0) return err_set(ERR_SHAPE, "MaxUnpool's output has a shape that cannot be worked out.");
    if (s->in[1]->dtype != DT_I64 || s->in[1]->count != s->in[0]->count) return err_set(ERR_SHAPE, "MaxUnpool needs one int64 index an element.");
    if (!dtype_is_float(s->in[0]->dtype) || dtype_bits(s->in[0]->dtype) < 16) return step_refuse(s, "input", s->in[0]);
    s->run = unpool_run;
    return OK;
}
