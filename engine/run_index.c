/* Operators that pick or place elements by index: the Gather and Scatter families, NonZero, Compress, OneHot, ReverseSequence. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"
#include "engine/walk.h"
#include "kernels/whole.h"

static Err index_at(const Buffer *index, int64_t i, int64_t size, int64_t *out)
{
    return index_of(whole_at(index, i), size, out);
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

/* Offsets in x of the elements that a row of `index` names: its own coordinates but along axis, where they are what it holds. */
typedef struct Rows { const Buffer *x, *index; int axis, last; int64_t stride[MAX_RANK], n, rows; } Rows;

static Err rows_of(const Step *s, Rows *r)
{
    const Buffer *index = s->in[1];
    *r = (Rows){ .x = s->in[0], .index = index, .last = index->shape.rank - 1 };
    TRY(axis_of(attr_i(s->node, "axis", 0), r->x->shape.rank, &r->axis));
    shape_strides(&r->x->shape, r->stride);
    r->n = index->shape.dim[r->last];
    r->rows = r->n ? index->count / r->n : 0;
    return OK;
}

/* n <= CHUNK of them, from element `first` of the row on. */
static Err row_offsets(const Rows *r, int64_t row, int64_t first, int64_t n, int64_t at[CHUNK])
{
    int64_t base = 0, rest = row, size = r->x->shape.dim[r->axis], step = r->stride[r->axis], own = r->axis == r->last ? 0 : r->stride[r->last];
    for (int k = r->last - 1; k >= 0; k--) {
        if (k != r->axis) base += rest % r->index->shape.dim[k] * r->stride[k];
        rest /= r->index->shape.dim[k];
    }
    const int64_t *chosen = wide_load(WIDE_I64, r->index->dtype, r->index->data, row * r->n + first, n, at);
    base += first * own;
    #pragma GCC unroll 4
    for (int64_t i = 0; i < n; i++) {
        int64_t v = chosen[i], positive;
        if ((uint64_t)v >= (uint64_t)size) {
            TRY(index_of(v, size, &positive));
            v = positive;
        }
        at[i] = base + v * step;
        base += own;
    }
    return OK;
}

#define BY_SIZE(LOOP) \
    switch (size) { \
    case 1: LOOP(uint8_t); break; \
    case 2: LOOP(uint16_t); break; \
    case 4: LOOP(uint32_t); break; \
    case 8: LOOP(uint64_t); break; \
    default: LOOP(Span); \
    }
#define PICK_LOOP(T) _Pragma("GCC unroll 4") for (int64_t i = 0; i < n; i++) ((T *)to)[i] = ((const T *)from)[at[i]]
#define PUT_LOOP(T) for (int64_t i = 0; i < n; i++) ((T *)to)[at[i]] = ((const T *)from)[i]

static void pick_elements(const void *from, const int64_t *at, int64_t n, void *to, size_t size) { BY_SIZE(PICK_LOOP) }
static void put_elements(const void *from, const int64_t *at, int64_t n, void *to, size_t size) { BY_SIZE(PUT_LOOP) }

static Err gather_each_run(Plan *plan, Step *s)
{
    size_t size = element_size(s->in[0]->dtype);
    Rows r;
    int64_t at[CHUNK];
    (void)plan;
    TRY(rows_of(s, &r));
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t first = 0; first < r.n; first += CHUNK) {
            int64_t n = lesser(r.n - first, CHUNK);
            TRY(row_offsets(&r, row, first, n, at));
            pick_elements(r.x->data, at, n, (char *)s->out[0]->data + (size_t)(row * r.n + first) * size, size);
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

/* Updates `first` ... of `update` to the elements `at` of y: as they are, or by sum, product, larger, smaller. */
static void place(const Buffer *y, const int64_t *at, const Buffer *update, int64_t first, int64_t n, char how)
{
    size_t size = element_size(y->dtype);
    if (how == 'n') {
        put_elements((const char *)update->data + (size_t)first * size, at, n, y->data, size);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (dtype_is_whole(y->dtype)) {
            int64_t v = whole_at(y, at[i]), u = whole_at(update, first + i);
            bool above = y->dtype == DT_U64 ? (uint64_t)u > (uint64_t)v : u > v;
            v = how == '+' ? (int64_t)((uint64_t)v + (uint64_t)u) : how == '*' ? (int64_t)((uint64_t)v * (uint64_t)u) : above == (how == '>') ? u : v;
            elements_from_i64(y->dtype, &v, 1, y->data, at[i]);
        } else {
            double v = number_at(y, at[i]), u = number_at(update, first + i);
            v = how == '+' ? v + u : how == '*' ? v * u : u != u || (how == '>' ? u > v : u < v) ? u : v;
            elements_from_f64(y->dtype, &v, 1, y->data, at[i]);
        }
    }
}

static char reduction_of(const Step *s)
{
    return attr_s_is(s->node, "reduction", "add", false) ? '+' : attr_s_is(s->node, "reduction", "mul", false) ? '*' : attr_s_is(s->node, "reduction", "max", false) ? '>'
         : attr_s_is(s->node, "reduction", "min", false) ? '<' : 'n';
}

static Err scatter_run(Plan *plan, Step *s)
{
    Buffer *y = s->out[0];
    char how = reduction_of(s);
    Rows r;
    int64_t at[CHUNK];
    (void)plan;
    TRY(rows_of(s, &r));
    memcpy(y->data, s->in[0]->data, y->bytes);
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t first = 0; first < r.n; first += CHUNK) {
            int64_t n = lesser(r.n - first, CHUNK);
            TRY(row_offsets(&r, row, first, n, at));
            place(y, at, s->in[2], row * r.n + first, n, how);
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

/* GatherND, ScatterND: the last axis of the indices holds coordinates of slices of `inner` elements. */
typedef struct Slices { const Buffer *x, *index; int batch, depth; int64_t inner, count, per_batch, stride[MAX_RANK]; } Slices;

/* Offset, in elements, of slice i. */
static Err slice_at(const Slices *c, int64_t i, int64_t *at)
{
    int64_t to = 0, v[MAX_RANK];
    for (int64_t k = c->batch - 1, b = k >= 0 && c->per_batch ? i / c->per_batch : 0; k >= 0; k--) {
        to += b % c->x->shape.dim[k] * c->stride[k];
        b /= c->x->shape.dim[k];
    }
    elements_to_i64(c->index->dtype, c->index->data, i * c->depth, c->depth, v);
    for (int k = 0; k < c->depth; k++) {
        TRY(index_of(v[k], c->x->shape.dim[c->batch + k], &v[k]));
        to += v[k] * c->stride[c->batch + k];
    }
    *at = to;
    return OK;
}

static Err slices_of(const Step *s, int batch, Slices *c)
{
    const Shape *x = &s->in[0]->shape, *index = &s->in[1]->shape;
    TRY(whole_indices(s, s->in[1]));
    int64_t depth = index->rank > 0 ? index->dim[index->rank - 1] : -1;
    if (batch < 0 || depth < 0 || batch + depth > x->rank || batch >= index->rank) return err_set(ERR_SHAPE, "The indices do not fit data of rank %d.", x->rank);
    for (int i = 0; i < batch; i++) if (x->dim[i] != index->dim[i]) return err_set(ERR_SHAPE, "Data and indices differ in their leading axes.");
    *c = (Slices){ s->in[0], s->in[1], batch, (int)depth, shape_span(x, batch + (int)depth, x->rank), shape_span(index, 0, index->rank - 1),
                   shape_span(index, batch, index->rank - 1), { 0 } };
    shape_strides(x, c->stride);
    return OK;
}

static Err gather_nd_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    Slices c;
    int64_t at[CHUNK];
    (void)plan;
    TRY(slices_of(s, (int)attr_i(s->node, "batch_dims", 0), &c));
    size_t size = element_size(x->dtype), bytes = (size_t)c.inner * size;
    for (int64_t first = 0; first < c.count; first += CHUNK) {
        int64_t n = lesser(c.count - first, CHUNK);
        char *to = (char *)s->out[0]->data + (size_t)first * bytes;
        for (int64_t i = 0; i < n; i++) TRY(slice_at(&c, first + i, &at[i]));
        if (c.inner == 1) pick_elements(x->data, at, n, to, size);
        else for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * bytes, (const char *)x->data + (size_t)at[i] * size, bytes);
    }
    return OK;
}

Err gather_nd_prep(Plan *plan, Step *s)
{
    Slices c;
    (void)plan;
    s->run = gather_nd_run;
    TRY(slices_of(s, (int)attr_i(s->node, "batch_dims", 0), &c));
    return movable(s, s->in[0]);
}

static Err scatter_nd_run(Plan *plan, Step *s)
{
    Buffer *y = s->out[0];
    char how = reduction_of(s);
    Slices c;
    (void)plan;
    TRY(slices_of(s, 0, &c));
    memcpy(y->data, s->in[0]->data, y->bytes);
    for (int64_t i = 0; i < c.count; i++) {
        int64_t start, at[CHUNK];
        TRY(slice_at(&c, i, &start));
        for (int64_t first = 0; first < c.inner; first += CHUNK) {
            int64_t n = lesser(c.inner - first, CHUNK);
            for (int64_t k = 0; k < n; k++) at[k] = start + first + k;
            place(y, at, s->in[2], i * c.inner + first, n, how);
        }
    }
    return OK;
}

Err scatter_nd_prep(Plan *plan, Step *s)
{
    Slices c;
    (void)plan;
    s->run = scatter_nd_run;
    TRY(slices_of(s, 0, &c));
    if (s->in[2]->count != c.inner * c.count) return err_set(ERR_SHAPE, "There are %lld updates for the indices.", (long long)s->in[2]->count);
    return updates_fit(s);
}

/* NonZero: coordinates of the elements that are not 0, one column each. */
static Err nonzero_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    int64_t n = 0, column = 0;
    for (int64_t i = 0; i < x->count; i++) n += number_at(x, i) != 0;
    int rank = x->shape.rank;
    TRY(step_output(plan, s, 0, DT_I64, &(Shape){ 2, { rank, n } }));
    int64_t *y = s->out[0]->data;
    for (int64_t i = 0; i < x->count; i++) {
        if (number_at(x, i) == 0) continue;
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
    Axis a = { 1, x->count, 1 };
    if (node_attr(s->node, "axis")) {
        TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
        a = axis_around(&x->shape, axis, axis + 1);
        y = x->shape;
    }
    int64_t n = lesser(a.n, c->count), taken = 0, at = 0;
    size_t inner = (size_t)a.inner * element_size(x->dtype);
    for (int64_t i = 0; i < n; i++) taken += keep[i] != 0;
    y.dim[axis] = taken;
    TRY(step_output(plan, s, 0, x->dtype, &y));
    for (int64_t i = 0; i < n; i++) {
        if (!keep[i]) continue;
        for (int64_t o = 0; o < a.outer; o++)
            memcpy((char *)s->out[0]->data + (size_t)(o * taken + at) * inner, (const char *)x->data + (size_t)(o * a.n + i) * inner, inner);
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
    double given = number_at(s->in[1], 0);
    size_t size = element_size(values->dtype);
    Shape y = { .rank = index->shape.rank + 1 };
    if (!(given >= 0 && given < 0x1p40) || y.rank > MAX_RANK) return err_set(ERR_SHAPE, "OneHot has a depth of %g.", given);
    int64_t depth = (int64_t)given;
    TRY(axis_of(attr_i(s->node, "axis", -1), y.rank, &axis));
    for (int i = 0, k = 0; i < y.rank; i++) y.dim[i] = i == axis ? depth : index->shape.dim[k++];
    TRY(step_output(plan, s, 0, values->dtype, &y));
    int64_t inner = shape_span(&y, axis + 1, y.rank);
    repeat_element(s->out[0]->data, values->data, s->out[0]->count, size);
    for (int64_t i = 0; i < index->count && depth; i++) {
        double v = number_at(index, i);
        int64_t hot = fabs(v) < 0x1p40 ? (int64_t)v : -1 - depth;     /* what is no index is out of range */
        if (hot < 0) hot += depth;
        if (hot >= 0 && hot < depth)
            memcpy((char *)s->out[0]->data + (size_t)((i / inner * depth + hot) * inner + i % inner) * size, (const char *)values->data + size, size);
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
        int64_t at[2] = { i / columns, i % columns }, t = at[time_axis], length = whole_at(s->in[1], at[batch_axis]);
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
