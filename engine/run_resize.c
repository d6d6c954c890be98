/* Resampling: Resize and Upsample.   https://onnx.ai/onnx/operators/onnx__Resize.html
 * Linear and cubic interpolation are separable: one axis after the other, every output coordinate a weighted sum of a few input coordinates. The axes that change
 * are done for one plane (all axes from the first of them on) at a time, which stays in cache between them. */
#include <math.h>
#include <omp.h>
#include <string.h>
#include "engine/cubic.h"
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/share.h"

enum { MAX_TAPS = 256 };

typedef enum Coordinates { HALF_PIXEL, HALF_PIXEL_SYMMETRIC, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, CROP } Coordinates;
typedef struct Resize {
    Coordinates coordinates;
    enum { NEAREST, LINEAR, CUBIC } mode;
    char rounding;                 /* nearest: p prefer floor, P prefer ceil, f floor, c ceil */
    double cubic, outside;         /* coefficient a; value outside of the cropped input */
    bool exclude_outside, antialias;
    double scale[MAX_RANK], roi[2 * MAX_RANK];
} Resize;

/* Which inputs make output i of an axis. */
typedef struct Taps { int n; bool outside; int64_t at[MAX_TAPS]; double weight[MAX_TAPS]; } Taps;

/* x / scale. To pick the nearest it is rounded to float, as scales are, so that what is meant to be whole is whole: 3 / 0.6f is 5. */
static double quotient(const Resize *r, double x, double scale) { return r->mode == NEAREST ? (double)(float)(x / scale) : x / scale; }

static double coordinate(const Resize *r, int axis, int64_t i, int64_t in, int64_t out)
{
    double x = (double)i, scale = r->scale[axis], start = r->roi[2 * axis], end = r->roi[2 * axis + 1], last = (double)(in - 1);
    double steps = scale * (double)in - 1;         /* ONNX's reference divides by the exact size, before it is rounded down */
    if (fabs(steps - (double)(out - 1)) < 1e-6) steps = (double)(out - 1);
    switch (r->coordinates) {
    case HALF_PIXEL: return quotient(r, x + 0.5, scale) - 0.5;
    case HALF_PIXEL_SYMMETRIC: {
        double exact = scale * (double)in, center = (double)in / 2;
        return center * (1 - (double)out / exact) + quotient(r, x + 0.5, scale) - 0.5;
    }
    case PYTORCH_HALF_PIXEL: return out > 1 ? quotient(r, x + 0.5, scale) - 0.5 : 0;
    case ALIGN_CORNERS: return steps != 0 ? x * last / steps : 0;
    case ASYMMETRIC: return quotient(r, x, scale);
    default: return steps != 0 ? start * last + x * (end - start) * last / steps : 0.5 * (start + end) * last;
    }
}

static double filter(const Resize *r, double d) { return r->mode == CUBIC ? cubic_weight(d, r->cubic) : fabs(d) < 1 ? 1 - fabs(d) : 0; }

static int64_t nearest(const Resize *r, double x)
{
    return (int64_t)(r->rounding == 'p' ? ceil(x - 0.5) : r->rounding == 'P' ? floor(x + 0.5) : r->rounding == 'f' ? floor(x) : ceil(x));
}

static Err taps_of(const Resize *r, int axis, int64_t i, int64_t in, int64_t out, Taps *t)
{
    double x = fmin(fmax(coordinate(r, axis, i, in, out), -0x1p40), 0x1p40), sum = 0;      /* beyond the ends all is the same; NaN is the start */
    t->outside = r->coordinates == CROP && (x < 0 || x > (double)(in - 1));
    if (r->mode == NEAREST) {
        t->n = 1;
        t->at[0] = bounded(nearest(r, x), 0, in - 1);
        t->weight[0] = 1;
        return OK;
    }
    double shrink = r->antialias && r->scale[axis] < 1 ? r->scale[axis] : 1, reach = (r->mode == CUBIC ? 2 : 1) / shrink;
    double below = fmax(floor(-reach), -MAX_TAPS) + 1;
    int64_t first = (int64_t)(floor(x) + below), last = (int64_t)(floor(x) + 1 - below);
    if (last - first >= MAX_TAPS) return err_set(ERR_UNSUPPORTED, "Resize by a factor of %g with antialias cannot be run.", r->scale[axis]);
    t->n = 0;
    for (int64_t k = first; k <= last; k++) {
        double w = filter(r, ((double)k - x) * shrink);
        if (r->exclude_outside && (k < 0 || k >= in)) w = 0;
        sum += w;
        t->at[t->n] = bounded(k, 0, in - 1);
        t->weight[t->n++] = w;
    }
    bool normalize = r->antialias || r->exclude_outside;
    for (int k = 0; normalize && k < t->n; k++) t->weight[k] /= sum;
    return OK;
}

/* What makes each output of an axis: tap k of output i is at[i * n + k]; at < 0: the value outside. */
typedef struct Table { int n, axis; int64_t out, *at; double *f64; float *f32; } Table;

/* memory: room for out * most taps in each of the three lists; ends behind them */
static Err table_of(const Resize *r, int axis, const int64_t in_out[2], char **memory, Table *t)
{
    Taps taps;
    *t = (Table){ .axis = axis, .out = in_out[1] };
    for (int64_t i = 0; i < t->out; i++) {
        TRY(taps_of(r, axis, i, in_out[0], t->out, &taps));
        if (!i) {
            t->n = taps.n;
            size_t entries = (size_t)(t->out * t->n);
            t->at = (int64_t *)*memory;
            t->f64 = (double *)(t->at + entries);
            t->f32 = (float *)(t->f64 + entries);
            *memory += entries * (sizeof *t->at + sizeof *t->f64 + sizeof(double));       /* what follows is aligned */
        }
        for (int k = 0; k < t->n; k++) {
            t->at[i * t->n + k] = taps.outside ? -1 : taps.at[k];
            t->f64[i * t->n + k] = taps.weight[k];
            t->f32[i * t->n + k] = (float)taps.weight[k];
        }
    }
    return OK;
}

/* Resamples one axis: x [outer][n][inner] -> y [outer][out][inner]. */
#define RESAMPLE(T, LIST) \
    static void mix_rows_##LIST(const Table *t, int64_t i, const T *x, int64_t inner, T *y) \
    { \
        const T *w = t->LIST + i * t->n; \
        const int64_t *at = t->at + i * t->n; \
        const T *a = x + at[0] * inner, *b = x + at[t->n - 1] * inner, first = w[0], last = t->n > 1 ? w[t->n - 1] : 0; \
        _Pragma("omp simd") for (int64_t k = 0; k < inner; k++) y[k] = first * a[k] + last * b[k]; \
        for (int n = 1; n < t->n - 1; n++) { \
            const T *row = x + at[n] * inner, weight = w[n]; \
            _Pragma("omp simd") for (int64_t k = 0; k < inner; k++) y[k] += weight * row[k]; \
        } \
    } \
    static void mix_line_##LIST(const Table *t, T outside, const T *restrict x, T *restrict y) \
    { \
        const T *w = t->LIST; \
        const int64_t *at = t->at, out = t->out, n = t->n; \
        if (n == 2) for (int64_t i = 0; i < out; i++) y[i] = at[2 * i] < 0 ? outside : w[2 * i] * x[at[2 * i]] + w[2 * i + 1] * x[at[2 * i + 1]]; \
        else for (int64_t i = 0; i < out; i++, w += n, at += n) { \
            y[i] = 0; \
            for (int64_t k = 0; k < n && at[k] >= 0; k++) y[i] += w[k] * x[at[k]]; \
            if (at[0] < 0) y[i] = outside; \
        } \
    } \
    static void resample_##LIST(const Table *t, const Axis *a, double outside, const void *from, void *to) \
    { \
        const T *x = from; \
        T *y = to; \
        for (int64_t o = 0; o < a->outer; o++, x += a->n * a->inner) { \
            if (a->inner == 1) mix_line_##LIST(t, (T)outside, x, y + o * t->out); \
            else for (int64_t i = 0; i < t->out; i++) { \
                T *row = y + (o * t->out + i) * a->inner; \
                if (t->at[i * t->n] >= 0) mix_rows_##LIST(t, i, x, a->inner, row); \
                else for (int64_t k = 0; k < a->inner; k++) row[k] = (T)outside; \
            } \
        } \
    }
RESAMPLE(float, f32)
RESAMPLE(double, f64)

static bool unchanged(const Resize *r, int axis, int64_t in, int64_t out) { return in == out && r->scale[axis] == 1 && r->coordinates != CROP; }

/* The axes that change, those that shrink most first, so that the others have least to do. */
typedef struct Passes { const Resize *r; int n, first; Table table[MAX_RANK]; Shape x, y; } Passes;

static Err passes_of(const Resize *r, const Step *s, char **memory, Passes *p)
{
    *p = (Passes){ .r = r, .x = s->in[0]->shape, .y = s->out[0]->shape, .first = s->in[0]->shape.rank };
    for (int a = p->x.rank - 1; a >= 0; a--) {
        if (unchanged(r, a, p->x.dim[a], p->y.dim[a])) continue;
        int at = p->n++;
        for (; at > 0 && r->scale[p->table[at - 1].axis] > r->scale[a]; at--) p->table[at] = p->table[at - 1];
        TRY(table_of(r, a, (const int64_t[]){ p->x.dim[a], p->y.dim[a] }, memory, &p->table[at]));
        p->first = a;
    }
    return OK;
}

/* One plane, through the two buffers in turn; float32 from and to where it lies. */
static void resize_plane(const Passes *p, const Step *s, int64_t plane, char *buffer[2])
{
    const Buffer *x = s->in[0], *y = s->out[0];
    bool single = x->dtype == DT_F32;
    int64_t in = shape_span(&p->x, p->first, p->x.rank), out = shape_span(&p->y, p->first, p->y.rank);
    const void *from = single ? (const void *)((const float *)x->data + plane * in) : buffer[0];
    Shape now = p->x;
    if (!single) elements_to_f64(x->dtype, x->data, plane * in, in, (double *)buffer[0]);
    for (int i = 0; i < p->n; i++) {
        const Table *t = &p->table[i];
        void *to = single && i == p->n - 1 ? (void *)((float *)y->data + plane * out) : buffer[(i + 1) % 2];
        const Axis a = { shape_span(&now, p->first, t->axis), now.dim[t->axis], shape_span(&now, t->axis + 1, now.rank) };
        (single ? resample_f32 : resample_f64)(t, &a, p->r->outside, from, to);
        now.dim[t->axis] = t->out;
        from = to;
    }
    if (single) return;
    double *last = (double *)buffer[p->n % 2];
    if (!dtype_is_float(y->dtype)) for (int64_t i = 0; i < out; i++) last[i] = nearbyint(last[i]);
    elements_from_f64(y->dtype, last, out, y->data, plane * out);
}

/* Elements of a plane, as large as it gets on its way. */
static int64_t plane_room(const Resize *r, const Shape *x, const Shape *y)
{
    int64_t room = 1;
    int a = 0;
    while (a < x->rank && unchanged(r, a, x->dim[a], y->dim[a])) a++;
    for (; a < x->rank; a++) room *= greater(x->dim[a], y->dim[a]);
    return room;
}

static Err interpolate(const Resize *r, const Plan *plan, Step *s)
{
    Passes p;
    char *memory = s->scratch;
    TRY(passes_of(r, s, &memory, &p));
    if (!p.n) { memcpy(s->out[0]->data, s->in[0]->data, s->out[0]->bytes); return OK; }
    int64_t planes = shape_span(&p.x, 0, p.first);
    size_t room = (size_t)plane_room(r, &p.x, &p.y) * sizeof(double);
    int threads = least(planes, plan->threads);
    #pragma omp parallel for num_threads(threads) if (s->out[0]->count > PARALLEL_WORK)
    for (int64_t plane = 0; plane < planes; plane++) {
        char *own = memory + 2 * room * (size_t)omp_get_thread_num();
        resize_plane(&p, s, plane, (char *[]){ own, own + room });
    }
    return OK;
}

/* How elements of a row are picked: element i is x[row + map[i]], or the value outside where one of both is negative. */
typedef struct Picked { const void *x, *outside; const int64_t *map; int64_t width; size_t size; bool doubles; } Picked;

#define PICK_LOOP(T) do { \
        const T *x = p->x, value = *(const T *)p->outside; \
        T *y = to; \
        for (int64_t i = 0; i < p->width; i++) y[i] = row < 0 || p->map[i] < 0 ? value : x[row + p->map[i]]; \
    } while (0)

/* Each element twice: what networks that grow their maps ask for. */
static void double_row(const uint32_t *x, void *to, int64_t n)
{
    uint64_t *y = to;
    #pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * (uint64_t)0x100000001;
}

static bool is_doubling(const int64_t *map, int64_t width)
{
    for (int64_t i = 0; i < width; i++) if (map[i] != i / 2) return false;
    return width % 2 == 0;
}

static void pick_row(const Picked *p, int64_t row, void *to)
{
    if (p->doubles && row >= 0) {
        double_row((const uint32_t *)p->x + row, to, p->width / 2);
        return;
    }
    switch (p->size) {
    case 1: PICK_LOOP(uint8_t); break;
    case 2: PICK_LOOP(uint16_t); break;
    case 4: PICK_LOOP(uint32_t); break;
    default: PICK_LOOP(uint64_t); break;
    }
}

/* Nearest: rows are picked, then elements of the row. Rows that show the same one are copies. */
static Err pick(const Resize *r, const Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    int64_t *map = (int64_t *)s->scratch, *axis[MAX_RANK], stride[MAX_RANK];
    size_t size = element_size(x->dtype);
    int last = x->shape.rank - 1;
    Taps t;
    shape_strides(&x->shape, stride);
    for (int a = 0; a <= last; a++) {
        axis[a] = map;
        for (int64_t i = 0; i < y->shape.dim[a]; i++) {
            TRY(taps_of(r, a, i, x->shape.dim[a], y->shape.dim[a], &t));
            *map++ = t.outside ? -1 : t.at[0] * stride[a];
        }
    }
    uint64_t value;
    elements_from_f64(x->dtype, &r->outside, 1, &value, 0);
    const Picked p = { x->data, &value, axis[last], y->shape.dim[last], size, size == 4 && is_doubling(axis[last], y->shape.dim[last]) };
    int64_t high = last > 0 ? y->shape.dim[last - 1] : 1, planes = y->count / (high * p.width);
    #pragma omp parallel for num_threads(plan->threads) if (y->count > PARALLEL_WORK)
    for (int64_t plane = 0; plane < planes; plane++) {
        int64_t base = 0, rest = plane;
        bool outside = false;
        for (int a = last - 2; a >= 0; a--) {
            int64_t at = axis[a][rest % y->shape.dim[a]];
            outside = outside || at < 0;
            base += at;
            rest /= y->shape.dim[a];
        }
        for (int64_t row = 0; row < high; row++) {
            char *to = (char *)y->data + (size_t)((plane * high + row) * p.width) * size;
            int64_t at = last > 0 ? axis[last - 1][row] : 0;
            if (row && at == axis[last - 1][row - 1]) memcpy(to, to - (size_t)p.width * size, (size_t)p.width * size);
            else pick_row(&p, outside || at < 0 ? -1 : base + at, to);
        }
    }
    return OK;
}

/* The scale of every axis: as given, or output size / input size. */
static Err read_scales(const Step *s, Resize *r)
{
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    bool upsample = !strcmp(s->op->type, "Upsample");
    const Buffer *scales = upsample ? (s->opset >= 9 ? s->in[1] : NULL) : s->opset < 11 ? s->in[1] : s->in[2], *roi = upsample || s->opset < 11 ? NULL : s->in[1];
    const Buffer *sizes = upsample || s->opset < 11 ? NULL : s->in[3];
    const Attr *list = node_attr(s->node, "scales");
    int64_t axes[2 * MAX_RANK];
    int n = x->rank;
    for (int i = 0; i < n; i++) { axes[i] = i; r->scale[i] = 1; r->roi[2 * i] = 0; r->roi[2 * i + 1] = 1; }
    if (node_attr(s->node, "axes")) TRY(ints_param(s, "axes", -1, axes, &n));
    bool given = (scales && scales->count) || (upsample && list), keep = !attr_s_is(s->node, "keep_aspect_ratio_policy", "stretch", true);
    double chosen = 0;
    for (int k = 0; k < n; k++) {
        int a = 0;
        double v = 1;
        TRY(axis_of(axes[k], x->rank, &a));
        if (scales && scales->count == n) v = number_at(scales, k);
        else if (!scales && list && list->kind == ATTR_FS && list->n == n) v = (double)list->fs[k];
        else if (given) return err_set(ERR_SHAPE, "%s has scales for another number of axes.", s->op->type);
        else v = x->dim[a] ? (double)y->dim[a] / (double)x->dim[a] : 1;
        if (!given && keep && sizes && sizes->count == n) {
            double size = number_at(sizes, k);
            v = size / (double)x->dim[a];
            bool larger = attr_s_is(s->node, "keep_aspect_ratio_policy", "not_smaller", false);
            chosen = !k || (larger ? v > chosen : v < chosen) ? v : chosen;
        }
        if (!(v > 0) && x->dim[a]) return err_set(ERR_SHAPE, "%s has the scale %g.", s->op->type, v);
        r->scale[a] = v;
        if (r->coordinates == CROP && roi && roi->count == 2 * n)
            for (int e = 0; e < 2; e++) elements_to_f64(roi->dtype, roi->data, k + e * n, 1, &r->roi[2 * a + e]);
    }
    for (int k = 0; chosen > 0 && k < n; k++) r->scale[axes[k] < 0 ? axes[k] + x->rank : axes[k]] = chosen;
    return OK;
}

static Err resize_run(Plan *plan, Step *s)
{
    Resize r = *(const Resize *)s->state;
    if (!s->out[0]->count) return OK;
    TRY(read_scales(s, &r));
    if (!s->in[0]->shape.rank) { memcpy(s->out[0]->data, s->in[0]->data, s->out[0]->bytes); return OK; }
    return r.mode == NEAREST ? pick(&r, plan, s) : interpolate(&r, plan, s);
}

static void read_modes(const Step *s, Resize *r)
{
    static const char *const NAME[] = { "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize" };
    const Node *n = s->node;
    bool early = s->opset < 11 || !strcmp(s->op->type, "Upsample");
    r->coordinates = early ? ASYMMETRIC : HALF_PIXEL;
    for (int i = 0; i < 6; i++) if (attr_s_is(n, "coordinate_transformation_mode", NAME[i], false)) r->coordinates = (Coordinates)i;
    r->mode = attr_s_is(n, "mode", "linear", false) || attr_s_is(n, "mode", "bilinear", false) ? LINEAR : attr_s_is(n, "mode", "cubic", false) ? CUBIC : NEAREST;
    r->rounding = early || attr_s_is(n, "nearest_mode", "floor", false) ? 'f' : attr_s_is(n, "nearest_mode", "ceil", false) ? 'c'
                : attr_s_is(n, "nearest_mode", "round_prefer_ceil", false) ? 'P' : 'p';
    r->cubic = (double)attr_f(n, "cubic_coeff_a", -0.75f);
    r->outside = (double)attr_f(n, "extrapolation_value", 0);
    r->exclude_outside = attr_i(n, "exclude_outside", 0);
    r->antialias = attr_i(n, "antialias", 0);
}

/* Bytes of tables and, for each thread, of two planes. Where the scales come with the data, all axes may have to change. */
static Err interpolation_room(const Plan *plan, const Step *s, Resize *r, size_t *bytes)
{
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    bool known = true;
    int64_t outputs = 0, room = 1;
    for (int i = 1; i < s->n_in; i++) known = known && (!s->in[i] || s->in[i]->constant);
    if (known) TRY(read_scales(s, r));
    for (int i = 0; i < x->rank; i++) {
        if (__builtin_mul_overflow(room, greater(x->dim[i], y->dim[i]), &room) || __builtin_add_overflow(outputs, y->dim[i], &outputs) ||
            room > INT64_MAX / 64 || outputs > INT64_MAX / 64 / MAX_TAPS) return err_set(ERR_NOMEM, "%s needs more memory than there is.", s->op->type);
    }
    if (known && room) {
        int64_t plane = plane_room(r, x, y);
        room = plane * least(room / plane, plan->threads);
    }
    *bytes = (size_t)outputs * (r->antialias ? MAX_TAPS : 4) * (sizeof(int64_t) + 2 * sizeof(double)) + (size_t)room * 2 * sizeof(double);
    return OK;
}

Err resize_prep(Plan *plan, Step *s)
{
    Resize *r;
    const Shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
    if (!dtype_is_real(s->in[0]->dtype) || dtype_bits(s->in[0]->dtype) < 8) return step_refuse(s, "input", s->in[0]);
    if (y->rank < 0) return err_set(ERR_SHAPE, "%s has sizes that cannot be worked out.", s->op->type);
    TRY(plan_array(plan, 1, sizeof *r, &r));
    read_modes(s, r);
    int64_t entries = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!x->dim[i] && y->dim[i]) return err_set(ERR_SHAPE, "%s cannot make something out of an empty axis.", s->op->type);
        if (__builtin_add_overflow(entries, y->dim[i], &entries) || entries > INT64_MAX / 32)
            return err_set(ERR_NOMEM, "%s needs more memory than there is.", s->op->type);
    }
    if (r->mode == NEAREST) s->scratch_bytes = (size_t)entries * sizeof(int64_t);
    else TRY(interpolation_room(plan, s, r, &s->scratch_bytes));
    s->state = r;
    s->run = resize_run;
    return OK;
}
