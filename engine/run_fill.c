/* Operators that make tensors from little: Constant, Shape, Size, ConstantOfShape, Range, EyeLike, Trilu and the signal windows. */
#include <math.h>
#include <string.h>
#include "engine/element.h"
#include "engine/move.h"
#include "engine/run_ops.h"

/* Constant with value_float(s), value_int(s): those with a tensor are read where they are used. */
static Err constant_run(Plan *plan, Step *s)
{
    const Attr *a = &s->node->attr[0];
    (void)plan;
    switch (a->kind) {
    case ATTR_F: memcpy(s->out[0]->data, &a->f, sizeof a->f); return OK;
    case ATTR_I: memcpy(s->out[0]->data, &a->i, sizeof a->i); return OK;
    case ATTR_FS: memcpy(s->out[0]->data, a->fs, s->out[0]->bytes); return OK;
    case ATTR_IS: memcpy(s->out[0]->data, a->is, s->out[0]->bytes); return OK;
    default: memcpy(s->out[0]->data, a->t->tensor.data, s->out[0]->bytes); return OK;
    }
}

Err constant_prep(Plan *plan, Step *s)
{
    const Attr *a = s->node->n_attr == 1 ? &s->node->attr[0] : NULL;
    if (!a) return err_set(ERR_UNSUPPORTED, "A Constant has no single value.");
    bool number = a->kind == ATTR_F || a->kind == ATTR_I || a->kind == ATTR_FS || a->kind == ATTR_IS;
    if (a->kind == ATTR_T) TRY(constant_fetch(plan->model, a->t));
    else if (!number) return err_set(ERR_UNSUPPORTED, "A Constant of this kind (attribute %s) cannot be run.", a->name);
    int64_t count = a->kind == ATTR_T ? s->out[0]->count : a->kind == ATTR_F || a->kind == ATTR_I ? 1 : a->n;
    if (s->out[0]->count != count) return err_set(ERR_SHAPE, "A Constant has another size than was inferred.");
    s->run = constant_run;
    return OK;
}

static Err shape_run(Plan *plan, Step *s)
{
    const Shape *x = &s->in[0]->shape;
    int64_t start = attr_i(s->node, "start", 0), end = attr_i(s->node, "end", x->rank), *y;
    if (start < 0) start += x->rank;
    if (end < 0) end += x->rank;
    start = start < 0 ? 0 : start > x->rank ? x->rank : start;
    end = end < start ? start : end > x->rank ? x->rank : end;
    TRY(step_output(plan, s, 0, DT_I64, &(Shape){ 1, { end - start } }));
    y = s->out[0]->data;
    for (int64_t i = start; i < end; i++) y[i - start] = x->dim[i];
    return OK;
}

Err shape_prep(Plan *plan, Step *s) { (void)plan; s->run = shape_run; return OK; }

static Err size_run(Plan *plan, Step *s)
{
    (void)plan;
    *(int64_t *)s->out[0]->data = s->in[0]->count;
    return OK;
}

Err size_prep(Plan *plan, Step *s) { (void)plan; s->run = size_run; return OK; }

static Err constant_of_shape_run(Plan *plan, Step *s)
{
    const Attr *a = node_attr(s->node, "value");
    const Tensor *value = a && a->kind == ATTR_T ? &a->t->tensor : NULL;
    Shape y = { 0 };
    TRY(ints_of(s->in[0], y.dim, MAX_RANK, &y.rank));
    for (int i = 0; i < y.rank; i++) if (y.dim[i] < 0) return err_set(ERR_SHAPE, "ConstantOfShape has a negative size.");
    TRY(step_output(plan, s, 0, value ? value->dtype : DT_F32, &y));
    if (!value) { memset(s->out[0]->data, 0, s->out[0]->bytes); return OK; }
    repeat_element(s->out[0]->data, value->data, s->out[0]->count, element_size(value->dtype));
    return OK;
}

Err constant_of_shape_prep(Plan *plan, Step *s)
{
    const Attr *a = node_attr(s->node, "value");
    s->run = constant_of_shape_run;
    if (!a) return OK;
    int64_t count;
    if (a->kind != ATTR_T || shape_count(&a->t->tensor.shape, &count) != OK || count != 1 || !element_size(a->t->tensor.dtype))
        return err_set(ERR_UNSUPPORTED, "ConstantOfShape has a value that cannot be run.");
    return constant_fetch(plan->model, a->t);
}

/* Range: start, start + delta, ... below limit */
static Err range_run(Plan *plan, Step *s)
{
    DType t = s->in[0]->dtype;
    double v[3];
    int64_t whole[3], n;
    for (int i = 0; i < 3; i++) {
        elements_to_f64(t, s->in[i]->data, 0, 1, &v[i]);
        elements_to_i64(t, s->in[i]->data, 0, 1, &whole[i]);
    }
    if (v[2] == 0 || !(fabs((v[1] - v[0]) / v[2]) < 0x1p40)) return err_set(ERR_ARG, "Range from %g to %g by %g is no list.", v[0], v[1], v[2]);
    n = (int64_t)ceil((v[1] - v[0]) / v[2]);
    if (n < 0) n = 0;
    TRY(step_output(plan, s, 0, t, &(Shape){ 1, { n } }));
    for (int64_t i = 0; i < n; i++) {
        double at = v[0] + (double)i * v[2];
        int64_t step = (int64_t)((uint64_t)whole[0] + (uint64_t)i * (uint64_t)whole[2]);
        if (dtype_is_whole(t)) elements_from_i64(t, &step, 1, s->out[0]->data, i);
        else elements_from_f64(t, &at, 1, s->out[0]->data, i);
    }
    return OK;
}

Err range_prep(Plan *plan, Step *s)
{
    (void)plan;
    for (int i = 0; i < 3; i++) {
        if (s->in[i]->count != 1 || s->in[i]->dtype != s->in[0]->dtype) return err_set(ERR_SHAPE, "Range needs three numbers of one type.");
        if (!dtype_is_real(s->in[i]->dtype)) return step_refuse(s, "input", s->in[i]);
    }
    s->run = range_run;
    return OK;
}

static Err eye_run(Plan *plan, Step *s)
{
    Buffer *y = s->out[0];
    int64_t k = attr_i(s->node, "k", 0), columns = y->shape.dim[1];
    (void)plan;
    for (int64_t i = 0; i < y->count; i++) {
        int64_t v = i % columns - i / columns == k;
        elements_from_i64(y->dtype, &v, 1, y->data, i);
    }
    return OK;
}

Err eye_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->shape.rank != 2) return err_set(ERR_SHAPE, "EyeLike needs a matrix.");
    if (!dtype_is_real(s->out[0]->dtype)) return step_refuse(s, "output", s->out[0]);
    s->run = eye_run;
    return OK;
}

/* Trilu: one triangle stays, the rest is 0. k moves the diagonal to the right. */
static Err trilu_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0];
    size_t size = element_size(x->dtype);
    int64_t k = 0, rows = x->shape.dim[x->shape.rank - 2], columns = x->shape.dim[x->shape.rank - 1];
    bool upper = attr_i(s->node, "upper", 1);
    int n;
    (void)plan;
    if (s->in[1]) TRY(ints_of(s->in[1], &k, 1, &n));
    k = k < -rows ? -rows : k > columns ? columns : k;
    memcpy(s->out[0]->data, x->data, x->bytes);
    for (int64_t row = 0; columns && row < x->count / columns; row++) {
        int64_t diagonal = row % rows + k, at = diagonal + !upper, cut = at < 0 ? 0 : at > columns ? columns : at;     /* where zeros end or start */
        char *line = (char *)s->out[0]->data + (size_t)(row * columns) * size;
        if (upper) memset(line, 0, (size_t)cut * size);
        else memset(line + (size_t)cut * size, 0, (size_t)(columns - cut) * size);
    }
    return OK;
}

Err trilu_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (s->in[0]->shape.rank < 2) return err_set(ERR_SHAPE, "Trilu needs matrices.");
    if (s->in[0]->dtype == DT_STRING) return step_refuse(s, "input", s->in[0]);
    s->run = trilu_run;
    return movable(s, s->in[0]);
}

/* w[n] = a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N the size, less one unless periodic */
static Err window_run(Plan *plan, Step *s)
{
    int64_t n = 0;
    int count;
    bool hann = !strcmp(s->op->type, "HannWindow"), hamming = !strcmp(s->op->type, "HammingWindow");
    double a0 = hann ? 0.5 : hamming ? 25.0 / 46 : 0.42, a1 = hann ? 0.5 : hamming ? 1 - 25.0 / 46 : 0.5, a2 = hann || hamming ? 0 : 0.08;
    TRY(ints_of(s->in[0], &n, 1, &count));
    if (count != 1 || n < 0) return err_set(ERR_ARG, "%s has no valid size.", s->op->type);
    TRY(step_output(plan, s, 0, (DType)attr_i(s->node, "output_datatype", DT_F32), &(Shape){ 1, { n } }));
    double period = (double)(attr_i(s->node, "periodic", 1) ? n : n - 1);
    for (int64_t i = 0; i < n; i++) {
        double turn = 2 * M_PI * (double)i / period, v = period > 0 ? a0 - a1 * cos(turn) + a2 * cos(2 * turn) : 1;
        elements_from_f64(s->out[0]->dtype, &v, 1, s->out[0]->data, i);
    }
    return OK;
}

Err window_prep(Plan *plan, Step *s)
{
    (void)plan;
    if (!dtype_is_real((DType)attr_i(s->node, "output_datatype", DT_F32))) return step_refuse(s, "output", s->out[0]);
    s->run = window_run;
    return OK;
}
