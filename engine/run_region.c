/* Samples from pictures at places that data gives: RoiAlign, MaxRoiPool, DeformConv, and AffineGrid, which makes such places; Col2Im, the other way.
 * https://onnx.ai/onnx/operators/onnx__RoiAlign.html , onnx__DeformConv.html , onnx__Col2Im.html */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "engine/window.h"

static void put(Buffer *y, int64_t i, double v) { elements_from_f64(y->dtype, &v, 1, y->data, i); }

static Err all_float(const Step *s, int n)
{
    for (int i = 0; i < n && i < s->n_in; i++) if (s->in[i] && !dtype_is_float(s->in[i]->dtype)) return step_refuse(s, "input", s->in[i]);
    return OK;
}

/* RoiAlign -------------------------------------------------------------------------------------------------------------------------------- */

/* The four pixels around (y, x) of a plane, and their weights; false: too far outside, all weights are 0. */
typedef struct Around { int64_t at[4]; double weight[4]; } Around;

static bool around(double y, double x, int64_t height, int64_t width, Around *a)
{
    if (!(y >= -1 && y <= (double)height && x >= -1 && x <= (double)width)) return false;
    y = y < 0 ? 0 : y > (double)(height - 1) ? (double)(height - 1) : y;
    x = x < 0 ? 0 : x > (double)(width - 1) ? (double)(width - 1) : x;
    int64_t top = (int64_t)y, left = (int64_t)x, bottom = top + 1 < height ? top + 1 : top, right = left + 1 < width ? left + 1 : left;
    double down = y - (double)top, over = x - (double)left;
    *a = (Around){ { top * width + left, top * width + right, bottom * width + left, bottom * width + right },
        { (1 - down) * (1 - over), (1 - down) * over, down * (1 - over), down * over } };
    return true;
}

typedef struct Roi { double top, left, bin_height, bin_width; int64_t rows, columns; } Roi;        /* rows x columns samples in each bin */

static Roi roi_of(const Step *s, int64_t r)
{
    double scale = (double)attr_f(s->node, "spatial_scale", 1), v[4];
    bool half = s->opset >= 16 && attr_s_is(s->node, "coordinate_transformation_mode", "half_pixel", true);
    int64_t ratio = attr_i(s->node, "sampling_ratio", 0);
    for (int i = 0; i < 4; i++) v[i] = number_at(s->in[1], r * 4 + i) * scale - (half ? 0.5 : 0);
    double width = v[2] - v[0], height = v[3] - v[1];
    if (!half && width < 1) width = 1;
    if (!half && height < 1) height = 1;
    Roi roi = { v[1], v[0], height / (double)s->out[0]->shape.dim[2], width / (double)s->out[0]->shape.dim[3], ratio, ratio };
    if (ratio <= 0) {
        roi.rows = roi.bin_height > 0 && roi.bin_height < 1e6 ? (int64_t)ceil(roi.bin_height) : 0;
        roi.columns = roi.bin_width > 0 && roi.bin_width < 1e6 ? (int64_t)ceil(roi.bin_width) : 0;
    }
    return roi;
}

static double roi_bin(const Buffer *x, int64_t plane, const Roi *roi, const int64_t bin[2], bool largest)
{
    double sum = 0;
    bool any = false;
    for (int64_t i = 0; i < roi->rows * roi->columns; i++) {
        double y = roi->top + ((double)bin[0] + ((double)(i / roi->columns) + 0.5) / (double)roi->rows) * roi->bin_height;
        double u = roi->left + ((double)bin[1] + ((double)(i % roi->columns) + 0.5) / (double)roi->columns) * roi->bin_width;
        Around a = { 0 };
        around(y, u, x->shape.dim[2], x->shape.dim[3], &a);
        for (int k = 0; k < 4; k++) {
            double v = a.weight[k] * number_at(x, plane + a.at[k]);
            if (!largest) sum += v;
            else if (!any || v > sum) { sum = v; any = true; }
        }
    }
    int64_t count = roi->rows * roi->columns;
    return largest || count < 1 ? sum : sum / (double)count;
}

static Err roi_align_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    Buffer *y = s->out[0];
    const int64_t *d = y->shape.dim, plane = x->shape.dim[2] * x->shape.dim[3];
    bool largest = attr_s_is(s->node, "mode", "max", false);
    for (int64_t r = 0; r < d[0]; r++) {
        int64_t sample = whole_at(s->in[2], r);
        if (sample < 0 || sample >= x->shape.dim[0]) return err_set(ERR_ARG, "A region belongs to sample %lld of %lld.", (long long)sample, (long long)x->shape.dim[0]);
        Roi roi = roi_of(s, r);
        #pragma omp parallel for num_threads(plan->threads)
        for (int64_t i = 0; i < d[1] * d[2] * d[3]; i++) {
            int64_t c = i / d[3] / d[2], bin[2] = { i / d[3] % d[2], i % d[3] };
            put(y, r * d[1] * d[2] * d[3] + i, roi_bin(x, (sample * d[1] + c) * plane, &roi, bin, largest));
        }
    }
    return OK;
}

Err roi_align_prep(Plan *plan, Step *s)
{
    (void)plan;
    const Shape *r = &s->in[1]->shape;
    if (s->in[0]->shape.rank != 4 || r->rank != 2 || r->dim[1] != 4 || s->in[2]->count != r->dim[0] || s->out[0]->shape.dim[2] < 1 || s->out[0]->shape.dim[3] < 1)
        return err_set(ERR_SHAPE, "The regions of a RoiAlign do not fit.");
    s->run = roi_align_run;
    return all_float(s, 2);
}

/* MaxRoiPool: regions (sample, x1, y1, x2, y2) in whole pixels ------------------------------------------------------------------------------------ */

static double roi_largest(const Buffer *x, int64_t plane, const int64_t from[2], const int64_t to[2])
{
    double most = 0;
    bool any = false;
    for (int64_t h = from[0]; h < to[0]; h++)
        for (int64_t w = from[1]; w < to[1]; w++) {
            double v = number_at(x, plane + h * x->shape.dim[3] + w);
            if (!any || v > most) most = v;
            any = true;
        }
    return most;
}

/* Pixels of bin i of n along an axis: [from, to) */
static void roi_range(const double v[2], int64_t i, int64_t n, int64_t size, int64_t *from, int64_t *to)
{
    double start = round(v[0]), length = round(v[1]) - start + 1, bin = (length < 1 ? 1 : length) / (double)n;
    double low = floor((double)i * bin) + start, high = ceil((double)(i + 1) * bin) + start;
    *from = low < 0 ? 0 : low > (double)size ? size : (int64_t)low;
    *to = high < 0 ? 0 : high > (double)size ? size : (int64_t)high;
}

static Err roi_pool_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    const int64_t *d = s->out[0]->shape.dim;
    double scale = (double)attr_f(s->node, "spatial_scale", 1);
    (void)plan;
    for (int64_t r = 0; r < d[0]; r++) {
        double v[5];
        for (int i = 0; i < 5; i++) v[i] = number_at(s->in[1], r * 5 + i) * (i ? scale : 1);
        if (!(v[0] >= 0 && v[0] < (double)x->shape.dim[0])) return err_set(ERR_ARG, "A region belongs to sample %g of %lld.", v[0], (long long)x->shape.dim[0]);
        for (int64_t i = 0; i < d[1] * d[2] * d[3]; i++) {
            int64_t from[2], to[2], plane = ((int64_t)v[0] * d[1] + i / d[3] / d[2]) * x->shape.dim[2] * x->shape.dim[3];
            roi_range((double[]){ v[2], v[4] }, i / d[3] % d[2], d[2], x->shape.dim[2], &from[0], &to[0]);
            roi_range((double[]){ v[1], v[3] }, i % d[3], d[3], x->shape.dim[3], &from[1], &to[1]);
            put(s->out[0], r * d[1] * d[2] * d[3] + i, roi_largest(x, plane, from, to));
        }
    }
    return OK;
}

Err roi_pool_prep(Plan *plan, Step *s)
{
    (void)plan;
    const Shape *r = &s->in[1]->shape;
    if (s->in[0]->shape.rank != 4 || r->rank != 2 || r->dim[1] != 5) return err_set(ERR_SHAPE, "The regions of a MaxRoiPool do not fit.");
    s->run = roi_pool_run;
    return all_float(s, 2);
}

/* DeformConv: X, W, offsets (N, G * kh * kw * 2, oh, ow), bias, mask (N, G * kh * kw, oh, ow). Each tap reads X at its own place, bilinear, 0 outside. ------ */

static double bilinear(const Buffer *x, int64_t plane, double y, double u)
{
    int64_t height = x->shape.dim[2], width = x->shape.dim[3];
    if (!(y > -1 && y < (double)height && u > -1 && u < (double)width)) return 0;
    int64_t top = (int64_t)floor(y), left = (int64_t)floor(u);
    double down = y - (double)top, over = u - (double)left, sum = 0;
    for (int k = 0; k < 4; k++) {
        int64_t h = top + k / 2, w = left + k % 2;
        double weight = (k / 2 ? down : 1 - down) * (k % 2 ? over : 1 - over);
        if (h >= 0 && h < height && w >= 0 && w < width && weight != 0) sum += weight * number_at(x, plane + h * width + w);
    }
    return sum;
}

typedef struct Deform { Window window; int64_t group, offset_groups, channels; } Deform;       /* channels: of one group of weights */

static double deform_at(const Step *s, const Deform *d, const int64_t o[4])
{
    const Buffer *x = s->in[0], *w = s->in[1], *offset = s->in[2], *mask = s->in[4];
    const int64_t *k = d->window.kernel, *y = s->out[0]->shape.dim, pixels = y[2] * y[3], pixel = o[2] * y[3] + o[3], taps = k[0] * k[1];
    int64_t all = x->shape.dim[1], first = o[1] / (y[1] / d->group) * d->channels;
    double sum = s->in[3] ? number_at(s->in[3], o[1]) : 0;
    for (int64_t c = 0; c < d->channels; c++) {
        int64_t g = (first + c) / (all / d->offset_groups), plane = (o[0] * all + first + c) * x->shape.dim[2] * x->shape.dim[3];
        for (int64_t t = 0; t < taps; t++) {
            int64_t at = (o[0] * d->offset_groups + g) * taps + t;
            double h = (double)(o[2] * d->window.stride[0] - d->window.pad_begin[0] + t / k[1] * d->window.dilation[0]) + number_at(offset, 2 * at * pixels + pixel);
            double v = (double)(o[3] * d->window.stride[1] - d->window.pad_begin[1] + t % k[1] * d->window.dilation[1])
                      + number_at(offset, (2 * at + 1) * pixels + pixel);
            sum += number_at(w, (o[1] * d->channels + c) * taps + t) * bilinear(x, plane, h, v) * (mask ? number_at(mask, at * pixels + pixel) : 1);
        }
    }
    return sum;
}

static Err deform_run(Plan *plan, Step *s)
{
    Buffer *y = s->out[0];
    const int64_t *d = y->shape.dim;
    #pragma omp parallel for num_threads(plan->threads)
    for (int64_t i = 0; i < y->count; i++) {
        const int64_t o[4] = { i / d[3] / d[2] / d[1], i / d[3] / d[2] % d[1], i / d[3] % d[2], i % d[3] };
        put(y, i, deform_at(s, s->state, o));
    }
    return OK;
}

Err deform_prep(Plan *plan, Step *s)
{
    Deform *d;
    const Shape *x = &s->in[0]->shape, *w = &s->in[1]->shape, *y = &s->out[0]->shape;
    if (x->rank != 4 || w->rank != 4) return err_set(ERR_UNSUPPORTED, "DeformConv with other than 2 spatial axes cannot be run.");
    TRY(plan_array(plan, 1, sizeof *d, &d));
    TRY(window_read(s->node, 2, w->dim + 2, &d->window));
    d->group = attr_i(s->node, "group", 1);
    d->offset_groups = attr_i(s->node, "offset_group", 1);
    d->channels = w->dim[1];
    if (d->group < 1 || d->offset_groups < 1 || d->channels * d->group != x->dim[1] || y->dim[1] % d->group || x->dim[1] % d->offset_groups)
        return err_set(ERR_SHAPE, "The groups of a DeformConv do not fit its channels.");
    int64_t places = x->dim[0] * d->offset_groups * w->dim[2] * w->dim[3] * y->dim[2] * y->dim[3];
    if (s->in[2]->count != 2 * places || (s->in[4] && s->in[4]->count != places) || (s->in[3] && s->in[3]->count != y->dim[1]))
        return err_set(ERR_SHAPE, "The offsets, mask or bias of a DeformConv do not fit.");
    s->state = d;
    s->run = deform_run;
    return all_float(s, 5);
}

/* AffineGrid: theta (N, k, k + 1) times each place of the picture, from -1 to 1 ---------------------------------------------------------------------- */

static Err affine_run(Plan *plan, Step *s)
{
    const Shape *y = &s->out[0]->shape;
    int k = y->rank - 2;
    bool corners = attr_i(s->node, "align_corners", 0);
    int64_t places = shape_span(y, 1, 1 + k);
    (void)plan;
    for (int64_t i = 0; i < y->dim[0] * places; i++) {
        double at[4] = { 0, 0, 0, 1 };                     /* x, y (, z), 1 */
        int64_t rest = i % places;
        for (int a = k - 1; a >= 0; a--) {
            int64_t n = y->dim[1 + a], p = rest % n;
            rest /= n;
            at[k - 1 - a] = corners ? (n > 1 ? 2 * (double)p / (double)(n - 1) - 1 : -1) : (2 * (double)p + 1) / (double)n - 1;
        }
        at[k] = 1;
        for (int r = 0; r < k; r++) {
            double sum = 0;
            for (int c = 0; c <= k; c++) sum += number_at(s->in[0], (i / places * k + r) * (k + 1) + c) * at[c];
            put(s->out[0], i * k + r, sum);
        }
    }
    return OK;
}

Err affine_prep(Plan *plan, Step *s)
{
    (void)plan;
    const Shape *t = &s->in[0]->shape, *y = &s->out[0]->shape;
    int k = y->rank - 2;
    if (k < 2 || k > 3 || t->rank != 3 || t->dim[1] != k || t->dim[2] != k + 1 || t->dim[0] != y->dim[0])
        return err_set(ERR_SHAPE, "The matrices of an AffineGrid do not fit.");
    s->run = affine_run;
    return all_float(s, 1);
}

/* Col2Im: columns (N, C * taps, L) added up where they were taken from -------------------------------------------------------------------------------- */

typedef struct Col { int rank; int64_t taps, places, out[MAX_RANK], block[MAX_RANK], stride[MAX_RANK], pad[MAX_RANK], dilation[MAX_RANK], steps[MAX_RANK]; } Col;

/* The pixel that tap `tap` of place `place` came from; -1: padding. */
static int64_t col_pixel(const Col *c, int64_t tap, int64_t place)
{
    int64_t at = 0, step = 1;
    for (int a = c->rank - 1; a >= 0; a--) {
        int64_t i = place % c->steps[a] * c->stride[a] - c->pad[a] + tap % c->block[a] * c->dilation[a];
        place /= c->steps[a];
        tap /= c->block[a];
        if (i < 0 || i >= c->out[a]) return -1;
        at += i * step;
        step *= c->out[a];
    }
    return at;
}

static Err col_run(Plan *plan, Step *s)
{
    const Col *c = s->state;
    const Shape *y = &s->out[0]->shape;
    int64_t plane = shape_span(y, 2, y->rank), planes = y->dim[0] * y->dim[1];
    (void)plan;
    memset(s->out[0]->data, 0, s->out[0]->bytes);
    for (int64_t i = 0; i < planes * c->taps * c->places; i++) {
        int64_t place = i % c->places, tap = i / c->places % c->taps, at = col_pixel(c, tap, place);
        if (at < 0) continue;
        at += i / c->places / c->taps * plane;
        put(s->out[0], at, number_at(s->out[0], at) + number_at(s->in[0], i));
    }
    return OK;
}

static int64_t listed(const Step *s, const char *name, int i, int64_t otherwise)
{
    const int64_t *v;
    return i < attr_is(s->node, name, &v) ? v[i] : otherwise;
}

Err col2im_prep(Plan *plan, Step *s)
{
    Col *c;
    int n_block;
    const Shape *y = &s->out[0]->shape, *x = &s->in[0]->shape;
    TRY(plan_array(plan, 1, sizeof *c, &c));
    c->rank = y->rank - 2;
    TRY(ints_of(s->in[2], c->block, MAX_RANK, &n_block));
    if (c->rank < 1 || n_block != c->rank) return err_set(ERR_SHAPE, "The block of a Col2Im does not fit its picture.");
    c->taps = c->places = 1;
    for (int a = 0; a < c->rank; a++) {
        c->out[a] = y->dim[2 + a];
        c->stride[a] = listed(s, "strides", a, 1);
        c->dilation[a] = listed(s, "dilations", a, 1);
        c->pad[a] = listed(s, "pads", a, 0);
        int64_t room = c->out[a] + c->pad[a] + listed(s, "pads", a + c->rank, 0) - c->dilation[a] * (c->block[a] - 1) - 1;
        if (c->stride[a] < 1 || c->dilation[a] < 1 || c->block[a] < 1 || room < 0) return err_set(ERR_SHAPE, "The block of a Col2Im does not fit its picture.");
        c->steps[a] = room / c->stride[a] + 1;
        c->taps *= c->block[a];
        c->places *= c->steps[a];
    }
    if (x->dim[2] != c->places || x->dim[1] != y->dim[1] * c->taps) return err_set(ERR_SHAPE, "The columns of a Col2Im do not fit its picture.");
    s->state = c;
    s->run = col_run;
    return all_float(s, 1);
}
