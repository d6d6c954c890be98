/* Operators that join, cut and pad along axes. */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

/* ---- Concat ---- */

static Err concat_elements(Inference *x, int n, const Fact *const *in, int axis, Fact *out)
{
    int64_t count, outer = 1;
    int known = 0;
    for (int i = 0; i < n; i++) known += in[i] && fact_count(in[i]) >= 0;
    if (!known || !shape_known(&out->shape) || shape_count(&out->shape, &count) != OK || count > INFER_ELEMENTS) return OK;
    for (int i = 0; i < axis; i++) outer *= out->shape.dim[i];
    double *v = arena_array(x->arena, (size_t)count, sizeof *v);
    int64_t *element;
    TRY(fact_elements(x, out, &element));
    if (!v || !element) return v ? OK : err_set(ERR_NOMEM, "out of memory");
    bool fractions = false, symbols = false;
    int64_t row = outer ? count / outer : 0, at = 0;
    for (int i = 0; i < n; i++) {
        int64_t part;
        if (!in[i] || !shape_known(&in[i]->shape) || shape_count(&in[i]->shape, &part) != OK) return OK;
        int64_t width = outer ? part / outer : 0;
        for (int64_t k = 0; k < part; k++) {
            int64_t to = k / width * row + at + k % width;
            if (in[i]->element) element[to] = in[i]->element[k];
            symbols |= !fact_number(in[i], (int)k, &v[to]);
            fractions |= in[i]->real != NULL;
        }
        at += width;
    }
    if (fractions && symbols) return OK;
    if (fractions) return fact_reals(x, v, (int)count, out);
    out->element = element;
    return OK;
}

static Err concat_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Shape s = { .rank = -1 };
    int axis = 0;
    bool all = true;
    for (int i = 0; i < n->n_in; i++) {
        if (in[i] && out[0].dtype == DT_NONE) out[0].dtype = in[i]->dtype;
        all &= fact_shaped(in[i]);
        if (!fact_shaped(in[i])) continue;
        const Shape *part = &in[i]->shape;
        bool first = s.rank < 0;
        if (first) {
            TRY(axis_read(attr_i(n, "axis", 1), part->rank, &axis));         /* 1: default before opset 4 */
            s = *part;
            continue;
        }
        if (part->rank != s.rank) return err_set(ERR_SHAPE, "inputs of rank %d and %d", s.rank, part->rank);
        for (int k = 0; k < s.rank; k++) {
            if (k == axis) TRY(dim_arith(x, '+', s.dim[k], part->dim[k], &s.dim[k]));
            else TRY(dim_merge(s.dim[k], part->dim[k], &s.dim[k]));
        }
    }
    if (s.rank < 0) return OK;
    if (!all) s.dim[axis] = DIM_UNKNOWN;
    out[0].shape = s;
    return all ? concat_elements(x, n->n_in, in, axis, &out[0]) : OK;
}

/* ---- Split ---- */

/* Sizes along the axis: attribute or input, else equal parts; with num_outputs the last one may be smaller. */
static Err split_sizes(Inference *x, const Node *n, const Fact *given, int64_t total, int64_t *size)
{
    const int64_t *v = NULL;
    int count = attr_is(n, "split", &v);
    if (!count && given) {
        v = fact_ints(given);
        count = fact_count(given);
    }
    for (int i = 0; i < n->n_out; i++) size[i] = DIM_UNKNOWN;
    if (v && count >= 0 && count != n->n_out && (given || count)) return err_set(ERR_SHAPE, "%d sizes for %d outputs", count, n->n_out);
    if (given || count) {
        int64_t sum;
        for (int i = 0; v && i < count; i++) size[i] = v[i];
        for (int i = 0; i < n->n_out; i++)
            if (dim_is_number(size[i]) && size[i] < 0) return err_set(ERR_SHAPE, "a part has size %lld", (long long)size[i]);
        sum = 0;
        for (int i = 0; i < n->n_out; i++) TRY(dim_arith(x, '+', sum, size[i], &sum));
        return dim_differ(sum, total) ? err_set(ERR_SHAPE, "parts of %lld from a size of %lld", (long long)sum, (long long)total) : OK;
    }
    int64_t part, rest = total;
    TRY(dim_arith(x, node_attr(n, "num_outputs") ? 'c' : '/', total, n->n_out, &part));
    for (int i = 0; i < n->n_out; i++) {
        size[i] = i + 1 < n->n_out ? part : rest;
        TRY(dim_arith(x, '-', rest, part, &rest));
    }
    return OK;
}

static Err split_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    for (int i = 0; i < n->n_out && in[0]; i++) out[i].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    int axis;
    TRY(axis_read(attr_i(n, "axis", 0), in[0]->shape.rank, &axis));
    int64_t *size = arena_array(x->arena, (size_t)n->n_out, sizeof *size), stride[MAX_RANK], base = 0;
    if (!size) return err_set(ERR_NOMEM, "out of memory");
    TRY(split_sizes(x, n, in[1], in[0]->shape.dim[axis], size));
    bool follow = fact_count(in[0]) >= 0;
    if (follow) shape_strides(&in[0]->shape, stride);
    for (int i = 0; i < n->n_out; i++) {
        out[i].shape = in[0]->shape;
        out[i].shape.dim[axis] = size[i];
        follow &= dim_is_number(size[i]) && size[i] >= 0 && size[i] <= in[0]->shape.dim[axis];
        if (!follow) continue;
        TRY(follow_strided(x, in[0], base, stride, &out[i]));
        base += size[i] * stride[axis];
    }
    return OK;
}

/* ---- Slice ---- */

enum { TO_THE_END = 1000000 };     /* exporters write such numbers for "all the rest": 10^9, 2^31 - 1, 2^63 - 1 */

/* A bound of a slice as a position in [low, size + low], low -1 for a slice that runs backwards. A symbolic size is taken to reach the start. */
static Err clamp_bound(Inference *x, int64_t at, int64_t size, int64_t low, bool is_end, int64_t *out)
{
    bool number = dim_is_number(at), negative = number ? at < 0 : dim_at_least(x, 0, at);
    int64_t top;
    TRY(dim_arith(x, '+', size, low, &top));
    if (number && at >= (dim_is_number(size) ? INT32_MAX : TO_THE_END)) at = top;
    else if (number && at <= -INT32_MAX) at = low;
    else if (negative) TRY(dim_arith(x, '+', at, size, &at));
    else if (number && is_end && dim_is_symbol(size)) TRY(dim_arith(x, 'm', at, size, &at));
    if (dim_is_number(at) && at < low) at = low;
    *out = dim_at_least(x, at, top) ? top : at;
    return OK;
}

/* One axis: how many elements, where they start. */
typedef struct Cut { int64_t start, end, step, count, first; } Cut;

static Err slice_axis(Inference *x, int64_t size, Cut *c)
{
    c->count = c->first = DIM_UNKNOWN;
    if (dim_is_symbol(c->step) || c->start == DIM_UNKNOWN || c->end == DIM_UNKNOWN) return OK;
    if (c->step == 0) return err_set(ERR_SHAPE, "a step is 0");
    int64_t low = c->step < 0 ? -1 : 0, last, span;
    TRY(clamp_bound(x, c->start, size, low, false, &c->first));
    TRY(clamp_bound(x, c->end, size, low, true, &last));
    TRY(dim_arith(x, '-', last, c->first, &span));
    TRY(dim_arith(x, 'c', span, c->step, &c->count));
    if (dim_is_number(c->count) ? c->count < 0 : dim_at_least(x, 0, c->count)) c->count = 0;
    return OK;
}

/* The lists starts, ends, axes, steps: inputs 1 to 4, before opset 10 attributes. */
typedef struct Lists { int n; const int64_t *start, *end, *step; Axes axes; bool unknown; } Lists;

static Err read_slice(const Node *n, const Fact *const *in, int rank, Lists *l)
{
    *l = (Lists){ 0 };
    int n_start, n_end;
    if (in[1] || in[2]) {
        l->start = fact_ints(in[1]), l->end = fact_ints(in[2]), l->step = fact_ints(in[4]);
        n_start = fact_count(in[1]), n_end = fact_count(in[2]);
        l->unknown = in[4] && !l->step;
        if (in[4] && l->step && fact_count(in[4]) != n_start && n_start >= 0) return err_set(ERR_SHAPE, "starts and steps differ in length");
    } else {
        n_start = attr_is(n, "starts", &l->start), n_end = attr_is(n, "ends", &l->end);
    }
    TRY(axes_read(n, "axes", in[3], rank, &l->axes));
    if (n_start < 0 || n_end < 0) l->unknown = true;
    if (!l->unknown && n_start != n_end) return err_set(ERR_SHAPE, "starts and ends differ in length");
    l->n = n_start >= 0 ? n_start : l->axes.n;
    if (l->axes.absent) {
        l->n = l->n < 0 ? rank : l->n;
        if (l->n > rank) return err_set(ERR_SHAPE, "%d starts for rank %d", l->n, rank);
        for (int i = 0; i < l->n; i++) l->axes.axis[i] = i;
        l->axes.n = l->n;
    }
    if (l->axes.n >= 0 && l->axes.n != l->n) return err_set(ERR_SHAPE, "starts and axes differ in length");
    return OK;
}

static Err slice_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *s = &in[0]->shape;
    Lists l;
    TRY(read_slice(n, in, s->rank, &l));
    if (l.axes.n < 0) {
        out[0].shape = shape_unknown_dims(s->rank);
        return OK;
    }
    out[0].shape = *s;
    int64_t stride[MAX_RANK], base = 0;
    bool follow = fact_count(in[0]) >= 0;
    if (follow) shape_strides(s, stride);
    for (int i = 0; i < l.n; i++) {
        int axis = l.axes.axis[i];
        bool known = !l.unknown && l.start && l.end;
        Cut c = { DIM_UNKNOWN, DIM_UNKNOWN, l.step && known ? l.step[i] : 1, DIM_UNKNOWN, DIM_UNKNOWN };
        if (known) c.start = l.start[i], c.end = l.end[i];
        TRY(slice_axis(x, s->dim[axis], &c));
        out[0].shape.dim[axis] = c.count;
        follow &= dim_is_number(c.count) && dim_is_number(c.first);
        if (!follow) continue;
        base += c.first * stride[axis];
        stride[axis] = c.count > 1 ? stride[axis] * c.step : 0;
    }
    return follow ? follow_strided(x, in[0], base, stride, &out[0]) : OK;
}

/* ---- Pad ---- */

/* pads holds the begins of all axes, then their ends. */
static Err pad_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *s = &in[0]->shape;
    const int64_t *pad;
    int count = attr_is(n, "pads", &pad);
    Axes axes = { .n = s->rank };
    for (int i = 0; i < s->rank; i++) axes.axis[i] = i;
    if (in[3]) TRY(axes_read(n, "", in[3], s->rank, &axes));
    if (in[1]) {
        pad = fact_ints(in[1]);
        count = fact_count(in[1]);
    }
    out[0].shape = shape_unknown_dims(s->rank);
    if (axes.n < 0) return OK;
    bool padded[MAX_RANK] = { false };
    for (int i = 0; i < axes.n; i++) padded[axes.axis[i]] = true;
    for (int i = 0; i < s->rank; i++)
        if (!padded[i]) out[0].shape.dim[i] = s->dim[i];
    if (count < 0 || !pad) return OK;
    if (count != 2 * axes.n) return err_set(ERR_SHAPE, "%d pads for %d axes", count, axes.n);
    for (int i = 0; i < axes.n; i++) {
        int64_t *d = &out[0].shape.dim[axes.axis[i]];
        TRY(dim_arith(x, '+', s->dim[axes.axis[i]], pad[i], d));
        TRY(dim_arith(x, '+', *d, pad[i + axes.n], d));
    }
    return OK;
}

/* Sizes along the axes become those of the second input. */
static Err crop_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    if (!fact_shaped(in[0])) return OK;
    int rank = in[0]->shape.rank;
    Axes axes;
    TRY(axes_read(n, "axes", NULL, rank, &axes));
    Shape target;
    TRY(shape_from_elements(in[1], 0, &target));
    if (axes.absent) axes.n = rank;
    for (int i = 0; i < axes.n; i++) out[0].shape.dim[axes.absent ? i : axes.axis[i]] = i < target.rank ? target.dim[i] : DIM_UNKNOWN;
    return OK;
}

/* (N, C * product of the block, L) to (N, C, image) */
static Err col2im_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (in[0]) out[0].dtype = in[0]->dtype;
    Shape image, block;
    TRY(shape_from_elements(in[1], 0, &image));
    TRY(shape_from_elements(in[2], 0, &block));
    if (!fact_shaped(in[0]) || in[0]->shape.rank != 3 || image.rank < 0 || image.rank + 2 > MAX_RANK) return OK;
    Shape s = { .rank = image.rank + 2, .dim = { in[0]->shape.dim[0], DIM_UNKNOWN } };
    int64_t size = DIM_UNKNOWN;
    if (block.rank >= 0) TRY(dim_product(x, block.dim, block.rank, &size));
    TRY(dim_arith(x, '/', in[0]->shape.dim[1], size, &s.dim[1]));
    memcpy(s.dim + 2, image.dim, (size_t)image.rank * sizeof *image.dim);
    out[0].shape = s;
    return OK;
}

const Op op_CenterCropPad = { "CenterCropPad", "", 18, 2, 2, 1, 1, .infer = crop_infer, .prep = center_prep };
const Op op_Col2Im = { "Col2Im", "", 18, 3, 3, 1, 1, .infer = col2im_infer, .prep = col2im_prep };
const Op op_Concat = { "Concat", "", 1, 1, -1, 1, 1, .infer = concat_infer, .prep = concat_prep, };
const Op op_Pad = { "Pad", "", 2, 1, 4, 1, 1, .infer = pad_infer, .prep = pad_prep, };
const Op op_Slice = { "Slice", "", 1, 1, 5, 1, 1, .infer = slice_infer, .prep = slice_prep, };
const Op op_Split = { "Split", "", 1, 1, 2, 1, -1, .infer = split_infer, .prep = split_prep, };
