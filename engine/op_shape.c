/* Operators that keep the elements in their order and give them another shape, those that ask for a shape, and Transpose. */
#include "engine/infer.h"
#include "engine/run_ops.h"
#include <string.h>

/* out = total of `from` / total of the other sizes of `to`; equal sizes cancel before anything is multiplied. */
static Err infer_missing(Inference *x, const Shape *from, Shape *to, int missing)
{
    int64_t up[MAX_RANK], down[MAX_RANK], a, b, back;
    int n_up = 0, n_down = 0;
    for (int i = 0; i < to->rank; i++)
        if (i != missing) down[n_down++] = to->dim[i];
    for (int i = 0; i < from->rank; i++) {
        int k = 0;
        while (k < n_down && !(dim_same(down[k], from->dim[i]) && down[k] != 0)) k++;
        if (k < n_down) down[k] = down[--n_down];
        else up[n_up++] = from->dim[i];
    }
    TRY(dim_product(x, up, n_up, &a));
    TRY(dim_product(x, down, n_down, &b));
    TRY(dim_arith(x, '/', a, b, &to->dim[missing]));
    TRY(dim_arith(x, '*', to->dim[missing], b, &back));
    if (dim_differ(a, back)) return err_set(ERR_SHAPE, "%lld elements do not divide into %lld", (long long)a, (long long)b);
    return OK;
}

static Err reshape_to(Inference *x, const Node *n, const Shape *from, Shape *to)
{
    int missing = -1;
    bool keep_zero = attr_i(n, "allowzero", 0) != 0;
    for (int i = 0; i < to->rank; i++) {
        if (to->dim[i] == 0 && !keep_zero) to->dim[i] = i < from->rank ? from->dim[i] : DIM_UNKNOWN;
        if (dim_is_symbol(to->dim[i]) || to->dim[i] >= 0) continue;
        if (to->dim[i] < -1 || missing >= 0) return err_set(ERR_SHAPE, "the new shape holds %lld", (long long)to->dim[i]);
        missing = i;
    }
    if (missing >= 0) to->dim[missing] = DIM_UNKNOWN;
    if (from->rank < 0) return OK;
    if (missing >= 0) return infer_missing(x, from, to, missing);
    int64_t a, b;
    TRY(dim_product(x, from->dim, from->rank, &a));
    TRY(dim_product(x, to->dim, to->rank, &b));
    if (dim_differ(a, b)) return err_set(ERR_SHAPE, "%lld elements cannot take a shape of %lld", (long long)a, (long long)b);
    return OK;
}

/* The target is an input, before opset 5 an attribute. */
static Err reshape_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    const int64_t *dim;
    int rank = attr_is(n, "shape", &dim);
    if (in[0]) out[0].dtype = in[0]->dtype;
    Shape s = { .rank = -1 };
    if (rank > MAX_RANK) return err_set(ERR_SHAPE, "rank %d is beyond %d", rank, MAX_RANK);
    if (in[1]) TRY(shape_from_elements(in[1], -1, &s));
    else if (node_attr(n, "shape")) s = shape_of(rank, dim);
    if (s.rank < 0 || !in[0]) return OK;
    TRY(reshape_to(x, n, &in[0]->shape, &s));
    out[0].shape = s;
    follow_moved(in[0], &out[0]);
    return OK;
}

static Err flatten_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    out[0].shape = shape_unknown_dims(2);
    if (!fact_shaped(in[0])) return OK;
    const Shape *s = &in[0]->shape;
    int64_t axis = attr_i(n, "axis", 1);
    if (axis < -s->rank || axis > s->rank) return err_set(ERR_SHAPE, "axis %lld is outside a tensor of rank %d", (long long)axis, s->rank);
    int a = (int)(axis < 0 ? axis + s->rank : axis);
    TRY(dim_product(x, s->dim, a, &out[0].shape.dim[0]));
    TRY(dim_product(x, s->dim + a, s->rank - a, &out[0].shape.dim[1]));
    follow_moved(in[0], &out[0]);
    return OK;
}

static Err squeeze_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *from = &in[0]->shape;
    Axes axes;
    bool drop[MAX_RANK] = { false };
    TRY(axes_read(n, "axes", in[1], from->rank, &axes));
    if (axes.n < 0 && !axes.absent) return OK;
    for (int i = 0; i < axes.n; i++) {
        drop[axes.axis[i]] = true;
        if (dim_is_number(from->dim[axes.axis[i]]) && from->dim[axes.axis[i]] != 1)
            return err_set(ERR_SHAPE, "axis %d of size %lld cannot be squeezed", axes.axis[i], (long long)from->dim[axes.axis[i]]);
    }
    Shape s = { 0 };
    for (int i = 0; i < from->rank; i++) {
        if (axes.absent && dim_is_symbol(from->dim[i])) return OK;
        if (!drop[i] && !(axes.absent && from->dim[i] == 1)) s.dim[s.rank++] = from->dim[i];
    }
    out[0].shape = s;
    follow_moved(in[0], &out[0]);
    return OK;
}

static Err unsqueeze_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x;
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    const Shape *from = &in[0]->shape;
    const int64_t *v;
    int count = attr_is(n, "axes", &v);
    if (!count && in[1] && in[1]->element) count = fact_count(in[1]);
    if (!count && in[1] && fact_count(in[1]) != 0) return OK;
    if (from->rank + count > MAX_RANK) return err_set(ERR_SHAPE, "rank %d is beyond %d", from->rank + count, MAX_RANK);
    Axes axes;
    bool added[MAX_RANK] = { false };
    TRY(axes_read(n, "axes", in[1], from->rank + count, &axes));
    if (axes.n < 0 && count) return OK;
    for (int i = 0; i < axes.n; i++) {
        if (added[axes.axis[i]]) return err_set(ERR_SHAPE, "axis %d is added twice", axes.axis[i]);
        added[axes.axis[i]] = true;
    }
    Shape s = { .rank = from->rank + count };
    for (int i = 0, k = 0; i < s.rank; i++) s.dim[i] = added[i] ? 1 : from->dim[k++];
    out[0].shape = s;
    follow_moved(in[0], &out[0]);
    return OK;
}

static Err transpose_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    const int64_t *perm;
    int n_perm = attr_is(n, "perm", &perm);
    if (!fact_shaped(in[0])) {
        if (n_perm && n_perm <= MAX_RANK) out[0].shape = shape_unknown_dims(n_perm);
        return OK;
    }
    const Shape *from = &in[0]->shape;
    if (n_perm && n_perm != from->rank) return err_set(ERR_SHAPE, "perm has %d entries for rank %d", n_perm, from->rank);
    Shape s = { .rank = from->rank };
    int64_t stride[MAX_RANK], moved[MAX_RANK];
    bool used[MAX_RANK] = { false };
    if (fact_count(in[0]) >= 0) shape_strides(from, stride);
    else memset(stride, 0, sizeof stride);
    for (int i = 0; i < s.rank; i++) {
        int64_t from_axis = n_perm ? perm[i] : s.rank - 1 - i;
        if (from_axis < 0 || from_axis >= s.rank || used[from_axis]) return err_set(ERR_SHAPE, "perm is not a permutation");
        used[from_axis] = true;
        s.dim[i] = from->dim[from_axis];
        moved[i] = stride[from_axis];
    }
    out[0].shape = s;
    return follow_strided(x, in[0], 0, moved, &out[0]);
}

/* The sizes of axes start .. end-1 as a tensor. */
static Err shape_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    out[0].dtype = DT_I64;
    out[0].shape = shape_unknown_dims(1);
    if (!fact_shaped(in[0])) return OK;
    const Shape *s = &in[0]->shape;
    int64_t start = attr_i(n, "start", 0), end = attr_i(n, "end", s->rank);
    if (start < 0) start += s->rank;
    if (end < 0) end += s->rank;
    if (start < 0) start = 0;
    if (end > s->rank) end = s->rank;
    out[0].shape.dim[0] = end > start ? end - start : 0;
    int64_t *element;
    TRY(fact_elements(x, &out[0], &element));
    for (int64_t i = start; i < end; i++) element[i - start] = s->dim[i];
    out[0].element = element;
    return OK;
}

static Err size_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    out[0].dtype = DT_I64;
    out[0].shape.rank = 0;
    if (!fact_shaped(in[0])) return OK;
    int64_t *element;
    TRY(fact_elements(x, &out[0], &element));
    out[0].element = element;
    return dim_product(x, in[0]->shape.dim, in[0]->shape.rank, element);
}

/* Broadcasting in both directions between the input and the target sizes. */
static Err expand_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (!in[0] || !in[1]) return OK;
    out[0].dtype = in[0]->dtype;
    Shape target;
    TRY(shape_from_elements(in[1], 0, &target));
    TRY(shape_broadcast(x, &in[0]->shape, &target, &out[0].shape));
    if (out[0].shape.rank < 0 || fact_count(in[0]) < 0) return OK;
    int64_t stride[MAX_RANK], moved[MAX_RANK];
    shape_strides(&in[0]->shape, stride);
    for (int i = 0; i < out[0].shape.rank; i++) {
        int k = i - (out[0].shape.rank - in[0]->shape.rank);
        moved[i] = k < 0 || in[0]->shape.dim[k] == 1 ? 0 : stride[k];
    }
    return follow_strided(x, in[0], 0, moved, &out[0]);
}

/* Opset 6: one number of repeats an axis. */
static Err tile_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)n;
    if (!in[0] || !in[1]) return OK;
    out[0].dtype = in[0]->dtype;
    Shape repeats;
    TRY(shape_from_elements(in[1], 0, &repeats));
    if (in[0]->shape.rank < 0) {
        out[0].shape = shape_unknown_dims(repeats.rank);
        return OK;
    }
    if (repeats.rank >= 0 && repeats.rank != in[0]->shape.rank) return err_set(ERR_SHAPE, "%d repeats for rank %d", repeats.rank, in[0]->shape.rank);
    out[0].shape = shape_unknown_dims(in[0]->shape.rank);
    for (int i = 0; i < repeats.rank; i++) TRY(dim_arith(x, '*', in[0]->shape.dim[i], repeats.dim[i], &out[0].shape.dim[i]));
    return OK;
}

/* (N, C, H, W): blocks of b x b move between channels and space. */
static Err depth_to_space_infer(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    if (in[0]) out[0].dtype = in[0]->dtype;
    if (!fact_shaped(in[0])) return OK;
    if (in[0]->shape.rank != 4) return err_set(ERR_SHAPE, "the input has rank %d, expected 4", in[0]->shape.rank);
    bool to_space = !strcmp(n->op_type, "DepthToSpace");
    int64_t b = attr_i(n, "blocksize", 0);
    if (b < 1 || b > INT32_MAX) return err_set(ERR_SHAPE, "blocksize is %lld", (long long)b);
    out[0].shape = in[0]->shape;
    int64_t *dim = out[0].shape.dim;
    TRY(dim_arith(x, to_space ? '/' : '*', dim[1], b * b, &dim[1]));
    TRY(dim_arith(x, to_space ? '*' : '/', dim[2], b, &dim[2]));
    return dim_arith(x, to_space ? '*' : '/', dim[3], b, &dim[3]);
}

const Op op_DepthToSpace = { "DepthToSpace", "", 1, 1, 1, 1, 1, .infer = depth_to_space_infer, .prep = depth_space_prep, };
const Op op_Expand = { "Expand", "", 8, 2, 2, 1, 1, .infer = expand_infer, .prep = expand_prep, };
const Op op_Flatten = { "Flatten", "", 1, 1, 1, 1, 1, .infer = flatten_infer, .prep = view_prep, .passes_weight = true };
const Op op_Reshape = { "Reshape", "", 1, 1, 2, 1, 1, .infer = reshape_infer, .prep = view_prep, .passes_weight = true };
const Op op_Shape = { "Shape", "", 1, 1, 1, 1, 1, .infer = shape_infer, .prep = shape_prep, };
const Op op_Size = { "Size", "", 1, 1, 1, 1, 1, .infer = size_infer, .prep = size_prep, };
const Op op_SpaceToDepth = { "SpaceToDepth", "", 1, 1, 1, 1, 1, .infer = depth_to_space_infer, .prep = depth_space_prep, };
const Op op_Squeeze = { "Squeeze", "", 1, 1, 2, 1, 1, .infer = squeeze_infer, .prep = view_prep, .passes_weight = true };
const Op op_Tile = { "Tile", "", 6, 2, 2, 1, 1, .infer = tile_infer, .prep = tile_prep, };
const Op op_Transpose = { "Transpose", "", 1, 1, 1, 1, 1, .infer = transpose_infer, .prep = transpose_prep, .passes_weight = true };
const Op op_Unsqueeze = { "Unsqueeze", "", 1, 1, 2, 1, 1, .infer = unsqueeze_infer, .prep = view_prep, .passes_weight = true };
