/* Operators that pick or place elements by index, and those whose result is a set of indices. */
#include "engine/expand.h"
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

static int64_t product_of(const int64_t *dim, int n)
{
    int64_t p = 1;
    for (int i = 0; i < n; i++) p *= dim[i];
    return p;
}

/* ---- Gather ---- */

static Err gather_elements(Inference *x, const Fact *data, const Fact *index, int axis, Fact *out)
{
    if (fact_count(data) < 0 || !index->element || !shape_known(&out->shape)) return OK;
    int64_t outer = product_of(data->shape.dim, axis), size = data->shape.dim[axis];
    int64_t inner = product_of(data->shape.dim + axis + 1, data->shape.rank - axis - 1), picked = fact_count(index);
    if (outer * picked * inner > INFER_ELEMENTS) return OK;
    int64_t *element = arena_array(x->arena, (size_t)(outer * picked * inner), sizeof *element);
    if (!element) return err_set(ERR_NOMEM, "out of memory");
    const int64_t *from = data->element ? data->element : (const void *)data->real;
    for (int64_t p = 0; p < picked; p++) {
        int64_t i = index->element[p];
        if (dim_is_symbol(i)) return OK;
        if (i < -size || i >= size) return err_set(ERR_SHAPE, "index %lld is outside an axis of size %lld", (long long)i, (long long)size);
        if (i < 0) i += size;
        for (int64_t o = 0; o < outer; o++) memcpy(element + (o * picked + p) * inner, from + (o * size + i) * inner, (size_t)inner * sizeof *element);
    }
    if (data->element) out->element = element;
    else out->real = (const double *)element;
    return OK;
}

/* The indices' axes in place of axis `axis` of the data. */
static Err gathered_shape(const Shape *d, const Shape *i, int axis, Shape *out)
{
    if (d->rank + i->rank - 1 > MAX_RANK) return err_set(ERR_SHAPE, "rank %d is beyond %d", d->rank + i->rank - 1, MAX_RANK);
    Shape s = { .rank = d->rank + i->rank - 1 };
    memcpy(s.dim, d->dim, (size_t)axis * sizeof *s.dim);
    memcpy(s.dim + axis, i->dim, (size_t)i->rank * sizeof *s.dim);
    memcpy(s.dim + axis + i->rank, d->dim + axis + 1, (size_t)(d->rank - axis - 1) * sizeof *s.dim);
    *out = s;
    return OK;
}

static Err gather_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0]) || !fact_shaped(in[1])) return OK;
    int axis;
    TRY(axis_read(attr_i(n, "axis", 0), in[0]->shape.rank, &axis));
    TRY(gathered_shape(&in[0]->shape, &in[1]->shape, axis, &out[0].shape));
    return gather_elements(x, in[0], in[1], axis, &out[0]);
}

/* com.microsoft GatherBlockQuantized: type of the scales; in uint8 several numbers of the last axis share a byte. */
static Err gather_blocks_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    const int64_t axis = attr_i(n, "gather_axis", 0), bits = attr_i(n, "bits", 4);
    if (in[2]) out[0].dtype = in[2]->dtype;
    if (!fact_shaped(in[0]) || !fact_shaped(in[1]) || axis || bits < 1) return OK;
    if (in[0]->shape.rank < 2) return err_set(ERR_SHAPE, "the table has rank %d, 2 or more were expected", in[0]->shape.rank);
    Shape *y = &out[0].shape;
    TRY(gathered_shape(&in[0]->shape, &in[1]->shape, 0, y));
    return in[0]->dtype == DT_U8 ? dim_arith(x, '*', y->dim[y->rank - 1], 8 / bits, &y->dim[y->rank - 1]) : OK;
}

/* Shape of the indices, type of the data. */
static Err gather_each_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n;
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (in[1]) out[0].shape = in[1]->shape;
    return OK;
}

/* data (B.., D..), indices (B.., I.., k): result (B.., I.., D without its first k axes) */
static Err gather_nd_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0]) || !fact_shaped(in[1])) return OK;
    const Shape *d = &in[0]->shape, *i = &in[1]->shape;
    int64_t batch = attr_i(n, "batch_dims", 0);
    if (i->rank < 1 || batch < 0 || batch >= i->rank) return err_set(ERR_SHAPE, "batch_dims %lld with indices of rank %d", (long long)batch, i->rank);
    int64_t k = i->dim[i->rank - 1];
    if (dim_is_symbol(k)) return OK;
    int64_t left = d->rank - batch - k;
    if (left < 0 || i->rank - 1 + left > MAX_RANK) return err_set(ERR_SHAPE, "indices of length %lld for data of rank %d", (long long)k, d->rank);
    Shape s = { .rank = (int)(i->rank - 1 + left) };
    memcpy(s.dim, i->dim, (size_t)(i->rank - 1) * sizeof *s.dim);
    memcpy(s.dim + i->rank - 1, d->dim + batch + k, (size_t)left * sizeof *s.dim);
    out[0].shape = s;
    return OK;
}

/* ---- Scatter ---- */

/* A copy of a short list with some elements replaced: how exporters write sizes. */
static Err scatter_list(Inference *x, const Fact *const *in, Fact *out)
{
    if (!in[0]->element || !in[1] || !in[1]->element || !in[2] || in[0]->shape.rank != 1) return OK;
    int count = fact_count(in[0]), picked = fact_count(in[1]);
    if (in[2]->element && fact_count(in[2]) != picked) return OK;
    int64_t *element;
    TRY(fact_elements(x, out, &element));
    if (!element) return OK;
    memcpy(element, in[0]->element, (size_t)count * sizeof *element);
    for (int k = 0; k < picked; k++) {
        int64_t i = in[1]->element[k];
        if (dim_is_symbol(i) || i < -count || i >= count) return OK;
        element[i < 0 ? i + count : i] = in[2]->element ? in[2]->element[k] : DIM_UNKNOWN;
    }
    out->element = element;
    return OK;
}

static Err scatter_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(infer_same(x, n, in, out));
    bool plain = attr_s_is(n, "reduction", "none", true);
    return in[0] && plain ? scatter_list(x, in, &out[0]) : OK;
}

/* ---- sets of indices ---- */

static Err nonzero_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    out[0].dtype = DT_I64;
    out[0].shape = shape_unknown_dims(2);
    if (!fact_shaped(in[0])) return OK;
    out[0].shape.dim[0] = in[0]->shape.rank;
    int count = fact_count(in[0]), found = 0;
    int64_t at[INFER_ELEMENTS];
    if (in[0]->shape.rank != 1 || count < 0) return OK;
    for (int i = 0; i < count; i++) {
        double v;
        if (!fact_number(in[0], i, &v)) return OK;
        if (v != 0) at[found++] = i;
    }
    out[0].shape.dim[1] = found;
    int64_t *element;
    TRY(fact_elements(x, &out[0], &element));
    memcpy(element, at, (size_t)found * sizeof *at);
    out[0].element = element;
    return OK;
}

/* Values and indices of the k largest; k is an input, before opset 10 an attribute. */
static Err topk_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    if (in[0]) out[0].dtype = in[0]->dtype;
    out[1].dtype = DT_I64;
    if (!fact_shaped(in[0])) return OK;
    int axis;
    TRY(axis_read(attr_i(n, "axis", -1), in[0]->shape.rank, &axis));
    int64_t k = fact_count(in[1]) == 1 && in[1]->element ? in[1]->element[0] : in[1] ? DIM_UNKNOWN : attr_i(n, "k", DIM_UNKNOWN);
    int64_t size = in[0]->shape.dim[axis];
    if (dim_is_number(k) && dim_is_number(size) && k > size) return err_set(ERR_SHAPE, "k is %lld for an axis of size %lld", (long long)k, (long long)size);
    out[0].shape = in[0]->shape;
    out[0].shape.dim[axis] = k;
    out[1].shape = out[0].shape;
    return OK;
}

/* Rows of the axis where the condition holds; without an axis of the flattened input. */
static Err compress_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    if (in[0]) out[0].dtype = in[0]->dtype;
    int axis = 0;
    if (!node_attr(n, "axis")) {
        out[0].shape = shape_unknown_dims(1);
    } else if (fact_shaped(in[0])) {
        TRY(axis_read(attr_i(n, "axis", 0), in[0]->shape.rank, &axis));
        out[0].shape = in[0]->shape;
        out[0].shape.dim[axis] = DIM_UNKNOWN;
    }
    return OK;
}

static Err unique_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    TRY(compress_infer(x, n, in, out));
    for (int i = 1; i < 4; i++) {
        out[i].dtype = DT_I64;
        out[i].shape = shape_unknown_dims(1);
    }
    return OK;
}

/* An axis of `depth` values is put in. */
static Err onehot_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    if (in[2]) out[0].dtype = in[2]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *from = &in[0]->shape;
    int axis;
    if (from->rank == MAX_RANK) return err_set(ERR_SHAPE, "rank %d is beyond %d", from->rank + 1, MAX_RANK);
    TRY(axis_read(attr_i(n, "axis", -1), from->rank + 1, &axis));
    Shape s = { .rank = from->rank + 1 };
    for (int i = 0, k = 0; i < s.rank; i++) s.dim[i] = i == axis ? DIM_UNKNOWN : from->dim[k++];
    if (in[1] && in[1]->element && fact_count(in[1]) == 1) s.dim[axis] = in[1]->element[0];
    out[0].shape = s;
    return OK;
}

/* (selected, 3): batch, class, box */
static Err nms_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n, (void)in;
    out[0].dtype = DT_I64;
    out[0].shape = shape_of(2, (int64_t[]){ DIM_UNKNOWN, 3 });
    return OK;
}

const Op op_Compress = { "Compress", "", 9, 2, 2, 1, 1, .infer = compress_infer, .prep = compress_prep, };
const Op op_CumProd = { "CumProd", "", 26, 2, 2, 1, 1, .infer = infer_same, .prep = cumulate_prep, };
const Op op_CumSum = { "CumSum", "", 11, 2, 2, 1, 1, .infer = infer_same, .prep = cumulate_prep, };
const Op op_Gather = { "Gather", "", 1, 2, 2, 1, 1, .infer = gather_infer, .prep = gather_prep, };
const Op op_GatherElements = { "GatherElements", "", 11, 2, 2, 1, 1, .infer = gather_each_infer, .prep = gather_each_prep, };
const Op op_GatherND = { "GatherND", "", 11, 2, 2, 1, 1, .infer = gather_nd_infer, .prep = gather_nd_prep, };
const Op op_NonMaxSuppression = { "NonMaxSuppression", "", 10, 2, 5, 1, 1, .infer = nms_infer, .prep = nms_prep };
const Op op_NonZero = { "NonZero", "", 9, 1, 1, 1, 1, .infer = nonzero_infer, .prep = nonzero_prep, };
const Op op_OneHot = { "OneHot", "", 9, 3, 3, 1, 1, .infer = onehot_infer, .prep = one_hot_prep, };
const Op op_ReverseSequence = { "ReverseSequence", "", 10, 2, 2, 1, 1, .infer = infer_same, .prep = reverse_sequence_prep, };
const Op op_Scatter = { "Scatter", "", 9, 3, 3, 1, 1, .infer = scatter_infer, .prep = scatter_prep, };
const Op op_ScatterElements = { "ScatterElements", "", 11, 3, 3, 1, 1, .infer = scatter_infer, .prep = scatter_prep, };
const Op op_ScatterND = { "ScatterND", "", 11, 3, 3, 1, 1, .infer = scatter_infer, .prep = scatter_nd_prep, };
const Op op_TensorScatter = { "TensorScatter", "", 24, 2, 3, 1, 1, .infer = infer_same, .prep = cache_scatter_prep };
const Op op_TopK = { "TopK", "", 1, 1, 2, 2, 2, .infer = topk_infer, .prep = topk_prep, };
const Op op_Trilu = { "Trilu", "", 14, 1, 2, 1, 1, .infer = infer_same, .prep = trilu_prep, };
const Op op_Unique = { "Unique", "", 11, 1, 1, 1, 4, .infer = unique_infer, .prep = unique_prep, };
const Op op_ms_GatherBlockQuantized = { "GatherBlockQuantized", "com.microsoft", 1, 3, 4, 1, 1, .infer = gather_blocks_infer, .expand = gather_blocks_expand };
