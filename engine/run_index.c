/* Operators that pick or place elements by index: the Gather and Scatter families, NonZero, Compress, OneHot, ReverseSequence. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"

static Err index_at(const Buffer *index, int64_t i, int64_t size, int64_t *out)
{
    int64_t v;
    elements_to_i64(index->dtype, index->data, i, 1, &v);
    return index_of(v, size, out);
}

static Err whole_indices(const Step *s, const Buffer *b) { return dtype_is_whole(b->dtype) ? OK : step_refuse(s, "indices", b); }

/* Gather: y[o, i..., r] = x[o, index[i...], r] */
static Err gather_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *index = s->in[1];
    int axis = 0;
    (void)plan;
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    int64_t outer = shape_span(&x->shape, 0, axis), n = x->shape.dim[axis];
    size_t inner = (size_t)shape_span(&x->shape, axis + 1, x->shape.rank) * element_size(x->dtype);
    for (int64_t i = 0; i < index->count; i++) {
        int64_t at;
        TRY(index_at(index, i, n, &at));
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)s->out[0]->data + (size_t)(o * index->count + i) * inner, (const char *)x->data + (size_t)(o * n + at) * inner, inner);
    }
    return OK;
}

Err gather_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = gather_run;
    TRY(whole_indices(s, s->in[1]));
    return movable(s, s->in[0]);
}

/* Offset in x of element i of `index`, with the coordinate along axis replaced by what index holds there. */
static Err element_at(const Buffer *x, const Buffer *index, int axis, int64_t i, int64_t *at)
{
    int64_t stride[MAX_RANK], rest = i, to = 0, chosen;
    shape_strides(&x->shape, stride);
    TRY(index_at(index, i, x->shape.dim[axis], &chosen));
    for (int k = index->shape.rank - 1; k >= 0; k--) {
        to += (k == axis ? chosen : rest % index->shape.dim[k]) * stride[k];
        rest /= index->shape.dim[k];
    }
    *at = to;
    return OK;
}

static Err gather_each_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *index = s->in[1];
    size_t size = element_size(x->dtype);
    int axis = 0;
    (void)plan;
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    for (int64_t i = 0; i < index->count; i++) {
        int64_t at;
        TRY(element_at(x, index, axis, i, &at));
        memcpy((char *)s->out[0]->data + (size_t)i * size, (const char *)x->data + (size_t)at * size, size);
    }
    return OK;
}

/* Every axis of the indices but `axis` must fit into the data's. */
static Err indices_fit(const Step *s, const Buffer *x, const Buffer *index)
{
    int axis = 0;
    TRY(whole_indices(s, index));
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    if (index->shape.rank != x->shape.rank) return err_set(ERR_SHAPE, "The indices have rank %d, the data %d.", index->shape.rank, x->shape.rank);
    for (int i = 0; i < x->shape.rank; i++)
        if (i != axis && index->shape.dim[i] > x->shape.dim[i] && index->count) return err_set(ERR_SHAPE, "The indices are larger than the data along axis %d.", i);
    return OK;
}

Err gather_each_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = gather_each_run;
    TRY(indices_fit(s, s->in[0], s->in[1]));
    return movable(s, s->in[0]);
}

/* Adds an update to an element: as it is, or by sum, product, larger, smaller. */
static void place(const Buffer *y, int64_t at, const Buffer *update, int64_t i, char how)
{
    size_t size = element_size(y->dtype);
    if (how == 'n') { memcpy((char *)y->data + (size_t)at * size, (const char *)update->data + (size_t)i * size, size); return; }
    if (dtype_is_whole(y->dtype)) {
        int64_t v, u;
        elements_to_i64(y->dtype, y->data, at, 1, &v);
        elements_to_i64(y->dtype, update->data, i, 1, &u);
        bool above = y->dtype == DT_U64 ? (uint64_t)u > (uint64_t)v : u > v;
        v = how == '+' ? (int64_t)((uint64_t)v + (uint64_t)u) : how == '*' ? (int64_t)((uint64_t)v * (uint64_t)u) : above == (how == '>') ? u : v;
        elements_from_i64(y->dtype, &v, 1, y->data, at);
        return;
    }
    double v, u;
    elements_to_f64(y->dtype, y->data, at, 1, &v);
    elements_to_f64(y->dtype, update->data, i, 1, &u);
    v = how == '+' ? v + u : how == '*' ? v * u : u != u || (how == '>' ? u > v : u < v) ? u : v;
    elements_from_f64(y->dtype, &v, 1, y->data, at);
}

static char reduction_of(const Step *s)
{
    return attr_s_is(s->node, "reduction", "add", false) ? '+' : attr_s_is(s->node, "reduction", "mul", false) ? '*' : attr_s_is(s->node, "reduction", "max", false) ? '>'
         : attr_s_is(s->node, "reduction", "min", false) ? '<' : 'n';
}

static Err scatter_run(Plan *plan, Step *s)
{
    const Buffer *index = s->in[1];
    Buffer *y = s->out[0];
    int axis = 0;
    char how = reduction_of(s);
    (void)plan;
    TRY(axis_of(attr_i(s->node, "axis", 0), y->shape.rank, &axis));
    memcpy(y->data, s->in[0]->data, y->bytes);
    for (int64_t i = 0; i < index->count; i++) {
        int64_t at;
        TRY(element_at(y, index, axis, i, &at));
        place(y, at, s->in[2], i, how);
    }
    return OK;
}

static Err updates_fit(const Step *s)
{
    TRY(movable(s, s->in[0]));
    if (s->in[2]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "The updates have another type than the data.");
    return reduction_of(s) != 'n' && !dtype_is_real(s->in[0]->dtype) ? step_refuse(s, "input", s->in[0]) : OK;
}

Err scatter_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = scatter_run;
    TRY(indices_fit(s, s->in[0], s->in[1]));
    if (!shape_equal(&s->in[1]->shape, &s->in[2]->shape)) return err_set(ERR_SHAPE, "Indices and updates have different shapes.");
    return updates_fit(s);
}

/* GatherND, ScatterND: the last axis of the indices holds coordinates of slices. Offset, in elements, of slice i. */
static Err slice_at(const Buffer *x, const Buffer *index, int64_t i, int batch, int64_t *at)
{
    int depth = (int)index->shape.dim[index->shape.rank - 1];
    int64_t stride[MAX_RANK], to = 0, per_batch = shape_span(&index->shape, batch, index->shape.rank - 1), b = per_batch ? i / per_batch : 0;
    shape_strides(&x->shape, stride);
    for (int k = batch - 1; k >= 0; k--) {
        to += b % x->shape.dim[k] * stride[k];
        b /= x->shape.dim[k];
    }
    for (int k = 0; k < depth; k++) {
        int64_t v;
        TRY(index_at(index, i * depth + k, x->shape.dim[batch + k], &v));
        to += v * stride[batch + k];
    }
    *at = to;
    return OK;
}

static Err nd_fit(const Step *s, int batch, int64_t *inner)
{
    const Shape *x = &s->in[0]->shape, *index = &s->in[1]->shape;
    TRY(whole_indices(s, s->in[1]));
    int64_t depth = index->rank > 0 ? index->dim[index->rank - 1] : -1;
    if (batch < 0 || depth < 0 || batch + depth > x->rank || batch >= index->rank) return err_set(ERR_SHAPE, "The indices do not fit data of rank %d.", x->rank);
    for (int i = 0; i < batch; i++) if (x->dim[i] != index->dim[i]) return err_set(ERR_SHAPE, "Data and indices differ in their leading axes.");
    *inner = shape_span(x, batch + (int)depth, x->rank);
    return OK;
}

static Err gather_nd_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *index = s->in[1];
    int batch = (int)attr_i(s->node, "batch_dims", 0);
    int64_t inner, slices = shape_span(&index->shape, 0, index->shape.rank - 1);
    (void)plan;
    TRY(nd_fit(s, batch, &inner));
    size_t bytes = (size_t)inner * element_size(x->dtype);
    for (int64_t i = 0; i < slices; i++) {
        int64_t at;
        TRY(slice_at(x, index, i, batch, &at));
        memcpy((char *)s->out[0]->data + (size_t)i * bytes, (const char *)x->data + (size_t)at * element_size(x->dtype), bytes);
    }
    return OK;
}

Err gather_nd_prep(Plan *plan, Step *s)
{
    int64_t inner;
    (void)plan;
    s->run = gather_nd_run;
    TRY(nd_fit(s, (int)attr_i(s->node, "batch_dims", 0), &inner));
    return movable(s, s->in[0]);
}

static Err scatter_nd_run(Plan *plan, Step *s)
{
    const Buffer *index = s->in[1];
    Buffer *y = s->out[0];
    int64_t inner, slices = shape_span(&index->shape, 0, index->shape.rank - 1);
    char how = reduction_of(s);
    (void)plan;
    TRY(nd_fit(s, 0, &inner));
    memcpy(y->data, s->in[0]->data, y->bytes);
    for (int64_t i = 0; i < slices; i++) {
        int64_t at;
        TRY(slice_at(y, index, i, 0, &at));
        for (int64_t k = 0; k < inner; k++) place(y, at + k, s->in[2], i * inner + k, how);
    }
    return OK;
}

Err scatter_nd_prep(Plan *plan, Step *s)
{
    int64_t inner;
    (void)plan;
    s->run = scatter_nd_run;
    TRY(nd_fit(s, 0, &inner));
    if (s->in[2]->count != inner * shape_span(&s->in[1]->shape, 0, s->in[1]->shape.rank - 1))
        return err_set(ERR_SHAPE, "There are %lld updates for the indices.", (long long)s->in[2]->count);
    return updates_fit(s);
}

/* NonZero: coordinates of the elements that are not 0, one column each. */
static bool is_zero(const Buffer *x, int64_t i)
{
    double v;
    elements_to_f64(x->dtype, x->data, i, 1, &v);
    return v == 0;
}

static Err nonzero_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int64_t n = 0, column = 0;
    for (int64_t i = 0; i < x->count; i++) n += !is_zero(x, i);
    int rank = x->shape.rank;
    TRY(step_output(plan, s, 0, DT_I64, &(Shape){ 2, { rank, n } }));
    int64_t *y = s->out[0]->data;
    for (int64_t i = 0; i < x->count; i++) {
        if (is_zero(x, i)) continue;
        int64_t rest = i;
        for (int k = rank - 1; k >= 0; k--) {
            y[k * n + column] = rest % x->shape.dim[k];
            rest /= x->shape.dim[k];
        }
        column++;
    }
    return OK;
}

Err nonzero_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = nonzero_run;
    return dtype_is_real(s->in[0]->dtype) ? OK : step_refuse(s, "input", s->in[0]);
}

/* Compress: the slices along an axis (or the elements of the flat tensor) whose condition is true. */
static Err compress_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *c = s->in[1];
    const uint8_t *keep = c->data;
    Shape y = { 1, { 0 } };
    int axis = 0;
    bool flat = !node_attr(s->node, "axis");
    if (!flat) TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    int64_t n = flat ? x->count : x->shape.dim[axis], outer = flat ? 1 : shape_span(&x->shape, 0, axis), taken = 0, at = 0;
    size_t inner = (size_t)(flat ? 1 : shape_span(&x->shape, axis + 1, x->shape.rank)) * element_size(x->dtype);
    if (c->count < n) n = c->count;
    for (int64_t i = 0; i < n; i++) taken += keep[i] != 0;
    int64_t size = flat ? x->count : x->shape.dim[axis];
    if (!flat) y = x->shape;
    y.dim[flat ? 0 : axis] = taken;
    TRY(step_output(plan, s, 0, x->dtype, &y));
    for (int64_t i = 0; i < n; i++) {
        if (!keep[i]) continue;
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)s->out[0]->data + (size_t)(o * taken + at) * inner, (const char *)x->data + (size_t)(o * size + i) * inner, inner);
        at++;
    }
    return OK;
}

Err compress_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = compress_run;
    if (s->in[1]->dtype != DT_BOOL) return step_refuse(s, "condition", s->in[1]);
    return movable(s, s->in[0]);
}

/* OneHot: values[1] where the index along the new axis equals the index given, else values[0]. Indices out of range give a row of values[0]. */
static Err one_hot_run(Plan *plan, Step *s)
{
    const Buffer *index = s->in[0], *values = s->in[2];
    int axis = 0;
    double given;
    size_t size = element_size(values->dtype);
    elements_to_f64(s->in[1]->dtype, s->in[1]->data, 0, 1, &given);
    Shape y = { .rank = index->shape.rank + 1 };
    if (!(given >= 0 && given < 0x1p40) || y.rank > MAX_RANK) return err_set(ERR_SHAPE, "OneHot has a depth of %g.", given);
    int64_t depth = (int64_t)given;
    TRY(axis_of(attr_i(s->node, "axis", -1), y.rank, &axis));
    for (int i = 0, k = 0; i < y.rank; i++) y.dim[i] = i == axis ? depth : index->shape.dim[k++];
    TRY(step_output(plan, s, 0, values->dtype, &y));
    int64_t inner = shape_span(&y, axis + 1, y.rank);
    for (int64_t i = 0; i < s->out[0]->count; i++) {
        double v;
        elements_to_f64(index->dtype, index->data, i / (inner * depth) * inner + i % inner, 1, &v);
        int64_t hot = fabs(v) < 0x1p40 ? (int64_t)v : -1 - depth;     /* what is no index is out of range */
        if (hot < 0) hot += depth;
        memcpy((char *)s->out[0]->data + (size_t)i * size, (const char *)values->data + (i / inner % depth == hot ? size : 0), size);
    }
    return OK;
}

Err one_hot_prep(Plan *plan, Step *s)
{
    (void)plan;
    s->run = one_hot_run;
    if (!dtype_is_real(s->in[0]->dtype) || !dtype_is_real(s->in[1]->dtype)) return step_refuse(s, "indices", s->in[0]);
    if (s->in[1]->count != 1 || s->in[2]->count != 2) return err_set(ERR_SHAPE, "OneHot needs one depth and two values.");
    return movable(s, s->in[2]);
}

/* ReverseSequence: the first sequence_lens[b] elements along time_axis in reverse, for each b of batch_axis. */
static Err reverse_sequence_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int64_t batch_axis = attr_i(s->node, "batch_axis", 1), time_axis = attr_i(s->node, "time_axis", 0);
    int64_t inner = shape_span(&x->shape, 2, x->shape.rank), columns = x->shape.dim[1];
    size_t bytes = (size_t)inner * element_size(x->dtype);
    (void)plan;
    for (int64_t i = 0; i < x->shape.dim[0] * columns; i++) {
        int64_t at[2] = { i / columns, i % columns }, b = at[batch_axis], t = at[time_axis], length;
        elements_to_i64(s->in[1]->dtype, s->in[1]->data, b, 1, &length);
        if (length < 0 || length > x->shape.dim[time_axis]) return err_set(ERR_ARG, "A sequence length of %lld does not fit.", (long long)length);
        at[time_axis] = t < length ? length - 1 - t : t;
        memcpy((char *)s->out[0]->data + (size_t)i * bytes, (const char *)x->data + (size_t)(at[0] * columns + at[1]) * bytes, bytes);
    }
    return OK;
}

Err reverse_sequence_prep(Plan *plan, Step *s)
{
    int64_t batch_axis = attr_i(s->node, "batch_axis", 1), time_axis = attr_i(s->node, "time_axis", 0);
    (void)plan;
    if (s->in[0]->shape.rank < 2 || batch_axis + time_axis != 1 || batch_axis < 0 || batch_axis > 1 || s->in[1]->count != s->in[0]->shape.dim[batch_axis])
        return err_set(ERR_SHAPE, "ReverseSequence has axes or lengths that do not fit.");
    s->run = reverse_sequence_run;
    TRY(whole_indices(s, s->in[1]));
    return movable(s, s->in[0]);
}
