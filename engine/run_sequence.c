/* Sequences and optionals.     https://onnx.ai/onnx/operators/onnx__SequenceInsert.html , onnx__Optional.html */
#include <string.h>
#include "engine/element.h"
#include "engine/list.h"
#include "engine/move.h"
#include "engine/plan_internal.h"
#include "engine/run_ops.h"
#include "engine/walk.h"

static Err position(const Step *s, int i, int64_t size, int64_t *at)
{
    const Buffer *b = s->in[i];
    if (b->count != 1 || !dtype_is_whole(b->dtype)) return err_set(ERR_SHAPE, "A position in a sequence should be one whole number.");
    elements_to_i64(b->dtype, b->data, 0, 1, at);
    return index_of(*at, size, at);
}

static Err construct_run(Plan *plan, Step *s)
{
    List *l;
    TRY(list_new(plan, LIST_SEQUENCE, s->n_in, &l));
    for (int i = 0; i < s->n_in; i++) TRY(value_copy(plan, s->in[i], &l->item[i]));
    return step_list(s, 0, l);
}

static Err at_run(Plan *plan, Step *s)
{
    List *l;
    int64_t at;
    TRY(list_of(s, 0, LIST_SEQUENCE, &l));
    TRY(position(s, 1, l->n, &at));
    return step_value(plan, s, 0, l->item[at]);
}

/* Items of a sequence but number `without` (-1: all) and with `added` before number `before`. */
static Err spliced(Plan *plan, Step *s, const List *l, int64_t without, Buffer *added, int64_t before)
{
    List *y;
    int64_t n = 0;
    TRY(list_new(plan, LIST_SEQUENCE, l->n + 1, &y));
    for (int64_t i = 0; i <= l->n; i++) {
        if (added && i == before) y->item[n++] = added;
        if (i < l->n && i != without) y->item[n++] = l->item[i];
    }
    y->n = n;
    return step_list(s, 0, y);
}

static Err insert_run(Plan *plan, Step *s)
{
    List *l;
    Buffer *added;
    int64_t at;
    TRY(list_of(s, 0, LIST_SEQUENCE, &l));
    at = l->n;
    if (s->in[2]) {
        at = whole_at(s->in[2], 0);
        if (at < 0) at += l->n;
        if (at < 0 || at > l->n) return err_set(ERR_ARG, "A position is beyond the %lld items of a sequence.", (long long)l->n);
    }
    TRY(value_copy(plan, s->in[1], &added));
    return spliced(plan, s, l, -1, added, at);
}

static Err erase_run(Plan *plan, Step *s)
{
    List *l;
    TRY(list_of(s, 0, LIST_SEQUENCE, &l));
    int64_t at = l->n - 1;
    if (!l->n) return err_set(ERR_ARG, "An item of an empty sequence cannot be erased.");
    if (s->in[1]) TRY(position(s, 1, l->n, &at));
    return spliced(plan, s, l, at, NULL, -1);
}

static Err length_run(Plan *plan, Step *s)
{
    List *l;
    (void)plan;
    TRY(list_of(s, 0, LIST_SEQUENCE, &l));
    *(int64_t *)s->out[0]->data = l->n;
    return OK;
}

/* SplitToSequence: pieces of one size, of the sizes given, or of one slice whose axis goes if keepdims is 0 ------------------------------------------ */

static Err piece(Plan *plan, const Step *s, int axis, const int64_t range[2], Buffer **out)
{
    const Buffer *x = s->in[0];
    Buffer *b;
    Shape shape = x->shape;
    int64_t outer = shape_span(&x->shape, 0, axis), inner = shape_span(&x->shape, axis + 1, x->shape.rank), n = range[1] - range[0];
    TRY(plan_array(plan, 1, sizeof *b, &b));
    shape.dim[axis] = n;
    if (!s->in[1] && !attr_i(s->node, "keepdims", 1)) {
        shape = (Shape){ .rank = x->shape.rank - 1 };
        for (int i = 0, to = 0; i < x->shape.rank; i++) if (i != axis) shape.dim[to++] = x->shape.dim[i];
    }
    TRY(buffer_set(b, x->dtype, &shape));
    TRY(plan_alloc(plan, b->bytes, &b->data));
    b->name = x->name;
    *out = b;
    if (!b->count) return OK;
    Copy c = { 0 };
    copy_axis(&c, outer, x->shape.dim[axis] * inner, n * inner);
    copy_axis(&c, n * inner, 1, 1);
    copy_strided(plan, &c, (const char *)x->data + (size_t)(range[0] * inner) * element_size(x->dtype), b->data, element_size(x->dtype));
    return OK;
}

static Err split_run(Plan *plan, Step *s)
{
    const Buffer *x = s->in[0], *sizes = s->in[1];
    List *l;
    int axis = 0;
    TRY(axis_of(attr_i(s->node, "axis", 0), x->shape.rank, &axis));
    int64_t size = x->shape.dim[axis], one = 1, at = 0;
    if (sizes && !sizes->shape.rank) one = whole_at(sizes, 0);
    if (one < 1) return err_set(ERR_SHAPE, "A piece should have at least one slice, not %lld.", (long long)one);
    bool listed = sizes && sizes->shape.rank;
    int64_t n = listed ? sizes->count : (size + one - 1) / one;
    TRY(list_new(plan, LIST_SEQUENCE, n, &l));
    for (int64_t i = 0; i < n; i++) {
        int64_t length = one;
        if (listed) length = whole_at(sizes, i);
        else if (length > size - at) length = size - at;
        if (length < 0 || length > size - at) return err_set(ERR_SHAPE, "The pieces do not add up to the axis.");
        TRY(piece(plan, s, axis, (int64_t[]){ at, at + length }, &l->item[i]));
        at += length;
    }
    return at == size ? step_list(s, 0, l) : err_set(ERR_SHAPE, "The pieces do not add up to the axis.");
}

/* ConcatFromSequence --------------------------------------------------------- */

static Err concat_shape(const List *l, bool new_axis, int axis, Shape *y)
{
    const Buffer *first = l->item[0];
    *y = first->shape;
    int64_t total = 0;
    for (int64_t i = 0; i < l->n; i++) {
        const Buffer *b = l->item[i];
        if (b->list || b->dtype != first->dtype || b->shape.rank != first->shape.rank) return err_set(ERR_SHAPE, "The items of a sequence do not fit together.");
        for (int k = 0; k < b->shape.rank; k++)
            if ((new_axis || k != axis) && b->shape.dim[k] != first->shape.dim[k]) return err_set(ERR_SHAPE, "The items of a sequence do not fit together.");
        total += new_axis ? 1 : b->shape.dim[axis];
    }
    if (new_axis) {
        if (y->rank == MAX_RANK) return err_set(ERR_UNSUPPORTED, "More than %d axes cannot be run.", MAX_RANK);
        memmove(y->dim + axis + 1, y->dim + axis, (size_t)(y->rank - axis) * sizeof *y->dim);
        y->rank++;
    }
    y->dim[axis] = total;
    return OK;
}

static Err concat_run(Plan *plan, Step *s)
{
    List *l;
    Shape y;
    int axis = 0;
    TRY(list_of(s, 0, LIST_SEQUENCE, &l));
    if (!l->n) return err_set(ERR_SHAPE, "The items of an empty sequence cannot be joined.");
    bool new_axis = attr_i(s->node, "new_axis", 0);
    TRY(axis_of(attr_i(s->node, "axis", 0), l->item[0]->shape.rank + new_axis, &axis));
    TRY(concat_shape(l, new_axis, axis, &y));
    TRY(step_output(plan, s, 0, l->item[0]->dtype, &y));
    size_t size = element_size(l->item[0]->dtype);
    int64_t outer = shape_span(&y, 0, axis), inner = shape_span(&y, axis + 1, y.rank), at = 0;
    for (int64_t i = 0; i < l->n; i++) {
        const Buffer *b = l->item[i];
        int64_t n = new_axis ? inner : b->shape.dim[axis] * inner;
        Copy c = { 0 };
        copy_axis(&c, outer, n, y.dim[axis] * inner);
        copy_axis(&c, n, 1, 1);
        if (b->count) copy_strided(plan, &c, b->data, (char *)s->out[0]->data + (size_t)at * size, size);
        at += n;
    }
    return OK;
}

/* Optional --------------------------------------------------------- */

static Err optional_run(Plan *plan, Step *s)
{
    List *l;
    bool full = s->n_in && s->in[0];
    TRY(list_new(plan, LIST_OPTIONAL, full, &l));
    if (full) TRY(value_copy(plan, s->in[0], &l->item[0]));
    return step_list(s, 0, l);
}

static bool is_optional(const Buffer *b) { return b->list && b->list->kind == LIST_OPTIONAL; }

static Err has_run(Plan *plan, Step *s)
{
    (void)plan;
    const Buffer *b = s->n_in ? s->in[0] : NULL;
    *(uint8_t *)s->out[0]->data = b && (!is_optional(b) || b->list->n);
    return OK;
}

static Err get_run(Plan *plan, Step *s)
{
    const Buffer *b = s->in[0];
    if (!is_optional(b)) return step_value(plan, s, 0, b);
    return b->list->n ? step_value(plan, s, 0, b->list->item[0]) : err_set(ERR_ARG, "The optional '%s' is empty.", b->name);
}

Err sequence_prep(Plan *plan, Step *s)
{
    static const struct { const char *type; StepRun *run; } RUN[] = { { "ConcatFromSequence", concat_run }, { "Optional", optional_run },
        { "OptionalGetElement", get_run }, { "OptionalHasElement", has_run }, { "SequenceAt", at_run }, { "SequenceConstruct", construct_run },
        { "SequenceEmpty", construct_run },
        { "SequenceErase", erase_run }, { "SequenceInsert", insert_run }, { "SequenceLength", length_run }, { "SplitToSequence", split_run } };
    (void)plan;
    for (size_t i = 0; i < sizeof RUN / sizeof *RUN; i++) if (!strcmp(RUN[i].type, s->op->type)) s->run = RUN[i].run;
    if (s->run == split_run) return movable(s, s->in[0]);
    return OK;
}
