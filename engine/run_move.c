/* Operators that move elements and do not compute: Transpose, Concat, Split, Slice, Expand, Tile, Pad, DepthToSpace and the views. */
#include <string.h>
#include "engine/element.h"
#include "engine/list.h"
#include "engine/move.h"
#include "engine/panels.h"
#include "engine/run_ops.h"
#include "kernels/whole.h"

size_t element_size(DType t) { return t == DT_STRING ? sizeof(Span) : (size_t)dtype_bits(t) / 8; }

Err movable(const Step *s, const Buffer *b) { return element_size(b->dtype) ? OK : step_refuse(s, "input", b); }

Err axis_of(int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank) return err_set(ERR_SHAPE, "Axis %lld does not exist in a tensor of rank %d.", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return OK;
}

Err index_of(int64_t index, int64_t size, int64_t *out)
{
    if (index < -size || index >= size) return err_set(ERR_ARG, "The index %lld is out of range for an axis of size %lld.", (long long)index, (long long)size);
    *out = index < 0 ? index + size : index;
    return OK;
}

Err ints_of(const Buffer *b, int64_t *v, int max, int *n)
{
    if (!dtype_is_whole(b->dtype) || b->count > max) return err_set(ERR_SHAPE, "The input '%s' should hold at most %d integers.", b->name, max);
    elements_to_i64(b->dtype, b->data, 0, b->count, v);
    *n = (int)b->count;
    return OK;
}

Err ints_param(const Step *s, const char *name, int i, int64_t v[2 * MAX_RANK], int *n)
{
    const int64_t *list;
    const Attr *a = name ? node_attr(s->node, name) : NULL;
    *n = -1;
    if (a && a->kind == ATTR_IS) {
        *n = attr_is(s->node, name, &list);
        if (*n > 2 * MAX_RANK) return err_set(ERR_SHAPE, "The attribute %s has too many elements.", name);
        memcpy(v, list, (size_t)*n * sizeof *v);
        return OK;
    }
    return i >= 0 && i < s->n_in && s->in[i] ? ints_of(s->in[i], v, 2 * MAX_RANK, n) : OK;
}

/* Views ----------------------------------------------------------------------------------------------------------------------------- */

static bool has_channels(const Buffer *b) { return b->dtype == DT_F32 && b->shape.rank > 2; }

static Err identity_run(Plan *plan, Step *s) { return step_value(plan, s, 0, s->in[0]); }

/* Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same elements under another shape. */
Err view_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->list) {
        s->run = identity_run;
        return OK;
    }
    if (s->out[0]->shape.rank >= 0 && s->out[0]->count != s->in[0]->count)
        return err_set(ERR_SHAPE, "%lld elements cannot take a shape of %lld.", (long long)s->in[0]->count, (long long)s->out[0]->count);
    step_view(s, 0, 0, 0);
    if (has_channels(s->in[0]) && shape_equal(&s->in[0]->shape, &s->out[0]->shape)) panels_allow(s, BY_CHANNEL, 0, 1);
    s->run = view_run;
    return OK;
}

static Err dropout_run(Plan *plan, Step *s)
{
    if (s->out[1]) memset(s->out[1]->data, s->opset >= 12, s->out[1]->bytes);
    return view_run(plan, s);
}

/* Inference only: y = x, mask all true. Before opset 12 ONNX does not say what the mask is; it is 0 as ONNX Runtime's, before 10 of x's type. */
Err dropout_prep(Plan *plan, Step *s)
{
    const Buffer *training = s->opset >= 12 && s->n_in > 2 ? s->in[2] : NULL;
    if (training && !(training->constant && training->count == 1 && !*(const uint8_t *)training->data))
        return err_set(ERR_UNSUPPORTED, "Dropout in training mode cannot be run (node '%s').", s->node->name);
    if (s->out[1] && (!dtype_is_real(s->out[1]->dtype) || dtype_bits(s->out[1]->dtype) < 8)) return step_refuse(s, "mask", s->out[1]);
    TRY(view_prep(plan, s));
    s->run = dropout_run;
    return OK;
}

/* Copies with a pattern --------------------------------------------------------------------------------------------------------------- */

static Err transpose_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    const int64_t *perm;
    int64_t from[MAX_RANK], to[MAX_RANK];
    int n = attr_is(s->node, "perm", &perm), rank = x->shape.rank;
    Copy c = { 0 };
    shape_strides(&x->shape, from);
    shape_strides(&y->shape, to);
    for (int i = 0; i < rank; i++) copy_axis(&c, y->shape.dim[i], from[n ? perm[i] : rank - 1 - i], to[i]);
    if (y->count) copy_strided(plan, &c, x->data, y->data, element_size(x->dtype));
    return OK;
}

Err transpose_prep(Plan *plan, Step *s)
{
    const int64_t *perm;
    int n = attr_is(s->node, "perm", &perm), rank = s->in[0]->shape.rank;
    unsigned seen = 0;
    (void)plan;
    for (int i = 0; i < n; i++) if (perm[i] >= 0 && perm[i] < rank) seen |= 1u << perm[i];
    if (n && (n != rank || seen != (1u << rank) - 1)) return err_set(ERR_SHAPE, "perm is not a permutation of %d axes.", rank);
    s->run = transpose_run;
    return movable(s, s->in[0]);
}

static Err concat_run(Plan *plan, Step *s)
{
    Buffer *y = s->out[0];
    int axis = 0;
    TRY(axis_of(attr_i(s->node, "axis", 1), y->shape.rank, &axis));
    size_t size = element_size(y->dtype);
    int64_t outer = shape_span(&y->shape, 0, axis), inner = shape_span(&y->shape, axis + 1, y->shape.rank), at = 0;
    if (y->panel == BY_CHANNEL) {
        inner *= outer;
        outer = 1;
    }
    const int64_t row = inner * y->shape.dim[axis];
    for (int k = 0; k < s->n_in; k++) {
        int64_t width = s->in[k]->shape.dim[axis] * inner;
        char *to = (char *)y->data + (size_t)at * size;
        Copy c = { 0 };
        copy_axis(&c, outer, width, row);
        copy_axis(&c, width, 1, 1);
        if (outer && width && s->in[k]->data != to) copy_strided(plan, &c, s->in[k]->data, to, size);
        at += width;
    }
    return OK;
}

Err concat_prep(Plan *plan, Step *s)
{
    int axis = 0;
    (void)plan;
    for (int k = 0; k < s->n_in; k++) {
        if (!s->in[k] || s->in[k]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "Concat has operands of different types.");
        TRY(movable(s, s->in[k]));
    }
    TRY(axis_of(attr_i(s->node, "axis", 1), s->in[0]->shape.rank, &axis));
    s->joins = shape_span(&s->in[0]->shape, 0, axis) == 1;
    s->joins_channels = axis == 1 && s->n_in < 32 && has_channels(s->in[0]);
    if (s->joins_channels) panels_allow(s, BY_CHANNEL, 0, (1u << s->n_in) - 1);
    s->run = concat_run;
    return OK;
}

static Err split_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int axis = 0;
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    size_t size = element_size(x->dtype);
    int64_t outer = shape_span(&x->shape, 0, axis), inner = shape_span(&x->shape, axis + 1, x->shape.rank), row = inner * x->shape.dim[axis], at = 0;
    int64_t each = (x->shape.dim[axis] + s->n_out - 1) / s->n_out;
    for (int k = 0; k < s->n_out; k++) {
        if (!s->out[k]) { at += each * inner; continue; }
        int64_t width = s->out[k]->shape.dim[axis] * inner;
        Copy c = { 0 };
        copy_axis(&c, outer, row, width);
        copy_axis(&c, width, 1, 1);
        if (outer && width) copy_strided(plan, &c, (const char *)x->data + (size_t)at * size, s->out[k]->data, size);
        at += width;
    }
    return OK;
}

/* Along an axis with only sizes of 1 before it, the outputs are pieces of the input. */
static Err split_views(Step *s)
{
    size_t at = 0;
    for (int k = 0; k < s->n_out; k++) {
        if (!s->out[k]) continue;
        step_view(s, k, 0, at);
        at += s->out[k]->bytes;
    }
    s->run = view_run;
    return OK;
}

Err split_prep(Plan *plan, Step *s)
{
    int axis = 0;
    bool all = true;
    (void)plan;
    for (int k = 0; k < s->n_out; k++)
        if (!s->out[k] && (s->n_in > 1 || node_attr(s->node, "split"))) return err_set(ERR_UNSUPPORTED, "Split with outputs left out and given sizes cannot be run.");
    for (int k = 0; k < s->n_out; k++) all = all && s->out[k];
    TRY(movable(s, s->in[0]));
    TRY(axis_of(attr_i(s->node, "axis", 0), s->in[0]->shape.rank, &axis));
    if (all && shape_span(&s->in[0]->shape, 0, axis) == 1) return split_views(s);
    s->run = split_run;
    return OK;
}

/* The elements that start:end:step of Python takes from an axis of `size`. */
static void slice_axis(int64_t size, int64_t start, int64_t end, int64_t step, int64_t *first, int64_t *count)
{
    int64_t distance;
    if (start < 0) start += size;
    if (end < 0) end = end < -size ? -1 : end + size;
    if (step > 0) {
        *first = bounded(start, 0, size);
        distance = bounded(end, 0, size) - *first;
    } else {
        *first = bounded(start, -1, size - 1);
        distance = *first - bounded(end, -1, size - 1);
    }
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    *count = distance > 0 ? (int64_t)((uint64_t)(distance - 1) / stride) + 1 : 0;
}

Err slice_view(const Step *s, const SliceView *from, SliceView *v)
{
    int64_t start[2 * MAX_RANK], end[2 * MAX_RANK], axes[2 * MAX_RANK], steps[2 * MAX_RANK];
    int n, n_end, n_axes, n_steps;
    TRY(ints_param(s, "starts", 1, start, &n));
    TRY(ints_param(s, "ends", 2, end, &n_end));
    TRY(ints_param(s, "axes", 3, axes, &n_axes));
    TRY(ints_param(s, NULL, 4, steps, &n_steps));
    if (n < 0 || n != n_end || (n_axes >= 0 && n_axes != n) || (n_steps >= 0 && n_steps != n)) return err_set(ERR_SHAPE, "Slice has lists of different lengths.");
    bool taken[MAX_RANK] = { 0 };
    *v = *from;
    for (int i = 0; i < n; i++) {
        int a = 0;
        int64_t first, step = n_steps >= 0 ? steps[i] : 1;
        TRY(axis_of(n_axes >= 0 ? axes[i] : i, from->shape.rank, &a));
        if (!step) return err_set(ERR_SHAPE, "Slice has a step of 0.");
        if (taken[a]) return err_set(ERR_SHAPE, "Slice names axis %d twice.", a);
        taken[a] = true;
        slice_axis(from->shape.dim[a], start[i], end[i], step, &first, &v->shape.dim[a]);
        v->offset += first * from->stride[a];
        v->stride[a] = v->shape.dim[a] > 1 ? from->stride[a] * step : 0;
    }
    return OK;
}

SliceView slice_whole(const Buffer *x)
{
    SliceView v = { .shape = x->shape };
    shape_strides(&x->shape, v.stride);
    return v;
}

Err slice_take(Plan *plan, Step *s, const SliceView *v)
{
    const Buffer *x = s->in[0];
    Copy c = { .rank = v->shape.rank };
    TRY(step_output(plan, s, 0, x->dtype, &v->shape));
    shape_strides(&v->shape, c.to);
    memcpy(c.from, v->stride, sizeof v->stride);
    memcpy(c.dim, v->shape.dim, sizeof v->shape.dim);
    size_t size = element_size(x->dtype);
    if (s->out[0]->count) copy_strided(plan, &c, (const char *)x->data + v->offset * (int64_t)size, s->out[0]->data, size);
    return OK;
}

static Err slice_run(Plan *plan, Step *s)
{
    const SliceView whole = slice_whole(s->in[0]);
    SliceView v;
    TRY(slice_view(s, &whole, &v));
    return slice_take(plan, s, &v);
}

bool slice_known(const Step *s)
{
    for (int i = 1; i < s->n_in; i++) if (s->in[i] && !s->in[i]->constant) return false;
    return !s->late && s->out[0]->shape.rank >= 0;
}

/* Whether the elements lie one behind another in the input. */
static bool is_contiguous(const SliceView *v)
{
    int64_t dense = 1;
    for (int i = v->shape.rank - 1; i >= 0; i--) {
        if (v->shape.dim[i] > 1 && v->stride[i] != dense) return false;
        dense *= v->shape.dim[i];
    }
    return true;
}

void slice_share(Step *s, const SliceView *v)
{
    if (!shape_equal(&v->shape, &s->out[0]->shape) || !s->out[0]->count || !is_contiguous(v)) return;
    step_view(s, 0, 0, (size_t)v->offset * element_size(s->in[0]->dtype));
    s->run = view_run;
}

Err slice_prep(Plan *plan, Step *s)
{
    SliceView v;
    (void)plan;
    TRY(movable(s, s->in[0]));
    s->run = slice_run;
    if (!slice_known(s)) return OK;
    const SliceView whole = slice_whole(s->in[0]);
    TRY(slice_view(s, &whole, &v));
    slice_share(s, &v);
    return OK;
}

/* Expand: the input repeated along axes of size 1. */
static Err expand_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    int64_t from[MAX_RANK], to[MAX_RANK];
    Copy c = { 0 };
    shape_strides(&x->shape, from);
    shape_strides(&y->shape, to);
    for (int i = 0; i < y->shape.rank; i++) {
        int j = i - (y->shape.rank - x->shape.rank);
        copy_axis(&c, y->shape.dim[i], j < 0 || x->shape.dim[j] == 1 ? 0 : from[j], to[i]);
    }
    if (y->count) copy_strided(plan, &c, x->data, y->data, element_size(x->dtype));
    return OK;
}

Err expand_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = expand_run;
    return movable(s, s->in[0]);
}

static Err tile_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *y = s->out[0];
    int64_t from[MAX_RANK], to[MAX_RANK];
    Copy c = { 0 };
    shape_strides(&x->shape, from);
    shape_strides(&y->shape, to);
    for (int i = 0; i < y->shape.rank; i++) {
        if (!x->shape.dim[i]) return OK;
        copy_axis(&c, y->shape.dim[i] / x->shape.dim[i], 0, to[i] * x->shape.dim[i]);
        copy_axis(&c, x->shape.dim[i], from[i], to[i]);
    }
    if (y->count) copy_strided(plan, &c, x->data, y->data, element_size(x->dtype));
    return OK;
}

Err tile_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = tile_run;
    return movable(s, s->in[0]);
}

/* DepthToSpace: channel (b1,b2,c) of DCR or (c,b1,b2) of CRD goes to pixel (h*b + b1, w*b + b2). SpaceToDepth is the inverse of DCR. */
static Err depth_space_run(Plan *plan, Step *s)
{
    bool to_space = !strcmp(s->op->type, "DepthToSpace"), crd = to_space && attr_s_is(s->node, "mode", "CRD", false);
    const Buffer *deep = to_space ? s->in[0] : s->out[0], *wide = to_space ? s->out[0] : s->in[0];
    int64_t b = attr_i(s->node, "blocksize", 1), n = deep->shape.dim[0], c = wide->shape.dim[1], h = deep->shape.dim[2], w = deep->shape.dim[3];
    int64_t plane = h * w, row = w * b;
    Copy copy = { 0 };
    copy_axis(&copy, n, c * b * b * plane, c * b * b * plane);
    copy_axis(&copy, c, (crd ? b * b : 1) * plane, b * h * row);
    copy_axis(&copy, h, w, b * row);
    copy_axis(&copy, b, (crd ? b : b * c) * plane, row);
    copy_axis(&copy, w, 1, b);
    copy_axis(&copy, b, (crd ? 1 : c) * plane, 1);
    if (!to_space) for (int i = 0; i < copy.rank; i++) { int64_t t = copy.from[i]; copy.from[i] = copy.to[i]; copy.to[i] = t; }
    if (deep->count) copy_strided(plan, &copy, s->in[0]->data, s->out[0]->data, element_size(deep->dtype));
    return OK;
}

Err depth_space_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->shape.rank != 4) return err_set(ERR_SHAPE, "%s needs an input of rank 4.", s->op->type);
    s->run = depth_space_run;
    return movable(s, s->in[0]);
}

/* Pad ------------------------------------------------------------------------------------------------------------------------------- */

/* The input index that output index i of an axis shows; -1: the constant. */
static int64_t pad_index(const char *mode, int64_t i, int64_t size)
{
    if (i >= 0 && i < size) return i;
    if (!size || *mode == 'c') return -1;
    if (*mode == 'e') return i < 0 ? 0 : size - 1;
    if (*mode == 'w') return (i % size + size) % size;
    if (size == 1) return 0;
    int64_t period = 2 * (size - 1), at = (i % period + period) % period;      /* reflect: the border itself is not repeated */
    return at < size ? at : period - at;
}

static Err pads_of(const Step *s, int rank, int64_t before[MAX_RANK], int64_t after[MAX_RANK])
{
    int64_t pads[2 * MAX_RANK], axes[2 * MAX_RANK];
    int n, n_axes;
    memset(before, 0, MAX_RANK * sizeof *before);
    memset(after, 0, MAX_RANK * sizeof *after);
    TRY(ints_param(s, "pads", 1, pads, &n));
    TRY(ints_param(s, NULL, 3, axes, &n_axes));
    int each = n_axes >= 0 ? n_axes : rank;
    if (n != 2 * each) return err_set(ERR_SHAPE, "Pad has %d pads, expected %d.", n, 2 * each);
    for (int i = 0; i < each; i++) {
        int a = 0;
        TRY(axis_of(n_axes >= 0 ? axes[i] : i, rank, &a));
        before[a] = pads[i];
        after[a] = pads[each + i];
    }
    return OK;
}

void repeat_element(void *to, const void *value, int64_t n, size_t size)
{
    if (n) memcpy(to, value, size);
    for (int64_t have = 1; have < n; have *= 2) memcpy((char *)to + (size_t)have * size, to, (size_t)(have < n - have ? have : n - have) * size);
}

typedef struct PadLine { const char *x, *value, *mode; int64_t before, width; size_t size; } PadLine;

static void pad_elements(const PadLine *l, char *to, int64_t from, int64_t end)
{
    for (int64_t i = from; i < end; i++) {
        int64_t at = pad_index(l->mode, i - l->before, l->width);
        const char *shown = at < 0 ? l->value : l->x + (size_t)at * l->size;
        if (l->size == sizeof(float)) memcpy(to + (size_t)i * sizeof(float), shown, sizeof(float));     /* of a size that the compiler knows */
        else memcpy(to + (size_t)i * l->size, shown, l->size);
    }
}

/* n elements, of which those in the middle lie as in x. */
static void pad_line(const PadLine *l, char *to, int64_t n)
{
    int64_t first = bounded(l->before, 0, n), end = bounded(l->before + l->width, first, n);
    pad_elements(l, to, 0, first);
    if (end > first) memcpy(to + (size_t)first * l->size, l->x + (size_t)(first - l->before) * l->size, (size_t)(end - first) * l->size);
    pad_elements(l, to, end, n);
}

/* Line after line of the output, each from a line of the input or all outside of it; l: what they have in common. */
static void pad_rows(const Plan *plan, const Step *s, const PadLine *l, const int64_t before[MAX_RANK])
{
    const Buffer *x = s->in[0], *y = s->out[0];
    int last = x->shape.rank - 1;
    int64_t stride[MAX_RANK], n = y->shape.dim[last], high = last ? y->shape.dim[last - 1] : 1;
    shape_strides(&x->shape, stride);
    #pragma omp parallel for num_threads(plan->threads) if (y->count > PARALLEL_WORK)
    for (int64_t plane = 0; plane < y->count / (n * high); plane++) {
        int64_t base = 0, rest = plane;
        bool beyond = false;
        for (int i = last - 2; i >= 0; i--) {
            int64_t at = pad_index(l->mode, rest % y->shape.dim[i] - before[i], x->shape.dim[i]);
            beyond = beyond || at < 0;
            base += at * stride[i];
            rest /= y->shape.dim[i];
        }
        for (int64_t row = 0; row < high; row++) {
            int64_t at = last ? pad_index(l->mode, row - before[last - 1], x->shape.dim[last - 1]) : 0;
            bool outside = beyond || at < 0;
            char *to = (char *)y->data + (size_t)((plane * high + row) * n) * l->size;
            PadLine line = *l;
            line.x = (const char *)x->data + (size_t)(outside ? 0 : base + (last ? at * stride[last - 1] : 0)) * l->size;
            if (outside) repeat_element(to, l->value, n, l->size);
            else pad_line(&line, to, n);
        }
    }
}

static Err pad_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int64_t before[MAX_RANK], after[MAX_RANK];
    int rank = x->shape.rank, last = rank - 1;
    size_t size = element_size(x->dtype);
    const char *modes[] = { "reflect", "edge", "wrap" }, *mode = "constant";
    uint64_t value[2] = { 0 };
    float given = attr_f(s->node, "value", 0);
    for (int i = 0; i < 3; i++) if (attr_s_is(s->node, "mode", modes[i], false)) mode = modes[i];
    if (s->opset < 11) { double wide = (double)given; elements_from_f64(x->dtype, &wide, 1, value, 0); }
    else if (s->in[2] && s->in[2]->count) memcpy(value, s->in[2]->data, size);
    TRY(pads_of(s, rank, before, after));
    Shape y = x->shape;
    for (int i = 0; i < rank; i++) {
        bool huge = __builtin_add_overflow(y.dim[i], before[i], &y.dim[i]) || __builtin_add_overflow(y.dim[i], after[i], &y.dim[i]);
        if (huge || y.dim[i] < 0) return err_set(ERR_SHAPE, huge ? "Pad adds more than any tensor holds." : "Pad removes more than there is.");
    }
    TRY(step_output(plan, s, 0, x->dtype, &y));
    if (!s->out[0]->count) return OK;
    if (!rank) { memcpy(s->out[0]->data, x->data, size); return OK; }
    const PadLine l = { .value = (const char *)value, .mode = mode, .before = before[last], .width = x->shape.dim[last], .size = size };
    pad_rows(plan, s, &l, before);
    return OK;
}

Err pad_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->dtype == DT_STRING) return step_refuse(s, "input", s->in[0]);
    if (s->in[2] && s->in[2]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "Pad's value has another type than its data.");
    s->run = pad_run;
    return movable(s, s->in[0]);
}
