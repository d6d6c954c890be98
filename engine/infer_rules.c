/* What rows use: sizes, broadcasting, elements, axes, and the rules that many rows share. */
#include "engine/infer.h"
#include "engine/symbolic.h"
#include <string.h>

/* ---- sizes ---- */

Err dim_arith(Inference *x, char op, int64_t a, int64_t b, int64_t *result)
{
    return symbolic_arith(x->symbolic, op, a, b, DIM_UNKNOWN, result);
}

Err dim_product(Inference *x, const int64_t *dim, int n, int64_t *product)
{
    int64_t p = 1;
    for (int i = 0; i < n; i++) {
        if (dim[i] == 0) {
            *product = 0;
            return OK;
        }
        TRY(dim_arith(x, '*', p, dim[i], &p));
    }
    *product = p;
    return OK;
}

bool dim_same(int64_t a, int64_t b) { return a == b && a != DIM_UNKNOWN; }
bool dim_differ(int64_t a, int64_t b) { return a != b && dim_is_number(a) && dim_is_number(b); }

bool dim_at_least(Inference *x, int64_t a, int64_t b)
{
    int64_t bound;
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN) return false;
    return symbolic_bound(x->symbolic, a, b, &bound) && bound >= 0;
}

Err dim_merge(int64_t a, int64_t b, int64_t *merged)
{
    if (dim_differ(a, b)) return err_set(ERR_SHAPE, "a size is %lld and %lld", (long long)a, (long long)b);
    *merged = dim_is_number(a) || (a != DIM_UNKNOWN && !dim_is_number(b)) ? a : b;
    return OK;
}

Shape shape_unknown_dims(int rank)
{
    Shape s = { .rank = rank };
    for (int i = 0; i < rank; i++) s.dim[i] = DIM_UNKNOWN;
    return s;
}

static Err broadcast_dim(int64_t a, int64_t b, int64_t *out)
{
    if (dim_same(a, b) || b == 1) *out = a;
    else if (a == 1) *out = b;
    else if (dim_differ(a, b)) return err_set(ERR_SHAPE, "sizes %lld and %lld do not broadcast", (long long)a, (long long)b);
    else *out = dim_is_number(a) ? a : dim_is_number(b) ? b : DIM_UNKNOWN;
    return OK;
}

Err shape_broadcast(Inference *x, const Shape *a, const Shape *b, Shape *out)
{
    (void)x;
    if (a->rank < 0 || b->rank < 0) {
        *out = (Shape){ .rank = -1 };
        return OK;
    }
    Shape s = { .rank = a->rank > b->rank ? a->rank : b->rank };
    for (int i = 0; i < s.rank; i++) {
        int ia = i - (s.rank - a->rank), ib = i - (s.rank - b->rank);
        TRY(broadcast_dim(ia < 0 ? 1 : a->dim[ia], ib < 0 ? 1 : b->dim[ib], &s.dim[i]));
    }
    *out = s;
    return OK;
}

/* ---- elements ---- */

static bool countable(const Shape *s, int64_t *n)
{
    *n = 1;
    if (s->rank < 0) return false;
    for (int i = 0; i < s->rank; i++) {
        if (!dim_is_number(s->dim[i]) || s->dim[i] > INFER_ELEMENTS) return false;
        *n *= s->dim[i];
        if (*n > INFER_ELEMENTS) return false;
    }
    return true;
}

int fact_count(const Fact *f)
{
    int64_t n;
    return f && (f->element || f->real) && countable(&f->shape, &n) ? (int)n : -1;
}

Err fact_elements(Inference *x, const Fact *out, int64_t **element)
{
    int64_t n;
    *element = NULL;
    if (!countable(&out->shape, &n)) return OK;
    int64_t *e = arena_array(x->arena, (size_t)n, sizeof *e);
    if (!e) return err_set(ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) e[i] = DIM_UNKNOWN;
    *element = e;
    return OK;
}

bool fact_number(const Fact *f, int i, double *v)
{
    if (i < 0 || i >= fact_count(f)) return false;
    if (f->real) {
        *v = f->real[i];
        return true;
    }
    if (dim_is_symbol(f->element[i])) return false;
    *v = (double)f->element[i];
    return true;
}

void shape_strides(const Shape *s, int64_t *stride)
{
    int64_t step = 1;
    for (int k = s->rank - 1; k >= 0; k--) {
        stride[k] = step;
        step = (int64_t)((uint64_t)step * (uint64_t)s->dim[k]);       /* may wrap when another size is 0: then nothing is read */
    }
}

Err follow_strided(Inference *x, const Fact *f, int64_t base, const int64_t *stride, Fact *out)
{
    int64_t n;
    if (fact_count(f) < 0 || !countable(&out->shape, &n)) return OK;
    int64_t *element = arena_array(x->arena, (size_t)n, sizeof *element);
    if (!element) return err_set(ERR_NOMEM, "out of memory");
    const void *from = f->element ? (const void *)f->element : f->real;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = base;
        for (int64_t k = out->shape.rank - 1, rest = i; k >= 0; k--) {
            at += rest % out->shape.dim[k] * stride[k];
            rest /= out->shape.dim[k];
        }
        memcpy(&element[i], (const int64_t *)from + at, sizeof *element);
    }
    if (f->element) out->element = element;
    else out->real = (const double *)element;
    return OK;
}

void follow_moved(const Fact *f, Fact *out)
{
    int64_t n;
    if (!countable(&out->shape, &n) || n != fact_count(f)) return;
    out->element = f->element;
    out->real = f->real;
}

Err shape_from_elements(const Fact *f, int64_t low, Shape *out)
{
    *out = (Shape){ .rank = -1 };
    if (!fact_shaped(f)) return OK;
    int64_t n = f->shape.rank == 1 ? f->shape.dim[0] : f->shape.rank == 0 ? 1 : -1;
    if (dim_is_symbol(n)) return OK;
    if (n < 0) return err_set(ERR_SHAPE, "sizes are given by a tensor of rank %d, expected 1", f->shape.rank);
    if (n > MAX_RANK) return err_set(ERR_SHAPE, "rank %lld is beyond %d", (long long)n, MAX_RANK);
    Shape s = shape_unknown_dims((int)n);
    for (int i = 0; f->element && i < n; i++) {
        if (dim_is_number(f->element[i]) && f->element[i] < low) return err_set(ERR_SHAPE, "a size is given as %lld", (long long)f->element[i]);
        s.dim[i] = f->element[i];
    }
    *out = s;
    return OK;
}

/* ---- axes ---- */

Err axis_read(int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank) return err_set(ERR_SHAPE, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return OK;
}

Err axes_read(const Node *n, const char *name, const Fact *input, int rank, Axes *out)
{
    const int64_t *axis;
    int count = attr_is(n, name, &axis);
    *out = (Axes){ .n = -1 };
    if (!count) {
        out->absent = !input && !node_attr(n, name);
        axis = fact_ints(input);
        count = fact_count(input);
        if (!axis) return OK;
    }
    if (count > rank) return err_set(ERR_SHAPE, "%d axes for a tensor of rank %d", count, rank);
    for (int i = 0; i < count; i++) {
        if (dim_is_symbol(axis[i])) return OK;
        TRY(axis_read(axis[i], rank, &out->axis[i]));
        for (int k = 0; k < i; k++) if (out->axis[k] == out->axis[i]) return err_set(ERR_SHAPE, "axis %d is named twice", out->axis[i]);
    }
    out->n = count;
    return OK;
}

/* ---- shared rules ---- */

Err infer_same(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n;
    if (!in[0]) return OK;
    out[0] = *in[0];
    out[0].element = NULL;
    out[0].real = NULL;
    return OK;
}

Err infer_identity(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n;
    if (in[0]) out[0] = *in[0];
    return OK;
}

Err infer_first(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    for (int i = 0; i < n->n_out; i++) TRY(infer_same(x, n, in, &out[i]));
    return OK;
}

Err infer_broadcast(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Shape s = { .rank = 0 };
    DType t = DT_NONE;
    bool mixed = false;
    for (int i = 0; i < n->n_in; i++) {
        if (!in[i]) continue;
        TRY(shape_broadcast(x, &s, &in[i]->shape, &s));
        if (t == DT_NONE) t = in[i]->dtype;
        mixed |= in[i]->dtype != DT_NONE && in[i]->dtype != t;
    }
    out[0].shape = s;
    out[0].dtype = t;
    return mixed ? err_set(ERR_SHAPE, "its inputs have different types") : OK;
}

Err infer_compare(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    Err e = infer_broadcast(x, n, in, out);
    out[0].dtype = DT_BOOL;
    return e;
}

Err infer_nothing(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n, (void)in, (void)out;
    return OK;
}

Err infer_not_tensor(Inference *x, const Node *n, const Fact *const *in, Fact *out)
{
    (void)x, (void)n, (void)in;
    out[0].is_tensor = false;
    return OK;
}
