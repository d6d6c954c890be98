/* Resampling.     https://onnx.ai/onnx/operators/onnx__Resize.html */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <math.h>
#include <string.h>

/* floor(size * scale), and in float as the reference does, so that 3 * (1/3) rounds alike. Symbols only by whole numbers. */
static Err scale_dim(Inference *x, const Fact *scales, int i, int64_t size, int64_t *out)
{
    double v;
    *out = DIM_UNKNOWN;
    if (scales->element) return dim_arith(x, '*', size, scales->element[i], out);
    if (!fact_number(scales, i, &v) || !(v > 0 && v <= INT32_MAX)) return OK;
    if (dim_is_number(size)) {
        if (size > INT32_MAX) return err_set(ERR_SHAPE, "an axis of %lld elements is too long", (long long)size);
        *out = (int64_t)floorf((float)size * (float)v);
        return OK;
    }
    double inverse = 1 / v;                       /* a half, a quarter ... of a symbol */
    return inverse == floor(inverse) ? dim_arith(x, '/', size, (int64_t)inverse, out) : OK;
}

static Err scale_all(Inference *x, const Shape *from, const Fact *scales, const Axes *axes, Shape *to)
{
    int count = fact_count(scales);
    *to = *from;
    if (count >= 0 && count != axes->n) return err_set(ERR_SHAPE, "%d scales for %d axes", count, axes->n);
    for (int i = 0; i < axes->n; i++) {
        int64_t *d = &to->dim[axes->axis[i]];
        if (count < 0) *d = DIM_UNKNOWN;
        else TRY(scale_dim(x, scales, i, from->dim[axes->axis[i]], d));
    }
    return OK;
}

/* keep_aspect_ratio_policy: one scale for all axes, the smallest or largest, and sizes rounded half up. */
static Err keep_ratio(const Node *n, const Shape *from, const Axes *axes, Shape *to)
{
    bool larger = attr_s_is(n, "keep_aspect_ratio_policy", "not_larger", false), smaller = attr_s_is(n, "keep_aspect_ratio_policy", "not_smaller", false);
    if (!larger && !smaller) return OK;
    double scale = larger ? INFINITY : 0;
    bool known = true;
    for (int i = 0; i < axes->n; i++) {
        int a = axes->axis[i];
        known &= dim_is_number(to->dim[a]) && dim_is_number(from->dim[a]) && from->dim[a] > 0;
        double s = known ? (double)to->dim[a] / (double)from->dim[a] : 0;
        scale = larger ? fmin(scale, s) : fmax(scale, s);
    }
    for (int i = 0; i < axes->n; i++) {
        int a = axes->axis[i];
        double size = floor(scale * (double)from->dim[a] + 0.5);
        if (known && size > INT32_MAX) return err_set(ERR_SHAPE, "an axis of %g elements is too long", size);
        to->dim[a] = known ? (int64_t)size : DIM_UNKNOWN;
    }
    return OK;
}

static Err size_all(const Node *n, const Shape *from, const Fact *sizes, const Axes *axes, Shape *to)
{
    Shape given;
    TRY(shape_from_elements(sizes, 0, &given));
    if (given.rank >= 0 && given.rank != axes->n) return err_set(ERR_SHAPE, "%d sizes for %d axes", given.rank, axes->n);
    *to = *from;
    for (int i = 0; i < axes->n; i++) to->dim[axes->axis[i]] = given.rank < 0 ? DIM_UNKNOWN : given.dim[i];
    return keep_ratio(n, from, axes, to);
}

static bool is_empty(const Fact *f) { return !f || (f->shape.rank == 1 && f->shape.dim[0] == 0); }

/* Inputs X, roi, scales, sizes; in opset 10 X, scales. A scale or size list may be there and empty. */
static Err resize_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *from = &in[0]->shape;
    Axes axes;
    TRY(axes_read(n, "axes", NULL, from->rank, &axes));
    if (axes.absent) {
        axes.n = from->rank;
        for (int i = 0; i < axes.n; i++) axes.axis[i] = i;
    }
    const Fact *scales = x->opset < 11 ? in[1] : in[2];
    if (!is_empty(scales)) return scale_all(x, from, scales, &axes, &out[0].shape);
    return is_empty(in[3]) ? OK : size_all(n, from, in[3], &axes, &out[0].shape);
}

/* Scales are an input, before opset 9 an attribute (before 7 two: height_scale, width_scale). */
static Err upsample_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *from = &in[0]->shape;
    Axes axes = { .n = from->rank };
    for (int i = 0; i < axes.n; i++) axes.axis[i] = i;
    if (in[1]) return scale_all(x, from, in[1], &axes, &out[0].shape);
    const Attr *a = node_attr(n, "scales");
    double v[MAX_RANK] = { 1, 1, attr_f(n, "height_scale", 1), attr_f(n, "width_scale", 1) };
    int count = 4;
    if (a && a->kind == ATTR_FS) {
        count = a->n < MAX_RANK ? a->n : MAX_RANK;
        for (int i = 0; i < count; i++) v[i] = (double)a->fs[i];
    }
    Fact scales = { .is_tensor = true, .dtype = DT_F32, .shape = shape_of(1, (int64_t[]){ count }) };
    TRY(fact_reals(x, v, count, &scales));
    return scale_all(x, from, &scales, &axes, &out[0].shape);
}

/* X (N,C,D1..), grid (N, out sizes, number of axes) */
static Err grid_sample_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    if (!fact_shaped(in[0]) || !fact_shaped(in[1])) return OK;
    if (in[0]->shape.rank != in[1]->shape.rank) return err_set(ERR_SHAPE, "X has rank %d and the grid %d", in[0]->shape.rank, in[1]->shape.rank);
    for (int i = 2; i < in[0]->shape.rank; i++) out[0].shape.dim[i] = in[1]->shape.dim[i - 1];
    return OK;
}

/* theta (N, k, k+1), size (N, C, D1 .. Dk): (N, D1 .. Dk, k) */
static Err affine_grid_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n;
    if (in[0]) out[0].dtype = in[0]->dtype;
    Shape size;
    TRY(shape_from_elements(in[1], 0, &size));
    if (size.rank < 3) return OK;
    Shape s = { .rank = size.rank, .dim = { size.dim[0] } };
    memcpy(s.dim + 1, size.dim + 2, (size_t)(size.rank - 2) * sizeof *s.dim);
    s.dim[s.rank - 1] = size.rank - 2;
    out[0].shape = s;
    return OK;
}

const Op op_AffineGrid = { "AffineGrid", "", 20, 2, 2, 1, 1, .infer = affine_grid_infer, .prep = affine_prep };
const Op op_GridSample = { "GridSample", "", 16, 2, 2, 1, 1, .infer = grid_sample_infer, .prep = grid_prep };
const Op op_Resize = { "Resize", "", 10, 1, 4, 1, 1, .infer = resize_infer, .prep = resize_prep, };
const Op op_Upsample = { "Upsample", "", 1, 1, 2, 1, 1, .infer = upsample_infer, .prep = resize_prep, };
